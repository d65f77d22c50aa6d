//! Hubs against a model that is obviously right: the greatest record of each name, of all that anybody was ever given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use rendezvous_protocol::directory::envelope::{Record, Signed, VerifiedRecord};
use rendezvous_protocol::directory::exchange::{ExchangeRefused, SeenExchanges, parse_answer, write_answer};
use rendezvous_protocol::directory::limits::{
    BODY_MAX_BYTES, DISTANCE_MAX, ENTRY_MAX_LIFETIME, EXCHANGE_ANSWER_MAX_BYTES, EXCHANGE_INTERVAL_MIN,
    EXCHANGE_MAX_BYTES, EXCHANGE_MAX_RECORDS, EXCHANGES_REMEMBERED,
};
use rendezvous_protocol::directory::list::{self, ListError, ListRules};
use rendezvous_protocol::directory::record::{Access, Entry, RecordError, Tombstone};
use rendezvous_protocol::directory::state::{Filter, Hub, HubLimits, HubWrite, Refused, Source, Taken, Trust, Way};
use rendezvous_protocol::key::{PrivateKey, PublicKey};
use rendezvous_protocol::live::Position;
use rendezvous_protocol::mailbox::bytes::Bytes;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;

use crate::domain_of;

const START: UnixMillis = UnixMillis::saturating(1_700_000_000_000);
const HOUR: Duration = Duration::from_secs(3_600);
const HUBS: usize = 4;
const ORIGINS: usize = 3;

static KEYS: LazyLock<Vec<PrivateKey>> =
    LazyLock::new(|| (0..200).map(|seed| PrivateKey::from_seed(&[seed; 32])).collect());

fn origin(number: usize) -> &'static PrivateKey {
    &KEYS[number]
}

/// The key of a hub.
fn peer(number: usize) -> PublicKey {
    KEYS[100 + number].public_key()
}

fn entry(name: &str, updated: UnixMillis, life: Duration, description: &str) -> Entry {
    Entry {
        access: Access::Open,
        beacons: Vec::new(),
        capsules: Vec::new(),
        description: description.to_owned(),
        expires_at: updated.after(life),
        name: name.to_owned(),
        root: None,
        tags: vec!["tag".to_owned()],
        updated,
    }
}

fn signed(entry: Entry, key: &PrivateKey) -> Record {
    Record::Entry(Box::new(Signed::sign(entry, key).unwrap()))
}

fn tombstone(name: &str, updated: UnixMillis, key: &PrivateKey) -> Record {
    Record::Tombstone(Signed::sign(Tombstone { name: name.to_owned(), updated }, key).unwrap())
}

/// A hub with its storage, and how far it has come at each other.
struct Node {
    hub: Hub,
    limits: HubLimits,
    trust: Trust,
    rows: BTreeMap<String, String>,
    cursors: BTreeMap<usize, Position>,
    /// The last epoch.
    starts: u32,
}

impl Node {
    fn new(limits: HubLimits, trust: Trust, epoch: u32) -> Self {
        let mut writes = Vec::new();
        let secret = Secret::from_bytes([epoch as u8; 16]);
        let (hub, _) = Hub::restore(limits, trust.clone(), secret, epoch, [], &mut writes).unwrap();
        let mut node = Self { hub, limits, trust, rows: BTreeMap::new(), cursors: BTreeMap::new(), starts: epoch };
        node.store(writes);
        node
    }

    fn store(&mut self, writes: Vec<HubWrite>) {
        for write in writes {
            match write {
                HubWrite::Put { name, row } => drop(self.rows.insert(name, row)),
                HubWrite::Erase { name } => assert!(self.rows.remove(&name).is_some(), "{name} was not there"),
            }
        }
    }

    fn offer(&mut self, record: VerifiedRecord, source: Source) -> Result<Taken, Refused> {
        self.offer_by(record, source, Way::default())
    }

    fn offer_by(&mut self, record: VerifiedRecord, source: Source, way: Way) -> Result<Taken, Refused> {
        let mut writes = Vec::new();
        let outcome = self.hub.offer(record, source, way, &mut writes);
        assert!(outcome.is_ok() || writes.is_empty());
        self.store(writes);
        outcome
    }

    fn forget(&mut self, now: UnixMillis) {
        let mut writes = Vec::new();
        self.hub.handle_timeout(now, &mut writes);
        self.store(writes);
    }

    /// As after a crash: what is in storage is all that there is.
    fn restart(&mut self) {
        let mut writes = Vec::new();
        let rows = self.rows.clone();
        let other = Secret::from_bytes([99; 16]);
        self.starts += 1;
        let (limits, trust) = (self.limits, self.trust.clone());
        let (hub, has_dropped) = Hub::restore(limits, trust, other, self.starts, rows, &mut writes).unwrap();
        assert!(writes.is_empty() && !has_dropped);
        self.hub = hub;
    }

    fn all(&self, now: UnixMillis) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let mut since = None;
        loop {
            let told = self.hub.tell(now, since);
            all.extend(told.records.into_iter().map(|(record, _)| record));
            since = Some(told.position);
            if !told.more {
                return all;
            }
        }
    }
}

/// Pulls everything that is new since the last time. An answer may be lost: then it is asked for again.
fn pull(nodes: &mut [Node], now: UnixMillis, to: usize, from: usize, is_lost: bool) {
    let since = nodes[to].cursors.get(&from).copied();
    let told = nodes[from].hub.tell(now, since);
    for (record, way) in &told.records {
        let record = VerifiedRecord::trusted(record).unwrap();
        // Older than what is known here, the origin has newer names, or there is no room.
        let _ = nodes[to].offer_by(record, Source::Peer(peer(from)), *way);
    }
    if !is_lost {
        nodes[to].cursors.insert(from, told.position);
        if told.more {
            pull(nodes, now, to, from, false);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// An origin signs something and puts it at its hub.
    Put {
        origin: usize,
        name: u8,
        hours: u64,
        is_tombstone: bool,
        text: u8,
    },
    /// Whatever was once signed arrives somewhere, again or late.
    Arrive {
        which: Index,
        hub: usize,
        from: usize,
    },
    Pull {
        to: usize,
        from: usize,
        is_lost: bool,
    },
    Wait(Duration),
    Restart(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let put = (0..ORIGINS, 0_u8..5, 1_u64..720, prop::bool::weighted(0.3), 0_u8..2);
    prop_oneof![
        6 => put.prop_map(|(origin, name, hours, is_tombstone, text)| Step::Put { origin, name, hours, is_tombstone, text }),
        5 => (any::<Index>(), 0..HUBS, 0..HUBS).prop_map(|(which, hub, from)| Step::Arrive { which, hub, from }),
        4 => (0..HUBS, 0..HUBS, any::<bool>()).prop_map(|(to, from, is_lost)| Step::Pull { to, from, is_lost }),
        3 => prop_oneof![
            // Two records of one moment, which an origin should not sign and may.
            Just(Duration::ZERO),
            Just(Duration::from_millis(1)),
            (1_u32..400).prop_map(|hours| HOUR * hours),
        ].prop_map(Step::Wait),
        1 => (0..HUBS).prop_map(Step::Restart),
    ]
}

/// Of all that was given: of each name the greatest, of each origin the greatest `most`, as long as they are remembered.
fn model(given: &[VerifiedRecord], most: usize, now: UnixMillis) -> BTreeSet<String> {
    let mut greatest: BTreeMap<(PublicKey, String), &VerifiedRecord> = BTreeMap::new();
    for record in given {
        let key = (record.record().origin(), record.record().name().to_owned());
        let standing = greatest.entry(key).or_insert(record);
        if record.rank() > standing.rank() {
            *standing = record;
        }
    }
    let mut of_origin: BTreeMap<PublicKey, Vec<&VerifiedRecord>> = BTreeMap::new();
    greatest.into_iter().for_each(|((origin, _), record)| of_origin.entry(origin).or_default().push(record));
    let is_remembered = |record: &&VerifiedRecord| record.record().updated().after(ENTRY_MAX_LIFETIME) > now;
    let mut expected = BTreeSet::new();
    for mut records in of_origin.into_values() {
        records.sort_by(|one, other| other.rank().cmp(&one.rank()));
        expected.extend(records.into_iter().take(most).filter(is_remembered).map(|record| record.as_json().to_owned()));
    }
    expected
}

/// Hubs that ask one another in a ring, which is the least that connects them.
fn hubs(limits: HubLimits) -> Vec<Node> {
    let peers: Vec<_> = (0..HUBS).map(peer).collect();
    let node = |hub: usize| {
        let origins = (0..ORIGINS).filter(|origin| origin % HUBS == hub).map(|number| origin(number).public_key());
        Node::new(limits, Trust { origins: origins.collect(), peers: peers.clone() }, 1 + hub as u32)
    };
    (0..HUBS).map(node).collect()
}

/// What happens where a hub is trusted that also trusts hostile ones.
#[derive(Clone, Debug)]
enum Pressure {
    /// An origin of the middle hub puts a name.
    Own(u8),
    /// A hostile peer of the middle hub mints a key, with so many names, and says of them that they came by this way.
    Minted {
        names: u8,
        way: Way,
    },
    /// An honest peer of the middle hub has a name.
    Other(u8),
    /// The next hub asks the one before it.
    Pull {
        to: usize,
    },
    Restart {
        hub: usize,
    },
}

fn pressure() -> impl Strategy<Value = Pressure> {
    let way = (0_u8..=8, 0_u8..4).prop_map(|(distance, through)| Way(distance, through));
    prop_oneof![
        2 => (0_u8..20).prop_map(Pressure::Own),
        6 => (1_u8..6, way).prop_map(|(names, way)| Pressure::Minted { names, way }),
        2 => (0_u8..6).prop_map(Pressure::Other),
        4 => (1_usize..3).prop_map(|to| Pressure::Pull { to }),
        1 => (0_usize..3).prop_map(|hub| Pressure::Restart { hub }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// A chain: hub 2 trusts hub 1 alone, which trusts hub 0, which trusts a hostile one and an honest one. Hub 0 has at most 20
    /// names of its own, and its share elsewhere is 30.
    #[test]
    fn what_comes_of_a_hub_has_all_of_its_own_whatever_others_minted(
        steps in prop::collection::vec(pressure(), 1..120),
    ) {
        let [hostile, honest] = [50, 51].map(peer);
        let limits = HubLimits { records: 60, of_origin: 64 };
        let own = Trust { origins: vec![origin(0).public_key()], peers: vec![peer(1), hostile, honest] };
        let hubs = [own, Trust { peers: vec![peer(0)], ..Trust::default() }, Trust { peers: vec![peer(1)], ..Trust::default() }];
        // A share of hub 0 has room for all that the hostile hub mints and more.
        let of_hub = |hub: usize| if hub == 0 { HubLimits { records: 4_000, of_origin: 64 } } else { limits };
        let mut nodes: Vec<_> =
            hubs.into_iter().enumerate().map(|(hub, trust)| Node::new(of_hub(hub), trust, 1 + hub as u32)).collect();
        let (mut minted, mut others) = (0_u8, BTreeSet::new());
        let record = |key: &PrivateKey, name: &str| signed(entry(name, START, HOUR, ""), key).verify(START, domain_of).unwrap();
        for step in steps {
            match step {
                Pressure::Own(name) => drop(nodes[0].offer(record(origin(0), &format!("own-{name}")), Source::Own)),
                Pressure::Minted { names, way } => {
                    minted = minted.wrapping_add(1);
                    let key = PrivateKey::from_seed(&[minted, 1, 2, 3].repeat(8).try_into().unwrap());
                    for name in 0..names {
                        let _ = nodes[0].offer_by(record(&key, &format!("minted-{name}")), Source::Peer(hostile), way);
                    }
                }
                Pressure::Other(name) => {
                    others.insert(name);
                    let _ = nodes[0].offer(record(origin(1), &format!("other-{name}")), Source::Peer(honest));
                }
                Pressure::Pull { to } => pull(&mut nodes, START, to, to - 1, false),
                Pressure::Restart { hub } => nodes[hub].restart(),
            }
            for node in &nodes[1..] {
                prop_assert!(node.hub.len() <= 30.max(node.hub.share()));
            }
        }
        for to in [1, 2] {
            pull(&mut nodes, START, to, to - 1, false);
        }
        let names = |node: &Node, of: &str| {
            let all = node.all(START).into_iter().map(|record| Record::parse(&record).unwrap().name().to_owned());
            all.filter(|name| name.starts_with(of)).collect::<BTreeSet<_>>()
        };
        let own = names(&nodes[0], "own-");
        for node in &nodes[1..] {
            prop_assert_eq!(&names(node, "own-"), &own);
            // Nothing is left out for want of room that there is.
            prop_assert!(node.hub.len() == node.hub.share().min(nodes[0].hub.len()));
        }
        // What an honest peer's own origins say has its part of what is left, where the hostile hub is no nearer.
        let room = (nodes[1].hub.share() - own.len()) / 2;
        prop_assert!(names(&nodes[1], "other-").len() >= others.len().min(room), "{} of {}", names(&nodes[1], "other-").len(), others.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn hubs_that_ask_one_another_hold_the_same_whatever_was_lost_late_or_came_twice(
        steps in prop::collection::vec(step(), 1..80),
        of_origin in prop_oneof![Just(64_usize), Just(5), Just(2)],
    ) {
        let limits = HubLimits { of_origin, ..HubLimits::default() };
        let mut nodes = hubs(limits);
        let (mut now, mut given) = (START, Vec::<VerifiedRecord>::new());
        // The newest that each hub has ever known of a name.
        let mut newest: Vec<BTreeMap<(PublicKey, String), UnixMillis>> = vec![BTreeMap::new(); HUBS];
        for step in steps {
            match step {
                Step::Put { origin: number, name, hours, is_tombstone, text } => {
                    let (key, name) = (origin(number), format!("name-{name}"));
                    let record = if is_tombstone {
                        tombstone(&name, now, key)
                    } else {
                        signed(entry(&name, now, HOUR * hours as u32, &format!("text {text}")), key)
                    };
                    let record = record.verify(now, domain_of).unwrap();
                    let outcome = nodes[number % HUBS].offer(record.clone(), Source::Own);
                    match outcome {
                        Ok(_) => given.push(record),
                        Err(Refused::StaleEntry { standing }) => prop_assert!(standing >= now),
                        Err(Refused::OriginFull { most }) => prop_assert_eq!(most, of_origin),
                        Err(refused) => prop_assert!(false, "{}", refused),
                    }
                }
                Step::Arrive { which, hub, from } => {
                    if !given.is_empty() {
                        // Only what is good now gets so far.
                        if let Ok(record) = which.get(&given).record().clone().verify(now, domain_of) {
                            let _ = nodes[hub].offer(record, Source::Peer(peer(from)));
                        }
                    }
                }
                Step::Pull { to, from, is_lost } => pull(&mut nodes, now, to, from, is_lost),
                Step::Wait(time) => {
                    now = now.after(time);
                    nodes.iter_mut().for_each(|node| node.forget(now));
                }
                Step::Restart(hub) => nodes[hub].restart(),
            }
            for (node, newest) in nodes.iter().zip(&mut newest) {
                for record in node.all(now) {
                    let record = VerifiedRecord::trusted(&record).unwrap();
                    let key = (record.record().origin(), record.record().name().to_owned());
                    let updated = record.record().updated();
                    let before = newest.insert(key, updated);
                    prop_assert!(before.is_none_or(|before| before <= updated), "something rose again");
                }
            }
        }
        for _ in 0..HUBS {
            for hub in 0..HUBS {
                pull(&mut nodes, now, hub, (hub + 1) % HUBS, false);
            }
        }
        let expected = model(&given, of_origin, now);
        for node in &mut nodes {
            node.forget(now);
            prop_assert_eq!(&node.all(now), &expected);
            // And after the next crash.
            node.restart();
            prop_assert_eq!(&node.all(now), &expected);
            prop_assert_eq!(node.hub.len(), expected.len());
        }
    }

    #[test]
    fn what_a_hostile_hub_changes_is_refused(
        of_tombstone in any::<bool>(),
        with_root in any::<bool>(),
        at in any::<Index>(),
        to in any::<u8>(),
    ) {
        let good = entry("name", START, HOUR, "a text");
        let good = if with_root { good.endorsed(&origin(0).public_key(), Bytes([7; 32]), origin(1)) } else { good };
        let good = if of_tombstone { tombstone("name", START, origin(0)) } else { signed(good, origin(0)) };
        let mut bytes = good.to_json().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        let outcome = str::from_utf8(&bytes).map_err(|_| ()).and_then(|text| Record::parse(text).map_err(|_| ()));
        // What is still good says the same: a byte of layout.
        if let Ok(verified) = outcome.and_then(|record| record.verify(START, domain_of).map_err(|_| ())) {
            prop_assert_eq!(verified.record(), &good);
        }
    }

    #[test]
    fn no_answer_is_longer_than_may_be_read_and_all_answers_together_are_everything(
        lengths in prop::collection::vec(0_usize..280, 0..60),
        most in 1_usize..100,
    ) {
        let trust = Trust { origins: vec![origin(0).public_key()], peers: Vec::new() };
        let mut node = Node::new(HubLimits { of_origin: 1_000, ..HubLimits::default() }, trust, 1);
        for (number, length) in lengths.iter().enumerate() {
            let record = signed(entry(&format!("n{number}"), START, HOUR, &"x".repeat(*length)), origin(0));
            node.offer(record.verify(START, domain_of).unwrap(), Source::Own).unwrap();
        }
        let listed = |offset| node.hub.list(START, &Filter::default(), offset, most);
        let mut entries = BTreeSet::new();
        for page in 0..lengths.len().div_ceil(most) {
            let listing = listed(page * most);
            prop_assert_eq!(listing.total, lengths.len());
            prop_assert!(listing.entries.len() <= most);
            entries.extend(listing.entries);
        }
        prop_assert_eq!(entries.len(), lengths.len());
        prop_assert!(listed(lengths.len()).entries.is_empty());
        prop_assert_eq!(node.all(START).len(), lengths.len());
    }
}

#[test]
fn an_exchange_is_told_in_parts_that_a_peer_reads() {
    let trust = Trust { origins: vec![origin(0).public_key()], peers: vec![peer(0)] };
    let mut node = Node::new(HubLimits { of_origin: 2_000, ..HubLimits::default() }, trust, 1);
    // One signature for all: only sizes matter here.
    let record = signed(entry("n0000", START, HOUR, &"\"".repeat(280)), origin(0)).to_json();
    let names: Vec<_> = (0..1_200).map(|number| format!("n{number:04}")).collect();
    for name in &names {
        let record = VerifiedRecord::trusted(&record.replace("n0000", name)).unwrap();
        node.offer(record, Source::Own).unwrap();
    }
    let (mut since, mut seen, mut parts) = (None, Vec::new(), 0);
    loop {
        let told = node.hub.tell(START, since);
        let text = write_answer(START, &told);
        assert!(text.len() <= EXCHANGE_ANSWER_MAX_BYTES && told.records.len() <= EXCHANGE_MAX_RECORDS);
        assert!(told.records.iter().map(|(record, _)| record.len()).sum::<usize>() <= EXCHANGE_MAX_BYTES);
        let answer = parse_answer(text.as_bytes()).unwrap();
        seen.extend(answer.records.into_iter().map(|(record, _)| record.unwrap().name().to_owned()));
        (since, parts) = (Some(answer.position), parts + 1);
        if !answer.more {
            break;
        }
    }
    assert_eq!((seen, parts), (names, 3));
    // Of another life of the log, or of the future: from the beginning.
    for since in ["00000002-1200", "00000001-1201"] {
        assert_eq!(node.hub.tell(START, since.parse().ok()).records.len(), EXCHANGE_MAX_RECORDS, "{since}");
    }
    assert!(node.hub.tell(START, "00000001-1200".parse().ok()).records.is_empty());
}

#[test]
fn an_answer_that_no_hub_gives_is_refused_and_a_record_that_cannot_be_read_costs_only_itself() {
    let good = signed(entry("name", START, HOUR, ""), origin(0)).to_json();
    let answer_of = |records: &str, ways: &str| {
        format!(r#"{{"ok":true,"position":"00000001-1","more":false,"records":[{records}],"ways":[{ways}],"later":1}}"#)
    };
    let answer = |records: &str| answer_of(records, "");
    let read =
        parse_answer(answer_of(&format!(r#"{good},{{"novelty":{{}}}},7"#), "[0,0],[8,255],[1, 2]").as_bytes()).unwrap();
    let found: Vec<_> = read.records.iter().map(|(record, way)| (record.is_ok(), *way)).collect();
    assert_eq!(found, [(true, Way(0, 0)), (false, Way(8, 255)), (false, Way(1, 2))]);
    for ways in ["", "[0,0],[0,0]", "[9,0]", "[0,256]", "[0]", "[0,0,0]", "[0,1.0]", "[-1,0]", "0", "null", "{}"] {
        let refused = parse_answer(answer_of(&good, ways).as_bytes());
        assert!(matches!(refused, Err(RecordError::Malformed(_))), "{ways}");
    }
    // A hub that says no ways.
    let read = parse_answer(answer_of(&format!("{good},7"), "").replace("\"ways\":[],", "").as_bytes()).unwrap();
    let found: Vec<_> = read.records.iter().map(|(record, way)| (record.is_ok(), *way)).collect();
    assert_eq!(found, [(true, Way::FARTHEST), (false, Way::FARTHEST)]);
    let many = vec!["1"; EXCHANGE_MAX_RECORDS + 1].join(",");
    let many_ways = vec!["[0,0]"; EXCHANGE_MAX_RECORDS + 1].join(",");
    for text in [
        String::new(),
        "[]".to_owned(),
        answer("").replace("true", "false"),
        answer("").replace("00000001-1", "1"),
        answer("").replace("\"records\":[],", ""),
        answer("").replace("\"ways\":[]", "\"ways\":null"),
        answer("").replace("\"ways\":[]", "\"ways\":{}"),
        answer_of(&many, &many_ways),
        answer(&"1".repeat(EXCHANGE_ANSWER_MAX_BYTES)),
    ] {
        assert!(matches!(parse_answer(text.as_bytes()), Err(RecordError::Malformed(_))), "{}", text.len());
    }
}

#[test]
fn no_peer_fills_the_share_of_another() {
    let [honest, hostile] = [0, 1].map(|number| Source::Peer(peer(number)));
    let trust = Trust { origins: vec![origin(0).public_key()], peers: vec![peer(0), peer(1)] };
    let mut node = Node::new(HubLimits { records: 12, of_origin: 64 }, trust, 1);
    let record = |key: usize, name: &str, updated| {
        signed(entry(name, updated, HOUR, ""), origin(key)).verify(START.after(HOUR), domain_of).unwrap()
    };
    // Keys are free.
    let flood = (10..40).map(|key| node.offer(record(key, "flood", START), hostile));
    assert_eq!(flood.filter(Result::is_ok).count(), 4);
    // What it was first to bring is the origin's all the same.
    let refused = node.offer(record(1, "one", START), hostile);
    assert_eq!(refused, Err(Refused::HubFull { most: 4 }));
    for number in 0..4 {
        assert_eq!(node.offer(record(1, &format!("n{number}"), START), honest), Ok(Taken::New));
        assert_eq!(node.offer(record(0, &format!("n{number}"), START), Source::Own), Ok(Taken::New));
    }
    for source in [honest, Source::Own] {
        assert_eq!(node.offer(record(0, "more", START), source), Err(Refused::HubFull { most: 4 }));
    }
    // A newer one of a known name needs no room, whoever brings it.
    assert_eq!(node.offer(record(1, "n0", START.after(HOUR)), hostile), Ok(Taken::Replaced));
    assert_eq!(node.offer(record(1, "n0", START), honest), Err(Refused::StaleEntry { standing: START.after(HOUR) }));
    assert_eq!(node.offer(record(5, "n0", START), Source::Own), Err(Refused::OriginMismatch));
    node.restart();
    assert_eq!(node.hub.len(), 12);
    assert_eq!(node.offer(record(41, "flood", START), hostile), Err(Refused::HubFull { most: 4 }));
}

#[test]
fn what_came_of_whom_nobody_trusts_any_more_is_dropped() {
    let trust = Trust { origins: vec![origin(0).public_key()], peers: vec![peer(0), peer(1)] };
    let mut node = Node::new(HubLimits::default(), trust, 1);
    let record = |key: usize| signed(entry("name", START, HOUR, ""), origin(key)).verify(START, domain_of).unwrap();
    node.offer(record(0), Source::Own).unwrap();
    node.offer(record(1), Source::Peer(peer(0))).unwrap();
    node.offer(record(2), Source::Peer(peer(1))).unwrap();
    let mut writes = Vec::new();
    let trust = Trust { origins: Vec::new(), peers: vec![peer(1)] };
    let rows = node.rows.clone();
    let other = Secret::from_bytes([0; 16]);
    let (hub, has_dropped) = Hub::restore(HubLimits::default(), trust, other, 9, rows, &mut writes).unwrap();
    assert!(has_dropped);
    assert_eq!(hub.list(START, &Filter::default(), 0, 9).entries.len(), 1);
    assert_eq!(writes.iter().filter(|write| matches!(write, HubWrite::Erase { .. })).count(), 2);
    // Numbers that were given away are not given away again.
    assert_eq!(hub.tell(START, None).position, "00000009-3".parse().unwrap());
}

#[test]
fn a_hub_of_an_older_copy_tells_its_peers_everything() {
    let trust = Trust { origins: vec![origin(0).public_key()], peers: Vec::new() };
    let mut node = Node::new(HubLimits::default(), trust, 1);
    let record = |name: &str| signed(entry(name, START, HOUR, ""), origin(0)).verify(START, domain_of).unwrap();
    node.offer(record("kept"), Source::Own).unwrap();
    let copy = node.rows.clone();
    node.offer(record("lost"), Source::Own).unwrap();
    let since = node.hub.tell(START, None).position;
    node.rows = copy;
    node.restart();
    node.offer(record("new"), Source::Own).unwrap();
    let told = node.hub.tell(START, Some(since));
    assert_eq!(told.records.len(), 2, "the new one has the number of the one that was lost");
    assert!(node.hub.tell(START, Some(told.position)).records.is_empty());
}

#[test]
fn what_its_origin_puts_here_itself_stays_when_the_peer_that_brought_it_first_goes() {
    let trust = Trust { origins: vec![origin(0).public_key()], peers: vec![peer(0)] };
    // Three for each.
    let mut node = Node::new(HubLimits { records: 6, of_origin: 64 }, trust.clone(), 1);
    let record = |key: usize, name: &str, updated| {
        signed(entry(name, updated, HOUR, ""), origin(key)).verify(START.after(HOUR), domain_of).unwrap()
    };
    let (of_peer, later) = (Source::Peer(peer(0)), START.after(Duration::from_millis(1)));
    for name in ["known", "replaced", "theirs"] {
        assert_eq!(node.offer(record(0, name, START), of_peer), Ok(Taken::New));
    }
    let told = node.hub.tell(START, None).position;
    assert_eq!(node.offer(record(0, "known", START), Source::Own), Ok(Taken::Known));
    let again = node.hub.tell(START, Some(told)).records;
    assert_eq!(
        again.iter().map(|(_, way)| *way).collect::<Vec<_>>(),
        [Way(0, 0)],
        "it has more right to a peer's room"
    );
    assert_eq!(node.offer(record(0, "replaced", later), Source::Own), Ok(Taken::Replaced));
    // The places at the peer's share are free again, and those of the hub's own are taken.
    assert_eq!(node.offer(record(0, "own", START), Source::Own), Ok(Taken::New));
    assert_eq!(node.offer(record(0, "more", START), Source::Own), Err(Refused::HubFull { most: 3 }));
    assert_eq!(
        node.offer(record(0, "theirs", later), Source::Own),
        Ok(Taken::Replaced),
        "where it was: there is no room"
    );
    for name in ["one", "two"] {
        assert_eq!(node.offer(record(1, name, START), of_peer), Ok(Taken::New));
    }
    assert_eq!(node.offer(record(1, "three", START), of_peer), Err(Refused::HubFull { most: 3 }));
    // What the peer brings again stays the hub's own.
    assert_eq!(node.offer(record(0, "known", later), of_peer), Ok(Taken::Replaced));
    node.restart();
    node.trust = Trust { peers: Vec::new(), ..trust };
    let (rows, mut writes) = (node.rows.clone(), Vec::new());
    let secret = Secret::from_bytes([0; 16]);
    let (hub, _) = Hub::restore(node.limits, node.trust.clone(), secret, 9, rows, &mut writes).unwrap();
    let listed = hub.list(later, &Filter::default(), 0, 9).entries;
    let names: BTreeSet<_> = listed.iter().map(|entry| Record::parse_entry(entry).unwrap().name().to_owned()).collect();
    assert_eq!(names, ["known", "own", "replaced"].map(str::to_owned).into());
}

#[test]
fn a_row_without_a_way_counts_as_the_farthest_until_its_peer_says_a_nearer_one() {
    let trust = Trust { origins: vec![origin(0).public_key()], peers: vec![peer(0)] };
    let [own, brought, other] = [(0, "own"), (1, "brought"), (2, "other")]
        .map(|(key, name)| signed(entry(name, START, HOUR, ""), origin(key)).verify(START, domain_of).unwrap());
    let row_name = |record: &VerifiedRecord| format!("record/{}/{}", record.record().origin(), record.record().name());
    // As a hub that knows no ways writes them.
    let peers = format!(r#","source":"{}""#, peer(0));
    let written = [(&own, 1, ""), (&brought, 2, &*peers)].map(|(record, sequence, source)| {
        (row_name(record), format!(r#"{{"record":{},"sequence":{sequence}{source}}}"#, record.as_json()))
    });
    let head = ("hub".to_owned(), r#"{"last":2,"secret":"AAAAAAAAAAAAAAAAAAAAAA=="}"#.to_owned());
    // The peer's share is one record.
    let mut node = Node::new(HubLimits { records: 2, of_origin: 64 }, trust, 1);
    node.rows = written.into_iter().chain([head]).collect();
    node.restart();
    let all = |records: [&VerifiedRecord; 2]| BTreeSet::from(records.map(|record| record.as_json().to_owned()));
    assert_eq!(node.all(START), all([&own, &brought]));
    assert!(node.hub.tell(START, None).records.contains(&(brought.as_json().to_owned(), Way(DISTANCE_MAX, 1))));
    let of_peer = Source::Peer(peer(0));
    assert_eq!(node.offer_by(other.clone(), of_peer, Way(DISTANCE_MAX, 1)), Err(Refused::HubFull { most: 1 }));
    // Nearer by the word of the same peer, it is nothing that yields; nor is it after a restart.
    assert_eq!(node.offer_by(brought.clone(), of_peer, Way(1, 1)), Ok(Taken::Known));
    node.restart();
    assert_eq!(node.offer_by(other.clone(), of_peer, Way(1, 2)), Err(Refused::HubFull { most: 1 }));
    assert_eq!(node.offer_by(other.clone(), of_peer, Way(0, 0)), Ok(Taken::InPlaceOfAnother));
    assert_eq!(node.all(START), all([&own, &other]));
    // What is there and cannot be read is an error.
    for way in [r#""way":null"#, r#""way":[9,0]"#, r#""way":[1]"#, r#""way":"#] {
        let row = format!(r#"{{"record":{},"sequence":2{peers},{way}}}"#, brought.as_json());
        let (rows, secret) = ([(row_name(&brought), row)], Secret::from_bytes([0; 16]));
        let restored = Hub::restore(HubLimits::default(), node.trust.clone(), secret, 9, rows, &mut Vec::new());
        assert_eq!(restored.unwrap_err().name, row_name(&brought), "{way}");
    }
    let row = format!(r#"{{"record":{},"sequence":1,"way":[0,0]}}"#, own.as_json());
    let (rows, secret) = ([(row_name(&own), row)], Secret::from_bytes([0; 16]));
    let restored = Hub::restore(HubLimits::default(), node.trust.clone(), secret, 9, rows, &mut Vec::new());
    assert_eq!(restored.unwrap_err().name, row_name(&own));
}

#[test]
fn a_row_of_a_name_that_no_record_may_have_any_more_is_erased() {
    let trust = Trust { origins: vec![origin(0).public_key()], peers: Vec::new() };
    let mut node = Node::new(HubLimits::default(), trust, 1);
    let kept = signed(entry("kept", START, HOUR, ""), origin(0)).verify(START, domain_of).unwrap();
    node.offer(kept.clone(), Source::Own).unwrap();
    let before = node.rows.clone();
    let mut rows = before.clone();
    let names = [".", ".."].map(|name| format!("record/{}/{name}", origin(0).public_key()));
    for (name, of) in names.iter().zip([".", ".."]) {
        let record = kept.as_json().replace(r#""name":"kept""#, &format!(r#""name":"{of}""#));
        rows.insert(name.clone(), format!(r#"{{"record":{record},"sequence":9}}"#));
    }
    let (mut writes, secret) = (Vec::new(), Secret::from_bytes([0; 16]));
    let (hub, has_dropped) =
        Hub::restore(node.limits, node.trust.clone(), secret, 9, rows.clone(), &mut writes).unwrap();
    assert_eq!((hub.len(), has_dropped), (1, false));
    node.rows = rows;
    node.store(writes);
    assert_eq!(node.rows, before);
}

#[test]
fn a_row_that_cannot_be_read_is_named() {
    let trust = Trust { origins: vec![origin(0).public_key()], peers: Vec::new() };
    let mut node = Node::new(HubLimits::default(), trust, 1);
    node.offer(signed(entry("name", START, HOUR, ""), origin(0)).verify(START, domain_of).unwrap(), Source::Own)
        .unwrap();
    for name in node.rows.keys() {
        for row in ["", "{}", "7", "{\"record\":{}}"] {
            let mut rows = node.rows.clone();
            rows.insert(name.clone(), row.to_owned());
            let secret = Secret::from_bytes([0; 16]);
            let restored = Hub::restore(HubLimits::default(), node.trust.clone(), secret, 9, rows, &mut Vec::new());
            assert_eq!(restored.unwrap_err().name, *name, "{row}");
        }
    }
}

#[test]
fn origins_take_turns() {
    let trust = Trust { origins: (0..3).map(|number| origin(number).public_key()).collect(), peers: Vec::new() };
    let mut node = Node::new(HubLimits::default(), trust, 1);
    for (key, names) in [(0, 20), (1, 2), (2, 1)] {
        for number in 0..names {
            let updated = START.after(Duration::from_millis(number));
            let record = signed(entry(&format!("n{number:02}"), updated, HOUR, ""), origin(key));
            node.offer(record.verify(updated, domain_of).unwrap(), Source::Own).unwrap();
        }
    }
    let now = START.after(Duration::from_secs(1));
    let listed = node.hub.list(now, &Filter::default(), 0, 100).entries;
    let listed: Vec<_> = listed.iter().map(|entry| Record::parse_entry(entry).unwrap()).collect();
    let number = |record: &Record| (0..3).find(|number| origin(*number).public_key() == record.origin()).unwrap();
    let mut turns: Vec<_> = listed.iter().map(number).collect();
    turns[..3].sort_unstable();
    turns[3..5].sort_unstable();
    assert_eq!(turns[..5], [0, 1, 2, 0, 1]);
    assert!(turns[5..].iter().all(|number| *number == 0));
    // An origin's newest is first.
    let of_first: Vec<_> = listed.iter().filter(|record| number(record) == 0).map(|record| record.name()).collect();
    assert!(of_first.is_sorted_by(|one, other| one > other), "{of_first:?}");
    // Nobody is first for ever.
    let first = |minutes: u64| {
        let later = now.after(Duration::from_secs(60 * minutes));
        let listing = node.hub.list(later, &Filter::default(), 0, 1);
        listing.entries.first().map(|entry| number(&Record::parse_entry(entry).unwrap()))
    };
    let firsts: BTreeSet<_> = (0..5).map(|ten| first(10 * ten)).collect();
    assert!(firsts.len() > 1, "{firsts:?}");
}

#[test]
fn entries_are_found_by_name_tag_and_text() {
    let trust = Trust { origins: vec![origin(0).public_key(), origin(1).public_key()], peers: Vec::new() };
    let mut node = Node::new(HubLimits::default(), trust, 1);
    for (key, name, description, tag) in
        [(0, "Chess", "Board games", "games"), (1, "Chess", "About ÄPFEL", "fruit"), (0, "music", "", "games")]
    {
        let mut entry = entry(name, START, HOUR, description);
        entry.tags = vec![tag.to_owned()];
        node.offer(signed(entry, origin(key)).verify(START, domain_of).unwrap(), Source::Own).unwrap();
    }
    node.offer(tombstone("gone", START, origin(0)).verify(START, domain_of).unwrap(), Source::Own).unwrap();
    let total = |name: Option<&str>, tag: Option<&str>, text: Option<&str>| {
        let [name, tag, text] = [name, tag, text].map(|text| text.map(str::to_owned));
        node.hub.list(START, &Filter { name, tag, text, origin: None }, 0, 10).total
    };
    let of_origin = |key: usize, name: Option<&str>| {
        let (name, origin) = (name.map(str::to_owned), Some(origin(key).public_key()));
        node.hub.list(START, &Filter { name, origin, ..Filter::default() }, 0, 10).total
    };
    assert_eq!([of_origin(0, None), of_origin(1, None), of_origin(2, None)], [2, 1, 0]);
    assert_eq!([of_origin(0, Some("Chess")), of_origin(1, Some("music"))], [1, 0]);
    assert_eq!(total(None, None, None), 3);
    assert_eq!(total(Some("Chess"), None, None), 2);
    assert_eq!(total(Some("chess"), None, None), 0);
    assert_eq!(total(None, Some("games"), None), 2);
    assert_eq!(total(None, Some("game"), None), 0);
    assert_eq!(total(None, None, Some("chess")), 2);
    assert_eq!(total(None, None, Some("äpfel")), 1);
    assert_eq!(total(None, Some("games"), Some("board")), 1);
    assert_eq!(total(Some("gone"), None, None), 0);
    // What has ended is remembered, and not listed.
    assert_eq!(node.hub.list(START.after(HOUR), &Filter::default(), 0, 10).total, 0);
    assert_eq!(node.hub.len(), 4);
}

#[test]
fn an_exchange_is_answered_once_and_not_too_often() {
    let mut seen = SeenExchanges::default();
    let nonce = |number: usize| Bytes([number as u8; 16]);
    for number in 0..EXCHANGES_REMEMBERED {
        assert_eq!(seen.take(START, peer(0), nonce(number)), Ok(()));
        assert_eq!(seen.take(START, peer(0), nonce(number)), Err(ExchangeRefused::Replayed));
    }
    assert_eq!(seen.take(START, peer(0), nonce(200)), Err(ExchangeRefused::TooOften));
    assert_eq!(seen.take(START, peer(1), nonce(0)), Ok(()), "another peer");
    // A restart forgets nothing.
    let mut restored = SeenExchanges::default();
    for number in 0..2 {
        assert_eq!(restored.restore(peer(number), &seen.row(&peer(number))), Some(()));
    }
    for seen in [&mut seen, &mut restored] {
        assert_eq!(seen.take(START, peer(0), nonce(7)), Err(ExchangeRefused::Replayed));
        assert_eq!(seen.take(START, peer(0), nonce(200)), Err(ExchangeRefused::TooOften));
        assert_eq!(seen.take(START, peer(1), nonce(0)), Err(ExchangeRefused::Replayed));
        let later = START.after(Duration::from_secs(120));
        assert_eq!(seen.take(later, peer(0), nonce(200)), Ok(()));
    }
    for row in ["1", "1 AAAA", "x BwcHBwcHBwcHBwcHBwcHBw==", " BwcHBwcHBwcHBwcHBwcHBw=="] {
        assert_eq!(SeenExchanges::default().restore(peer(0), row), None, "{row}");
    }
}

#[test]
fn who_asks_as_often_as_a_hub_may_is_never_refused_though_some_come_late() {
    let mut seen = SeenExchanges::default();
    for turn in 0_u32..200 {
        let late = if turn % 2 == 0 { Duration::from_millis(900) } else { Duration::ZERO };
        let now = START.after(EXCHANGE_INTERVAL_MIN * turn).after(late);
        assert_eq!(seen.take(now, peer(0), Bytes([turn as u8; 16])), Ok(()), "{turn}");
    }
}

#[test]
fn a_list_for_a_static_host_is_read_as_it_was_written() {
    let publisher = &KEYS[50];
    let sign = |file: &str| rendezvous_protocol::base64::encode(&publisher.sign(file.as_bytes())) + "\n";
    let entries: Vec<_> = (0..3)
        .map(|number| Signed::sign(entry(&format!("n{number}"), START, HOUR, ""), origin(number)).unwrap())
        .collect();
    let (file, written) = list::write(START, START.after(2 * HOUR), &entries);
    assert_eq!(written, 3);
    assert!(file.starts_with(
        r#"{"type":"communities","version":1,"issuedAt":1700000000000,"expiresAt":1700007200000,"entries":["#
    ));
    let rules = ListRules { key: publisher.public_key(), now: START, newest: None };
    let read = |file: &str, rules: &ListRules| list::read(file.as_bytes(), sign(file).as_bytes(), rules);
    let good = read(&file, &rules).unwrap();
    assert_eq!(good.entries.iter().filter(|entry| entry.is_ok()).count(), 3);
    // An entry costs only itself.
    let changed = file.replace("\"n1\"", "\"n7\"");
    let one_bad = read(&changed, &rules).unwrap();
    assert_eq!(one_bad.entries.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    let ended = read(&file, &ListRules { now: START.after(HOUR), ..rules }).unwrap();
    assert!(ended.entries.iter().all(|entry| matches!(entry, Err(RecordError::Expired { .. }))));
    // Nothing of it is looked at where the signature is another one's.
    let other = ListRules { key: KEYS[51].public_key(), ..rules };
    assert!(matches!(read(&file, &other), Err(ListError::SignatureInvalid)));
    assert!(matches!(list::read(changed.as_bytes(), sign(&file).as_bytes(), &rules), Err(ListError::SignatureInvalid)));
    assert!(matches!(list::read(file.as_bytes(), b"", &rules), Err(ListError::SignatureInvalid)));
    for (text, code) in [
        (file.replace("communities", "capsule"), "MALFORMED"),
        (file.replace("{\"type\":\"communities\",", "{\"issuer\":1,\"type\":\"communities\","), "MALFORMED"),
        (file.replace("\"entries\"", "\"peers\""), "MALFORMED"),
        (file.replace("1700007200000", "1700000000000"), "MALFORMED"),
        (file.replace("\"version\":1,\"issuedAt", "\"version\":2,\"issuedAt"), "UNSUPPORTED_VERSION"),
        (file.replace("1700007200000", "1702592000001"), "LIFETIME_TOO_LONG"),
        (" ".repeat(8 * 1024 * 1024) + &file, "MALFORMED"),
    ] {
        assert_eq!(read(&text, &rules).unwrap_err().code(), code, "{:.80}", text);
    }
    for (now, newest, code) in [
        (START, Some(START.after(Duration::from_millis(1))), "ROLLBACK"),
        (UnixMillis::saturating(START.as_u64() - 15_001), None, "NOT_YET_VALID"),
        (START.after(2 * HOUR), None, "EXPIRED"),
    ] {
        assert_eq!(read(&file, &ListRules { now, newest, ..rules }).unwrap_err().code(), code);
    }
    assert!(read(&file, &ListRules { newest: Some(START), ..rules }).is_ok());
}

#[test]
fn a_body_is_bounded_before_it_is_read() {
    let record = signed(entry("name", START, HOUR, ""), origin(0)).to_json();
    let padded = |length: usize| format!("{record}{}", " ".repeat(length - record.len()));
    assert!(Record::parse_body(padded(BODY_MAX_BYTES).as_bytes()).is_ok());
    assert_eq!(Record::parse_body(padded(BODY_MAX_BYTES + 1).as_bytes()), Err(RecordError::BodyTooLarge));
    for body in ["", "{}", "[]", "7", r#"{"entry":{},"tombstone":{}}"#, r#"{"record":{}}"#] {
        assert!(matches!(Record::parse_body(body.as_bytes()), Err(RecordError::Malformed(_))), "{body}");
    }
    assert!(matches!(Record::parse_body(b"\xff"), Err(RecordError::Malformed(_))));
}
