//! How fast: frames to all viewers, messages and signals of one client, signals to one peer, and bytes that a client has
//! not acknowledged.

use std::collections::VecDeque;
use std::time::Duration;

use crate::limits::{
    LIVE_ACK_BYTES, LIVE_ACK_TIMEOUT, LIVE_FRAME_INTERVAL, LIVE_FRAMES_AT_ONCE, LIVE_MESSAGE_INTERVAL,
    LIVE_MESSAGES_AT_ONCE, LIVE_PENALTY, LIVE_RENEWAL_GRACE, LIVE_SIGNAL_INTERVAL, LIVE_SIGNAL_OF_SITE_INTERVAL,
    LIVE_SIGNAL_RECEIVED_INTERVAL, LIVE_SIGNAL_SITE_FORGOTTEN, LIVE_SIGNALS_AT_ONCE, LIVE_SIGNALS_FOR_NEW_SITES,
    LIVE_SIGNALS_OF_SITE_AT_ONCE, LIVE_SIGNALS_RECEIVED_AT_ONCE, LIVE_URGENT_WITHIN,
};
use crate::network::NetworkHash;
use crate::time::{UnixMillis, saturating_millis};
use crate::token_bucket::TokenBucket;

const FRAMES: TokenBucket = TokenBucket::new(LIVE_FRAME_INTERVAL, LIVE_FRAMES_AT_ONCE);

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
#[derive(Debug, Default)]
pub struct FrameRate {
    /// When the bucket is full again, in milliseconds as [`UnixMillis`].
    full_at: u64,
    due_at: Option<UnixMillis>,
    latest_at: Option<UnixMillis>,
}

impl FrameRate {
    /// Notes a change. [`FrameRate::take`] is to be called now, and again after the time that this returns, if any: it
    /// returns one only where that is sooner than before.
    pub fn changed(&mut self, now: UnixMillis, urgency: Urgency) -> Option<Duration> {
        let wait = Duration::from_millis(FRAMES.wait(self.missing(now)));
        let (wait, grace) = match urgency {
            Urgency::Urgent => (wait.min(LIVE_URGENT_WITHIN), Duration::ZERO),
            Urgency::Renewal => (wait, LIVE_RENEWAL_GRACE),
        };
        let due_at = now.after(wait);
        let latest_at = due_at.after(grace);
        self.latest_at = Some(self.latest_at.map_or(latest_at, |at| at.min(latest_at)));
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
            self.latest_at = None;
            // What is urgent may have more than there is.
            self.full_at = FRAMES.taken(self.missing(now), now.as_u64());
        }
        due
    }

    /// Returns when [`FrameRate::take`] is to be called next, if anything has changed.
    pub const fn due_at(&self) -> Option<UnixMillis> {
        self.due_at
    }

    /// Returns by when [`FrameRate::take`] is to be called at the latest, if anything has changed: where a call for that
    /// alone costs something, one that comes meanwhile does as well.
    pub const fn latest_at(&self) -> Option<UnixMillis> {
        self.latest_at
    }

    /// Notes that nobody is there to be sent anything.
    pub const fn stop(&mut self) {
        (self.due_at, self.latest_at) = (None, None);
    }

    fn missing(&self, now: UnixMillis) -> u64 {
        FRAMES.missing(self.full_at, now.as_u64())
    }
}

/// In thirds of a message, so that what is small counts a third.
const MESSAGES: TokenBucket =
    TokenBucket::new(Duration::from_millis(LIVE_MESSAGE_INTERVAL.as_millis() as u64 / 3), 3 * LIVE_MESSAGES_AT_ONCE);

/// Limits the messages of one connection.
#[derive(Debug, Default)]
pub struct MessageRate {
    full_at: u64,
}

impl MessageRate {
    /// Takes a message; `is_small` says that it is a ping or an acknowledgement. Returns whether it is within the limit.
    pub fn take(&mut self, now: UnixMillis, is_small: bool) -> bool {
        let thirds = if is_small { 1 } else { 3 };
        let bucket = TokenBucket { interval: MESSAGES.interval * thirds, ..MESSAGES };
        bucket.take(&mut self.full_at, now.as_u64()).is_ok()
    }
}

const SIGNALS: TokenBucket = TokenBucket::new(LIVE_SIGNAL_INTERVAL, LIVE_SIGNALS_AT_ONCE);
const SIGNALS_RECEIVED: TokenBucket = TokenBucket::new(LIVE_SIGNAL_RECEIVED_INTERVAL, LIVE_SIGNALS_RECEIVED_AT_ONCE);
const SIGNALS_OF_SITE: TokenBucket = TokenBucket::new(LIVE_SIGNAL_OF_SITE_INTERVAL, LIVE_SIGNALS_OF_SITE_AT_ONCE);

/// Limits the signals that one connection sends.
#[derive(Debug, Default)]
pub struct SignalRate {
    full_at: u64,
}

impl SignalRate {
    /// Takes a signal, or nothing and returns after which time there is one to take.
    ///
    /// # Errors
    /// That time.
    pub fn take(&mut self, now: UnixMillis) -> Result<(), Duration> {
        SIGNALS.take(&mut self.full_at, now.as_u64()).map_err(Duration::from_millis)
    }
}

/// Limits the signals that one peer is sent, and deals them out to the sites that they come from.
///
/// A site has a bucket of its own, less than a quarter of the whole, and the last quarter of the whole is for sites that
/// are new to the peer: sites that keep sending take nothing of it. Only sites whose signals were sent on are remembered,
/// 20 + 60 at most. It lasts as long as the object that holds it: one that was forgotten begins with a full one.
#[derive(Debug, Default)]
pub struct SignalBudget {
    full_at: u64,
    sites: Vec<SiteSignals>,
}

#[derive(Clone, Copy, Debug)]
struct SiteSignals {
    site: NetworkHash,
    full_at: u64,
    heard_at: UnixMillis,
}

impl SignalBudget {
    /// Takes a signal that comes from a site, or nothing and returns after which time there is one to take.
    ///
    /// # Errors
    /// That time.
    pub fn take(&mut self, now: UnixMillis, site: NetworkHash) -> Result<(), Duration> {
        // One that was heard in the future, of a clock that jumped back, would be remembered for too long.
        self.sites.retain(|site| site.heard_at <= now && now.since(site.heard_at) < LIVE_SIGNAL_SITE_FORGOTTEN);
        let all = SIGNALS_RECEIVED.settle(&mut self.full_at, now.as_u64());
        let known = self.sites.iter_mut().find(|known| known.site == site);
        let of_site = known.map(|known| SIGNALS_OF_SITE.settle(&mut known.full_at, now.as_u64()));
        let kept = if of_site.is_some() { SIGNALS_RECEIVED.interval * LIVE_SIGNALS_FOR_NEW_SITES } else { 0 };
        let of_site = of_site.unwrap_or_default();
        let wait = SIGNALS_RECEIVED.wait(all.saturating_add(kept)).max(SIGNALS_OF_SITE.wait(of_site));
        if wait > 0 {
            return Err(Duration::from_millis(wait));
        }
        self.full_at = SIGNALS_RECEIVED.taken(all, now.as_u64());
        let full_at = SIGNALS_OF_SITE.taken(of_site, now.as_u64());
        self.sites.retain(|known| known.site != site);
        self.sites.push(SiteSignals { site, full_at, heard_at: now });
        Ok(())
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
    pub fn remaining(&mut self, now: UnixMillis, address: NetworkHash) -> Option<Duration> {
        let (_, until) = self.until.iter_mut().find(|(other, _)| *other == address)?;
        *until = (*until).min(now.after(LIVE_PENALTY));
        let remaining = until.since(now);
        (saturating_millis(remaining) > 0).then_some(remaining)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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
        assert_eq!(rate.changed(at(0), Urgency::Renewal), Some(Duration::from_secs(14)));
        assert!(!rate.take(at(0)) && !rate.take(at(13_999)));
        assert_eq!((rate.due_at(), rate.latest_at()), (Some(at(14_000)), Some(at(16_000))));
        assert_eq!(rate.changed(at(5_000), Urgency::Urgent), Some(Duration::from_secs(1)));
        assert_eq!((rate.due_at(), rate.latest_at()), (Some(at(6_000)), Some(at(6_000))));
        assert_eq!(rate.changed(at(5_500), Urgency::Urgent), None, "a frame is due already");
        assert!(!rate.take(at(5_999)) && rate.take(at(6_000)));
        assert!(!rate.take(at(60_000)), "nothing has changed");
        assert_eq!((rate.due_at(), rate.latest_at()), (None, None));
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
        fn whoever_comes_or_goes_is_seen_within_a_second_and_a_renewal_within_fourteen(
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
                waiting.push((now, if urgent { 1_000 } else { 14_000 }));
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

    fn site(number: u8) -> NetworkHash {
        NetworkHash::from_bytes([number; 8])
    }

    /// How many signals of a site go through at once.
    fn through(budget: &mut SignalBudget, now: u64, number: u8) -> usize {
        (0..).take_while(|_| budget.take(at(now), site(number)).is_ok()).count()
    }

    #[test]
    fn ten_signals_go_at_once_then_one_in_three_seconds() {
        let mut rate = SignalRate::default();
        assert_eq!((0..).take_while(|_| rate.take(at(0)).is_ok()).count(), 10);
        assert_eq!(rate.take(at(1_000)), Err(Duration::from_secs(2)));
        assert_eq!((rate.take(at(3_000)), rate.take(at(3_000))), (Ok(()), Err(Duration::from_secs(3))));
    }

    #[test]
    fn a_site_has_four_signals_at_once_and_leaves_others_theirs() {
        let mut budget = SignalBudget::default();
        assert_eq!(through(&mut budget, 0, 1), 4);
        assert_eq!(budget.take(at(0), site(1)), Err(Duration::from_secs(10)));
        assert_eq!([2, 3, 4].map(|number| through(&mut budget, 0, number)), [4, 4, 3]);
        assert_eq!(budget.take(at(0), site(4)), Err(Duration::from_secs(1)), "what is left is for who is new");
        assert_eq!([5, 6, 7, 8, 9].map(|number| through(&mut budget, 0, number)), [1; 5]);
        assert_eq!(budget.take(at(0), site(10)), Err(Duration::from_secs(1)));
        assert_eq!(budget.take(at(1_000), site(10)), Ok(()));
    }

    #[test]
    fn sites_that_keep_sending_take_nothing_of_what_is_for_who_is_new() {
        let mut budget = SignalBudget::default();
        for second in 0..600_u64 {
            let now = second * 1_000;
            if second >= 60 && second.is_multiple_of(10) {
                let honest = u8::try_from(200 + second / 10 % 6).unwrap();
                assert_eq!(budget.take(at(now), site(honest)), Ok(()), "heard a minute ago, at {second} s");
            }
            // Ten sites, which together may take more than there is, try as often as they like.
            for number in (0..10).chain(0..10) {
                let _ = budget.take(at(now + 500), site(number));
            }
        }
    }

    #[test]
    fn sites_are_remembered_for_a_minute_and_are_bounded() {
        let mut budget = SignalBudget::default();
        let mut most = 0;
        for second in 0..300_u64 {
            for number in 0..40_u64 {
                let site = NetworkHash::from_bytes((second * 40 + number).to_be_bytes());
                let _ = budget.take(at(second * 1_000), site);
            }
            most = most.max(budget.sites.len());
        }
        assert!((60..=80).contains(&most), "{most}");
    }

    #[test]
    fn a_clock_that_jumps_back_forgets_sites_and_locks_nobody_out() {
        let mut budget = SignalBudget::default();
        assert_eq!(through(&mut budget, 1_000_000, 1), 4);
        assert_eq!(budget.take(at(0), site(1)), Err(Duration::from_secs(1)), "the whole is empty at most");
        assert_eq!(budget.take(at(1_000), site(1)), Ok(()));
        assert_eq!(budget.sites.len(), 1);
    }

    proptest! {
        /// The model counts tokens, in milliseconds of filling.
        #[test]
        fn signals_are_dealt_out_as_counting_says(
            steps in prop::collection::vec((prop_oneof![Just(0_u64), 0_u64..4_000, 0_u64..80_000], 0_u8..12), 1..200),
        ) {
            let mut budget = SignalBudget::default();
            let (mut now, mut whole) = (0_u64, 20_000_u64);
            // What each site has left, and when it was heard last.
            let mut sites = BTreeMap::<u8, (u64, u64)>::new();
            let mut sent = BTreeMap::<u8, u64>::new();
            for (pause, number) in steps {
                now += pause;
                whole = (whole + pause).min(20_000);
                sites.values_mut().for_each(|(left, _)| *left = (*left + pause).min(40_000));
                sites.retain(|_, (_, heard)| now - *heard < 60_000);
                let (left, kept) = sites.get(&number).map_or((40_000, 0), |(left, _)| (*left, 5_000));
                let wait = (1_000_u64 + kept).saturating_sub(whole).max(10_000_u64.saturating_sub(left));
                let expected = if wait == 0 { Ok(()) } else { Err(Duration::from_millis(wait)) };
                prop_assert_eq!(budget.take(at(now), site(number)), expected);
                if wait == 0 {
                    whole -= 1_000;
                    sites.insert(number, (left - 10_000, now));
                    let of_site = sent.entry(number).or_default();
                    *of_site += 1;
                    prop_assert!(*of_site * 4_000 <= 20_000 + now, "a quarter of what all may send");
                }
                prop_assert_eq!(budget.sites.len(), sites.len());
            }
        }
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
        penalties.add(at(9_000_000), address(4));
        assert_eq!(penalties.remaining(at(0), address(4)), Some(LIVE_PENALTY), "of a clock that jumped back");
        assert_eq!(penalties.remaining(at(60_000), address(4)), None);
    }
}
