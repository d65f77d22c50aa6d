//! When each request is due.
//!
//! Closed loop: as soon as a connection is free, which finds out how many answers there are in a second. Open loop: at
//! fixed times, whether or not the answers before it have come, which is how clients that know nothing of each other
//! behave. A latency counted from there has the waiting in it that a closed loop hides.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Waits shorter than this are spent looking at the clock, because timers are a millisecond coarse.
const SPIN: Duration = Duration::from_millis(2);

/// Hands out requests by number.
pub(crate) struct Schedule {
    requests: usize,
    deadline: Instant,
    next: Cell<usize>,
    open: Option<Open>,
}

struct Open {
    due: RefCell<VecDeque<(usize, Instant)>>,
    arrived: Notify,
    ended: Cell<bool>,
}

impl Schedule {
    /// Plans `requests` requests, none of them begun later than `limit` from now.
    pub(crate) fn closed(requests: usize, limit: Duration) -> Self {
        Self { requests, deadline: Instant::now() + limit, next: Cell::new(0), open: None }
    }

    /// Plans the same at fixed times, once [`Schedule::tick`] runs.
    pub(crate) fn open(requests: usize, limit: Duration) -> Self {
        let open = Open { due: RefCell::default(), arrived: Notify::new(), ended: Cell::new(false) };
        Self { open: Some(open), ..Self::closed(requests, limit) }
    }

    /// Returns the next request and when it was due, or `None` after the last.
    pub(crate) async fn next(&self) -> Option<(usize, Instant)> {
        let Some(open) = &self.open else {
            let (number, now) = (self.next.get(), Instant::now());
            self.next.set(number + 1);
            return (number < self.requests && now < self.deadline).then_some((number, now));
        };
        loop {
            if let Some(due) = open.due.borrow_mut().pop_front() {
                return Some(due);
            }
            if open.ended.get() {
                // Whoever waits for the same news is to hear it as well.
                open.arrived.notify_one();
                return None;
            }
            open.arrived.notified().await;
        }
    }

    /// Lets requests become due, `rate` of them a second. Returns how late it was with each.
    pub(crate) async fn tick(&self, rate: f64) -> Vec<Duration> {
        let Some(open) = &self.open else { return Vec::new() };
        let start = Instant::now();
        let mut lateness = Vec::with_capacity(self.requests);
        for number in 0..self.requests {
            let due = start + Duration::from_secs_f64(number as f64 / rate);
            if due >= self.deadline {
                break;
            }
            loop {
                let wait = due.saturating_duration_since(Instant::now());
                if wait.is_zero() {
                    break;
                }
                if wait > SPIN {
                    tokio::time::sleep(wait - SPIN).await;
                } else {
                    tokio::task::yield_now().await;
                }
            }
            lateness.push(due.elapsed());
            open.due.borrow_mut().push_back((number, due));
            open.arrived.notify_one();
        }
        open.ended.set(true);
        open.arrived.notify_one();
        lateness
    }
}
