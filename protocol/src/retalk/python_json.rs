//! JSON as Python's `json.dumps(…, sort_keys=True, separators=(",", ":"))` writes it, of which clients sign a hash.

use std::fmt::Write as _;

/// Writes a text: everything outside of U+0020 to U+007E is escaped, what is beyond U+FFFF as a surrogate pair, in lower case.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{8}' => quoted.push_str("\\b"),
            '\t' => quoted.push_str("\\t"),
            '\n' => quoted.push_str("\\n"),
            '\u{c}' => quoted.push_str("\\f"),
            '\r' => quoted.push_str("\\r"),
            ' '..='~' => quoted.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(quoted, "\\u{unit:04x}");
                }
            }
        }
    }
    quoted.push('"');
    quoted
}

/// Writes an object of fields whose values are JSON already. `fields` are in ascending order of their names, by code point.
pub(super) fn object<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let fields: Vec<_> = fields.into_iter().map(|(name, value)| format!("{}:{value}", quoted(name))).collect();
    format!("{{{}}}", fields.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_escaped_as_python_does() {
        // The right side is what json.dumps of Python 3.11 gives for the same string.
        let text = "\u{0}\u{8}\t\n\u{b}\u{c}\r\u{1f} \"\\/<~\u{7f}\u{80}é\u{2028}\u{ffff}𝄞";
        let expected = r#""\u0000\b\t\n\u000b\f\r\u001f \"\\/<~\u007f\u0080\u00e9\u2028\uffff\ud834\udd1e""#;
        assert_eq!(quoted(text), expected);
    }

    #[test]
    fn an_object_has_no_spaces() {
        assert_eq!(object([]), "{}");
        assert_eq!(object([("a", quoted("x")), ("b", "null".to_owned())]), r#"{"a":"x","b":null}"#);
    }
}
