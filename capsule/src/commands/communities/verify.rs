//! `capsule communities verify`: checks a list of communities as a reader does, and says what is in it.

use std::collections::BTreeMap;

use clap::Args;
use rendezvous_protocol::directory::envelope::Record;
use rendezvous_protocol::directory::limits::LIST_MAX_BYTES;
use rendezvous_protocol::directory::list::{self, CommunityList, ListError, ListRules};
use rendezvous_protocol::directory::record::Entry;
use rendezvous_protocol::key::PublicKey;
use serde_json::json;

use crate::clock::Clock;
use crate::environment::{self, Environment};
use crate::failure::{Exit, Failure};
use crate::fetch::Fetcher;
use crate::keys;
use crate::outcome::Outcome;
use crate::reader::TimeoutArguments;
use crate::refusal::Refusal;
use crate::settings::SettingsError;
use crate::source::{SIGNATURE_MAX_BYTES, Source};
use crate::text;
use crate::trust::NewestSeenArguments;
use crate::values::parse_public_key;

/// Arguments of `communities verify`.
#[derive(Args, Debug)]
pub(super) struct VerifyListArguments {
    /// The list: a file, or an http(s) URL. Redirects are not followed.
    #[arg(value_name = "FILE_OR_URL")]
    list: String,
    /// The publisher's public key (base64), or a file with it (base64, or SPKI in PEM). For cosign more than one:
    /// comma-separated, or given again.
    #[arg(long = "public-key", value_name = "KEY_OR_FILE", allow_hyphen_values = true, value_delimiter = ',')]
    public_keys: Vec<String>,
    #[command(flatten)]
    newest_seen: NewestSeenArguments,
    #[command(flatten)]
    timeout: TimeoutArguments,
    /// Print one line of JSON, with every entry.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn verify(
    arguments: &VerifyListArguments,
    environment: &Environment,
    clock: &Clock,
) -> Result<Outcome, Failure> {
    let key = match arguments.public_keys.as_slice() {
        [key] => keys::public_key(key)?,
        [] => environment.parsed(environment::PUBLIC_KEY, parse_public_key)?.ok_or(SettingsError::NoPublicKey)?,
        keys => return Err(SettingsError::SeveralPublicKeys { count: keys.len() }.into()),
    };
    let (fetcher, timeout) = (Fetcher::new()?, arguments.timeout.duration());
    let source = Source::new(&arguments.list);
    let file = source.read(LIST_MAX_BYTES, &fetcher, timeout)?.bytes;
    let signature = source.signature().read(SIGNATURE_MAX_BYTES, &fetcher, timeout)?.bytes;
    let rules = ListRules { key, now: clock.now()?, newest: arguments.newest_seen.newest_seen };
    match list::read(&file, &signature, &rules) {
        Ok(list) => Ok(good(&source, &list, &rules, arguments.json)),
        Err(error) => {
            let refusal = Refusal::new(&source, error.code(), &error, &advice(&error));
            let fields = json!({ "list": source.to_string(), "publicKey": key.to_string() });
            Ok(clock.explain(refusal).outcome(arguments.json, fields))
        }
    }
}

const fn advice(error: &ListError) -> &'static str {
    match error {
        ListError::TooLarge { .. } | ListError::Malformed(_) | ListError::LifetimeTooLong => {
            "have it made anew: capsule communities publish"
        }
        ListError::SignatureInvalid => "compare the key with the publisher's; if it is right, do not use this list",
        ListError::UnsupportedVersion { .. } => "use a newer version of this program",
        ListError::Rollback { .. } => "keep the newer one: the host may be showing an old copy",
        ListError::NotYetValid { .. } => "set this machine's clock",
        ListError::Expired { .. } => "ask the publisher for a new one",
    }
}

fn good(source: &Source, list: &CommunityList, rules: &ListRules, as_json: bool) -> Outcome {
    let mut refused: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut entries: Vec<(PublicKey, &Entry)> = Vec::new();
    for entry in &list.entries {
        match entry.as_ref().map(|entry| entry.record()) {
            Ok(Record::Entry(entry)) => entries.push((entry.public_key(), entry.payload())),
            Ok(Record::Tombstone(_)) => {}
            Err(error) => *refused.entry(error.code()).or_default() += 1,
        }
    }
    if as_json {
        let entries: Vec<_> =
            entries.iter().map(|(origin, entry)| json!({ "origin": origin.to_string(), "entry": entry })).collect();
        let result = json!({
            "ok": true, "list": source.to_string(), "publicKey": rules.key.to_string(), "now": rules.now,
            "issuedAt": list.issued_at, "expiresAt": list.expires_at, "refused": refused, "entries": entries,
        });
        return Outcome::json(&result, Exit::Good);
    }
    let time = |time| format!("{} ({})", text::date(time), text::distance(time, rules.now));
    let bad = match refused.values().sum::<usize>() {
        0 => "0".to_owned(),
        all => format!("{all} ({})", text::counts(&refused)),
    };
    let lines = text::fields(&[
        ("good", &source),
        ("publisher", &rules.key),
        ("issued", &time(list.issued_at)),
        ("expires", &time(list.expires_at)),
        ("entries", &entries.len()),
        ("refused", &bad),
    ]);
    let row = |(origin, entry): &(PublicKey, &Entry)| {
        [entry.name.clone(), origin.to_string(), text::shortened(&entry.description)]
    };
    let rows: Vec<_> = entries.iter().map(row).collect();
    Outcome::text(if rows.is_empty() { lines } else { format!("{lines}\n{}", text::table(&rows)) }, Exit::Good)
}
