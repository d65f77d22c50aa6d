//! Requests about registration.

use std::sync::Arc;

use rendezvous_protocol::time::UnixMillis;

use crate::edge::Edge;
use crate::edge::head::Head;
use crate::edge::step::Step;
use crate::problem::{Problem, RegistrationProblem};
use crate::registration::{self, Gate, RegistrationDoor, RegistrationStep};

impl Edge {
    /// Returns the same edge, of a host that registers keys. Where a host does not, nothing of registration is reached.
    #[must_use]
    pub fn with_registration(self, door: Arc<RegistrationDoor>) -> Self {
        let gate: Arc<dyn Gate> = Arc::clone(&door) as Arc<dyn Gate>;
        Self { registration: Some((door, Self::take_registration)), gate: Some(gate), ..self }
    }

    /// Takes a request about registration.
    fn take_registration(&mut self, now: UnixMillis, head: &Head<'_>, path: &str, query: &str) -> Step {
        let client = self.client(head);
        if let Err(limited) = self.take_request(now, client) {
            return Step::Answer(RegistrationProblem::RateLimited(limited).answer(now));
        }
        let Some((door, _)) = &self.registration else {
            return Step::Answer(Problem::NotFound.answer_without_list(now));
        };
        let asked = (head.method, path, query);
        let step = match registration::route(door, asked, head.origin, client.hand_over()) {
            registration::Routed::Answer(answer) => return Step::Answer(answer),
            registration::Routed::Read(read) => RegistrationStep::ReadBody(read),
            registration::Routed::Ask(call) => RegistrationStep::Ask(Box::new(call)),
        };
        Step::Registration(Box::new(step))
    }
}
