//! What a mailbox refuses: its status, and what a client needs to know of it to go on.

use rendezvous_protocol::mailbox::record::RecordError;
use rendezvous_protocol::mailbox::refused::Refused;

pub(super) const fn record_status(error: &RecordError) -> u16 {
    match error {
        RecordError::BodyTooLarge => 413,
        RecordError::Misdirected { .. } => 421,
        RecordError::NotTheOwner | RecordError::SignatureInvalid => 403,
        RecordError::Malformed(_)
        | RecordError::UnsupportedVersion { .. }
        | RecordError::UnsupportedAlgorithm
        | RecordError::SizeNotABucket { .. }
        | RecordError::ContentMismatch
        | RecordError::OtherItems
        | RecordError::LifetimeTooLong { .. }
        | RecordError::LifetimeTooShort { .. }
        | RecordError::NotYetValid { .. }
        | RecordError::Expired { .. }
        | RecordError::OtherDeposit => 400,
    }
}

pub(super) const fn mailbox_status(refused: &Refused) -> u16 {
    match refused {
        Refused::OtherMailbox | Refused::TooManyMissing { .. } | Refused::RequestTooLarge | Refused::Expired => 400,
        Refused::NotAReader | Refused::SlotUnknown | Refused::ProofRequired { .. } => 403,
        Refused::MailboxUnknown | Refused::PrekeysUnknown => 404,
        Refused::StaleRevision { .. }
        | Refused::SlotStruckOff { .. }
        | Refused::Replayed
        | Refused::SequenceTaken { .. } => 409,
        Refused::MailboxClosed => 410,
        Refused::RelayNotListed => 421,
        Refused::UnacknowledgedLimit { .. }
        | Refused::TooManyDeposits { .. }
        | Refused::MailboxFull
        | Refused::StruckOffFull => 429,
    }
}

/// Writes what a client needs to know of a refusal to go on: fields, each with a comma behind it.
pub(super) fn facts(refused: &Refused) -> String {
    match refused {
        Refused::StaleRevision { standing, record } => {
            // In its normal form, which is JSON.
            let record = record.as_ref().map(|record| format!(r#""record":{record},"#)).unwrap_or_default();
            format!(r#""standing":{standing},{record}"#)
        }
        Refused::SlotStruckOff { key } => format!(r#""slot":"{key}","#),
        Refused::ProofRequired { difficulty, day } => format!(r#""difficulty":{difficulty},"day":{day},"#),
        Refused::UnacknowledgedLimit { unacknowledged, limit, through, missing } => {
            let missing = missing.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
            format!(r#""unacknowledged":{unacknowledged},"limit":{limit},"through":{through},"missing":[{missing}],"#)
        }
        Refused::SequenceTaken { content_id } => format!(r#""contentId":"{content_id}","#),
        Refused::TooManyMissing { limit } => format!(r#""limit":{limit},"#),
        _ => String::new(),
    }
}
