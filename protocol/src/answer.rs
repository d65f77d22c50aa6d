//! What a beacon answered, read by somebody who does not believe it.
//!
//! Every ticket is checked by itself, so that a bad one costs only itself, and a lying beacon only its own share.
//! Out of scope: fetching.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::code::Code;
use crate::fields::{json_detail, shortened};
use crate::key::PublicKey;
use crate::limits::{ANSWER_MAX_BYTES, ANSWER_MAX_TICKETS};
use crate::object::Object;
use crate::ticket::{PeerId, Purpose, Ticket, TicketRules, Unverified, VerifiedTicket};
use crate::time::UnixMillis;

/// The code under which tickets are counted beside the one that stays: in an answer those of the same claim, in a capsule
/// those of the same `peerId`.
pub const DUPLICATE: &str = Code::Duplicate.as_str();

/// The code under which tickets are counted that are not looked at, because there are too many.
pub const TOO_MANY: &str = Code::TooMany.as_str();

/// Says why a whole answer is refused. [`AnswerError::code`] names each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not the JSON of a list of peers.
    #[error("the answer is not a list of peers: {0}")]
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
    /// Returns the refusal's name, for scripts.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => Code::Malformed.as_str(),
            Self::TooLarge => Code::AnswerTooLarge.as_str(),
            Self::CommunityMismatch { .. } => Code::CommunityMismatch.as_str(),
        }
    }
}

/// Holds a good ticket as one beacon lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The ticket.
    pub ticket: VerifiedTicket,
    /// The time since when the claim is present, by the beacon's clock and word. Good for comparing two claims of one
    /// answer and for nothing else.
    pub since: Option<UnixMillis>,
}

/// Holds what is left of an answer after checking: the good tickets, and a count of all others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifiedAnswer {
    /// The good tickets, one a claim, the newest first.
    pub listed: Vec<Listed>,
    /// The number of all others, by code.
    pub refused: BTreeMap<&'static str, usize>,
}

/// Other fields are ignored.
#[derive(Deserialize)]
struct AnswerFields<'a> {
    #[serde(default)]
    community: Option<String>,
    #[serde(borrow)]
    peers: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    since: Option<&'a RawValue>,
}

/// Holds an answer of which everything is checked but the signatures. Several answers may list one ticket, and whoever
/// has them all needs to check its signature only once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnverifiedAnswer {
    /// Tickets that are good if their signatures are, in the order of the answer.
    pub tickets: Vec<Unverified>,
    /// For each of them, since when it is said to be present.
    since: Vec<Option<UnixMillis>>,
    refused: BTreeMap<&'static str, usize>,
}

impl UnverifiedAnswer {
    /// Reads the body of a `GET /peers` answer.
    ///
    /// # Errors
    /// See [`AnswerError`].
    pub fn read(body: &[u8], rules: &TicketRules<'_>, now: UnixMillis) -> Result<Self, AnswerError> {
        if body.len() > ANSWER_MAX_BYTES {
            return Err(AnswerError::TooLarge);
        }
        let Object(AnswerFields { community, peers, since }) =
            serde_json::from_slice(body).map_err(|error| AnswerError::Malformed(json_detail(&error)))?;
        if let Some(answered) = community
            && answered != rules.community.as_str()
        {
            return Err(AnswerError::CommunityMismatch {
                answered: shortened(&answered),
                asked: rules.community.as_str().to_owned(),
            });
        }
        let mut answer = Self::default();
        for (ticket, since) in peers.iter().zip(read_since(since, peers.len())).take(ANSWER_MAX_TICKETS) {
            match Ticket::parse(ticket.get(), Purpose::Presence).and_then(|ticket| ticket.check(rules, now)) {
                Ok(ticket) => {
                    answer.tickets.push(ticket);
                    answer.since.push(since);
                }
                Err(error) => count(&mut answer.refused, error.code(), 1),
            }
        }
        count(&mut answer.refused, TOO_MANY, peers.len().saturating_sub(ANSWER_MAX_TICKETS));
        Ok(answer)
    }

    /// Takes the outcomes: for each of [`UnverifiedAnswer::tickets`], whether its signature fits.
    pub fn settle(self, signatures_fit: impl IntoIterator<Item = bool>) -> VerifiedAnswer {
        let Self { tickets, since, mut refused } = self;
        let mut good = Vec::with_capacity(tickets.len());
        for ((ticket, since), fits) in tickets.into_iter().zip(since).zip(signatures_fit) {
            match ticket.accept(fits) {
                Ok(ticket) => good.push(Listed { ticket, since }),
                Err(error) => count(&mut refused, error.code(), 1),
            }
        }
        let checked = good.len();
        let listed = newest_of_each_claim(good);
        count(&mut refused, DUPLICATE, checked - listed.len());
        VerifiedAnswer { listed, refused }
    }
}

/// Returns, for each of `peers` tickets, since when it is present. The field only breaks ties, so one that does not fit
/// the list is left out and costs no ticket.
fn read_since(since: Option<&RawValue>, peers: usize) -> Vec<Option<UnixMillis>> {
    since
        .and_then(|since| serde_json::from_str::<Vec<UnixMillis>>(since.get()).ok())
        .filter(|since| since.len() == peers)
        .map_or_else(|| vec![None; peers], |since| since.into_iter().map(Some).collect())
}

/// Returns one ticket a claim, that with the newest `issuedAt`; newest first, whatever the order of `listed`.
fn newest_of_each_claim(listed: Vec<Listed>) -> Vec<Listed> {
    let mut newest: BTreeMap<(PeerId, PublicKey), Listed> = BTreeMap::new();
    for one in listed {
        match newest.entry((one.ticket.peer_id().clone(), one.ticket.public_key())) {
            Entry::Vacant(entry) => {
                entry.insert(one);
            }
            Entry::Occupied(mut entry) if newness(&one.ticket) > newness(&entry.get().ticket) => {
                entry.insert(one);
            }
            Entry::Occupied(_) => {}
        }
    }
    let mut listed: Vec<_> = newest.into_values().collect();
    listed.sort_by(|one, other| newness(&other.ticket).cmp(&newness(&one.ticket)));
    listed
}

/// Returns what tickets are ordered by: their dates. Two of one moment are told apart by their bytes: some fixed order.
pub(crate) fn newness(ticket: &VerifiedTicket) -> (UnixMillis, &str) {
    (ticket.payload().issued_at, ticket.as_json())
}

fn count(refused: &mut BTreeMap<&'static str, usize>, code: &'static str, more: usize) {
    if more > 0 {
        *refused.entry(code).or_default() += more;
    }
}

/// Reads the body of a `GET /peers` answer, and checks its signatures.
///
/// # Errors
/// See [`AnswerError`].
pub fn read_answer(body: &[u8], rules: &TicketRules<'_>, now: UnixMillis) -> Result<VerifiedAnswer, AnswerError> {
    let answer = UnverifiedAnswer::read(body, rules, now)?;
    let fit: Vec<_> = answer.tickets.iter().map(Unverified::verify_signature).collect();
    Ok(answer.settle(fit))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::community::Community;
    use crate::key::PrivateKey;
    use crate::ticket::{Nonce, Payload, UserId};

    const NOW: UnixMillis = UnixMillis::saturating(1_700_000_000_000);

    fn ticket(peer: &str, seed: u8, age: u64) -> String {
        let issued_at = UnixMillis::saturating(NOW.as_u64() - age);
        let payload = Payload {
            peer_id: PeerId::new(peer).unwrap(),
            user_id: UserId::new("user").unwrap(),
            data: None,
            issued_at,
            expires_at: issued_at.after(Duration::from_secs(180)),
            nonce: Nonce::new(vec![0; 12]).unwrap(),
            community: None,
            purpose: Purpose::Presence,
        };
        Ticket::sign(payload, &PrivateKey::from_seed(&[seed; 32])).to_json()
    }

    fn read(body: &str) -> VerifiedAnswer {
        let community = Community::new("mainnet").unwrap();
        read_answer(body.as_bytes(), &TicketRules::new(&community), NOW).unwrap()
    }

    /// Name, seed of the key, age of the ticket, and since when.
    fn listed(answer: &VerifiedAnswer) -> Vec<(&str, u8, u64, Option<u64>)> {
        let seed = |ticket: &VerifiedTicket| {
            (0..9).find(|seed| PrivateKey::from_seed(&[*seed; 32]).public_key() == ticket.public_key()).unwrap()
        };
        let mut listed: Vec<_> = answer
            .listed
            .iter()
            .map(|Listed { ticket, since }| {
                let age = NOW.as_u64() - ticket.payload().issued_at.as_u64();
                (ticket.peer_id().as_str(), seed(ticket), age, since.map(UnixMillis::as_u64))
            })
            .collect();
        listed.sort_unstable();
        listed
    }

    #[test]
    fn several_keys_for_one_name_stay_and_only_a_second_ticket_of_one_claim_is_a_duplicate() {
        let tickets = [("a", 1, 9), ("a", 2, 0), ("a", 1, 3), ("b", 1, 1), ("a", 2, 0), ("a", 1, 6)];
        let peers = tickets.map(|(peer, seed, age)| ticket(peer, seed, age)).join(",");
        let answer = read(&format!(r#"{{"peers":[{peers}],"since":[1,2,3,4,5,6]}}"#));
        assert_eq!(listed(&answer), [("a", 1, 3, Some(3)), ("a", 2, 0, Some(2)), ("b", 1, 1, Some(4))]);
        assert_eq!(answer.refused, BTreeMap::from([(DUPLICATE, 3)]));
        assert!(answer.listed.is_sorted_by(|one, other| newness(&one.ticket) > newness(&other.ticket)));
    }

    #[test]
    fn since_stays_with_its_ticket_where_others_are_refused() {
        let forged = ticket("c", 1, 0).replace("\"c\"", "\"d\"");
        let peers = ["{}", &ticket("a", 1, 0), &forged, &ticket("b", 1, 0)].join(",");
        let answer = read(&format!(r#"{{"peers":[{peers}],"since":[1,2,3,4]}}"#));
        assert_eq!(listed(&answer), [("a", 1, 0, Some(2)), ("b", 1, 0, Some(4))]);
        assert_eq!(answer.refused, BTreeMap::from([("MALFORMED", 1), ("SIGNATURE_INVALID", 1)]));
    }

    #[test]
    fn since_that_does_not_fit_costs_no_ticket() {
        let peers = [ticket("a", 1, 0), ticket("b", 1, 0)].join(",");
        let deep = "[".repeat(1_000) + &"]".repeat(1_000);
        for since in [
            "null",
            "7",
            "\"x\"",
            "{}",
            "[]",
            "[1]",
            "[1,2,3]",
            "[1,null]",
            "[1,-2]",
            "[1,2.5]",
            "[1,9007199254740992]",
            &deep,
        ] {
            let answer = read(&format!(r#"{{"since":{since},"peers":[{peers}]}}"#));
            assert_eq!(listed(&answer), [("a", 1, 0, None), ("b", 1, 0, None)], "{since}");
            assert_eq!(answer.refused, BTreeMap::new());
        }
        assert_eq!(listed(&read(&format!(r#"{{"peers":[{peers}]}}"#))), [("a", 1, 0, None), ("b", 1, 0, None)]);
    }

    #[test]
    fn since_is_counted_in_tickets_that_are_not_looked_at_too() {
        let (peers, since) =
            (vec![ticket("a", 1, 0); ANSWER_MAX_TICKETS + 1].join(","), vec!["5"; ANSWER_MAX_TICKETS + 1]);
        let answer = read(&format!(r#"{{"peers":[{peers}],"since":[{}]}}"#, since.join(",")));
        assert_eq!(listed(&answer), [("a", 1, 0, Some(5))]);
        assert_eq!(answer.refused, BTreeMap::from([(DUPLICATE, ANSWER_MAX_TICKETS - 1), (TOO_MANY, 1)]));
    }
}
