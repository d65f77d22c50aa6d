//! Whom a full roster holds of those who came too late to be safe.

use std::collections::BTreeMap;

use crate::simulation::{HOSTILE, MINUTE, START, Side, World, number, side, sites};
use crate::statistics::{Hypergeometric, Mean, Table, float};

/// A quarter of the roster's places is of those present longest.
const SAFE: u32 = 50;
const PLACES: u32 = 200;

/// What honest shares that come after hostile ones get: each as much chance as any other that is not safe.
fn sample(honest: u32, hostile: u32) -> Hypergeometric {
    Hypergeometric { population: honest + hostile - SAFE, marked: honest, drawn: PLACES - SAFE }
}

fn attackers_first(secret: u64, honest: u32, hostile: u32) -> World {
    let mut world = World::new(secret);
    for (side, first_provider, count) in [(Side::Hostile, HOSTILE, hostile), (Side::Honest, 0, honest)] {
        for path in sites(first_provider, count, count) {
            let number = world.add(side, path);
            world.announce(number).unwrap();
        }
    }
    world
}

#[test]
fn over_secrets_each_share_that_is_not_safe_has_the_same_chance() {
    let mut table = Table::new(&[
        "honest after hostile shares",
        "150 · h / (h + k − 50)",
        "held",
        "none in an answer: formula",
        "none",
    ]);
    for (honest, hostile) in [(3, 256), (50, 256)] {
        let expected = sample(honest, hostile);
        let none_of = |held| Hypergeometric { population: PLACES - 12, marked: held, drawn: 38 }.chance(0);
        let no_answer: f64 = expected.chances().map(|(held, chance)| chance * none_of(held)).sum();
        let (mut held, mut none) = (Mean::default(), Mean::default());
        for secret in 0..1_000 {
            let mut world = attackers_first(secret, honest, hostile);
            held.add(float(world.honest_in_roster()));
            none.add(if world.honest_in_answer(START) == 0 { 1.0 } else { 0.0 });
        }
        let what = format!("{honest} after {hostile}");
        held.assert_near(&what, expected.mean(), expected.variance());
        none.assert_near(&format!("no answer, {what}"), no_answer, no_answer * (1.0 - no_answer));
        table.row([
            what.as_str(),
            &format!("{:.2}", expected.mean()),
            &format!("{:.2}", held.value()),
            &format!("{no_answer:.3}"),
            &format!("{:.3}", none.value()),
        ]);
    }
    table.publish();
}

#[test]
fn over_epochs_nobody_is_favoured_for_ever() {
    const EPOCHS: u32 = 300;
    let (honest, hostile) = (50, 200);
    let expected = sample(honest, hostile);
    let mut world = World::new(3);
    world.join(Side::Hostile, &sites(HOSTILE, hostile, hostile), 0, MINUTE);
    world.join(Side::Honest, &sites(0, honest, honest), MINUTE, 2 * MINUTE);

    let mut held = Mean::default();
    let mut minutes_of: BTreeMap<usize, u32> = BTreeMap::new();
    for minute in 1..=10 * EPOCHS {
        world.run(START + u64::from(minute) * MINUTE, |_, _| ());
        for record in world.roster.records().filter(|record| side(&record.ticket) == Side::Honest) {
            *minutes_of.entry(number(&record.ticket)).or_default() += 1;
        }
        // Within an epoch nothing new is drawn.
        if minute % 10 == 0 {
            held.add(float(world.honest_in_roster()));
        }
    }
    held.assert_near("honest records, epoch by epoch", expected.mean(), expected.variance());

    // Of fifty peers one is four standard deviations off in one of three hundred runs.
    let chance = f64::from(expected.drawn) / f64::from(expected.population);
    let deviation = (chance * (1.0 - chance) / f64::from(EPOCHS)).sqrt();
    assert_eq!(minutes_of.len(), honest as usize);
    for (peer, minutes) in minutes_of {
        let share = f64::from(minutes) / f64::from(10 * EPOCHS);
        assert!((share - chance).abs() < 4.0 * deviation, "peer {peer}: {share:.3} of the time, not {chance:.3}");
    }
}
