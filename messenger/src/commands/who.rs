//! `rendezvous who`: who is present in a community, and where messages for them can be left.

use std::time::Duration;

use clap::Args;
use rendezvous_capsule::beacon::Beacon;
use rendezvous_capsule::clock::Clock;
use rendezvous_capsule::environment::Environment;
use rendezvous_capsule::failure::Failure;
use rendezvous_capsule::fetch::Fetcher;
use rendezvous_capsule::log::Log;
use rendezvous_capsule::present::{self, Present};
use rendezvous_capsule::text;
use rendezvous_capsule::values::parse_community;
use rendezvous_protocol::community::Community;
use rendezvous_protocol::merge::Entry;
use rendezvous_protocol::message_addresses::{MessageAddressError, MessageAddresses};
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::retalk::user::UserId;
use rendezvous_protocol::ticket::PeerData;
use rendezvous_protocol::time::UnixMillis;
use serde_json::{Value, json};

use crate::ending::Report;
use crate::line;

const HELP: &str = "\
Examples:
  rendezvous who mainnet --beacon https://beacon.example.org
      whom the beacon lists, and who of them can be written to
  rendezvous add bob f1041c25c87351d8550b31cc6b13ab04
      saves an id that was shown: `rendezvous send bob`
  rendezvous who mainnet --json | jq -r 'select(.peerId==\"bob\").user.id'

Every ticket is verified; who has no good one is not shown, and counted. Where
more than 50 are present a beacon draws whom it lists, anew every 5 s. Who can
be written to says so in the ticket: an id for `rendezvous add`, or a mailbox,
whose owner gives out invites. `rendezvous id --data` and `rendezvous mailbox
show` print what `capsule announce --data` then says.
A name proves nothing, the key does; and a ticket proves that its key says so,
not that an id is its own. Compare the id over another way before you trust it.

Exit codes:
  0  shown, also where nobody is there
  1  no beacon answered with a list of peers
  2  refused: no beacon lists this community's peers, and one says why not; or
     usage: a wrong argument or variable

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_BEACONS  --beacon, comma-separated";

/// Arguments of `who`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct WhoArguments {
    /// The community.
    #[arg(value_name = "COMMUNITY", value_parser = parse_community)]
    community: Community,
    /// Address of a beacon to ask; more than one: comma-separated, or given again.
    #[arg(long = "beacon", value_name = "URL", value_delimiter = ',', value_parser = Beacon::parse)]
    beacons: Vec<Beacon>,
    /// Print one line of JSON for each.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn who(
    arguments: &WhoArguments,
    environment: &Environment,
    log: &Log,
    fetcher: &Fetcher,
    timeout: Duration,
) -> Result<Report, Failure> {
    let WhoArguments { community, beacons, json } = arguments;
    let beacons = present::beacons(beacons, environment)?;
    let Present { peers, refused, problems } = present::ask(&beacons, community, fetcher, timeout)?;
    for problem in &problems {
        log.note(format_args!("{}", text::printable(problem)));
    }
    if !refused.is_empty() {
        log.note(format_args!("not shown: {}", text::counts(&refused)));
    }
    if *json {
        return Ok(Report::text(peers.iter().map(|peer| line::ascii(&as_json(peer, &beacons))).collect()));
    }
    Ok(Report::text(describe(&peers, community, Clock::System.now()?)))
}

/// Reads where messages for a peer can be left.
fn addresses(peer: &Entry) -> Result<MessageAddresses, MessageAddressError> {
    peer.ticket.payload().data.as_ref().map_or_else(|| Ok(MessageAddresses::default()), MessageAddresses::read)
}

/// Returns whether a peer's ticket names this user.
pub(super) fn names(peer: &Entry, user: UserId) -> bool {
    addresses(peer).is_ok_and(|said| said.user.is_some_and(|it| it.user == user))
}

fn as_json(peer: &Entry, beacons: &[Beacon]) -> Value {
    let payload = peer.ticket.payload();
    let listed_by: Vec<String> =
        peer.listed_by.iter().filter_map(|at| beacons.get(*at)).map(ToString::to_string).collect();
    let mut value = json!({
        "peerId": payload.peer_id.as_str(), "userId": payload.user_id.as_str(),
        "data": payload.data.as_ref().map(PeerData::as_str), "publicKey": peer.ticket.public_key().to_string(),
        "issuedAt": payload.issued_at, "expiresAt": payload.expires_at, "listedBy": listed_by,
    });
    let said = match addresses(peer) {
        Ok(MessageAddresses { user, mailbox }) => {
            let user = user.map(|it| ("user", json!({ "id": it.user.to_string(), "relays": texts(&it.relays) })));
            let mailbox = mailbox.map(|it| ("mailbox", json!({ "address": it.mailbox, "relays": texts(&it.relays) })));
            [user, mailbox]
        }
        Err(error) => [Some(("problem", json!(error.to_string()))), None],
    };
    if let Some(fields) = value.as_object_mut() {
        fields.extend(said.into_iter().flatten().map(|(name, value)| (name.to_owned(), value)));
    }
    value
}

fn texts(relays: &[Origin]) -> Vec<&str> {
    relays.iter().map(Origin::as_str).collect()
}

fn describe(peers: &[Entry], community: &Community, now: UnixMillis) -> String {
    let head = ["PEER", "USER", "UNTIL", "KEY", "MESSAGES", "DATA"].map(str::to_owned);
    let mut has_user = false;
    let row = |peer: &Entry| {
        let payload = peer.ticket.payload();
        let messages = match addresses(peer) {
            Ok(MessageAddresses { user, mailbox }) => {
                has_user |= user.is_some();
                let user = user.map(|it| format!("id {}", it.user));
                let mailbox = mailbox.map(|it| format!("mailbox {}", it.mailbox));
                user.into_iter().chain(mailbox).collect::<Vec<_>>().join(", ")
            }
            Err(error) => format!("none: {error}"),
        };
        [
            payload.peer_id.as_str().to_owned(),
            text::printable(payload.user_id.as_str()),
            text::distance(payload.expires_at, now),
            peer.ticket.public_key().to_string(),
            messages,
            payload.data.as_ref().map(|data| text::shortened(data.as_str())).unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = std::iter::once(head).chain(peers.iter().map(row)).collect();
    let mut shown = if peers.is_empty() { String::new() } else { text::table(&rows) + "\n" };
    shown.push_str(&format!("{} present in {community}, verified\n", peers.len()));
    if has_user {
        shown.push_str("Write: rendezvous add NAME ID, then rendezvous send NAME TEXT\n");
    }
    shown
}
