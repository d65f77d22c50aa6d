//! What a beacon answered, read by somebody who does not believe it.
//!
//! Every ticket is checked by itself, so that a bad one costs only itself, and a lying beacon only its own share.
//! Out of scope: fetching.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::limits::{ANSWER_MAX_BYTES, ANSWER_MAX_TICKETS};
use crate::object::Object;
use crate::ticket::{PeerId, Purpose, Ticket, TicketRules, VerifiedTicket};
use crate::time::UnixMillis;

/// The code under which a ticket is counted that an answer or a capsule holds a second time.
pub const DUPLICATE: &str = "DUPLICATE";

/// The code under which tickets are counted that are not looked at, because there are too many.
pub const TOO_MANY: &str = "TOO_MANY";

/// Why a whole answer is refused. [`AnswerError::code`] names each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not the JSON of a list of peers.
    #[error("the answer is no list of peers: {0}")]
    Malformed(String),
    /// More bytes than any honest answer has.
    #[error("the answer is longer than {ANSWER_MAX_BYTES} bytes")]
    TooLarge,
    /// The list of another community.
    #[error("the answer is for the community {answered:?}, not for {asked:?}")]
    CommunityMismatch {
        /// What the answer says.
        answered: String,
        /// What was asked for.
        asked: String,
    },
}

impl AnswerError {
    /// A name for scripts.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "MALFORMED",
            Self::TooLarge => "ANSWER_TOO_LARGE",
            Self::CommunityMismatch { .. } => "COMMUNITY_MISMATCH",
        }
    }
}

/// What is left of an answer after checking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The good tickets, one a peer.
    pub tickets: Vec<VerifiedTicket>,
    /// How many others there were, by code.
    pub refused: BTreeMap<&'static str, usize>,
}

/// Fields that are not here are no harm: they are ignored.
#[derive(Deserialize)]
struct AnswerFields<'a> {
    #[serde(default)]
    community: Option<String>,
    #[serde(borrow)]
    peers: Vec<&'a RawValue>,
}

/// Reads the body of a `GET /peers` answer.
///
/// # Errors
/// See [`AnswerError`].
pub fn read_answer(body: &[u8], rules: &TicketRules<'_>, now: UnixMillis) -> Result<Answer, AnswerError> {
    if body.len() > ANSWER_MAX_BYTES {
        return Err(AnswerError::TooLarge);
    }
    let Object(AnswerFields { community, peers }) =
        serde_json::from_slice(body).map_err(|error| AnswerError::Malformed(error.to_string()))?;
    if let Some(answered) = community
        && answered != rules.community.as_str()
    {
        return Err(AnswerError::CommunityMismatch { answered, asked: rules.community.as_str().to_owned() });
    }
    let mut answer = Answer::default();
    let mut refuse = |code, count| *answer.refused.entry(code).or_default() += count;
    let mut good = Vec::new();
    for ticket in peers.iter().take(ANSWER_MAX_TICKETS) {
        match Ticket::parse(ticket.get(), Purpose::Presence).and_then(|ticket| ticket.verify(rules, now)) {
            Ok(ticket) => good.push(ticket),
            Err(error) => refuse(error.code(), 1),
        }
    }
    if peers.len() > ANSWER_MAX_TICKETS {
        refuse(TOO_MANY, peers.len() - ANSWER_MAX_TICKETS);
    }
    let checked = good.len();
    answer.tickets = merge(good);
    if answer.tickets.len() < checked {
        *answer.refused.entry(DUPLICATE).or_default() += checked - answer.tickets.len();
    }
    Ok(answer)
}

/// One ticket a peer, that with the newest `issuedAt`; newest first. The result does not depend on the order of
/// `tickets`, so that the same answers make the same capsule.
pub fn merge(tickets: impl IntoIterator<Item = VerifiedTicket>) -> Vec<VerifiedTicket> {
    let mut newest: BTreeMap<PeerId, VerifiedTicket> = BTreeMap::new();
    for ticket in tickets {
        match newest.entry(ticket.peer_id().clone()) {
            Entry::Vacant(entry) => {
                entry.insert(ticket);
            }
            Entry::Occupied(mut entry) if rank(&ticket) > rank(entry.get()) => {
                entry.insert(ticket);
            }
            Entry::Occupied(_) => {}
        }
    }
    let mut merged: Vec<_> = newest.into_values().collect();
    merged.sort_by(|one, other| rank(other).cmp(&rank(one)));
    merged
}

/// [`merge`] of what several beacons answered, cut down to `limit` tickets: the newest ticket of every beacon, then the
/// second newest of every beacon, and so on until it is full; newest first. Each answer is newest first too, as
/// [`Answer::tickets`] is.
///
/// Newness alone would let one lying beacon fill it with peers of its own making, whose tickets are always newer. Which
/// tickets of too many are kept depends on the order of `answers`.
pub fn merge_fairly(answers: &[Vec<VerifiedTicket>], limit: usize) -> Vec<VerifiedTicket> {
    let mut merged = merge(answers.iter().flatten().cloned());
    if merged.len() <= limit {
        return merged;
    }
    let mut chosen: BTreeSet<&PeerId> = BTreeSet::new();
    let mut turns: Vec<_> = answers.iter().map(|tickets| tickets.iter().map(VerifiedTicket::peer_id)).collect();
    while chosen.len() < limit {
        let before = chosen.len();
        for peer_ids in &mut turns {
            if chosen.len() < limit
                && let Some(peer_id) = peer_ids.find(|peer_id| !chosen.contains(peer_id))
            {
                chosen.insert(peer_id);
            }
        }
        if chosen.len() == before {
            break;
        }
    }
    merged.retain(|ticket| chosen.contains(ticket.peer_id()));
    merged
}

/// Two tickets of one moment, by two keys that claim one peerId, are told apart by their bytes: some fixed order.
fn rank(ticket: &VerifiedTicket) -> (UnixMillis, &str) {
    (ticket.payload().issued_at, ticket.as_json())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::community::Community;
    use crate::key::PrivateKey;
    use crate::ticket::{Nonce, Payload, UserId};

    fn ticket(peer_id: &str, issued_at: u64) -> VerifiedTicket {
        let issued_at = UnixMillis::saturating(issued_at);
        let payload = Payload {
            peer_id: PeerId::new(peer_id).unwrap(),
            user_id: UserId::new("user").unwrap(),
            issued_at,
            expires_at: UnixMillis::saturating(issued_at.as_u64() + 1),
            nonce: Nonce::new(vec![0; 12]).unwrap(),
            community: None,
            purpose: Purpose::Presence,
        };
        let community = Community::new("mainnet").unwrap();
        Ticket::sign(payload, &PrivateKey::from_seed(&[1; 32]))
            .verify(&TicketRules::new(&community), issued_at)
            .unwrap()
    }

    fn peer_ids(tickets: &[VerifiedTicket]) -> Vec<&str> {
        tickets.iter().map(|ticket| ticket.peer_id().as_str()).collect()
    }

    #[test]
    fn a_beacon_that_answers_with_newer_tickets_gets_its_share_and_no_more() {
        let honest = vec![ticket("a", 50), ticket("b", 40), ticket("c", 30)];
        let also_honest = vec![ticket("b", 45), ticket("d", 20)];
        let lying = (0..10).map(|peer| ticket(&format!("x{peer}"), 100 - peer)).collect();
        let answers = [honest, also_honest, lying];
        assert_eq!(peer_ids(&merge_fairly(&answers, 6)), ["x0", "x1", "a", "b", "c", "d"]);
        assert_eq!(peer_ids(&merge_fairly(&answers, 1)), ["a"]);
        assert_eq!(peer_ids(&merge_fairly(&answers, 0)), [""; 0]);
    }

    #[test]
    fn with_room_for_all_it_is_a_plain_merge() {
        let answers = [vec![ticket("a", 2), ticket("b", 1)], vec![ticket("b", 3)], vec![]];
        let merged = merge_fairly(&answers, 2);
        assert_eq!(merged, merge(answers.iter().flatten().cloned()));
        assert_eq!(merged, [ticket("b", 3), ticket("a", 2)]);
    }
}
