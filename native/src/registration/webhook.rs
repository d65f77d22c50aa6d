//! Telling the operator's own program: a thread that makes one request at a time, and follows no redirect.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use rendezvous_service::registration::{Delivery, SIGNATURE_HEADER, TIME_HEADER};

use crate::direct_agent::direct_agent;
use crate::journal;

/// Time for one request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Makes the requests that it is told to, until nobody tells it any more.
pub(super) fn run(deliveries: &Receiver<Delivery>, tell: impl Fn(Delivery, bool) -> bool) {
    let agent = direct_agent(TIMEOUT);
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
