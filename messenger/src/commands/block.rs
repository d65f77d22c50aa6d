//! `rendezvous block`: whose messages are refused.

use clap::Args;
use rendezvous_capsule::failure::Failure;
use rendezvous_capsule::text;
use rendezvous_messenger::user::{Admission, Contact};
use serde_json::json;

use crate::account::Account;
use crate::ending::Report;
use crate::line;

const HELP: &str = "\
Examples:
  rendezvous block mallory
  rendezvous block mallory --remove
  rendezvous block --list
  rendezvous block --strangers
      whoever is not saved by `rendezvous add`

A message that is refused is not decrypted, but for that of a stranger while a
code of `rendezvous invite` can be redeemed: it may be a request with that code.
Its sender is told, and tries three times in all. No relay is asked: what waits
there is refused when it is fetched. What was fetched and not shown is dropped,
and not acknowledged. After --remove all comes that its sender has not given up
by then.";

/// Arguments of `block`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct BlockArguments {
    /// Whom to refuse: a saved name or an id.
    #[arg(value_name = "PEER", required_unless_present_any = ["list", "strangers"], conflicts_with_all = ["list", "strangers"])]
    peer: Option<String>,
    /// Refuse whoever is not a contact.
    #[arg(long, conflicts_with = "list")]
    strangers: bool,
    /// Refuse no more.
    #[arg(long, conflicts_with = "list")]
    remove: bool,
    /// Show who is refused.
    #[arg(long)]
    list: bool,
    /// Print JSON; with --list one line for each.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn block(arguments: &BlockArguments, account: &mut Account<'_>) -> Result<Report, Failure> {
    let BlockArguments { peer, strangers, remove, json, .. } = arguments;
    let verb = if *remove { "unblocked" } else { "blocked" };
    if *strangers {
        let mut profile = account.user.profile()?;
        profile.admission = if *remove { Admission::Everybody } else { Admission::Contacts };
        account.user.set_profile(&profile)?;
        let value = json!({ "ok": true, "strangers": verb });
        return Ok(Report::done(*json, &value, format!("{verb} whoever is not a contact\n")));
    }
    let Some(peer) = peer else { return list(*json, account) };
    let Contact { id, .. } = account.peer(peer)?;
    let is_changed = account.user.set_blocked(id, !remove)?;
    let value = json!({ "ok": true, "fingerprint": id.to_string(), "state": verb, "changed": is_changed });
    account.log.note(format_args!("{verb} {} ({id})", text::printable(peer)));
    Ok(if *json { Report::text(line::ascii(&value)) } else { Report::text(String::new()) })
}

fn list(json: bool, account: &Account<'_>) -> Result<Report, Failure> {
    let (mut rows, mut lines) = (Vec::new(), String::new());
    for Contact { id, name, is_blocked, .. } in account.user.contacts()? {
        if is_blocked {
            let name = name.unwrap_or_default();
            lines.push_str(&line::ascii(&json!({ "fingerprint": id.to_string(), "name": name })));
            rows.push(vec![id.to_string(), text::printable(&name)]);
        }
    }
    if matches!(account.user.profile()?.admission, Admission::Contacts) {
        account.log.note(format_args!("and whoever is not a contact"));
    }
    Ok(Report::text(if json { lines } else { line::columns(&rows, account.is_retalk) }))
}
