//! Requests that reach those whom the operator names directly.

use std::time::Duration;

use ureq::Agent;

/// Returns an agent that follows no redirect, takes every status for an answer, and that nothing in the environment sends
/// elsewhere: what it brings is for its receiver alone.
pub(crate) fn direct_agent(timeout: Duration) -> Agent {
    Agent::config_builder()
        .user_agent("rendezvous-beacon")
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_global(Some(timeout))
        .build()
        .new_agent()
}
