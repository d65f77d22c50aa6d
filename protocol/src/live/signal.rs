//! Signals: offers, answers and candidates (of WebRTC, or of anything like it) from one present peer to another.
//!
//! A beacon hands a signal on as the text that came, and verifies nothing that is signed: whoever receives it does, by
//! [`Signal::verify`]. A beacon cannot forge an offer, nor put another fingerprint into one. It can drop a signal, and
//! it sees what is in it.
//!
//! That is not enough for two peers to know that they talk to each other: a third one may sign another's description as
//! its own (RFC 8844). So the first message of each side on the channel is a [`Confirmation`], which names both
//! descriptions and both keys.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::base64;
use crate::canonical::quoted;
use crate::code::Code;
use crate::community::Community;
use crate::key::PublicKey;
use crate::limits::{
    LIVE_SIGNAL_REPLAY, LIVE_SIGNAL_SKEW, LIVE_SIGNAL_SKEW_RECEIVED, LIVE_SIGNALS_REMEMBERED,
    LIVE_SIGNALS_REMEMBERED_OF_KEY,
};
use crate::live::Claim;
use crate::ticket::{Purpose, Ticket, TicketError, TicketRules};
use crate::time::UnixMillis;

const DOMAIN: &str = "rendezvous-live-v1:signal";
const CONFIRM_DOMAIN: &str = "rendezvous-live-v1:confirm";

/// Says what a signal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalKind {
    /// The first of a conversation.
    Offer,
    /// What is answered to the offer whose signed bytes have this SHA-256.
    Answer([u8; 32]),
    /// A way to reach whoever sends it, in the conversation of the offer whose signed bytes have this SHA-256.
    Candidate([u8; 32]),
}

impl SignalKind {
    /// Returns the word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Answer(_) => "answer",
            Self::Candidate(_) => "candidate",
        }
    }

    /// Returns the SHA-256 of the offer's signed bytes; absent in an offer.
    pub const fn offer(self) -> Option<[u8; 32]> {
        match self {
            Self::Offer => None,
            Self::Answer(offer) | Self::Candidate(offer) => Some(offer),
        }
    }
}

/// Holds a signal of the right shape, of which nothing else is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal<'a> {
    /// The name that the beacon's answer repeats, and by which a receiver knows a signal again.
    pub id: String,
    /// What it is.
    pub kind: SignalKind,
    /// Whom it is for.
    pub to: Claim,
    /// Whom it is from.
    pub from: Claim,
    /// When it was signed.
    pub at: UnixMillis,
    /// What the peers tell each other, in a form of theirs: 1 to 8,192 bytes of UTF-8.
    pub data: String,
    /// The sender's signature over [`Signal::signed_bytes`].
    pub signature: [u8; 64],
    /// The sender's ticket, not parsed yet, for a receiver that may not have seen it.
    pub ticket: Option<&'a str>,
}

impl Signal<'_> {
    /// Writes the bytes that are signed: the domain, a line feed, and canonical JSON of `at`, `community`, `data`, `from`,
    /// `fromKey`, `id`, `kind`, `re` (not of an offer), `to` and `toKey`.
    pub fn signed_bytes(&self, community: &Community) -> String {
        let Self { id, kind, to, from, at, data, .. } = self;
        let re = kind.offer().map(|offer| format!("\"re\":\"{}\",", base64::encode(&offer))).unwrap_or_default();
        let (kind, data) = (kind.as_str(), quoted(data));
        let (to, to_key) = (&to.peer_id, to.public_key);
        let (from, from_key) = (&from.peer_id, from.public_key);
        format!(
            "{DOMAIN}\n{{\"at\":{at},\"community\":\"{community}\",\"data\":{data},\"from\":\"{from}\",\
             \"fromKey\":\"{from_key}\",\"id\":\"{id}\",\"kind\":\"{kind}\",{re}\"to\":\"{to}\",\"toKey\":\"{to_key}\"}}"
        )
    }

    /// Returns the SHA-256 of the signed bytes, by which answers, candidates and [`Confirmation`]s name a signal.
    pub fn digest(&self, community: &Community) -> [u8; 32] {
        Sha256::digest(self.signed_bytes(community)).into()
    }

    /// Returns whether the signal is of a time at which a beacon hands it on: [`LIVE_SIGNAL_SKEW`] from its clock at most.
    pub fn is_timely(&self, now: UnixMillis) -> bool {
        self.distance(now) <= LIVE_SIGNAL_SKEW
    }

    fn distance(&self, now: UnixMillis) -> Duration {
        self.at.since(now).max(now.since(self.at))
    }

    /// Verifies a signal for whoever receives it, and remembers it, so that it is good once.
    ///
    /// # Errors
    /// [`SignalError`]; then the signal is not remembered.
    pub fn verify(&self, rules: &SignalRules<'_>, now: UnixMillis, seen: &mut SeenSignals) -> Result<(), SignalError> {
        if self.to != *rules.own {
            return Err(SignalError::AnotherPeer);
        }
        if self.distance(now) > LIVE_SIGNAL_SKEW_RECEIVED {
            return Err(SignalError::Time);
        }
        if !rules.present.contains(&self.from) {
            self.verify_ticket(&rules.tickets, now)?;
        }
        let community = rules.tickets.community;
        if self.from.public_key.verify(self.signed_bytes(community).as_bytes(), &self.signature).is_err() {
            return Err(SignalError::SignatureInvalid);
        }
        seen.insert(now, self.from.public_key, &self.id)
    }

    /// Verifies that the sender is present, by the ticket in the signal.
    fn verify_ticket(&self, rules: &TicketRules<'_>, now: UnixMillis) -> Result<(), SignalError> {
        let ticket = Ticket::parse(self.ticket.ok_or(SignalError::NotListed)?, Purpose::Presence)?;
        let ticket = ticket.verify(rules, now)?;
        if Claim::of(&ticket) == self.from { Ok(()) } else { Err(SignalError::NotListed) }
    }
}

/// Holds what a receiver asks of a signal.
#[derive(Clone, Copy, Debug)]
pub struct SignalRules<'a> {
    /// The receiver's own claim.
    pub own: &'a Claim,
    /// The claims of which the receiver holds a verified ticket that has not ended.
    pub present: &'a BTreeSet<Claim>,
    /// What is asked of a ticket that comes with a signal, the community among it.
    pub tickets: TicketRules<'a>,
}

/// Says why a receiver refuses a signal. [`SignalError::code`] is the name of each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// It is for another claim.
    #[error("the signal is for another peer")]
    AnotherPeer,
    /// It was signed too long ago, or in the receiver's future.
    #[error("the signal is not of now")]
    Time,
    /// No ticket says that its sender is present.
    #[error("the sender is not known to be present")]
    NotListed,
    /// The ticket that came with it is refused.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// Not a signature of the sender's key over this signal in this community.
    #[error("the signature does not fit the signal and the sender's key")]
    SignatureInvalid,
    /// A signal of this sender's with this `id` has come already.
    #[error("the signal came before")]
    Duplicate,
    /// More signals than an honest sender sends, or than a receiver remembers.
    #[error("too many signals")]
    TooFast,
}

impl SignalError {
    /// Returns the code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::AnotherPeer => Code::AnotherPeer.as_str(),
            Self::Time => Code::SignalTime.as_str(),
            Self::NotListed => Code::NotListed.as_str(),
            Self::Ticket(error) => error.code(),
            Self::SignatureInvalid => Code::SignatureInvalid.as_str(),
            Self::Duplicate => Code::Duplicate.as_str(),
            Self::TooFast => Code::TooFast.as_str(),
        }
    }
}

/// Remembers which signals have come, for as long as each could come again.
#[derive(Clone, Debug, Default)]
pub struct SeenSignals {
    until: BTreeMap<(PublicKey, String), UnixMillis>,
}

impl SeenSignals {
    /// Notes that a signal has come, by its sender's key and its `id`. One that cannot be remembered is refused: memory is
    /// bounded, and no signal is good twice.
    ///
    /// # Errors
    /// [`SignalError::Duplicate`] and [`SignalError::TooFast`].
    pub fn insert(&mut self, now: UnixMillis, key: PublicKey, id: &str) -> Result<(), SignalError> {
        // As long as the signal is of a time that is taken, the last millisecond included.
        self.until.retain(|_, until| now <= *until);
        let name = (key, id.to_owned());
        if self.until.contains_key(&name) {
            return Err(SignalError::Duplicate);
        }
        let of_key = self.until.keys().filter(|(other, _)| *other == key).count();
        if of_key >= LIVE_SIGNALS_REMEMBERED_OF_KEY || self.until.len() >= LIVE_SIGNALS_REMEMBERED {
            return Err(SignalError::TooFast);
        }
        self.until.insert(name, now.after(LIVE_SIGNAL_REPLAY));
        Ok(())
    }
}

/// Holds what each side signs and sends first on the channel that signals have made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation<'a> {
    /// The community.
    pub community: &'a Community,
    /// The [`Signal::digest`] of the offer.
    pub offer: [u8; 32],
    /// The [`Signal::digest`] of the answer.
    pub answer: [u8; 32],
    /// The key of whoever signs.
    pub key: PublicKey,
    /// The key of the other.
    pub peer_key: PublicKey,
}

impl Confirmation<'_> {
    /// Writes the bytes that are signed: the domain, a line feed, and canonical JSON of `answer`, `community`, `key`, `offer`
    /// and `peerKey`, all but the community in base64.
    pub fn signed_bytes(&self) -> String {
        let Self { community, offer, answer, key, peer_key } = self;
        let (offer, answer) = (base64::encode(offer), base64::encode(answer));
        format!(
            "{CONFIRM_DOMAIN}\n{{\"answer\":\"{answer}\",\"community\":\"{community}\",\"key\":\"{key}\",\
             \"offer\":\"{offer}\",\"peerKey\":\"{peer_key}\"}}"
        )
    }

    /// Returns whether this is a signature of [`Confirmation::key`] over those bytes, by the acceptance rule of tickets.
    pub fn verify_signature(&self, signature: &[u8; 64]) -> bool {
        self.key.verify(self.signed_bytes().as_bytes(), signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::PrivateKey;
    use crate::ticket::PeerId;

    fn at(millis: u64) -> UnixMillis {
        UnixMillis::saturating(1_700_000_000_000 + millis)
    }

    fn claim_of(number: u8) -> Claim {
        let public_key = PrivateKey::from_seed(&[number; 32]).public_key();
        Claim { public_key, peer_id: PeerId::new("peer").unwrap() }
    }

    fn signal(from: u8, id: u64, time: u64) -> Signal<'static> {
        let mut signal = Signal {
            id: format!("signal-{id}"),
            kind: SignalKind::Offer,
            to: claim_of(0),
            from: claim_of(from),
            at: at(time),
            data: "\"é\"".to_owned(),
            signature: [0; 64],
            ticket: None,
        };
        let bytes = signal.signed_bytes(&"mainnet".parse().unwrap());
        signal.signature = PrivateKey::from_seed(&[from; 32]).sign(bytes.as_bytes());
        signal
    }

    /// Verifies as claim 0, which holds tickets of the claims 1 to 9.
    fn verify(signal: &Signal<'_>, now: u64, seen: &mut SeenSignals) -> Result<(), SignalError> {
        let (own, community) = (claim_of(0), "mainnet".parse().unwrap());
        let present = (1..10).map(claim_of).collect();
        let rules = SignalRules { own: &own, present: &present, tickets: TicketRules::new(&community) };
        signal.verify(&rules, at(now), seen)
    }

    #[test]
    fn a_beacon_takes_signals_of_half_a_minute_before_and_after() {
        for (now, expected) in [(0, false), (1_000, true), (31_000, true), (61_000, true), (61_001, false)] {
            assert_eq!(signal(1, 0, 31_000).is_timely(at(now)), expected, "{now}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_one_key_takes_no_more_than_its_part() {
        let mut seen = SeenSignals::default();
        let mut insert =
            |now, key: u8, id: u32| seen.insert(at(now), PublicKey::from_bytes([key; 32]), &format!("signal-{id}"));
        for id in 0..64 {
            assert_eq!(insert(0, 1, id), Ok(()));
        }
        assert_eq!(insert(0, 1, 64), Err(SignalError::TooFast));
        let others = (2..=255).flat_map(|key| (0..64).map(move |id| (key, id)));
        assert_eq!(others.filter(|(key, id)| insert(0, *key, *id).is_ok()).count(), 1_024 - 64);
        assert_eq!(insert(90_000, 1, 0), Err(SignalError::Duplicate));
        assert_eq!(insert(90_001, 1, 64), Ok(()));
        assert_eq!(seen.until.len(), 1);
    }

    proptest! {
        #[test]
        fn a_signal_is_good_once_whenever_it_comes(
            time in 0_u64..200_000,
            moments in prop::collection::vec(prop_oneof![0_u64..60_000, Just(45_000)], 1..12),
        ) {
            let signal = signal(1, 0, time);
            let mut seen = SeenSignals::default();
            let (mut now, mut taken) = (0, 0);
            for pause in moments {
                now += pause;
                match verify(&signal, now, &mut seen) {
                    Ok(()) => taken += 1,
                    Err(SignalError::Time) => prop_assert!(now.abs_diff(time) > 45_000),
                    Err(error) => prop_assert_eq!((taken, error), (1, SignalError::Duplicate)),
                }
            }
            prop_assert!(taken <= 1);
        }
    }
}
