//! One connection on which a relay tells the news of a mailbox (section 17 of the specification, "News"), as far as the client
//! decides: what a message means, when to ping, and when the relay counts as gone. Time comes in; sockets are others' business.

use std::time::{Duration, Instant};

use rendezvous_capsule::text;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::limits::LIVE_PING_AFTER;
use rendezvous_protocol::live::{PING, PONG};
use rendezvous_protocol::mailbox::bytes::{Address, Bytes};
use rendezvous_protocol::mailbox::envelope::Signed;
use rendezvous_protocol::mailbox::record::{Live, RecordError};
use rendezvous_protocol::time::UnixMillis;
use serde::Deserialize;

use crate::relay::MailboxRelay;

/// Bytes of one message of the relay: news are a number, and an error has a sentence.
pub const MESSAGE_MAX_BYTES: usize = 64 * 1024;

/// Time after a ping in which something has to come.
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// Characters of what a relay says that are shown.
const TEXT_MAX_CHARS: usize = 300;

/// Holds what opens a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Its address, as of a request.
    pub url: String,
    /// The first message, which says signed who listens.
    pub first: String,
}

impl Listen {
    /// Signs, for `reader`, what opens a connection for the news of a mailbox, good for a minute.
    ///
    /// # Errors
    /// [`RecordError`], if it cannot be signed.
    pub fn new(
        relay: &MailboxRelay<'_>,
        mailbox: Address,
        reader: &PrivateKey,
        nonce: [u8; 16],
        now: UnixMillis,
    ) -> Result<Self, RecordError> {
        let live = Live { audience: relay.origin().to_owned(), issued_at: now, mailbox, nonce: Bytes(nonce) };
        Ok(Self { url: relay.live_url(mailbox), first: Signed::sign(live, reader)?.to_json() })
    }
}

/// Says what a message of the relay means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// So many messages wait in the mailbox.
    Waiting(u64),
    /// Nothing that matters here.
    Nothing,
}

/// Says why a connection is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LiveError {
    /// The relay does not let this key listen.
    #[error("the relay tells no news of the mailbox: {code}{}", said(.detail))]
    Refused {
        /// The name of the rule.
        code: String,
        /// What the relay says.
        detail: String,
    },
    /// What came is not a message of a relay.
    #[error("the relay does not tell news as a relay does: {reason}")]
    Unreadable {
        /// What does not fit.
        reason: String,
    },
    /// Nothing has come for too long.
    #[error("the relay has not answered a ping")]
    Silent,
}

fn said(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(" ({detail})") }
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event {
    Messages {
        pending: u64,
    },
    Error {
        code: String,
        #[serde(default)]
        detail: String,
    },
    /// One that a later relay may tell.
    #[serde(other)]
    Other,
}

/// Returns a text of a stranger as a terminal may show it, and not all of a long one.
fn shown(text: &str) -> String {
    text::printable(&text.chars().take(TEXT_MAX_CHARS).collect::<String>())
}

/// Holds one connection.
#[derive(Clone, Debug)]
pub struct LiveConnection {
    /// When this side last said something.
    said_at: Instant,
    /// When a ping was sent after which nothing has come.
    pinged_at: Option<Instant>,
}

impl LiveConnection {
    /// Begins with what says who listens, which was sent now.
    pub const fn new(now: Instant) -> Self {
        Self { said_at: now, pinged_at: None }
    }

    /// Takes a text of the relay, of at most [`MESSAGE_MAX_BYTES`].
    ///
    /// # Errors
    /// [`LiveError::Refused`] and [`LiveError::Unreadable`]: then the connection is of no use any more.
    pub fn take(&mut self, text: &str) -> Result<Heard, LiveError> {
        self.note_sign_of_life();
        if text == PONG {
            return Ok(Heard::Nothing);
        }
        match serde_json::from_str(text) {
            Ok(Event::Messages { pending }) => Ok(Heard::Waiting(pending)),
            Ok(Event::Other) => Ok(Heard::Nothing),
            Ok(Event::Error { code, detail }) => Err(LiveError::Refused { code: shown(&code), detail: shown(&detail) }),
            Err(error) => Err(LiveError::Unreadable { reason: shown(&error.to_string()) }),
        }
    }

    /// Takes that something else has come, such as a ping of the WebSocket's own. That puts no ping off: the relay ends a
    /// connection on which the client is silent, however much it says itself.
    pub const fn note_sign_of_life(&mut self) {
        self.pinged_at = None;
    }

    /// Returns when [`LiveConnection::handle_timeout`] is to be called.
    pub fn next_deadline(&self) -> Instant {
        match self.pinged_at {
            Some(pinged_at) => pinged_at + PONG_WITHIN,
            None => self.said_at + LIVE_PING_AFTER,
        }
    }

    /// Returns what is to be sent, if anything is due. An early or repeated call does nothing.
    ///
    /// # Errors
    /// [`LiveError::Silent`].
    pub fn handle_timeout(&mut self, now: Instant) -> Result<Option<&'static str>, LiveError> {
        if now < self.next_deadline() {
            return Ok(None);
        }
        if self.pinged_at.is_some() {
            return Err(LiveError::Silent);
        }
        self.said_at = now;
        self.pinged_at = Some(now);
        Ok(Some(PING))
    }
}

#[cfg(test)]
mod tests {
    use rendezvous_protocol::limits::LIVE_SILENCE;

    use super::*;

    #[test]
    fn what_a_relay_says_means_that_messages_wait_or_that_it_is_of_no_use() {
        let mut connection = LiveConnection::new(Instant::now());
        for (text, heard) in [
            (r#"{"event":"messages","pending":3}"#, Heard::Waiting(3)),
            (r#"{"event":"messages","pending":0,"later":1}"#, Heard::Waiting(0)),
            (r#"{"event":"ack","ack":{}}"#, Heard::Nothing),
            ("pong", Heard::Nothing),
        ] {
            assert_eq!(connection.take(text), Ok(heard), "{text}");
        }
        for bad in ["", "{}", "[]", r#"{"event":"messages"}"#, r#"{"event":"messages","pending":-1}"#] {
            assert!(matches!(connection.take(bad), Err(LiveError::Unreadable { .. })), "{bad}");
        }
        let text = r#"{"event":"error","code":"NOT_A_READER","detail":"no\u001b[2J"}"#;
        let error = connection.take(text).unwrap_err();
        assert_eq!(error.to_string(), "the relay tells no news of the mailbox: NOT_A_READER (no\\u{1b}[2J)");
    }

    #[test]
    fn who_is_silent_is_pinged_and_given_up_where_nothing_comes() {
        let begun = Instant::now();
        let mut connection = LiveConnection::new(begun);
        assert_eq!(connection.handle_timeout(begun), Ok(None));
        let due = connection.next_deadline();
        assert_eq!(connection.handle_timeout(due), Ok(Some("ping")));
        assert_eq!(connection.handle_timeout(due), Ok(None));
        // The answer begins the same anew.
        connection.take("pong").unwrap();
        let due = connection.next_deadline();
        assert_eq!(connection.handle_timeout(due), Ok(Some("ping")));
        let end = connection.next_deadline();
        assert_eq!(connection.handle_timeout(end), Err(LiveError::Silent));
        assert!(end - due < LIVE_SILENCE && LIVE_PING_AFTER * 2 < LIVE_SILENCE, "the relay does not give up before");
    }

    #[test]
    fn a_relay_that_has_much_to_say_hears_of_the_client_before_it_counts_as_silent() {
        let begun = Instant::now();
        let end = begun + Duration::from_secs(600);
        let mut connection = LiveConnection::new(begun);
        let (mut said, mut news_at) = (vec![begun], begun);
        loop {
            // Both come between two news: when the ping is due, and its answer.
            news_at += Duration::from_secs(30);
            if news_at > end {
                break;
            }
            while connection.next_deadline() < news_at {
                let now = connection.next_deadline();
                assert_eq!(connection.handle_timeout(now), Ok(Some("ping")));
                connection.take("pong").unwrap();
                said.push(now);
            }
            connection.take(r#"{"event":"messages","pending":1}"#).unwrap();
        }
        said.push(end);
        let silences: Vec<_> = said.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(silences.iter().all(|silence| *silence < LIVE_SILENCE), "{silences:?}");
    }
}
