//! `capsule keygen`: makes the key that signs capsules.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use rendezvous_protocol::key::{KeyError, PrivateKey, PublicKey};
use serde_json::json;

use crate::environment::Environment;
use crate::failure::{Cause, Exit, Failure};
use crate::files::STANDARD;
use crate::keys;
use crate::minisig;
use crate::outcome::Outcome;
use crate::secret;
use crate::text;

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
    /// New file for the private key; - prints it. [default: capsule-key.pem, root-key.pem or node-key.pem]
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

/// Why no key was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeygenError {
    /// The system gave none.
    #[error("the system has no randomness to make a key of: {0}")]
    Randomness(getrandom::Error),
    /// The key has no text.
    #[error("the key cannot be encoded: {0}")]
    Encoding(KeyError),
}

impl Cause for KeygenError {}

/// Runs the command.
pub(crate) fn keygen(arguments: &KeygenArguments, environment: &Environment) -> Result<Outcome, Failure> {
    if let Some(path) = &arguments.public_of {
        let public_key = keys::read_private_key(path, environment)?.public_key();
        let minisign = arguments.minisign.then(|| minisig::public_key(public_key));
        if !arguments.json {
            let shown = minisign.unwrap_or_else(|| public_key.to_string());
            return Ok(Outcome::text(format!("{shown}\n"), Exit::Good));
        }
        let mut result = json!({ "ok": true, "file": secret::path(path), "publicKey": public_key.to_string() });
        if let (Some(minisign), Some(result)) = (minisign, result.as_object_mut()) {
            result.insert("minisignPublicKey".to_owned(), minisign.into());
        }
        return Ok(Outcome::json(&result, Exit::Good));
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(KeygenError::Randomness)?;
    let key = PrivateKey::from_seed(&seed);
    let plain = key.to_pem().map_err(KeygenError::Encoding)?;
    let passphrase = keys::new_passphrase(environment, arguments.role == KeyRole::Root && !arguments.json)?;
    let pem = passphrase.as_deref().map_or(Ok(plain.clone()), |passphrase| keys::encrypt(&plain, passphrase))?;
    let public_key = key.public_key();
    if arguments.print_private_key || arguments.out.as_deref() == Some(Path::new(STANDARD)) {
        return Ok(if arguments.json {
            let result = json!({ "ok": true, "publicKey": public_key.to_string(), "privateKey": pem });
            Outcome::json(&result, Exit::Good)
        } else {
            // Nothing else, so that it can be piped into whatever keeps secrets.
            Outcome::text(pem, Exit::Good)
        });
    }
    let out = arguments.out.as_deref().unwrap_or_else(|| {
        Path::new(match arguments.role {
            KeyRole::Publisher => "capsule-key.pem",
            KeyRole::Root => "root-key.pem",
            KeyRole::Node => "node-key.pem",
        })
    });
    keys::create(out, &pem)?;
    Ok(if arguments.json {
        let encrypted = passphrase.is_some();
        let result = json!({ "ok": true, "publicKey": public_key.to_string(), "file": secret::path(out), "encrypted": encrypted });
        Outcome::json(&result, Exit::Good)
    } else {
        Outcome::text(explanation(arguments.role, out, public_key), Exit::Good)
    })
}

/// What to do next.
fn explanation(role: KeyRole, path: &Path, public_key: PublicKey) -> String {
    let path = secret::path(path);
    let key = text::fields(&[("private key", &path), ("public key", &public_key)]);
    let next = match role {
        KeyRole::Publisher => format!(
            "The private key is readable by you alone. Keep a copy where you keep secrets, and the file out of version control:
whoever has it can publish in your name, and without it clients need a new public key.

  publish      capsule publish --key {path} --beacon https://beacon.example.org
  publish, CI  store the file's text as the secret RENDEZVOUS_CAPSULE_PRIVATE_KEY
  verify       capsule verify public/capsules/peers.json --public-key {public_key}
  clients      put the public key into their configuration
"
        ),
        KeyRole::Root => format!(
            "It signs nothing but roots. Keep the file offline, on a stick in a safe, with a copy elsewhere, and on no server and
in no CI: whoever has enough of these keys says who may publish.

  hand on   the public key, to whoever makes the root: capsule root init --root-key {public_key},…
  sign      capsule root sign 1.root.json --key {path}
  see       capsule root verify 1.root.json
"
        ),
        KeyRole::Node => format!(
            "It signs this server's tickets. Keep it on the server, readable by you alone: peers tell the server from others by it.

  be found          capsule announce --key {path} --peer-id my-server --beacon https://beacon.example.org
  be in capsules    capsule ticket --key {path} --peer-id my-server, whose file goes to the publisher
"
        ),
    };
    format!("{key}\n{next}")
}
