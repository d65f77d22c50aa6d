//! What a connection holds of its object, where the object may be forgotten while its connections stay.
//!
//! A platform that hibernates an object keeps a text for each of its connections. The object is made anew of these and of
//! what is in storage: so a peer that announces over its connection needs no row and no timer. In lines, the last of which
//! is a snapshot in the layout of storage, with the records that this connection keeps, and what is remembered of those that
//! have ended:
//!
//! ```abnf
//! attachment = path LF position LF sent LF floor LF sequences LF [ claim / "stream" ] LF snapshot ; at most 8,192 bytes
//! path       = base64                       ; 24 bytes, where the connection counts
//! sent       = 1*DIGIT                      ; as that of the log of changes, and so is the next
//! floor      = 1*DIGIT
//! sequences  = *( 1*DIGIT "," )             ; of the records, in their order
//! claim      = base64 SP peer-id            ; what the connection is bound to: the key, and the name. No event stream is
//! ```
//!
//! Out of scope: which connection keeps which record. That is the service's.

use std::fmt::Write as _;

use crate::base64;
use crate::key::PublicKey;
use crate::live::{Claim, LogHead, Position};
use crate::network::NetworkPath;
use crate::roster::{Departed, Record, Roster};
use crate::secret::Secret;
use crate::snapshot::{Parts, Snapshot, SnapshotError};
use crate::ticket::PeerId;
use crate::time::UnixMillis;

/// Stands where a claim would.
const STREAM: &str = "stream";

/// Holds what one connection keeps.
#[derive(Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Where the connection counts.
    pub path: NetworkPath,
    /// How far the log of changes had come.
    pub head: LogHead,
    /// What the connection is bound to.
    pub bound: Option<Claim>,
    /// Whether its client reads an event stream.
    pub is_stream: bool,
    /// The secret by which the roster hashes.
    pub secret: Secret,
    /// Records, each with the number of its last change.
    pub records: Vec<(u64, Record)>,
    /// Departures, of claims of which a record was kept.
    pub departed: Vec<Departed>,
}

/// Says why a text is not what a connection keeps.
#[derive(Debug, thiserror::Error)]
pub enum AttachmentError {
    /// A line is missing, or not of its kind.
    #[error("the {0} of an attachment is not what it should be")]
    Line(&'static str),
    /// The records.
    #[error("the records of an attachment: {0}")]
    Records(#[from] SnapshotError),
}

impl Attachment {
    /// Writes what a connection at `path` keeps of a roster: at most
    /// [`LIVE_RECORDS_KEPT`](crate::limits::LIVE_RECORDS_KEPT) `records` and departures together.
    ///
    /// # Errors
    /// [`SnapshotError`], as [`Snapshot::encode`].
    pub fn encode(
        now: UnixMillis,
        path: NetworkPath,
        head: LogHead,
        bound: Option<&Claim>,
        is_stream: bool,
        roster: &Roster,
        (records, departed): (&[(u64, &Record)], &[&Departed]),
    ) -> Result<String, SnapshotError> {
        let LogHead { position, sent, floor } = head;
        let mut lines = format!("{}\n{position}\n{sent}\n{floor}\n", base64::encode(&path.to_bytes()));
        for (sequence, _) in records {
            // Writing to a string cannot fail.
            let _ = write!(lines, "{sequence},");
        }
        lines.push('\n');
        if let Some(Claim { public_key, peer_id }) = bound {
            let _ = write!(lines, "{public_key} {peer_id}");
        } else if is_stream {
            lines += STREAM;
        }
        lines.push('\n');
        let kept = records.iter().map(|(_, record)| *record).collect();
        lines += &Snapshot::encode_part(now, roster, kept, departed)?;
        Ok(lines)
    }

    /// Reads what [`Attachment::encode`] wrote.
    ///
    /// # Errors
    /// See [`AttachmentError`].
    pub fn decode(text: &str) -> Result<Self, AttachmentError> {
        let mut lines = text.splitn(7, '\n');
        let mut line = |name| lines.next().ok_or(AttachmentError::Line(name));
        let path = base64::decode_array(line("path")?).map(NetworkPath::from_bytes);
        let position: Option<Position> = line("position")?.parse().ok();
        let sent = line("sent")?.parse().ok();
        let floor = line("floor")?.parse().ok();
        let sequences = line("sequences")?.split_terminator(',').map(|sequence| sequence.parse().ok());
        let sequences: Option<Vec<u64>> = sequences.collect();
        let claim = line("claim")?;
        let bound = match claim {
            "" | STREAM => None,
            claim => Some(read_claim(claim).ok_or(AttachmentError::Line("claim"))?),
        };
        let Parts { secret, records, departed, .. } = Parts::decode(line("snapshot")?)?;
        let sequences =
            sequences.filter(|sequences| sequences.len() == records.len()).ok_or(AttachmentError::Line("sequences"))?;
        Ok(Self {
            path: path.ok_or(AttachmentError::Line("path"))?,
            head: LogHead {
                position: position.ok_or(AttachmentError::Line("position"))?,
                sent: sent.ok_or(AttachmentError::Line("sent"))?,
                floor: floor.ok_or(AttachmentError::Line("floor"))?,
            },
            bound,
            is_stream: claim == STREAM,
            secret,
            records: sequences.into_iter().zip(records).collect(),
            departed,
        })
    }
}

fn read_claim(text: &str) -> Option<Claim> {
    let (public_key, peer_id) = text.split_once(' ')?;
    let public_key = base64::decode_array(public_key).map(PublicKey::from_bytes)?;
    Some(Claim { public_key, peer_id: PeerId::new(peer_id)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PrivateKey;
    use crate::limits::LIVE_RECORDS_KEPT;
    use crate::roster::RosterLimits;
    use crate::ticket::{Nonce, Payload, PeerData, Purpose, Ticket, UserId, VerifiedTicket};

    const HEAD: LogHead =
        LogHead { position: Position { epoch: 0x0a1b_2c3d, sequence: 1_700_000_000_001 }, sent: 18, floor: 17 };

    fn at(millis: u64) -> UnixMillis {
        UnixMillis::saturating(1_700_000_000_000 + millis)
    }

    fn path(number: u8) -> NetworkPath {
        NetworkPath::from_bytes([number; 24])
    }

    fn payload(peer_id: &str) -> Payload {
        Payload {
            peer_id: PeerId::new(peer_id).unwrap(),
            user_id: UserId::new("u").unwrap(),
            data: None,
            issued_at: at(0),
            expires_at: at(180_000),
            nonce: Nonce::new(vec![1; 12]).unwrap(),
            community: None,
            purpose: Purpose::Presence,
        }
    }

    fn roster(payloads: impl IntoIterator<Item = Payload>) -> Roster {
        let mut roster = Roster::new(RosterLimits::default(), Secret::from_bytes([9; 16]));
        for (number, payload) in (0..).zip(payloads) {
            let json = Ticket::sign(payload, &PrivateKey::from_seed(&[7; 32])).to_json();
            let ticket = VerifiedTicket::trusted(&json, Purpose::Presence).unwrap();
            roster.announce(at(0), ticket, path(number)).unwrap();
        }
        roster
    }

    #[test]
    fn what_a_connection_keeps_is_pinned_and_read_as_it_is_written() {
        let roster = roster([payload("ann")]);
        let record = roster.records().next().unwrap();
        let bound = Claim::of(&record.ticket);
        let key = bound.public_key;
        let text =
            Attachment::encode(at(1), path(3), HEAD, Some(&bound), false, &roster, (&[(12, record)], &[])).unwrap();
        let expected = format!(
            "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMD\n0a1b2c3d-1700000000001\n18\n17\n12,\n{key} ann\n\
             {{\"version\":2,\"takenAt\":1700000000001,\"secret\":\"CQkJCQkJCQkJCQkJCQkJCQ==\",\"records\":[\
             {{\"acceptedAt\":1700000000000,\"since\":1700000000000,\"path\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\
             \"broughtAt\":1700000000000,\"ticket\":{}}}],\"departed\":[]}}",
            record.ticket.as_json()
        );
        assert_eq!(text, expected);
        let read = Attachment::decode(&text).unwrap();
        let records = vec![(12, record.clone())];
        let secret = Secret::from_bytes([9; 16]);
        let kept = Attachment {
            path: path(3),
            head: HEAD,
            bound: Some(bound),
            is_stream: false,
            secret,
            records,
            departed: vec![],
        };
        assert_eq!(read, kept);

        let mut viewer = Attachment { bound: None, records: Vec::new(), ..kept };
        for is_stream in [false, true] {
            let text = Attachment::encode(at(1), path(3), HEAD, None, is_stream, &roster, (&[], &[])).unwrap();
            assert_eq!(text.split('\n').nth(5), Some(if is_stream { "stream" } else { "" }));
            viewer.is_stream = is_stream;
            assert_eq!(Attachment::decode(&text).unwrap(), viewer);
        }
        for line in 0..7 {
            let broken: Vec<_> =
                text.split('\n').enumerate().map(|(at, text)| if at == line { "?" } else { text }).collect();
            assert!(Attachment::decode(&broken.join("\n")).is_err(), "line {line}");
        }
        assert!(Attachment::decode(&text.replace("12,", "12,13,")).is_err(), "a number too many");
        assert!(Attachment::decode("").is_err());
    }

    #[test]
    fn what_is_remembered_of_a_record_that_has_ended_is_kept_in_its_place() {
        let short = Payload { expires_at: at(1_000), ..payload("ann") };
        let mut roster = roster([short]);
        roster.expire(at(1_000));
        let departed: Vec<_> = roster.departed().collect();
        let text = Attachment::encode(at(1_000), path(3), HEAD, None, false, &roster, (&[], &departed)).unwrap();
        let read = Attachment::decode(&text).unwrap();
        assert_eq!((read.records.len(), read.departed.iter().collect()), (0, departed));
    }

    #[test]
    fn the_largest_that_a_connection_keeps_has_at_most_8192_bytes() {
        let largest = |number: usize| Payload {
            user_id: UserId::new(&"\"".repeat(128)).unwrap(),
            data: PeerData::new(&"\"".repeat(512)),
            nonce: Nonce::new(vec![255; 32]).unwrap(),
            community: Some("c".repeat(64).parse().unwrap()),
            ..payload(&format!("{number}{}", "p".repeat(127)))
        };
        let roster = roster((0..LIVE_RECORDS_KEPT).map(largest));
        let records: Vec<_> = roster.records().map(|record| (u64::MAX, record)).collect();
        let bound = Claim::of(&records[0].1.ticket);
        let text = Attachment::encode(at(1), path(3), HEAD, Some(&bound), false, &roster, (&records, &[])).unwrap();
        assert!(text.len() <= 8_192, "{} bytes", text.len());
        assert_eq!(Attachment::decode(&text).unwrap().records.len(), LIVE_RECORDS_KEPT);
    }
}
