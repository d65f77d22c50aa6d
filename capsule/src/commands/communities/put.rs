//! `capsule communities put` and `remove`: what an origin says of a community, or that it says nothing any more.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rendezvous_protocol::base64;
use rendezvous_protocol::community::Community;
use rendezvous_protocol::directory::envelope::{Record, Signed};
use rendezvous_protocol::directory::limits::{BEACON_ID_BYTES, BODY_MAX_BYTES, ENTRY_MAX_LIFETIME};
use rendezvous_protocol::directory::record::{Entry, RecordError, Tombstone};
use rendezvous_protocol::envelope::read_payload;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::time::UnixMillis;
use serde_json::{Map, Value, json};

use super::hub::{Hub, Put};
use crate::clock::Clock;
use crate::environment::{self, Environment};
use crate::failure::{Cause, Exit, Failure};
use crate::fetch::Fetcher;
use crate::files::{self, read_file};
use crate::log::Log;
use crate::outcome::Outcome;
use crate::reader::TimeoutArguments;
use crate::settings::{SettingsError, private_key};
use crate::source::SourceError;
use crate::text;
use crate::values::{parse_community, parse_duration};

const PUT_HELP: &str = "\
Example of a file:
  {\"name\":\"chess\",\"access\":\"open\",\"description\":\"Blitz and slow games\",
   \"tags\":[\"games\"],\"beacons\":[{\"url\":\"https://beacon.example\"}],
   \"capsules\":[\"https://static.example/chess/peers.json\"]}

Addresses are https, with a name and not a number. A beacon without an \"id\" is
given one, 16 random bytes, and it is written into the file: the ids decide which
beacons a community's peers use, and stay as they are.

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_CAPSULE_PRIVATE_KEY  the private key itself; --key FILE wins
  RENDEZVOUS_PASSPHRASE_FILE      --passphrase-file
  SOURCE_DATE_EPOCH               the time to sign instead of the clock's, in
                                  seconds since 1970
  ALL_PROXY, HTTPS_PROXY, HTTP_PROXY  the first that is set is the proxy of all
                                      requests, except to hosts in NO_PROXY
  SSL_CERT_FILE, SSL_CERT_DIR         whom to believe instead of Mozilla's list";

/// To whom a record goes, and who signs it.
#[derive(Args, Debug)]
pub(super) struct SentArguments {
    /// Address of a hub; may be given several times.
    #[arg(long = "hub", value_name = "URL", required = true, value_delimiter = ',', value_parser = Hub::parse)]
    pub(super) hubs: Vec<Hub>,
    /// File with the private key: PKCS#8 in PEM, or the base64 of its DER.
    #[arg(long, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    #[command(flatten)]
    pub(super) timeout: TimeoutArguments,
    /// Print one line of JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Arguments of `communities put`.
#[derive(Args, Debug)]
#[command(after_long_help = PUT_HELP)]
pub(super) struct PutArguments {
    /// File that describes the community.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// How long it is listed, at most 30d.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "30d")]
    pub(super) lifetime: Duration,
    #[command(flatten)]
    pub(super) sent: SentArguments,
}

/// Arguments of `communities remove`.
#[derive(Args, Debug)]
pub(super) struct RemoveArguments {
    /// Name of the community.
    #[arg(value_name = "NAME", value_parser = parse_community)]
    pub(super) name: Community,
    #[command(flatten)]
    pub(super) sent: SentArguments,
}

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
enum PutError {
    #[error("{} does not describe a community: {}", .path.display(), text::printable(.reason))]
    NotAnEntry { path: PathBuf, reason: String },
    #[error("hubs would refuse it: {0}")]
    NotGood(RecordError),
    #[error("the system has no randomness to make the id of a beacon of")]
    NoRandomness,
}

impl Cause for PutError {}

pub(super) fn put(
    arguments: &PutArguments,
    environment: &Environment,
    clock: &Clock,
    log: &Log,
) -> Result<Outcome, Failure> {
    let key = origin_key(&arguments.sent, environment)?;
    clock.check_signing()?;
    let now = clock.now()?;
    let path = &arguments.file;
    let not_an_entry = |reason: String| PutError::NotAnEntry { path: path.clone(), reason };
    let bytes = read_file(path, BODY_MAX_BYTES).map_err(|error| SourceError::File { path: path.clone(), error })?;
    let parsed: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|error| not_an_entry(error.to_string()))?;
    let (mut fields, is_changed) = with_ids(parsed)?;
    let written = fields.clone();
    for (field, value) in [("updated", now), ("expiresAt", now.after(arguments.lifetime.min(ENTRY_MAX_LIFETIME)))] {
        if fields.insert(field.to_owned(), json!(value)).is_some() {
            return Err(not_an_entry(format!("{field} is what this program fills in")).into());
        }
    }
    for (field, absent) in
        [("capsules", json!([])), ("description", json!("")), ("tags", json!([])), ("beacons", json!([]))]
    {
        fields.entry(field).or_insert(absent);
    }
    let entry =
        read_payload::<Entry>(&Value::Object(fields).to_string()).map_err(|error| not_an_entry(error.to_string()))?;
    let record = Record::Entry(Box::new(Signed::sign(entry, &key).map_err(PutError::NotGood)?));
    // As a hub would, so that what is wrong is known before anybody is asked.
    let record =
        Record::parse(&record.to_json()).and_then(|record| record.verify(now, domain_of)).map_err(PutError::NotGood)?;
    if is_changed {
        let text = serde_json::to_string_pretty(&written).unwrap_or_default() + "\n";
        files::replace(path, text.as_bytes())?;
        log.note(format_args!("{}: ids were given to beacons without one", path.display()));
    }
    send(record.record(), &arguments.sent, now)
}

fn domain_of(name: &str) -> &str {
    psl::domain_str(name).unwrap_or(name)
}

/// Gives ids to beacons that have none, and says whether there are any.
fn with_ids(mut fields: Map<String, Value>) -> Result<(Map<String, Value>, bool), PutError> {
    let mut is_changed = false;
    let beacons = fields.get_mut("beacons").and_then(Value::as_array_mut);
    for beacon in beacons.into_iter().flatten().filter_map(Value::as_object_mut) {
        if !beacon.contains_key("id") {
            let mut id = [0; BEACON_ID_BYTES];
            getrandom::fill(&mut id).map_err(|_| PutError::NoRandomness)?;
            beacon.insert("id".to_owned(), json!(base64::encode(&id)));
            is_changed = true;
        }
    }
    Ok((fields, is_changed))
}

pub(super) fn remove(
    arguments: &RemoveArguments,
    environment: &Environment,
    clock: &Clock,
) -> Result<Outcome, Failure> {
    let key = origin_key(&arguments.sent, environment)?;
    clock.check_signing()?;
    let now = clock.now()?;
    let tombstone = Tombstone { name: arguments.name.as_str().to_owned(), updated: now };
    let record = Record::Tombstone(Signed::sign(tombstone, &key).map_err(PutError::NotGood)?);
    send(&record, &arguments.sent, now)
}

fn origin_key(arguments: &SentArguments, environment: &Environment) -> Result<PrivateKey, Failure> {
    let key = private_key(arguments.key.as_deref().map(Path::new), environment, environment::PRIVATE_KEY)?;
    Ok(key.ok_or(SettingsError::NoPrivateKey)?)
}

/// Sends a record to all hubs. What one does not take, another may.
fn send(record: &Record, arguments: &SentArguments, now: UnixMillis) -> Result<Outcome, Failure> {
    let fetcher = Fetcher::new()?;
    let timeout = arguments.timeout.duration();
    let answers: Vec<_> = arguments.hubs.iter().map(|hub| (hub, hub.put(record, &fetcher, timeout))).collect();
    let has = |is: fn(&Put) -> bool| answers.iter().any(|(_, answer)| is(answer));
    let exit = if has(|answer| matches!(answer, Put::Refused { .. })) {
        Exit::Refused
    } else if has(|answer| matches!(answer, Put::Unreachable(_))) {
        Exit::Unreachable
    } else {
        Exit::Good
    };
    let (name, origin) = (record.name(), record.origin().to_string());
    if arguments.json {
        let hubs: Vec<_> = answers
            .iter()
            .map(|(hub, answer)| {
                let (code, error) = match answer {
                    Put::Taken => (None, None),
                    Put::Refused { code, detail } => (Some(code.clone()), Some(detail.clone())),
                    Put::Unreachable(error) => (Some(error.code().to_owned()), Some(error.to_string())),
                };
                json!({ "hub": hub.to_string(), "ok": code.is_none(), "code": code, "error": error })
            })
            .collect();
        let result = json!({
            "ok": exit == Exit::Good, "name": name, "origin": origin, "updated": now, "hubs": hubs,
        });
        return Ok(Outcome::json(&result, exit));
    }
    let mut lines = text::fields(&[("name", &name), ("origin", &origin)]);
    for (hub, answer) in &answers {
        let said = match answer {
            Put::Taken => "taken".to_owned(),
            Put::Refused { code, detail } => format!("refused, {code}: {detail}"),
            Put::Unreachable(error) => format!("not reached: {error}"),
        };
        lines.push_str(&text::fields(&[(&hub.to_string(), &said)]));
    }
    Ok(Outcome::text(lines, exit))
}
