//! What a hub remembers: of each (origin, name) the record with the highest rank that it was ever given.
//!
//! That is a join: it does not matter in which order, how often and from whom records come, so hubs that were given the same
//! remember the same. A record is remembered until 30 days after its `updated`, tombstones and what has ended too, and
//! whatever was replaced is older: nothing rises again. Of an origin those of the highest rank stay, which is a join as well.
//!
//! Room goes by who brought a record: the hub's own origins and each peer have an equal share, so that no peer fills
//! another's. What was brought first by one stays in its share, whichever peer brings a newer record of that name. What its
//! origin puts here itself is the hub's own from then on, where that share has room: it does not go with the peer.
//!
//! Inside a peer's share room goes by the [`Way`] of a record: what is of that peer's own origins comes before what others
//! brought to it, and of those each has as much as the others. So whoever a peer trusts, and however many keys are minted
//! there, a hub has all that the peer's own origins say.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;

use super::envelope::{Signed, VerifiedRecord};
use super::limits::{
    DISTANCE_MAX, ENTRY_MAX_LIFETIME, EXCHANGE_MAX_BYTES, EXCHANGE_MAX_RECORDS, HUB_MAX_RECORDS, ORIGIN_MAX_RECORDS,
};
use super::record::{Entry, RecordError, is_segment};
use crate::base64;
use crate::canonical::quoted;
use crate::code::Code;
use crate::fields::Fields;
use crate::key::PublicKey;
use crate::live::Position;
use crate::secret::Secret;
use crate::time::UnixMillis;

/// For so long origins have their turns in one order, in milliseconds: a reader of several pages sees each entry once, and
/// no key is first for ever.
const TURNS_MILLIS: u64 = 600_000;

/// Says who brought a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// An origin of this hub.
    Own,
    /// The peer with this key.
    Peer(PublicKey),
}

/// Says how a record came to the hub that tells of it, by the word of that hub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Way(
    /// The distance: hubs between that one and the one where the origin puts its records. Zero is of that hub's own origins.
    pub u8,
    /// Which of that hub's peers brought it: a number for each, and zero for its own origins.
    pub u8,
);

impl Way {
    /// Names the way of a record of which a peer says none: it yields to every nearer one.
    pub const FARTHEST: Self = Self(DISTANCE_MAX, 0);
}

/// Says how much a hub remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HubLimits {
    /// Records in all.
    pub records: usize,
    /// Records of one origin.
    pub of_origin: usize,
}

impl Default for HubLimits {
    fn default() -> Self {
        Self { records: HUB_MAX_RECORDS, of_origin: ORIGIN_MAX_RECORDS }
    }
}

/// Says whose records a hub takes in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// The keys of its own origins, which may put entries here.
    pub origins: Vec<PublicKey>,
    /// The keys of the hubs that it asks, and that may ask it.
    pub peers: Vec<PublicKey>,
}

impl Trust {
    fn covers(&self, source: Source, origin: &PublicKey) -> bool {
        match source {
            Source::Own => self.origins.contains(origin),
            Source::Peer(key) => self.peers.contains(&key),
        }
    }
}

/// Says why a hub does not remember a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Put by a key that is not one of the hub's origins.
    #[error("the key is not one of the origins that may put entries here")]
    OriginMismatch,
    /// Older than what is known of that name, or as old.
    #[error("the origin has said something later of this name, at {standing}")]
    StaleEntry {
        /// The `updated` of what is known.
        standing: UnixMillis,
    },
    /// The origin has as many names as it may.
    #[error("the origin has {most} names here, those that it took away in the last 30 days among them")]
    OriginFull {
        /// How many it may have.
        most: usize,
    },
    /// The share of whoever brings it is full.
    #[error("the {most} places here of whoever brings it are taken")]
    HubFull {
        /// How many there are.
        most: usize,
    },
}

impl Refused {
    /// Returns the code on the wire.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::OriginMismatch => Code::OriginMismatch.as_str(),
            Self::StaleEntry { .. } => Code::StaleEntry.as_str(),
            Self::OriginFull { .. } | Self::HubFull { .. } => Code::HubFull.as_str(),
        }
    }
}

/// Says what a record has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Nothing: it is the one that is known.
    Known,
    /// It took the place of another one.
    Replaced,
    /// It is the first of its name.
    New,
    /// It is the first of its name, and a record of another name, which the same peer brought, made room.
    InPlaceOfAnother,
}

/// Says what has to be stored. The writes of one call are made together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HubWrite {
    /// A row, in the place of the one of this name.
    Put {
        /// The name.
        name: String,
        /// What it holds.
        row: String,
    },
    /// A row that goes.
    Erase {
        /// The name.
        name: String,
    },
}

/// Says why what was stored cannot be taken back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored row {name} cannot be read: {detail}")]
pub struct RowError {
    /// The row.
    pub name: String,
    /// Why.
    pub detail: String,
}

/// The row of what belongs to no record.
const HEAD_ROW: &str = "hub";

/// What the names of records' rows begin with.
const RECORD_ROW: &str = "record/";

/// Names a record: the origin, and its name for the community.
type Key = (PublicKey, String);

struct Held {
    record: VerifiedRecord,
    source: Source,
    way: Way,
    sequence: u64,
}

/// The records that one source brought.
#[derive(Default)]
struct Share {
    len: usize,
    /// Their sequence numbers.
    of_way: BTreeMap<Way, BTreeSet<u64>>,
}

impl Share {
    fn insert(&mut self, way: Way, sequence: u64) {
        if self.of_way.entry(way).or_default().insert(sequence) {
            self.len += 1;
        }
    }

    fn remove(&mut self, way: Way, sequence: u64) {
        let Some(sequences) = self.of_way.get_mut(&way) else { return };
        if sequences.remove(&sequence) {
            self.len = self.len.saturating_sub(1);
        }
        if sequences.is_empty() {
            self.of_way.remove(&way);
        }
    }

    /// Returns the number of the record that makes room for one of this way: the newest of those who brought most of what
    /// comes from farthest. Of what comes from as far, it is one of a peer that has at least two more: nothing goes back and
    /// forth.
    fn who_yields(&self, to: Way) -> Option<u64> {
        let Way(farthest, _) = *self.of_way.last_key_value()?.0;
        let at_least = match farthest.cmp(&to.0) {
            Ordering::Less => return None,
            Ordering::Equal => self.of_way.get(&to).map_or(0, BTreeSet::len) + 2,
            Ordering::Greater => 1,
        };
        let most = self.of_way.range(Way(farthest, 0)..).map(|(_, sequences)| sequences).max_by_key(|all| all.len())?;
        most.last().copied().filter(|_| most.len() >= at_least)
    }
}

/// Says which entries are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of this name.
    pub name: Option<String>,
    /// Those of this origin.
    pub origin: Option<PublicKey>,
    /// Those that have this tag.
    pub tag: Option<String>,
    /// Those in whose name, description or tags this text is, in lower case.
    pub text: Option<String>,
}

impl Filter {
    fn matches(&self, origin: &PublicKey, entry: &Entry) -> bool {
        let has = |text: &String| {
            entry.name.to_lowercase().contains(text)
                || entry.description.to_lowercase().contains(text)
                || entry.tags.iter().any(|tag| tag.contains(text))
        };
        self.name.as_ref().is_none_or(|name| entry.name == *name)
            && self.origin.as_ref().is_none_or(|wanted| wanted == origin)
            && self.tag.as_ref().is_none_or(|tag| entry.tags.contains(tag))
            && self.text.as_ref().is_none_or(has)
    }
}

/// Holds a part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// How many entries there are in all.
    pub total: usize,
    /// Entries in their normal form.
    pub entries: Vec<String>,
}

/// Holds what another hub is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Records in their normal form, in the order in which this hub came to know them, and how each came here.
    pub records: Vec<(String, Way)>,
    /// How far they go.
    pub position: Position,
    /// Whether there are more.
    pub more: bool,
}

/// Holds the memory of one hub.
pub struct Hub {
    limits: HubLimits,
    trust: Trust,
    secret: Secret,
    epoch: u32,
    records: BTreeMap<Key, Held>,
    log: BTreeMap<u64, Key>,
    shares: BTreeMap<Source, Share>,
    /// The last sequence number that was given away, whether or not its record is still there.
    last: u64,
}

impl fmt::Debug for Hub {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Hub").field("records", &self.records.len()).finish_non_exhaustive()
    }
}

fn row_name((origin, name): &Key) -> String {
    format!("{RECORD_ROW}{origin}/{name}")
}

impl Hub {
    /// Makes the hub of what was stored, if anything was. `secret` and `epoch` are random; the secret is used where nothing
    /// was. The epoch is another at each start: what is stored may be a copy, in which numbers are free that were given away
    /// since it was made, and a peer that has come beyond it is told everything again. What was brought by whom the hub does not trust any more is dropped; the second value is whether anything was, in which case
    /// it has to ask all its peers from the beginning, because others had it too.
    ///
    /// # Errors
    /// [`RowError`] names the row that cannot be read.
    pub fn restore(
        limits: HubLimits,
        trust: Trust,
        secret: Secret,
        epoch: u32,
        rows: impl IntoIterator<Item = (String, String)>,
        writes: &mut Vec<HubWrite>,
    ) -> Result<(Self, bool), RowError> {
        let (records, log, shares) = Default::default();
        let mut hub = Self { limits, trust, secret, epoch, records, log, shares, last: 0 };
        let (mut has_head, mut has_dropped) = (false, false);
        for (name, row) in rows {
            let in_error = |detail: String| RowError { name: name.clone(), detail };
            if name == HEAD_ROW {
                hub.read_head(&row).map_err(in_error)?;
                has_head = true;
                continue;
            }
            // Hubs have taken in such names, which nobody could ask for. No record has one.
            let of_record = name.strip_prefix(RECORD_ROW).and_then(|name| name.rsplit_once('/'));
            if of_record.is_some_and(|(_, name)| !is_segment(name)) {
                writes.push(HubWrite::Erase { name });
                continue;
            }
            let (key, held) = read_record(&row).map_err(in_error)?;
            if row_name(&key) != name {
                return Err(RowError { name, detail: "it holds another record".to_owned() });
            }
            hub.last = hub.last.max(held.sequence);
            if hub.trust.covers(held.source, &key.0) {
                hub.insert(key, held);
            } else {
                has_dropped = true;
                writes.push(HubWrite::Erase { name });
            }
        }
        if !has_head || has_dropped {
            writes.push(hub.head());
        }
        Ok((hub, has_dropped))
    }

    fn head(&self) -> HubWrite {
        let (last, secret) = (self.last, base64::encode(self.secret.as_bytes()));
        let row = format!(r#"{{"last":{last},"secret":"{secret}"}}"#);
        HubWrite::Put { name: HEAD_ROW.to_owned(), row }
    }

    fn read_head(&mut self, row: &str) -> Result<(), String> {
        let read = || {
            let mut fields = Fields::parse(row)?;
            let head = (fields.number("last")?, fields.text("secret")?);
            fields.end().map(|()| head)
        };
        let (last, secret) = read().map_err(|error| error.to_string())?;
        self.last = self.last.max(last);
        let secret = base64::decode_array(&secret).ok_or_else(|| "secret must be the base64 of 16 bytes".to_owned())?;
        self.secret = Secret::from_bytes(secret);
        Ok(())
    }

    fn insert(&mut self, key: Key, held: Held) {
        self.shares.entry(held.source).or_default().insert(held.way, held.sequence);
        self.log.insert(held.sequence, key.clone());
        self.records.insert(key, held);
    }

    fn remove(&mut self, key: &Key) {
        drop(self.take_out(key));
    }

    fn take_out(&mut self, key: &Key) -> Option<Held> {
        let held = self.records.remove(key)?;
        self.log.remove(&held.sequence);
        if let Some(share) = self.shares.get_mut(&held.source) {
            share.remove(held.way, held.sequence);
        }
        Some(held)
    }

    /// Returns how many records each source may bring.
    pub fn share(&self) -> usize {
        self.limits.records / (self.trust.peers.len() + 1)
    }

    /// Returns the latest `updated` of what is remembered.
    pub fn newest(&self) -> Option<UnixMillis> {
        self.records.values().map(|held| held.record.record().updated()).max()
    }

    /// Returns how many records are remembered.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Takes a record in, and says what has to be stored. `way` is what the peer says of it; what an origin puts here has none.
    ///
    /// # Errors
    /// [`Refused`], and nothing has changed.
    pub fn offer(
        &mut self,
        record: VerifiedRecord,
        source: Source,
        way: Way,
        writes: &mut Vec<HubWrite>,
    ) -> Result<Taken, Refused> {
        let origin = record.record().origin();
        if source == Source::Own && !self.trust.origins.contains(&origin) {
            return Err(Refused::OriginMismatch);
        }
        let way = if source == Source::Own { Way::default() } else { way };
        let key = (origin, record.record().name().to_owned());
        if let Some(held) = self.records.get(&key) {
            let becomes_own = source == Source::Own && held.source != Source::Own && self.has_room(source);
            let comes_nearer = source == held.source && way.0 < held.way.0;
            let (source, way) = if becomes_own || comes_nearer { (source, way) } else { (held.source, held.way) };
            let is_known = held.record == record;
            if is_known && !becomes_own && !comes_nearer {
                return Ok(Taken::Known);
            }
            if held.record.rank() > record.rank() {
                return Err(Refused::StaleEntry { standing: held.record.record().updated() });
            }
            self.remove(&key);
            // Told to peers again although it is known: it has more right to their room.
            self.keep(key, record, source, way, writes);
            return Ok(if is_known { Taken::Known } else { Taken::Replaced });
        }
        let pays = self.who_pays(&record, source)?;
        let frees = pays.as_ref().and_then(|key| self.records.get(key)).is_some_and(|held| held.source == source);
        let yields = if frees || self.has_room(source) { None } else { Some(self.who_yields(source, way)?) };
        let is_in_place_of_another = yields.is_some();
        let gone: Vec<_> = pays.into_iter().chain(yields).collect();
        for key in &gone {
            self.remove(key);
            writes.push(HubWrite::Erase { name: row_name(key) });
        }
        if !gone.is_empty() {
            writes.push(self.head());
        }
        self.keep(key, record, source, way, writes);
        Ok(if is_in_place_of_another { Taken::InPlaceOfAnother } else { Taken::New })
    }

    fn has_room(&self, source: Source) -> bool {
        self.shares.get(&source).map_or(0, |share| share.len) < self.share()
    }

    /// Returns which record of a full share makes room.
    fn who_yields(&self, source: Source, way: Way) -> Result<Key, Refused> {
        let yields = self.shares.get(&source).and_then(|share| share.who_yields(way));
        let key = yields.and_then(|sequence| self.log.get(&sequence).cloned());
        key.ok_or_else(|| Refused::HubFull { most: self.share() })
    }

    /// Returns which record of the origin goes for a new name, if any has to.
    fn who_pays(&self, record: &VerifiedRecord, source: Source) -> Result<Option<Key>, Refused> {
        let origin = record.record().origin();
        let of_origin =
            || self.records.range((origin, String::new())..).take_while(move |((key, _), _)| *key == origin);
        let most = self.limits.of_origin;
        if of_origin().count() < most {
            return Ok(None);
        }
        let full = Refused::OriginFull { most };
        // Who puts is told. What comes from elsewhere was signed, and all hubs have to leave out the same.
        if source == Source::Own {
            return Err(full);
        }
        match of_origin().min_by(|(_, one), (_, other)| one.record.rank().cmp(&other.record.rank())) {
            Some((key, lowest)) if lowest.record.rank() < record.rank() => Ok(Some(key.clone())),
            _ => Err(full),
        }
    }

    fn keep(&mut self, key: Key, record: VerifiedRecord, source: Source, way: Way, writes: &mut Vec<HubWrite>) {
        self.last += 1;
        let held = Held { record, source, way, sequence: self.last };
        writes.push(HubWrite::Put { name: row_name(&key), row: write_record(&held) });
        self.insert(key, held);
    }

    /// Forgets what is so old that nothing older of its name can be good.
    pub fn handle_timeout(&mut self, now: UnixMillis, writes: &mut Vec<HubWrite>) {
        let is_over = |held: &Held| held.record.record().updated().after(ENTRY_MAX_LIFETIME) <= now;
        let over: Vec<Key> =
            self.records.iter().filter(|(_, held)| is_over(held)).map(|(key, _)| key.clone()).collect();
        for key in &over {
            self.remove(key);
            writes.push(HubWrite::Erase { name: row_name(key) });
        }
        if !over.is_empty() {
            writes.push(self.head());
        }
    }

    /// Lists the entries that count now, `limit` of them from the one at `offset` on. Origins take turns: each has one entry,
    /// its newest, before any has a second.
    pub fn list(&self, now: UnixMillis, filter: &Filter, offset: usize, limit: usize) -> Listing {
        let mut of_origin: BTreeMap<PublicKey, Vec<&Signed<Entry>>> = BTreeMap::new();
        for held in self.records.values() {
            let Some(entry) = held.record.current(now) else { continue };
            if filter.matches(&entry.public_key(), entry.payload()) {
                of_origin.entry(entry.public_key()).or_default().push(entry);
            }
        }
        let epoch = now.as_u64() / TURNS_MILLIS;
        let mut all = Vec::new();
        for (origin, mut entries) in of_origin {
            let draw = self.secret.turn(epoch, &origin);
            entries.sort_by(|one, other| {
                let (one, other) = (one.payload(), other.payload());
                other.updated.cmp(&one.updated).then_with(|| one.name.cmp(&other.name))
            });
            all.extend(entries.into_iter().enumerate().map(|(turn, entry)| (turn, draw, origin, entry)));
        }
        all.sort_by_key(|(turn, draw, origin, _)| (*turn, *draw, *origin));
        let total = all.len();
        let entries = all.into_iter().skip(offset).take(limit).map(|(.., entry)| entry.to_json()).collect();
        Listing { total, entries }
    }

    /// Returns what has changed since a position; from the beginning, where that is none of this hub's. At most
    /// [`EXCHANGE_MAX_RECORDS`] and [`EXCHANGE_MAX_BYTES`].
    pub fn tell(&self, now: UnixMillis, since: Option<Position>) -> Told {
        let known = since.filter(|since| since.epoch == self.epoch && since.sequence <= self.last);
        let mut told = Told {
            records: Vec::new(),
            position: Position { epoch: self.epoch, sequence: known.map_or(0, |since| since.sequence) },
            more: false,
        };
        let mut bytes = 0;
        for (sequence, key) in self.log.range(told.position.sequence.saturating_add(1)..) {
            let Some(held) = self.records.get(key) else { continue };
            let json = held.record.as_json();
            bytes += json.len();
            if told.records.len() == EXCHANGE_MAX_RECORDS || bytes > EXCHANGE_MAX_BYTES {
                told.more = true;
                return told;
            }
            if held.record.record().updated().after(ENTRY_MAX_LIFETIME) > now {
                told.records.push((json.to_owned(), self.way_from_here(held)));
            }
            told.position.sequence = *sequence;
        }
        told.position.sequence = self.last;
        told
    }

    /// Returns the way of a record as this hub tells it.
    fn way_from_here(&self, held: &Held) -> Way {
        let Source::Peer(peer) = held.source else { return Way::default() };
        let place = self.trust.peers.iter().position(|key| *key == peer).unwrap_or_default();
        let through = u8::try_from(place).unwrap_or(u8::MAX).saturating_add(1);
        Way(held.way.0.saturating_add(1).min(DISTANCE_MAX), through)
    }
}

fn write_record(held: &Held) -> String {
    let Held { record, source, way: Way(distance, through), sequence } = held;
    let source = match source {
        Source::Own => String::new(),
        Source::Peer(key) => format!(r#","source":{},"way":[{distance},{through}]"#, quoted(&key.to_string())),
    };
    format!(r#"{{"record":{},"sequence":{sequence}{source}}}"#, record.as_json())
}

fn read_record(row: &str) -> Result<(Key, Held), String> {
    let mut fields = Fields::parse(row).map_err(|error| error.to_string())?;
    let mut read = || {
        let record = (fields.json("record")?, fields.time("sequence")?);
        Ok((record, fields.optional_text("source")?, fields.optional_json("way")?))
    };
    let ((record, sequence), source, way) = read().map_err(|error: crate::fields::FieldError| error.to_string())?;
    fields.end().map_err(|error| error.to_string())?;
    let record = VerifiedRecord::trusted(record).map_err(|error: RecordError| error.to_string())?;
    let source = match &source {
        None => Source::Own,
        Some(key) => {
            let key = base64::decode_array(key).map(PublicKey::from_bytes);
            Source::Peer(key.ok_or_else(|| "source must be the base64 of 32 bytes".to_owned())?)
        }
    };
    let way = match (way, source) {
        (None, Source::Own) => Way::default(),
        (None, Source::Peer(_)) => Way::FARTHEST,
        (Some(way), Source::Peer(_)) => read_way(way).ok_or_else(|| "way must be two small numbers".to_owned())?,
        (Some(_), Source::Own) => return Err("there is a way, and no source".to_owned()),
    };
    let key = (record.record().origin(), record.record().name().to_owned());
    Ok((key, Held { record, source, way, sequence: sequence.as_u64() }))
}

/// Reads `[distance,through]`.
pub(super) fn read_way(json: &str) -> Option<Way> {
    serde_json::from_str(json).ok().filter(|Way(distance, _)| *distance <= DISTANCE_MAX)
}
