//! A look at several communities, one after the other, for one answer about all of them.

use rendezvous_protocol::community::Community;
use rendezvous_protocol::network::NetworkHash;
use rendezvous_protocol::peer_list::PeerList;
use rendezvous_protocol::sorted_set::SortedSet;
use rendezvous_protocol::time::UnixMillis;

use crate::config::Config;

/// The most communities that are looked at: each may cost a call of its object.
pub(crate) const COMMUNITIES_MAX: usize = 64;

/// Says for what several communities are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// The info document.
    Info,
    /// `/admin`.
    Admin,
}

/// Holds what has been found out.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) about: About,
    /// One for each community that has been looked at, absent where its object does not answer.
    found: Vec<Option<Summary>>,
    /// Whether an object has not answered in time: one request waits for one such.
    has_given_up: bool,
}

/// Holds figures of a list. None of them says who anybody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// How many are present.
    pub(crate) live: usize,
    /// In how many providers, sites and households they count. Zero where nobody asks.
    pub(crate) networks: [usize; 3],
    /// What the object says of itself, as JSON: its trend for the info document, what it had to do for `/admin`. Empty where
    /// it does not say.
    pub(crate) of_itself: String,
}

impl Summary {
    /// Returns the figures of a list.
    pub(crate) fn of(now: UnixMillis, list: &mut PeerList, about: About) -> Self {
        list.expire(now);
        let mut networks = [0; 3];
        let mut of_itself = &list.figures().trend;
        if about == About::Admin {
            of_itself = &list.figures().activity;
            // Of few, and seldom: a set would be more code than it saves time.
            let mut seen: [Vec<NetworkHash>; 3] = Default::default();
            for path in list.paths() {
                for (seen, network) in seen.iter_mut().zip([path.provider, path.site, path.household]) {
                    if !seen.contains(&network) {
                        seen.push(network);
                    }
                }
            }
            networks = seen.map(|seen| seen.len());
        }
        Self { live: list.total(), networks, of_itself: of_itself.clone() }
    }
}

impl Survey {
    pub(crate) const fn new(about: About) -> Self {
        Self { about, found: Vec::new(), has_given_up: false }
    }

    fn communities<'a>(&self, config: &'a Config) -> &'a SortedSet<Community> {
        match self.about {
            About::Info => &config.listed_communities,
            About::Admin => config.known_communities(),
        }
    }

    /// Returns the community to look at next, if one is left.
    pub(crate) fn next(&self, config: &Config) -> Option<Community> {
        let is_left = self.found.len() < COMMUNITIES_MAX;
        self.communities(config).iter().nth(self.found.len()).filter(|_| is_left).cloned()
    }

    /// Takes what was found out about that one.
    pub(crate) fn found(&mut self, summary: Option<Summary>) {
        self.found.push(summary);
    }

    /// Takes that no other object is to be asked.
    pub(crate) const fn give_up(&mut self) {
        self.has_given_up = true;
    }

    /// Returns whether no other object is asked. Lists that are kept are still looked at.
    pub(crate) const fn has_given_up(&self) -> bool {
        self.has_given_up
    }

    /// Returns what was found out about each community.
    pub(crate) fn summaries<'a>(
        &'a self,
        config: &'a Config,
    ) -> impl Iterator<Item = (&'a Community, &'a Option<Summary>)> {
        self.communities(config).iter().zip(&self.found)
    }

    /// Returns how many communities were not looked at.
    pub(crate) fn omitted(&self, config: &Config) -> usize {
        self.communities(config).len().saturating_sub(self.found.len())
    }
}
