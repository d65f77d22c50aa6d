//! The project's documents as pages, of a host that has them in it.
//!
//! Out of scope: what is in them. A host makes the pages of the Markdown that is in the repository.

use crate::asset::Asset;

/// Names a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its place in the repository.
    pub file: &'static str,
    /// The last part of its path, `/docs/<slug>`; empty for the first one.
    pub slug: &'static str,
    /// What it is called in the menu.
    pub name: &'static str,
}

impl Document {
    const fn new(file: &'static str, slug: &'static str, name: &'static str) -> Self {
        Self { file, slug, name }
    }
}

/// The documents, in the order in which the menu has them: those for whoever uses a beacon.
pub const DOCUMENTS: [Document; 17] = [
    Document::new("docs/README.md", "", "Documents"),
    Document::new("README.md", "overview", "Overview"),
    Document::new("docs/install.md", "install", "Install"),
    Document::new("docs/upgrade.md", "upgrade", "Upgrade"),
    Document::new("docs/cluster.md", "cluster", "Several machines"),
    Document::new("client/README.md", "client", "Browser client"),
    Document::new("protocol/README.md", "protocol", "Specification"),
    Document::new("docs/from-peerjs.md", "from-peerjs", "From PeerJS"),
    Document::new("docs/from-trystero.md", "from-trystero", "From Trystero"),
    Document::new("docs/from-y-webrtc.md", "from-y-webrtc", "From y-webrtc"),
    Document::new("docs/from-swarm-space.md", "from-swarm-space", "From swarm-space"),
    Document::new("docs/from-goop2.md", "from-goop2", "From goop2"),
    Document::new("docs/from-retalk.md", "from-retalk", "From retalk"),
    Document::new("docs/from-shadowbroker.md", "from-shadowbroker", "From ShadowBroker"),
    Document::new("docs/from-hivemind.md", "from-hivemind", "From hivemind-rendezvous"),
    Document::new("SECURITY.md", "security", "Security"),
    Document::new("CHANGELOG.md", "changelog", "Changelog"),
];

/// Returns the page at this path.
pub(crate) fn at(path: &str) -> Option<Asset> {
    let slug = path.strip_prefix("/docs")?;
    let slug = if slug.is_empty() { slug } else { slug.strip_prefix('/')? };
    let document = DOCUMENTS.into_iter().find(|document| document.slug == slug)?;
    Some(Asset::page(document.file))
}
