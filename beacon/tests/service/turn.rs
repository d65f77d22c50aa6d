//! Who is given what opens the relay: peers of a community that the operator names, once they have shown who they are.

use rendezvous_protocol::base64;
use rendezvous_protocol::ticket::Purpose;
use rendezvous_service::live::ConnectionId;
use serde_json::{Value, json};

use crate::host::at;
use crate::live::{Viewer, World, bind, peer};

const RELAY: [(&str, &str); 2] = [("TURN_URLS", "turn:a.example"), ("TURN_SECRET", "north west south east")];
const NAMED: (&str, &str) = ("COMMUNITIES", "mainnet");

fn world(variables: &[(&str, &str)]) -> World {
    World::new(&[&RELAY[..], variables].concat())
}

/// Lists a peer, binds a connection of an address to it, and returns what it is told of the relay.
fn join(world: &mut World, number: u8, address: &str) -> (ConnectionId, Value) {
    world.bring(&peer(number).ticket(world.now), Purpose::Presence, address);
    world.address = address.to_owned();
    let id = world.open(Viewer::default());
    (id, bound(world, id, number))
}

fn bound(world: &mut World, id: ConnectionId, number: u8) -> Value {
    bind(world, id, peer(number), |_| {});
    let answer = world.last(id);
    assert_eq!(answer["t"], "bound");
    answer["iceServers"].clone()
}

#[test]
fn a_bound_peer_of_a_named_community_is_given_what_opens_the_relay_and_nobody_else() {
    let mut world = world(&[NAMED]);
    world.address = "10.1.0.1".to_owned();
    let id = world.open(Viewer::default());
    bind(&mut world, id, peer(1), |_| {});
    assert_eq!(world.last(id)["code"], "NOT_LISTED");
    world.bring(&peer(1).ticket(0), Purpose::Presence, "10.1.0.1");
    bind(&mut world, id, peer(1), |binding| binding.challenge = [77; 16]);
    assert_eq!(world.last(id)["code"], "SIGNATURE_INVALID");
    assert!(world.messages(id).iter().all(|message| !message.to_string().contains("iceServers")));

    let servers = bound(&mut world, id, 1);
    let username = servers[0]["username"].as_str().unwrap();
    let (ends, name) = username.split_once(':').unwrap();
    assert_eq!((ends.parse().ok(), name.len()), (Some(at(600_000).as_u64() / 1_000), 16));
    let credential = servers[0]["credential"].as_str().unwrap();
    assert_eq!(servers, json!([{"urls": ["turn:a.example"], "username": username, "credential": credential}]));
    assert_eq!(base64::decode(credential).unwrap().len(), 20);

    // The community of these peers is another.
    let mut world = self::world(&[("COMMUNITIES", "elsewhere,mainnet"), ("DEFAULT_COMMUNITY", "mainnet")]);
    assert!(join(&mut world, 1, "10.1.0.1").1.is_array());
    assert_eq!(join(&mut World::new(&[NAMED]), 1, "10.1.0.1").1, Value::Null, "there is no relay");
}

#[test]
fn whoever_binds_again_has_the_same_for_half_of_its_life_and_then_another() {
    let mut world = world(&[NAMED]);
    let (id, first) = join(&mut world, 1, "10.1.0.1");
    world.now = 100_000;
    world.bring(&peer(1).ticket(100_000), Purpose::Presence, "10.1.0.1");
    assert_eq!(bound(&mut world, id, 1), first);
    world.now = 250_000;
    world.bring(&peer(1).ticket(250_000), Purpose::Presence, "10.1.0.1");
    world.now = 300_000;
    let second = bound(&mut world, id, 1);
    assert_ne!(second, first);
    assert_ne!(second, Value::Null);
}

#[test]
fn keys_that_are_not_listed_use_up_nothing() {
    let mut world = world(&[NAMED]);
    world.address = "10.1.0.1".to_owned();
    for number in 20..28 {
        let id = world.open(Viewer::default());
        bind(&mut world, id, peer(number), |_| {});
        assert_eq!(world.last(id)["code"], "NOT_LISTED");
    }
    assert!(join(&mut world, 1, "10.1.0.2").1.is_array());
}

#[test]
fn a_provider_has_an_eighth_of_a_day() {
    let mut world = world(&[NAMED, ("TURN_PER_DAY", "8")]);
    let sites = ["10.1.0.1", "10.1.1.1", "10.2.0.1"];
    let given: Vec<_> = (1..).zip(sites).map(|(number, site)| join(&mut world, number, site).1.is_array()).collect();
    assert_eq!(given, [true, false, true]);
}

#[test]
fn a_site_has_four_at_once_and_other_sites_have_theirs() {
    let mut world = world(&[NAMED]);
    let given: Vec<_> = (1..8).map(|number| join(&mut world, number, &format!("10.1.0.{number}")).1).collect();
    assert_eq!(given.iter().filter(|servers| servers.is_array()).count(), 4);
    assert!(join(&mut world, 9, "10.2.0.1").1.is_array());
}
