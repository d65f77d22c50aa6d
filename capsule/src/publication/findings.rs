//! What a round found, whatever became of it.

use std::collections::BTreeMap;

use rendezvous_protocol::beacon_url::BeaconUrl;
use rendezvous_protocol::merge::{Disagreement, Entry};
use rendezvous_protocol::publication::RoundFindings;
use serde::Serialize;

use crate::text;

/// What was found.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) entries: Vec<Entry>,
    /// How many more there would be if a capsule could be longer.
    pub(super) left_out: usize,
    /// The beacons that the entries' `listed_by` are positions in.
    pub(super) sources: Vec<BeaconUrl>,
    pub(super) counts: RoundFindings,
    pub(super) beacons: Vec<BeaconReport>,
    pub(super) nodes: Vec<NodeReport>,
    pub(super) disagreements: Vec<DisagreementReport>,
    /// The beacon, and how many peers it lists.
    pub(super) limited_by: Option<(String, usize)>,
}

/// What one beacon contributed: a line of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BeaconReport {
    pub(super) beacon: String,
    /// Whether it said something, be it wrong as a whole.
    pub(super) answered: bool,
    /// Good tickets in its answer, one a claim.
    pub(super) tickets: usize,
    /// The others, by code.
    pub(super) refused: BTreeMap<&'static str, usize>,
    /// Why there are none at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<RoundProblem>,
    pub(super) attempts: u32,
    pub(super) time_ms: u64,
}

/// Why something is left out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct RoundProblem {
    pub(super) code: String,
    pub(super) detail: String,
}

impl BeaconReport {
    pub(super) fn row(&self) -> [String; 5] {
        let answered = if self.answered { "yes" } else { "no" };
        let refused = match &self.problem {
            Some(RoundProblem { detail, .. }) => detail.clone(),
            None => text::counts(&self.refused),
        };
        let time = format!("{}.{:02}s", self.time_ms / 1000, self.time_ms % 1000 / 10);
        [self.beacon.clone(), answered.to_owned(), self.tickets.to_string(), refused, time]
    }
}

/// What became of one `--include`, or of a `--probe` that no ticket is for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeReport {
    pub(super) source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peer_id: Option<String>,
    pub(super) included: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<RoundProblem>,
}

/// A peerId that several keys claim, at different beacons or at one.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DisagreementReport {
    pub(super) peer_id: String,
    pub(super) keys: Vec<KeyReport>,
    /// The key that is in the capsule, if one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) chosen: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyReport {
    pub(super) public_key: String,
    pub(super) beacons: Vec<String>,
}

/// With the beacons' addresses instead of their positions.
pub(super) fn disagreements(
    disagreements: &[Disagreement],
    name: impl Fn(usize) -> Option<String>,
) -> Vec<DisagreementReport> {
    let report = |Disagreement { peer_id, keys, chosen }: &Disagreement| DisagreementReport {
        peer_id: peer_id.as_str().to_owned(),
        keys: keys
            .iter()
            .map(|(key, beacons)| KeyReport {
                public_key: key.to_string(),
                beacons: beacons.iter().filter_map(|beacon| name(*beacon)).collect(),
            })
            .collect(),
        chosen: chosen.map(|key| key.to_string()),
    };
    disagreements.iter().map(report).collect()
}
