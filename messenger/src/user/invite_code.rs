//! Invite codes: what a user gives to somebody over another way, so that one message makes each a contact of the other.

use std::time::Duration;

use rendezvous_protocol::base64;
use rendezvous_protocol::retalk::user::UserId;
use rendezvous_protocol::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// Those who may redeem a code that is for many.
const REDEMPTIONS_MAX: usize = 256;

/// Bytes of a code, whoever has made it.
const CODE_MAX_BYTES: usize = 128;

/// Holds an invite code that the user has made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteCode {
    /// The code, which is a secret of the user and of whoever was given it.
    pub code: String,
    /// What whoever redeems it is called; absent, what they call themselves.
    pub name: Option<String>,
    /// Whether it is for many, until it is revoked.
    pub is_permanent: bool,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it ends; absent of one that does not end by itself.
    pub expires_at: Option<UnixMillis>,
    /// Whether it was revoked.
    pub is_revoked: bool,
    /// Who has redeemed it, the first first.
    pub redeemed_by: Vec<UserId>,
}

impl InviteCode {
    /// Returns why nobody else can redeem it.
    pub fn refusal(&self, now: UnixMillis) -> Option<RequestRefusal> {
        let most = if self.is_permanent { REDEMPTIONS_MAX } else { 1 };
        if self.is_revoked {
            Some(RequestRefusal::CodeRevoked)
        } else if self.expires_at.is_some_and(|expires_at| expires_at < now) {
            Some(RequestRefusal::CodeExpired)
        } else if self.redeemed_by.len() >= most {
            Some(RequestRefusal::CodeUsed)
        } else {
            None
        }
    }
}

/// Says how an invite code is to be made.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewCode<'a> {
    /// What whoever redeems it is called; absent, what they call themselves.
    pub name: Option<&'a str>,
    /// Whether it is for many, and not for one.
    pub is_permanent: bool,
    /// How long it is good for; absent, until it is revoked.
    pub lasts: Option<Duration>,
}

/// Says why the request of somebody to be made a contact is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestRefusal {
    /// Not a code of this user.
    #[error("its code is not one of yours")]
    CodeUnknown,
    /// One that was revoked.
    #[error("its code was revoked")]
    CodeRevoked,
    /// One that has ended.
    #[error("its code has ended")]
    CodeExpired,
    /// One that others have redeemed.
    #[error("its code was used by somebody else")]
    CodeUsed,
    /// Not the keys of whoever sent it.
    #[error("it names other keys than those of its sender")]
    CardMismatch,
}

impl RequestRefusal {
    /// Returns what scripts call it, as retalk's programs do.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CodeUnknown => "unknown-code",
            Self::CodeRevoked => "revoked",
            Self::CodeExpired => "expired",
            Self::CodeUsed => "consumed",
            Self::CardMismatch => "card-mismatch",
        }
    }
}

/// Returns whether a text may be somebody's code.
pub(super) fn is_code(text: &str) -> bool {
    !text.is_empty() && text.len() <= CODE_MAX_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Writes 16 bytes as a code, which begins with no `-`: it would be taken for an option.
pub(super) fn code_of(bytes: [u8; 16]) -> String {
    base64::encode(&bytes).trim_end_matches('=').replace('+', ".").replace('/', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_an_argument_that_nothing_has_to_quote() {
        assert_eq!(code_of([0xfb; 16]), "._v7._v7._v7._v7._v7.w");
        for byte in 0..=u8::MAX {
            let code = code_of([byte; 16]);
            assert!(is_code(&code) && code.len() == 22 && !code.starts_with('-'), "{code}");
        }
        for bad in ["", "a b", "a\n", "é", &"a".repeat(129)] {
            assert!(!is_code(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_code_is_over_when_it_was_used_revoked_or_has_ended() {
        let now = UnixMillis::saturating(1_700_006_400_000);
        let code = InviteCode {
            code: "c".to_owned(),
            name: None,
            is_permanent: false,
            created_at: now,
            expires_at: Some(now),
            is_revoked: false,
            redeemed_by: Vec::new(),
        };
        let refusal = |change: &dyn Fn(&mut InviteCode)| {
            let mut code = code.clone();
            change(&mut code);
            code.refusal(now)
        };
        let users = |count: u128| (0..count).map(|user| format!("{user:032x}").parse().unwrap()).collect();
        assert_eq!(refusal(&|_| {}), None);
        assert_eq!(code.refusal(now.after(Duration::from_millis(1))), Some(RequestRefusal::CodeExpired));
        assert_eq!(refusal(&|code| code.redeemed_by = users(1)), Some(RequestRefusal::CodeUsed));
        assert_eq!(refusal(&|code| code.is_revoked = true), Some(RequestRefusal::CodeRevoked));
        let many = |count| move |code: &mut InviteCode| (code.is_permanent, code.redeemed_by) = (true, users(count));
        assert_eq!(refusal(&many(255)), None);
        assert_eq!(refusal(&many(256)), Some(RequestRefusal::CodeUsed));
    }
}
