//! Everything that can be wrong with a request, and how it is answered: the only room that knows statuses.

mod directory;
mod mailbox;
mod registration;
mod rfc9457;

use std::time::Duration;

use rendezvous_protocol::code::Code;
use rendezvous_protocol::mailbox::bytes::{Address, AddressInvalid};
use rendezvous_protocol::mailbox::limits::REPLICATE_MAX_BYTES;
use rendezvous_protocol::mailbox::record::RecordError;
use rendezvous_protocol::mailbox::refused::Refused as MailboxRefused;
use rendezvous_protocol::peer_list::Excerpt;
use rendezvous_protocol::rate_limit::RateLimited;
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::roster::Refused;
use rendezvous_protocol::ticket::TicketError;
use rendezvous_protocol::time::{UnixMillis, saturating_millis};
use serde::Serialize;

pub(crate) use directory::HubProblem;
pub use directory::hub_failed;
use mailbox::{facts, mailbox_status, record_status};
pub(crate) use registration::RegistrationProblem;
pub use registration::registration_failed;
use rfc9457::{answer_with_facts, request_status, title};

use crate::answer::{Answer, Content, Outcome, retry_after_header};
use crate::call::ObjectError;
use crate::info;
use crate::live::{LiveFull, Opening};

/// After this time a connection may have a place.
const LIVE_FULL_RETRY_AFTER: Duration = Duration::from_secs(60);

/// After this time some of what waits may have been read.
pub(crate) const ANSWERS_UNREAD_RETRY_AFTER: Duration = Duration::from_secs(10);

/// After this time there may be room in a mailbox.
const MAILBOX_FULL_RETRY_AFTER: Duration = Duration::from_secs(300);

/// After this time an object that did not answer may have moved to where it does.
const UNAVAILABLE_RETRY_AFTER: Duration = Duration::from_secs(5);

/// The status of an answer with a socket (RFC 6455, section 1.3).
pub(crate) const SWITCHING_PROTOCOLS: u16 = 101;

/// The status where a connection has no place. An object says so to the edge by this.
const LIVE_FULL: u16 = 503;

impl Opening {
    /// Reads the status with which an object answers an opening: whether there is a place.
    ///
    /// # Errors
    /// [`ObjectError::Status`], if it is neither.
    pub const fn outcome(status: u16) -> Result<Result<(), LiveFull>, ObjectError> {
        match status {
            SWITCHING_PROTOCOLS => Ok(Ok(())),
            LIVE_FULL => Ok(Err(LiveFull)),
            status => Err(ObjectError::Status { status }),
        }
    }
}

impl LiveFull {
    /// Answers that there is no place.
    pub fn answer(self, now: UnixMillis) -> Answer {
        Problem::LiveFull(self).answer_without_list(now)
    }
}

/// Says why a request is not served.
#[derive(Clone, Debug)]
pub(crate) enum Problem {
    Request(RequestError),
    Ticket(TicketError),
    Refused {
        refused: Refused,
        /// Whether the claim is listed, with an older ticket.
        listed: bool,
    },
    RateLimited(RateLimited),
    /// An upgrade that is not the one of this path.
    UpgradeRequired,
    /// A connection to a mailbox that is not a WebSocket.
    SocketRequired,
    /// An event stream cannot be bound, and this beacon shows nothing to whoever is not.
    BindRequired,
    LiveFull(LiveFull),
    /// A network has its connections to mailboxes.
    ListenersFull,
    /// Clients of a network, or of all, have too much of their answers still to read.
    AnswersUnread,
    /// An address one of whose connections was closed for what it sent.
    LivePenalty {
        retry_after: Duration,
    },
    NotFound,
    /// A path of registration, at a beacon that has none.
    RegistersNobody,
    MethodNotAllowed {
        /// The methods of this path.
        allow: &'static str,
    },
    /// The request names no host, or several.
    HostMissing,
    /// The request is for a host that is not this beacon's.
    HostUnknown,
    /// A page of elsewhere asks a beacon on its visitor's own machine.
    OriginForeign,
    /// A page of elsewhere asks for what is the operator's alone.
    CrossSite,
    /// No password, or another than the operator's.
    PasswordWrong,
    /// A record of a mailbox that no object is asked about.
    Record(RecordError),
    /// What a path names is not a mailbox.
    Address(AddressInvalid),
    /// A record about another mailbox than the one in the path.
    OtherMailbox {
        /// The mailbox in the record.
        found: Address,
    },
    /// What a mailbox refuses.
    Mailbox(MailboxRefused),
    /// A site has opened its mailboxes of a day.
    TooManyOpenings {
        retry_after: Duration,
    },
    /// There are as many mailboxes as there may be.
    TooManyMailboxes {
        most: u32,
        retry_after: Duration,
    },
    /// A provider has its part of them.
    TooManyOfProvider {
        share: usize,
        retry_after: Duration,
    },
    /// A push of somebody who is not a peer.
    PeerUnknown,
    /// A peer has used up its budget.
    PeerThrottled {
        retry_after: Duration,
    },
    /// A push with too long a body.
    PushTooLarge,
    /// The object of the community or the mailbox has not answered in time.
    Unavailable,
    /// The cause is in the log, and only there.
    Internal,
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<RecordError> for Problem {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

/// Returns the answer of a beacon that could not do its work: the cause is for the log, and only for it.
pub fn internal(now: UnixMillis) -> Answer {
    Problem::Internal.answer_without_list(now)
}

impl Problem {
    const fn code(&self) -> &'static str {
        match self {
            Self::Request(error) => error.code(),
            Self::Ticket(error) => error.code(),
            Self::Refused { refused, .. } => refused.code(),
            Self::RateLimited(_) | Self::LivePenalty { .. } | Self::AnswersUnread => Code::Throttled.as_str(),
            Self::UpgradeRequired | Self::SocketRequired => Code::UpgradeRequired.as_str(),
            Self::BindRequired => Code::BindRequired.as_str(),
            Self::LiveFull(_) | Self::ListenersFull => Code::LiveFull.as_str(),
            Self::NotFound | Self::RegistersNobody => Code::NotFound.as_str(),
            Self::MethodNotAllowed { .. } => Code::MethodNotAllowed.as_str(),
            Self::HostMissing => Code::Malformed.as_str(),
            Self::HostUnknown | Self::OriginForeign => Code::MisdirectedRequest.as_str(),
            // Not codes of the protocol: no client of the beacon ever gets these.
            Self::CrossSite => "CROSS_SITE",
            Self::PasswordWrong => "PASSWORD_WRONG",
            Self::Record(error) => error.code(),
            Self::Address(_) | Self::OtherMailbox { .. } => Code::Malformed.as_str(),
            Self::Mailbox(refused) => refused.code(),
            Self::TooManyOpenings { .. } | Self::TooManyMailboxes { .. } | Self::TooManyOfProvider { .. } => {
                Code::Throttled.as_str()
            }
            Self::PeerUnknown => Code::UntrustedPublicKey.as_str(),
            Self::PeerThrottled { .. } => Code::Throttled.as_str(),
            Self::PushTooLarge => Code::BodyTooLarge.as_str(),
            Self::Unavailable => Code::Unavailable.as_str(),
            Self::Internal => Code::Internal.as_str(),
        }
    }

    const fn status(&self) -> u16 {
        match self {
            Self::Request(error) => request_status(error),
            Self::NotFound | Self::RegistersNobody => 404,
            Self::HostMissing => 400,
            Self::HostUnknown | Self::OriginForeign => 421,
            Self::CrossSite => 403,
            Self::PasswordWrong => 401,
            Self::Ticket(
                TicketError::SignatureInvalid
                | TicketError::UntrustedPublicKey
                | TicketError::RevokedPublicKey
                | TicketError::RegistrationRequired,
            ) => 403,
            Self::Ticket(_) => 400,
            Self::Refused { refused: Refused::Expired, .. } => 400,
            Self::Refused { refused: Refused::StaleTicket { .. }, .. } => 409,
            Self::Refused { refused: Refused::AnnounceTooSoon { .. }, .. }
            | Self::RateLimited(_)
            | Self::LivePenalty { .. }
            | Self::AnswersUnread => 429,
            Self::UpgradeRequired | Self::SocketRequired => 426,
            Self::BindRequired => 403,
            Self::LiveFull(_) | Self::ListenersFull => LIVE_FULL,
            Self::MethodNotAllowed { .. } => 405,
            Self::Record(error) => record_status(error),
            Self::Address(_) | Self::OtherMailbox { .. } => 400,
            Self::Mailbox(refused) => mailbox_status(refused),
            Self::TooManyOpenings { .. } | Self::TooManyMailboxes { .. } | Self::TooManyOfProvider { .. } => 429,
            Self::PeerUnknown => 403,
            Self::PeerThrottled { .. } => 429,
            Self::PushTooLarge => 413,
            Self::Unavailable => 503,
            Self::Internal => 500,
        }
    }

    fn title(&self) -> &'static str {
        title(self.status())
    }

    fn detail(&self) -> String {
        match self {
            Self::Request(error) => error.to_string(),
            Self::Ticket(error) => error.to_string(),
            Self::Refused { refused, .. } => refused.to_string(),
            Self::RateLimited(limited) => limited.to_string(),
            Self::LivePenalty { retry_after } => format!(
                "a connection of this address was closed for what it sent, the next is opened in {} ms",
                saturating_millis(*retry_after)
            ),
            Self::UpgradeRequired => {
                "this path takes an upgrade to a WebSocket of version 13, or none for an event stream".to_owned()
            }
            Self::SocketRequired => "this path takes an upgrade to a WebSocket of version 13".to_owned(),
            Self::BindRequired => {
                "this beacon shows who is present to peers alone: open a WebSocket, announce, and bind it".to_owned()
            }
            Self::LiveFull(full) => format!("{full}; GET /peers has the list meanwhile"),
            Self::ListenersFull => {
                "this network has as many connections to mailboxes as it may: collect now and then, or end one"
                    .to_owned()
            }
            Self::AnswersUnread => {
                "clients of this network have too much of their answers still to read: the same is there later"
                    .to_owned()
            }
            Self::NotFound => format!("nothing is at this path; those for everybody are listed in GET {}", info::PATH),
            Self::RegistersNobody => "this beacon registers nobody".to_owned(),
            Self::MethodNotAllowed { allow } => format!("this path takes {allow}"),
            Self::HostMissing => "a request names one host".to_owned(),
            Self::HostUnknown => {
                "this beacon does not answer to that name; its operator lists its names in EXTERNAL_URLS".to_owned()
            }
            Self::OriginForeign => "a page of that origin may not ask a beacon on its visitor's machine; \
                whose machine it is lists the origin in ORIGINS"
                .to_owned(),
            Self::CrossSite => "a page of another site asks: open this address by itself".to_owned(),
            Self::PasswordWrong => "the user admin with the password of ADMIN_PASSWORD may read this".to_owned(),
            Self::Record(error) => error.to_string(),
            Self::Address(error) => error.to_string(),
            Self::OtherMailbox { found } => format!("the record is about the mailbox {found}, not the one in the path"),
            Self::Mailbox(refused) => refused.to_string(),
            Self::TooManyOpenings { retry_after } => format!(
                "too many mailboxes were opened from this network today, the next is opened in {} ms",
                saturating_millis(*retry_after)
            ),
            Self::TooManyMailboxes { most, .. } => {
                format!("this relay has its {most} mailboxes: open one at another, or ask its operator for a place")
            }
            Self::TooManyOfProvider { share, .. } => {
                format!(
                    "{share} mailboxes here are of this provider's customers, no more may be: open one at another relay"
                )
            }
            Self::PeerUnknown => "the key is not that of a peer of this relay".to_owned(),
            Self::PeerThrottled { retry_after } => {
                format!("the peer pushes too often, the next push is taken in {} ms", saturating_millis(*retry_after))
            }
            Self::PushTooLarge => format!("the body is longer than {REPLICATE_MAX_BYTES} bytes"),
            Self::Unavailable => {
                "what is asked cannot be reached at the moment: ask again later, or another beacon".to_owned()
            }
            Self::Internal => "the beacon failed; its operator finds the cause in the log".to_owned(),
        }
    }

    const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Request(error) => error.retry_after(),
            Self::Refused { refused: Refused::AnnounceTooSoon { retry_after }, .. } => Some(*retry_after),
            Self::RateLimited(limited) => Some(limited.retry_after()),
            Self::LivePenalty { retry_after } | Self::PeerThrottled { retry_after } => Some(*retry_after),
            Self::LiveFull(_) | Self::ListenersFull => Some(LIVE_FULL_RETRY_AFTER),
            Self::AnswersUnread => Some(ANSWERS_UNREAD_RETRY_AFTER),
            Self::Unavailable => Some(UNAVAILABLE_RETRY_AFTER),
            Self::Mailbox(MailboxRefused::MailboxFull) => Some(MAILBOX_FULL_RETRY_AFTER),
            Self::Mailbox(MailboxRefused::TooManyDeposits { retry_after })
            | Self::TooManyOpenings { retry_after }
            | Self::TooManyMailboxes { retry_after, .. }
            | Self::TooManyOfProvider { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    /// Returns the answer to a client that does not sign communities, about its ticket: it takes every status but 2xx for
    /// an outage, and reads nothing of the body.
    pub(crate) fn answer_with_ok(&self, now: UnixMillis, peers: &Excerpt) -> Answer {
        Answer::ok(&self.fields(now), Some(peers)).with_outcome(Outcome::Refused(self.code()))
    }

    /// Returns the answer: RFC 9457 with the fields that existing clients read. Its `type` is `about:blank`, so its title is
    /// the status's; `code` tells causes apart.
    pub(crate) fn answer(&self, now: UnixMillis, peers: &Excerpt) -> Answer {
        let fields = Fields {
            status: Some(self.status()),
            title: Some(self.title()),
            kind: Some("about:blank"),
            ..self.fields(now)
        };
        let answer = Answer::new(self.status(), Content::Problem, &fields, Some(peers));
        answer.with_headers(self.headers()).with_outcome(Outcome::Refused(self.code()))
    }

    /// Returns the answer where no community is known, or its list is not to be told.
    pub(crate) fn answer_without_list(&self, now: UnixMillis) -> Answer {
        self.answer(now, &Excerpt::default())
    }

    /// Returns the answer to whoever asks about a mailbox, which has nothing to do with a community's list: RFC 9457, with
    /// what a client needs to know to go on.
    pub(crate) fn answer_about_mailbox(&self, now: UnixMillis) -> Answer {
        let facts = if let Self::Mailbox(refused) = self { facts(refused) } else { String::new() };
        let about = (self.status(), self.code(), self.retry_after());
        answer_with_facts(now, about, &self.detail(), &facts).with_headers(self.headers())
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = Vec::from_iter(self.retry_after().map(retry_after_header));
        match self {
            Self::MethodNotAllowed { allow } => headers.push(("Allow", (*allow).to_owned())),
            Self::UpgradeRequired | Self::SocketRequired => {
                headers.push(("Upgrade", "websocket".to_owned()));
                headers.push(("Sec-WebSocket-Version", "13".to_owned()));
            }
            _ => {}
        }
        headers
    }

    fn fields(&self, now: UnixMillis) -> Fields {
        let code = self.code();
        Fields {
            code,
            detail: self.detail(),
            listed: if let Self::Refused { listed, .. } = self { Some(*listed) } else { None },
            ok: false,
            retry_after_ms: self.retry_after().map(saturating_millis),
            server_time: now,
            status: None,
            title: None,
            kind: None,
            validation: Validation { ok: false, reason: code },
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    code: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    listed: Option<bool>,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    server_time: UnixMillis,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'static str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    validation: Validation,
}

/// What existing clients read.
#[derive(Serialize)]
struct Validation {
    ok: bool,
    reason: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announce_too_soon_says_when_to_come_again() {
        let refused = Refused::AnnounceTooSoon { retry_after: Duration::from_millis(44_001) };
        let problem = Problem::Refused { refused, listed: true };
        let peers = Excerpt { peers: r#"{"a":1}"#.to_owned(), since: "7".to_owned() };
        let answer = problem.answer(UnixMillis::saturating(1_700_000_000_000), &peers);
        assert_eq!(answer.status, 429);
        assert_eq!(
            answer.body,
            concat!(
                r#"{"code":"ANNOUNCE_TOO_SOON","detail":"a new ticket for this peerId is accepted in 44001 ms; "#,
                r#"until then, send the last one again","listed":true,"ok":false,"retryAfterMs":44001,"serverTime":1700000000000,"#,
                r#""status":429,"title":"Too Many Requests","type":"about:blank","#,
                r#""validation":{"ok":false,"reason":"ANNOUNCE_TOO_SOON"},"since":[7],"peers":[{"a":1}]}"#
            )
        );
        assert!(answer.headers.contains(&("Retry-After", "45".to_owned())));
        let answer = problem.answer_with_ok(UnixMillis::saturating(1_700_000_000_000), &peers);
        assert_eq!((answer.status, answer.content, answer.headers.len()), (200, Content::Json, 0));
        assert_eq!(
            answer.body,
            concat!(
                r#"{"code":"ANNOUNCE_TOO_SOON","detail":"a new ticket for this peerId is accepted in 44001 ms; "#,
                r#"until then, send the last one again","listed":true,"ok":false,"retryAfterMs":44001,"#,
                r#""serverTime":1700000000000,"validation":{"ok":false,"reason":"ANNOUNCE_TOO_SOON"},"#,
                r#""since":[7],"peers":[{"a":1}]}"#
            )
        );
    }
}
