//! What came of a round, for people and for scripts.

use rendezvous_protocol::limits::CAPSULE_MAX_BYTES;
use rendezvous_protocol::publication::NotWritten;
use rendezvous_protocol::revocation::Revocations;
use rendezvous_protocol::time::UnixMillis;
use serde::Serialize;

use super::ending::Ending;
use super::findings::{BeaconReport, DisagreementReport, Findings, NodeReport, RoundProblem};
use super::settings::PublishSettings;
use crate::beacon::Beacon;
use crate::destination::{CAPSULE, Destination, MINISIG, SIGNATURE};
use crate::failure::Exit;
use crate::hook::Ran;
use crate::text;

/// Disagreements that are shown one by one. A lying beacon can make as many as it lists peers.
const DISAGREEMENTS_SHOWN: usize = 5;

/// The result.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoundReport {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    community: String,
    public_key: String,
    peers: usize,
    /// For want of room in the file.
    #[serde(skip_serializing_if = "is_zero")]
    left_out: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<Written>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<RunReport>,
    beacons: Vec<BeaconReport>,
    /// Where a list of what is revoked was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<RevokedReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    revoked_beacons: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nodes: Vec<NodeReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    disagreements: Vec<DisagreementReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limited_by: Option<LimitReport>,
    #[serde(skip)]
    ending: Ending,
    #[serde(skip)]
    now: UnixMillis,
    #[serde(skip)]
    capsule: String,
    #[serde(skip)]
    minimum: Minimum,
}

const fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    capsule: String,
    signature: String,
    minisig: String,
    issued_at: UnixMillis,
    expires_at: UnixMillis,
}

#[derive(Clone, Debug, Serialize)]
struct RunReport {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// How many there are in each list: none, where some were meant, is better seen at once.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RevokedReport {
    ticket_keys: usize,
    publisher_keys: usize,
    beacons: usize,
}

#[derive(Clone, Debug, Serialize)]
struct LimitReport {
    beacon: String,
    peers: usize,
}

#[derive(Clone, Copy, Debug)]
struct Minimum {
    beacons: usize,
    good_beacons: usize,
}

impl RoundReport {
    pub(super) fn new(
        settings: &PublishSettings,
        destination: &Destination,
        now: UnixMillis,
        found: Findings,
        revocations: &Revocations,
        revoked: Vec<&Beacon>,
        (ending, ran): (Ending, Option<Ran>),
    ) -> Self {
        let written = (ending == Ending::Written).then(|| Written {
            capsule: destination.file(CAPSULE),
            signature: destination.file(SIGNATURE),
            minisig: destination.file(MINISIG),
            issued_at: now,
            expires_at: now.after(settings.lifetime),
        });
        let run = ran.map(|ran| match ran {
            Ran::Well => RunReport { ok: true, detail: None },
            Ran::Badly { reason, .. } => RunReport { ok: false, detail: Some(reason) },
        });
        let run_failed = run.as_ref().is_some_and(|run| !run.ok);
        Self {
            ok: written.is_some() && !run_failed,
            code: if run_failed { Some("RUN_FAILED") } else { ending.code() },
            community: settings.tickets.community.to_string(),
            public_key: settings.key.public_key().to_string(),
            peers: found.entries.len(),
            left_out: found.left_out,
            written,
            run,
            beacons: found.beacons,
            revoked: settings.revoked.is_some().then_some(RevokedReport {
                ticket_keys: revocations.ticket_keys.len(),
                publisher_keys: revocations.publisher_keys.len(),
                beacons: revocations.beacons.len(),
            }),
            revoked_beacons: revoked.iter().map(ToString::to_string).collect(),
            nodes: found.nodes,
            disagreements: found.disagreements,
            limited_by: found.limited_by.map(|(beacon, peers)| LimitReport { beacon, peers }),
            ending,
            now,
            capsule: destination.file(CAPSULE),
            minimum: Minimum { beacons: settings.write.min_beacons, good_beacons: found.counts.good_beacons },
        }
    }

    /// The exit code for it.
    pub(crate) fn exit(&self) -> Exit {
        if self.run_failure().is_some() { Exit::Usage } else { self.ending.exit() }
    }

    /// Whether there is a new capsule, and the command afterwards, which may be what takes it to readers, worked.
    pub(crate) const fn is_good(&self) -> bool {
        self.ok
    }

    /// Why the command afterwards did not work.
    fn run_failure(&self) -> Option<&str> {
        self.run.as_ref().filter(|run| !run.ok)?.detail.as_deref()
    }

    /// The table, what is worth knowing, and how it ended.
    pub(crate) fn to_text(&self) -> String {
        let head = ["BEACON", "ANSWERED", "TICKETS", "REFUSED", "TIME"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head).chain(self.beacons.iter().map(BeaconReport::row)).collect();
        let mut text = if self.beacons.is_empty() { String::new() } else { text::table(&rows) + "\n" };
        for note in self.notes() {
            text.push_str(&note);
            text.push('\n');
        }
        text.push_str(&self.last_line());
        text.push('\n');
        if let Some(reason) = self.run_failure() {
            text.push_str(&format!("--run failed: {reason}. The capsule is written all the same\n"));
        }
        text
    }

    /// What a publisher should know, a line each.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(RevokedReport { ticket_keys, publisher_keys, beacons }) = self.revoked {
            notes.push(format!(
                "revoked: {}, {}, {}",
                text::count(ticket_keys, "ticket key", "ticket keys"),
                text::count(publisher_keys, "publisher key", "publisher keys"),
                text::count(beacons, "beacon", "beacons"),
            ));
        }
        for beacon in &self.revoked_beacons {
            notes.push(format!("not asked: {beacon}, which is revoked"));
        }
        for NodeReport { source, peer_id, problem, .. } in &self.nodes {
            if let Some(RoundProblem { code, detail }) = problem {
                let who = peer_id.as_deref().map(|peer_id| format!(" ({peer_id})")).unwrap_or_default();
                notes.push(format!("left out: {}{who}, {code}: {detail}", text::printable(source)));
            }
        }
        let included = self.nodes.iter().filter(|node| node.included).count();
        if included > 0 {
            notes.push(format!("included first: {}", text::count(included, "node", "nodes")));
        }
        for DisagreementReport { peer_id, keys, chosen } in self.disagreements.iter().take(DISAGREEMENTS_SHOWN) {
            let who: Vec<_> =
                keys.iter().map(|key| format!("{} by {}", key.public_key, key.beacons.join(", "))).collect();
            let taken =
                chosen.as_deref().map_or_else(|| "none of them is in it".to_owned(), |key| format!("taken: {key}"));
            notes.push(format!("disagreement about {peer_id}: {}; {taken}", who.join("; ")));
        }
        if let Some(more) = self.disagreements.len().checked_sub(DISAGREEMENTS_SHOWN).filter(|more| *more > 0) {
            notes.push(format!(
                "and {}, which --json has",
                text::count(more, "disagreement more", "disagreements more")
            ));
        }
        if self.left_out > 0 {
            notes.push(format!(
                "left out for want of room: {}. A capsule has at most {CAPSULE_MAX_BYTES} bytes, and tickets with data take more",
                text::count(self.left_out, "peer", "peers"),
            ));
        }
        if let Some(LimitReport { beacon, peers }) = &self.limited_by {
            notes.push(format!(
                "beacon {beacon} lists {} and limits the capsule to {} (--shares available does without its share)",
                text::count(*peers, "peer", "peers"),
                self.peers,
            ));
        }
        notes
    }

    /// How it ended.
    pub(crate) fn last_line(&self) -> String {
        let Self { capsule, now, .. } = self;
        let peers = text::count(self.peers, "peer", "peers");
        match (self.ending, &self.written) {
            (Ending::Written, Some(Written { expires_at, .. })) => format!(
                "written: {capsule} and its .sig and .minisig, {peers} of {}, until {} ({})",
                self.community,
                text::date(*expires_at),
                text::distance(*expires_at, *now),
            ),
            (Ending::Written | Ending::Stopped, _) => {
                format!("not written: told to stop. What is in {capsule} stays")
            }
            (Ending::NotWritten(reason), _) => format!("not written: {}", self.reason(reason)),
        }
    }

    /// Why no capsule is written, and what to do about it.
    fn reason(&self, reason: NotWritten) -> String {
        let Self { capsule, now, .. } = self;
        let peers = text::count(self.peers, "peer", "peers");
        match reason {
            NotWritten::NoBeaconAnswered => {
                format!("no beacon answered. What is in {capsule} stays. Check the addresses and the network")
            }
            NotWritten::TooFewBeacons => format!(
                "{} with good tickets, and --min-beacons is {}. What is in {capsule} stays",
                text::count(self.minimum.good_beacons, "beacon", "beacons"),
                self.minimum.beacons,
            ),
            NotWritten::TooFewPeers { least } => {
                format!("{peers} found, and --min-peers is {least}. What is in {capsule} stays")
            }
            NotWritten::ClockWentBack { held } => format!(
                "{capsule} was issued at {}, but it is {} by this clock, and readers refuse to go back. Correct the \
                 clock; if that capsule was from a wrong future, wait until then or change the key",
                text::date(held),
                text::date(*now)
            ),
            NotWritten::KeyRevoked => format!(
                "{capsule} revokes the key that is to sign, and its readers refuse everything else by it. Sign with the \
                 new key"
            ),
            NotWritten::FarFewerPeers { held, until } => format!(
                "{peers} found, less than a third of the {held} in {capsule}, which stays until it ends at {}. If so few \
                 are right, move it away",
                text::date(until)
            ),
        }
    }

    /// What is not as it should be, in words that stay the same while it does.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems: Vec<_> = self.ending.code().map(str::to_owned).into_iter().collect();
        problems.extend(self.run_failure().map(|reason| format!("--run: {reason}")));
        let of = |who: &str, problem: &Option<RoundProblem>| {
            problem.as_ref().map(|RoundProblem { code, .. }| format!("{}: {code}", text::printable(who)))
        };
        problems.extend(self.beacons.iter().filter_map(|beacon| of(&beacon.beacon, &beacon.problem)));
        problems.extend(self.nodes.iter().filter_map(|node| of(&node.source, &node.problem)));
        problems
    }

    /// `12 peers of mainnet`.
    pub(crate) fn summary(&self) -> String {
        format!("{} of {}", text::count(self.peers, "peer", "peers"), self.community)
    }
}
