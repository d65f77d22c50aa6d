//! One template: what its manifest says, what is told of it, and its bundle, made once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::templates::files::{TEMPLATE_MAX_BYTES, TemplateError, TemplateFiles, TemplateName};

/// Bytes of a template's title, and of its category.
const TITLE_MAX_BYTES: usize = 100;

/// Bytes of a description.
const DESCRIPTION_MAX_BYTES: usize = 1_000;

/// Bytes of an icon, which is a character of several code points.
const ICON_MAX_BYTES: usize = 64;

/// Says where a template is from: goop2 tells those of a rendezvous from those that a client has in it by this.
const SOURCE: &str = "store";

/// Holds what a manifest says. Fields that are not known are another program's, and are in the bundle.
#[derive(Debug, Deserialize)]
struct Manifest {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    category: String,
    #[serde(default)]
    icon: String,
    #[serde(default)]
    tables: BTreeMap<String, TablePolicy>,
    #[serde(default)]
    schemas: Vec<String>,
}

/// Says who may write into a table of a template's database.
#[derive(Debug, Deserialize, Serialize)]
struct TablePolicy {
    insert_policy: String,
}

/// Holds what is told of a template, in goop2's shape.
#[derive(Debug, Serialize)]
struct Description<'a> {
    name: &'a str,
    description: &'a str,
    category: &'a str,
    icon: &'a str,
    dir: &'a str,
    source: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tables: &'a BTreeMap<String, TablePolicy>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    schemas: &'a [String],
}

/// Holds one template, with its bundle.
#[derive(Debug)]
pub struct Template {
    pub(super) name: TemplateName,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) category: String,
    pub(super) icon: String,
    /// The manifest as it is told.
    pub(super) manifest: Content,
    pub(super) bundle: Content,
}

/// Holds what is answered, and the tag by which a client knows whether it has that already.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) bytes: Arc<[u8]>,
    pub(super) tag: String,
}

impl Content {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        let mut tag = "\"".to_owned();
        for byte in Sha256::digest(&bytes).iter().take(16) {
            // Writing to a string cannot fail.
            let _ = write!(tag, "{byte:02x}");
        }
        tag.push('"');
        Self { bytes: bytes.into(), tag }
    }
}

impl Template {
    /// Makes the template of its files, and of the bundle that the host has made of [`TemplateFiles::in_bundle`].
    ///
    /// # Errors
    /// What the manifest or the bundle breaks of the rules.
    pub fn new(files: &TemplateFiles, bundle: Vec<u8>) -> Result<Self, TemplateError> {
        if bundle.len() > TEMPLATE_MAX_BYTES {
            return Err(TemplateError::BundleTooLarge);
        }
        let manifest = files.manifest().ok_or(TemplateError::NoManifest)?;
        let unreadable = |error: serde_json::Error| TemplateError::ManifestUnreadable { reason: error.to_string() };
        let manifest: Manifest = serde_json::from_slice(manifest).map_err(unreadable)?;
        let Manifest { name: title, description, category, icon, tables, schemas } = manifest;
        for (field, text, least, most) in [
            ("name", &title, 1, TITLE_MAX_BYTES),
            ("description", &description, 0, DESCRIPTION_MAX_BYTES),
            ("category", &category, 0, TITLE_MAX_BYTES),
            ("icon", &icon, 0, ICON_MAX_BYTES),
        ] {
            if !(least..=most).contains(&text.len()) || text.contains(char::is_control) {
                return Err(TemplateError::ManifestText { field, least, most });
            }
        }
        let told = Description {
            name: &title,
            description: &description,
            category: &category,
            icon: &icon,
            dir: files.name().as_str(),
            source: SOURCE,
            tables: &tables,
            schemas: &schemas,
        };
        let unwritable = |error: serde_json::Error| TemplateError::ManifestUnwritable { reason: error.to_string() };
        let told = serde_json::to_vec(&told).map_err(unwritable)?;
        let (manifest, bundle) = (Content::new(told), Content::new(bundle));
        Ok(Self { name: files.name().clone(), title, description, category, icon, manifest, bundle })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(name: &str, manifest: &str) -> Result<Template, TemplateError> {
        let mut files = TemplateFiles::new(TemplateName::new(name).unwrap());
        files.add("manifest.json".to_owned(), manifest.as_bytes().to_vec()).unwrap();
        Template::new(&files, name.as_bytes().to_vec())
    }

    #[test]
    fn what_is_told_of_a_template_has_goop2s_fields() {
        let manifest = r#"{"name":"Blog <b>","icon":"✎","tables":{"posts":{"insert_policy":"owner"}},"later":1}"#;
        let blog = template("blog", manifest).unwrap();
        let told = concat!(
            r#"{"name":"Blog <b>","description":"","category":"","icon":"✎","dir":"blog","source":"store","#,
            r#""tables":{"posts":{"insert_policy":"owner"}}}"#
        );
        assert_eq!(str::from_utf8(&blog.manifest.bytes), Ok(told));
        let told =
            r#"{"name":"A","description":"","category":"","icon":"","dir":"a","source":"store","schemas":["x"]}"#;
        let a = template("a", r#"{"name":"A","schemas":["x"]}"#).unwrap();
        assert_eq!(str::from_utf8(&a.manifest.bytes), Ok(told));
        // SHA-256 of "a", of which the first half is enough.
        assert_eq!(a.bundle.tag, "\"ca978112ca1bbdcafac231b39a23dc4d\"");
    }

    #[test]
    fn a_manifest_that_cannot_be_read_is_an_error_that_names_the_field() {
        for (manifest, part) in [
            ("", "EOF"),
            ("{", "EOF"),
            ("<html>", "expected value"),
            ("[]", "invalid length 0"),
            ("{}", "missing field `name`"),
            (r#"{"name":1}"#, "invalid type: integer"),
            (r#"{"name":"a","tables":[]}"#, "invalid type: sequence"),
            (r#"{"name":"a","schemas":[1]}"#, "invalid type: integer"),
            (r#"{"name":"a"} x"#, "trailing characters"),
            (r#"{"name":"a","name":"b"}"#, "duplicate field `name`"),
            (r#"{"name":""}"#, "name of the manifest is a text of 1 to 100 bytes"),
            (r#"{"name":"a\u0000"}"#, "name of the manifest"),
            (r#"{"name":"a","icon":"\n"}"#, "icon of the manifest"),
            (&format!(r#"{{"name":"a","description":"{}"}}"#, "a".repeat(1_001)), "description of the manifest"),
        ] {
            let error = template("a", manifest).unwrap_err().to_string();
            assert!(error.contains(part), "{manifest}: {error}");
        }
        let without = TemplateFiles::new(TemplateName::new("a").unwrap());
        assert_eq!(Template::new(&without, Vec::new()).unwrap_err(), TemplateError::NoManifest);
        assert_eq!(
            Template::new(&without, vec![0; TEMPLATE_MAX_BYTES + 1]).unwrap_err(),
            TemplateError::BundleTooLarge,
            "what does not compress is longer than it was"
        );
    }
}
