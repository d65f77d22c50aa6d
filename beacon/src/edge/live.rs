//! `GET /live`: from a request to a connection, and what the process remembers when it ends.

use rendezvous_protocol::live::{CloseCode, Position};
use rendezvous_protocol::origin::is_foreign;
use rendezvous_protocol::time::UnixMillis;

use crate::call::ObjectError;
use crate::config::Viewers;
use crate::edge::Edge;
use crate::edge::head::{Head, Upgrade};
use crate::edge::step::{OpenLive, Step};
use crate::live::{Checks, Connection, Kind, Opened, Opening};
use crate::own_names::audiences;
use crate::problem::Problem;
use crate::query::{parameter, path_and_query};
use crate::turn::{self, Issuer, Place};

impl Edge {
    /// Returns the same edge, of a host that computes what opens a relay, if one is configured.
    #[must_use]
    pub fn with_turn(self) -> Self {
        let relay = turn::Relay::new(&self.config, self.platform.edges(), self.secret);
        Self { turn: relay.map(|relay| Box::new(relay) as Box<dyn Issuer>), ..self }
    }

    /// Begins `GET /live` where the host first had to be asked for headers. It sees to the handshake by itself.
    pub(super) fn describe_live(
        &mut self,
        now: UnixMillis,
        head: Head<'_>,
        header: impl Fn(&str) -> Option<String>,
    ) -> Step {
        let [upgrade, last_event_id, origin, host] = ["Upgrade", "Last-Event-ID", "Origin", "Host"].map(header);
        // As with announces: what names no origin is not a page of the community's.
        let origin = origin.map(|origin| if origin.is_empty() { "null".to_owned() } else { origin });
        let upgrade = match upgrade.as_deref() {
            None => Upgrade::None,
            Some(protocol) if protocol.eq_ignore_ascii_case("websocket") => Upgrade::WebSocket,
            Some(_) => Upgrade::Other,
        };
        let (last_event_id, origin, host) = (last_event_id.as_deref(), origin.as_deref(), host.as_deref());
        let (path, query) = path_and_query(head.url);
        let head = Head { upgrade, last_event_id, origin, host, ..head };
        match (path.strip_prefix("/v1/"), path.strip_prefix("/goop2/"), &self.goop2) {
            (Some(rest), ..) => self.take_mail(now, &head, rest, true),
            (None, Some(rest), Some((_, take))) => take(self, now, &head, rest, query, true),
            (None, ..) => self.open_live(now, &head, query),
        }
    }

    /// Begins `GET /live`.
    pub(super) fn open_live(&mut self, now: UnixMillis, head: &Head<'_>, query: &str) -> Step {
        let client = self.client(head);
        let community = parameter(query, "community");
        let path = client.rate_path(&self.secret);
        if let Some(retry_after) = self.live.penalties.remaining(now, path.address) {
            return Step::Answer(Problem::LivePenalty { retry_after }.answer_without_list(now));
        }
        if let Err(limited) = self.take_request(now, client).and_then(|()| self.live.openings.take(now, path)) {
            return self.rate_limited(now, limited, community.as_deref());
        }
        let kind = match head.upgrade {
            Upgrade::WebSocket => Kind::Socket,
            Upgrade::None if self.config.viewers == Viewers::Bound => {
                return Step::Answer(Problem::BindRequired.answer_without_list(now));
            }
            Upgrade::None => Kind::Stream,
            Upgrade::Other => return Step::Answer(Problem::UpgradeRequired.answer_without_list(now)),
        };
        let parsed = self.community(community.as_deref(), None).and_then(|community| {
            let since = parameter(query, "since");
            let since = head.last_event_id.or(since.as_deref()).map(str::parse::<Position>).transpose()?;
            Ok((community, since))
        });
        let (community, since) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => return Step::Answer(Problem::from(error).answer_without_list(now)),
        };
        if let Err(limited) = self.admit(now, client, &community) {
            return self.rate_limited(now, limited, Some(community.as_str()));
        }
        // An event stream is for frames alone.
        let watches_guests = kind == Kind::Socket
            && self.goop2.as_ref().is_some_and(|(door, _)| door.opens(&community))
            && parameter(query, "guests").as_deref() == Some("1");
        let opened = Opened {
            kind,
            address: path.address,
            place: Place {
                provider: client.hand_over().hashed(&self.secret).provider,
                site: path.site.unwrap_or(path.network),
            },
            is_foreign: is_foreign(self.config.origins.as_ref(), head.origin),
            audiences: audiences(&self.config, &self.platform, head),
            since,
            most_frames: self.platform.live_frames(&self.config),
            community,
        };
        Step::OpenLive(Box::new(OpenLive {
            opening: Opening { network: client.hand_over(), since, is_stream: kind == Kind::Stream, watches_guests },
            opened,
        }))
    }

    /// Takes that a connection has ended, and why.
    pub fn close_live(&mut self, now: UnixMillis, connection: &Connection, code: CloseCode) {
        if code.is_penalised() {
            self.live.penalties.add(now, connection.address());
        }
    }

    /// Returns what the messages of connections are checked by.
    pub fn checks(&mut self) -> Checks<'_> {
        let (turn, random) = (self.turn.as_deref_mut(), self.spread.next());
        Checks { config: &self.config, gate: self.gate.as_deref(), signatures: &mut self.signatures, turn, random }
    }
}

impl OpenLive {
    /// Goes on where the object could not be asked.
    pub fn failed(self, edge: &mut Edge, now: UnixMillis, error: &ObjectError) -> Step {
        let step = edge.failed(now, &self.opened.community, error);
        edge.counted(step)
    }
}
