//! How fast: frames to all viewers, messages of one client, and bytes that a client has not acknowledged.

use std::collections::VecDeque;
use std::time::Duration;

use crate::limits::{
    LIVE_ACK_BYTES, LIVE_ACK_TIMEOUT, LIVE_FRAME_INTERVAL, LIVE_FRAMES_AT_ONCE, LIVE_MESSAGE_INTERVAL,
    LIVE_MESSAGES_AT_ONCE, LIVE_PENALTY, LIVE_URGENT_WITHIN,
};
use crate::network::NetworkHash;
use crate::time::{UnixMillis, saturating_millis};
use crate::token_bucket::TokenBucket;

const FRAMES: TokenBucket = TokenBucket {
    interval: LIVE_FRAME_INTERVAL.as_millis() as u64,
    filling: LIVE_FRAME_INTERVAL.as_millis() as u64 * LIVE_FRAMES_AT_ONCE,
};

/// Says how long a change may wait for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody came or went: at most [`LIVE_URGENT_WITHIN`].
    Urgent,
    /// A ticket took the place of an older one of the same claim: until there is a frame in the bucket.
    Renewal,
}

/// Decides when what has changed is sent to all viewers: at once while there is a frame in the bucket, else later and
/// together.
#[derive(Debug)]
pub struct FrameRate {
    full_at: UnixMillis,
    due_at: Option<UnixMillis>,
}

impl Default for FrameRate {
    fn default() -> Self {
        Self { full_at: UnixMillis::saturating(0), due_at: None }
    }
}

impl FrameRate {
    /// Notes a change. [`FrameRate::take`] is to be called now, and again after the time that this returns, if any: it
    /// returns one only where that is sooner than before.
    pub fn changed(&mut self, now: UnixMillis, urgency: Urgency) -> Option<Duration> {
        let wait = Duration::from_millis(FRAMES.wait(self.missing(now)));
        let wait = match urgency {
            Urgency::Urgent => wait.min(LIVE_URGENT_WITHIN),
            Urgency::Renewal => wait,
        };
        let due_at = now.after(wait);
        if self.due_at.is_some_and(|at| at <= due_at) {
            return None;
        }
        self.due_at = Some(due_at);
        (!wait.is_zero()).then_some(wait)
    }

    /// Returns whether a frame is to be sent now; then it counts as sent. It may be asked at any time.
    pub fn take(&mut self, now: UnixMillis) -> bool {
        // A clock that has jumped back puts nothing off.
        let due = self.due_at.take_if(|at| *at <= now || at.since(now) > LIVE_FRAME_INTERVAL).is_some();
        if due {
            self.full_at = UnixMillis::saturating(FRAMES.taken(self.missing(now), now.as_u64()));
        }
        due
    }

    /// Notes that nobody is there to be sent anything.
    pub const fn stop(&mut self) {
        self.due_at = None;
    }

    fn missing(&self, now: UnixMillis) -> u64 {
        FRAMES.missing(self.full_at.as_u64(), now.as_u64())
    }
}

/// In thirds of a message, so that what is small counts a third.
const MESSAGES: TokenBucket = TokenBucket {
    interval: LIVE_MESSAGE_INTERVAL.as_millis() as u64 / 3,
    filling: LIVE_MESSAGE_INTERVAL.as_millis() as u64 / 3 * 3 * LIVE_MESSAGES_AT_ONCE,
};

/// Limits the messages of one connection.
#[derive(Debug)]
pub struct MessageRate {
    full_at: UnixMillis,
}

impl Default for MessageRate {
    fn default() -> Self {
        Self { full_at: UnixMillis::saturating(0) }
    }
}

impl MessageRate {
    /// Takes a message; `is_small` says that it is a ping or an acknowledgement. Returns whether it is within the limit.
    pub fn take(&mut self, now: UnixMillis, is_small: bool) -> bool {
        let thirds = if is_small { 1 } else { 3 };
        let bucket = TokenBucket { interval: MESSAGES.interval * thirds, ..MESSAGES };
        let missing = bucket.missing(self.full_at.as_u64(), now.as_u64());
        let fits = bucket.wait(missing) == 0;
        if fits {
            self.full_at = UnixMillis::saturating(bucket.taken(missing, now.as_u64()));
        }
        fits
    }
}

/// Counts the bytes that a client was sent and has not acknowledged.
#[derive(Debug, Default)]
pub struct Window {
    /// The sequence number and the bytes of each frame.
    sent: VecDeque<(u64, usize)>,
    bytes: usize,
    /// When the window closed, or something was last acknowledged since; absent while it is open.
    closed_at: Option<UnixMillis>,
}

impl Window {
    /// Returns whether a frame may be sent: fewer than [`LIVE_ACK_BYTES`] are out.
    pub const fn is_open(&self) -> bool {
        self.bytes < LIVE_ACK_BYTES
    }

    /// Notes that a frame was sent.
    pub fn sent(&mut self, now: UnixMillis, sequence: u64, bytes: usize) {
        self.sent.push_back((sequence, bytes));
        self.bytes = self.bytes.saturating_add(bytes);
        if !self.is_open() {
            self.closed_at.get_or_insert(now);
        }
    }

    /// Takes the acknowledgement of every frame up to a sequence number.
    pub fn acknowledge(&mut self, now: UnixMillis, sequence: u64) {
        while let Some((_, bytes)) = self.sent.pop_front_if(|(sent, _)| *sent <= sequence) {
            self.bytes = self.bytes.saturating_sub(bytes);
            self.closed_at = (!self.is_open()).then_some(now);
        }
    }

    /// Returns when the client counts as one that does not read, unless it acknowledges something until then.
    pub fn slow_at(&self) -> Option<UnixMillis> {
        self.closed_at.map(|at| at.after(LIVE_ACK_TIMEOUT))
    }
}

/// Remembers which addresses may not open a connection, because one of theirs was closed for what they did.
#[derive(Debug)]
pub struct Penalties {
    capacity: usize,
    /// The first to end first.
    until: VecDeque<(NetworkHash, UnixMillis)>,
}

impl Penalties {
    /// Makes a memory of at most so many addresses.
    pub const fn new(capacity: usize) -> Self {
        Self { capacity, until: VecDeque::new() }
    }

    /// Refuses an address for [`LIVE_PENALTY`]. Where too many are refused, the one whose penalty ends first is let off.
    pub fn add(&mut self, now: UnixMillis, address: NetworkHash) {
        self.until.retain(|(other, until)| *other != address && now < *until);
        if self.until.len() >= self.capacity {
            self.until.pop_front();
        }
        self.until.push_back((address, now.after(LIVE_PENALTY)));
    }

    /// Returns for how long an address is refused. A clock that jumped back refuses nobody for longer.
    pub fn remaining(&self, now: UnixMillis, address: NetworkHash) -> Option<Duration> {
        let (_, until) = self.until.iter().find(|(other, _)| *other == address)?;
        let remaining = until.since(now).min(LIVE_PENALTY);
        (saturating_millis(remaining) > 0).then_some(remaining)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> UnixMillis {
        UnixMillis::saturating(1_700_000_000_000 + millis)
    }

    #[test]
    fn a_small_community_never_waits_and_a_burst_is_coalesced() {
        let mut rate = FrameRate::default();
        for _ in 0..6 {
            assert_eq!(rate.changed(at(0), Urgency::Renewal), None);
            assert!(rate.take(at(0)));
        }
        assert_eq!(rate.changed(at(0), Urgency::Renewal), Some(Duration::from_secs(10)));
        assert!(!rate.take(at(0)) && !rate.take(at(9_999)));
        assert_eq!(rate.changed(at(5_000), Urgency::Urgent), Some(Duration::from_secs(1)));
        assert_eq!(rate.changed(at(5_500), Urgency::Urgent), None, "a frame is due already");
        assert!(!rate.take(at(5_999)) && rate.take(at(6_000)));
        assert!(!rate.take(at(60_000)), "nothing has changed");
        assert_eq!(rate.changed(at(70_000), Urgency::Renewal), None);
        assert!(rate.take(at(70_000)));
    }

    #[test]
    fn a_clock_that_jumps_back_puts_no_frame_off() {
        let mut rate = FrameRate::default();
        while rate.changed(at(100_000), Urgency::Renewal).is_none() {
            assert!(rate.take(at(100_000)));
        }
        assert!(rate.take(at(0)));
    }

    proptest! {
        #[test]
        fn whoever_comes_or_goes_is_seen_within_a_second_and_a_renewal_within_ten(
            steps in prop::collection::vec((0_u64..3_000, any::<bool>()), 1..80),
        ) {
            let mut rate = FrameRate::default();
            let (mut now, mut timers, mut waiting) = (0, Vec::new(), Vec::new());
            let mut frames = 0_u64;
            for (pause, urgent) in steps {
                let end = now + pause;
                let mut moments: Vec<u64> = timers.iter().copied().filter(|timer| *timer <= end).collect();
                timers.retain(|timer| *timer > end);
                moments.sort_unstable();
                for moment in moments {
                    if rate.take(at(moment)) {
                        frames += 1;
                        for (since, most) in waiting.drain(..) {
                            prop_assert!(moment - since <= most);
                        }
                    }
                }
                now = end;
                let urgency = if urgent { Urgency::Urgent } else { Urgency::Renewal };
                waiting.push((now, if urgent { 1_000 } else { 10_000 }));
                timers.extend(rate.changed(at(now), urgency).map(|wait| now + saturating_millis(wait)));
                if rate.take(at(now)) {
                    frames += 1;
                    waiting.clear();
                }
            }
            prop_assert!(frames <= 6 + now / 1_000 + 1);
        }
    }

    #[test]
    fn thirty_messages_go_at_once_then_one_in_two_seconds_and_small_ones_count_a_third() {
        let mut rate = MessageRate::default();
        let full = |rate: &mut MessageRate, now, is_small| (0..).take_while(|_| rate.take(at(now), is_small)).count();
        assert_eq!(full(&mut rate, 0, false), 30);
        assert_eq!(full(&mut rate, 2_000, false), 1);
        assert_eq!(full(&mut rate, 1_000_000, true), 90);
        assert_eq!(full(&mut rate, 1_000_700, true), 1);
    }

    #[test]
    fn a_window_closes_at_its_size_and_opens_with_an_acknowledgement() {
        let mut window = Window::default();
        window.sent(at(0), 1, LIVE_ACK_BYTES - 1);
        assert!(window.is_open() && window.slow_at().is_none());
        window.sent(at(5), 2, 1);
        assert!(!window.is_open());
        assert_eq!(window.slow_at(), Some(at(20_005)), "from when it closed on");
        window.acknowledge(at(10), 0);
        assert_eq!(window.slow_at(), Some(at(20_005)), "nothing was acknowledged");
        window.acknowledge(at(10), 1);
        assert!(window.is_open());
        window.acknowledge(at(11), u64::MAX);
        assert_eq!(window.bytes, 0);
    }

    #[test]
    fn penalties_end_and_are_bounded() {
        let address = |number: u8| NetworkHash::from_bytes([number; 8]);
        let mut penalties = Penalties::new(2);
        penalties.add(at(0), address(1));
        assert_eq!(penalties.remaining(at(0), address(1)), Some(LIVE_PENALTY));
        assert_eq!(penalties.remaining(at(60_000), address(1)), None);
        penalties.add(at(1), address(2));
        penalties.add(at(2), address(3));
        assert_eq!(penalties.remaining(at(3), address(1)), None, "the first to end makes room");
        assert!(penalties.remaining(at(3), address(2)).is_some() && penalties.remaining(at(3), address(3)).is_some());
    }
}
