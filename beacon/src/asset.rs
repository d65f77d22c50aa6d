//! The files of the beacon's own page, which a host has beside the program or in it.
//!
//! Out of scope: their contents. They are in `public/`, need no build, and load nothing from elsewhere.

use crate::answer::{Answer, Content, Outcome};

/// Names a file of `public/`, which the host puts into the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Its name in `public/`, and the last part of its path; of a document its place in the repository.
    pub file: &'static str,
    media_type: &'static str,
}

/// The page itself.
pub(crate) const PAGE: Asset = Asset::new("index.html", "text/html; charset=utf-8");

/// The operator's page, which has no figure in it.
pub(crate) const ADMIN: Asset = Asset::new("admin.html", "text/html; charset=utf-8");

/// The pages, and all that they load.
pub const ASSETS: [Asset; 9] = [
    PAGE,
    ADMIN,
    Asset::new("admin.js", "text/javascript; charset=utf-8"),
    Asset::new("docs.css", "text/css; charset=utf-8"),
    Asset::new("page.css", "text/css; charset=utf-8"),
    Asset::new("page.js", "text/javascript; charset=utf-8"),
    Asset::new("presence.js", "text/javascript; charset=utf-8"),
    Asset::new("ticket.js", "text/javascript; charset=utf-8"),
    Asset::new("icon.svg", "image/svg+xml"),
];

impl Asset {
    const fn new(file: &'static str, media_type: &'static str) -> Self {
        Self { file, media_type }
    }

    /// Names a page that is made of this file.
    pub(crate) const fn page(file: &'static str) -> Self {
        Self::new(file, "text/html; charset=utf-8")
    }

    /// Returns the file at this path.
    pub(crate) fn at(path: &str) -> Option<Self> {
        let name = path.strip_prefix('/')?;
        ASSETS.into_iter().find(|asset| asset.file == name)
    }

    /// Returns the answer with the file's content. A host that adds the content itself gives none.
    pub fn answer(self, content: String) -> Answer {
        // Two of the paths have JSON too.
        let headers = vec![("Content-Type", self.media_type.to_owned()), ("Vary", "Accept".to_owned())];
        Answer { status: 200, content: Content::Page, outcome: Outcome::Served, headers, body: content }
    }
}
