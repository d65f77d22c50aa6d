//! What a beacon answered, read by somebody who does not believe it.
//!
//! Every ticket is checked by itself, so that a bad one costs only itself, and a lying beacon only its own share.
//! Out of scope: fetching.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::limits::{ANSWER_MAX_BYTES, ANSWER_MAX_TICKETS};
use crate::merge::newest_of_each_peer;
use crate::object::Object;
use crate::ticket::{Purpose, Ticket, TicketRules, Unproven, VerifiedTicket};
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

/// An answer of which everything is checked but the signatures: several answers may list one ticket, and whoever has
/// them all needs to check it only once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Tickets that are good if their signatures are, in the order of the answer.
    pub tickets: Vec<Unproven>,
    refused: BTreeMap<&'static str, usize>,
}

impl Claims {
    /// Reads the body of a `GET /peers` answer.
    ///
    /// # Errors
    /// See [`AnswerError`].
    pub fn read(body: &[u8], rules: &TicketRules<'_>, now: UnixMillis) -> Result<Self, AnswerError> {
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
        let mut claims = Self::default();
        for ticket in peers.iter().take(ANSWER_MAX_TICKETS) {
            match Ticket::parse(ticket.get(), Purpose::Presence).and_then(|ticket| ticket.check(rules, now)) {
                Ok(ticket) => claims.tickets.push(ticket),
                Err(error) => count(&mut claims.refused, error.code(), 1),
            }
        }
        count(&mut claims.refused, TOO_MANY, peers.len().saturating_sub(ANSWER_MAX_TICKETS));
        Ok(claims)
    }

    /// Takes the outcomes: for each of [`Claims::tickets`], whether the equation of its signature holds.
    pub fn settle(self, equations_hold: impl IntoIterator<Item = bool>) -> Answer {
        let Self { tickets, mut refused } = self;
        let mut good = Vec::with_capacity(tickets.len());
        for (ticket, holds) in tickets.into_iter().zip(equations_hold) {
            match ticket.accept(holds) {
                Ok(ticket) => good.push(ticket),
                Err(error) => count(&mut refused, error.code(), 1),
            }
        }
        let checked = good.len();
        let tickets = newest_of_each_peer(good);
        count(&mut refused, DUPLICATE, checked - tickets.len());
        Answer { tickets, refused }
    }
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
pub fn read_answer(body: &[u8], rules: &TicketRules<'_>, now: UnixMillis) -> Result<Answer, AnswerError> {
    let claims = Claims::read(body, rules, now)?;
    let holds: Vec<_> = claims.tickets.iter().map(Unproven::equation_holds).collect();
    Ok(claims.settle(holds))
}
