//! Signals between two present peers: handed on as they came, or refused by name.

use rendezvous_protocol::base64;
use rendezvous_protocol::live::CloseCode;
use rendezvous_protocol::ticket::Purpose;
use rendezvous_service::community::Effects;
use rendezvous_service::live::{ConnectionId, LiveCall, Push, Pushed, SignalCall};
use serde_json::{Value, json};

use crate::host::at;
use crate::live::{Viewer, World, bind, peer};

/// Lists a peer, and binds a connection to it, all from one address.
fn join(world: &mut World, number: u8, address: &str) -> ConnectionId {
    world.bring(&peer(number).ticket(world.now), Purpose::Presence, address);
    world.address = address.to_owned();
    let id = world.open(Viewer::default());
    bind(world, id, peer(number), |_| {});
    assert_eq!(world.last(id), json!({"t": "bound"}));
    id
}

/// An offer from one peer to another. No beacon looks at the signature.
fn offer(from: u8, to: u8, id: &str, time: u64) -> Value {
    let key = |number| peer(number).key().public_key().to_string();
    json!({
        "t": "signal", "id": id, "kind": "offer", "to": peer(to).0, "toKey": key(to), "from": peer(from).0,
        "fromKey": key(from), "at": at(time).as_u64(), "data": "v=0", "signature": base64::encode(&[7; 64]),
    })
}

/// Sends an offer, and returns the answer.
fn send(world: &mut World, sender: ConnectionId, offer: &Value) -> Value {
    world.send(sender, &offer.to_string());
    world.last(sender)
}

fn code(answer: &Value) -> &str {
    answer["code"].as_str().unwrap_or_default()
}

#[test]
fn a_signal_is_handed_on_as_it_came_and_nothing_is_stored() {
    let mut world = World::new(&[]);
    let [ann, bob] = [(1, "10.1.0.1"), (2, "10.2.0.1")].map(|(number, address)| join(&mut world, number, address));
    let mut signal = offer(1, 2, "offer-0001", 0);
    signal["ticket"] = serde_json::from_str(&peer(1).ticket(0)).unwrap();
    let text = format!(" {signal} ");
    let claim = |number: u8| {
        let ticket = rendezvous_protocol::ticket::VerifiedTicket::trusted(&peer(number).ticket(0), Purpose::Presence);
        rendezvous_protocol::live::Claim::of(&ticket.unwrap())
    };
    let call = SignalCall { id: "offer-0001".to_owned(), from: claim(1), to: claim(2), text: text.clone() };
    let effects = world.object.handle_live(at(0), ann, LiveCall::Signal(Box::new(call)), 0);
    let delivered = Pushed::Reply(r#"{"t":"delivered","re":"offer-0001"}"#.to_owned());
    let push =
        vec![Push { to: vec![bob], what: Pushed::Signal(text.clone()) }, Push { to: vec![ann], what: delivered }];
    assert_eq!(Effects { wake_at: None, ..effects }, Effects { push, ..Effects::default() });

    world.send(ann, &text);
    assert_eq!(world.last(ann), json!({"t": "delivered", "re": "offer-0001"}));
    assert_eq!(world.last(bob), signal);
    let answer = {
        let mut answer = offer(2, 1, "answer-001", 0);
        answer["kind"] = json!("answer");
        answer["re"] = json!(base64::encode(&[1; 32]));
        answer
    };
    assert_eq!(send(&mut world, bob, &answer), json!({"t": "delivered", "re": "answer-001"}));
    assert_eq!(world.last(ann), answer);
}

#[test]
fn only_a_bound_and_listed_claim_signals_and_only_as_itself() {
    let mut world = World::new(&[]);
    let bob = join(&mut world, 2, "10.2.0.1");
    let seen = world.messages(bob).len();
    world.bring(&peer(1).ticket(0), Purpose::Presence, "10.1.0.1");
    world.address = "10.1.0.1".to_owned();
    let ann = world.open(Viewer::default());
    let signal = offer(1, 2, "offer-0001", 0);
    assert_eq!(code(&send(&mut world, ann, &signal)), "NOT_BOUND");
    bind(&mut world, ann, peer(1), |_| {});
    for (field, other) in [("from", json!("somebody")), ("fromKey", json!(peer(3).key().public_key().to_string()))] {
        let mut forged = signal.clone();
        forged[field] = other;
        assert_eq!(code(&send(&mut world, ann, &forged)), "ANOTHER_PEER", "{field}");
    }
    world.now = 1;
    world.send(ann, &format!("{{\"t\":\"leave\",\"ticket\":{}}}", peer(1).goodbye(1)));
    assert_eq!(code(&send(&mut world, ann, &signal)), "NOT_BOUND", "not listed any more");
    assert_eq!(world.messages(bob).len(), seen);
}

#[test]
fn a_signal_of_another_time_is_refused() {
    let mut world = World::new(&[]);
    let [ann, _] = [(1, "10.1.0.1"), (2, "10.2.0.1")].map(|(number, address)| join(&mut world, number, address));
    world.wait(40_000);
    for (time, expected) in [(9_999, "SIGNAL_TIME"), (10_000, ""), (70_000, ""), (70_001, "SIGNAL_TIME")] {
        let answer = send(&mut world, ann, &offer(1, 2, "offer-0001", time));
        assert_eq!(code(&answer), expected, "{time}");
        assert_eq!(answer["re"], "offer-0001");
    }
}

#[test]
fn whoever_is_not_listed_or_not_connected_is_absent() {
    let mut world = World::new(&[]);
    let ann = join(&mut world, 1, "10.1.0.1");
    let absent = |world: &mut World| {
        let signal = offer(1, 2, "offer-0001", world.now);
        code(&send(world, ann, &signal)).to_owned()
    };
    assert_eq!(absent(&mut world), "PEER_ABSENT", "never heard of");
    world.bring(&peer(2).ticket(0), Purpose::Presence, "10.2.0.1");
    assert_eq!(absent(&mut world), "PEER_ABSENT", "listed, not connected");
    world.address = "10.2.0.1".to_owned();
    let bob = world.open(Viewer::default());
    assert_eq!(absent(&mut world), "PEER_ABSENT", "connected, not bound");
    bind(&mut world, bob, peer(2), |_| {});
    let mut to_another_key = offer(1, 2, "offer-0001", 0);
    to_another_key["toKey"] = json!(peer(3).key().public_key().to_string());
    assert_eq!(code(&send(&mut world, ann, &to_another_key)), "PEER_ABSENT");
    assert_eq!(absent(&mut world), "");
    world.now = 1;
    world.bring(&peer(2).goodbye(1), Purpose::Leave, "10.2.0.1");
    assert_eq!(absent(&mut world), "PEER_ABSENT", "connected, and left");
    world.drop_client(bob);
    assert_eq!(absent(&mut world), "PEER_ABSENT");
}

#[test]
fn a_connection_sends_ten_signals_at_once_and_goes_on_in_three_seconds() {
    let mut world = World::new(&[]);
    let ann = join(&mut world, 1, "10.1.0.1");
    let answers: Vec<_> =
        (0..11).map(|number| send(&mut world, ann, &offer(1, 2, &format!("signal-{number}"), 0))).collect();
    assert!(answers[..10].iter().all(|answer| code(answer) == "PEER_ABSENT"));
    assert_eq!((code(&answers[10]), &answers[10]["retryAfterMs"]), ("TOO_FAST", &json!(3_000)));
    assert_eq!(world.closed(ann), None);
    world.wait(3_000);
    assert_eq!(code(&send(&mut world, ann, &offer(1, 2, "signal-11", 3_000))), "PEER_ABSENT");
}

#[test]
fn a_flood_from_one_site_leaves_other_sites_their_signals() {
    let mut world = World::new(&[("LIVE_CONNECTIONS", "512")]);
    let bob = join(&mut world, 100, "10.100.0.1");
    // Eight households of one site, with a claim each.
    let flood: Vec<_> = (1..9).map(|number| join(&mut world, number, &format!("10.1.0.{number}"))).collect();
    let ann = join(&mut world, 50, "10.50.0.1");
    let mut delivered = 0;
    for (number, id) in (1..9).zip(&flood) {
        for times in 0..5 {
            let answer = send(&mut world, *id, &offer(number, 100, &format!("signal-{times}"), 0));
            if answer["t"] == "delivered" {
                delivered += 1;
            } else {
                assert_eq!((code(&answer), &answer["retryAfterMs"]), ("PEER_BUSY", &json!(10_000)));
            }
        }
    }
    assert_eq!(delivered, 4);
    for times in 0..4 {
        assert_eq!(send(&mut world, ann, &offer(50, 100, &format!("signal-{times}"), 0))["t"], "delivered");
    }
    let from = |number: u8| world.messages(bob).iter().filter(|message| message["from"] == peer(number).0).count();
    assert_eq!((from(50), (1..9).map(from).sum::<usize>()), (4, 4));
}

#[test]
fn who_does_not_read_is_handed_no_signals_and_is_again_once_it_reads() {
    let mut world = World::new(&[]);
    let bob = join(&mut world, 200, "10.200.0.1");
    world.clients.get_mut(&bob).unwrap().acknowledges = false;
    // Signals of the largest size from as many sites, until the window is full.
    let data = "x".repeat(8_192);
    let mut busy = None;
    for number in 0..100_u8 {
        let ann = join(&mut world, number, &format!("10.{number}.0.1"));
        let mut signal = offer(number, 200, "offer-0001", world.now);
        signal["data"] = json!(data);
        let answer = send(&mut world, ann, &signal);
        world.drop_client(ann);
        if code(&answer) == "PEER_BUSY" {
            busy = Some((number, answer["retryAfterMs"].clone()));
            break;
        }
        assert_eq!(answer["t"], "delivered", "{number}");
        world.wait(600);
    }
    let (number, wait) = busy.unwrap();
    assert_eq!(wait, json!(20_000));
    let bytes: usize = world.messages(bob).iter().map(|message| message.to_string().len()).sum();
    assert!((200_000..300_000).contains(&bytes), "{bytes} bytes after {number}");
    world.send(bob, r#"{"t":"ack","seq":9007199254740991}"#);
    let ann = join(&mut world, 150, "10.150.0.1");
    let signal = offer(150, 200, "offer-0001", world.now);
    assert_eq!(send(&mut world, ann, &signal)["t"], "delivered");
    assert_eq!(world.closed(bob), None);
}

#[test]
fn a_signal_that_cannot_be_read_is_refused_by_name_and_one_that_is_too_long_ends_the_connection() {
    let mut world = World::new(&[]);
    let ann = join(&mut world, 1, "10.1.0.1");
    let mut with_data = offer(1, 2, "offer-0001", 0);
    with_data["data"] = json!("x".repeat(8_193));
    let answer = send(&mut world, ann, &with_data);
    assert_eq!((code(&answer), &answer["detail"]), ("MALFORMED", &json!("data must be 1 to 8192 bytes")));
    assert_eq!(world.closed(ann), None);
    let padded = format!("{:12289}", offer(1, 2, "offer-0001", 0).to_string());
    world.send(ann, &padded);
    assert_eq!(world.closed(ann), Some(CloseCode::TooLong));
}
