//! Who is a guest: the names that are held, from where, until when, and what the others are told of them.
//!
//! The network that first published a name holds it until nothing is heard of it for 30 s: a name proves nothing, so
//! nothing that comes from elsewhere may change it or end it. Places are shared out as those of `GET /live` are. Changes
//! are told at once while there is room in the bucket of frames, and everybody once in 15 s.

use std::sync::Arc;
use std::time::Duration;

use crate::goop2::guest_id::GuestId;
use crate::goop2::presence::{Presence, PresenceKind};
use crate::key::PublicKey;
use crate::limits::{
    GUEST_MESSAGE_INTERVAL, GUEST_MESSAGES_AT_ONCE, GUEST_REPETITION, GUEST_SILENCE, GUESTS, GUESTS_PER_HOUSEHOLD,
};
use crate::live::{Admission, FrameRate, LiveLimits, Seat, Urgency, admit};
use crate::network::NetworkPath;
use crate::secret::Secret;
use crate::time::UnixMillis;
use crate::token_bucket::TokenBucket;

const LIMITS: LiveLimits = LiveLimits { connections: GUESTS, connections_per_household: GUESTS_PER_HOUSEHOLD };

/// Limits the messages of a guest, and those that a socket brings.
pub const GUEST_MESSAGES: TokenBucket = TokenBucket::new(GUEST_MESSAGE_INTERVAL, GUEST_MESSAGES_AT_ONCE);

/// Names a socket of a guest, by a number that the host uses once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u64);

/// Says what came of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// The guest is there. The others are told this.
    Present(Arc<str>),
    /// The guest is not there, or not any more.
    Gone,
}

/// Says why a message changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuestRefused {
    /// Another network holds the name.
    #[error("another network holds this peerId until nothing is heard of it for 30 s")]
    Held,
    /// There is no place for another guest.
    #[error("there is no place for another guest, here or for this network")]
    Full,
    /// The guest sends too many messages.
    #[error("too many messages of this peerId")]
    TooFast {
        /// After this time there is one more.
        retry_after: Duration,
    },
}

/// Says why a socket is not a guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotListening {
    /// The guest is not there, or not yet.
    #[error("publish before you listen")]
    Early,
    /// Another network holds the name.
    #[error("another network holds this peerId")]
    Held,
}

/// Holds the guests of one community.
#[derive(Debug)]
pub struct Guests {
    secret: Secret,
    /// The one present longest first.
    guests: Vec<Guest>,
    /// Who has gone and the others do not know it, the first to go first.
    gone: Vec<GuestId>,
    /// The buckets of messages that guests have left behind, none of them full, the first to leave first: a guest that
    /// goes and comes back sends no more for it.
    left_behind: Vec<(GuestId, u64)>,
    rate: FrameRate,
    /// Counts how often changes were told.
    changes: u64,
    /// When all are told anew; absent where there is none.
    repeat_at: Option<UnixMillis>,
}

/// Holds a guest.
#[derive(Debug)]
struct Guest {
    presence: Presence,
    path: NetworkPath,
    heard_at: UnixMillis,
    /// The message for the others.
    text: Arc<str>,
    /// Whether the others do not know it yet.
    is_untold: bool,
    /// When the bucket of messages is full, in milliseconds as [`UnixMillis`].
    full_at: u64,
    socket: Option<SocketId>,
}

impl Guests {
    /// Makes a community without guests. `secret` hides networks and decides who has to go.
    pub fn new(secret: Secret) -> Self {
        Self {
            secret,
            guests: Vec::new(),
            gone: Vec::new(),
            left_behind: Vec::new(),
            rate: FrameRate::default(),
            changes: 0,
            repeat_at: None,
        }
    }

    /// Returns the secret by which networks are hashed.
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.guests.is_empty()
    }

    /// Takes a message from the network at `path`.
    ///
    /// # Errors
    /// [`GuestRefused`], and nothing has changed.
    pub fn publish(
        &mut self,
        now: UnixMillis,
        presence: Presence,
        path: NetworkPath,
    ) -> Result<Published, GuestRefused> {
        self.expire(now);
        let is_going = presence.kind == PresenceKind::Offline;
        let Some(position) = self.position(&presence.id) else {
            return if is_going { Ok(Published::Gone) } else { self.arrive(now, presence, path) };
        };
        let Some(guest) = self.guests.get_mut(position) else { return Ok(Published::Gone) };
        if guest.path.household != path.household {
            return Err(GuestRefused::Held);
        }
        if is_going {
            self.remove(now, position);
            return Ok(Published::Gone);
        }
        take_message(&mut guest.full_at, now)?;
        guest.heard_at = now;
        let is_changed = guest.presence.fields != presence.fields;
        guest.text = presence.to_text().into();
        guest.presence = presence;
        let text = Arc::clone(&guest.text);
        if is_changed {
            guest.is_untold = true;
            self.rate.changed(now, Urgency::Renewal);
        }
        Ok(Published::Present(text))
    }

    /// Checks that the network at `path` may listen as the guest.
    ///
    /// # Errors
    /// [`NotListening`], if it may not.
    pub fn may_listen(&mut self, now: UnixMillis, id: &GuestId, path: NetworkPath) -> Result<(), NotListening> {
        self.own(now, id, path).map(|_| ())
    }

    /// Returns whether a socket is a guest's.
    pub fn holds(&self, socket: SocketId) -> bool {
        self.guests.iter().any(|guest| guest.socket == Some(socket))
    }

    /// Makes a socket from the network at `path` the guest's. Returns the one before it, which has nothing to say any more.
    ///
    /// # Errors
    /// [`NotListening`], and nothing has changed.
    pub fn listen(
        &mut self,
        now: UnixMillis,
        id: &GuestId,
        path: NetworkPath,
        socket: SocketId,
    ) -> Result<Option<SocketId>, NotListening> {
        self.own(now, id, path).map(|guest| guest.socket.replace(socket))
    }

    /// Takes that a socket has ended. The guest goes with it, unless a newer one has taken its place.
    pub fn closed(&mut self, now: UnixMillis, socket: SocketId) {
        if let Some(position) = self.guests.iter().position(|guest| guest.socket == Some(socket)) {
            self.remove(now, position);
        }
    }

    /// Takes that a socket ends whose guest is about to open another one. Without one the guest goes when it has been silent
    /// for too long.
    pub fn detach(&mut self, socket: SocketId) {
        if let Some(guest) = self.guests.iter_mut().find(|guest| guest.socket == Some(socket)) {
            guest.socket = None;
        }
    }

    /// Ends the guest whose name is this key's: whoever signs is no guest.
    pub fn end(&mut self, now: UnixMillis, key: &PublicKey) {
        if let Some(position) = self.guests.iter().position(|guest| guest.presence.id.public_key() == *key) {
            self.remove(now, position);
        }
    }

    /// Takes the messages that everybody is to be sent now. An early or repeated call returns none.
    pub fn take_due(&mut self, now: UnixMillis) -> Vec<Arc<str>> {
        self.expire(now);
        let mut messages = Vec::new();
        let is_repetition = self.repeat_at.is_some_and(|at| at <= now || at.since(now) > GUEST_REPETITION);
        let tells = self.rate.take(now);
        if tells {
            self.changes += 1;
            let gone = std::mem::take(&mut self.gone);
            for id in gone {
                messages.push(Presence::offline(now, id).to_text().into());
            }
        }
        for guest in &mut self.guests {
            if is_repetition || (tells && guest.is_untold) {
                guest.is_untold = false;
                messages.push(Arc::clone(&guest.text));
            }
        }
        if is_repetition {
            self.repeat_at = (!self.is_empty()).then(|| now.after(GUEST_REPETITION));
        }
        messages
    }

    /// Returns a number that is another after each time that [`Guests::take_due`] has told of changes.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// Returns when [`Guests::take_due`] is to be called next, if ever.
    pub fn next_deadline(&self) -> Option<UnixMillis> {
        let silent = self.guests.iter().map(|guest| guest.heard_at.after(GUEST_SILENCE));
        silent.chain(self.repeat_at).chain(self.rate.due_at()).min()
    }

    /// Returns whether [`Guests::take_due`] is to be called now. A clock that has jumped back puts nothing off.
    pub fn is_due(&self, now: UnixMillis) -> bool {
        self.next_deadline().is_some_and(|deadline| deadline <= now || deadline.since(now) > GUEST_SILENCE)
    }

    /// Returns the messages for one that comes to listen.
    pub fn messages(&self) -> Vec<Arc<str>> {
        self.guests.iter().map(|guest| Arc::clone(&guest.text)).collect()
    }

    /// Returns what each guest last said, when that was, and whether there is a socket.
    pub fn all(&self) -> impl Iterator<Item = (&Presence, UnixMillis, bool)> {
        self.guests.iter().map(|guest| (&guest.presence, guest.heard_at, guest.socket.is_some()))
    }

    fn position(&self, id: &GuestId) -> Option<usize> {
        self.guests.iter().position(|guest| guest.presence.id == *id)
    }

    fn own(&mut self, now: UnixMillis, id: &GuestId, path: NetworkPath) -> Result<&mut Guest, NotListening> {
        self.expire(now);
        let guest = self.guests.iter_mut().find(|guest| guest.presence.id == *id).ok_or(NotListening::Early)?;
        if guest.path.household == path.household { Ok(guest) } else { Err(NotListening::Held) }
    }

    fn arrive(&mut self, now: UnixMillis, presence: Presence, path: NetworkPath) -> Result<Published, GuestRefused> {
        let left_behind = self.left_behind.iter().find(|(id, _)| *id == presence.id);
        let mut full_at = left_behind.map_or(0, |(_, full_at)| *full_at);
        take_message(&mut full_at, now)?;
        let seats: Vec<_> = self.guests.iter().map(|guest| Seat { path: guest.path, is_bound: false }).collect();
        match admit(&seats, path, LIMITS, now, &self.secret) {
            Admission::Admitted => {}
            Admission::InPlaceOf(position) => self.remove(now, position),
            Admission::Full => return Err(GuestRefused::Full),
        }
        self.left_behind.retain(|(id, _)| *id != presence.id);
        self.gone.retain(|id| *id != presence.id);
        let text: Arc<str> = presence.to_text().into();
        self.guests.push(Guest {
            presence,
            path,
            heard_at: now,
            text: Arc::clone(&text),
            is_untold: true,
            full_at,
            socket: None,
        });
        self.repeat_at.get_or_insert(now.after(GUEST_REPETITION));
        self.rate.changed(now, Urgency::Urgent);
        Ok(Published::Present(text))
    }

    fn remove(&mut self, now: UnixMillis, position: usize) {
        let Guest { presence, full_at, .. } = self.guests.remove(position);
        self.left_behind.retain_mut(|(_, full_at)| GUEST_MESSAGES.settle(full_at, now.as_u64()) > 0);
        push_bounded(&mut self.left_behind, (presence.id.clone(), full_at));
        // Whoever is not told of one forgets it by itself.
        push_bounded(&mut self.gone, presence.id);
        self.rate.changed(now, Urgency::Urgent);
    }

    fn expire(&mut self, now: UnixMillis) {
        for position in (0..self.guests.len()).rev() {
            let Some(guest) = self.guests.get_mut(position) else { continue };
            // A clock that has jumped back lets nobody stay longer.
            guest.heard_at = guest.heard_at.min(now);
            if guest.heard_at.after(GUEST_SILENCE) <= now {
                self.remove(now, position);
            }
        }
    }
}

/// Adds an item in the place of the first, where there are as many as there may be guests.
fn push_bounded<T>(items: &mut Vec<T>, item: T) {
    if items.len() >= GUESTS {
        items.remove(0);
    }
    items.push(item);
}

/// Takes a message out of a bucket.
fn take_message(full_at: &mut u64, now: UnixMillis) -> Result<(), GuestRefused> {
    let taken = GUEST_MESSAGES.take(full_at, now.as_u64());
    taken.map_err(|wait| GuestRefused::TooFast { retry_after: Duration::from_millis(wait) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::goop2::guest_id::tests::id;
    use crate::network::{Client, read_address};

    const SECRET: Secret = Secret::from_bytes([3; 16]);

    fn at(millis: u64) -> UnixMillis {
        UnixMillis::saturating(1_700_000_000_000 + millis)
    }

    fn path(address: &str) -> NetworkPath {
        let address = Some(read_address(address).unwrap());
        Client { address, autonomous_system: None }.hand_over().hashed(&SECRET)
    }

    fn presence(kind: PresenceKind, seed: u8, content: &str) -> Presence {
        let text = format!(r#"{{"type":"{}","peerId":"{}","content":"{content}","ts":1}}"#, kind.as_str(), id(seed));
        Presence::parse(text.as_bytes(), None, None).unwrap()
    }

    fn online(seed: u8) -> Presence {
        presence(PresenceKind::Online, seed, "")
    }

    /// What a client knows that reads every message, by its own rule: one of whom nothing is heard for 20 s is not there.
    #[derive(Default)]
    struct View(BTreeMap<GuestId, (u64, String)>);

    impl View {
        fn take(&mut self, now: u64, messages: &[Arc<str>]) {
            for text in messages {
                let message = Presence::parse(text.as_bytes(), None, None).unwrap();
                if message.kind == PresenceKind::Offline {
                    self.0.remove(&message.id);
                } else {
                    self.0.insert(message.id, (now, message.fields.content));
                }
            }
            self.0.retain(|_, (told_at, _)| now < *told_at + 20_000);
        }

        fn contents(&self) -> BTreeMap<&GuestId, &str> {
            self.0.iter().map(|(id, (_, content))| (id, content.as_str())).collect()
        }
    }

    fn contents(guests: &Guests) -> BTreeMap<&GuestId, &str> {
        guests.all().map(|(presence, _, _)| (&presence.id, presence.fields.content.as_str())).collect()
    }

    #[test]
    fn the_first_network_holds_a_name_until_it_is_silent() {
        let mut guests = Guests::new(SECRET);
        let (home, elsewhere) = (path("203.0.113.7"), path("198.51.100.9"));
        assert!(guests.publish(at(0), online(1), home).is_ok());
        for kind in [PresenceKind::Online, PresenceKind::Update, PresenceKind::Offline] {
            let foreign = guests.publish(at(29_999), presence(kind, 1, "stolen"), elsewhere);
            assert_eq!(foreign, Err(GuestRefused::Held));
        }
        assert_eq!(guests.listen(at(29_999), &id(1), elsewhere, SocketId(1)), Err(NotListening::Held));
        assert_eq!(contents(&guests)[&id(1)], "");
        assert!(guests.publish(at(30_000), presence(PresenceKind::Online, 1, "new"), elsewhere).is_ok());
        assert_eq!(guests.publish(at(30_001), online(1), home), Err(GuestRefused::Held));
        // Nobody is told that the name was gone in between.
        let messages = guests.take_due(at(31_000));
        assert!(messages.iter().all(|text| text.contains("\"new\"")), "{messages:?}");
    }

    #[test]
    fn the_end_of_an_old_socket_does_not_take_the_guest_of_a_new_one() {
        let mut guests = Guests::new(SECRET);
        let home = path("203.0.113.7");
        assert_eq!(guests.listen(at(0), &id(1), home, SocketId(1)), Err(NotListening::Early));
        guests.publish(at(0), online(1), home).unwrap();
        let mut before = None;
        for socket in (1..=20).map(SocketId) {
            assert_eq!(guests.listen(at(0), &id(1), home, socket), Ok(before));
            before = Some(socket);
        }
        for socket in (1..=19).map(SocketId) {
            guests.closed(at(1), socket);
        }
        assert_eq!(guests.guests.len(), 1);
        guests.closed(at(2), SocketId(20));
        assert!(guests.is_empty());
        let messages = guests.take_due(at(2));
        assert_eq!(messages, [Presence::offline(at(2), id(1)).to_text().into()], "arrived and gone: one word");
    }

    #[test]
    fn an_unchanged_heartbeat_is_not_told_and_everybody_is_told_anew_in_time() {
        let mut guests = Guests::new(SECRET);
        let home = path("203.0.113.7");
        let mut told = Vec::new();
        for second in 0..60 {
            if second % 5 == 0 {
                guests.publish(at(second * 1_000), online(1), home).unwrap();
            }
            if !guests.take_due(at(second * 1_000)).is_empty() {
                told.push(second);
            }
        }
        assert_eq!(told, [0, 15, 30, 45]);
        assert_eq!(guests.next_deadline(), Some(at(60_000)));
    }

    #[test]
    fn who_sends_too_many_messages_is_told_when_there_is_one_more_and_may_always_go() {
        let mut guests = Guests::new(SECRET);
        let home = path("203.0.113.7");
        for _ in 0..60 {
            guests.publish(at(0), online(1), home).unwrap();
        }
        let refused = guests.publish(at(0), online(1), home);
        assert_eq!(refused, Err(GuestRefused::TooFast { retry_after: Duration::from_secs(1) }));
        assert!(guests.publish(at(1_000), online(1), home).is_ok());
        assert_eq!(guests.publish(at(1_000), presence(PresenceKind::Offline, 1, ""), home), Ok(Published::Gone));
    }

    #[test]
    fn who_goes_and_comes_back_sends_no_more_for_it() {
        let mut guests = Guests::new(SECRET);
        let home = path("203.0.113.7");
        let offline = || presence(PresenceKind::Offline, 1, "");
        for _ in 0..60 {
            guests.publish(at(0), online(1), home).unwrap();
            guests.publish(at(0), offline(), home).unwrap();
        }
        let too_fast = Err(GuestRefused::TooFast { retry_after: Duration::from_secs(1) });
        assert_eq!(guests.publish(at(0), online(1), home), too_fast);
        assert!(guests.is_empty(), "a message that is refused changes nothing");
        assert!(guests.publish(at(0), online(2), home).is_ok(), "another guest has its own");
        assert!(guests.publish(at(1_000), online(1), home).is_ok());
        assert!(matches!(guests.publish(at(1_000), online(1), home), Err(GuestRefused::TooFast { .. })));
        // Buckets that are full are forgotten, and of the others there is a bounded number.
        guests.publish(at(1_000), offline(), home).unwrap();
        guests.publish(at(62_000), online(3), home).unwrap();
        guests.publish(at(62_000), presence(PresenceKind::Offline, 3, ""), home).unwrap();
        assert_eq!(guests.left_behind.len(), 1);
        for seed in 0..=200 {
            guests.publish(at(62_000), online(seed), home).unwrap();
            guests.publish(at(62_000), presence(PresenceKind::Offline, seed, ""), home).unwrap();
        }
        assert_eq!(guests.left_behind.len(), GUESTS);
    }

    #[test]
    fn a_clock_that_jumps_back_takes_no_messages_away() {
        let mut guests = Guests::new(SECRET);
        let home = path("203.0.113.7");
        for _ in 0..60 {
            guests.publish(at(3_600_000), online(1), home).unwrap();
        }
        let too_fast = Err(GuestRefused::TooFast { retry_after: Duration::from_secs(1) });
        assert_eq!(guests.publish(at(0), online(1), home), too_fast, "empty at most");
        assert!(guests.publish(at(1_000), online(1), home).is_ok());
    }

    #[test]
    fn a_household_has_four_and_where_all_are_taken_the_largest_network_pays() {
        let mut guests = Guests::new(SECRET);
        let arrivals = |guests: &mut Guests, from: u8, count: u8, address: &dyn Fn(u8) -> String| {
            let numbers = from..from + count;
            numbers.filter(|number| guests.publish(at(0), online(*number), path(&address(*number))).is_ok()).count()
        };
        assert_eq!(arrivals(&mut guests, 0, 10, &|_| "203.0.113.7".to_owned()), 4);
        assert_eq!(arrivals(&mut guests, 10, 60, &|number| format!("198.51.{number}.1")), 16, "one provider");
        assert_eq!(arrivals(&mut guests, 70, 44, &|number| format!("10.{number}.0.1")), 44);
        assert_eq!(guests.guests.len(), GUESTS);
        // Newcomers of networks of their own: those who have most make room.
        assert_eq!(arrivals(&mut guests, 120, 6, &|number| format!("10.{number}.0.1")), 6);
        let of = |range: std::ops::Range<u8>| range.filter(|number| guests.position(&id(*number)).is_some()).count();
        assert_eq!((guests.guests.len(), of(70..130)), (GUESTS, 50), "whoever is alone in a network stays");
    }

    #[test]
    fn whoever_signs_is_no_guest() {
        let mut guests = Guests::new(SECRET);
        guests.publish(at(0), online(1), path("203.0.113.7")).unwrap();
        guests.end(at(1), &id(2).public_key());
        assert_eq!(guests.guests.len(), 1);
        guests.end(at(1), &id(1).public_key());
        assert!(guests.is_empty());
    }

    #[test]
    fn a_clock_that_jumps_back_lets_nobody_stay_longer_and_puts_nothing_off() {
        let mut guests = Guests::new(SECRET);
        guests.publish(at(3_600_000), online(1), path("203.0.113.7")).unwrap();
        guests.take_due(at(3_600_000));
        assert!(!guests.is_due(at(3_600_000)) && guests.is_due(at(0)));
        assert_eq!(guests.take_due(at(0)).len(), 1);
        assert!(!guests.is_due(at(0)));
        assert!(guests.next_deadline().unwrap() <= at(15_000));
        guests.take_due(at(30_000));
        assert!(guests.is_empty());
    }

    /// Something that happens: after so many milliseconds, to one of six names, in one of three networks.
    #[derive(Clone, Debug)]
    enum Event {
        Publish(PresenceKind, u8, usize, u8),
        Listen(u8, usize),
        Close(u64),
        Pass,
    }

    fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
        let kind = prop_oneof![
            4 => Just(PresenceKind::Online),
            4 => Just(PresenceKind::Update),
            1 => Just(PresenceKind::Offline)
        ];
        let event = prop_oneof![
            6 => (kind, 0..6_u8, 0..3_usize, 0..2_u8).prop_map(|(kind, name, network, content)| Event::Publish(kind, name, network, content)),
            2 => (0..6_u8, 0..3_usize).prop_map(|(name, network)| Event::Listen(name, network)),
            1 => (0..8_u64).prop_map(Event::Close),
            2 => Just(Event::Pass),
        ];
        let pause = prop_oneof![3 => 0..3_000_u64, 1 => 0..40_000_u64];
        prop::collection::vec((pause, event), 0..80)
    }

    #[derive(Debug, PartialEq)]
    struct Known {
        network: usize,
        heard_at: u64,
        content: String,
        socket: Option<u64>,
    }

    proptest! {
        /// The model is a table of names. A client that hears everything knows what is in it.
        #[test]
        fn guests_are_those_of_a_plain_table_and_the_others_know_them(events in events()) {
            let networks = ["203.0.113.7", "198.51.100.9", "192.0.2.1"].map(path);
            let mut guests = Guests::new(SECRET);
            let mut table = BTreeMap::<GuestId, Known>::new();
            let mut view = View::default();
            let (mut now, mut sockets) = (0, 0);
            for (pause, event) in events {
                // The host calls at every deadline.
                let until = now + pause;
                while let Some(deadline) = guests.next_deadline().filter(|deadline| *deadline <= at(until)) {
                    now = deadline.since(at(0)).as_millis() as u64;
                    view.take(now, &guests.take_due(deadline));
                }
                now = until;
                table.retain(|_, known| now < known.heard_at + 30_000);
                match event {
                    Event::Publish(kind, name, network, content) => {
                        let content = content.to_string();
                        let outcome = guests.publish(at(now), presence(kind, name, &content), networks[network]);
                        let others = table.values().filter(|known| known.network == network).count();
                        let is_going = kind == PresenceKind::Offline;
                        match table.get_mut(&id(name)) {
                            Some(known) if known.network != network => prop_assert_eq!(outcome, Err(GuestRefused::Held)),
                            Some(_) if is_going => { table.remove(&id(name)); }
                            Some(known) => {
                                (known.heard_at, known.content) = (now, content);
                                prop_assert!(matches!(outcome, Ok(Published::Present(_))));
                            }
                            None if is_going => prop_assert_eq!(outcome, Ok(Published::Gone)),
                            None if others >= 4 => prop_assert_eq!(outcome, Err(GuestRefused::Full)),
                            None => { table.insert(id(name), Known { network, heard_at: now, content, socket: None }); }
                        }
                    }
                    Event::Listen(name, network) => {
                        sockets += 1;
                        let outcome = guests.listen(at(now), &id(name), networks[network], SocketId(sockets));
                        let expected = match table.get_mut(&id(name)) {
                            None => Err(NotListening::Early),
                            Some(known) if known.network != network => Err(NotListening::Held),
                            Some(known) => Ok(known.socket.replace(sockets).map(SocketId)),
                        };
                        prop_assert_eq!(outcome, expected);
                    }
                    Event::Close(back) => {
                        let socket = sockets.saturating_sub(back);
                        guests.closed(at(now), SocketId(socket));
                        table.retain(|_, known| known.socket != Some(socket));
                    }
                    Event::Pass => {}
                }
                view.take(now, &guests.take_due(at(now)));
                let expected: BTreeMap<_, _> = table.iter().map(|(id, known)| (id, known.content.as_str())).collect();
                prop_assert_eq!(contents(&guests), expected);
                // Whoever has been there for a second is known.
                for id in table.keys() {
                    prop_assert!(view.0.contains_key(id) || guests.rate.due_at().is_some_and(|due| due <= at(now + 1_000)));
                }
            }
            // When all changes are told, a client knows just what there is.
            while guests.rate.due_at().is_some()
                && let Some(deadline) = guests.next_deadline()
            {
                now = now.max(deadline.since(at(0)).as_millis() as u64);
                view.take(now, &guests.take_due(at(now)));
            }
            prop_assert_eq!(view.contents(), contents(&guests));
        }
    }
}
