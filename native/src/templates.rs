//! The templates of a folder: read once at the start, and made into bundles.
//!
//! What may be in a template the service decides; here folders are walked. Whoever may write into the folder is not always
//! whoever runs the beacon, so no link is followed, whenever it comes to be there, and nothing but plain files is read.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use flate2::{Compression, GzBuilder};
use rendezvous_service::templates::{
    Catalogue, MANIFEST, Template, TemplateError, TemplateFiles, TemplateName, is_hidden,
};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;

/// Entries of the default folder that are looked at for a manifest, where not all of it is templates.
const LOOKED_AT_MAX: usize = 1_000;

/// The rights of a file in a bundle.
const FILE_MODE: u32 = 0o644;

/// Why templates are not offered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplatesError {
    #[error("{path} cannot be read: {error}")]
    Unreadable { path: String, error: io::Error },
    #[error("{path} is a link, and links are not followed")]
    Link { path: String },
    #[error("{path} is neither a plain file nor a folder")]
    Special { path: String },
    #[error("{path} is not a folder, as a template is")]
    NotAFolder { path: String },
    #[error("the name of {path} is not UTF-8")]
    NotUnicode { path: String },
    #[error("{path} cannot be bundled: {error}")]
    Bundle { path: String, error: io::Error },
    #[error("{path}: {error}")]
    Refused { path: String, error: TemplateError },
}

/// What a folder is.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is not there.
    Nothing,
    /// It is another program's, because of this.
    SomethingElse(TemplatesError),
    Templates(Arc<Catalogue>),
}

/// Reads the templates of a folder. `is_default` says that nobody has named it: then it need not be there, and it is another
/// program's where none of the folders in it has a manifest.
pub(crate) fn read(folder: &Path, is_default: bool) -> Result<Found, TemplatesError> {
    let path = folder.display().to_string();
    // The operator names this one, so it may be a link.
    let opened = openat(CWD, folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let opened = match opened {
        Err(Errno::NOENT) if is_default => return Ok(Found::Nothing),
        Err(Errno::NOTDIR) if is_default => return Ok(Found::SomethingElse(TemplatesError::NotAFolder { path })),
        opened => opened.map_err(|error| unreadable(&path, error))?,
    };
    match read_all(&opened, path) {
        Err(error) if is_default && !may_have_manifest(&opened) => Ok(Found::SomethingElse(error)),
        templates => templates.map(|templates| Found::Templates(Arc::new(templates))),
    }
}

/// Returns whether a folder in this one has a manifest, or may have one as far as can be seen.
fn may_have_manifest(folder: &OwnedFd) -> bool {
    let Ok(entries) = Dir::read_from(folder) else { return true };
    entries.take(LOOKED_AT_MAX).any(|entry| {
        let Ok(entry) = entry else { return true };
        if is_hidden(&entry.file_name().to_string_lossy()) {
            return false;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(folder.as_fd(), entry.file_name(), flags, Mode::empty()) {
            Ok(inside) => !matches!(statat(inside, MANIFEST, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT)),
            Err(Errno::NOTDIR | Errno::LOOP) => false,
            Err(_) => true,
        }
    })
}

fn read_all(opened: &OwnedFd, path: String) -> Result<Catalogue, TemplatesError> {
    let mut templates = Vec::new();
    for name in entries(opened, &path, Catalogue::admit)? {
        let path = format!("{path}/{name}");
        let refused = |error| TemplatesError::Refused { path: path.clone(), error };
        let Entry::Folder(folder) = open(opened, &name, &path)? else {
            return Err(TemplatesError::NotAFolder { path });
        };
        let mut files = TemplateFiles::new(TemplateName::new(&name).map_err(refused)?);
        collect(&folder, "", &path, &mut files)?;
        let bundle = bundle(&files).map_err(|error| TemplatesError::Bundle { path: path.clone(), error })?;
        templates.push(Template::new(&files, bundle).map_err(refused)?);
    }
    Catalogue::new(templates).map_err(|error| TemplatesError::Refused { path, error })
}

enum Entry {
    Folder(OwnedFd),
    File(File),
}

/// Opens an entry of a folder, if it is a file or a folder.
fn open(folder: &OwnedFd, name: &str, path: &str) -> Result<Entry, TemplatesError> {
    // Without waiting for who would write into a pipe.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = match openat(folder.as_fd(), name, flags, Mode::empty()) {
        Err(Errno::LOOP) => return Err(TemplatesError::Link { path: path.to_owned() }),
        Err(Errno::NXIO) => return Err(TemplatesError::Special { path: path.to_owned() }),
        opened => opened.map_err(|error| unreadable(path, error))?,
    };
    let mode = fstat(&opened).map_err(|error| unreadable(path, error))?.st_mode;
    match FileType::from_raw_mode(mode) {
        FileType::Directory => Ok(Entry::Folder(opened)),
        FileType::RegularFile => Ok(Entry::File(opened.into())),
        _ => Err(TemplatesError::Special { path: path.to_owned() }),
    }
}

/// Returns the names in a folder, in order, without the hidden ones. `admit` says whether there may be one beside so many.
fn entries(
    folder: &OwnedFd,
    path: &str,
    admit: impl Fn(usize) -> Result<(), TemplateError>,
) -> Result<Vec<String>, TemplatesError> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder).map_err(|error| unreadable(path, error))? {
        let entry = entry.map_err(|error| unreadable(path, error))?;
        let name = entry.file_name().to_string_lossy();
        if is_hidden(&name) {
            continue;
        }
        admit(names.len()).map_err(|error| TemplatesError::Refused { path: path.to_owned(), error })?;
        let in_error = || TemplatesError::NotUnicode { path: format!("{path}/{name}") };
        names.push(entry.file_name().to_str().map_err(|_| in_error())?.to_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// Adds what is in a folder of a template. `parent` is its path in the template, `path` the one in messages.
fn collect(folder: &OwnedFd, parent: &str, path: &str, files: &mut TemplateFiles) -> Result<(), TemplatesError> {
    for name in entries(folder, path, |entries| files.admit(entries))? {
        let path = format!("{path}/{name}");
        let refused = |error| TemplatesError::Refused { path: path.clone(), error };
        let inside = files.enter(parent, &name).map_err(refused)?;
        match open(folder, &name, &path)? {
            // As deep as `enter` allows.
            Entry::Folder(folder) => collect(&folder, &inside, &path, files)?,
            Entry::File(file) => {
                let mut content = Vec::new();
                let most = files.room() as u64 + 1;
                file.take(most)
                    .read_to_end(&mut content)
                    .map_err(|error| TemplatesError::Unreadable { path: path.clone(), error })?;
                files.add(inside, content).map_err(refused)?;
            }
        }
    }
    Ok(())
}

/// Makes the bundle: the same bytes of the same files, whoever has them and since when.
fn bundle(files: &TemplateFiles) -> io::Result<Vec<u8>> {
    let compressed = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    let mut archive = tar::Builder::new(compressed);
    for (path, content) in files.in_bundle() {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(FILE_MODE);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        archive.append_data(&mut header, path, content)?;
    }
    archive.into_inner()?.finish()
}

fn unreadable(path: &str, error: Errno) -> TemplatesError {
    TemplatesError::Unreadable { path: path.to_owned(), error: error.into() }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, SystemTime};

    use tempfile::TempDir;

    use super::*;

    /// A folder with one good template.
    fn folder() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let blog = folder.path().join("blog");
        fs::create_dir_all(blog.join("css")).unwrap();
        fs::write(blog.join("manifest.json"), r#"{"name":"Blog"}"#).unwrap();
        fs::write(blog.join("index.html"), "<h1>").unwrap();
        fs::write(blog.join("css/style.css"), "h1 {}").unwrap();
        folder
    }

    fn error(folder: &TempDir) -> String {
        let error = read(folder.path(), false).unwrap_err().to_string();
        error.replace(folder.path().to_str().unwrap(), "T")
    }

    #[test]
    fn a_bundle_has_the_files_in_order_and_nothing_of_who_has_made_them() {
        let files = |name: &str| {
            let mut files = TemplateFiles::new(TemplateName::new("blog").unwrap());
            let folder = folder();
            let blog = folder.path().join("blog");
            fs::write(blog.join(".env"), "SECRET=1").unwrap();
            fs::create_dir(blog.join(".git")).unwrap();
            fs::write(blog.join(".git/config"), "x").unwrap();
            symlink("/etc/passwd", blog.join(".hidden")).unwrap();
            fs::write(blog.join(name), "x").unwrap();
            let opened = File::open(&blog).unwrap();
            opened.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(name.len() as u64)).unwrap();
            collect(&opened.into(), "", "T", &mut files).unwrap();
            bundle(&files).unwrap()
        };
        let long = format!("{}.txt", "a".repeat(200));
        let bytes = files(&long);
        assert_eq!(bytes, files(&long));
        assert_eq!(bytes.get(4..8), Some(&[0; 4][..]), "no time in the header of gzip");
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&*bytes));
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            assert!(header.entry_type().is_file());
            let facts = [header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()];
            assert_eq!((facts, header.mode().unwrap()), ([0; 3], 0o644));
            found.push(entry.path().unwrap().display().to_string());
        }
        let long = format!("blog/{long}");
        assert_eq!(found, [&long, "blog/css/style.css", "blog/index.html", "blog/manifest.json"]);
    }

    #[test]
    fn an_absent_folder_is_none_where_it_is_the_default_one_and_else_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent");
        assert!(matches!(read(&absent, true).unwrap(), Found::Nothing));
        assert!(read(&absent, false).unwrap_err().to_string().contains("/absent cannot be read"));
        assert!(matches!(read(folder.path(), true).unwrap(), Found::Templates(_)), "an empty one offers nothing");
    }

    #[test]
    fn the_default_folder_is_another_programs_where_nothing_in_it_has_a_manifest() {
        type Fill = fn(&Path);
        let others: [(Fill, &str); 5] = [
            (|at| fs::write(at, "").unwrap(), " is not a folder"),
            (|at| fs::write(at.join("base.html"), "").unwrap(), "/base.html is not a folder"),
            (|at| fs::create_dir_all(at.join("mails/de")).unwrap(), "/mails: a template has a file manifest.json"),
            (|at| symlink("/etc", at.join("etc")).unwrap(), "/etc is a link"),
            (
                |at| {
                    fs::create_dir_all(at.join(".old")).unwrap();
                    fs::write(at.join(".old/manifest.json"), "{}").unwrap();
                    fs::write(at.join("base.html"), "").unwrap();
                },
                "/base.html is not a folder",
            ),
        ];
        for (number, (fill, cause)) in others.into_iter().enumerate() {
            let folder = tempfile::tempdir().unwrap();
            let at = folder.path().join("templates");
            if number > 0 {
                fs::create_dir(&at).unwrap();
            }
            fill(&at);
            let Found::SomethingElse(error) = read(&at, true).unwrap() else { panic!("{cause}") };
            assert!(error.to_string().contains(cause), "{error}");
            assert!(read(&at, false).is_err(), "{cause}: it was named");
        }
    }

    #[test]
    fn the_default_folder_is_no_other_programs_once_a_manifest_is_in_it() {
        for manifest in ["{}", "<html>"] {
            let folder = folder();
            fs::write(folder.path().join("blog/manifest.json"), manifest).unwrap();
            assert!(read(folder.path(), true).unwrap_err().to_string().contains("the manifest cannot be read"));
        }
        let folder = folder();
        fs::write(folder.path().join("readme.txt"), "").unwrap();
        assert!(read(folder.path(), true).unwrap_err().to_string().contains("/readme.txt is not a folder"));
    }

    #[test]
    fn what_is_neither_file_nor_folder_is_named_and_never_read() {
        type Spoil = fn(&Path);
        let spoils: [(Spoil, &str); 7] = [
            (|at| symlink("/etc/passwd", at.join("blog/x")).unwrap(), "T/blog/x is a link"),
            (|at| symlink("..", at.join("blog/x")).unwrap(), "T/blog/x is a link"),
            (|at| symlink("nowhere", at.join("blog/x")).unwrap(), "T/blog/x is a link"),
            (|at| symlink("blog", at.join("twin")).unwrap(), "T/twin is a link"),
            (
                |at| {
                    rustix::fs::mknodat(CWD, at.join("blog/x"), FileType::Fifo, Mode::RUSR, 0).unwrap();
                },
                "T/blog/x is neither a plain file nor a folder",
            ),
            (
                |at| drop(std::os::unix::net::UnixListener::bind(at.join("blog/x")).unwrap()),
                "T/blog/x is neither a plain file nor a folder",
            ),
            (|at| fs::write(at.join("blog.tar.gz"), "x").unwrap(), "T/blog.tar.gz is not a folder"),
        ];
        for (spoil, expected) in spoils {
            let folder = folder();
            spoil(folder.path());
            assert!(error(&folder).starts_with(expected), "{expected}: {}", error(&folder));
        }
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt as _;
        type Spoil = fn(&Path);
        let spoils: [(Spoil, &str); 11] = [
            (
                |at| (0..64).for_each(|number| fs::create_dir(at.join(format!("t{number}"))).unwrap()),
                "T: there are at most 64 templates",
            ),
            (|at| fs::create_dir(at.join("Blog")).unwrap(), "T/Blog: a template's folder has a name of"),
            (|at| fs::write(at.join("blog/INDEX.html"), "").unwrap(), "T/blog/index.html: another name"),
            (|at| fs::write(at.join("blog/x\\..\\y"), "").unwrap(), "T/blog/x\\..\\y: a file's name has"),
            (|at| fs::write(at.join("blog/nul.html"), "").unwrap(), "T/blog/nul.html: CON, PRN, AUX, NUL"),
            (|at| fs::rename(at.join("blog"), at.join("aux")).unwrap(), "T/aux: CON, PRN, AUX, NUL"),
            (|at| fs::write(at.join("blog/manifest.json"), "<html>").unwrap(), "T/blog: the manifest cannot be read"),
            (|at| fs::create_dir(at.join("empty")).unwrap(), "T/empty: a template has a file manifest.json"),
            (
                |at| {
                    // Sparse: it takes no room here, and would take all of a client's.
                    let file = File::create(at.join("blog/bomb")).unwrap();
                    file.set_len(1 << 40).unwrap();
                },
                "T/blog/bomb: the files of a template have at most 8388608 bytes together",
            ),
            (
                |at| (0..1_000).for_each(|number| fs::create_dir(at.join(format!("blog/{number}"))).unwrap()),
                "T/blog: a template has at most 1000 files and folders",
            ),
            (
                |at| fs::write(at.join("blog").join(OsStr::from_bytes(b"\xff")), "").unwrap(),
                "the name of T/blog/\u{fffd} is not UTF-8",
            ),
        ];
        for (spoil, expected) in spoils {
            let folder = folder();
            spoil(folder.path());
            assert!(error(&folder).starts_with(expected), "{expected}: {}", error(&folder));
        }
    }
}
