//! Addresses of e-mail, as strictly as a mail's header and a page may hold them.

use std::fmt;

use serde::Serialize;

use super::limits::{EMAIL_MAX_BYTES, LOCAL_PART_MAX_BYTES};

/// Bytes of a label of a name (RFC 1035, section 2.3.4).
const LABEL_MAX_BYTES: usize = 63;

/// Holds an address of e-mail: a dot-atom, `@`, and a name of two labels at least (RFC 5321, section 4.1.2, without quoted
/// strings and address literals). There is no white space in one, no line end and no character beyond ASCII, so that nothing
/// in an address can end a header's line or begin another recipient.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct EmailAddress(Box<str>);

impl fmt::Debug for EmailAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whose it is, is for nobody to read in a log.
        formatter.write_str("EmailAddress(…)")
    }
}

impl EmailAddress {
    /// Takes a text that follows the rule above.
    pub fn parse(text: &str) -> Option<Self> {
        let (local, domain) = text.split_once('@')?;
        let fits = text.len() <= EMAIL_MAX_BYTES && local.len() <= LOCAL_PART_MAX_BYTES;
        // The last label of a name is not a number: that of an IPv4 address is.
        let is_name = domain.split('.').all(is_label)
            && domain
                .rsplit_once('.')
                .is_some_and(|(_, top)| top.starts_with(|first: char| first.is_ascii_alphabetic()));
        (fits && local.split('.').all(is_atom) && is_name).then(|| Self(text.into()))
    }

    /// Returns the address as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the mailbox that the address most probably leads to: in lower case, without what follows a plus. Limits count
    /// this, so that other spellings of one mailbox have no mails of their own.
    pub fn mailbox(&self) -> String {
        let lower = self.0.to_ascii_lowercase();
        match lower.split_once('@') {
            Some((local, domain)) => {
                // What begins with a plus has nothing else before it.
                let base = local.split_once('+').map_or(local, |(base, _)| base);
                format!("{}@{domain}", if base.is_empty() { local } else { base })
            }
            None => lower,
        }
    }
}

/// Returns whether a text is an atom (RFC 5322, section 3.2.3).
fn is_atom(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_letter)
}

fn is_label(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=LABEL_MAX_BYTES).contains(&text.len())
        && text.bytes().all(is_letter)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_dot_atom_at_a_name() {
        let long = format!("a@{}.example", ["x".repeat(61).as_str(); 4].join("."));
        assert_eq!((long.len(), long.len() <= EMAIL_MAX_BYTES), (257, false));
        let whole = format!("{}@{}.example", "x".repeat(64), "y".repeat(63));
        for text in ["a@b.example", "First.Last+tag@Sub.B.example", "o'neil!#$%&*-/=?^_`{|}~@b.example", &whole] {
            assert_eq!(EmailAddress::parse(text).as_ref().map(EmailAddress::as_str), Some(text), "{text}");
        }
        for text in [
            "",
            "@b.example",
            "a@",
            "a",
            "a@b",
            "a@@b.example",
            "a@b@c.example",
            "a b@c.example",
            " a@b.example",
            "a@b.example ",
            "a@b.example\r\nBcc: everybody@c.example",
            "a@b.example\nBcc: x@c.example",
            "a\r\n@b.example",
            "a\0@b.example",
            "a@b.example>",
            "<a@b.example>",
            "a@b.example,c@d.example",
            "a@b.example;c",
            "\"a b\"@c.example",
            "a(b)@c.example",
            "a@[192.0.2.1]",
            "a@192.0.2.1",
            "a@192.0.2.1:25",
            ".a@b.example",
            "a.@b.example",
            "a..b@c.example",
            "a@.example",
            "a@b..example",
            "a@b.example.",
            "a@-b.example",
            "a@b-.example",
            "zoë@b.example",
            "a@zoë.example",
            &format!("{}@b.example", "x".repeat(65)),
            &format!("a@{}.example", "x".repeat(64)),
            &long,
        ] {
            assert_eq!(EmailAddress::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_address_has_254_bytes_at_most() {
        let at = |length: usize| {
            let label = "y".repeat(60);
            let before = format!("{}@{label}.{label}.{label}.", "x".repeat(10));
            format!("{before}{}", "z".repeat(length - before.len()))
        };
        assert!(EmailAddress::parse(&at(EMAIL_MAX_BYTES)).is_some());
        assert!(EmailAddress::parse(&at(EMAIL_MAX_BYTES + 1)).is_none());
    }

    #[test]
    fn spellings_of_one_mailbox_are_one() {
        let mailbox = |text: &str| EmailAddress::parse(text).unwrap().mailbox();
        for text in ["a.b@c.example", "A.b@C.example", "a.b+x@c.example", "A.B+y+z@C.EXAMPLE"] {
            assert_eq!(mailbox(text), "a.b@c.example");
        }
        assert_eq!(mailbox("+x@c.example"), "+x@c.example");
        assert_ne!(mailbox("ab@c.example"), mailbox("a.b@c.example"));
        assert!(!format!("{:?}", EmailAddress::parse("a@b.example")).contains('@'));
    }
}
