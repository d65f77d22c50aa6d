//! Lines of output: JSON that is good on a terminal too, whatever a stranger wrote, and columns.

use rendezvous_capsule::text;
use serde_json::Value;

/// Writes a value as one line of JSON in ASCII, as Python does by default. JSON itself escapes no character from U+007F on,
/// among which are controls that terminals obey and marks that reorder a line.
pub(crate) fn ascii(value: &Value) -> String {
    let mut line = String::new();
    let mut units = [0; 2];
    for character in value.to_string().chars() {
        match character {
            ' '..='~' => line.push(character),
            // Outside of ASCII there is nothing but the content of strings.
            _ => {
                line.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
            }
        }
    }
    line.push('\n');
    line
}

/// Writes rows in columns: with tabs, as retalk does, where the program goes by that name.
pub(crate) fn columns(rows: &[Vec<String>], is_retalk: bool) -> String {
    if is_retalk { rows.iter().map(|row| row.join("\t") + "\n").collect() } else { text::table(rows) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_but_printable_ascii_is_in_a_line_and_it_says_the_same() {
        let value = json!({ "text": "a\u{1b}[2J\n\u{7f}\u{9b}31m\u{202e}é😀\"\\" });
        let line = ascii(&value);
        assert_eq!(line, "{\"text\":\"a\\u001b[2J\\n\\u007f\\u009b31m\\u202e\\u00e9\\ud83d\\ude00\\\"\\\\\"}\n");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
    }
}
