//! Arguments and help of `keygen`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

const KEYGEN_HELP: &str = "\
Examples:
  capsule keygen
      writes capsule-key.pem, prints the public key
  capsule keygen --public-of capsule-key.pem
      prints the public key again
  minisign -V -m peers.json \\
    -P \"$(capsule keygen --public-of capsule-key.pem --minisign)\"
      checks a capsule with another program
  capsule keygen --for node
      writes node-key.pem, a key for `capsule announce`
  capsule keygen --for root --out root-a.pem
      a key that signs roots, offline; asks for a passphrase
  capsule keygen --print-private-key | some-secret-store put capsule-key
      keeps the key nowhere but there

The file is PKCS#8 in PEM, as `openssl genpkey -algorithm ed25519` writes it,
with mode 0600. A file that is there already is never overwritten. The line
between BEGIN and END is the key in the bare base64 form. With a passphrase, of
--passphrase-file or from the terminal, it is encrypted, as `openssl pkcs8` does.

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_PASSPHRASE_FILE  --passphrase-file

Exit codes:
  0  the key is made, or its public half shown
  2  usage: a wrong argument, or a file that is there already, or cannot be
     read or written";

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyRole {
    /// Signs capsules.
    Publisher,
    /// Signs roots, and is kept offline.
    Root,
    /// Signs the tickets of a server.
    Node,
}

/// Arguments of `keygen`.
#[derive(Args, Debug)]
#[command(after_long_help = KEYGEN_HELP)]
pub(crate) struct KeygenArguments {
    /// What the key is for: it says what to do next, and offers a root's key a passphrase.
    #[arg(long = "for", value_name = "ROLE", default_value = "publisher", conflicts_with = "public_of")]
    pub(crate) role: KeyRole,
    /// New file for the private key. [default: capsule-key.pem, root-key.pem or node-key.pem]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
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
