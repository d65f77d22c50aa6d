//! What people may be shown of what strangers wrote, and of what was given in the wrong place: private keys, invites, and
//! user names and passwords in addresses are not shown.
//!
//! Such secrets are given by mistake (`--key "$(cat key.pem)"`, an address with a password), and then stand in the very
//! error that says so, whoever words it: the argument parser, a library, or a file name that cannot be read. So
//! everything that a program says of what went wrong passes through [`hide`], or [`error`].

use crate::mailbox::invite::INVITE_SCHEME;

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
/// Fewer characters of base64 than these are a word, and not what is left of a key: they are less than 30 bytes.
const KEY_MIN_CHARS: usize = 40;

/// Options whose values are public keys, or names that often are, and may be shown.
const PUBLIC_OPTIONS: [&str; 7] =
    ["--public-key", "--publisher-key", "--root-key", "--trusted-key", "--replacing", "--peer-id", "--user-id"];

/// Returns whether a private key in PEM is among a program's arguments.
pub fn has_private_key(arguments: &[String]) -> bool {
    arguments.iter().any(|argument| argument.contains(PRIVATE_KEY))
}

/// Returns whether a text is, or has in it, what nobody but its owner should see.
pub fn is_secret(text: &str) -> bool {
    is_key_or_invite(text) || user_in(text).is_some()
}

/// Returns whether a text is, or has in it, a private key or an invite.
pub fn is_key_or_invite(text: &str) -> bool {
    text.contains(PRIVATE_KEY) || base64_runs(text).any(is_private_der) || hide_invites(text) != text
}

/// Returns whether a text may be a key, private or public, or most of one: 32 bytes in base64 or hexadecimal have no mark
/// that tells them apart, nor has a private key whose beginning is missing. What names its scheme is an address: some have
/// hashes in them.
pub fn looks_like_key(text: &str) -> bool {
    let text = text.trim();
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    let bare = text.trim_end_matches('=');
    (bare.len() == 43 && bare.bytes().all(is_base64url))
        || (text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        || base64_runs(text).any(is_private_der)
        || (!text.contains("://") && base64_runs(text).any(is_key_or_part))
}

/// Returns whether base64 reads as the name of a file in directories: it has more slashes than base64, where one in 64 is, and
/// is not [random](is_random). Of a million keys some ten do not pass for one.
fn is_path(run: &str) -> bool {
    run.bytes().filter(|byte| *byte == b'/').count() * 12 >= run.len() && !is_random(run)
}

/// Returns whether capitals, small letters and digits take turns as in base64, where they do two times out of three.
fn is_random(run: &str) -> bool {
    let class = |byte: u8| match byte {
        b'A'..=b'Z' => 0,
        b'a'..=b'z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    };
    let turns = run.bytes().zip(run.bytes().skip(1)).filter(|(one, next)| class(*one) != class(*next)).count();
    let has = |wanted: u8| run.bytes().any(|byte| class(byte) == wanted);
    turns * 5 >= run.len() * 2 && has(0) && has(1) && has(2)
}

/// Returns what stands in base64 from its beginning on and after each slash, long enough for a key: the key may be in a
/// directory. No more of each than a key has.
fn in_directories(run: &str) -> impl Iterator<Item = &str> {
    const KEY_CHARS: usize = 64;
    let starts = std::iter::once(0).chain(run.match_indices('/').map(|(at, _)| at + 1));
    let rest = starts.filter_map(|start| run.get(start..)).filter(|rest| rest.len() >= KEY_MIN_CHARS);
    rest.map(|rest| rest.get(..KEY_CHARS).unwrap_or(rest))
}

/// Writes what a stranger wrote, with everything escaped that could move the cursor, change colours or reorder the line.
pub fn printable(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        match character {
            // Debug escapes these for the sake of its quotes, of which there are none here.
            '"' | '\'' | '\\' => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}

/// Writes the lines of an error that repeats arguments as they came, as [`hide`] and [`printable`] leave them. A line end in an
/// argument is escaped too: it could pretend to be a line of the program's.
pub fn error(text: &str, arguments: &[String]) -> String {
    let mut shown = hide(text.trim_end(), arguments);
    for argument in arguments {
        let value = argument.split_once('=').map_or("", |(_, value)| value);
        for part in [argument, value] {
            let printable = printable(part);
            if printable != part {
                shown = shown.replace(part, &printable);
            }
        }
    }
    shown.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// Takes out of a text what must not be shown, be it of any kind or one of the program's own arguments.
pub fn hide(text: &str, arguments: &[String]) -> String {
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
                for written in [item.to_owned(), printable(item), item.escape_debug().to_string()] {
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
    in_directories(run.trim_start_matches('='))
        .any(|key| KEY_BEGINNINGS.iter().any(|beginning| key.starts_with(beginning)) && !is_path(key))
}

fn is_key_or_part(run: &str) -> bool {
    (run.len() >= KEY_MIN_CHARS && !is_path(run)) || in_directories(run).any(is_random)
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
            assert_eq!(hide(&text, &[]), shown);
            assert!(is_secret(&text));
        }
        for text in
            ["-----BEGIN PUBLIC KEY-----", PUBLIC, "MIIX", "/MIIX/a/long/path/of/a/file/that/is/no/key/at/all.pem"]
        {
            assert_eq!(hide(text, &[]), text);
        }
    }

    #[test]
    fn what_is_left_of_a_key_looks_like_one_and_a_path_does_not() {
        for start in 0..=24 {
            assert!(looks_like_key(DER.get(start..).unwrap()), "{start}");
            assert!(looks_like_key(&format!("/a/b/c/d/e/f/keys/{}.pem", DER.get(start..).unwrap())), "{start}");
        }
        assert!(is_secret(&format!("/a/b/c/d/e/f/keys/{DER}")));
        assert!(looks_like_key("e/r/D9fGhA/p8/xQ2/oOWbRVn7kq3/uBfYf0jJ5wZTs1LmCQ="));
        for text in [
            DER.get(..39).unwrap(),
            "/var/lib/application/capsules/public/site/peers.json",
            "/Users/zoe/Documents/Project2/public/capsules/peers.json",
            "https://ipfs.example/ipns/k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8/peers.json",
            "MIIX",
        ] {
            assert!(!looks_like_key(text), "{text}");
        }
        let cut = DER.get(5..).unwrap();
        let hidden = |arguments: &[&str]| {
            hide(&format!("{cut} cannot be read"), &arguments.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(hidden(&["--key", cut]), format!("{HIDDEN_KEY} cannot be read"));
        assert_eq!(hidden(&["inspect", cut]), format!("{HIDDEN_KEY} cannot be read"));
        // A public key is not a secret, and one that is mistyped is to be seen.
        let mistyped = PUBLIC.get(1..).unwrap();
        assert_eq!(hide(mistyped, &["--public-key".to_owned(), mistyped.to_owned()]), mistyped);
    }

    #[test]
    fn an_argument_that_is_refused_is_escaped_and_the_lines_of_the_error_stay() {
        let shown = |argument: &str| {
            error(&format!("error: unexpected argument '{argument}' found\n\nUsage: x\n"), &[argument.to_owned()])
        };
        assert_eq!(shown("--x"), "error: unexpected argument '--x' found\n\nUsage: x");
        assert_eq!(
            shown("--\u{1b}[2J\nerror: forged\u{202e}"),
            "error: unexpected argument '--\\u{1b}[2J\\nerror: forged\\u{202e}' found\n\nUsage: x"
        );
        // The parser names a value alone.
        let refusal = "error: invalid value '\n\u{7}' for '--wait <TIME>'";
        assert_eq!(
            error(refusal, &["--wait=\n\u{7}".to_owned()]),
            "error: invalid value '\\n\\u{7}' for '--wait <TIME>'"
        );
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{DER}\n-----END PRIVATE KEY-----\n");
        assert_eq!(shown(&pem), format!("error: unexpected argument '{HIDDEN_KEY}' found\n\nUsage: x"));
        assert_eq!(printable("a\u{1b}[2J\r\n\u{202e}b"), "a\\u{1b}[2J\\r\\n\\u{202e}b");
        assert_eq!(printable("né \"x\" 'y' \\ 名"), "né \"x\" 'y' \\ 名");
    }

    #[test]
    fn invites_are_hidden_and_their_scheme_is_not() {
        let invite = format!("rendezvous:{}", "eyJrIjoi_-".repeat(9));
        assert_eq!(hide(&format!("'{invite}' and {invite}"), &[]), format!("'{HIDDEN_INVITE}' and {HIDDEN_INVITE}"));
        assert!(is_secret(&invite));
        for text in ["an invite begins with rendezvous: and", "rendezvous:short", "rendezvous: mailbox"] {
            assert_eq!(hide(text, &[]), text);
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
            assert_eq!(hide(text, &[]), shown);
        }
    }

    #[test]
    fn an_argument_is_hidden_as_a_whole_and_a_public_key_only_where_a_private_one_may_be() {
        let hidden =
            |text: &str, arguments: &[&str]| hide(text, &arguments.iter().map(ToString::to_string).collect::<Vec<_>>());
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
