//! The hub as a value: whom it asks when, what it makes of answers, and what outlives a restart.

use std::collections::BTreeMap;
use std::time::Duration;

use rendezvous_protocol::directory::envelope::{Record, Signed};
use rendezvous_protocol::directory::exchange;
use rendezvous_protocol::directory::record::{Access, Entry, Tombstone};
use rendezvous_protocol::directory::state::{Filter, HubWrite};
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;
use rendezvous_service::answer::Answer;
use rendezvous_service::config::Config;
use rendezvous_service::directory::{HubCall, HubConfig, HubObject, Pull};
use rendezvous_service::note::Note;
use serde_json::Value;

const START: UnixMillis = UnixMillis::saturating(1_700_000_000_000);
const MINUTE: Duration = Duration::from_secs(60);

/// No name here has a suffix.
fn domain_of(name: &str) -> &str {
    name
}

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(&[seed; 32])
}

fn entry(name: &str, seed: u8, updated: UnixMillis) -> Record {
    let entry = Entry {
        access: Access::Open,
        beacons: Vec::new(),
        capsules: Vec::new(),
        description: String::new(),
        expires_at: updated.after(MINUTE * 60),
        name: name.to_owned(),
        root: None,
        tags: Vec::new(),
        updated,
    };
    Record::Entry(Box::new(Signed::sign(entry, &key(seed)).unwrap()))
}

/// A hub with what is stored of it.
struct World {
    config: HubConfig,
    rows: BTreeMap<String, String>,
    hub: HubObject,
    now: UnixMillis,
    nonces: u8,
    notes: Vec<Note>,
}

/// Makes the hub whose key has this seed, of an origin with the next one, and of these peers.
fn world(seed: u8, peers: &[u8]) -> World {
    let pem = key(seed).to_pem().unwrap();
    let own: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let peers: Vec<_> =
        peers.iter().map(|peer| format!("https://hub{peer}.example={}", key(*peer).public_key())).collect();
    let variable = |name: &str| match name {
        "HUB_ORIGINS" => Some(key(seed + 1).public_key().to_string()),
        "HUB_PEERS" => Some(peers.join(",")),
        "HUB_KEY" => Some(own.clone()).filter(|_| !peers.is_empty()),
        "EXTERNAL_URLS" => Some(format!("https://hub{seed}.example")),
        _ => None,
    };
    let config = HubConfig::parse(&Config::parse(variable).unwrap(), variable).unwrap().unwrap();
    let (hub, writes) =
        HubObject::restore(config.clone(), Secret::from_bytes([seed; 16]), seed.into(), [], START).unwrap();
    let mut world = World { config, rows: BTreeMap::new(), hub, now: START, nonces: 0, notes: Vec::new() };
    world.store(writes);
    world
}

impl World {
    fn store(&mut self, writes: Vec<HubWrite>) {
        for write in writes {
            match write {
                HubWrite::Put { name, row } => drop(self.rows.insert(name, row)),
                HubWrite::Erase { name } => drop(self.rows.remove(&name)),
            }
        }
    }

    fn restart(&mut self) {
        let secret = Secret::from_bytes([99; 16]);
        let (hub, writes) = HubObject::restore(self.config.clone(), secret, 99, self.rows.clone(), self.now).unwrap();
        assert!(writes.is_empty());
        self.hub = hub;
    }

    /// Lets it do what is due.
    fn look(&mut self) {
        let writes = self.hub.handle_timeout(self.now);
        self.store(writes);
    }

    fn call(&mut self, call: HubCall) -> Answer {
        let (answer, writes) = self.hub.handle(self.now, call);
        self.store(writes);
        answer
    }

    fn put(&mut self, record: Record) -> u16 {
        self.call(HubCall::Put(Box::new(record.verify(self.now, domain_of).unwrap()))).status
    }

    fn names(&mut self) -> Vec<String> {
        let answer = self.call(HubCall::List { filter: Filter::default(), offset: 0, limit: 100 });
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        let name = |entry: &Value| entry["payload"]["name"].as_str().unwrap().to_owned();
        let mut names: Vec<_> = body["entries"].as_array().unwrap().iter().map(name).collect();
        names.sort();
        names
    }

    fn next_pull(&mut self) -> Option<Pull> {
        self.nonces += 1;
        self.hub.next_pull(self.now, [self.nonces; 16])
    }

    /// Lets a pull end with this answer, or with why there is none.
    fn pulled(&mut self, pull: &Pull, answer: Result<String, &str>) {
        let outcome =
            answer.map_err(str::to_owned).and_then(|answer| pull.read(self.now, domain_of, answer.as_bytes()));
        let (writes, notes) = self.hub.pulled(self.now, pull, outcome, u8::MAX);
        self.store(writes);
        self.notes.extend(notes);
    }

    fn take_events(&mut self) -> Vec<&'static str> {
        self.notes.drain(..).map(|note| note.event).collect()
    }
}

fn answer(records: &[Record], position: &str, more: bool) -> Result<String, &'static str> {
    let ways = vec!["[0,0]"; records.len()].join(",");
    let records: Vec<_> = records.iter().map(Record::to_json).collect();
    Ok(format!(
        r#"{{"more":{more},"ok":true,"position":"{position}","records":[{}],"serverTime":1,"ways":[{ways}]}}"#,
        records.join(",")
    ))
}

/// From where the pull asks.
fn since(pull: &Pull) -> Option<String> {
    let exchange = exchange::parse_body(pull.body().as_bytes()).unwrap();
    exchange.payload().since.map(|since| since.to_string())
}

#[test]
fn one_hub_asks_another_and_then_has_what_that_one_has() {
    let (mut one, mut other) = (world(10, &[20]), world(20, &[10]));
    assert_eq!(other.put(entry("chess", 21, START)), 201);
    let ask = |one: &mut World, other: &mut World| {
        let pull = one.next_pull().unwrap();
        assert_eq!(pull.url(), "https://hub20.example/v1/hubs/exchange");
        let exchange = exchange::parse_body(pull.body().as_bytes()).unwrap();
        exchange.verify_signature().unwrap();
        let answer = other.call(HubCall::Exchange(Box::new(exchange)));
        assert_eq!(answer.status, 200, "{}", answer.body);
        one.pulled(&pull, Ok(answer.body));
        since(&pull)
    };
    assert_eq!(ask(&mut one, &mut other), None);
    assert_eq!(one.names(), ["chess"]);
    assert!(one.next_pull().is_none(), "not before its time");
    one.now = one.now.after(MINUTE);
    other.now = one.now;
    assert_eq!(other.put(entry("music", 21, START)), 201);
    assert_eq!(ask(&mut one, &mut other).as_deref(), Some("00000014-1"));
    assert_eq!(one.names(), ["chess", "music"]);
    // What it knows, and how far it has come, outlives a restart.
    one.restart();
    assert_eq!(one.names(), ["chess", "music"]);
    assert_eq!(ask(&mut one, &mut other).as_deref(), Some("00000014-2"));
}

#[test]
fn nobody_is_asked_twice_at_a_time_and_peers_take_turns_a_page_each() {
    let mut world = world(10, &[20, 30, 40]);
    let mut asked = Vec::new();
    for page in 1..=9 {
        let pull = world.next_pull().unwrap();
        assert!(world.next_pull().is_none());
        asked.push(pull.url().chars().filter(char::is_ascii_digit).take(2).collect::<String>());
        world.now = world.now.after(Duration::from_millis(1));
        // Each says that there is more.
        world.pulled(&pull, answer(&[], &format!("00000001-{page}"), true));
    }
    assert_eq!(asked.iter().filter(|hub| *hub == "20").count(), 3);
    for turn in asked.chunks(3) {
        let mut turn = turn.to_vec();
        turn.sort();
        assert_eq!(turn, ["20", "30", "40"]);
    }
}

#[test]
fn a_peer_that_gets_no_further_or_never_ends_is_asked_no_more_often_than_others() {
    let mut world = world(10, &[20]);
    let pull = world.next_pull().unwrap();
    world.pulled(&pull, answer(&[], "00000001-1", true));
    let pull = world.next_pull().unwrap();
    world.pulled(&pull, answer(&[], "00000001-1", true));
    assert!(world.next_pull().is_none(), "it got no further");
    world.now = world.now.after(MINUTE);
    let mut pages = 0;
    while let Some(pull) = world.next_pull() {
        pages += 1;
        world.pulled(&pull, answer(&[], &format!("00000001-{}", 1 + pages), true));
    }
    assert_eq!(pages, 100);
}

#[test]
fn a_peer_that_does_not_answer_is_left_alone_longer_each_time_and_named_once() {
    let mut world = world(10, &[20]);
    for seconds in [10, 20, 40, 80, 160, 320, 640, 900, 900] {
        let pull = world.next_pull().unwrap();
        world.pulled(&pull, Err("no connection"));
        let again = world.now.after(Duration::from_secs(seconds));
        world.now = UnixMillis::saturating(again.as_u64() - 1);
        assert!(world.next_pull().is_none(), "{seconds}");
        world.now = again;
    }
    assert_eq!(world.take_events(), ["exchange_failed"]);
    let pull = world.next_pull().unwrap();
    world.pulled(&pull, answer(&[], "00000001-1", false));
    world.now = world.now.after(MINUTE);
    let pull = world.next_pull().unwrap();
    world.pulled(&pull, Err("no connection"));
    assert_eq!(world.take_events(), ["exchange_failed"], "it was back meanwhile");
}

#[test]
fn a_clock_that_is_set_back_puts_nothing_off_for_longer_than_the_interval_or_the_longest_pause() {
    for (outcome, longest) in [(answer(&[], "00000001-1", false), 60), (Err("no connection"), 900)] {
        let mut world = world(10, &[20]);
        world.now = START.after(MINUTE * 60 * 24);
        world.hub.handle_timeout(world.now);
        let pull = world.next_pull().unwrap();
        world.pulled(&pull, outcome);
        world.now = START;
        world.hub.handle_timeout(world.now);
        assert!(world.next_pull().is_none());
        assert!(world.hub.deadline() <= START.after(MINUTE), "what is old is forgotten");
        world.now = START.after(Duration::from_secs(longest));
        assert!(world.next_pull().is_some(), "{longest}");
    }
}

#[test]
fn what_proves_nothing_is_said_once_a_round_and_what_is_dated_ahead_is_asked_for_again() {
    let mut world = world(10, &[20]);
    let (good, early) = (entry("good", 50, START), entry("early", 50, START.after(MINUTE)));
    let forged = Record::parse(&good.to_json().replace("good", "evil")).unwrap();
    let pull = world.next_pull().unwrap();
    world.pulled(&pull, answer(&[good, forged, early], "00000001-3", false));
    assert_eq!(world.names(), ["good"]);
    assert_eq!(world.take_events(), ["exchange_left_out", "exchange_refused"]);
    world.now = world.now.after(MINUTE);
    let pull = world.next_pull().unwrap();
    assert_eq!(since(&pull).as_deref(), Some("00000001-3"));
    world.pulled(&pull, answer(&[], "00000001-3", false));
    world.now = world.now.after(MINUTE * 60);
    let pull = world.next_pull().unwrap();
    assert_eq!(since(&pull), None, "from the beginning");
    world.pulled(&pull, answer(&[entry("early", 50, START.after(MINUTE))], "00000001-3", false));
    assert!(world.take_events().is_empty());
    assert_eq!(world.rows.get(&format!("peer/{}", key(20).public_key())).map(String::as_str), Some("00000001-3"));
}

#[test]
fn after_a_restart_a_peer_is_asked_again_for_what_was_left_out() {
    let mut world = world(10, &[20]);
    let pull = world.next_pull().unwrap();
    world.pulled(&pull, answer(&[entry("one", 50, START)], "00000001-1", true));
    let pull = world.next_pull().unwrap();
    world.pulled(&pull, answer(&[entry("early", 50, START.after(MINUTE))], "00000001-2", false));
    world.now = world.now.after(MINUTE);
    world.restart();
    let pull = world.next_pull().unwrap();
    assert_eq!(since(&pull).as_deref(), Some("00000001-1"));
    world.pulled(&pull, answer(&[entry("early", 50, START.after(MINUTE))], "00000001-2", false));
    assert_eq!(world.names(), ["early", "one"]);
}

#[test]
fn an_exchange_is_answered_once_though_the_hub_was_killed_meanwhile() {
    let (mut one, mut other) = (world(10, &[20]), world(20, &[10]));
    let pull = one.next_pull().unwrap();
    let exchange = || Box::new(exchange::parse_body(pull.body().as_bytes()).unwrap());
    assert_eq!(other.call(HubCall::Exchange(exchange())).status, 200);
    other.restart();
    assert_eq!(other.call(HubCall::Exchange(exchange())).status, 409);
    // Who is not a peer any more is not remembered.
    let name = format!("seen/{}", key(10).public_key());
    let alone = world(20, &[30]).config;
    let restored = HubObject::restore(alone, Secret::from_bytes([1; 16]), 1, other.rows.clone(), START);
    assert_eq!(restored.unwrap().1, [HubWrite::Erase { name: name.clone() }]);
    other.rows.insert(name.clone(), "1".to_owned());
    let restored = HubObject::restore(other.config, Secret::from_bytes([1; 16]), 1, other.rows, START);
    assert_eq!(restored.unwrap_err().name, name);
}

#[test]
fn what_is_old_is_forgotten_and_stays_away() {
    let mut world = world(10, &[]);
    assert_eq!(world.put(entry("chess", 11, START)), 201);
    let rows = world.rows.len();
    world.now = START.after(Duration::from_secs(30 * 86_400));
    for _ in 0..30 * 24 * 60 {
        assert!(world.hub.deadline() <= world.now.after(MINUTE));
        world.now = world.now.after(MINUTE);
        world.look();
    }
    assert_eq!(world.rows.len(), rows - 1);
    assert!(world.hub.handle_timeout(world.now).is_empty(), "repeated");
    assert!(entry("chess", 11, START).verify(world.now, domain_of).is_err());
}

#[test]
fn a_clock_that_was_a_month_ahead_for_a_moment_has_a_hub_forget_nothing() {
    let mut world = world(10, &[20]);
    let pull = world.next_pull().unwrap();
    world.pulled(&pull, answer(&[entry("theirs", 50, START)], "00000001-1", false));
    assert_eq!(world.put(entry("ours", 11, START)), 201);
    for _ in 0..10 {
        let right = world.now.after(MINUTE);
        world.now = right.after(Duration::from_secs(31 * 86_400));
        world.look();
        // At a start, too.
        world.restart();
        world.look();
        world.now = right;
        world.look();
        assert_eq!(world.names(), ["ours", "theirs"]);
    }
    // Nor does a hub that is started for the first time with what another version has left.
    world.rows.remove("clock");
    let ahead = world.now.after(Duration::from_secs(31 * 86_400));
    let (mut hub, writes) =
        HubObject::restore(world.config.clone(), Secret::from_bytes([1; 16]), 2, world.rows.clone(), ahead).unwrap();
    assert_eq!(writes, [HubWrite::Put { name: "clock".to_owned(), row: START.to_string() }]);
    let writes = hub.handle_timeout(ahead.after(MINUTE));
    assert!(!writes.iter().any(|write| matches!(write, HubWrite::Erase { .. })), "{writes:?}");
    world.rows.insert("clock".to_owned(), "soon".to_owned());
    let restored = HubObject::restore(world.config.clone(), Secret::from_bytes([1; 16]), 2, world.rows.clone(), ahead);
    assert_eq!(restored.unwrap_err().name, "clock");
}

#[test]
fn what_makes_room_is_asked_for_again_of_all_peers() {
    let mut world = world(10, &[20, 30]);
    let full = 10_000 / 3;
    let minted = |number: usize| {
        let key = PrivateKey::from_seed(&[number.to_be_bytes(); 4].concat().try_into().unwrap());
        Record::Tombstone(Signed::sign(Tombstone { name: "minted".to_owned(), updated: START }, &key).unwrap())
    };
    let page = |range: std::ops::Range<usize>, position: usize| {
        let records: Vec<_> = range.clone().map(minted).collect();
        let ways = vec!["[1,1]"; range.len()].join(",");
        let none = answer(&records, &format!("00000001-{position}"), range.end < full).unwrap();
        let (before, _) = none.split_once(r#""ways""#).unwrap();
        Ok(format!(r#"{before}"ways":[{ways}]}}"#))
    };
    // The other peer has nothing to say.
    let ask = |world: &mut World, answers: &mut dyn FnMut() -> Result<String, &'static str>| {
        let mut from = Vec::new();
        while let Some(pull) = world.next_pull() {
            from.push((pull.url().contains("hub20"), since(&pull)));
            let said = if pull.url().contains("hub20") { answers() } else { answer(&[], "00000002-1", false) };
            world.pulled(&pull, said);
        }
        from
    };
    let mut at = 0;
    ask(&mut world, &mut || {
        at += 500;
        page(at - 500..at.min(full), at)
    });
    world.now = world.now.after(MINUTE * 60);
    let own = answer(&[entry("own", 21, world.now)], "00000001-9000", false);
    let mut asks = |own: &Result<String, &'static str>| {
        let asked = ask(&mut world, &mut || own.clone());
        world.now = world.now.after(MINUTE);
        (asked.iter().map(|(is_first, since)| (*is_first, since.is_some())).collect::<Vec<_>>(), world.names())
    };
    // The other one at once: it was last asked from the beginning an hour ago.
    assert_eq!(asks(&own), (vec![(true, true), (false, false)], vec!["own".to_owned()]));
    assert_eq!(asks(&answer(&[], "00000001-9000", false)).0, [(true, false), (false, true)]);
    assert_eq!(asks(&answer(&[], "00000001-9000", false)).0, [(true, true), (false, true)]);
}

#[test]
fn a_row_of_a_peer_that_cannot_be_read_is_named_and_one_of_nobody_goes() {
    let mut world = world(10, &[20]);
    let name = format!("peer/{}", key(20).public_key());
    world.rows.insert(name.clone(), "1".to_owned());
    let restore = |rows: &BTreeMap<String, String>| {
        HubObject::restore(world.config.clone(), Secret::from_bytes([1; 16]), 1, rows.clone(), START)
    };
    assert_eq!(restore(&world.rows).unwrap_err().name, name);
    let stranger = format!("peer/{}", key(60).public_key());
    let mut rows = world.rows.clone();
    rows.remove(&name);
    rows.insert(stranger.clone(), "00000001-1".to_owned());
    let (_, writes) = restore(&rows).unwrap();
    assert_eq!(writes, [HubWrite::Erase { name: stranger }]);
}
