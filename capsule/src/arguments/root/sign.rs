//! Arguments and help of `root sign`.

use std::path::PathBuf;

use clap::Args;

const SIGN_HELP: &str = "\
Examples:
  capsule root verify 1.root.json 2.root.json
      first: see what is to be signed. It is refused for want of signatures,
      and says what the file would allow
  capsule root sign 2.root.json --key /media/stick/root-a.pem
      adds this key's line to 2.root.json.sigs, and says who else has to sign
  capsule root sign 2.root.json --key root-a.pem --previous old/1.root.json

What it does:
  Signs the exact bytes of FILE, and adds the line to FILE.sigs, or replaces the
  one that this key has there; lines that do not fit FILE are left out. The lines
  of several machines may also be put together with `cat`.
  Refuses a key that is a root key neither of FILE nor of the version before it.

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_PASSPHRASE_FILE  --passphrase-file

Exit codes:
  0  signed; what is still missing, if anything, is printed
  1  refused: FILE is no root, or no successor of the one before it, or the key
     has no part in it
  2  usage: a wrong argument, a file that cannot be read or written";

/// Arguments of `root sign`.
#[derive(Args, Debug)]
#[command(after_long_help = SIGN_HELP)]
pub(crate) struct SignArguments {
    /// The root to sign.
    #[arg(value_name = "FILE")]
    pub(crate) root: PathBuf,
    /// File with the private root key: PKCS#8 in PEM, or the base64 of its DER.
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) key: PathBuf,
    /// The version before it. [default: (N-1).root.json in the directory of FILE, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) previous: Option<PathBuf>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
