//! Telling the operator's own program: a thread that makes one request at a time, and follows no redirect.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use rendezvous_service::registration::{Delivery, SIGNATURE_HEADER, TIME_HEADER};
use ureq::Agent;

use crate::journal;

/// Time for one request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Makes the requests that it is told to, until nobody tells it any more.
pub(super) fn run(deliveries: &Receiver<Delivery>, tell: impl Fn(Delivery, bool) -> bool) {
    let agent: Agent = Agent::config_builder()
        .user_agent("rendezvous-beacon")
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        // Addresses of people are in it: nothing in the environment sends it elsewhere.
        .proxy(None)
        .timeout_global(Some(TIMEOUT))
        .build()
        .new_agent();
    while let Ok(delivery) = deliveries.recv() {
        let request = agent.post(&delivery.url).content_type("application/json");
        let request = request.header(TIME_HEADER, &delivery.time).header(SIGNATURE_HEADER, &delivery.signature);
        let made = match request.send(&delivery.body) {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(format!("REGISTRATION_WEBHOOK answers {}", response.status().as_u16())),
            // Not the error's own words: the address may have a secret in it.
            Err(ureq::Error::Timeout(_)) => Err("REGISTRATION_WEBHOOK does not answer in time".to_owned()),
            Err(_) => Err("REGISTRATION_WEBHOOK cannot be reached".to_owned()),
        };
        if let Err(cause) = &made {
            journal::failure("webhook_failed", cause);
        }
        if !tell(delivery, made.is_ok()) {
            return;
        }
    }
}
