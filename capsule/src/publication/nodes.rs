//! The publisher's own nodes: peers whose tickets it puts first into the capsule, beacons or no beacons (`--include`),
//! some of them only while something answers (`--probe`).
//!
//! A ticket that is not good costs only itself: while `watch` runs for months, one node that forgot to renew its ticket
//! must not keep all others out. What is left out is said.

use rendezvous_protocol::answer::{DUPLICATE, TOO_MANY};
use rendezvous_protocol::code::Code;
use rendezvous_protocol::limits::{BODY_MAX_BYTES, CAPSULE_TICKET_MAX_LIFETIME};
use rendezvous_protocol::publication::{NodeRefused, Nodes};
use rendezvous_protocol::ticket::{Purpose, Ticket, TicketRules, VerifiedTicket};
use rendezvous_protocol::time::UnixMillis;

use super::findings::{NodeReport, RoundProblem};
use super::settings::PublishSettings;
use crate::fetch::FetchError;
use crate::source::{Source, SourceError};
use crate::text;

/// The nodes of a round, and what became of each `--include` and `--probe`.
pub(super) fn judge_nodes(
    settings: &PublishSettings,
    tickets: Vec<Result<Vec<u8>, SourceError>>,
    probes: Vec<Result<(), FetchError>>,
    rules: &TicketRules<'_>,
    now: UnixMillis,
) -> (Nodes, Vec<NodeReport>) {
    let rules = TicketRules { max_lifetime: CAPSULE_TICKET_MAX_LIFETIME, ..*rules };
    let mut nodes = Nodes::new(settings.write.max_peers);
    let mut reports = Vec::new();
    for (source, bytes) in settings.includes.iter().zip(tickets) {
        let mut report = NodeReport { source: source.to_string(), peer_id: None, included: false, problem: None };
        match read(bytes, source, &rules, now) {
            Ok(ticket) => {
                report.peer_id = Some(ticket.peer_id().as_str().to_owned());
                let silent = settings.probes.iter().zip(&probes).find_map(|(probe, result)| {
                    let error = result.as_ref().err().filter(|_| probe.peer_id == *ticket.peer_id())?;
                    Some(format!("{} does not answer: {error}", probe.url))
                });
                report.problem = match nodes.include(ticket, silent.is_none()) {
                    Ok(()) => None,
                    Err(NodeRefused::Duplicate) => {
                        Some(problem(DUPLICATE, "another --include before it is for the same peerId"))
                    }
                    Err(NodeRefused::Silent) => Some(problem("PROBE_FAILED", &silent.unwrap_or_default())),
                    Err(NodeRefused::NoRoom) => Some(problem(TOO_MANY, "--max-peers allows no more")),
                };
                report.included = report.problem.is_none();
            }
            Err(problem) => report.problem = Some(problem),
        }
        reports.push(report);
    }
    for probe in settings.probes.iter().filter(|probe| !nodes.has_seen(&probe.peer_id)) {
        let detail = "no --include has a good ticket of this peerId, so that nothing depends on the answer";
        reports.push(NodeReport {
            source: probe.url.clone(),
            peer_id: Some(probe.peer_id.as_str().to_owned()),
            included: false,
            problem: Some(problem("NOTHING_TO_PROBE", detail)),
        });
    }
    (nodes, reports)
}

fn problem(code: &'static str, detail: &str) -> RoundProblem {
    RoundProblem { code: code.to_owned(), detail: detail.to_owned() }
}

fn read(
    bytes: Result<Vec<u8>, SourceError>,
    source: &Source,
    rules: &TicketRules<'_>,
    now: UnixMillis,
) -> Result<VerifiedTicket, RoundProblem> {
    let bytes = bytes.map_err(|error| RoundProblem {
        code: match (&error, source) {
            (SourceError::Fetch { error, .. }, _) => error.code(),
            (SourceError::File { .. }, _) => "UNREADABLE",
        }
        .to_owned(),
        detail: text::printable(&error.to_string()),
    })?;
    if bytes.len() > BODY_MAX_BYTES {
        return Err(problem(
            Code::Malformed.as_str(),
            &format!("it is longer than {BODY_MAX_BYTES} bytes, and so no ticket"),
        ));
    }
    let json =
        str::from_utf8(&bytes).map_err(|_| problem(Code::Malformed.as_str(), "it is not UTF-8, and so no ticket"))?;
    Ticket::parse(json, Purpose::Presence)
        .and_then(|ticket| ticket.verify(rules, now))
        .map_err(|error| RoundProblem { code: error.code().to_owned(), detail: text::printable(&error.to_string()) })
}
