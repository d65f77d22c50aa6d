//! Who a user is: an RSA key, whose text is signed as it was sent, and whose mailbox is named by what it says.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::pkcs8::spki::der::asn1::{AnyRef, BitStringRef, UintRef};
use ed25519_dalek::pkcs8::spki::der::pem;
use ed25519_dalek::pkcs8::spki::der::{Decode as _, Encode as _, Error, Reader as _, SliceReader};
use ed25519_dalek::pkcs8::spki::{AlgorithmIdentifierRef, ObjectIdentifier, SubjectPublicKeyInfoRef};

use super::limits::{EXPONENT_MAX_BYTES, KEY_MAX_BYTES, MODULUS_BITS};
use crate::base64;
use crate::mailbox::bytes::{Address, Bytes, hex, sha256};

/// rsaEncryption (RFC 8017, appendix A.1).
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// What comes before and behind the modulus in the SubjectPublicKeyInfo of an RSA key of 2,048 bits with the exponent 65,537.
const BEFORE_MODULUS: [u8; 33] = [
    0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
    0x03, 0x82, 0x01, 0x0f, 0x00, 0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00,
];
const EXPONENT: [u8; 5] = [0x02, 0x03, 0x01, 0x00, 0x01];

/// Characters in a line of PEM (RFC 7468, section 2).
const PEM_LINE: usize = 64;

/// Names a mailbox: the SHA-256 of its key's SubjectPublicKeyInfo in DER, of which every key has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxId(Bytes<32>);

/// Says that a text does not name a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a mailbox is 64 characters of 0-9 a-f")]
pub struct MailboxIdInvalid;

impl MailboxId {
    /// Returns under which address the mailbox counts among all mailboxes of a relay. No owner key has it.
    pub fn place(&self) -> Address {
        Address::of_hash(sha256(&[b"rendezvous-hivemind-place\0", &self.0.0]))
    }

    /// Returns the 32 bytes.
    pub(super) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0.0
    }
}

impl fmt::Display for MailboxId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex(&self.0.0))
    }
}

impl FromStr for MailboxId {
    type Err = MailboxIdInvalid;

    fn from_str(text: &str) -> Result<Self, MailboxIdInvalid> {
        let address: Address = text.parse().map_err(|_| MailboxIdInvalid)?;
        Ok(Self(Bytes(*address.as_bytes())))
    }
}

/// Holds a public RSA key, as its owner wrote it and as libraries read it.
#[derive(Clone, PartialEq, Eq)]
pub struct RsaKey {
    text: String,
    rsa: Vec<u8>,
    mailbox: MailboxId,
}

impl RsaKey {
    /// Takes a key in PEM, as SubjectPublicKeyInfo or `RSAPublicKey`. Absent is what is not one of the lengths in use.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > KEY_MAX_BYTES {
            return None;
        }
        let (label, der) = pem::decode_vec(text.trim().as_bytes()).ok()?;
        let rsa = match label {
            "PUBLIC KEY" => {
                let info = SubjectPublicKeyInfoRef::from_der(&der).ok()?;
                let has_no_parameters = info.algorithm.parameters.is_none_or(|parameters| parameters.is_null());
                let is_rsa = info.algorithm.oid == RSA && has_no_parameters;
                info.subject_public_key.as_bytes().filter(|_| is_rsa)?.to_vec()
            }
            "RSA PUBLIC KEY" => der,
            _ => return None,
        };
        is_usable(&rsa).then_some(())?;
        let mailbox = MailboxId(Bytes(sha256(&[&info_of(&rsa)?])));
        Some(Self { text: text.to_owned(), rsa, mailbox })
    }

    /// Returns the key as its owner wrote it.
    pub fn as_text(&self) -> &str {
        &self.text
    }

    /// Returns the key as an `RSAPublicKey` in DER (RFC 8017, appendix A.1.1).
    pub fn as_der(&self) -> &[u8] {
        &self.rsa
    }

    /// Returns the name of its owner's mailbox.
    pub const fn mailbox(&self) -> MailboxId {
        self.mailbox
    }
}

impl fmt::Debug for RsaKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RsaKey({})", self.mailbox)
    }
}

/// Returns whether this is an `RSAPublicKey` of a length in use, in the one spelling of it.
fn is_usable(rsa: &[u8]) -> bool {
    let read = || {
        let mut reader = SliceReader::new(rsa)?;
        let numbers = reader.sequence(|reader| Ok::<_, Error>((UintRef::decode(reader)?, UintRef::decode(reader)?)))?;
        reader.finish().map(|()| numbers)
    };
    let Ok::<(UintRef<'_>, UintRef<'_>), Error>((modulus, exponent)) = read() else { return false };
    let (modulus, exponent) = (modulus.as_bytes(), exponent.as_bytes());
    let zeros = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    let bits = (modulus.len() * 8).saturating_sub(zeros);
    let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    MODULUS_BITS.contains(&bits)
        && is_odd(modulus)
        && is_odd(exponent)
        && exponent.len() <= EXPONENT_MAX_BYTES
        && exponent != [1]
}

/// Writes the one SubjectPublicKeyInfo of a key.
fn info_of(rsa: &[u8]) -> Option<Vec<u8>> {
    let algorithm = AlgorithmIdentifierRef { oid: RSA, parameters: Some(AnyRef::NULL) };
    let subject_public_key = BitStringRef::from_bytes(rsa).ok()?;
    SubjectPublicKeyInfoRef { algorithm, subject_public_key }.to_der().ok()
}

/// Makes the name of a relay of 256 random bytes: what clients put into what they sign, so that a proof for one relay is none
/// for another. It has the form of a public key of 2,048 bits, as clients expect, and is nobody's: there is no private half.
pub fn relay_name(random: [u8; 256]) -> String {
    let mut modulus = random;
    let [first, .., last] = &mut modulus;
    *first |= 0x80;
    *last |= 1;
    let info = [&BEFORE_MODULUS[..], &modulus, &EXPONENT].concat();
    let mut text = "-----BEGIN PUBLIC KEY-----".to_owned();
    for (at, character) in base64::encode(&info).chars().enumerate() {
        if at % PEM_LINE == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str("\n-----END PUBLIC KEY-----\n");
    text
}
