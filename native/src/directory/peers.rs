//! How other hubs are asked: a thread of its own, one question at a time, bounded in time and in bytes.

use std::io::Read as _;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use rendezvous_service::directory::{Pull, PulledPage};
use ureq::Agent;

use crate::clock::unix_now;
use crate::directory::domain::domain_of;

/// How long a hub may take for a page, of 1 MiB at most. The other peers wait so long.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of the answer's header.
const HEADER_MAX_BYTES: usize = 16 * 1_024;

const USER_AGENT: &str = concat!("rendezvous-beacon/", env!("CARGO_PKG_VERSION"));

/// Asks what there is to ask, until nobody has anything to ask any more, or wants to know what came of it: then `tell` returns
/// `false`.
pub(super) fn ask_all(orders: &Receiver<Pull>, tell: impl Fn(Pull, Result<PulledPage, String>) -> bool) {
    let agent = Agent::config_builder()
        .user_agent(USER_AGENT)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_response_header_size(HEADER_MAX_BYTES)
        .max_idle_connections(0)
        .timeout_global(Some(TIMEOUT))
        .build()
        .new_agent();
    while let Ok(pull) = orders.recv() {
        let answer = ask(&agent, &pull);
        // Here, so that the hub goes on to answer while signatures are verified.
        let outcome = answer.and_then(|answer| pull.read(unix_now(), domain_of, &answer));
        if !tell(pull, outcome) {
            return;
        }
    }
}

fn ask(agent: &Agent, pull: &Pull) -> Result<Vec<u8>, String> {
    let request = agent.post(pull.url()).header("Content-Type", "application/json");
    let mut response = request.send(pull.body()).map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    // One more than there may be, so that too much is seen.
    let mut reader = response.body_mut().as_reader().take(pull.most() as u64 + 1);
    reader.read_to_end(&mut body).map_err(|error| error.to_string())?;
    if status == 200 { Ok(body) } else { Err(format!("HTTP status {status}")) }
}
