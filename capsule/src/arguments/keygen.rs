//! Arguments and help of `keygen`.

use std::path::PathBuf;

use clap::Args;

const KEYGEN_HELP: &str = "\
Examples:
  capsule keygen
      writes capsule-key.pem, prints the public key
  capsule keygen --public-of capsule-key.pem
      prints the public key again
  minisign -V -m peers.json \\
    -P \"$(capsule keygen --public-of capsule-key.pem --minisign)\"
      checks a capsule with another program
  capsule keygen --out node-key.pem
      makes a key for `capsule announce`
  capsule keygen --print-private-key | some-secret-store put capsule-key
      keeps the key nowhere but there

The file is PKCS#8 in PEM, as `openssl genpkey -algorithm ed25519` writes it,
with mode 0600. A file that is there already is never overwritten. The line
between BEGIN and END is the key in the bare base64 form.

Exit codes:
  0  the key is made, or its public half shown
  2  usage: a wrong argument, or a file that is there already, or cannot be
     read or written";

/// Arguments of `keygen`.
#[derive(Args, Debug)]
#[command(after_help = KEYGEN_HELP)]
pub(crate) struct KeygenArguments {
    /// New file for the private key.
    #[arg(long, value_name = "FILE", default_value = "capsule-key.pem")]
    pub(crate) out: PathBuf,
    /// Print the private key instead of writing it to a file, and nothing else.
    #[arg(long, conflicts_with = "out")]
    pub(crate) print_private_key: bool,
    /// Make no key, but print the public key of the private key in FILE.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["out", "print_private_key"])]
    pub(crate) public_of: Option<PathBuf>,
    /// Print it as minisign takes it, to check peers.json.minisig.
    #[arg(long, requires = "public_of")]
    pub(crate) minisign: bool,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
