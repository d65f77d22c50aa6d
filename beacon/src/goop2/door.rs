//! What the operator decides of the door.

use std::sync::Arc;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::goop2::CircuitRelay;
use rendezvous_protocol::sorted_set::SortedSet;

use crate::config::{Config, ConfigError, Kind, Variable};

const COMMUNITIES: &str = "GOOP2_COMMUNITIES";
const RELAY: &str = "GOOP2_RELAY";

/// The variables of the door, in the order in which they are explained.
pub const VARIABLES: [Variable; 2] = [Variable::new(COMMUNITIES, Kind::List, ""), Variable::new(RELAY, Kind::List, "")];

/// The most communities with a door.
const COMMUNITIES_MAX: usize = 16;

const SERVED: &str = "at most 16 names of communities that are served, separated by commas";
const NO_DOOR: &str = "nothing where GOOP2_COMMUNITIES is: there is no door to tell of a relay";

/// Holds which communities have guests, and by which relay these may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    communities: SortedSet<Community>,
    relay: Option<Arc<CircuitRelay>>,
}

impl Door {
    /// Reads the door's variables. There is no door where none is opened.
    ///
    /// # Errors
    /// [`ConfigError`] names the first variable whose value is not of its kind.
    pub fn parse(config: &Config, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ConfigError> {
        let text = |name: &'static str| variable(name).unwrap_or_default().trim().to_owned();
        let error = |variable, value: &str, expected: &str| ConfigError {
            variable,
            value: value.to_owned(),
            expected: expected.to_owned(),
        };
        let items = |text: &str| text.split(',').map(|item| item.trim().to_owned()).collect::<Vec<_>>();
        let (names, addresses) = (text(COMMUNITIES), text(RELAY));
        if names.is_empty() {
            return if addresses.is_empty() { Ok(None) } else { Err(error(RELAY, &addresses, NO_DOOR)) };
        }
        let communities: Option<SortedSet<_>> = items(&names)
            .iter()
            .map(|name| Community::new(name).ok().filter(|community| config.serves(community)))
            .collect();
        let communities = communities.filter(|communities| communities.len() <= COMMUNITIES_MAX);
        let communities = communities.ok_or_else(|| error(COMMUNITIES, &names, SERVED))?;
        let relay = match addresses.as_str() {
            "" => config.circuit_relay.clone(),
            addresses => {
                let relay = CircuitRelay::new(items(addresses));
                let relay = relay.map_err(|invalid| error(RELAY, addresses, &format!("such that {invalid}")))?;
                Some(Arc::new(relay))
            }
        };
        Ok(Some(Self { communities, relay }))
    }

    /// Returns the same, with this relay where the operator has named none.
    #[must_use]
    pub fn with_default_relay(mut self, relay: Arc<CircuitRelay>) -> Self {
        self.relay.get_or_insert(relay);
        self
    }

    /// Returns whether the community has guests.
    pub fn opens(&self, community: &Community) -> bool {
        self.communities.contains(community)
    }

    pub(crate) const fn relay(&self) -> Option<&Arc<CircuitRelay>> {
        self.relay.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::given;

    const RELAY_ADDRESS: &str = "/ip4/203.0.113.9/tcp/4001/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";

    fn parse(variables: &[(&str, &str)]) -> Result<Option<Door>, ConfigError> {
        Door::parse(&Config::parse(given(variables)).unwrap(), given(variables))
    }

    #[test]
    fn a_door_is_opened_by_name_and_not_without() {
        assert_eq!(parse(&[]), Ok(None));
        assert_eq!(parse(&[(COMMUNITIES, " ")]), Ok(None));
        let door = parse(&[("COMMUNITIES", "a,b,c"), (COMMUNITIES, "a, b"), (RELAY, RELAY_ADDRESS)]).unwrap().unwrap();
        let opens = ["a", "b", "c"].map(|name| door.opens(&Community::new(name).unwrap()));
        assert_eq!(opens, [true, true, false]);
        assert_eq!(door.relay().unwrap().addresses(), [RELAY_ADDRESS]);
        // Guests have the relay of everybody, unless they have one of their own.
        let door = parse(&[(COMMUNITIES, "mainnet"), ("CIRCUIT_RELAY_ADDRESSES", RELAY_ADDRESS)]).unwrap().unwrap();
        assert_eq!(door.relay().unwrap().addresses(), [RELAY_ADDRESS]);
        let door = parse(&[(COMMUNITIES, "mainnet")]).unwrap().unwrap();
        assert_eq!(door.relay(), None);
        let own = Arc::new(CircuitRelay::new(vec![RELAY_ADDRESS.to_owned()]).unwrap());
        assert_eq!(door.with_default_relay(Arc::clone(&own)).relay(), Some(&own));
        for variable in VARIABLES {
            assert_eq!(variable.default, "", "{}", variable.name);
        }
    }

    #[test]
    fn a_bad_value_is_named() {
        let many = (0..=COMMUNITIES_MAX).map(|number| format!("c{number}")).collect::<Vec<_>>().join(",");
        assert!(SERVED.split(' ').any(|word| word == COMMUNITIES_MAX.to_string()));
        for (variables, variable) in [
            (&[(COMMUNITIES, "a")][..], COMMUNITIES),
            (&[(COMMUNITIES, "mainnet,")], COMMUNITIES),
            (&[(COMMUNITIES, "*"), ("COMMUNITIES", "*")], COMMUNITIES),
            (&[(COMMUNITIES, "not a name"), ("COMMUNITIES", "*")], COMMUNITIES),
            (&[(COMMUNITIES, &many), ("COMMUNITIES", "*")], COMMUNITIES),
            (&[(COMMUNITIES, "mainnet"), (RELAY, "/ip4/203.0.113.9/tcp/4001")], RELAY),
            (&[(RELAY, RELAY_ADDRESS)], RELAY),
        ] {
            assert_eq!(parse(variables).unwrap_err().variable, variable, "{variables:?}");
        }
    }
}
