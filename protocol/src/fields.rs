//! The fields of a JSON object, each asked for by its name and its kind.
//!
//! One reader for every shape: what is derived for each by itself is more code than all the rest of it, and a Worker is
//! uploaded whole. It reads one level. What is inside an array or an object stays the text that it came as.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::base64;
use crate::bytes::Bytes;
use crate::key::PublicKey;
use crate::time::UnixMillis;

/// Says why a text is not a JSON object of the shape that is asked for.
#[derive(Debug, thiserror::Error)]
pub enum FieldError {
    /// Not JSON.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// JSON of something else.
    #[error("it is not a JSON object")]
    NotObject,
    /// A field is not there.
    #[error("the field {0} is missing")]
    Missing(&'static str),
    /// A field is there more than once.
    #[error("the field {0} is there twice")]
    Twice(&'static str),
    /// A field has a value of another kind.
    #[error("the field {field} is {found}, it must be {expected}")]
    Kind {
        /// Its name.
        field: &'static str,
        /// What it is.
        found: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A field, or an item of one, that is not base64, or not of so many bytes.
    #[error("{field} must be the base64 of {bytes} bytes")]
    Base64 {
        /// Its name.
        field: &'static str,
        /// How many bytes it must be of.
        bytes: usize,
    },
    /// A field that the shape does not have. The name is whatever somebody sent: as much of it is kept as an error says.
    #[error("there is no field {0}")]
    Unknown(String),
}

/// The most characters of a foreign name that an error repeats: more than the longest name that any shape has.
const FOREIGN_NAME_CHARS: usize = 64;

/// The same of what a reader of JSON says: its own words, and in them perhaps a name or a text that somebody sent.
const FOREIGN_DETAIL_CHARS: usize = 256;

/// Returns a foreign name as an error repeats it: whole if it is short, else its beginning and an ellipsis.
pub fn shortened(name: &str) -> String {
    cut(name, FOREIGN_NAME_CHARS).unwrap_or_else(|| name.to_owned())
}

/// Returns what is wrong with a JSON text, as an error repeats it: where that is stays in it.
pub fn json_detail(error: &serde_json::Error) -> String {
    let detail = error.to_string();
    match cut(&detail, FOREIGN_DETAIL_CHARS) {
        Some(beginning) => format!("{beginning} at line {} column {}", error.line(), error.column()),
        None => detail,
    }
}

/// Returns the beginning of a text of more characters than these, with an ellipsis.
fn cut(text: &str, most: usize) -> Option<String> {
    let (end, _) = text.char_indices().nth(most)?;
    Some(text.split_at(end).0.to_owned() + "…")
}

/// Holds the fields of an object that nobody has asked for yet. Whatever asks for one takes it, and fails with the
/// [`FieldError`] that says what is wrong with it.
pub struct Fields<'a>(Object<'a>);

type Object<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

/// A text, and before it its name.
pub type NamedText<'a> = (Cow<'a, str>, Cow<'a, str>);

impl<'a> Fields<'a> {
    /// Reads an object, and of its values only where they end.
    pub fn parse(text: &'a str) -> Result<Self, FieldError> {
        match serde_json::from_str(text)? {
            Json::Object(fields) => Ok(Self(fields)),
            _ => Err(FieldError::NotObject),
        }
    }

    /// Returns the same without fields that are `null`, for a shape in which these are absent.
    #[must_use]
    pub fn without_nulls(mut self) -> Self {
        self.0.retain(|(_, value)| value.get() != "null");
        self
    }

    /// Ends the reading of a shape that has no other fields than those that were asked for.
    pub fn end(self) -> Result<(), FieldError> {
        self.0.into_iter().next().map_or(Ok(()), |(name, _)| Err(FieldError::Unknown(shortened(&name))))
    }

    /// Takes the text of a value of any kind.
    pub fn optional_json(&mut self, field: &'static str) -> Result<Option<&'a str>, FieldError> {
        let Some(position) = self.0.iter().position(|(name, _)| name == field) else { return Ok(None) };
        let (_, value) = self.0.swap_remove(position);
        if self.0.iter().any(|(name, _)| name == field) { Err(FieldError::Twice(field)) } else { Ok(Some(value.get())) }
    }

    /// Takes the text of a value of any kind.
    pub fn json(&mut self, field: &'static str) -> Result<&'a str, FieldError> {
        self.optional_json(field)?.ok_or(FieldError::Missing(field))
    }

    /// Takes a text.
    pub fn optional_text(&mut self, field: &'static str) -> Result<Option<Cow<'a, str>>, FieldError> {
        self.optional(field, "a text", |value| if let Json::Text(text) = value { Some(text) } else { None })
    }

    /// Takes a text.
    pub fn text(&mut self, field: &'static str) -> Result<Cow<'a, str>, FieldError> {
        self.optional_text(field)?.ok_or(FieldError::Missing(field))
    }

    /// Takes several texts.
    pub fn named<const N: usize>(&mut self, names: [&'static str; N]) -> Result<[Cow<'a, str>; N], FieldError> {
        let mut texts = [const { Cow::Borrowed("") }; N];
        for (text, name) in texts.iter_mut().zip(names) {
            *text = self.text(name)?;
        }
        Ok(texts)
    }

    /// Takes so many bytes, in base64.
    pub fn bytes<const N: usize>(&mut self, field: &'static str) -> Result<Bytes<N>, FieldError> {
        bytes_of(&self.text(field)?, field)
    }

    /// Takes a public key.
    pub fn key(&mut self, field: &'static str) -> Result<PublicKey, FieldError> {
        self.bytes(field).map(|Bytes(bytes)| PublicKey::from_bytes(bytes))
    }

    /// Takes a whole number below 2^64.
    pub fn optional_number(&mut self, field: &'static str) -> Result<Option<u64>, FieldError> {
        self.optional(
            field,
            "a whole number",
            |value| if let Json::Number(number) = value { Some(number) } else { None },
        )
    }

    /// Takes a whole number below 2^64.
    pub fn number(&mut self, field: &'static str) -> Result<u64, FieldError> {
        self.optional_number(field)?.ok_or(FieldError::Missing(field))
    }

    /// Takes a time.
    pub fn optional_time(&mut self, field: &'static str) -> Result<Option<UnixMillis>, FieldError> {
        let time = |millis| {
            UnixMillis::new(millis).ok_or(FieldError::Kind {
                field,
                found: "a number from 2^53 on",
                expected: "a time in milliseconds, below 2^53",
            })
        };
        self.optional_number(field)?.map(time).transpose()
    }

    /// Takes a time.
    pub fn time(&mut self, field: &'static str) -> Result<UnixMillis, FieldError> {
        self.optional_time(field)?.ok_or(FieldError::Missing(field))
    }

    /// Takes `true` or `false`.
    pub fn optional_flag(&mut self, field: &'static str) -> Result<Option<bool>, FieldError> {
        self.optional(field, "true or false", |value| if let Json::Flag(flag) = value { Some(flag) } else { None })
    }

    /// Takes an object.
    pub fn optional_object(&mut self, field: &'static str) -> Result<Option<Self>, FieldError> {
        self.optional(
            field,
            "an object",
            |value| if let Json::Object(fields) = value { Some(Self(fields)) } else { None },
        )
    }

    /// Takes an object.
    pub fn object(&mut self, field: &'static str) -> Result<Self, FieldError> {
        self.optional_object(field)?.ok_or(FieldError::Missing(field))
    }

    /// Takes the texts of an array's items.
    pub fn optional_items(&mut self, field: &'static str) -> Result<Option<Vec<&'a RawValue>>, FieldError> {
        self.optional(field, "an array", |value| if let Json::Array(items) = value { Some(items) } else { None })
    }

    /// Takes the texts of an array's items.
    pub fn items(&mut self, field: &'static str) -> Result<Vec<&'a RawValue>, FieldError> {
        self.optional_items(field)?.ok_or(FieldError::Missing(field))
    }

    /// Takes an array of texts.
    pub fn texts(&mut self, field: &'static str) -> Result<Vec<Cow<'a, str>>, FieldError> {
        self.each(field, "an array of texts", |value| if let Json::Text(text) = value { Some(text) } else { None })
    }

    /// Takes an array of objects.
    pub fn objects(&mut self, field: &'static str) -> Result<Vec<Self>, FieldError> {
        self.each(field, "an array of objects", |value| {
            if let Json::Object(fields) = value { Some(Self(fields)) } else { None }
        })
    }

    /// Takes an array of whole numbers below 2^53.
    pub fn wholes(&mut self, field: &'static str) -> Result<Vec<u64>, FieldError> {
        self.each(field, "an array of whole numbers below 2^53", |value| match value {
            Json::Number(number) => UnixMillis::new(number).map(UnixMillis::as_u64),
            _ => None,
        })
    }

    /// Takes all fields that nobody has asked for yet, which are texts, under whatever names; `field` is the name of the whole
    /// object. A name may be there twice.
    pub fn take_texts(&mut self, field: &'static str) -> Result<Vec<NamedText<'a>>, FieldError> {
        let read = |(name, value): (Cow<'a, str>, &'a RawValue)| {
            let value: Json<'_> = serde_json::from_str(value.get())?;
            match value {
                Json::Text(text) => Ok((name, text)),
                other => Err(FieldError::Kind { field, found: other.kind(), expected: "an object of texts" }),
            }
        };
        std::mem::take(&mut self.0).into_iter().map(read).collect()
    }

    fn each<T>(
        &mut self,
        field: &'static str,
        expected: &'static str,
        choose: fn(Json<'a>) -> Option<T>,
    ) -> Result<Vec<T>, FieldError> {
        let read = |item: &'a RawValue| {
            let value: Json<'_> = serde_json::from_str(item.get())?;
            let found = value.kind();
            choose(value).ok_or(FieldError::Kind { field, found, expected })
        };
        self.items(field)?.into_iter().map(read).collect()
    }

    fn optional<T>(
        &mut self,
        field: &'static str,
        expected: &'static str,
        choose: impl FnOnce(Json<'a>) -> Option<T>,
    ) -> Result<Option<T>, FieldError> {
        let Some(text) = self.optional_json(field)? else { return Ok(None) };
        let value: Json<'_> = serde_json::from_str(text)?;
        let found = value.kind();
        choose(value).map(Some).ok_or(FieldError::Kind { field, found, expected })
    }
}

/// Reads so many bytes in base64, which are the value of a field or an item in it.
pub fn bytes_of<const N: usize>(text: &str, field: &'static str) -> Result<Bytes<N>, FieldError> {
    base64::decode_array(text).map(Bytes).ok_or(FieldError::Base64 { field, bytes: N })
}

/// Holds a value of JSON, an array or an object as what is in it.
enum Json<'a> {
    Text(Cow<'a, str>),
    Number(u64),
    Flag(bool),
    Array(Vec<&'a RawValue>),
    Object(Object<'a>),
    // No shape here has these.
    Null,
    OtherNumber,
}

impl Json<'_> {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Number(_) => "a whole number",
            Self::Flag(_) => "true or false",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
            Self::Null => "null",
            Self::OtherNumber => "a number below zero, with a fraction or from 2^64 on",
        }
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

/// Takes whatever comes, so that nothing has to put into words what did.
struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Json::Flag(flag))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Json::Number(number))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Json::OtherNumber)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Json::OtherNumber)
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        // Names are texts: a number, which serde lets be one, cannot come from JSON.
        while let Some(name) = map.next_key()? {
            let value = map.next_value()?;
            if let Json::Text(name) = name {
                fields.push((name, value));
            }
        }
        Ok(Json::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_read_as_itself_and_as_nothing_else() {
        let text = r#"{"text":"a","escaped":"\u0061\n","number":18446744073709551615,"flag":true,"object":{"x":1},
            "items":[1,"a"],"null":null,"negative":-1,"fraction":1.0,"large":18446744073709551616}"#;
        let fields = || Fields::parse(text).unwrap();
        for field in ["text", "escaped", "number", "flag", "object", "items", "null", "negative", "fraction", "large"] {
            let kinds = [
                fields().text(field).is_ok(),
                fields().number(field).is_ok(),
                fields().optional_flag(field).is_ok(),
                fields().object(field).is_ok(),
                fields().items(field).is_ok(),
            ];
            let expected = match field {
                "text" | "escaped" => [true, false, false, false, false],
                "number" => [false, true, false, false, false],
                "flag" => [false, false, true, false, false],
                "object" => [false, false, false, true, false],
                "items" => [false, false, false, false, true],
                _ => [false; 5],
            };
            assert_eq!(kinds, expected, "{field}");
        }
        assert_eq!(fields().text("escaped").unwrap(), "a\n");
        assert_eq!(fields().number("number").unwrap(), u64::MAX);
        assert_eq!(fields().json("items").unwrap(), r#"[1,"a"]"#);
        assert_eq!(fields().optional_object("object").unwrap().unwrap().number("x").unwrap(), 1);
    }

    #[test]
    fn a_field_is_there_once_and_every_field_is_asked_for() {
        let absent = Fields::parse(r#"{}"#).unwrap().number("a").unwrap_err();
        assert_eq!(absent.to_string(), "the field a is missing");
        assert!(Fields::parse(r#"{}"#).unwrap().optional_number("a").unwrap().is_none());
        let twice = Fields::parse(r#"{"a":1,"\u0061":1}"#).unwrap().optional_number("a").unwrap_err();
        assert_eq!(twice.to_string(), "the field a is there twice");
        let mut fields = Fields::parse(r#"{"b":1,"a":1}"#).unwrap();
        assert_eq!(fields.number("a").unwrap(), 1);
        assert_eq!(fields.end().unwrap_err().to_string(), "there is no field b");
        let kind = Fields::parse(r#"{"a":9007199254740992}"#).unwrap().time("a").unwrap_err();
        assert_eq!(
            kind.to_string(),
            "the field a is a number from 2^53 on, it must be a time in milliseconds, below 2^53"
        );
    }

    #[test]
    fn of_a_long_name_an_error_repeats_the_beginning() {
        let error = |name: &str| Fields::parse(&format!(r#"{{"{name}":1}}"#)).unwrap().end().unwrap_err().to_string();
        // Characters, not bytes: none is cut in two.
        for letter in ["a", "ä", "€", "😀"] {
            let whole = letter.repeat(64);
            assert_eq!(error(&whole), format!("there is no field {whole}"));
            assert_eq!(error(&letter.repeat(65)), format!("there is no field {whole}…"));
            assert_eq!(error(&letter.repeat(50_000)), format!("there is no field {whole}…"));
        }
    }

    #[test]
    fn what_a_reader_of_json_says_is_cut_but_for_the_place() {
        let detail = |json: &str| json_detail(&serde_json::from_str::<u64>(json).unwrap_err());
        assert_eq!(detail(r#""a""#), r#"invalid type: string "a", expected u64 at line 1 column 3"#);
        let long = detail(&format!("\n\"{}\"", "ä".repeat(50_000)));
        assert!(long.starts_with(r#"invalid type: string "ää"#), "{long}");
        assert!(long.ends_with("ä… at line 2 column 100002"), "{long}");
        assert!(long.chars().count() < 300, "{long}");
    }

    #[test]
    fn an_error_says_what_is_there_instead() {
        for (value, found) in
            [("null", "null"), ("-1", "a number below zero, with a fraction or from 2^64 on"), ("[]", "an array")]
        {
            let error = Fields::parse(&format!(r#"{{"a":{value}}}"#)).unwrap().text("a").unwrap_err();
            assert_eq!(error.to_string(), format!("the field a is {found}, it must be a text"));
        }
    }

    #[test]
    fn nothing_but_one_object_is_read() {
        for text in ["", "null", "1", r#""a""#, "[]", "{", "{} 1", r#"{"a":}"#, r#"{"a":1,}"#, r#"{1:1}"#, "\u{feff}{}"]
        {
            assert!(Fields::parse(text).is_err(), "{text}");
        }
        assert!(Fields::parse(" { } ").unwrap().end().is_ok());
    }
}
