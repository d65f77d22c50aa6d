//! A community's object: the one place in the world where its roster is.
//!
//! It asks the roster, and says what is to be stored, forgotten and woken for; `rendezvous-protocol` decides what is
//! listed. A host constructs it anew after every eviction, deploy and crash: whatever it needs is restored there.

use std::fmt::Display;
use std::time::Duration;

use rendezvous_protocol::code::Code;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::live::{
    AnnouncedMessage, Attachment, BeaconMessage, Claim, CloseCode, ErrorMessage, LeftMessage, LiveLimits,
};
use rendezvous_protocol::network::NetworkPath;
use rendezvous_protocol::pacing::Pacing;
use rendezvous_protocol::peer_list::{Excerpt, PeerList};
use rendezvous_protocol::roster::{Announced, Excluded, Left, Refused, Roster};
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::snapshot::Snapshot;
use rendezvous_protocol::ticket::{Purpose, VerifiedTicket};
use rendezvous_protocol::time::{UnixMillis, saturating_millis};
use rendezvous_protocol::upkeep::{Upkeep, UpkeepIntervals};
use serde::Serialize;

use crate::activity::Activity;
use crate::answer::{AnnounceFields, Answer, Outcome};
use crate::call::{Call, CallError, Handed, ObjectError};
use crate::config::{Config, Viewers};
use crate::goop2::{GuestCall, GuestObject, GuestOpening, GuestRefusal, KeptGuest, RoomCall};
use crate::live::{ConnectionId, LiveCall, LiveFull, LiveObject, Opening, Push, Pushed};
use crate::note::{Details, Note};
use crate::problem::{Problem, internal};

/// Holds what the host is to do after a call: in any order, and before the answer goes out where it can.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Effects {
    /// The text that takes the place of the one that is stored. Whether that worked is said to
    /// [`CommunityObject::written`].
    pub write: Option<String>,
    /// If everything that is stored for the object is to be erased: the note for the log once it is.
    pub erase: Option<Note>,
    /// When [`CommunityObject::handle_alarm`] is to be called, though the object may be evicted until then. It takes the
    /// place of an earlier one.
    pub wake_at: Option<UnixMillis>,
    /// The time after which [`CommunityObject::handle_timer`] is to be called, for as long as the object stays.
    pub timer: Option<Duration>,
    /// The time after which [`CommunityObject::handle_timer`] is to be called for what waits to be pushed, besides `timer`.
    /// Absent where connections outlive the object: one of them waits for it.
    pub push_after: Option<Duration>,
    /// Connections that are to keep what [`CommunityObject::attachment`] says now, where they outlive the object.
    pub attach: Vec<ConnectionId>,
    /// What there is for connections of `GET /live`, in this order.
    pub push: Vec<Push>,
    /// Lines for the log.
    pub notes: Vec<Note>,
}

/// Holds what a host finds when it constructs an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The text that was written last, if any; or why storage cannot be read.
    pub stored: Result<Option<String>, String>,
    /// The text that was saved out of a process that panicked, and is not in storage.
    pub rescued: Option<String>,
    /// The connections of `GET /live` that are still there, each with what it keeps. Absent where connections end with
    /// the process, and keep nothing.
    pub connections: Option<Vec<(ConnectionId, String)>>,
}

impl Found {
    /// Makes what is found where nothing was ever stored.
    pub const fn nothing() -> Self {
        Self { stored: Ok(None), rescued: None, connections: None }
    }
}

/// Holds a community's roster, and when it is written.
#[derive(Debug)]
pub struct CommunityObject {
    pacing: Pacing,
    answer_limit: usize,
    is_open: bool,
    started_at: UnixMillis,
    roster: Roster,
    upkeep: Upkeep,
    /// Whether there is something in storage.
    is_stored: bool,
    /// Whether the last write failed, and that is in the log.
    write_failed: bool,
    config: LiveConfig,
    activity: Activity,
    /// Absent until somebody opens a connection: a community without any pays nothing for it.
    live: Option<Box<LiveObject>>,
    /// Absent where there are no guests, and nobody wants to know of any. Where connections end with the process, rooms are
    /// elsewhere.
    guests: Option<Box<GuestObject>>,
}

/// Holds what of the configuration an object needs for connections.
#[derive(Clone, Copy, Debug)]
struct LiveConfig {
    limits: LiveLimits,
    viewers: Viewers,
    ticket_max_lifetime: Duration,
    /// Whether connections keep what the object needs to be made anew.
    is_kept: bool,
}

impl CommunityObject {
    /// Restores an object from what there is. `is_open` says whether anybody may have invented the community. A roster
    /// that cannot be read is said, and left aside: starting empty costs minutes, refusing to start would cost the
    /// community. `secret` is for a roster that starts empty.
    pub fn restore(now: UnixMillis, config: &Config, is_open: bool, found: Found, secret: Secret) -> (Self, Effects) {
        let mut effects = Effects::default();
        let limits = config.roster_limits();
        let notes = &mut effects.notes;
        let decode = |text: Option<String>, notes: &mut Vec<Note>| match Snapshot::decode(&text?, limits, now) {
            Ok(snapshot) => Some(snapshot),
            Err(error) => {
                notes.push(Note::failure("snapshot_unreadable", &error));
                None
            }
        };
        let is_stored = !matches!(found.stored, Ok(None));
        let stored = found.stored.unwrap_or_else(|error| {
            notes.push(Note::failure("storage_unreadable", &error));
            None
        });
        let stored = decode(stored, notes);
        let rescued = decode(found.rescued, notes)
            .filter(|rescued| stored.as_ref().is_none_or(|stored| rescued.taken_at >= stored.taken_at));

        let is_kept = found.connections.is_some();
        let Kept { attached, secret, guests, viewers } =
            attachments(found.connections, secret, notes, &mut effects.push);
        // Of what is in storage: a rescued roster is not, and must not wait any longer than it would have.
        let intervals = UpkeepIntervals { snapshot: config.snapshot_interval, alarm: limits.ticket_max_lifetime };
        let upkeep = Upkeep::new(intervals, stored.as_ref().map(|stored| stored.taken_at));
        let is_rescued = rescued.is_some();
        let roster = match rescued.or(stored) {
            Some(snapshot) => {
                let peers = Some(snapshot.roster.len());
                notes.push(Note::info("roster_restored", Details { peers, ..Details::default() }));
                snapshot.roster
            }
            None => Roster::new(limits, secret),
        };
        let (attached, foreign): (Vec<_>, Vec<_>) =
            attached.into_iter().partition(|(_, attachment)| attachment.secret == *roster.secret());
        let foreign: Vec<_> = foreign.into_iter().map(|(id, _)| id).collect();
        if !foreign.is_empty() {
            effects.push.push(Push { to: foreign.clone(), what: Pushed::Close(CloseCode::Internal) });
        }
        let records = attached.iter().flat_map(|(_, attachment)| &attachment.records);
        let records: Vec<_> = records.map(|(_, record)| record.clone()).collect();
        let departed: Vec<_> = attached.iter().flat_map(|(_, attachment)| &attachment.departed).cloned().collect();
        let nothing_kept = records.is_empty() && departed.is_empty();
        let roster = if nothing_kept { roster } else { roster.with_known(now, records, departed) };
        let live = LiveObject::restore(now, config.live_limits, config.viewers, &roster, attached);
        let viewers = viewers.into_iter().filter(|id| !foreign.contains(id)).collect();
        let guests = GuestObject::restore(guests, viewers, *roster.secret());
        let mut object = Self {
            pacing: config.pacing,
            answer_limit: config.answer_limit,
            is_open,
            started_at: now,
            roster,
            upkeep,
            is_stored,
            write_failed: false,
            config: LiveConfig {
                limits: config.live_limits,
                viewers: config.viewers,
                ticket_max_lifetime: limits.ticket_max_lifetime,
                is_kept,
            },
            activity: Activity::new(now),
            live: live.map(Box::new),
            guests: guests.map(Box::new),
        };
        if is_rescued {
            object.changed(now, &mut effects);
            object.write_if_due(now, &mut effects);
        }
        object.push_if_due(now, &mut effects);
        object.count(&effects);
        (object, effects)
    }

    /// Answers a call that comes as a URL. `random` spreads announces out; nobody gains anything by guessing it.
    pub fn receive(&mut self, now: UnixMillis, url: &str, random: u32) -> (Answer, Effects) {
        match Call::parse(url) {
            Ok(call) => self.handle(now, call, random),
            Err(error) => {
                let notes = vec![Note::failure("request_failed", &error)];
                (internal(now), Effects { notes, ..Effects::default() })
            }
        }
    }

    /// Answers a call.
    pub fn handle(&mut self, now: UnixMillis, call: Call, random: u32) -> (Answer, Effects) {
        let mut effects = Effects::default();
        self.activity.advance(now, &self.roster);
        let (answer, changed) = match call {
            Call::List => (self.list(now, &mut effects), false),
            Call::Ticket(handed) => match handed.ticket.payload().purpose {
                Purpose::Presence => self.announce(now, *handed, random, &mut effects),
                Purpose::Leave => self.leave(now, &handed, &mut effects),
            },
        };
        if changed {
            self.changed(now, &mut effects);
        }
        self.conclude(now, &mut effects);
        (answer, effects)
    }

    /// Opens a connection of `GET /live`, and pushes to it what it missed.
    ///
    /// # Errors
    /// [`LiveFull`], if there is no place for it; then nothing has changed.
    pub fn open_live(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        opening: &Opening,
    ) -> (Result<(), LiveFull>, Effects) {
        let mut effects = Effects::default();
        self.activity.advance(now, &self.roster);
        let path = opening.network.hashed(self.roster.secret());
        let LiveConfig { limits, viewers, is_kept, .. } = self.config;
        let roster = &mut self.roster;
        let live = self.live.get_or_insert_with(|| {
            // Of the time before the log.
            roster.take_displaced();
            Box::new(LiveObject::new(now, limits, viewers, roster, is_kept))
        });
        let outcome = live.open(now, &mut self.roster, id, path, opening, &mut effects.push);
        self.conclude(now, &mut effects);
        if outcome.is_ok() && opening.watches_guests && is_kept {
            room(&mut self.guests, &self.roster).watch(now, id, &mut effects.push);
            self.conclude_guests(&mut effects);
        }
        (outcome, effects)
    }

    /// Answers a request of goop2's peers, which comes as a URL and a body, where their room is here.
    pub fn receive_guest(&mut self, now: UnixMillis, url: &str, body: &str) -> (Answer, Effects) {
        let mut effects = Effects::default();
        let answer = match RoomCall::parse(url, body) {
            Ok(call) => {
                let is_listed = |key: &PublicKey| lists(&self.roster, now, key);
                room(&mut self.guests, &self.roster).handle(now, call, &is_listed, &mut effects.push)
            }
            Err(error) => {
                effects.notes.push(Note::failure("request_failed", &error));
                internal(now)
            }
        };
        self.conclude_guests(&mut effects);
        (answer, effects)
    }

    /// Opens a connection of one of goop2's peers, and pushes to it who is there.
    ///
    /// # Errors
    /// [`GuestRefusal`], if there is no place for it.
    pub fn open_guest(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        opening: &GuestOpening,
    ) -> (Result<(), GuestRefusal>, Effects) {
        let mut effects = Effects::default();
        let outcome = room(&mut self.guests, &self.roster).open(now, id, opening, &mut effects.push);
        if outcome.is_ok() {
            effects.attach.push(id);
        }
        self.conclude_guests(&mut effects);
        (outcome, effects)
    }

    /// Takes a text of a connection, of whatever kind, or that the connection has ended, where there is none. `random` is as
    /// in [`CommunityObject::receive`].
    ///
    /// # Errors
    /// [`CallError`], if the text is not one of that kind's.
    pub fn receive_text(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        text: Option<&str>,
        random: u32,
    ) -> Result<Effects, CallError> {
        let mut effects = Effects::default();
        let is_guest = self.guests.as_ref().is_some_and(|guests| guests.has(id));
        if !is_guest && self.live.as_ref().is_some_and(|live| live.path(id).is_some()) {
            effects = self.handle_live(now, id, text.map_or(Ok(LiveCall::Closed), LiveCall::parse)?, random);
        }
        if let Some(guests) = &mut self.guests {
            match text {
                Some(text) if is_guest => {
                    let is_listed = |key: &PublicKey| lists(&self.roster, now, key);
                    guests.take(now, id, GuestCall::parse(text)?, &is_listed, &mut effects.push);
                }
                Some(_) => {}
                // One of `GET /live` may have watched, even where its place has become another's.
                None => guests.closed(now, id, &mut effects.push),
            }
            self.conclude_guests(&mut effects);
        }
        Ok(effects)
    }

    /// Does what is due after something was asked of the room of guests.
    fn conclude_guests(&mut self, effects: &mut Effects) {
        let Some(guests) = &mut self.guests else { return };
        effects.push_after = match (effects.push_after, guests.take_timer()) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        if guests.is_empty() {
            self.guests = None;
        }
    }

    /// Answers a connection of `GET /live`, by what is pushed. `random` is as in [`CommunityObject::receive`].
    pub fn handle_live(&mut self, now: UnixMillis, id: ConnectionId, call: LiveCall, random: u32) -> Effects {
        let mut effects = Effects::default();
        self.activity.advance(now, &self.roster);
        let Some(path) = self.live.as_ref().and_then(|live| live.path(id)) else { return effects };
        match call {
            LiveCall::Ticket { id: re, ticket } => {
                let (text, changed) = match ticket.payload().purpose {
                    Purpose::Presence => {
                        self.announce_live(now, id, re.as_deref(), (*ticket, path), random, &mut effects)
                    }
                    Purpose::Leave => {
                        let left = self.remove(now, &ticket, path, &mut effects);
                        let message = LeftMessage { re: re.as_deref(), left: left == Left::Left };
                        (message.to_text(), left != Left::Ignored)
                    }
                };
                effects.push.push(Push { to: vec![id], what: Pushed::Reply(text) });
                if changed {
                    self.changed(now, &mut effects);
                }
            }
            LiveCall::Bind { id: re, claim, since } => {
                self.roster.expire(now);
                if self.roster.holds(&claim.peer_id, &claim.public_key) {
                    if let Some(live) = &mut self.live {
                        live.bind(now, &mut self.roster, id, claim, (re.as_deref(), since), &mut effects.push);
                    }
                } else {
                    let detail = "this claim is not listed: announce first".to_owned();
                    let code = Code::NotListed.as_str();
                    let message = ErrorMessage { re: re.as_deref(), code, detail, retry_after_ms: None };
                    effects.push.push(Push { to: vec![id], what: Pushed::Reply(message.to_text()) });
                }
            }
            LiveCall::Signal(signal) => {
                self.roster.expire(now);
                if let Some(live) = &mut self.live {
                    live.signal(now, &self.roster, id, *signal, &mut effects.push);
                }
            }
            LiveCall::Reads(reads) => {
                if let Some(live) = &mut self.live {
                    live.reads(id, reads);
                }
            }
            LiveCall::CatchUp(since) => {
                if let Some(live) = &self.live {
                    live.catch_up(now, &mut self.roster, id, since, &mut effects.push);
                }
            }
            LiveCall::FrameDue => {
                if let Some(live) = &mut self.live {
                    live.asked(id);
                }
            }
            LiveCall::Closed => {
                if let Some(live) = &mut self.live {
                    live.close(&self.roster, id);
                }
            }
        }
        self.conclude(now, &mut effects);
        effects
    }

    /// Writes what a connection is to keep, for as long as it lasts, so that the object can be made anew.
    ///
    /// # Errors
    /// [`ObjectError::Unreadable`], if a record cannot be written.
    pub fn attachment(&self, now: UnixMillis, id: ConnectionId) -> Result<Option<String>, ObjectError> {
        if let Some(kept) = self.guests.as_ref().and_then(|guests| guests.attachment(id)) {
            return Ok(Some(kept));
        }
        let Some(live) = &self.live else { return Ok(None) };
        let kept = live.attachment(now, &self.roster, id)?;
        let watches = self.guests.as_ref().is_some_and(|guests| guests.is_watched_by(id));
        Ok(kept.map(|kept| if watches { [WATCHES, &kept].concat() } else { kept }))
    }

    /// Returns how many connections of `GET /live` there are.
    pub fn connections(&self) -> usize {
        self.live.as_ref().map_or(0, |live| live.len())
    }

    /// Writes and pushes what is due, if anything is: an early or repeated call does nothing.
    pub fn handle_timer(&mut self, now: UnixMillis) -> Effects {
        let mut effects = Effects::default();
        self.activity.advance(now, &self.roster);
        self.write_if_due(now, &mut effects);
        self.push_if_due(now, &mut effects);
        if let Some(guests) = &mut self.guests {
            let is_listed = |key: &PublicKey| lists(&self.roster, now, key);
            guests.handle_timeout(now, &is_listed, &mut effects.push);
            self.conclude_guests(&mut effects);
        }
        self.count(&effects);
        effects
    }

    /// Tidies up. Nothing that has expired is ever listed, tidied up or not.
    pub fn handle_alarm(&mut self, now: UnixMillis) -> Effects {
        let mut effects = Effects::default();
        self.activity.advance(now, &self.roster);
        self.upkeep.alarmed();
        self.write_if_due(now, &mut effects);
        if let Some(cause) = self.not_worth_keeping(now) {
            self.upkeep.drop_write();
            effects.write = None;
            self.is_stored = false;
            let cause = Some(cause.to_owned());
            effects.erase = Some(Note::info("roster_deleted", Details { cause, ..Details::default() }));
        } else {
            effects.wake_at = self.next_alarm(now);
        }
        self.count(&effects);
        effects
    }

    /// Takes how the last write went. A failure is mended by the next write, since the roster in memory is right all the
    /// same; the first of several in a row is worth a note.
    pub fn written(&mut self, outcome: Result<(), String>) -> Option<Note> {
        let was_failed = std::mem::replace(&mut self.write_failed, outcome.is_err());
        outcome.err().filter(|_| !was_failed).map(|cause| Note::failure("snapshot_not_written", &cause))
    }

    /// Returns how many are listed, those whose tickets have expired since the last call too.
    pub fn live(&self) -> usize {
        self.roster.len()
    }

    /// Returns whether a ticket of this key is listed.
    pub fn lists(&self, now: UnixMillis, key: &PublicKey) -> bool {
        lists(&self.roster, now, key)
    }

    /// Returns whether there are changes that are to be written and are not yet.
    pub const fn has_unwritten(&self) -> bool {
        self.upkeep.has_unwritten()
    }

    /// Returns the text to save where the process is about to end, if there is something to lose. It never panics.
    pub fn unwritten(&self, now: UnixMillis) -> Option<String> {
        // What is not worth a row is worth this: it costs nothing.
        if !self.upkeep.has_unwritten() && !self.upkeep.is_suspended() {
            return None;
        }
        Snapshot::encode(now, &self.roster).ok()
    }

    /// Returns the answer, and whether there is something to store.
    fn announce(&mut self, now: UnixMillis, handed: Handed, random: u32, effects: &mut Effects) -> (Answer, bool) {
        let Handed { community, network, ticket } = handed;
        let roster = &self.roster;
        let path = network.hashed(roster.secret());
        let (peer_id, public_key) = (ticket.peer_id().clone(), ticket.public_key());
        let (expires_at, seed) = (ticket.payload().expires_at, roster.seed(now, Some(&ticket)));
        let signs_community = ticket.payload().community.is_some();
        let outcome = self.admit(now, ticket, path, effects);
        let roster = &mut self.roster;
        let total = roster.len();
        let caller = Excluded::Claim(peer_id.as_str(), &public_key);
        let peers = Excerpt::of_records(&roster.answer(now, self.answer_limit, caller, seed));
        let announced = match outcome {
            Ok(announced) => announced,
            Err(refused) => {
                let problem = Problem::Refused { refused, listed: roster.holds(&peer_id, &public_key) };
                let answer =
                    if signs_community { problem.answer(now, &peers) } else { problem.answer_with_ok(now, &peers) };
                return (answer, false);
            }
        };
        let accepted = announced == Announced::Accepted;
        let fields = AnnounceFields {
            ok: true,
            accepted,
            listed: announced != Announced::NotListed,
            community: community.as_str(),
            server_time: now,
            expires_at,
            announce_after_ms: self.pacing.announce_after_millis(total, random),
            total,
        };
        let outcome = if accepted { Outcome::Accepted } else { Outcome::Served };
        (Answer::ok(&fields, Some(&peers)).with_outcome(outcome), accepted)
    }

    /// Returns the message, and whether there is something to store.
    fn announce_live(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        re: Option<&str>,
        (ticket, path): (VerifiedTicket, NetworkPath),
        random: u32,
        effects: &mut Effects,
    ) -> (String, bool) {
        let (expires_at, claim) = (ticket.payload().expires_at, Claim::of(&ticket));
        match self.admit(now, ticket, path, effects) {
            Ok(announced) => {
                let message = AnnouncedMessage {
                    re,
                    accepted: announced == Announced::Accepted,
                    listed: announced != Announced::NotListed,
                    expires_at,
                    announce_after_ms: self.pacing.live_announce_after_millis(expires_at.since(now), random),
                    bound: self.live.as_ref().is_some_and(|live| live.is_bound(id, &claim)),
                };
                let is_kept = message.accepted && self.live.as_mut().is_some_and(|live| live.keep(id, &claim));
                (message.to_text(), message.accepted && !is_kept)
            }
            Err(refused) => {
                let retry_after_ms = match refused {
                    Refused::AnnounceTooSoon { retry_after } => Some(saturating_millis(retry_after)),
                    Refused::Expired | Refused::StaleTicket { .. } => None,
                };
                let (code, detail) = (refused.code(), refused.to_string());
                (ErrorMessage { re, code, detail, retry_after_ms }.to_text(), false)
            }
        }
    }

    /// Asks the roster to list a ticket, and notes what that changed for viewers.
    fn admit(
        &mut self,
        now: UnixMillis,
        ticket: VerifiedTicket,
        path: NetworkPath,
        effects: &mut Effects,
    ) -> Result<Announced, Refused> {
        let Some(live) = &mut self.live else { return self.roster.announce(now, ticket, path) };
        let (claim, expires_at) = (Claim::of(&ticket), ticket.payload().expires_at);
        let outcome = self.roster.announce(now, ticket, path);
        if outcome == Ok(Announced::Accepted) {
            let displaced = self.roster.take_displaced();
            effects.push_after = live.put(now, claim, expires_at, displaced.as_ref());
            if displaced.is_some() && self.is_stored {
                // A row may have it still, and would list it again when the newcomer, which a connection keeps, is gone.
                self.changed(now, effects);
            }
        }
        outcome
    }

    /// Asks the roster to let a claim leave, and notes what that changed for viewers.
    fn remove(&mut self, now: UnixMillis, ticket: &VerifiedTicket, path: NetworkPath, effects: &mut Effects) -> Left {
        let left = self.roster.leave(now, ticket, path);
        if let (Some(live), Left::Left) = (&mut self.live, left) {
            effects.push_after = live.left(now, ticket, self.config.ticket_max_lifetime);
        }
        left
    }

    /// Returns the answer, and whether there is something to store.
    fn leave(&mut self, now: UnixMillis, handed: &Handed, effects: &mut Effects) -> (Answer, bool) {
        let path = handed.network.hashed(self.roster.secret());
        let left = self.remove(now, &handed.ticket, path, effects);
        let fields = LeaveFields { ok: true, left: left == Left::Left, server_time: now };
        (Answer::ok(&fields, None), left != Left::Ignored)
    }

    fn list(&mut self, now: UnixMillis, effects: &mut Effects) -> Answer {
        let connections = self.live.as_ref().map(|live| live.counts()).unwrap_or_default();
        let figures = self.activity.figures(connections);
        match PeerList::encode(&mut self.roster, now, self.started_at, &figures) {
            Ok(body) => Answer::of_json(body),
            Err(error) => {
                effects.notes.push(Note::failure("request_failed", &error));
                internal(now)
            }
        }
    }

    /// Returns why nothing of the roster is worth keeping, if so.
    fn not_worth_keeping(&mut self, now: UnixMillis) -> Option<&'static str> {
        self.roster.expire(now);
        if self.roster.is_empty() {
            Some("nobody is present")
        } else if self.is_unfindable() {
            Some("all are in one site")
        } else {
            None
        }
    }

    /// Returns whether anybody may have invented the community, and nobody can find anybody in it.
    fn is_unfindable(&self) -> bool {
        self.is_open && self.roster.is_of_one_site()
    }

    /// Sees to it that nothing is written, and nothing put off, for a community that is not worth it.
    fn weigh(&mut self) {
        let is_unfindable = self.is_unfindable();
        self.upkeep.suspend(is_unfindable);
    }

    /// Sees to it that a change is written in time.
    fn changed(&mut self, now: UnixMillis, effects: &mut Effects) {
        self.weigh();
        effects.timer = effects.timer.or(self.upkeep.changed(now));
    }

    /// Does what is due after every call.
    fn conclude(&mut self, now: UnixMillis, effects: &mut Effects) {
        if self.live.as_mut().is_some_and(|live| live.take_given_up()) {
            self.changed(now, effects);
        }
        self.write_if_due(now, effects);
        self.push_if_due(now, effects);
        effects.wake_at = self.next_alarm(now);
        self.count(effects);
    }

    fn count(&mut self, effects: &Effects) {
        self.activity.count(effects.write.is_some(), effects.wake_at.is_some(), &effects.push);
    }

    fn push_if_due(&mut self, now: UnixMillis, effects: &mut Effects) {
        if let Some(live) = &mut self.live {
            live.flush(now, &mut self.roster, &mut effects.push);
            effects.attach = live.take_changed();
        }
    }

    fn next_alarm(&mut self, now: UnixMillis) -> Option<UnixMillis> {
        self.weigh();
        // An alarm tidies storage up. What connections keep ends with them.
        let deadline = self.roster.next_deadline().filter(|_| self.is_stored || self.upkeep.has_unwritten());
        self.upkeep.next_alarm(now, deadline)
    }

    fn write_if_due(&mut self, now: UnixMillis, effects: &mut Effects) {
        self.weigh();
        if !self.upkeep.take_write(now) {
            return;
        }
        match Snapshot::encode(now, &self.roster) {
            Ok(state) => {
                self.is_stored = true;
                effects.write = Some(state);
            }
            Err(error) => effects.notes.extend(self.written(Err(error.to_string()))),
        }
    }
}

/// Returns the room of guests, which is made first where there is none.
fn room<'a>(guests: &'a mut Option<Box<GuestObject>>, roster: &Roster) -> &'a mut GuestObject {
    guests.get_or_insert_with(|| Box::new(GuestObject::new(*roster.secret())))
}

/// Returns whether a ticket of this key is listed.
fn lists(roster: &Roster, now: UnixMillis, key: &PublicKey) -> bool {
    let mut records = roster.records();
    records.any(|record| record.ticket.public_key() == *key && now < record.ticket.payload().expires_at)
}

/// Stands before what a connection keeps that is told of guests.
const WATCHES: &str = "watches\n";

/// Holds what connections keep.
struct Kept {
    attached: Vec<(ConnectionId, Attachment)>,
    /// The secret of a roster of which nothing else is left: theirs, if there are any.
    secret: Secret,
    /// Those of goop2's peers.
    guests: Vec<(ConnectionId, KeptGuest)>,
    /// Of the attached, those that are told of guests.
    viewers: Vec<ConnectionId>,
}

/// Reads what connections keep, and closes those of which it cannot be read.
fn attachments(
    connections: Option<Vec<(ConnectionId, String)>>,
    secret: Secret,
    notes: &mut Vec<Note>,
    push: &mut Vec<Push>,
) -> Kept {
    let mut kept = Kept { attached: Vec::new(), secret, guests: Vec::new(), viewers: Vec::new() };
    let mut unreadable = Vec::new();
    for (id, text) in connections.unwrap_or_default() {
        let mut refuse = |error: &dyn Display| {
            if unreadable.is_empty() {
                notes.push(Note::failure("attachment_unreadable", error));
            }
            unreadable.push(id);
        };
        match KeptGuest::parse(&text) {
            Some(Ok(guest)) => kept.guests.push((id, guest)),
            Some(Err(error)) => refuse(&error),
            None => {
                let of_viewer = text.strip_prefix(WATCHES);
                match Attachment::decode(of_viewer.unwrap_or(&text)) {
                    Ok(attachment) => {
                        kept.attached.push((id, attachment));
                        if of_viewer.is_some() {
                            kept.viewers.push(id);
                        }
                    }
                    Err(error) => refuse(&error),
                }
            }
        }
    }
    if !unreadable.is_empty() {
        push.push(Push { to: unreadable, what: Pushed::Close(CloseCode::Internal) });
    }
    if let Some((_, attachment)) = kept.attached.first() {
        kept.secret = attachment.secret;
    }
    kept
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LeaveFields {
    ok: bool,
    left: bool,
    server_time: UnixMillis,
}
