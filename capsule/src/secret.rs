//! What this process never shows: `rendezvous_protocol::safe_text`, applied to its own arguments and to names of files.

use std::path::Path;

use rendezvous_protocol::safe_text;

/// Returns the arguments of this process.
pub fn arguments() -> Vec<String> {
    std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into()).collect()
}

/// Takes out of a text what must not be shown, be it of any kind or one of this process's own arguments.
pub fn hide(text: &str) -> String {
    safe_text::hide(text, &arguments())
}

/// Returns the name of a file as it may be shown: one that may be a key is not.
pub fn path(path: &Path) -> String {
    let name = path.to_string_lossy();
    if safe_text::is_secret(&name) || safe_text::looks_like_key(&name) {
        "(not shown: it may be a key)".to_owned()
    } else {
        safe_text::printable(&name)
    }
}
