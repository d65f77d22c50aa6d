//! The message authentication that TURN servers and this beacon share secrets for.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

/// Computes the HMAC-SHA1 (RFC 2104) of a message.
pub(crate) fn hmac_sha1(key: &[u8], message: &[u8]) -> [u8; 20] {
    // Keys of any length are taken. What is returned otherwise opens nothing.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key) else { return [0; 20] };
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second and the sixth case of RFC 2202, section 3.
    #[test]
    fn it_is_that_of_rfc_2202() {
        for (key, message, expected) in [
            (&b"Jefe"[..], &b"what do ya want for nothing?"[..], "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            (
                &[0xaa; 80],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "aa4ae5e15272d00e95705637ce8a3b55ed402112",
            ),
        ] {
            let hex: String = hmac_sha1(key, message).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected);
        }
    }
}
