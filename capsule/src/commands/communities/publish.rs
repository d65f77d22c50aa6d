//! `capsule communities publish`: what hubs list, as a signed file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rendezvous_protocol::base64;
use rendezvous_protocol::directory::envelope::{Record, Signed, VerifiedRecord};
use rendezvous_protocol::directory::limits::LIST_MAX_LIFETIME;
use rendezvous_protocol::directory::list;
use rendezvous_protocol::directory::record::Entry;
use rendezvous_protocol::key::PublicKey;
use serde_json::json;

use super::hub::{Hub, ListOfHub};
use crate::clock::Clock;
use crate::environment::{self, Environment};
use crate::failure::{Cause, Exit, Failure};
use crate::fetch::Fetcher;
use crate::files;
use crate::log::Log;
use crate::outcome::Outcome;
use crate::reader::TimeoutArguments;
use crate::secret;
use crate::settings::{SettingsError, private_key};
use crate::text;
use crate::values::parse_duration;

/// The name of the file.
const LIST: &str = "communities.json";

/// Arguments of `communities publish`.
#[derive(Args, Debug)]
pub(super) struct PublishListArguments {
    /// Address of a hub; may be given several times.
    #[arg(long = "hub", value_name = "URL", required = true, value_delimiter = ',', value_parser = Hub::parse)]
    hubs: Vec<Hub>,
    /// File with the private key: PKCS#8 in PEM, or the base64 of its DER.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Directory to write to; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "public/capsules")]
    out: PathBuf,
    /// How long the list is good, at most 30d.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "1d")]
    lifetime: Duration,
    /// Fewest entries to write a list of: a hub that has lost all it knew must not empty the one that is there.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    min_entries: usize,
    #[command(flatten)]
    timeout: TimeoutArguments,
    /// Print one line of JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
enum PublishListError {
    #[error("no hub answered")]
    NoHub,
    #[error("there are {found} entries, fewer than --min-entries {least}: nothing is written")]
    TooFew { found: usize, least: usize },
}

impl Cause for PublishListError {
    fn exit(&self) -> Exit {
        match self {
            Self::NoHub => Exit::Unreachable,
            Self::TooFew { .. } => Exit::Refused,
        }
    }
}

pub(super) fn publish(
    arguments: &PublishListArguments,
    environment: &Environment,
    clock: &Clock,
    log: &Log,
) -> Result<Outcome, Failure> {
    let key = private_key(arguments.key.as_deref(), environment, environment::PRIVATE_KEY)?;
    let key = key.ok_or(SettingsError::NoPrivateKey)?;
    let fetcher = Fetcher::new()?;
    let timeout = arguments.timeout.duration();
    clock.check_signing()?;
    let now = clock.now()?;
    let (mut lists, mut refused, mut unreachable) = (Vec::new(), 0, 0);
    for hub in &arguments.hubs {
        match hub.list(now, &fetcher, timeout) {
            Ok(ListOfHub { entries, refused: of_hub }) => {
                refused += of_hub;
                lists.push(entries);
            }
            Err(error) => {
                log.note(format_args!("{hub}: {error}"));
                unreachable += 1;
            }
        }
    }
    if lists.is_empty() {
        return Err(PublishListError::NoHub.into());
    }
    let entries = merge(lists.into_iter().flatten());
    let least = arguments.min_entries;
    if entries.len() < least {
        return Err(PublishListError::TooFew { found: entries.len(), least }.into());
    }
    let expires_at = now.after(arguments.lifetime.min(LIST_MAX_LIFETIME));
    let (file, written) = list::write(now, expires_at, entries.iter().filter_map(entry_of));
    let signature = base64::encode(&key.sign(file.as_bytes())) + "\n";
    files::create_directory(&arguments.out)?;
    let path = arguments.out.join(LIST);
    let beside = files::with_suffix(&path, ".sig");
    // The signature first: whoever reads the new list finds it.
    files::replace_all([(beside.as_path(), signature.as_bytes()), (path.as_path(), file.as_bytes())])?;
    let (path, left_out) = (secret::path(&path), entries.len() - written);
    Ok(if arguments.json {
        let result = json!({
            "ok": true, "file": path, "publicKey": key.public_key().to_string(), "issuedAt": now, "expiresAt": expires_at,
            "entries": written, "leftOut": left_out, "refused": refused, "unreachable": unreachable,
        });
        Outcome::json(&result, Exit::Good)
    } else {
        let until = format!("{} ({})", text::date(expires_at), text::distance(expires_at, now));
        let lines = text::fields(&[
            ("written", &path),
            ("publisher", &key.public_key()),
            ("entries", &written),
            ("left out", &left_out),
            ("refused", &refused),
            ("until", &until),
        ]);
        Outcome::text(lines, Exit::Good)
    })
}

fn entry_of(record: &VerifiedRecord) -> Option<&Signed<Entry>> {
    match record.record() {
        Record::Entry(entry) => Some(entry),
        Record::Tombstone(_) => None,
    }
}

/// Keeps of each origin and name the newest, and lets origins take turns: where there is not room for all, none takes
/// another's.
fn merge(entries: impl IntoIterator<Item = VerifiedRecord>) -> Vec<VerifiedRecord> {
    let mut of_origin: BTreeMap<PublicKey, BTreeMap<String, VerifiedRecord>> = BTreeMap::new();
    for entry in entries {
        let names = of_origin.entry(entry.record().origin()).or_default();
        let is_newer = names.get(entry.record().name()).is_none_or(|standing| standing.rank() < entry.rank());
        if is_newer {
            names.insert(entry.record().name().to_owned(), entry);
        }
    }
    let mut turns: Vec<_> = of_origin
        .into_values()
        .flat_map(|names| {
            let mut entries: Vec<_> = names.into_values().collect();
            entries.sort_by(|one, other| other.rank().cmp(&one.rank()));
            entries.into_iter().enumerate().collect::<Vec<_>>()
        })
        .collect();
    turns.sort_by_key(|(turn, _)| *turn);
    turns.into_iter().map(|(_, entry)| entry).collect()
}
