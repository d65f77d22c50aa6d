//! `capsule register`: a ticket key's owner asks a beacon for the mail by which the key is registered.

use std::path::{Path, PathBuf};

use clap::Args;
use rendezvous_protocol::code::Code;
use rendezvous_protocol::community::Community;
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::registration::{EmailAddress, Registration, RegistrationError, RegistrationPayload};
use serde::Deserialize;
use serde_json::json;
use ureq::http::StatusCode;

use crate::beacon::{Beacon, HTML_HINT, looks_like_html};
use crate::clock::Clock;
use crate::environment::{self, Environment};
use crate::failure::{Cause, Exit, Failure};
use crate::fetch::{Exchanged, FetchError, Fetcher};
use crate::outcome::Outcome;
use crate::reader::TimeoutArguments;
use crate::settings::{SettingsError, community, private_key};
use crate::text;
use crate::values::{parse_community, parse_email};

/// Bytes of a beacon's answer.
const ANSWER_MAX_BYTES: usize = 16 * 1_024;

const REGISTER_HELP: &str = "\
Examples:
  capsule register https://beacon.example.org --email zoe@a.example \\
    --community chess --key node-key.pem
      the beacon sends a link; whoever opens it presses a button there
  capsule announce --key node-key.pem --peer-id my-server --community chess \\
    --beacon https://beacon.example.org
      afterwards, with the same key

What it is for:
  A community may list only keys whose owner has confirmed an address of e-mail:
  beacons answer others with REGISTRATION_REQUIRED. The link is good for an
  hour, and once. Registering again, with the same address or another one, makes
  another link; what was confirmed before counts until then.
  The answer is the same for every address, also for one that has had its mails
  of the day: then no mail goes out.

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_COMMUNITY             --community
  RENDEZVOUS_ANNOUNCE_PRIVATE_KEY  the private key itself: PKCS#8 in PEM, or the
                                   base64 of its DER; --key FILE wins
  RENDEZVOUS_PASSPHRASE_FILE       --passphrase-file

Exit codes:
  0  the beacon has taken it, and sends the link
  1  refused: the beacon does not take it
  2  usage: a wrong argument or variable, or a key that cannot be read
  3  could not reach: the beacon has not answered";

/// Arguments of `register`.
#[derive(Args, Debug)]
#[command(after_long_help = REGISTER_HELP)]
pub(crate) struct RegisterArguments {
    /// Address of the beacon.
    #[arg(value_name = "URL", value_parser = Beacon::parse)]
    pub(crate) beacon: Beacon,
    /// Address that the link is sent to. Only the beacon and its operator see it.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_email)]
    pub(crate) email: EmailAddress,
    /// Name of the community that is to list the key. [default: mainnet]
    #[arg(long, value_name = "NAME", value_parser = parse_community)]
    pub(crate) community: Option<Community>,
    /// File with the private key: PKCS#8 in PEM, or the base64 of its DER.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) timeout: TimeoutArguments,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
enum RegisterError {
    #[error("the host in the address of the beacon cannot be signed for: it is not written as in an origin")]
    NoOrigin,
    #[error("beacons would refuse it: {0}")]
    NotGood(RegistrationError),
}

impl Cause for RegisterError {}

/// What a beacon says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    ok: bool,
    code: Option<String>,
    detail: Option<String>,
    retry_after_ms: Option<u64>,
}

/// Why a beacon does not send the link.
struct Refused {
    exit: Exit,
    code: String,
    detail: String,
    retry_after_ms: Option<u64>,
}

impl Refused {
    fn by(error: &FetchError) -> Self {
        let exit = if error.is_answer() { Exit::Refused } else { Exit::Unreachable };
        Self { exit, code: error.code().to_owned(), detail: error.to_string(), retry_after_ms: None }
    }
}

/// Runs the command.
pub(crate) fn register(
    arguments: &RegisterArguments,
    environment: &Environment,
    clock: &Clock,
) -> Result<Outcome, Failure> {
    let RegisterArguments { beacon, email, .. } = arguments;
    let key = private_key(arguments.key.as_deref().map(Path::new), environment, environment::ANNOUNCE_PRIVATE_KEY)?;
    let key = key.ok_or(SettingsError::NoTicketKey)?;
    let community = community(arguments.community.as_ref(), environment)?;
    let audience = origin_of(beacon).ok_or(RegisterError::NoOrigin)?;
    clock.check_signing()?;
    let issued_at = clock.now()?;
    let payload = RegistrationPayload { audience, community: community.clone(), email: email.clone(), issued_at };
    let registration = Registration::sign(payload, &key).map_err(RegisterError::NotGood)?;
    let body = format!(r#"{{"registration":{}}}"#, registration.to_json());
    let url = format!("{beacon}/register");
    let answer = Fetcher::new()?.exchange(&url, Some(&body), ANSWER_MAX_BYTES, arguments.timeout.duration());
    let refused = match &answer {
        Ok(answer) => understand(answer),
        Err(error) => Some(Refused::by(error)),
    };
    let exit = refused.as_ref().map_or(Exit::Good, |refused| refused.exit);
    let (beacon, public_key) = (beacon.to_string(), key.public_key().to_string());
    if arguments.json {
        // Without the address: what runs from a schedule writes this into logs.
        let result = json!({
            "ok": refused.is_none(),
            "beacon": beacon,
            "community": community.as_str(),
            "publicKey": public_key,
            "issuedAt": issued_at,
            "code": refused.as_ref().map(|refused| &refused.code),
            "error": refused.as_ref().map(|refused| &refused.detail),
            "retryAfterMs": refused.as_ref().and_then(|refused| refused.retry_after_ms),
        });
        return Ok(Outcome::json(&result, exit));
    }
    let said = match &refused {
        None => "taken".to_owned(),
        Some(Refused { exit: Exit::Unreachable, detail, .. }) => format!("not reached: {detail}"),
        Some(Refused { code, detail, .. }) => format!("refused, {code}: {detail}"),
    };
    let fields =
        text::fields(&[("beacon", &beacon), ("community", &community), ("key", &public_key), ("registration", &said)]);
    let next = if refused.is_none() {
        format!(
            "\nA link goes to the address, unless it has had its mails of today. Open it within an hour, and press the\n\
             button there. From then on the key is listed:\n  \
             announce  capsule announce --beacon {beacon} --community {community} --key FILE --peer-id NAME\n"
        )
    } else {
        String::new()
    };
    Ok(Outcome::text(fields + &next, exit))
}

/// Returns the origin that a beacon of this address answers to.
fn origin_of(beacon: &Beacon) -> Option<Origin> {
    let (scheme, rest) = beacon.url().as_str().split_once("://")?;
    Origin::parse(&format!("{scheme}://{}", rest.split('/').next()?))
}

/// Returns why a beacon does not send the link, if it does not.
fn understand(Exchanged { status, retry_after, body, .. }: &Exchanged) -> Option<Refused> {
    let status_alone = FetchError::Status { status: *status, retry_after: *retry_after };
    if status.is_server_error() {
        return Some(Refused { exit: Exit::Unreachable, ..Refused::by(&status_alone) });
    }
    let reply = serde_json::from_slice::<Reply>(body);
    let code = if let Ok(Reply { code, .. }) = &reply { code.as_deref() } else { None };
    if *status == StatusCode::NOT_FOUND && code != Some(Code::CommunityUnknown.as_str()) {
        // The path is not there: a host of files says so, too.
        return Some(Refused {
            exit: Exit::Refused,
            code: Code::NotFound.as_str().to_owned(),
            detail: "this beacon registers nobody".to_owned(),
            retry_after_ms: None,
        });
    }
    match reply {
        Ok(Reply { ok: true, .. }) if status.is_success() => None,
        Ok(Reply { ok: false, code: Some(code), detail, retry_after_ms }) => Some(Refused {
            exit: Exit::Refused,
            code: text::printable(&code),
            detail: text::printable(&detail.unwrap_or_default()),
            retry_after_ms,
        }),
        _ => {
            let hint = if looks_like_html(body) { HTML_HINT } else { "" };
            let Refused { code, detail, .. } = Refused::by(&status_alone);
            Some(Refused { exit: Exit::Refused, code, detail: detail + hint, retry_after_ms: None })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_for_the_origin_of_the_address_that_is_asked() {
        for (address, origin) in [
            ("https://beacon.example", "https://beacon.example"),
            ("https://BEACON.example:443/eu/", "https://beacon.example"),
            ("http://[::1]:8787/eu", "http://[::1]:8787"),
        ] {
            let origin_of = origin_of(&Beacon::parse(address).unwrap());
            assert_eq!(origin_of.as_ref().map(Origin::as_str), Some(origin), "{address}");
        }
    }

    #[test]
    fn only_a_beacons_word_is_taken_for_yes() {
        let answer = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            let refused = understand(&Exchanged { status, retry_after: None, content_type: None, body: body.into() });
            refused.map(|refused| (refused.exit, refused.code, refused.retry_after_ms))
        };
        assert_eq!(answer(202, r#"{"ok":true,"serverTime":1}"#), None);
        let asks = r#"{"ok":false,"code":"THROTTLED","detail":"later","retryAfterMs":3000}"#;
        for (status, body, exit, code, wait) in [
            (429, asks, Exit::Refused, "THROTTLED", Some(3_000)),
            (202, r#"{"ok":false}"#, Exit::Refused, "HTTP_STATUS", None),
            (202, "<html>", Exit::Refused, "HTTP_STATUS", None),
            (403, r#"{"ok":true}"#, Exit::Refused, "HTTP_STATUS", None),
            (404, r#"{"ok":false,"code":"NOT_FOUND"}"#, Exit::Refused, "NOT_FOUND", None),
            (404, "<html>", Exit::Refused, "NOT_FOUND", None),
            (404, r#"{"ok":false,"code":"COMMUNITY_UNKNOWN"}"#, Exit::Refused, "COMMUNITY_UNKNOWN", None),
            (500, r#"{"ok":false,"code":"INTERNAL"}"#, Exit::Unreachable, "HTTP_STATUS", None),
        ] {
            assert_eq!(answer(status, body), Some((exit, code.to_owned(), wait)), "{status} {body}");
        }
    }
}
