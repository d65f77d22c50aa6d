//! What is asked of whoever sits at the terminal.

use std::io;

use crate::signals;

/// Asks for a passphrase, which is not shown while it is typed. Ctrl-C ends the program, and the terminal is as it was.
///
/// # Errors
/// There is no terminal, or it gives none.
pub fn ask_passphrase(prompt: &str) -> io::Result<String> {
    signals::during_prompt(|| rpassword::prompt_password(prompt))
}
