//! Ed25519 keys and signatures, and their text forms.
//!
//! Signatures are those of RFC 8032 under one acceptance rule, that of [`VerifyingKey::verify_strict`]: `S < L`, no
//! key and no `R` of small order, the equation without its cofactor. A plain check alone, be it dalek's or WebCrypto's,
//! accepts every message for the identity key: whoever publishes that key could be impersonated, and could impersonate,
//! at will.

use std::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes};
use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier as _, VerifyingKey};

use crate::base64;

/// The bytes of a public key. Whether they are a usable point shows when a signature is checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// A text that is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither form of a public key.
    #[error("a public key is the base64 of its 32 bytes, or SPKI in PEM (-----BEGIN PUBLIC KEY-----)")]
    PublicKey,
    /// Neither form of a private key.
    #[error("a private key is PKCS#8 for Ed25519, in PEM (-----BEGIN PRIVATE KEY-----) or as the base64 of its DER")]
    PrivateKey,
}

/// No signature by that key over those bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not one by this key over these bytes")]
pub struct BadSignature;

impl PublicKey {
    /// Takes the 32 bytes of a key.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads either text form: the base64 of the 32 bytes, or SPKI PEM (RFC 8410). White space around it is ignored.
    ///
    /// # Errors
    /// [`KeyError::PublicKey`] for anything else. Bytes that are not a point of the curve are a key in either form.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let bytes = if text.starts_with("-----") { bytes_in_pem(text) } else { base64::decode_array(text) };
        bytes.map(Self).ok_or(KeyError::PublicKey)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `signature` may be one of this key's under the strict rule, as far as that shows without the message: no
    /// key and no `R` of small order. With this, the plain equation of RFC 8032 is all that is left to check: `S < L`,
    /// and `R` byte for byte that of `[S]B - [k]A`. dalek's plain check computes just that, and so does BoringSSL, which is
    /// WebCrypto in workerd.
    pub fn may_have_made(&self, signature: &[u8; 64]) -> bool {
        !has_small_order(&self.0) && signature.first_chunk().is_some_and(|r| !has_small_order(r))
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

/// Reads one block of PEM (RFC 7468). DER has one encoding for each key, so comparing the prefix settles all that a
/// parser would, and spares the Worker one.
fn bytes_in_pem(text: &str) -> Option<[u8; 32]> {
    const LINE_ENDS: [char; 2] = ['\r', '\n'];
    let lines = text.strip_prefix("-----BEGIN PUBLIC KEY-----")?.strip_suffix("-----END PUBLIC KEY-----")?;
    if !lines.starts_with(LINE_ENDS) || !lines.ends_with(LINE_ENDS) {
        return None;
    }
    let der = base64::decode(&lines.replace(LINE_ENDS, ""))?;
    der.strip_prefix(&SPKI_PREFIX)?.try_into().ok()
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

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({self})")
    }
}

/// A private key, overwritten in memory when it is dropped and never shown by `Debug`.
pub struct PrivateKey(SigningKey);

impl PrivateKey {
    /// The key whose seed is `seed`: 32 bytes from a secure source of randomness.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads either text form: PKCS#8 PEM, or the base64 of its DER (RFC 8410). White space around it is ignored.
    ///
    /// # Errors
    /// [`KeyError::PrivateKey`] for anything else.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let key = if text.starts_with("-----") {
            SigningKey::from_pkcs8_pem(text).ok()
        } else {
            base64::decode(text).and_then(|der| SigningKey::from_pkcs8_der(&der).ok())
        };
        key.map(Self).ok_or(KeyError::PrivateKey)
    }

    /// PKCS#8 in PEM, the form that `openssl genpkey` writes: version 1, without the public key.
    ///
    /// # Errors
    /// [`KeyError::PrivateKey`] if the encoder refuses, which it does for no key.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let pair = KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        let pem = pair.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::PrivateKey)?;
        Ok(pem.as_str().to_owned())
    }

    /// The public half.
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
