//! What came of a single announce (`--once`), for people and for scripts.

use rendezvous_protocol::announcer::{BeaconStatus, Moment, RequestProblem};
use rendezvous_protocol::time::UnixMillis;
use serde::Serialize;

use super::event_loop::{EventLoop, Messenger};
use super::output::{NO_PLACE, NOT_LISTED};
use crate::beacon::{Beacon, NO_BEACON_ANSWERED};
use crate::failure::Exit;
use crate::text;

/// What each beacon said to a single announce, for people and for scripts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OnceReport<'a> {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    community: &'a str,
    peer_id: &'a str,
    public_key: &'a str,
    beacons: Vec<OnceBeacon>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OnceBeacon {
    beacon: String,
    answered: bool,
    listed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<UnixMillis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl OnceBeacon {
    fn new(beacon: &Beacon, status: &BeaconStatus) -> Self {
        let beacon = beacon.to_string();
        match status {
            BeaconStatus::Listed { until } => {
                Self { beacon, answered: true, listed: true, expires_at: Some(*until), code: None, detail: None }
            }
            BeaconStatus::Unlisted { .. } => Self {
                beacon,
                answered: true,
                listed: false,
                expires_at: None,
                code: Some(NOT_LISTED.to_owned()),
                detail: Some(NO_PLACE.to_owned()),
            },
            BeaconStatus::Failing { problem: RequestProblem { code, detail }, answered, .. } => Self {
                beacon,
                answered: *answered,
                listed: false,
                expires_at: None,
                code: Some(code.clone()),
                detail: Some(detail.clone()),
            },
            BeaconStatus::Unknown | BeaconStatus::Left { .. } => {
                Self { beacon, answered: false, listed: false, expires_at: None, code: None, detail: None }
            }
        }
    }

    fn row(&self, now: Moment) -> [String; 4] {
        let yes = |yes| if yes { "yes" } else { "no" }.to_owned();
        let said = match (&self.code, &self.detail, self.expires_at) {
            (Some(code), Some(detail), _) if self.answered => format!("{code}: {}", text::printable(detail)),
            (_, Some(detail), _) => text::printable(detail),
            (_, _, Some(until)) => format!("until {} ({})", text::date(until), text::distance(until, now.wall)),
            _ => String::new(),
        };
        [self.beacon.clone(), yes(self.answered), yes(self.listed), said]
    }
}

impl<'a> OnceReport<'a> {
    pub(super) fn new(event_loop: &'a EventLoop, peer_id: &'a str, public_key: &'a str) -> Self {
        let Messenger { beacons, community, .. } = &event_loop.messenger;
        let beacons: Vec<_> =
            beacons.iter().zip(event_loop.announcer.statuses()).map(|(one, how)| OnceBeacon::new(one, how)).collect();
        let ok = beacons.iter().any(|beacon| beacon.listed);
        let answered = beacons.iter().any(|beacon| beacon.answered);
        let code = match (ok, answered) {
            (true, _) => None,
            (false, true) => Some(NOT_LISTED),
            (false, false) => Some(NO_BEACON_ANSWERED),
        };
        Self { ok, code, community: community.as_str(), peer_id, public_key, beacons }
    }

    pub(super) fn exit(&self) -> Exit {
        match (self.ok, self.beacons.iter().any(|beacon| beacon.answered)) {
            (true, _) => Exit::Good,
            (false, true) => Exit::Refused,
            (false, false) => Exit::Unreachable,
        }
    }

    pub(super) fn to_text(&self, now: Moment) -> String {
        let head = ["BEACON", "ANSWERED", "LISTED", "SAID"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head).chain(self.beacons.iter().map(|beacon| beacon.row(now))).collect();
        text::table(&rows)
    }
}
