//! The codes that tell causes apart on the wire and for scripts. Each is spelt here and nowhere else.

/// Names a cause. Which cause has which HTTP status is the service's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// A new ticket of a claim before its interval is over.
    AnnounceTooSoon,
    /// A second claim on a connection that is one claim's.
    AnotherPeer,
    /// A beacon's answer of more bytes than any honest one has.
    AnswerTooLarge,
    /// Something that only a bound connection may do.
    BindRequired,
    /// A request body that did not arrive in time.
    BodyTimeout,
    /// A request body of too many bytes.
    BodyTooLarge,
    /// A name that no community has.
    CommunityInvalid,
    /// Something for another community than the one asked for.
    CommunityMismatch,
    /// A community that is not served here.
    CommunityUnknown,
    /// Other sealed bytes than those that were signed.
    ContentMismatch,
    /// A ticket beside the one that stays, or a signal that came before.
    Duplicate,
    /// Something that is over.
    Expired,
    /// A record for which a hub has no room.
    HubFull,
    /// A beacon that failed.
    Internal,
    /// A ticket that lives longer than is allowed.
    LifetimeTooLong,
    /// A capsule that is over before its successor reaches readers.
    LifetimeTooShort,
    /// A `limit` that is not a number of peers that an answer can have.
    LimitInvalid,
    /// A connection too many, of a network or in all.
    LiveFull,
    /// A mailbox that its owner has closed.
    MailboxClosed,
    /// A message for which a mailbox has no room.
    MailboxFull,
    /// A mailbox that is not open here.
    MailboxUnknown,
    /// Something of another shape than the specification has.
    Malformed,
    /// A method that a path does not take.
    MethodNotAllowed,
    /// A request for another host, or by a page that has no business with this one.
    MisdirectedRequest,
    /// A collect or an acknowledgement by a key that may not read the mailbox.
    NotAReader,
    /// Something that only a connection that is bound to a listed claim may do.
    NotBound,
    /// A path that does not exist.
    NotFound,
    /// A binding to a claim that is not listed, or a signal of one.
    NotListed,
    /// A record by another key than the one that the mailbox is named after.
    NotTheOwner,
    /// Something from the reader's future.
    NotYetValid,
    /// A record by a key that is not one of the origins of the hub.
    OriginMismatch,
    /// A signal to a claim that has no bound connection.
    PeerAbsent,
    /// A signal to a claim that is sent too many, or does not read.
    PeerBusy,
    /// A claim where there are no prekeys.
    PrekeysUnknown,
    /// A stranger's message or claim without a good proof of work.
    ProofRequired,
    /// A ticket by a key that nobody has registered, where that is asked for.
    RegistrationRequired,
    /// A request that was served before.
    Replayed,
    /// Something by a key that is revoked.
    RevokedPublicKey,
    /// A capsule older than one that was accepted.
    Rollback,
    /// A root that is over.
    RootExpired,
    /// A root that is not the next one.
    RootOutOfSequence,
    /// A second message under one number.
    SequenceTaken,
    /// A signal of another time than now.
    SignalTime,
    /// A signature that does not fit, or is missing.
    SignatureInvalid,
    /// A `since` that is not a position.
    SinceInvalid,
    /// Sealed bytes of a length that none have.
    SizeNotABucket,
    /// A slot key that was struck off, and is never listed again.
    SlotStruckOff,
    /// A slot key that is not listed.
    SlotUnknown,
    /// A record of the directory that is not newer than what is known of its name.
    StaleEntry,
    /// A record whose revision does not exceed those before it.
    StaleRevision,
    /// A ticket that is not newer than the one that is known.
    StaleTicket,
    /// Something that too few have signed.
    ThresholdNotMet,
    /// One request too many.
    Throttled,
    /// A message too many on a connection.
    TooFast,
    /// A ticket that is not looked at, because there are too many.
    TooMany,
    /// A message for which the recipient has to acknowledge others first.
    UnacknowledgedLimit,
    /// A community or a mailbox that cannot be reached at the moment.
    Unavailable,
    /// Another algorithm than `ed25519`.
    UnsupportedAlgorithm,
    /// Another version than 1.
    UnsupportedVersion,
    /// A ticket by a key that is not on the list of trusted ones.
    UntrustedPublicKey,
    /// An upgrade to something else than a WebSocket of version 13.
    UpgradeRequired,
}

impl Code {
    /// Holds every code, in the order of their spelling.
    pub const ALL: [Self; 61] = [
        Self::AnnounceTooSoon,
        Self::AnotherPeer,
        Self::AnswerTooLarge,
        Self::BindRequired,
        Self::BodyTimeout,
        Self::BodyTooLarge,
        Self::CommunityInvalid,
        Self::CommunityMismatch,
        Self::CommunityUnknown,
        Self::ContentMismatch,
        Self::Duplicate,
        Self::Expired,
        Self::HubFull,
        Self::Internal,
        Self::LifetimeTooLong,
        Self::LifetimeTooShort,
        Self::LimitInvalid,
        Self::LiveFull,
        Self::MailboxClosed,
        Self::MailboxFull,
        Self::MailboxUnknown,
        Self::Malformed,
        Self::MethodNotAllowed,
        Self::MisdirectedRequest,
        Self::NotAReader,
        Self::NotBound,
        Self::NotFound,
        Self::NotListed,
        Self::NotTheOwner,
        Self::NotYetValid,
        Self::OriginMismatch,
        Self::PeerAbsent,
        Self::PeerBusy,
        Self::PrekeysUnknown,
        Self::ProofRequired,
        Self::RegistrationRequired,
        Self::Replayed,
        Self::RevokedPublicKey,
        Self::Rollback,
        Self::RootExpired,
        Self::RootOutOfSequence,
        Self::SequenceTaken,
        Self::SignalTime,
        Self::SignatureInvalid,
        Self::SinceInvalid,
        Self::SizeNotABucket,
        Self::SlotStruckOff,
        Self::SlotUnknown,
        Self::StaleEntry,
        Self::StaleRevision,
        Self::StaleTicket,
        Self::ThresholdNotMet,
        Self::Throttled,
        Self::TooFast,
        Self::TooMany,
        Self::UnacknowledgedLimit,
        Self::Unavailable,
        Self::UnsupportedAlgorithm,
        Self::UnsupportedVersion,
        Self::UntrustedPublicKey,
        Self::UpgradeRequired,
    ];

    /// Returns how the code is spelt.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AnnounceTooSoon => "ANNOUNCE_TOO_SOON",
            Self::AnotherPeer => "ANOTHER_PEER",
            Self::AnswerTooLarge => "ANSWER_TOO_LARGE",
            Self::BindRequired => "BIND_REQUIRED",
            Self::BodyTimeout => "BODY_TIMEOUT",
            Self::BodyTooLarge => "BODY_TOO_LARGE",
            Self::CommunityInvalid => "COMMUNITY_INVALID",
            Self::CommunityMismatch => "COMMUNITY_MISMATCH",
            Self::CommunityUnknown => "COMMUNITY_UNKNOWN",
            Self::ContentMismatch => "CONTENT_MISMATCH",
            Self::Duplicate => "DUPLICATE",
            Self::Expired => "EXPIRED",
            Self::HubFull => "HUB_FULL",
            Self::Internal => "INTERNAL",
            Self::LifetimeTooLong => "LIFETIME_TOO_LONG",
            Self::LifetimeTooShort => "LIFETIME_TOO_SHORT",
            Self::LimitInvalid => "LIMIT_INVALID",
            Self::LiveFull => "LIVE_FULL",
            Self::MailboxClosed => "MAILBOX_CLOSED",
            Self::MailboxFull => "MAILBOX_FULL",
            Self::MailboxUnknown => "MAILBOX_UNKNOWN",
            Self::Malformed => "MALFORMED",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::MisdirectedRequest => "MISDIRECTED_REQUEST",
            Self::NotAReader => "NOT_A_READER",
            Self::NotBound => "NOT_BOUND",
            Self::NotFound => "NOT_FOUND",
            Self::NotListed => "NOT_LISTED",
            Self::NotTheOwner => "NOT_THE_OWNER",
            Self::NotYetValid => "NOT_YET_VALID",
            Self::OriginMismatch => "ORIGIN_MISMATCH",
            Self::PeerAbsent => "PEER_ABSENT",
            Self::PeerBusy => "PEER_BUSY",
            Self::PrekeysUnknown => "PREKEYS_UNKNOWN",
            Self::ProofRequired => "PROOF_REQUIRED",
            Self::RegistrationRequired => "REGISTRATION_REQUIRED",
            Self::Replayed => "REPLAYED",
            Self::RevokedPublicKey => "REVOKED_PUBLIC_KEY",
            Self::Rollback => "ROLLBACK",
            Self::RootExpired => "ROOT_EXPIRED",
            Self::RootOutOfSequence => "ROOT_OUT_OF_SEQUENCE",
            Self::SequenceTaken => "SEQUENCE_TAKEN",
            Self::SignalTime => "SIGNAL_TIME",
            Self::SignatureInvalid => "SIGNATURE_INVALID",
            Self::SinceInvalid => "SINCE_INVALID",
            Self::SizeNotABucket => "SIZE_NOT_A_BUCKET",
            Self::SlotStruckOff => "SLOT_STRUCK_OFF",
            Self::SlotUnknown => "SLOT_UNKNOWN",
            Self::StaleEntry => "STALE_ENTRY",
            Self::StaleRevision => "STALE_REVISION",
            Self::StaleTicket => "STALE_TICKET",
            Self::ThresholdNotMet => "THRESHOLD_NOT_MET",
            Self::Throttled => "THROTTLED",
            Self::TooFast => "TOO_FAST",
            Self::TooMany => "TOO_MANY",
            Self::UnacknowledgedLimit => "UNACKNOWLEDGED_LIMIT",
            Self::Unavailable => "UNAVAILABLE",
            Self::UnsupportedAlgorithm => "UNSUPPORTED_ALGORITHM",
            Self::UnsupportedVersion => "UNSUPPORTED_VERSION",
            Self::UntrustedPublicKey => "UNTRUSTED_PUBLIC_KEY",
            Self::UpgradeRequired => "UPGRADE_REQUIRED",
        }
    }

    /// Reads a code; `None` where this version does not know it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_as_what_it_is_and_is_there_once() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(code));
        }
        assert!(Code::ALL.is_sorted_by_key(|code| code.as_str()));
        assert_eq!(Code::parse("malformed"), None);
    }
}
