//! What one hub asks another: the body of the question, who may ask how often, and the answer.
//!
//! An exchange is a pull. The hub that is asked learns nothing but who asks; the hub that asks believes nothing but records
//! that prove themselves. So what a hostile peer can do is to leave records out.

use std::collections::{BTreeMap, VecDeque};

use super::envelope::{Record, Signed};
use super::limits::{
    BODY_MAX_BYTES, EXCHANGE_ANSWER_MAX_BYTES, EXCHANGE_MAX_RECORDS, EXCHANGE_SKEW, EXCHANGES_REMEMBERED,
};
use super::record::{Exchange, RecordError, malformed};
use super::state::{Told, Way, read_way};
use crate::base64;
use crate::fields::Fields;
use crate::key::PublicKey;
use crate::live::Position;
use crate::mailbox::bytes::Bytes;
use crate::time::UnixMillis;

/// Parses the body of an exchange, `{"exchange":{…}}`.
///
/// # Errors
/// `BODY_TOO_LARGE`, and those of [`Signed::parse`].
pub fn parse_body(body: &[u8]) -> Result<Signed<Exchange>, RecordError> {
    if body.len() > BODY_MAX_BYTES {
        return Err(RecordError::BodyTooLarge);
    }
    let mut fields = Fields::parse(str::from_utf8(body).map_err(|_| malformed("body: not UTF-8"))?)?;
    let exchange = fields.json("exchange")?;
    fields.end()?;
    Signed::parse(exchange)
}

/// Writes that body.
pub fn write_body(exchange: &Signed<Exchange>) -> String {
    format!(r#"{{"exchange":{}}}"#, exchange.to_json())
}

/// Says why an exchange is not answered, which is good by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeRefused {
    /// It was answered before.
    Replayed,
    /// The peer asks too often.
    TooOften,
}

/// Remembers exchanges for as long as their times are good, of each peer at most [`EXCHANGES_REMEMBERED`].
#[derive(Debug, Default)]
pub struct SeenExchanges(BTreeMap<PublicKey, VecDeque<(UnixMillis, Bytes<16>)>>);

impl SeenExchanges {
    /// Takes an exchange of a peer, whose signature was verified. What [`SeenExchanges::row`] says then has to be stored before
    /// the exchange is answered, or it would be answered again after a restart.
    ///
    /// # Errors
    /// [`ExchangeRefused`].
    pub fn take(&mut self, now: UnixMillis, peer: PublicKey, nonce: Bytes<16>) -> Result<(), ExchangeRefused> {
        let of_peer = self.0.entry(peer).or_default();
        of_peer.retain(|(until, _)| *until > now);
        if of_peer.iter().any(|(_, seen)| *seen == nonce) {
            return Err(ExchangeRefused::Replayed);
        }
        if of_peer.len() >= EXCHANGES_REMEMBERED {
            return Err(ExchangeRefused::TooOften);
        }
        // One that is dated ahead by the skew is good until twice the skew from now.
        of_peer.push_back((now.after(EXCHANGE_SKEW.saturating_mul(2)), nonce));
        Ok(())
    }

    /// Writes what is remembered of a peer: until when, and the nonce, a line each.
    pub fn row(&self, peer: &PublicKey) -> String {
        let lines = self.0.get(peer).into_iter().flatten().map(|(until, nonce)| format!("{until} {nonce}"));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Takes back what [`SeenExchanges::row`] wrote of a peer; nothing, where it did not.
    pub fn restore(&mut self, peer: PublicKey, row: &str) -> Option<()> {
        let read = |line: &str| {
            let (until, nonce) = line.split_once(' ')?;
            Some((UnixMillis::saturating(until.parse().ok()?), Bytes(base64::decode_array(nonce)?)))
        };
        let seen = row.lines().map(read).collect::<Option<VecDeque<_>>>()?;
        self.0.insert(peer, seen);
        Some(())
    }
}

/// Writes the answer to an exchange.
pub fn write_answer(now: UnixMillis, told: &Told) -> String {
    let Told { records, position, more } = told;
    let ways: Vec<_> = records.iter().map(|(_, Way(distance, through))| format!("[{distance},{through}]")).collect();
    let records: Vec<_> = records.iter().map(|(record, _)| record.as_str()).collect();
    let (records, ways) = (records.join(","), ways.join(","));
    format!(
        r#"{{"more":{more},"ok":true,"position":"{position}","records":[{records}],"serverTime":{now},"ways":[{ways}]}}"#
    )
}

/// Holds the answer of a peer, of whose records nothing was checked but that each is one.
#[derive(Debug)]
pub struct ExchangeAnswer {
    /// The records, and how each came there. One that cannot be read, which may be of a later version, costs only itself.
    pub records: Vec<(Result<Record, RecordError>, Way)>,
    /// How far they go.
    pub position: Position,
    /// Whether there are more.
    pub more: bool,
}

/// Parses the answer of a peer, which may have further fields.
///
/// # Errors
/// [`RecordError::Malformed`], for what no hub answers.
pub fn parse_answer(body: &[u8]) -> Result<ExchangeAnswer, RecordError> {
    if body.len() > EXCHANGE_ANSWER_MAX_BYTES {
        return Err(malformed("the answer is longer than that of any hub"));
    }
    let mut fields = Fields::parse(str::from_utf8(body).map_err(|_| malformed("the answer is not UTF-8"))?)?;
    if fields.optional_flag("ok")? != Some(true) {
        return Err(malformed("the answer is a refusal"));
    }
    let position = fields.text("position")?.parse();
    let position = position.map_err(|_| malformed("position is not one of a hub"))?;
    let more = fields.optional_flag("more")?.unwrap_or_default();
    let records = fields.items("records")?;
    if records.len() > EXCHANGE_MAX_RECORDS {
        return Err(malformed("the answer has more records than that of any hub"));
    }
    let ways = match fields.optional_items("ways")? {
        None => vec![Way::FARTHEST; records.len()],
        Some(ways) if ways.len() != records.len() => return Err(malformed("ways must be as many as records")),
        Some(ways) => {
            let ways: Option<Vec<_>> = ways.into_iter().map(|way| read_way(way.get())).collect();
            ways.ok_or_else(|| malformed("a way must be a distance of at most 8 and the number of a peer"))?
        }
    };
    Ok(ExchangeAnswer {
        records: records.into_iter().map(|record| Record::parse(record.get())).zip(ways).collect(),
        position,
        more,
    })
}
