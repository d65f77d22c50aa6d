//! Holding back the signals that end the program while it is between two files that belong together.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// While this exists, SIGINT and SIGTERM do not end the program; when it goes, one that has come does.
///
/// Made once, at the end of the program: the system's own handling of these signals is not put back, only imitated.
pub(crate) struct HeldSignals {
    received: Arc<AtomicUsize>,
}

impl HeldSignals {
    /// Begins to hold them.
    pub(crate) fn new() -> io::Result<Self> {
        let received = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM] {
            flag::register_usize(signal, Arc::clone(&received), signal.unsigned_abs() as usize)?;
        }
        Ok(Self { received })
    }

    fn received(&self) -> Option<i32> {
        i32::try_from(self.received.load(Ordering::SeqCst)).ok().filter(|signal| *signal != 0)
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        if let Some(signal) = self.received() {
            // Does not return for these two. If it cannot, the program ends a moment later anyway.
            let _ = low_level::emulate_default_handler(signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_kept_for_later() {
        let held = HeldSignals::new().unwrap();
        assert_eq!(held.received(), None);
        low_level::raise(SIGTERM).unwrap();
        assert_eq!(held.received(), Some(SIGTERM));
        // Dropped, it would end the tests.
        std::mem::forget(held);
    }
}
