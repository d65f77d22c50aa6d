//! What must never be shown: private keys, invites, and user names and passwords in addresses.
//!
//! They are given in the wrong place by mistake (`--key "$(cat key.pem)"`, an address with a password), and then stand in
//! the very error that says so, whoever words it: the argument parser, a library, or a file name that cannot be read.
//! So everything that this program says of what went wrong passes through [`hide`].

use std::path::Path;

use rendezvous_protocol::mailbox::invite::INVITE_SCHEME;

use crate::text;

/// In the place of a key.
const HIDDEN_KEY: &str = "(a key, which is not shown)";
/// In the place of an invite.
const HIDDEN_INVITE: &str = "(an invite, which is not shown)";
/// In the place of a user's name and password.
const HIDDEN_USER: &str = "(not shown)";

/// In every PEM of a private key.
const PRIVATE_KEY: &str = "PRIVATE KEY";
const PEM_BEGIN: &str = "-----BEGIN";
const PEM_END: &str = "-----END";

/// How the base64 of private keys begins: PKCS#8 for Ed25519 with and without the public key, longer DER (RSA, elliptic
/// curves, anything encrypted), and OpenSSH's format.
const KEY_BEGINNINGS: [&str; 6] = ["MC4CAQ", "MFECAQ", "MHcCAQ", "MIG", "MII", "b3BlbnNzaC1rZXk"];
/// Fewer characters than these are a word that happens to begin so.
const KEY_MIN_CHARS: usize = 48;

/// Options whose values are public keys, or names that often are, and may be shown.
const PUBLIC_OPTIONS: [&str; 7] =
    ["--public-key", "--publisher-key", "--root-key", "--trusted-key", "--replacing", "--peer-id", "--user-id"];

/// Takes out of a text what must not be shown, be it of any kind or one of this process's own arguments.
pub fn hide(text: &str) -> String {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into()).collect();
    hide_all(text, &arguments)
}

/// Whether a private key in PEM is among this process's arguments.
pub fn is_among_arguments() -> bool {
    std::env::args_os().skip(1).any(|argument| argument.to_string_lossy().contains(PRIVATE_KEY))
}

/// Whether a text is, or has in it, what nobody but its owner should see.
pub fn is_secret(text: &str) -> bool {
    text.contains(PRIVATE_KEY)
        || base64_runs(text).any(is_private_der)
        || user_in(text).is_some()
        || hide_invites(text) != text
}

/// Whether a text may be a key, private or public: 32 bytes in base64 or hexadecimal have no mark that tells them apart.
pub fn looks_like_key(text: &str) -> bool {
    let text = text.trim();
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    let bare = text.trim_end_matches('=');
    (bare.len() == 43 && bare.bytes().all(is_base64))
        || (text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        || base64_runs(text).any(is_private_der)
}

/// Returns the name of a file as it may be shown: one that may be a key is not.
pub fn path(path: &Path) -> String {
    let name = path.to_string_lossy();
    if is_secret(&name) || looks_like_key(&name) {
        "(not shown: it may be a key)".to_owned()
    } else {
        text::printable(&name)
    }
}

fn hide_all(text: &str, arguments: &[String]) -> String {
    let mut shown = text.to_owned();
    let mut before = "";
    for argument in arguments {
        let (option, value) = match argument.split_once('=') {
            Some((option, value)) if option.starts_with("--") => (option, value),
            _ => (before, argument.as_str()),
        };
        let may_be_public = PUBLIC_OPTIONS.contains(&option);
        for item in std::iter::once(value).chain(value.split(',')) {
            if is_secret(item) || (!may_be_public && looks_like_key(item)) {
                let hidden = if user_in(item).is_some() { HIDDEN_USER } else { HIDDEN_KEY };
                for written in [item.to_owned(), text::printable(item), item.escape_debug().to_string()] {
                    shown = shown.replace(&written, hidden);
                }
            }
        }
        before = argument;
    }
    hide_users(&hide_invites(&hide_keys(&hide_pem(&shown))))
}

/// From the scheme of each invite to the end of its base64url.
fn hide_invites(text: &str) -> String {
    let mut parts = text.split(INVITE_SCHEME);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_end = |character: char| !(character.is_ascii_alphanumeric() || matches!(character, '-' | '_'));
        let (encoded, rest) = part.split_at(part.find(is_end).unwrap_or(part.len()));
        if encoded.len() >= KEY_MIN_CHARS {
            shown.push_str(HIDDEN_INVITE);
        } else {
            shown.push_str(INVITE_SCHEME);
            shown.push_str(encoded);
        }
        shown.push_str(rest);
    }
    shown
}

/// From the beginning of each block with a private key to its end, or to the end of what it stands in.
fn hide_pem(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, block)) = rest.split_once(PEM_BEGIN) {
        shown.push_str(before);
        let label = block.split("-----").next().unwrap_or_default();
        if !label.contains(PRIVATE_KEY) {
            shown.push_str(PEM_BEGIN);
            rest = block;
            continue;
        }
        shown.push_str(HIDDEN_KEY);
        let quoted = block.find('"').unwrap_or(block.len());
        let (inside, after) = block.split_at(quoted);
        rest = match inside.split_once(PEM_END) {
            // Its label, and five dashes.
            Some((_, end)) => {
                let end = end.split_once("-----").map_or("", |(_, after)| after);
                block.get(quoted - end.len()..).unwrap_or_default()
            }
            None => after,
        };
    }
    shown + rest
}

fn hide_keys(text: &str) -> String {
    let mut shown = text.to_owned();
    for run in base64_runs(text).filter(|run| is_private_der(run)) {
        shown = shown.replace(run, HIDDEN_KEY);
    }
    shown
}

/// Takes users and passwords out of addresses.
pub fn hide_users(text: &str) -> String {
    let is_end = |character: char| character.is_whitespace() || matches!(character, '"' | '\'' | '`' | '<' | '>' | ',');
    let mut shown = text.to_owned();
    for word in text.split(is_end) {
        if let Some(user) = user_in(word) {
            shown = shown.replace(&format!("{user}@"), &format!("{HIDDEN_USER}@"));
        }
    }
    shown
}

/// The user, and the password, in something like an address: all before the last `@`, from the scheme on where there is
/// one. Without a scheme there has to be a colon, or it is a mail address.
fn user_in(text: &str) -> Option<&str> {
    let (before, _) = text.rsplit_once('@')?;
    match before.rsplit_once("://") {
        Some((_, user)) => Some(user),
        None => before.contains(':').then_some(before),
    }
}

fn base64_runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !(character.is_ascii_alphanumeric() || matches!(character, '+' | '/' | '=')))
}

fn is_private_der(run: &str) -> bool {
    // An option's name may stand right before it.
    let run = run.trim_start_matches('=');
    run.len() >= KEY_MIN_CHARS && KEY_BEGINNINGS.iter().any(|beginning| run.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DER: &str = "MC4CAQAwBQYDK2VwBCIEIB8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8f";
    const PUBLIC: &str = "QwRr/kCSs+lJlOraFdzCDYqqB7ZY/TlU644O+4vcpd4=";

    #[test]
    fn private_keys_are_hidden_wherever_they_stand() {
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{DER}\n-----END PRIVATE KEY-----\n");
        for (text, shown) in [
            (format!("'{pem}' found"), format!("'{HIDDEN_KEY}\n' found")),
            (format!("'{}' found", pem.replace('\n', "\\n")), format!("'{HIDDEN_KEY}\\n' found")),
            (
                format!(r#"{{"error":"{}","ok":false}}"#, pem.get(..60).unwrap()),
                format!(r#"{{"error":"{HIDDEN_KEY}","ok":false}}"#),
            ),
            (format!("a {DER} b {DER}"), format!("a {HIDDEN_KEY} b {HIDDEN_KEY}")),
            (pem.replace("PRIVATE", "ENCRYPTED PRIVATE"), format!("{HIDDEN_KEY}\n")),
            (format!("{pem}{pem}"), format!("{HIDDEN_KEY}\n{HIDDEN_KEY}\n")),
        ] {
            assert_eq!(hide_all(&text, &[]), shown);
            assert!(is_secret(&text));
        }
        for text in
            ["-----BEGIN PUBLIC KEY-----", PUBLIC, "MIIX", "/MIIX/a/long/path/of/a/file/that/is/no/key/at/all.pem"]
        {
            assert_eq!(hide_all(text, &[]), text);
        }
    }

    #[test]
    fn invites_are_hidden_and_their_scheme_is_not() {
        let invite = format!("rendezvous:{}", "eyJrIjoi_-".repeat(9));
        assert_eq!(
            hide_all(&format!("'{invite}' and {invite}"), &[]),
            format!("'{HIDDEN_INVITE}' and {HIDDEN_INVITE}")
        );
        assert!(is_secret(&invite));
        for text in ["an invite begins with rendezvous: and", "rendezvous:short", "rendezvous: mailbox"] {
            assert_eq!(hide_all(text, &[]), text);
            assert!(!is_secret(text));
        }
    }

    #[test]
    fn users_in_addresses_are_hidden_and_hosts_are_not() {
        for (text, shown) in [
            ("at http://user:pass@host/a: no", "at http://(not shown)@host/a: no"),
            ("https://token@host,https://other", "https://(not shown)@host,https://other"),
            ("'http://user:pa/ss:w@rd@host'", "'http://(not shown)@host'"),
            ("user:pass@host", "(not shown)@host"),
            ("somebody@example.org, http://host/a@b", "somebody@example.org, http://(not shown)@b"),
            ("https://host:80/", "https://host:80/"),
        ] {
            assert_eq!(hide_all(text, &[]), shown);
        }
    }

    #[test]
    fn an_argument_is_hidden_as_a_whole_and_a_public_key_only_where_a_private_one_may_be() {
        let hidden = |text: &str, arguments: &[&str]| {
            hide_all(text, &arguments.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(hidden("no 'http://u:a b@h'", &["--beacon", "http://u:a b@h"]), "no '(not shown)'");
        let no_file = format!("{PUBLIC} cannot be read");
        assert_eq!(hidden(&no_file, &["--key", PUBLIC]), format!("{HIDDEN_KEY} cannot be read"));
        assert_eq!(hidden(&no_file, &[&format!("--key={PUBLIC}")]), format!("{HIDDEN_KEY} cannot be read"));
        assert_eq!(hidden(&no_file, &["--public-key", PUBLIC]), no_file);
        let hexadecimal = "0123456789abcdef".repeat(4);
        assert_eq!(hidden(&hexadecimal, &["--peer-id", &hexadecimal]), hexadecimal);
        assert_eq!(hidden(&hexadecimal, &["--key", &hexadecimal]), HIDDEN_KEY);
    }
}
