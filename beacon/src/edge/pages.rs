//! The page, the info document and `/admin`, and the survey of communities that the latter two are made of.

use rendezvous_protocol::community::Community;
use rendezvous_protocol::peer_list::PeerList;
use rendezvous_protocol::time::UnixMillis;

use crate::call::{OBJECT_TIMEOUT, ObjectError};
use crate::edge::Edge;
use crate::edge::head::Head;
use crate::edge::step::{ListUse, ReadHeaders, Step, Wanting};
use crate::note::Note;
use crate::platform::Doors;
use crate::problem::Problem;
use crate::query::prefers_json;
use crate::survey::{About, Summary, Survey};
use crate::{admin, asset, info};

const ADMIN: &str = "GET, HEAD";

impl Edge {
    pub(super) fn has_admin(&self) -> bool {
        self.platform.doors() != Doors::Everybody && self.config.notice.admin_password().is_some()
    }

    /// Begins `/admin`.
    pub(super) fn admin(&mut self, now: UnixMillis, head: &Head<'_>, reads: bool) -> Step {
        let client = self.client(head);
        let problem = match self.take_request(now, client) {
            Ok(()) if reads => {
                return Step::ReadHeaders(ReadHeaders { what: Wanting::Admin(client.rate_path(&self.secret)) });
            }
            Ok(()) => Problem::MethodNotAllowed { allow: ADMIN },
            Err(limited) => Problem::RateLimited(limited),
        };
        Step::Answer(admin::refuse(now, &problem))
    }

    /// Begins `GET /` and the info document.
    pub(super) fn inform(&mut self, now: UnixMillis, head: &Head<'_>, path: &str) -> Step {
        let client = self.client(head);
        match self.take_request(now, client) {
            Ok(()) if path == info::PATH => self.survey(now, Survey::new(About::Info)),
            Ok(()) => Step::ReadHeaders(ReadHeaders { what: Wanting::PageOrInfo }),
            Err(limited) => Step::Answer(Problem::RateLimited(limited).answer_without_list(now)),
        }
    }

    /// Looks at communities until one's list has to be fetched, or all have been looked at.
    pub(super) fn survey(&mut self, now: UnixMillis, mut survey: Survey) -> Step {
        while let Some(community) = survey.next(&self.config) {
            let Some(summary) = self.summary(now, &community, survey.about) else {
                if survey.has_given_up() {
                    survey.found(None);
                    continue;
                }
                let attempt = self.spares.first(now, &community);
                return self.fetch_list(now, now.after(OBJECT_TIMEOUT), community, attempt, ListUse::Survey(survey));
            };
            survey.found(Some(summary));
        }
        Step::Answer(match survey.about {
            About::Info => info::answer(now, &self.config, &survey),
            About::Admin => admin::answer(now, &self.config, &self.refusals, &survey),
        })
    }

    /// Returns the figures of the list that is kept, if it is good for this.
    pub(super) fn summary(&mut self, now: UnixMillis, community: &Community, about: About) -> Option<Summary> {
        let live = self.lists.any(community)?.total();
        let max_age = match about {
            About::Info => info::count_max_age(&self.config, live),
            About::Admin => self.config.peers_max_age,
        };
        Some(Summary::of(now, self.lists.fresh(now, community, max_age)?, about))
    }

    /// Goes on with a survey where the list of its next community has come, or will not.
    pub(super) fn surveyed(
        &mut self,
        now: UnixMillis,
        asked_at: UnixMillis,
        community: Community,
        mut survey: Survey,
        list: Result<PeerList, ObjectError>,
    ) -> Step {
        match list {
            Ok(mut list) => {
                survey.found(Some(Summary::of(now, &mut list, survey.about)));
                self.lists.keep(asked_at, community, list);
            }
            Err(error) => {
                survey.found(None);
                if error == ObjectError::TimedOut {
                    survey.give_up();
                }
                self.notes.push(Note::failure("list_unavailable", &error));
            }
        }
        self.survey(now, survey)
    }
}

impl ReadHeaders {
    /// Goes on with the request's headers. One that stands there twice is given as one, with a comma between; one that is
    /// not text, as an empty one.
    pub fn resume(self, edge: &mut Edge, now: UnixMillis, header: impl Fn(&str) -> Option<String>) -> Step {
        if let Wanting::Live { url, address, autonomous_system } = &self.what {
            let step = edge.describe_live(
                now,
                Head { method: "GET", url, address: *address, autonomous_system, ..Head::default() },
                header,
            );
            return edge.counted(step);
        }
        let as_json = prefers_json(&header("Accept").unwrap_or_default());
        let step = match (self.what, edge.config.notice.admin_password()) {
            (Wanting::PageOrInfo, _) if as_json => edge.survey(now, Survey::new(About::Info)),
            (Wanting::Admin(path), Some(password)) => {
                let authorization = header("Authorization");
                // A page of elsewhere uses up no attempt, or it would keep out whoever has it open.
                let outcome = admin::check_site(header("Sec-Fetch-Site").as_deref())
                    .and_then(|()| edge.attempts.take(now, path).map_err(Problem::RateLimited))
                    .and_then(|()| admin::check(&edge.secret, password, authorization.as_deref()));
                match outcome {
                    Ok(()) if as_json => edge.survey(now, Survey::new(About::Admin)),
                    Ok(()) => Step::Asset(asset::ADMIN),
                    Err(problem) => Step::Answer(admin::refuse(now, &problem)),
                }
            }
            (Wanting::PageOrInfo, _) => Step::Asset(asset::PAGE),
            // A door that is not there is never come to.
            (Wanting::Admin(_) | Wanting::Live { .. }, _) => Step::Answer(Problem::NotFound.answer_without_list(now)),
        };
        edge.counted(step)
    }
}
