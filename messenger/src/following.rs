//! When a program that follows its inbox looks there, and when it listens for news of its mailbox. Decides, and does nothing
//! else: time comes in, and what is to be done goes out.
//!
//! News are a hint. What they say is looked at, and what they cannot say is found by looks that nobody has asked for: often
//! while messages come, seldom while none do, because everybody behind one address shares its rate limit, and more seldom still
//! while the relay tells of all that is to be expected.

use std::time::{Duration, Instant};

use rendezvous_protocol::backoff::Backoff;
use rendezvous_protocol::time::DAY_SECONDS;

use crate::live::Heard;

/// The longest wait between two looks that nothing comes of. A look is one request, and one more where the user has a mailbox,
/// and one a minute looks after keys: 11 who follow behind one address then ask at most 143 times a minute, of the 150 that a
/// relay serves an address.
const IDLE_MOST: Duration = Duration::from_secs(10);

/// The same where the relay tells of every message that a contact is expected to send: what goes by the other door all the
/// same, and what strangers send, waits for so long.
const LISTENING_MOST: Duration = Duration::from_secs(60);

/// Looks that news may cause at once. Each is up to three requests.
const NEWS_AT_ONCE: u32 = 4;

/// Time in which news may cause one look more: what comes in between is looked at together. A relay that says for ever that
/// something waits is asked no more often.
const NEWS_APART: Duration = Duration::from_secs(2);

/// The waits before a connection is tried again.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(2), most: Duration::from_secs(5 * 60) };

/// How long a connection has to last for those that failed before to be forgotten.
const LASTS: Duration = Duration::from_secs(60);

/// The longest interval that counts: one that is far longer overflows the clocks of some systems.
const INTERVAL_MAX: Duration = Duration::from_secs(365 * DAY_SECONDS);

/// How long a relay that tells no news is not asked for any.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(60 * 60);

/// Says by which door messages are to be expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// By the door for retalk's users alone: the relay does not have the user's mailbox.
    #[default]
    ByRetalk,
    /// By either.
    ByEither,
    /// By the mailbox: all saved contacts have written by it.
    ByMailbox,
}

/// Says how a connection has ended, or why there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It may do better the next time.
    Broken,
    /// The relay has none to offer.
    NotOffered,
}

/// Says what is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// To look at the relay.
    Look,
    /// To open a connection for news.
    Connect,
    /// To wait for news, and until this moment at most.
    Wait(Instant),
}

/// Says how far a connection for news has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    /// There is none.
    Closed {
        again_at: Instant,
    },
    Opening,
    Open {
        since: Instant,
    },
}

/// Follows an inbox.
#[derive(Clone, Debug)]
pub struct Following {
    interval: Duration,
    expected: Expected,
    /// Looks in a row of which nothing came.
    idle: u32,
    looked_at: Option<Instant>,
    connection: Connection,
    /// Connections in a row that came to nothing.
    failures: u32,
    has_news: bool,
    /// When the token bucket of looks that news may cause is full again: it holds [`NEWS_AT_ONCE`], and gains one in each
    /// [`NEWS_APART`].
    news_full_at: Instant,
}

impl Following {
    /// Begins with a look. `interval` is the time after one that something came of.
    pub fn new(interval: Duration, now: Instant) -> Self {
        Self {
            interval: interval.min(INTERVAL_MAX),
            expected: Expected::ByRetalk,
            idle: 0,
            looked_at: None,
            connection: Connection::Closed { again_at: now },
            failures: 0,
            has_news: false,
            news_full_at: now,
        }
    }

    /// Returns what is to be done.
    pub fn next(&self, now: Instant) -> Next {
        let Some(look_at) = self.look_at() else { return Next::Look };
        if look_at <= now {
            return Next::Look;
        }
        match self.connection {
            Connection::Closed { again_at } if self.expected != Expected::ByRetalk => {
                if again_at <= now {
                    Next::Connect
                } else {
                    Next::Wait(look_at.min(again_at))
                }
            }
            _ => Next::Wait(look_at),
        }
    }

    /// Returns how long it is until the next look, if no news come.
    pub fn wait(&self, now: Instant) -> Duration {
        self.look_at().map(|at| at.saturating_duration_since(now)).unwrap_or_default()
    }

    fn look_at(&self) -> Option<Instant> {
        let looked_at = self.looked_at?;
        let is_listening = matches!(self.connection, Connection::Open { .. }) && self.expected == Expected::ByMailbox;
        let most = if is_listening { LISTENING_MOST } else { IDLE_MOST };
        let by_itself = looked_at + wait(self.interval, most, self.idle.saturating_sub(1));
        Some(if self.has_news { by_itself.min(self.news_at()) } else { by_itself })
    }

    /// Returns when news may cause a look again.
    fn news_at(&self) -> Instant {
        self.news_full_at.checked_sub(NEWS_APART * (NEWS_AT_ONCE - 1)).unwrap_or(self.news_full_at)
    }

    /// Takes that the relay was looked at, whether something has come of that, and what is to be expected. What is heard from
    /// here on is news.
    pub fn note_look(&mut self, now: Instant, has_come: bool, expected: Expected) {
        self.idle = if has_come { 0 } else { self.idle.saturating_add(1) };
        self.expected = expected;
        self.looked_at = Some(now);
    }

    /// Takes that a look begins, which answers what was heard until now.
    pub fn begin_look(&mut self, now: Instant) {
        if std::mem::take(&mut self.has_news) {
            self.news_full_at = self.news_full_at.max(now) + NEWS_APART;
        }
    }

    /// Takes that a connection is being opened.
    pub const fn note_opening(&mut self) {
        self.connection = Connection::Opening;
    }

    /// Takes what the relay says on the connection.
    pub const fn hear(&mut self, now: Instant, heard: Heard) {
        if !matches!(self.connection, Connection::Open { .. }) {
            self.connection = Connection::Open { since: now };
        }
        if let Heard::Waiting(1..) = heard {
            self.has_news = true;
        }
    }

    /// Takes that the connection has ended, or did not come about. `random` spreads those who are cut off together. Returns
    /// after what time it is tried again.
    pub fn end(&mut self, now: Instant, ended: Ended, random: u8) -> Duration {
        let has_lasted = |since: Instant| now.saturating_duration_since(since) >= LASTS;
        if matches!(self.connection, Connection::Open { since } if has_lasted(since)) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        let wait = match ended {
            Ended::Broken => BACKOFF.wait(self.failures, random),
            Ended::NotOffered => ASKED_AGAIN_AFTER,
        };
        self.connection = Connection::Closed { again_at: now + wait };
        wait
    }
}

/// Returns how long to wait before the relay is asked again, after so many questions in a row of which nothing came: the
/// `interval` after one that something came of, and twice as long after each other one, up to `most`. An interval that is
/// longer stays as it is.
fn wait(interval: Duration, most: Duration, idle: u32) -> Duration {
    let times = 2_u32.saturating_pow(idle);
    interval.saturating_mul(times).min(interval.max(most))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Looks whenever that is due, for so long, and listens if it may. Returns the looks and the attempts to connect.
    fn follow(following: &mut Following, begun: Instant, time: Duration, expected: Expected) -> (u32, u32) {
        let (mut now, mut looks, mut connects) = (begun, 0, 0);
        loop {
            match following.next(now) {
                Next::Look => {
                    following.begin_look(now);
                    following.note_look(now, false, expected);
                    looks += 1;
                }
                Next::Connect => {
                    following.note_opening();
                    connects += 1;
                }
                Next::Wait(until) if until > begun + time => return (looks, connects),
                Next::Wait(until) => {
                    assert!(until > now, "it waits for something");
                    now = until;
                }
            }
        }
    }

    fn listening(expected: Expected) -> (Following, Instant) {
        let now = Instant::now();
        let mut following = Following::new(seconds(2), now);
        assert_eq!(following.next(now), Next::Look);
        following.begin_look(now);
        following.note_look(now, false, expected);
        assert_eq!(following.next(now), Next::Connect);
        following.note_opening();
        following.hear(now, Heard::Waiting(0));
        (following, now)
    }

    #[test]
    fn waits_double_while_nothing_comes() {
        let waits = |interval| [0, 1, 2, 3, 4, u32::MAX].map(|idle| wait(seconds(interval), IDLE_MOST, idle).as_secs());
        assert_eq!(waits(2), [2, 4, 8, 10, 10, 10]);
        assert_eq!(waits(30), [30; 6]);
    }

    #[test]
    fn looks_are_few_where_the_relay_tells_of_all_that_is_expected() {
        let day = seconds(86_400);
        let now = Instant::now();
        let mut apart = Following::new(seconds(2), now);
        let (looks, connects) = follow(&mut apart, now, day, Expected::ByRetalk);
        assert!((8_640..8_650).contains(&looks), "{looks}");
        assert_eq!(connects, 0);
        let (mut following, now) = listening(Expected::ByEither);
        let (looks, _) = follow(&mut following, now, day, Expected::ByEither);
        assert!((8_640..8_650).contains(&looks), "{looks}");
        let (mut following, now) = listening(Expected::ByMailbox);
        let (looks, _) = follow(&mut following, now, day, Expected::ByMailbox);
        assert!((1_440..1_450).contains(&looks), "{looks}");
    }

    #[test]
    fn news_are_looked_at_at_once_and_no_relay_makes_a_program_ask_without_end() {
        let (mut following, begun) = listening(Expected::ByMailbox);
        following.hear(begun, Heard::Waiting(1));
        assert_eq!(following.next(begun), Next::Look);
        following.begin_look(begun);
        following.note_look(begun, true, Expected::ByMailbox);
        assert!(matches!(following.next(begun), Next::Wait(_)), "what was heard before the look is answered by it");
        // News without end, for a minute.
        let (mut now, mut looks) = (begun, 0_u64);
        while now < begun + seconds(60) {
            following.hear(now, Heard::Waiting(1));
            match following.next(now) {
                Next::Look => {
                    following.begin_look(now);
                    following.note_look(now, false, Expected::ByMailbox);
                    looks += 1;
                }
                Next::Connect => panic!("it is connected"),
                Next::Wait(until) => now = until,
            }
        }
        assert!(looks <= 60 / NEWS_APART.as_secs() + u64::from(NEWS_AT_ONCE), "{looks}");
    }

    #[test]
    fn what_is_heard_while_it_looks_is_looked_at_after_that() {
        let (mut following, now) = listening(Expected::ByMailbox);
        following.hear(now, Heard::Waiting(1));
        following.begin_look(now);
        following.hear(now, Heard::Waiting(1));
        following.note_look(now, true, Expected::ByMailbox);
        assert_eq!(following.next(now), Next::Look);
    }

    #[test]
    fn a_connection_that_breaks_is_tried_again_later_and_later_and_the_looks_go_on() {
        let (mut following, now) = listening(Expected::ByMailbox);
        let waits: Vec<_> = (0..10)
            .map(|_| {
                let wait = following.end(now, Ended::Broken, u8::MAX);
                following.note_opening();
                wait.as_secs()
            })
            .collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        // One that lasted begins anew.
        following.hear(now, Heard::Nothing);
        assert_eq!(following.end(now + LASTS, Ended::Broken, u8::MAX), seconds(2));
        assert!(following.wait(now) <= IDLE_MOST);
    }

    #[test]
    fn an_interval_without_end_is_waited_for() {
        let now = Instant::now();
        let mut following = Following::new(Duration::MAX, now);
        following.begin_look(now);
        following.note_look(now, true, Expected::ByRetalk);
        assert_eq!(following.next(now), Next::Wait(now + INTERVAL_MAX));
    }

    #[test]
    fn a_relay_without_news_is_asked_for_them_once_an_hour() {
        let (mut following, now) = listening(Expected::ByMailbox);
        following.end(now, Ended::NotOffered, 0);
        let mut clock = now;
        let mut looks = 0;
        while following.next(clock) != Next::Connect {
            match following.next(clock) {
                Next::Wait(until) => clock = until,
                _ => {
                    following.begin_look(clock);
                    following.note_look(clock, false, Expected::ByMailbox);
                    looks += 1;
                }
            }
        }
        assert_eq!(clock, now + ASKED_AGAIN_AFTER);
        assert!(looks >= 360, "{looks}");
    }

    proptest! {
        #[test]
        fn a_wait_is_never_shorter_than_the_interval_and_never_shrinks(millis in 1_u64..100_000, idle in 0_u32..u32::MAX) {
            let interval = Duration::from_millis(millis);
            prop_assert!(wait(interval, IDLE_MOST, idle) >= interval);
            prop_assert!(wait(interval, IDLE_MOST, idle + 1) >= wait(interval, IDLE_MOST, idle));
        }
    }
}
