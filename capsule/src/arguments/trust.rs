//! Whom a reader trusts.

use std::path::PathBuf;

use clap::Args;

/// Whom a reader trusts: a publisher's key, or a root.
#[derive(Args, Debug)]
pub(crate) struct TrustArguments {
    /// The publisher's public key (base64), or a file with it (base64, or SPKI in PEM).
    #[arg(long, value_name = "KEY_OR_FILE")]
    pub(crate) public_key: Option<String>,
    /// The root that the reader was given, or the newest that it has verified since: a file.
    #[arg(long, value_name = "FILE", conflicts_with = "public_key")]
    pub(crate) root: Option<PathBuf>,
    /// Believe that root alone, and do not look for its successors beside the capsule.
    #[arg(long)]
    pub(crate) no_successors: bool,
}
