//! Ed25519 keys and signatures, and their text forms.
//!
//! Signatures are those of RFC 8032 under one acceptance rule, that of [`VerifyingKey::verify_strict`]: `S < L`, no
//! key and no `R` of small order, the equation without its cofactor. A plain check alone, be it dalek's or WebCrypto's,
//! accepts every message for the identity key: whoever publishes that key could be impersonated, and could impersonate,
//! at will.

use std::borrow::Cow;
use std::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes};
use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier as _, VerifyingKey};

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use crate::base64;

/// Holds the bytes of a public key. Whether they are a usable point shows when a signature is checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// Says why a text is not the key that is asked for, and what it is instead, where that shows. The text itself is never
/// repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither form of a public key.
    #[error("a public key is the base64 of its 32 bytes, or SPKI in PEM (-----BEGIN PUBLIC KEY-----)")]
    PublicKey,
    /// Neither form of a private key.
    #[error("a private key is PKCS#8 for Ed25519, in PEM or as the base64 of its DER")]
    PrivateKey,
    /// Nothing but white space.
    #[error("there is no key in it")]
    Empty,
    /// 32 bytes in another alphabet, or without the padding.
    #[error(
        "the base64 of a public key has 44 characters, of A-Z a-z 0-9 + /, and the last is =; this is base64url, or the \
         = is missing"
    )]
    OtherBase64,
    /// A PEM block without its end.
    #[error("the line -----END …----- is missing: the key is cut off")]
    CutOff,
    /// More than one key, of which none is to be chosen by chance.
    #[error("there are several keys in it")]
    Several,
    /// A private key where a public one is asked for.
    #[error("it is a private key, where the public one is asked for")]
    Private,
    /// A public key where a private one is asked for.
    #[error("it is a public key, where the private one is asked for")]
    Public,
    /// 32 bytes where a private key is asked for: a public key, or a seed, which has no mark that tells them apart.
    #[error("it is 32 bytes in base64, a public key or a bare seed, where a private key is PKCS#8")]
    Bare,
    /// A private key that a passphrase protects.
    #[error("it is encrypted, with a passphrase")]
    Encrypted,
    /// A private key in OpenSSH's own format.
    #[error("it is in OpenSSH's own format, where a private key is PKCS#8")]
    OpenSsh,
    /// A key for another algorithm than Ed25519.
    #[error("it is for {algorithm}, where a key is for Ed25519")]
    OtherAlgorithm {
        /// Its name.
        algorithm: &'static str,
    },
    /// A PEM block that holds no key, like a certificate.
    #[error("it is PEM of something else than a key")]
    OtherPem,
}

/// Says that a signature is not one by that key over those bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not one by this key over these bytes")]
pub struct BadSignature;

impl PublicKey {
    /// Takes the 32 bytes of a key.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads either text form: the base64 of the 32 bytes, or SPKI (RFC 8410), in PEM or as the base64 of its DER, in any
    /// of the spellings that tools leave: see section 10 of the specification.
    ///
    /// # Errors
    /// [`KeyError`]. Bytes that are not a point of the curve are a key in either form.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let spki = |der: &[u8]| der.strip_prefix(&SPKI_PREFIX).and_then(|bytes| bytes.try_into().ok());
        if split_around(text, PEM_BEGIN).is_some() {
            let der = one_block(text, PUBLIC_LABEL)?;
            return spki(&der).map(Self).ok_or_else(|| other_algorithm(&der).unwrap_or(KeyError::PublicKey));
        }
        let compact = compact(text);
        if compact.is_empty() {
            return Err(KeyError::Empty);
        }
        let Some(bytes) = base64::decode(&compact) else {
            let other = is_32_bytes_in_another_base64(&compact);
            return Err(if other { KeyError::OtherBase64 } else { KeyError::PublicKey });
        };
        match bytes.as_slice().try_into().ok().or_else(|| spki(&bytes)) {
            Some(bytes) => Ok(Self(bytes)),
            None if begins_as_private(&bytes) => Err(KeyError::Private),
            None => Err(other_algorithm(&bytes).unwrap_or(KeyError::PublicKey)),
        }
    }

    /// Returns the 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns whether `signature` may be one of this key's under the strict rule, as far as that shows without the
    /// message: no key and no `R` of small order. With this, the plain equation of RFC 8032 is all that is left to
    /// check: `S < L`, and `R` byte for byte that of `[S]B - [k]A`. dalek's plain check computes just that, and so does
    /// BoringSSL, which is WebCrypto in workerd.
    pub fn may_have_made(&self, signature: &[u8; 64]) -> bool {
        !has_small_order(&self.0) && signature.first_chunk().is_some_and(|r| !has_small_order(r))
    }

    /// Returns whether the bytes are a point of the curve, and not one of small order: whether there can be a private key
    /// for them that is of use.
    pub fn is_usable(&self) -> bool {
        !has_small_order(&self.0) && VerifyingKey::from_bytes(&self.0).is_ok()
    }

    /// Checks `signature` over `message` under the strict rule of this module.
    ///
    /// # Errors
    /// [`BadSignature`], whatever is wrong: key, encoding or equation.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), BadSignature> {
        if !self.may_have_made(signature) {
            return Err(BadSignature);
        }
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| BadSignature)?;
        // Not `verify_strict`, which spends an eighth of its time on decoding `R` to learn what its bytes have shown.
        key.verify(message, &Signature::from_bytes(signature)).map_err(|_| BadSignature)
    }
}

/// What comes before the 32 bytes in the SPKI of every Ed25519 key: lengths, and the algorithm (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The algorithm in the DER of every Ed25519 key.
const ALGORITHM: [u8; 7] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];

/// Returns whether this is the beginning of the PKCS#8 of an Ed25519 key, of either version. Not whether the rest is one:
/// whoever reads public keys need not have what parses private ones.
fn begins_as_private(der: &[u8]) -> bool {
    matches!(der, [0x30, _, 0x02, 0x01, 0 | 1, rest @ ..] if rest.starts_with(&ALGORITHM))
}

const PEM_BEGIN: &str = "-----BEGIN ";
const PUBLIC_LABEL: &str = "PUBLIC KEY";
const PRIVATE_LABEL: &str = "PRIVATE KEY";
const ENCRYPTED_LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// Takes out of base64 what tools put in: white space, a byte order mark before it, and line ends that are written out
/// as `\n`, as files of variables have them.
fn compact(text: &str) -> String {
    let mut compact = String::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text).chars();
    while let Some(character) = rest.next() {
        if character == '\\' && rest.as_str().starts_with(['n', 'r']) {
            rest.next();
        } else if !character.is_ascii_whitespace() {
            compact.push(character);
        }
    }
    compact
}

/// Returns what is before the first mark in a text, and what is after. Keys are short and seldom read: the standard library's
/// search, which is fast in texts of any length, is several kilobytes of a Worker's upload.
fn split_around<'a>(text: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    let at = text.as_bytes().windows(mark.len()).position(|window| window == mark.as_bytes())?;
    Some((text.get(..at)?, text.get(at + mark.len()..)?))
}

/// Returns the labels and the bodies of all blocks of PEM in a text, the last one without a body where its end is
/// missing.
fn blocks(text: &str) -> Vec<(&str, Option<&str>)> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((label, after)) = split_around(rest, PEM_BEGIN).and_then(|(_, rest)| split_around(rest, "-----")) {
        let end = format!("-----END {label}-----");
        let Some((body, after)) = split_around(after, &end) else {
            blocks.push((label, None));
            break;
        };
        blocks.push((label, Some(body)));
        rest = after;
    }
    blocks
}

/// Returns the DER in the one block of that label. Text around it, and other blocks, change nothing.
fn one_block(text: &str, wanted: &str) -> Result<Vec<u8>, KeyError> {
    let blocks = blocks(text);
    let mut found = blocks.iter().filter(|(label, _)| *label == wanted);
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err(KeyError::Several),
        (Some((_, None)), None) => Err(KeyError::CutOff),
        (Some((_, Some(body))), None) => {
            let neither = if wanted == PUBLIC_LABEL { KeyError::PublicKey } else { KeyError::PrivateKey };
            base64::decode(&compact(body)).ok_or(neither)
        }
        (None, _) => Err(blocks.first().map_or(KeyError::CutOff, |(label, _)| instead(label, wanted))),
    }
}

/// Names what a block of another label is.
fn instead(label: &str, wanted: &str) -> KeyError {
    match label {
        _ if wanted == PUBLIC_LABEL && label.ends_with(PRIVATE_LABEL) => KeyError::Private,
        PUBLIC_LABEL => KeyError::Public,
        ENCRYPTED_LABEL => KeyError::Encrypted,
        "OPENSSH PRIVATE KEY" => KeyError::OpenSsh,
        "RSA PRIVATE KEY" | "RSA PUBLIC KEY" => KeyError::OtherAlgorithm { algorithm: "RSA" },
        "EC PRIVATE KEY" | "EC PARAMETERS" => KeyError::OtherAlgorithm { algorithm: "ECDSA" },
        "DSA PRIVATE KEY" => KeyError::OtherAlgorithm { algorithm: "DSA" },
        _ => KeyError::OtherPem,
    }
}

/// Returns the DER of a private key that a passphrase protects (`EncryptedPrivateKeyInfo` of RFC 5958), where
/// [`KeyError`] has said that a text holds one.
pub fn encrypted_der(text: &str) -> Option<Vec<u8>> {
    one_block(text, ENCRYPTED_LABEL).ok()
}

/// Returns the algorithm that a key's DER names, where it is one that people mistake for Ed25519: the identifier stands
/// near the beginning in either form.
fn other_algorithm(der: &[u8]) -> Option<KeyError> {
    const LOOK_AT_BYTES: usize = 32;
    const IDENTIFIERS: [(&[u8], &str); 6] = [
        (&[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01], "RSA"),
        (&[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01], "ECDSA"),
        (&[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01], "DSA"),
        (&[0x06, 0x03, 0x2b, 0x65, 0x6e], "X25519"),
        (&[0x06, 0x03, 0x2b, 0x65, 0x6f], "X448"),
        (&[0x06, 0x03, 0x2b, 0x65, 0x71], "Ed448"),
    ];
    let head = der.get(..LOOK_AT_BYTES).unwrap_or(der);
    let names = |identifier: &[u8]| head.windows(identifier.len()).any(|window| window == identifier);
    let (_, algorithm) = IDENTIFIERS.iter().find(|(identifier, _)| names(identifier))?;
    Some(KeyError::OtherAlgorithm { algorithm })
}

fn is_32_bytes_in_another_base64(text: &str) -> bool {
    let standard = text.trim_end_matches('=').replace('-', "+").replace('_', "/") + "=";
    base64::decode_array::<32>(&standard).is_some()
}

/// The `y` of every encoding of a point of small order, as its upper and its lower half: 0, 1 and -1, once more 0 and 1
/// as p and p + 1, which decoders take for them, and the two of order 8. Either sign of `x` goes with each.
const SMALL_ORDER: [(u128, u128); 7] = [
    (0, 0),
    (0, 1),
    (0x7fff_ffff_ffff_ffff_ffff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff_ffff_ffff_ffff_ffec),
    (0x7fff_ffff_ffff_ffff_ffff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff_ffff_ffff_ffff_ffed),
    (0x7fff_ffff_ffff_ffff_ffff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff_ffff_ffff_ffff_ffee),
    (0x05fc_536d_8802_38b1_3933_c6d3_05ac_dfd5, 0xf098_eff2_89f4_c345_b027_b2c2_8f95_e826),
    (0x7a03_ac92_77fd_c74e_c6cc_392c_fa53_202a, 0x0f67_100d_760b_3cba_4fd8_4d3d_706a_17c7),
];

fn has_small_order(point: &[u8; 32]) -> bool {
    let half = |bytes: Option<&[u8; 16]>| u128::from_le_bytes(bytes.copied().unwrap_or_default());
    let without_sign = u128::MAX >> 1;
    SMALL_ORDER.contains(&(half(point.last_chunk()) & without_sign, half(point.first_chunk())))
}

/// The base64 of the 32 bytes.
impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&base64::encode(&self.0))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    /// Reads the base64 of the 32 bytes, the form that signed formats have, and no other.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        base64::decode_array(&text).map(Self).ok_or_else(|| de::Error::custom("a public key is the base64 of 32 bytes"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({self})")
    }
}

/// Holds a private key, overwritten in memory when it is dropped and never shown by `Debug`.
pub struct PrivateKey(SigningKey);

impl PrivateKey {
    /// Makes the key with this seed: 32 bytes from a secure source of randomness.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads either text form: PKCS#8 (RFC 8410), in PEM or as the base64 of its DER, in any of the spellings that tools
    /// leave: see section 10 of the specification.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        if split_around(text, PEM_BEGIN).is_some() {
            return Self::from_der(&one_block(text, PRIVATE_LABEL)?);
        }
        let compact = compact(text);
        match base64::decode(&compact) {
            Some(der) => Self::from_der(&der),
            None if is_32_bytes_in_another_base64(&compact) => Err(KeyError::Bare),
            None => Err(KeyError::PrivateKey),
        }
    }

    /// Reads the DER of PKCS#8.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        SigningKey::from_pkcs8_der(der).map(Self).map_err(|_| match der.len() {
            0 => KeyError::Empty,
            32 => KeyError::Bare,
            _ if der.starts_with(&SPKI_PREFIX) => KeyError::Public,
            _ => other_algorithm(der).unwrap_or(KeyError::PrivateKey),
        })
    }

    /// Writes PKCS#8 in PEM, the form that `openssl genpkey` writes: version 1, without the public key.
    ///
    /// # Errors
    /// [`KeyError::PrivateKey`] if the encoder refuses, which it does for no key.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let pair = KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        let pem = pair.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::PrivateKey)?;
        Ok(pem.as_str().to_owned())
    }

    /// Returns the public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `message`. Ed25519 is deterministic: the same bytes get the same signature.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PrivateKey(of {})", self.public_key())
    }
}
