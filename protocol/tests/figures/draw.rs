//! The draw of an answer against its exact distribution.

use rendezvous_protocol::limits::ANSWER_LIMIT;
use rendezvous_protocol::roster::Announced;

use crate::simulation::{HOSTILE, SECOND, START, Side, World, sites};
use crate::statistics::{Hypergeometric, Mean, Table, float, moments, occupancy};

const ANSWERS: u64 = 100_000;
/// A quarter of an answer's places: those of the longest present, and the most shares that one provider can have.
const LONGEST: u32 = 12;
const DRAWN: u32 = 50 - LONGEST;
/// Readers are given another draw every five seconds.
const MOMENT: u64 = 5 * SECOND;

/// A roster of single records in providers of their own, who came in this order.
fn of_single_shares(groups: [(Side, u32); 2]) -> World {
    let mut world = World::new(1);
    for (side, count) in groups {
        let first_provider = if side == Side::Hostile { HOSTILE } else { 0 };
        for path in sites(first_provider, count, count) {
            let number = world.add(side, path);
            world.announce(number).unwrap();
        }
    }
    world
}

fn number(count: usize) -> u32 {
    count.try_into().unwrap()
}

#[test]
fn an_answer_is_drawn_as_its_formula_says() {
    let mut table = Table::new(&[
        "shares, each of a provider of its own",
        "honest in the roster",
        "formula",
        "honest in an answer, 10⁵ seeds",
        "none: exact",
        "none",
    ]);
    for (honest, hostile) in [(50, 50), (50, 256), (20, 256), (50, 1_000)] {
        for late in [Side::Hostile, Side::Honest] {
            let groups = [(Side::Honest, honest), (Side::Hostile, hostile)];
            let is_attack_late = late == Side::Hostile;
            let mut world = of_single_shares(if is_attack_late { groups } else { [groups[1], groups[0]] });
            let (held, kept) = (number(world.roster.len()), number(world.honest_in_roster()));
            let longest = if is_attack_late { LONGEST } else { 0 };
            let drawn = Hypergeometric { population: held - LONGEST, marked: kept - longest, drawn: DRAWN };

            let (mut mean, mut square, mut none) = (Mean::default(), Mean::default(), Mean::default());
            for answer in 0..ANSWERS {
                let found = float(world.honest_in_answer(START + answer * MOMENT)) - f64::from(longest);
                mean.add(found);
                square.add((found - drawn.mean()).powi(2));
                none.add(if found == 0.0 { 1.0 } else { 0.0 });
            }
            let last = if is_attack_late { "hostile" } else { "honest" };
            let what = format!("{honest} honest, {hostile} hostile, the {last} last");
            mean.assert_near(&what, drawn.mean(), drawn.variance());
            square.assert_near(&format!("variance of {what}"), drawn.variance(), drawn.variance_of_square());
            let chance = drawn.chance(0);
            none.assert_near(&format!("none of {what}"), chance, chance * (1.0 - chance));

            let offset = f64::from(longest);
            let of_none = |chance: f64| if is_attack_late { "0".to_owned() } else { format!("{chance:.4}") };
            table.row([
                what.as_str(),
                &format!("{kept} of {held}"),
                &format!("{:.3}", offset + drawn.mean()),
                &format!("{:.3}", offset + mean.value()),
                &of_none(chance),
                &of_none(none.value()),
            ]);
        }
    }
    table.publish();
}

/// Twenty sites of one provider have about ten shares of an answer: seen by how many of them it holds beside sixty
/// peers who came before, each in a provider of its own.
#[test]
fn a_providers_sites_are_folded_into_twelve_shares_of_an_answer() {
    let (others, count) = (60, 20);
    let mut world = World::new(2);
    for path in sites(0, others, others) {
        let number = world.add(Side::Hostile, path);
        world.announce(number).unwrap();
    }
    for path in sites(20_000, 1, count) {
        let number = world.add(Side::Honest, path);
        world.announce(number).unwrap();
    }
    let shares = occupancy(LONGEST, count);
    assert!((9.8..10.0).contains(&moments(&shares).0), "about ten");
    // What is drawn after the twelve longest present: one a share.
    let (mut expected, mut square) = (0.0, 0.0);
    for (folded, chance) in (0_u32..).zip(&shares) {
        let drawn = Hypergeometric { population: others - LONGEST + folded, marked: folded, drawn: DRAWN };
        expected += chance * drawn.mean();
        square += chance * (drawn.variance() + drawn.mean().powi(2));
    }
    let found: Mean = (0..ANSWERS / 5).map(|answer| float(world.honest_in_answer(START + answer * MOMENT))).collect();
    found.assert_near("records of the provider", expected, square - expected.powi(2));
}

/// And about seventeen of the roster: when all other places are taken by shares of one, each has kept its oldest.
#[test]
fn a_providers_sites_are_folded_into_fifty_shares_of_the_roster() {
    const SHARES: u32 = 50;
    let count = 20;
    let mut kept = Mean::default();
    for secret in 0..300 {
        let mut world = World::new(u64::from(secret));
        // Their hashes are under the secret.
        for path in sites(secret, 1, count) {
            let number = world.add(Side::Honest, path);
            world.announce(number).unwrap();
        }
        for path in sites(HOSTILE, 300, 300) {
            let number = world.add(Side::Hostile, path);
            assert!(world.announce(number).is_ok_and(|announced| announced != Announced::Repeated));
        }
        kept.add(float(world.honest_in_roster()));
    }
    let (expected, variance) = moments(&occupancy(SHARES, count));
    kept.assert_near("shares of the provider", expected, variance);
    assert_eq!(ANSWER_LIMIT, 50, "the figures are of answers of this size");
}
