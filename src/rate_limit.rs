//! Whose request this is, and whether it may be made.
//!
//! Each isolate counts for itself and forgets when it ends: a first line that costs nothing, not an exact count. The
//! fairness of the roster does not depend on it.

use std::cell::RefCell;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::limits::RATE_LIMIT_NETWORKS;
use rendezvous_protocol::network::Client;
use rendezvous_protocol::rate_limit::{NewCommunities, RateLimit, RateLimited};
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;

use crate::config::Config;

struct Limits {
    secret: Secret,
    requests: RateLimit,
    new_communities: NewCommunities,
}

thread_local! {
    static LIMITS: RefCell<Option<Limits>> = const { RefCell::new(None) };
}

fn with_limits<T>(config: &Config, use_them: impl FnOnce(&mut Limits) -> T) -> Result<T, getrandom::Error> {
    LIMITS.with_borrow_mut(|limits| {
        let limits = match limits {
            Some(limits) => limits,
            None => limits.insert(Limits {
                secret: random_secret()?,
                requests: RateLimit::new(
                    config.address_requests_per_minute,
                    config.network_requests_per_minute,
                    RATE_LIMIT_NETWORKS,
                ),
                new_communities: NewCommunities::new(RATE_LIMIT_NETWORKS),
            }),
        };
        Ok(use_them(limits))
    })
}

/// Takes one request of the client's.
pub(crate) fn take(
    now: UnixMillis,
    client: Client,
    config: &Config,
) -> Result<Result<(), RateLimited>, getrandom::Error> {
    with_limits(config, |limits| limits.requests.take(now, client.rate_path(&limits.secret)))
}

/// Lets a community through to its object, if it is not one that was invented too much.
pub(crate) fn admit(
    now: UnixMillis,
    client: Client,
    community: &Community,
    config: &Config,
) -> Result<Result<(), RateLimited>, getrandom::Error> {
    if !config.is_open(community) {
        return Ok(Ok(()));
    }
    with_limits(config, |limits| limits.new_communities.admit(now, client.rate_path(&limits.secret), community))
}

/// Returns a new secret.
pub(crate) fn random_secret() -> Result<Secret, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(Secret::from_bytes(bytes))
}
