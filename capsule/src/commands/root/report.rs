//! A root and its signatures, for people and for scripts.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::root::{Role, Root};
use rendezvous_protocol::time::UnixMillis;
use serde_json::{Value, json};

use crate::text;

/// Who has to sign a root, and who did.
#[derive(Debug)]
pub(super) struct Signing<'a> {
    /// The root before it, where there is one and it is known.
    pub(super) previous: Option<&'a Root>,
    /// The root.
    pub(super) root: &'a Root,
    /// All whose signature fits.
    pub(super) signed: BTreeSet<PublicKey>,
}

impl Signing<'_> {
    /// The root keys of both versions.
    pub(super) fn keys(&self) -> BTreeSet<PublicKey> {
        let previous = self.previous.into_iter().flat_map(|root| root.root_keys().keys());
        previous.chain(self.root.root_keys().keys()).copied().collect()
    }

    /// Whether the version before it is one that has to sign, and not at hand.
    fn lacks_previous(&self) -> bool {
        self.previous.is_none() && self.root.root_version() > 1
    }

    fn missing(&self, role: &Role) -> usize {
        role.threshold().saturating_sub(role.keys().intersection(&self.signed).count())
    }

    /// Whether readers follow, as far as that is known.
    pub(super) fn is_complete(&self) -> bool {
        let roots = self.previous.into_iter().chain([self.root]);
        !self.lacks_previous() && roots.into_iter().all(|root| self.missing(root.root_keys()) == 0)
    }

    /// Which keys signed, and what is missing.
    pub(super) fn to_text(&self) -> String {
        let mut head = vec!["ROOT KEY".to_owned()];
        let roots: Vec<&Root> = self.previous.into_iter().chain([self.root]).collect();
        head.extend(roots.iter().map(|root| format!("VERSION {}", root.root_version())));
        head.push("SIGNED".to_owned());
        let yes = |yes| if yes { "yes" } else { "no" }.to_owned();
        let rows = self.keys().into_iter().map(|key| {
            let mut row = vec![key.to_string()];
            row.extend(roots.iter().map(|root| yes(root.root_keys().keys().contains(&key))));
            row.push(yes(self.signed.contains(&key)));
            row
        });
        let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
        let mut shown = text::table(&rows);
        shown.push('\n');
        for root in &roots {
            let role = root.root_keys();
            let rest = match self.missing(role) {
                0 => "enough have signed".to_owned(),
                missing => format!("{missing} more to sign"),
            };
            // Writing to a String does not fail.
            let _ = writeln!(shown, "version {}: {}, {rest}", root.root_version(), quorum(role));
        }
        if self.lacks_previous() {
            let before = self.root.root_version() - 1;
            let _ = writeln!(
                shown,
                "version {before}: not at hand, and its root keys have to sign too; name it with --previous"
            );
        } else if self.previous.is_none() {
            shown.push_str("It is the first: readers that are given it believe it without signatures.\n");
        }
        shown
    }

    /// The same for scripts.
    pub(super) fn to_json(&self) -> Value {
        let roots = self.previous.into_iter().chain([self.root]);
        let versions = roots.map(|root| {
            let role = root.root_keys();
            let signed = role.keys().intersection(&self.signed);
            json!({
                "rootVersion": root.root_version(),
                "threshold": role.threshold(),
                "signed": signed.map(PublicKey::to_string).collect::<Vec<_>>(),
                "missing": self.missing(role),
            })
        });
        versions.collect()
    }
}

/// How many of how many.
fn quorum(role: &Role) -> String {
    format!("{} of {}", role.threshold(), text::count(role.keys().len(), "root key", "root keys"))
}

/// What a root says.
pub(super) fn root_text(head: (&str, &str), root: &Root, now: UnixMillis) -> String {
    let (name, file) = head;
    let shown = text::printable(file);
    let keys = |role: &Role| {
        let keys: Vec<_> = role.keys().iter().map(PublicKey::to_string).collect();
        format!("{} of {}", role.threshold(), keys.join(" "))
    };
    text::fields(&[
        (name, &shown),
        ("community", root.community()),
        ("root version", &root.root_version()),
        ("expires", &life(root, now)),
        ("root keys", &keys(root.root_keys())),
        ("publishers", &keys(root.publisher_keys())),
    ])
}

/// The same for scripts.
pub(super) fn root_json(root: &Root) -> Value {
    let role = |role: &Role| {
        let keys: Vec<_> = role.keys().iter().map(PublicKey::to_string).collect();
        json!({ "threshold": role.threshold(), "keys": keys })
    };
    json!({
        "community": root.community().as_str(),
        "rootVersion": root.root_version(),
        "expiresAt": root.expires_at(),
        "rootKeys": role(root.root_keys()),
        "publisherKeys": role(root.publisher_keys()),
    })
}

/// A root's life, as people read it.
fn life(root: &Root, now: UnixMillis) -> String {
    format!("{} ({})", text::date(root.expires_at()), text::distance(root.expires_at(), now))
}
