//! Whose request this is, and whether its network has any left.
//!
//! Each isolate counts for itself and forgets when it ends: a first line that costs nothing, not an exact count. The
//! fairness of the roster does not depend on it.

use std::cell::RefCell;

use rendezvous_protocol::budget::{Budget, Throttled};
use rendezvous_protocol::limits::BUDGET_NETWORKS;
use rendezvous_protocol::network::Client;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;

use crate::config::Config;

struct Throttle {
    secret: Secret,
    budget: Budget,
}

thread_local! {
    static THROTTLE: RefCell<Option<Throttle>> = const { RefCell::new(None) };
}

/// Takes one request out of the network's budget.
pub(crate) fn spend(
    now: UnixMillis,
    client: Client,
    config: &Config,
) -> Result<Result<(), Throttled>, getrandom::Error> {
    THROTTLE.with_borrow_mut(|throttle| {
        let Throttle { secret, budget } = match throttle {
            Some(throttle) => throttle,
            None => throttle.insert(Throttle {
                secret: random_secret()?,
                budget: Budget::new(config.network_requests_per_minute, BUDGET_NETWORKS),
            }),
        };
        Ok(budget.spend(now, client.rate_path(secret).network))
    })
}

/// Returns a new secret.
pub(crate) fn random_secret() -> Result<Secret, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(Secret::from_bytes(bytes))
}
