//! The JSON whose bytes are signed.
//!
//! JSON with the keys of every object sorted by byte, no white space, strings escaped as ECMAScript's
//! `JSON.stringify` does (short escapes for `\b \t \n \f \r`, other controls as lower-case `\u00xx`, everything else
//! raw), integers in plain decimal. This is RFC 8785 without its floating-point numbers: no signed format here has any,
//! so a signature over a value that does have one is not expected to fit.

use serde_json::Value;

/// Returns the canonical JSON of `value`.
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value);
    text
}

/// Returns the canonical JSON of a string.
pub fn quoted(text: &str) -> String {
    // serde_json escapes strings as JSON.stringify does; `escapes_as_json_stringify` pins it. A text can always be written.
    serde_json::to_string(text).unwrap_or_default()
}

fn write_value(text: &mut String, value: &Value) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => text.push_str(&value.to_string()),
        Value::String(string) => text.push_str(&quoted(string)),
        Value::Array(items) => {
            text.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    text.push(',');
                }
                write_value(text, item);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            // Sorted here, whatever serde_json's map does: its order is a feature flag of the whole build.
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| key.as_bytes());
            text.push('{');
            for (position, (key, item)) in fields.into_iter().enumerate() {
                if position > 0 {
                    text.push(',');
                }
                text.push_str(&quoted(key));
                text.push(':');
                write_value(text, item);
            }
            text.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_keys_by_byte_at_every_depth() {
        let value = serde_json::from_str(r#"{ "b": [ { "z": 1, "Z": 2 } ], "a": { "é": 0, "e": true }, "": null }"#);
        assert_eq!(canonical(&value.unwrap()), r#"{"":null,"a":{"e":true,"é":0},"b":[{"Z":2,"z":1}]}"#);
    }

    #[test]
    fn escapes_as_json_stringify() {
        // The right side is what JSON.stringify gives for the same string.
        let text = "\u{0}\u{8}\t\n\u{b}\u{c}\r\u{1f} \"\\/<\u{7f}\u{80}\u{2028}𝄞";
        assert_eq!(
            canonical(&Value::from(text)),
            "\"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f \\\"\\\\/<\u{7f}\u{80}\u{2028}𝄞\""
        );
    }

    #[test]
    fn writes_integers_in_plain_decimal() {
        let value: Value = serde_json::from_str("[0, 9007199254740991, 18446744073709551615, -1]").unwrap();
        assert_eq!(canonical(&value), "[0,9007199254740991,18446744073709551615,-1]");
    }
}
