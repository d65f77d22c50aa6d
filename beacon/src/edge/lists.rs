//! `GET /peers`, and every other answer that has a community's list: the one that is kept, or the object's.

use std::time::Duration;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::peer_list::PeerList;
use rendezvous_protocol::rate_limit::RateLimited;
use rendezvous_protocol::request::{Exclusion, choose_limit};
use rendezvous_protocol::time::UnixMillis;

use crate::answer::Answer;
use crate::call::{LIST_TIMEOUT, OBJECT_TIMEOUT, ObjectError};
use crate::edge::Edge;
use crate::edge::head::Head;
use crate::edge::list_answer::{Caller, Wanted, refusal};
use crate::edge::step::{FetchList, ListUse, Step};
use crate::note::Note;
use crate::problem::{Problem, internal};
use crate::query::parameter;
use crate::spare::Attempt;

impl Edge {
    /// Answers `GET /peers`.
    pub(super) fn list(&mut self, now: UnixMillis, head: &Head<'_>, query: &str) -> Step {
        let client = self.client(head);
        let community = parameter(query, "community");
        if let Err(limited) = self.take_request(now, client) {
            return self.rate_limited(now, limited, community.as_deref());
        }
        let parsed = self.community(community.as_deref(), None).and_then(|community| {
            let limit = choose_limit(parameter(query, "limit").as_deref(), self.config.answer_limit)?;
            Ok((community, limit))
        });
        let (community, limit) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => return Step::Answer(Problem::from(error).answer_without_list(now)),
        };
        if let Err(limited) = self.admit(now, client, &community) {
            return self.rate_limited(now, limited, Some(community.as_str()));
        }
        let exclude = Exclusion::parse(parameter(query, "exclude"));
        self.answer_from_list(now, community, Wanted::List { limit, exclude, known: head.if_none_match.to_owned() })
    }

    /// Answers with what is wanted of the community's list: the one that is kept, or the object's, which then is.
    pub(super) fn answer_from_list(&mut self, now: UnixMillis, community: Community, wanted: Wanted) -> Step {
        if let Some(answer) = self.answer_from_fresh(now, &community, &wanted) {
            return Step::Answer(answer);
        }
        let attempt = self.spares.first(now, &community);
        self.fetch_list(now, now.after(OBJECT_TIMEOUT), community, attempt, ListUse::Answer(wanted))
    }

    fn answer_from_fresh(&mut self, now: UnixMillis, community: &Community, wanted: &Wanted) -> Option<Answer> {
        let list = self.lists.fresh(now, community, self.config.peers_max_age)?;
        Some(wanted.answer(now, &self.config, community, list))
    }

    /// Answers with what is wanted of the object's list, or of what is at hand where there is none.
    fn answer_from_fetched(
        &mut self,
        now: UnixMillis,
        asked_at: UnixMillis,
        community: Community,
        wanted: &Wanted,
        list: Result<PeerList, ObjectError>,
    ) -> Step {
        match list {
            Ok(mut list) => {
                let answer = wanted.answer(now, &self.config, &community, &mut list);
                self.lists.keep(asked_at, community, list);
                Step::Answer(answer)
            }
            Err(error) => match wanted {
                Wanted::Refusal { problem, caller } => {
                    self.notes.push(Note::failure("list_unavailable", &error));
                    Step::Answer(refusal(now, &self.config, problem, caller, self.lists.any(&community)))
                }
                Wanted::List { .. } | Wanted::Announced { .. } => self.failed(now, &community, &error),
            },
        }
    }

    pub(super) fn fetch_list(
        &self,
        now: UnixMillis,
        deadline: UnixMillis,
        community: Community,
        attempt: Attempt,
        list_use: ListUse,
    ) -> Step {
        // Whoever wants no list that is older than the request does not wait for one that was asked for before.
        let patience = if self.config.peers_max_age.is_zero() { Duration::ZERO } else { LIST_TIMEOUT };
        Step::FetchList(FetchList { community, attempt, list_use, patience, asked_at: now, deadline })
    }

    /// Returns the attempt after one that has failed, if there is another.
    pub(super) fn next_attempt(
        &mut self,
        now: UnixMillis,
        failed: Attempt,
        community: &Community,
        error: &ObjectError,
    ) -> Option<Attempt> {
        let next = self.spares.next(failed, now, community, error);
        if next == Some(Attempt::Spare) {
            self.note_once(Note::failure("object_not_started", error));
        }
        next
    }

    /// Refuses with whatever list is at hand, because a request over its limit must not cost an object anything.
    pub(super) fn rate_limited(&mut self, now: UnixMillis, limited: RateLimited, community: Option<&str>) -> Step {
        let problem = Problem::RateLimited(limited);
        let caller = Caller { claim: Exclusion::Nobody, signs_community: true };
        let community = self.community(community, None).ok();
        let list = community.as_ref().and_then(|community| self.lists.any(community));
        Step::Answer(refusal(now, &self.config, &problem, &caller, list))
    }

    /// Says a failure in full, and answers without detail: with whatever list is at hand, where the object may answer later.
    pub(super) fn failed(&mut self, now: UnixMillis, community: &Community, error: &ObjectError) -> Step {
        self.notes.push(Note::failure("request_failed", error));
        if *error != ObjectError::TimedOut {
            return Step::Answer(internal(now));
        }
        let caller = Caller { claim: Exclusion::Nobody, signs_community: true };
        let list = self.lists.any(community);
        Step::Answer(refusal(now, &self.config, &Problem::Unavailable, &caller, list))
    }
}

impl FetchList {
    /// Goes on with the text of the list. Of several who waited for one list the first reads it for all, so `fetched` is
    /// called only by the first.
    pub fn resume(
        self,
        edge: &mut Edge,
        now: UnixMillis,
        fetched: impl FnOnce() -> Result<String, ObjectError>,
    ) -> Step {
        let step = self.read(edge, now, fetched);
        edge.counted(step)
    }

    fn read(self, edge: &mut Edge, now: UnixMillis, fetched: impl FnOnce() -> Result<String, ObjectError>) -> Step {
        let Self { community, attempt, list_use, patience: _, asked_at, deadline } = self;
        // Of several who waited for the list, another may have read it.
        let list_use = match list_use {
            ListUse::Survey(survey) if edge.summary(now, &community, survey.about).is_some() => {
                return edge.survey(now, survey);
            }
            ListUse::Answer(wanted) => match edge.answer_from_fresh(now, &community, &wanted) {
                Some(answer) => return Step::Answer(answer),
                None => ListUse::Answer(wanted),
            },
            ListUse::Survey(_) => list_use,
        };
        let fetched = fetched();
        if let Err(error) = &fetched
            && let Some(next) = edge.next_attempt(now, attempt, &community, error)
        {
            return edge.fetch_list(now, deadline, community, next, list_use);
        }
        let list = fetched.and_then(|text| Ok(PeerList::decode(&text)?));
        match list_use {
            ListUse::Survey(survey) => edge.surveyed(now, asked_at, community, survey, list),
            ListUse::Answer(wanted) => edge.answer_from_fetched(now, asked_at, community, &wanted, list),
        }
    }
}
