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
/// What separates words, and stands in base64 too.
const SEPARATORS: [char; 3] = ['/', '-', '_'];
/// Names of temporary directories end in six random characters.
const RANDOM_PART_MIN_CHARS: usize = 8;
/// More characters of a key than these are not looked at.
const KEY_CHARS: usize = 64;
/// The members of a JSON Web Key that are private (RFC 7517, RFC 7518 section 6, RFC 8037).
const PRIVATE_MEMBERS: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "k"];

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
    text.contains(PRIVATE_KEY) || !marked_keys(text).is_empty() || hide_invites(text) != text
}

/// Returns whether a text may be a key, private or public, or most of one: 32 bytes in base64 or hexadecimal have no mark
/// that tells them apart, nor has a private key whose beginning is missing. What names its scheme is an address: some have
/// hashes in them. Hexadecimal and content identifiers that are only a part of a path are names.
pub fn looks_like_key(text: &str) -> bool {
    let text = text.trim();
    (text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        || !marked_keys(text).is_empty()
        || (!text.contains("://") && base64_runs(text).any(is_key_or_part))
}

/// Returns whether base64 reads as words: it has more separators than base64, where one in 32 is, and is not
/// [random](is_random).
fn is_words(run: &str) -> bool {
    run.matches(SEPARATORS).count() * 12 >= run.len() && !is_random(run)
}

/// Returns whether capitals, small letters and digits take turns nearly as in base64, where they do three times out of
/// five, in all of it and in a part that is longer than what is added to the names of temporary directories. Of ten thousand
/// keys some ten are not random by this measure, most of them for want of a digit.
fn is_random(run: &str) -> bool {
    let takes_turns = |text: &str, pairs_min: usize| {
        let all = || text.bytes().zip(text.bytes().skip(1));
        let pairs = || all().filter(|(one, next)| one.is_ascii_alphanumeric() && next.is_ascii_alphanumeric());
        let class = |byte: u8| (byte.is_ascii_uppercase(), byte.is_ascii_digit());
        let (count, turns) = (pairs().count(), pairs().filter(|(one, next)| class(*one) != class(*next)).count());
        count >= pairs_min && turns * 3 >= count
    };
    takes_turns(run, run.len().div_ceil(2))
        && run.split(SEPARATORS).any(|part| takes_turns(part, RANDOM_PART_MIN_CHARS - 1))
        && has_both_cases(run)
        && run.bytes().any(|byte| byte.is_ascii_digit())
}

/// Of 32 random bytes in base64 one in a thousand million has not.
fn has_both_cases(run: &str) -> bool {
    run.bytes().any(|byte| byte.is_ascii_uppercase()) && run.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// Returns whether a part of a path is a content identifier of version 0: a SHA-256 in base58, which has both cases. Those of
/// version 1 are written in one.
fn is_content_identifier(part: &str) -> bool {
    let is_base58 = |byte: u8| byte.is_ascii_alphanumeric() && !matches!(byte, b'0' | b'O' | b'I' | b'l');
    part.len() == 46 && part.starts_with("Qm") && part.bytes().all(is_base58)
}

/// Returns what stands in base64 from its beginning on and after each slash, long enough for a key: the key may be in a
/// directory. No more of each than a key has.
fn in_directories(run: &str) -> impl Iterator<Item = &str> {
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
    for key in marked_keys(text) {
        shown = shown.replace(key, HIDDEN_KEY);
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
/// one. Without a scheme there has to be a colon, or it is a mail address. An `@` behind the host is part of a path, unless
/// the host ends in what is no port: then it is a password with a slash in it.
fn user_in(text: &str) -> Option<&str> {
    let (before, _) = text.rsplit_once('@')?;
    let (user, has_scheme) = before.rsplit_once("://").map_or((before, false), |(_, user)| (user, true));
    let is_user = match user.split_once('/') {
        None => has_scheme || user.contains(':'),
        Some((host, _)) => host.contains('@') && (has_scheme || host.contains(':')) || !ends_as_a_host(host),
    };
    is_user.then_some(user)
}

/// Returns whether the text before the first slash has no port, or one that is a number.
fn ends_as_a_host(host: &str) -> bool {
    host.ends_with(']') || host.rsplit_once(':').is_none_or(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_base64(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '+' | '/' | '=' | '-' | '_')
}

/// Splits a text into what may be base64, be it of either alphabet (RFC 4648 sections 4 and 5).
fn base64_runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character| !is_base64(character))
}

/// The base64 at the beginning of a text.
fn leading_base64(text: &str) -> &str {
    text.split(|character| !is_base64(character)).next().unwrap_or_default()
}

/// The private keys that say that they are: in DER, by how their base64 begins, and in JSON, by the member's name.
fn marked_keys(text: &str) -> Vec<&str> {
    let mut keys = Vec::new();
    for beginning in KEY_BEGINNINGS {
        for (at, _) in text.match_indices(beginning) {
            let (before, rest) = text.split_at(at);
            let key = leading_base64(rest);
            let head = key.get(..KEY_CHARS).unwrap_or(key);
            if !before.ends_with(|last: char| last.is_ascii_alphanumeric())
                && key.len() >= KEY_MIN_CHARS
                && !is_words(head)
            {
                keys.push(key);
            }
        }
    }
    for (at, _) in text.match_indices('"') {
        let rest = text.get(at + 1..).unwrap_or_default();
        let name = rest.split(|character: char| !character.is_ascii_alphanumeric()).next().unwrap_or_default();
        let value = rest.get(name.len()..).unwrap_or_default();
        // The quotes may be escaped.
        let key = value.trim_start_matches(|character: char| {
            matches!(character, '\\' | '"' | ':') || character.is_ascii_whitespace()
        });
        let has_colon = value.get(..value.len() - key.len()).is_some_and(|between| between.contains(':'));
        let key = leading_base64(key);
        if has_colon && PRIVATE_MEMBERS.contains(&name) && key.len() >= KEY_MIN_CHARS {
            keys.push(key);
        }
    }
    keys
}

fn is_key_or_part(run: &str) -> bool {
    let parts = run.split(['/', '=']);
    let mut long = parts.filter(|part| part.len() >= KEY_MIN_CHARS);
    long.any(|part| has_both_cases(part) && !is_words(part) && !is_content_identifier(part))
        || in_directories(run).any(|part| is_random(part) && !part.split('/').any(is_content_identifier))
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
            "/tmp/publish-test-AbC12x/case-9zQw3E/list.json",
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
    fn private_keys_in_the_alphabet_for_addresses_are_hidden_too() {
        let der = "MC4CAQAwBQYDK2VwBCIEIB8f_x8fHx8fHx8f-x8fHx8fHx8fHx8fHx8fHx8f";
        let member = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
        for (text, shown) in [
            (format!("'{der}' cannot be read"), format!("'{HIDDEN_KEY}' cannot be read")),
            (format!("--key={der}"), format!("--key={HIDDEN_KEY}")),
            (format!(r#"{{"kty":"OKP","d":"{member}"}}"#), format!(r#"{{"kty":"OKP","d":"{HIDDEN_KEY}"}}"#)),
            (format!(r#""{{\"d\" : \"{member}\"}}""#), format!(r#""{{\"d\" : \"{HIDDEN_KEY}\"}}""#)),
        ] {
            assert!(is_secret(&text), "{text}");
            assert_eq!(hide(&text, &[]), shown);
        }
        assert!(!is_secret(&format!(r#"{{"kty":"OKP","x":"{member}"}}"#)));
        for text in [member.to_owned(), format!("{{d:{member}}}"), format!("keys/{member}.jwk")] {
            assert!(looks_like_key(&text), "{text}");
            let words = ["inspect".to_owned(), text.clone()];
            assert_eq!(hide(&format!("{text} cannot be read"), &words), format!("{HIDDEN_KEY} cannot be read"));
        }
    }

    #[test]
    fn names_of_directories_are_judged_one_by_one() {
        let (hash, short) = ("0123456789abcdef".repeat(4), "0123456789".repeat(4));
        for text in [
            format!("/srv/capsules/{hash}/peers.json"),
            format!("capsules/{short}"),
            short,
            "out/QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbdG/peers.json".to_owned(),
            "out/bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi".to_owned(),
            "/home/somebody/averyverylongdirectorynameforacapsule".to_owned(),
            "Project_2024_Final-Version-Of-The-Capsule-Directory".to_owned(),
            "/Users/AnnaMaria/MyProjects/RendezvousBeacon2/PublicCapsules".to_owned(),
            "d".repeat(43),
            "d".repeat(513),
        ] {
            assert!(!looks_like_key(&text), "{text}");
            assert_eq!(hide(&text, std::slice::from_ref(&text)), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn a_key_in_the_alphabet_for_addresses_looks_like_one(bytes: [u8; 32]) {
            use base64::Engine as _;
            let url = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
            // Those with more are words unless they are random, which all but a few are.
            proptest::prop_assume!(url.matches(['-', '_']).count() < 4);
            proptest::prop_assert!(looks_like_key(&url));
            let in_directory = format!("/srv/{url}.pem");
            proptest::prop_assert!(looks_like_key(&in_directory));
        }
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
            ("http://u:p@ss/w0rd@host", "http://(not shown)@host"),
            ("user:pa/ss@host", "(not shown)@host"),
            ("somebody@example.org, http://host/a@b", "somebody@example.org, http://host/a@b"),
            ("https://host:80/@scope/a and http://[::1]/@b", "https://host:80/@scope/a and http://[::1]/@b"),
            ("/srv/a:b/c@d", "/srv/a:b/c@d"),
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
