//! What `announce` works with.

use std::time::Duration;

use rendezvous_protocol::announcer::{Identity, LIFETIME_MAX, LIFETIME_MIN, TicketPacing};
use rendezvous_protocol::limits::TICKET_MAX_LIFETIME;

use super::arguments::AnnounceArguments;
use crate::beacon::Beacon;
use crate::environment::{self, Environment};
use crate::failure::{Cause, Failure};
use crate::settings::{beacons, beacons_if_any, community, first, identity};
use crate::text;
use crate::values::parse_millis;

/// Time for each request.
const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A life that no beacon can be set to allow, or that is over before the ticket arrives.
#[derive(Debug, thiserror::Error)]
#[error("a ticket's life of {} is impossible: change --lifetime to one from {} to {}",
    text::duration(*.lifetime), text::duration(LIFETIME_MIN), text::duration(LIFETIME_MAX))]
pub(super) struct TicketLifetime {
    lifetime: Duration,
}

impl Cause for TicketLifetime {}

/// All that `announce` works with.
#[derive(Debug)]
pub(super) struct AnnounceSettings {
    /// Whom to announce to, each once.
    pub(super) beacons: Vec<Beacon>,
    /// Who is announced.
    pub(super) identity: Identity,
    /// How often.
    pub(super) pacing: TicketPacing,
    /// Time for each request.
    pub(super) timeout: Duration,
}

impl AnnounceSettings {
    /// Puts them together.
    pub(super) fn new(arguments: &AnnounceArguments, environment: &Environment) -> Result<Self, Failure> {
        // With those of the local network there may be others, or none yet.
        let beacons = if arguments.lan { beacons_if_any } else { beacons }(&arguments.beacons, environment)?;
        let community = community(arguments.community.as_ref(), environment)?;
        let AnnounceArguments { peer_id, user_id, data, key, .. } = arguments;
        let identity =
            identity(peer_id.as_ref(), user_id.as_ref(), data.as_ref(), community, key.as_deref(), environment)?;
        let lifetime = first(arguments.lifetime, environment, environment::ANNOUNCE_TTL_MS, parse_millis)?
            .unwrap_or(TICKET_MAX_LIFETIME);
        if !(LIFETIME_MIN..=LIFETIME_MAX).contains(&lifetime) {
            return Err(TicketLifetime { lifetime }.into());
        }
        let interval = first(arguments.interval, environment, environment::ANNOUNCE_INTERVAL_MS, parse_millis)?;
        let timeout = first(arguments.timeout.timeout, environment, environment::ANNOUNCE_TIMEOUT_MS, parse_millis)?;
        Ok(Self {
            beacons,
            identity,
            pacing: TicketPacing { lifetime, interval: interval.unwrap_or_default() },
            timeout: timeout.unwrap_or(DEFAULT_REQUEST_TIMEOUT),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use rendezvous_protocol::key::PrivateKey;

    use super::*;

    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        arguments: AnnounceArguments,
    }

    fn private_key(seed: u8) -> String {
        PrivateKey::from_seed(&[seed; 32]).to_pem().unwrap()
    }

    fn announce_settings<const N: usize>(
        arguments: &str,
        variables: [(&'static str, &str); N],
    ) -> Result<AnnounceSettings, Failure> {
        let arguments = ["announce"].into_iter().chain(arguments.split_whitespace());
        let Program { arguments } = Program::try_parse_from(arguments).unwrap();
        AnnounceSettings::new(&arguments, &Environment::from(variables))
    }

    #[test]
    fn announce_needs_a_beacon_a_name_and_a_key_and_has_defaults_for_the_rest() {
        let key = private_key(1);
        let key = (environment::ANNOUNCE_PRIVATE_KEY, key.as_str());
        let settings = announce_settings("--beacon https://a.example --peer-id node", [key]).unwrap();
        let Identity { peer_id, user_id, data, community, .. } = &settings.identity;
        assert_eq!([peer_id.as_str(), user_id.as_str(), community.as_str()], ["node", "node", "mainnet"]);
        assert_eq!(*data, None);
        assert_eq!(settings.pacing, TicketPacing { lifetime: TICKET_MAX_LIFETIME, interval: Duration::ZERO });
        assert_eq!(settings.timeout, Duration::from_secs(10));
        for (arguments, variables, part) in [
            ("--peer-id node", [key], "no beacon"),
            ("--beacon https://a.example", [key], "--peer-id"),
            // The key that signs capsules is another one.
            ("--beacon https://a.example --peer-id node", [(environment::PRIVATE_KEY, key.1)], "no private key"),
            ("--beacon https://a.example --peer-id node --lifetime 25h", [key], "from 1s to 1day"),
        ] {
            let error = announce_settings(arguments, variables).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(announce_settings("--lan --peer-id node", [key]).unwrap().beacons.is_empty());
    }

    #[test]
    fn variables_set_everything_of_announce_and_arguments_win() {
        let key = private_key(1);
        let variables = [
            (environment::BEACONS, "https://a.example,https://a.example/"),
            (environment::COMMUNITY, "testnet"),
            (environment::ANNOUNCE_PRIVATE_KEY, key.as_str()),
            (environment::ANNOUNCE_PEER_ID, "node"),
            (environment::ANNOUNCE_USER_ID, "Zo\u{eb}"),
            (environment::ANNOUNCE_DATA, "state=away"),
            (environment::ANNOUNCE_TTL_MS, "60000"),
            (environment::ANNOUNCE_INTERVAL_MS, "50000"),
            (environment::ANNOUNCE_TIMEOUT_MS, "4000"),
        ];
        let arguments = "--beacon https://b.example,https://c.example --community other --peer-id x --user-id y --data z \
                         --lifetime 1s --interval 2s --timeout 3s";
        for (arguments, beacons, names, seconds) in [
            ("", 1, ["testnet", "node", "Zo\u{eb}", "state=away"], [60, 50, 4]),
            (arguments, 2, ["other", "x", "y", "z"], [1, 2, 3]),
        ] {
            let AnnounceSettings { beacons: found, identity, pacing, timeout } =
                announce_settings(arguments, variables).unwrap();
            let Identity { community, peer_id, user_id, data, .. } = &identity;
            assert_eq!(found.len(), beacons);
            let data = data.as_ref().unwrap();
            assert_eq!([community.as_str(), peer_id.as_str(), user_id.as_str(), data.as_str()], names);
            assert_eq!([pacing.lifetime, pacing.interval, timeout].map(|time| time.as_secs()), seconds);
        }
    }
}
