//! What is sent: bodies made and signed in advance, and who each request says it comes from.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use clap::ValueEnum;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::ticket::{Nonce, Payload, PeerId, Purpose, Ticket, UserId};
use rendezvous_protocol::time::{UnixMillis, saturating_millis};

use crate::Failure;

/// Kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// New tickets of new peers, each sent once.
    Announce,
    /// A few tickets, each sent once before the clock starts and then again and again.
    Repost,
    /// Tickets with a signature over something else, of the right form: refusing them takes the whole equation.
    Forged,
    /// The first half of an announce.
    Malformed,
    /// No body.
    Get,
    /// New tickets in their normal form, several to a body, one a line: for a Worker that hands them to an object.
    HandOver,
}

impl Kind {
    /// Returns whether a body may be sent twice without becoming another kind of request.
    pub(crate) const fn repeats(self) -> bool {
        !matches!(self, Self::Announce | Self::HandOver)
    }
}

/// How many different tickets the kinds that repeat go through.
const REPEATED: usize = 200;

/// Returns the time.
pub(crate) fn now() -> Result<UnixMillis, Failure> {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(|_| Failure::Clock)?;
    Ok(UnixMillis::saturating(saturating_millis(since_epoch)))
}

/// Makes the ticket of peer `number` in `series`, with a key of its own.
pub(crate) fn ticket(series: u64, number: u64, now: UnixMillis, lifetime: Duration) -> Result<Ticket, Failure> {
    let made_here = |what: &str| Failure::Ticket(what.to_owned());
    let mut seed = [0_u8; 32];
    let distinct = series.to_le_bytes().into_iter().chain(number.to_le_bytes());
    seed.iter_mut().zip(distinct).for_each(|(to, from)| *to = from);
    let nonce = seed.iter().take(16).copied().collect();
    // As long as the UUIDs that most applications use.
    let payload = Payload {
        peer_id: PeerId::new(&format!("{series:016x}-{number:019x}")).ok_or_else(|| made_here("peerId"))?,
        user_id: UserId::new("somebody").ok_or_else(|| made_here("userId"))?,
        data: None,
        issued_at: now,
        expires_at: now.after(lifetime),
        nonce: Nonce::new(nonce).ok_or_else(|| made_here("nonce"))?,
        community: None,
        purpose: Purpose::Presence,
    };
    Ok(Ticket::sign(payload, &PrivateKey::from_seed(&seed)))
}

/// Makes the bodies for `requests` requests.
pub(crate) fn bodies(
    kind: Kind,
    requests: usize,
    tickets_per_body: usize,
    lifetime: Duration,
) -> Result<Vec<Bytes>, Failure> {
    let now = now()?;
    // Two runs of this program never make the same peers.
    let series = now.as_u64() << 20 | u64::from(std::process::id());
    let count = if kind.repeats() { requests.min(REPEATED) } else { requests };
    (0..count as u64)
        .map(|number| {
            let ticket = |number| ticket(series, number, now, lifetime);
            Ok(match kind {
                Kind::Get => Bytes::new(),
                Kind::Announce | Kind::Repost => announce(&ticket(number)?).into(),
                // The payload is of the right form, but not what was signed.
                Kind::Forged => announce(&ticket(number)?).replace("\"somebody\"", "\"somebodx\"").into(),
                Kind::Malformed => {
                    let mut body = announce(&ticket(number)?);
                    body.truncate(body.len() / 2);
                    body.into()
                }
                Kind::HandOver => {
                    let per_body = tickets_per_body as u64;
                    let lines = (0..per_body).map(|line| Ok(ticket(number * per_body + line)?.to_json()));
                    lines.collect::<Result<Vec<_>, Failure>>()?.join("\n").into()
                }
            })
        })
        .collect()
}

fn announce(ticket: &Ticket) -> String {
    format!("{{\"ticket\":{}}}", ticket.to_json())
}

/// Returns an address in network `number`: a different IPv4 /24 for each of 16 million.
pub(crate) fn address(number: usize) -> String {
    format!("{}.{}.{}.1", 1 + (number >> 16) % 200, (number >> 8) % 256, number % 256)
}
