//! Signals that ask the program to end: held back for a moment, or answered with an orderly end.

use std::io;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];

/// Whether SIGINT ends this program at once, although this module handles it. Absent, where it does not handle it yet.
static ENDS_AT_ONCE: Mutex<Option<Arc<AtomicBool>>> = Mutex::new(None);

/// Whether something else than the system's default happens at a signal, from now on.
static IS_TAKEN_OVER: AtomicBool = AtomicBool::new(false);

/// Sees to it that what [`during_prompt`] has left behind does not end the program at a signal that others wait for.
fn take_over() {
    IS_TAKEN_OVER.store(true, Ordering::SeqCst);
    if let Some(ends) = &*ENDS_AT_ONCE.lock().unwrap_or_else(PoisonError::into_inner) {
        ends.store(false, Ordering::SeqCst);
    }
}

/// Asks something on the terminal, whose settings are others meanwhile. Ctrl-C, for which the asking fails as interrupted, ends
/// the program by SIGINT once the settings are back; without this it would end before, and leave a terminal that shows nothing.
pub(crate) fn during_prompt<T>(ask: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let ends = {
        let mut ends = ENDS_AT_ONCE.lock().unwrap_or_else(PoisonError::into_inner);
        match &*ends {
            Some(ends) => Arc::clone(ends),
            None => {
                let handled = Arc::new(AtomicBool::new(false));
                flag::register_conditional_default(SIGINT, Arc::clone(&handled))?;
                Arc::clone(ends.insert(handled))
            }
        }
    };
    ends.store(false, Ordering::SeqCst);
    let answer = ask();
    ends.store(!IS_TAKEN_OVER.load(Ordering::SeqCst), Ordering::SeqCst);
    if answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Interrupted) {
        // Does not return. If it cannot, the error says the same.
        low_level::emulate_default_handler(SIGINT)?;
    }
    answer
}

/// While this exists, SIGINT and SIGTERM do not end the program; when it goes, one that has come does.
///
/// Made once, at the end of the program: the system's own handling of these signals is not put back, only imitated.
pub struct HeldSignals {
    received: Arc<AtomicUsize>,
}

impl HeldSignals {
    /// Begins to hold them.
    pub fn new() -> io::Result<Self> {
        take_over();
        let received = Arc::new(AtomicUsize::new(0));
        for signal in SIGNALS {
            flag::register_usize(signal, Arc::clone(&received), signal.unsigned_abs() as usize)?;
        }
        Ok(Self { received })
    }

    /// Whether one has come.
    pub fn is_asked_to_end(&self) -> bool {
        self.received().is_some()
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

/// Calls `stop`, in a thread of its own, when the first SIGINT or SIGTERM comes. A second one ends the program at once,
/// for those who do not want to wait.
pub fn on_stop(stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
    take_over();
    let asked = Arc::new(AtomicBool::new(false));
    for signal in SIGNALS {
        // In this order, so that the first signal only sets what the second one finds.
        flag::register_conditional_default(signal, Arc::clone(&asked))?;
        flag::register(signal, Arc::clone(&asked))?;
    }
    let wait = waiter(asked)?;
    std::thread::Builder::new().spawn(move || {
        wait();
        stop();
    })?;
    Ok(())
}

/// Says what runs when a second signal comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Running {
    /// This program alone.
    Nothing,
    /// Another program, for this one.
    Program,
    /// The same, and the signal is for it.
    Interrupted,
}

/// Hands the second signal on to a program that this one runs, if it runs one then.
#[derive(Clone, Debug)]
pub struct SecondSignal(Arc<Mutex<Running>>);

impl SecondSignal {
    /// Does the same as [`on_stop`], except that a second signal does not end this program while it runs another one.
    pub fn on_stop(stop: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let second = Self(Arc::new(Mutex::new(Running::Nothing)));
        second.clone().wait(stop)?;
        Ok(second)
    }

    #[cfg(unix)]
    fn wait(self, stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
        take_over();
        let mut signals = signal_hook::iterator::Signals::new(SIGNALS)?;
        std::thread::Builder::new().spawn(move || {
            let mut stop = Some(stop);
            for signal in signals.forever() {
                match stop.take() {
                    Some(stop) => stop(),
                    None => self.hand_on(signal),
                }
            }
        })?;
        Ok(())
    }

    #[cfg(not(unix))]
    fn wait(self, stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
        on_stop(stop)
    }

    /// Hands a signal on, or ends this program by it. While the state is locked no other program is started.
    #[cfg(unix)]
    fn hand_on(&self, signal: i32) {
        let mut running = self.lock();
        match *running {
            Running::Nothing => {
                // Does not return for these two. If it cannot, the first signal ends the program in its own time.
                let _ = low_level::emulate_default_handler(signal);
            }
            Running::Program => *running = Running::Interrupted,
            Running::Interrupted => {}
        }
    }

    /// Calls `run`, which runs another program, with a question whether a second signal has come for it.
    pub fn during<T>(&self, run: impl FnOnce(&dyn Fn() -> bool) -> T) -> T {
        *self.lock() = Running::Program;
        let outcome = run(&|| *self.lock() == Running::Interrupted);
        *self.lock() = Running::Nothing;
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        // What is in it is good at any moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What returns when a signal has come.
#[cfg(unix)]
fn waiter(_asked: Arc<AtomicBool>) -> io::Result<impl FnOnce() + Send + 'static> {
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    let (mut reader, writer) = UnixStream::pair()?;
    for signal in SIGNALS {
        low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    Ok(move || {
        // Both an error and the byte are a reason to stop.
        let _ = reader.read_exact(&mut [0]);
    })
}

/// What returns when a signal has come. There is no pipe to wait for here.
#[cfg(not(unix))]
fn waiter(asked: Arc<AtomicBool>) -> io::Result<impl FnOnce() + Send + 'static> {
    Ok(move || {
        while !asked.load(Ordering::SeqCst) {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    })
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
