//! Where a request goes: what is at which path, and by which method.

use std::sync::Arc;

use rendezvous_protocol::ticket::Purpose;
use rendezvous_protocol::time::UnixMillis;
use serde::Serialize;

use crate::answer::Answer;
use crate::asset::Asset;
use crate::config::MailDoor;
use crate::edge::head::Head;
use crate::edge::step::{ReadHeaders, Step};
use crate::edge::{Edge, Replication};
use crate::methods::{GET, GET_ALONE, POST, preflight};
use crate::platform::Doors;
use crate::problem::Problem;
use crate::query::path_and_query;
use crate::{admin, circuit_relay, info, mailbox, registration, templates};

impl Edge {
    /// Takes a request.
    pub fn receive(&mut self, now: UnixMillis, head: &Head<'_>) -> Step {
        let step = self.route(now, head);
        self.counted(step)
    }

    fn route(&mut self, now: UnixMillis, head: &Head<'_>) -> Step {
        let reads = matches!(head.method, "GET" | "HEAD");
        let writes = head.method == "POST";
        let (path, query) = path_and_query(head.url);
        if self.platform.doors() == Doors::Operator && path != admin::PATH && Asset::at(path).is_none() {
            return Step::Answer(Problem::NotFound.answer_without_list(now));
        }
        if let (Some((_, take)), Some(rest)) = (&self.goop2, path.strip_prefix("/goop2/")) {
            return take(self, now, head, rest, query, self.platform.describes_headers());
        }
        if let Some((_, take)) = self.registration.as_ref().filter(|_| registration::is_route(path))
            && head.method != "OPTIONS"
        {
            let take = *take;
            return take(self, now, head, path, query);
        }
        if let (Some((catalogue, take)), Some(rest)) = (&self.templates, path.strip_prefix('/'))
            && head.method != "OPTIONS"
            && templates::is_route(rest)
        {
            let (catalogue, take) = (Arc::clone(catalogue), *take);
            return take(self, now, head, &catalogue, rest);
        }
        if let Some((_, take)) = &self.envelopes
            && let take = *take
            && let Some(step) = take(self, now, head, path)
        {
            return step;
        }
        if let Some((_, take)) = &self.hivemind
            && let take = *take
            && let Some(step) = take(self, now, head, path)
        {
            return step;
        }
        if let Some(Replication { take, .. }) = self.replication.as_ref().filter(|_| path == mailbox::REPLICATE) {
            let take = *take;
            return take(self, now, head);
        }
        if let (Some(take), Some(rest)) = (self.directory, path.strip_prefix("/v1/"))
            && let Some(step) = take(self, now, head, rest, query)
        {
            return step;
        }
        if let Some(rest) = path.strip_prefix("/v1/")
            && self.config.doors.contains(&MailDoor::V1)
        {
            return self.take_mail(now, head, rest, self.platform.describes_headers());
        }
        if let Some((_, take)) = &self.retalk
            && head.method != "OPTIONS"
            && ((path == "/" && writes) || !(is_route(path) || registration::is_route(path)))
            && let Some(step) = take(self, now, head, path, query)
        {
            return step;
        }
        let answer = match path {
            admin::PATH if self.has_admin() => return self.admin(now, head, reads),
            _ if head.method == "OPTIONS" => Ok(preflight("GET, POST, OPTIONS")),
            "/announce" if writes => return self.take_ticket(now, head, query, Purpose::Presence),
            "/leave" if writes => return self.take_ticket(now, head, query, Purpose::Leave),
            "/peers" if reads => return self.list(now, head, query),
            "/healthz" if reads => Ok(health(now)),
            "/" | info::PATH if reads => return self.inform(now, head, path),
            circuit_relay::PATH => match &self.config.circuit_relay {
                Some(relay) if reads => Ok(circuit_relay::answer(relay)),
                Some(_) => Err(Problem::MethodNotAllowed { allow: GET }),
                None => Err(Problem::NotFound),
            },
            "/live" if head.method == "GET" && !self.platform.describes_headers() => {
                return Step::ReadHeaders(ReadHeaders::of_live(head));
            }
            "/live" if head.method == "GET" => return self.open_live(now, head, query),
            "/live" => Err(Problem::MethodNotAllowed { allow: GET_ALONE }),
            "/announce" | "/leave" => Err(Problem::MethodNotAllowed { allow: POST }),
            _ if registration::is_route(path) => Err(Problem::RegistersNobody),
            "/peers" | "/healthz" | "/" | info::PATH => Err(Problem::MethodNotAllowed { allow: GET }),
            _ => match Asset::at(path).or_else(|| self.documents.and_then(|find| find(path))) {
                Some(asset) if reads => return Step::Asset(asset),
                Some(_) => Err(Problem::MethodNotAllowed { allow: GET }),
                None => Err(Problem::NotFound),
            },
        };
        Step::Answer(answer.unwrap_or_else(|problem: Problem| problem.answer_without_list(now)))
    }
}

/// Returns whether a path is one of the beacon's own, but for those of mailboxes and guests.
fn is_route(path: &str) -> bool {
    matches!(path, "/" | "/announce" | "/leave" | "/peers" | "/healthz" | "/live" | info::PATH | circuit_relay::PATH)
        || Asset::at(path).is_some()
}

fn health(now: UnixMillis) -> Answer {
    Answer::ok(&HealthFields { ok: true, version: env!("CARGO_PKG_VERSION"), server_time: now }, None)
}

/// `GET /healthz`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HealthFields {
    ok: bool,
    version: &'static str,
    server_time: UnixMillis,
}
