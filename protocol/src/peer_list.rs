//! A roster's list on its way to readers: what an object hands to the process that answers them.
//!
//! It is the whole list and the seed of its draw, so that any answer can be made of it, whatever the limit and whoever
//! is excluded: readers never load the object, however they ask.
//!
//! JSON, times in milliseconds, bytes in base64, tickets in their normal form:
//!
//! ```json
//! {"tag":"","seed":0,"records":[{"acceptedAt":0,"since":0,"path":"<24 bytes>","ticket":{}}],"trend":{},"activity":{}}
//! ```
//!
//! Out of scope: `trend` and `activity`. They are for people, and are handed on as they came.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::base64;
use crate::fields::{FieldError, Fields};
use crate::network::NetworkPath;
use crate::roster::{Excluded, Record, Roster, Seed, choose};
use crate::snapshot::{SnapshotError, read_path, read_ticket, write_ticket};
use crate::ticket::VerifiedTicket;
use crate::time::UnixMillis;

/// Holds what an answer says of the peers in it: the items of two JSON arrays, without the brackets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt {
    /// Tickets in their normal form.
    pub peers: String,
    /// Since when each is present, in the same order.
    pub since: String,
}

impl Excerpt {
    /// Writes down these tickets, with since when each is present.
    pub fn new<'a>(records: impl Iterator<Item = (&'a VerifiedTicket, UnixMillis)> + Clone) -> Self {
        let bytes = records.clone().map(|(ticket, _)| ticket.as_json().len() + 1).sum();
        let mut excerpt = Self { peers: String::with_capacity(bytes), since: String::new() };
        for (ticket, since) in records {
            if !excerpt.peers.is_empty() {
                excerpt.peers.push(',');
                excerpt.since.push(',');
            }
            excerpt.peers.push_str(ticket.as_json());
            // Writing to a string cannot fail.
            let _ = write!(excerpt.since, "{since}");
        }
        excerpt
    }

    /// Writes down a roster's answer.
    pub fn of_records(records: &[&Record]) -> Self {
        Self::new(records.iter().map(|record| (&record.ticket, record.since)))
    }
}

/// Holds what an object says of itself for people: two JSON objects, each empty where there is nothing to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectFigures {
    /// How many were present, for everybody.
    pub trend: String,
    /// What the object has to do, for the operator.
    pub activity: String,
}

/// Holds a peer that is listed.
#[derive(Debug)]
struct ListedPeer {
    ticket: VerifiedTicket,
    accepted_at: UnixMillis,
    since: UnixMillis,
    path: NetworkPath,
}

/// Holds a roster's whole list as it was at one moment.
#[derive(Debug)]
pub struct PeerList {
    /// Different after every change of the roster and every start of its object.
    tag: String,
    seed: Seed,
    /// The longest present first.
    records: Vec<ListedPeer>,
    figures: ObjectFigures,
    /// The answer that most readers get, and of which limit and how many records it is.
    kept: Option<((usize, usize), Excerpt)>,
}

#[derive(Serialize)]
struct PeerListFields<'a> {
    tag: String,
    seed: u64,
    records: Vec<ListedPeerFields<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListedPeerFields<'a> {
    accepted_at: UnixMillis,
    since: UnixMillis,
    path: String,
    ticket: &'a RawValue,
}

impl PeerList {
    /// Writes the list of a roster whose object started at `started_at`.
    ///
    /// # Errors
    /// [`SnapshotError::Json`] if a ticket is not in its normal form, which none in a roster is.
    pub fn encode(
        roster: &mut Roster,
        now: UnixMillis,
        started_at: UnixMillis,
        figures: &ObjectFigures,
    ) -> Result<String, SnapshotError> {
        roster.expire(now);
        let fields = PeerListFields {
            tag: format!("{started_at}-{}", roster.revision()),
            seed: roster.seed(now, None).as_u64(),
            records: roster.records().map(ListedPeerFields::new).collect::<Result<_, _>>()?,
        };
        let mut text = serde_json::to_string(&fields).map_err(FieldError::Json)?;
        for (field, json) in [("trend", &figures.trend), ("activity", &figures.activity)] {
            if !json.is_empty() {
                text.pop();
                // Writing to a string cannot fail.
                let _ = write!(text, ",\"{field}\":{json}}}");
            }
        }
        Ok(text)
    }

    /// Reads what [`PeerList::encode`] wrote.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn decode(text: &str) -> Result<Self, SnapshotError> {
        let mut fields = Fields::parse(text)?;
        let (tag, seed) = (fields.text("tag")?.into_owned(), Seed::from_u64(fields.number("seed")?));
        let mut figure = |field| Ok::<_, FieldError>(fields.optional_json(field)?.unwrap_or_default().to_owned());
        let figures = ObjectFigures { trend: figure("trend")?, activity: figure("activity")? };
        let items = fields.items("records")?;
        let mut records = Vec::with_capacity(items.len());
        for item in items {
            records.push(ListedPeer::read(Fields::parse(item.get())?)?);
        }
        Ok(Self { tag, seed, records, figures, kept: None })
    }

    /// Takes out what has ended by `now`.
    pub fn expire(&mut self, now: UnixMillis) {
        self.records.retain(|record| record.ticket.payload().expires_at > now);
    }

    /// Returns how many peers are listed.
    pub const fn total(&self) -> usize {
        self.records.len()
    }

    /// Returns where each peer counts.
    pub fn paths(&self) -> impl Iterator<Item = NetworkPath> {
        self.records.iter().map(|record| record.path)
    }

    /// Returns what the object says of itself.
    pub const fn figures(&self) -> &ObjectFigures {
        &self.figures
    }

    /// Returns a tag that differs wherever answers of at most `limit` peers may. While all fit, it says nothing of when
    /// the list was made: a reader who has such an answer need not be sent it again.
    pub fn tag(&self, limit: usize) -> String {
        let (tag, total) = (&self.tag, self.total());
        if total <= limit { format!("{tag}-{total}") } else { format!("{tag}-{total}-{:x}", self.seed.as_u64()) }
    }

    /// Returns the answer of at most `limit` peers, as [`Roster::answer`] gives it. It is put together once for all
    /// readers who exclude nobody that is listed, until something expires.
    pub fn answer(&mut self, limit: usize, excluded: Excluded<'_>) -> Cow<'_, Excerpt> {
        if self.records.iter().any(|record| excluded.contains(&record.ticket)) {
            return Cow::Owned(self.choose(limit, excluded));
        }
        let wanted = (limit, self.total());
        let excerpt = match self.kept.take() {
            Some((of, excerpt)) if of == wanted => excerpt,
            _ => self.choose(limit, Excluded::Nobody),
        };
        let (_, excerpt) = self.kept.insert((wanted, excerpt));
        Cow::Borrowed(excerpt)
    }

    /// Returns about how many bytes of memory the list takes.
    pub fn bytes(&self) -> usize {
        let tickets: usize = self.records.iter().map(|record| record.ticket.as_json().len()).sum();
        // A ticket is kept as text and parsed; an answer is a part of the texts once more.
        let ObjectFigures { trend, activity } = &self.figures;
        size_of::<Self>()
            + trend.len()
            + activity.len()
            + self.records.len() * 2 * size_of::<ListedPeer>()
            + 2 * tickets
    }

    fn choose(&self, limit: usize, excluded: Excluded<'_>) -> Excerpt {
        let records: Vec<_> = self.records.iter().filter(|record| !excluded.contains(&record.ticket)).collect();
        let chosen = choose(&records, limit, self.seed, |record| record.path, |record| record.accepted_at);
        Excerpt::new(chosen.into_iter().map(|record| (&record.ticket, record.since)))
    }
}

impl<'a> ListedPeerFields<'a> {
    fn new(record: &'a Record) -> Result<Self, SnapshotError> {
        Ok(Self {
            accepted_at: record.accepted_at,
            since: record.since,
            path: base64::encode(&record.counts.path.to_bytes()),
            ticket: write_ticket(&record.ticket)?,
        })
    }
}

impl ListedPeer {
    fn read(mut fields: Fields<'_>) -> Result<Self, SnapshotError> {
        Ok(Self {
            ticket: read_ticket(fields.json("ticket")?)?,
            accepted_at: fields.time("acceptedAt")?,
            since: fields.time("since")?,
            path: read_path(&fields.text("path")?)?,
        })
    }
}
