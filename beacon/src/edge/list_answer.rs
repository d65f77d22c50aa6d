//! What is answered with a community's list, once it is there.

use std::borrow::Cow;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::peer_list::{Excerpt, PeerList};
use rendezvous_protocol::request::Exclusion;
use rendezvous_protocol::time::UnixMillis;
use serde::Serialize;

use crate::answer::{AnnounceFields, Answer};
use crate::config::Config;
use crate::problem::Problem;
use crate::query::matches;

/// Says what is answered with a community's list.
#[derive(Debug)]
pub(super) enum Wanted {
    /// A reader.
    List {
        limit: usize,
        exclude: Exclusion,
        /// `If-None-Match`.
        known: String,
    },
    /// Who announces and is not to be listed, as if it were a reader.
    Announced { expires_at: UnixMillis, claim: Exclusion, random: u32 },
    /// Whose ticket is wrong.
    Refusal { problem: Problem, caller: Caller },
}

impl Wanted {
    pub(super) fn answer(
        &self,
        now: UnixMillis,
        config: &Config,
        community: &Community,
        list: &mut PeerList,
    ) -> Answer {
        match self {
            Self::List { limit, exclude, known } => {
                list.expire(now);
                // Weak, because `serverTime` differs between two answers of one tag. What the URL says need not be in it.
                let tag = format!("W/\"{}\"", list.tag(*limit));
                let unchanged = matches(known, &tag);
                let max_age = format!("public, max-age={}", config.peers_max_age.as_secs());
                let headers = vec![("Cache-Control", max_age), ("ETag", tag)];
                if unchanged {
                    return Answer::empty(304, headers);
                }
                let fields =
                    ListFields { ok: true, community: community.as_str(), server_time: now, total: list.total() };
                Answer::ok(&fields, Some(&*list.answer(*limit, exclude.as_excluded()))).with_headers(headers)
            }
            Self::Announced { expires_at, claim, random } => {
                list.expire(now);
                let total = list.total();
                let fields = AnnounceFields {
                    ok: true,
                    accepted: false,
                    listed: false,
                    community: community.as_str(),
                    server_time: now,
                    expires_at: *expires_at,
                    announce_after_ms: config.pacing.announce_after_millis(total, *random),
                    total,
                };
                Answer::ok(&fields, Some(&*list.answer(config.answer_limit, claim.as_excluded())))
            }
            Self::Refusal { problem, caller } => refusal(now, config, problem, caller, Some(list)),
        }
    }
}

/// Says who is told what is wrong with a ticket.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) claim: Exclusion,
    /// Whether the ticket signs a community. If not, the client may be one that takes any status but 2xx for an outage.
    pub(super) signs_community: bool,
}

pub(super) fn refusal(
    now: UnixMillis,
    config: &Config,
    problem: &Problem,
    caller: &Caller,
    list: Option<&mut PeerList>,
) -> Answer {
    let peers = match list {
        Some(list) => {
            list.expire(now);
            list.answer(config.answer_limit, caller.claim.as_excluded())
        }
        None => Cow::Owned(Excerpt::default()),
    };
    if caller.signs_community { problem.answer(now, &peers) } else { problem.answer_with_ok(now, &peers) }
}

/// `GET /peers`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListFields<'a> {
    ok: bool,
    community: &'a str,
    server_time: UnixMillis,
    total: usize,
}
