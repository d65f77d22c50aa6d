//! Requests about templates of sites.

use std::sync::Arc;

use rendezvous_protocol::time::UnixMillis;

use crate::edge::Edge;
use crate::edge::head::Head;
use crate::edge::step::Step;
use crate::problem::Problem;
use crate::templates::{self, Catalogue, TemplateAnswer};

impl Edge {
    /// Returns the same edge, of a host that offers templates. Where a host has none, nothing of them is reached.
    #[must_use]
    pub fn with_templates(self, catalogue: Arc<Catalogue>) -> Self {
        Self { templates: Some((catalogue, Self::take_template)), ..self }
    }

    /// Takes a request about templates.
    pub(super) fn take_template(
        &mut self,
        now: UnixMillis,
        head: &Head<'_>,
        catalogue: &Catalogue,
        path: &str,
    ) -> Step {
        let client = self.client(head);
        let found = templates::route(catalogue, head.method, path, head.if_none_match);
        let requests = found.as_ref().map_or(1, TemplateAnswer::requests);
        if let Err(limited) = self.requests.take_several(now, client.rate_path(&self.secret), requests) {
            return Step::Answer(Problem::RateLimited(limited).answer_without_list(now));
        }
        match found {
            Ok(answer) => Step::Template(Box::new(answer)),
            Err(problem) => Step::Answer(problem.answer_without_list(now)),
        }
    }
}
