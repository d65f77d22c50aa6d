//! A hub, as this program asks it. Nothing that it says is believed but what proves itself.

use std::fmt;
use std::time::Duration;

use rendezvous_protocol::beacon_url::BeaconUrl;
use rendezvous_protocol::directory::envelope::{Record, VerifiedRecord};
use rendezvous_protocol::directory::limits::{ENTRY_MAX_BYTES, HUB_MAX_RECORDS};
use rendezvous_protocol::time::UnixMillis;
use serde::Deserialize;
use serde_json::value::RawValue;
use ureq::http::Request;
use ureq::http::header::CONTENT_TYPE;

use crate::fetch::{FetchError, Fetched, Fetcher};
use crate::text;

/// Entries that are asked for at a time: the most that a hub gives.
const PAGE: usize = 100;

/// Bytes of an answer with so many entries, and of what is around them.
const PAGE_MAX_BYTES: usize = (PAGE + 1) * ENTRY_MAX_BYTES;

/// Bytes of an answer to a record.
const ANSWER_MAX_BYTES: usize = 16 * 1_024;

/// The address of a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hub(BeaconUrl);

impl fmt::Display for Hub {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What a hub did with a record.
#[derive(Debug)]
pub(super) enum Put {
    /// It lists it.
    Taken,
    /// It does not.
    Refused {
        /// By which rule.
        code: String,
        /// In its words.
        detail: String,
    },
    /// Nobody knows.
    Unreachable(FetchError),
}

/// What a hub lists.
#[derive(Debug)]
pub(super) struct ListOfHub {
    /// What is good.
    pub(super) entries: Vec<VerifiedRecord>,
    /// How many are not.
    pub(super) refused: usize,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    entries: Vec<&'a RawValue>,
    total: usize,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    detail: String,
}

impl Hub {
    /// Reads an address.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        BeaconUrl::parse(text).map(Self).map_err(|error| format!("must be the address of a hub: {error}"))
    }

    /// Sends a record.
    pub(super) fn put(&self, record: &Record, fetcher: &Fetcher, timeout: Duration) -> Put {
        let url = format!("{}/v1/communities/{}", self.0, record.name());
        let request = Request::put(url).header(CONTENT_TYPE, "application/json").body(record.to_json().into_bytes());
        let answer = request
            .map_err(|error| FetchError::BadUrl { reason: error.to_string() })
            .and_then(|request| fetcher.send(request, ANSWER_MAX_BYTES, timeout));
        match answer {
            Err(error) => Put::Unreachable(error),
            Ok(answer) if answer.status().is_success() => Put::Taken,
            Ok(answer) => match serde_json::from_slice(answer.body()) {
                Ok(Problem { code, detail }) => {
                    Put::Refused { code: text::printable(&code), detail: text::printable(&detail) }
                }
                Err(_) => Put::Unreachable(FetchError::Status { status: answer.status(), retry_after: None }),
            },
        }
    }

    /// Reads everything that is listed, a page after the other.
    pub(super) fn list(&self, now: UnixMillis, fetcher: &Fetcher, timeout: Duration) -> Result<ListOfHub, FetchError> {
        let (mut list, mut read) = (ListOfHub { entries: Vec::new(), refused: 0 }, 0);
        while read < HUB_MAX_RECORDS {
            let url = format!("{}/v1/communities?limit={PAGE}&offset={read}", self.0);
            let Fetched { body, .. } = fetcher.get(&url, PAGE_MAX_BYTES, timeout);
            let body = body?;
            let page: Page<'_> = serde_json::from_slice(&body)
                .map_err(|error| FetchError::Broken { reason: format!("it is not a list of communities: {error}") })?;
            for entry in page.entries.iter().take(PAGE) {
                match Record::parse_entry(entry.get()).and_then(|record| record.verify_for_reader(now)) {
                    Ok(entry) => list.entries.push(entry),
                    Err(_) => list.refused += 1,
                }
            }
            read += PAGE;
            if page.entries.is_empty() || read >= page.total {
                break;
            }
        }
        Ok(list)
    }
}
