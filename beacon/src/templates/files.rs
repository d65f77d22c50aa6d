//! What may be in a template: names, sizes, and how many.
//!
//! A bundle is unpacked on machines that the operator does not know, so a path is one that every file system reads as the
//! same path below the folder it is unpacked in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use unicode_normalization::UnicodeNormalization as _;

/// Bytes of a template's name.
const NAME_MAX_BYTES: usize = 64;

/// Files and folders of one template.
const ENTRIES_MAX: usize = 1_000;

/// Folders that may be in one another, and the file in them.
const DEPTH_MAX: usize = 16;

/// Bytes of a path in a template, with the folders before it.
const PATH_MAX_BYTES: usize = 512;

/// Bytes of all files of a template together, and of its bundle.
pub(super) const TEMPLATE_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of a manifest. A description and a hundred tables fit.
const MANIFEST_MAX_BYTES: usize = 16 * 1024;

/// The file that describes a template.
pub const MANIFEST: &str = "manifest.json";

/// Holds the name of a template: that of its folder, and of its paths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TemplateName(String);

impl TemplateName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`TemplateError::Name`] or [`TemplateError::DeviceName`], if it is not one.
    pub fn new(name: &str) -> Result<Self, TemplateError> {
        let is_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if !(1..=NAME_MAX_BYTES).contains(&name.len()) || !name.bytes().all(is_allowed) {
            return Err(TemplateError::Name);
        }
        if is_device(name) { Err(TemplateError::DeviceName) } else { Ok(Self(name.to_owned())) }
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TemplateName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Says why a template is not offered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The folder has another name than a path can have.
    #[error("a template's folder has a name of 1 to {NAME_MAX_BYTES} of a-z, 0-9 and -")]
    Name,
    /// The name of a file is not a name everywhere.
    #[error(
        "a file's name has no control character and none of / \\ : * ? \" < > |, and does not end with a space or a dot"
    )]
    FileName,
    /// The name is a device's on Windows, which has no file of that name.
    #[error(
        "CON, PRN, AUX, NUL, COM1 to COM9 and LPT1 to LPT9, also with an ending, are not names of files on Windows"
    )]
    DeviceName,
    /// The path is too long.
    #[error("a path in a template has at most {PATH_MAX_BYTES} bytes")]
    PathTooLong,
    /// Two names are one where upper and lower case, or the spellings of a letter, are the same.
    #[error("another name beside it differs in upper and lower case, or in the spelling of a letter, alone")]
    DiffersInSpelling,
    /// There are too many files and folders.
    #[error("a template has at most {ENTRIES_MAX} files and folders")]
    TooManyEntries,
    /// Folders are too deep in one another.
    #[error("folders of a template are at most {DEPTH_MAX} deep")]
    TooDeep,
    /// The files are too long together.
    #[error("the files of a template have at most {TEMPLATE_MAX_BYTES} bytes together")]
    TooLarge,
    /// The bundle is too long.
    #[error("the bundle of a template has at most {TEMPLATE_MAX_BYTES} bytes")]
    BundleTooLarge,
    /// The template has no manifest.
    #[error("a template has a file {MANIFEST}")]
    NoManifest,
    /// The manifest is too long.
    #[error("a manifest has at most {MANIFEST_MAX_BYTES} bytes")]
    ManifestTooLarge,
    /// The manifest is not JSON, or has a field of another type, or none that it must have.
    #[error("the manifest cannot be read: {reason}")]
    ManifestUnreadable {
        /// What does not fit.
        reason: String,
    },
    /// What is told of the manifest cannot be written as JSON.
    #[error("the manifest cannot be told as JSON: {reason}")]
    ManifestUnwritable {
        /// What does not fit.
        reason: String,
    },
    /// A text of the manifest is too long, empty, or has control characters.
    #[error("{field} of the manifest is a text of {least} to {most} bytes without control characters")]
    ManifestText {
        /// The field.
        field: &'static str,
        /// The fewest bytes.
        least: usize,
        /// The most bytes.
        most: usize,
    },
    /// There are too many templates.
    #[error("there are at most {most} templates")]
    TooManyTemplates {
        /// How many there may be.
        most: usize,
    },
    /// The bundles are too long together.
    #[error("the bundles of all templates have at most {most} bytes together")]
    CatalogueTooLarge {
        /// The most bytes.
        most: usize,
    },
}

/// Returns whether an entry of a folder is left out: files and folders whose names begin with a dot are not for others.
pub fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}

/// Returns whether a name is that of a device on Windows, where what follows a dot does not count, nor spaces before it.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end_matches(' ').to_ascii_uppercase();
    let is_numbered = |rest: &str| {
        let mut letters = rest.chars();
        matches!((letters.next(), letters.next()), (Some('1'..='9' | '¹' | '²' | '³'), None))
    };
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
        || ["COM", "LPT"].iter().any(|port| stem.strip_prefix(port).is_some_and(is_numbered))
}

/// Returns what all spellings of a path have in common: without regard to case, each letter taken apart from its accents
/// (Unicode's form NFD), as file systems compare names that do not compare bytes.
fn fold(path: &str) -> String {
    let apart: String = path.nfd().collect();
    // Letters that are one in upper case may be two in lower case (a sigma at the end of a word), and the other way round.
    apart.to_uppercase().to_lowercase().nfd().collect()
}

/// Holds the files of one template, as the host finds them.
#[derive(Debug)]
pub struct TemplateFiles {
    name: TemplateName,
    files: BTreeMap<String, Vec<u8>>,
    /// All paths, of folders too, as [`fold`] makes them.
    folded: BTreeSet<String>,
    bytes: usize,
}

impl TemplateFiles {
    /// Begins a template without files.
    pub const fn new(name: TemplateName) -> Self {
        Self { name, files: BTreeMap::new(), folded: BTreeSet::new(), bytes: 0 }
    }

    /// Returns the template's name.
    pub const fn name(&self) -> &TemplateName {
        &self.name
    }

    /// Returns whether there may be another entry beside so many that are known of and not entered yet.
    ///
    /// # Errors
    /// [`TemplateError::TooManyEntries`], if not.
    pub fn admit(&self, entries: usize) -> Result<(), TemplateError> {
        if self.folded.len() + entries < ENTRIES_MAX { Ok(()) } else { Err(TemplateError::TooManyEntries) }
    }

    /// Returns the path of an entry `name` of the folder `parent`, which is empty for the template's own, having counted it.
    ///
    /// # Errors
    /// What the entry breaks of the rules.
    pub fn enter(&mut self, parent: &str, name: &str) -> Result<String, TemplateError> {
        // Of a path like `..\..\x` or `c:x` another system makes one that leads out of the folder.
        let is_refused = |letter: char| letter.is_control() || "/\\:*?\"<>|".contains(letter);
        if name.is_empty() || name.contains(is_refused) || name.ends_with([' ', '.']) {
            return Err(TemplateError::FileName);
        }
        if is_device(name) {
            return Err(TemplateError::DeviceName);
        }
        let path = if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") };
        if self.name.as_str().len() + 1 + path.len() > PATH_MAX_BYTES {
            return Err(TemplateError::PathTooLong);
        }
        if path.split('/').count() > DEPTH_MAX {
            return Err(TemplateError::TooDeep);
        }
        self.admit(0)?;
        // Unpacked where case or spelling does not count, one would take the other's place.
        if !self.folded.insert(fold(&path)) {
            return Err(TemplateError::DiffersInSpelling);
        }
        Ok(path)
    }

    /// Returns how many bytes the next file may have.
    pub const fn room(&self) -> usize {
        TEMPLATE_MAX_BYTES.saturating_sub(self.bytes)
    }

    /// Adds a file at a path of [`TemplateFiles::enter`]. Of one that is longer than [`TemplateFiles::room`] the host need
    /// not read more than a byte beyond that.
    ///
    /// # Errors
    /// What the file breaks of the rules.
    pub fn add(&mut self, path: String, content: Vec<u8>) -> Result<(), TemplateError> {
        if content.len() > self.room() {
            return Err(TemplateError::TooLarge);
        }
        if path == MANIFEST && content.len() > MANIFEST_MAX_BYTES {
            return Err(TemplateError::ManifestTooLarge);
        }
        self.bytes += content.len();
        self.files.insert(path, content);
        Ok(())
    }

    /// Returns the files with their paths in the bundle, in order.
    pub fn in_bundle(&self) -> impl Iterator<Item = (String, &[u8])> {
        self.files.iter().map(|(path, content)| (format!("{}/{path}", self.name), content.as_slice()))
    }

    /// Returns the manifest, if there is one.
    pub(super) fn manifest(&self) -> Option<&[u8]> {
        self.files.get(MANIFEST).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> TemplateFiles {
        TemplateFiles::new(TemplateName::new("blog").unwrap())
    }

    #[test]
    fn a_name_is_one_part_of_a_path_and_reads_the_same_everywhere() {
        for name in ["a", "blog-2", "0", &"a".repeat(64)] {
            assert_eq!(TemplateName::new(name).unwrap().as_str(), name);
        }
        for name in ["", "Blog", "..", ".", "a/b", "a_b", "a.b", "a b", "ä", "a%2e", &"a".repeat(65)] {
            assert_eq!(TemplateName::new(name), Err(TemplateError::Name), "{name}");
        }
    }

    #[test]
    fn no_path_leads_out_of_the_folder_that_a_bundle_is_unpacked_in() {
        for name in ["", ".", "..", "a/b", "/a", "..\\a", "c:a", "a\0", "a\nb", "a.", "a ", "a*", "a?", "a|b", "\u{85}"]
        {
            assert_eq!(files().enter("", name), Err(TemplateError::FileName), "{name:?}");
        }
        let mut files = files();
        let folder = files.enter("", "css").unwrap();
        assert_eq!(files.enter(&folder, "ä style.css"), Ok("css/ä style.css".to_owned()));
    }

    #[test]
    fn no_name_is_a_devices_elsewhere() {
        for name in ["con", "prn", "aux", "nul", "com1", "lpt9"] {
            assert_eq!(TemplateName::new(name), Err(TemplateError::DeviceName), "{name}");
        }
        for name in ["CON", "Nul.txt", "aux.tar.gz", "COM1", "lpt9.html", "com².js", "nul .x", "CONIN$", "conout$.a"] {
            assert_eq!(files().enter("", name), Err(TemplateError::DeviceName), "{name}");
        }
        for name in ["console", "con-1", "com0", "com10", "com", "null", "x.con", "lpt-1", "aux2", "conin"] {
            assert_eq!(files().enter("", name), Ok(name.to_owned()));
        }
    }

    #[test]
    fn two_names_that_differ_in_case_or_spelling_alone_are_refused_in_one_folder() {
        let mut files = files();
        for (parent, name) in
            [("", "Readme.md"), ("", "css"), ("css", "readme.md"), ("", "É"), ("", "Å.css"), ("", "ΟΔΟΣ"), ("", "groß")]
        {
            files.enter(parent, name).unwrap();
        }
        for (parent, name) in [
            ("", "README.md"),
            ("", "CSS"),
            ("CSS", "Readme.md"),
            ("", "é"),
            ("", "css"),
            ("", "e\u{301}"),
            ("", "a\u{30a}.css"),
            ("", "\u{212b}.css"),
            ("", "οδος"),
            ("", "οδοσ"),
            ("", "GROSS"),
        ] {
            assert_eq!(files.enter(parent, name), Err(TemplateError::DiffersInSpelling), "{parent}/{name}");
        }
    }

    #[test]
    fn a_template_is_bounded_in_entries_depth_length_and_bytes() {
        let mut many = files();
        for number in 0..ENTRIES_MAX {
            many.enter("", &number.to_string()).unwrap();
        }
        assert_eq!((files().admit(999), files().admit(1_000)), (Ok(()), Err(TemplateError::TooManyEntries)));
        assert_eq!(many.enter("", "one more"), Err(TemplateError::TooManyEntries));
        let mut deep = files();
        let mut path = String::new();
        for _ in 0..DEPTH_MAX {
            path = deep.enter(&path, "d").unwrap();
        }
        assert_eq!(deep.enter(&path, "d"), Err(TemplateError::TooDeep));
        let longest = "a".repeat(PATH_MAX_BYTES - "blog/".len());
        assert_eq!(files().enter("", &longest), Ok(longest.clone()));
        assert_eq!(files().enter("", &format!("{longest}a")), Err(TemplateError::PathTooLong));
        let mut large = files();
        large.add("a".to_owned(), vec![0; TEMPLATE_MAX_BYTES - 1]).unwrap();
        assert_eq!(large.room(), 1);
        assert_eq!(large.add("b".to_owned(), vec![0; 2]), Err(TemplateError::TooLarge));
        large.add("b".to_owned(), vec![0]).unwrap();
        let long = vec![b' '; MANIFEST_MAX_BYTES + 1];
        assert_eq!(files().add(MANIFEST.to_owned(), long.clone()), Err(TemplateError::ManifestTooLarge));
        assert_eq!(files().add(format!("data/{MANIFEST}"), long), Ok(()), "a file of that name is another file");
    }
}
