//! Names of users: what is good to be shown as one, and which two nobody could tell from each other.

use rendezvous_capsule::text;
use rendezvous_protocol::retalk::user::UserId;
use unicode_security::confusable_detection::skeleton;

use super::record::PeerRecord;
use crate::vault::{Rows, VaultError};

/// Characters of a name, whoever gives it.
pub(super) const NAME_MAX_CHARS: usize = 64;

/// Returns whether a text is good to be shown as somebody's name.
pub(super) fn is_name(name: &str) -> bool {
    name.chars().count() <= NAME_MAX_CHARS && text::printable(name) == name && name.trim() == name
}

/// Returns whether a text is good to be a contact's name. One behind a ~ would look like one that a sender gave itself.
pub(super) fn is_saved_name(name: &str) -> bool {
    is_name(name) && !name.is_empty() && !name.starts_with('~') && name.parse::<UserId>().is_err()
}

/// Returns whether two names differ in nothing that can be seen (Unicode's technical standard 39): a Cyrillic letter in the place
/// of a Latin one, say. Who sends under the one could be taken for the other.
fn looks_like(one: &str, other: &str) -> bool {
    skeleton(one).eq(skeleton(other))
}

/// Returns the name of another contact that nobody could tell from this one.
pub(super) fn name_like(rows: &Rows<'_>, id: UserId, name: &str) -> Result<Option<String>, VaultError> {
    let others = rows.all::<PeerRecord>()?.into_iter().filter(|peer| peer.id != id);
    Ok(others.filter_map(|peer| peer.name).find(|other| looks_like(other, name)))
}
