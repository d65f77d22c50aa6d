//! The connections of one event loop: HTTP/1.1 on each, and an end for those that only wait.
//!
//! A connection on which nothing is under way costs its memory, nothing else. So how long one may wait depends on how
//! many more there may be, and one sweep looks at all of them, in the place of a timer for each.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::TcpStream;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::channel::Channel;
use http_body_util::{Either, Full};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use slab::Slab;
use tokio::sync::Notify;

/// Time for the head of the first request.
const FIRST_HEAD: Duration = Duration::from_secs(10);

/// Time in which an answer is taken and the next request comes whole. Longer than the minute for which proxies keep
/// connections that they do not use: else they would send a request into one that is just being closed.
const NEXT_HEAD: Duration = Duration::from_secs(75);

/// Bytes of an answer that a client takes in a second, at least: a long one takes its time, on a slow line too.
const READ_BYTES_A_SECOND: u64 = 16 * 1_024;

/// The same for both where more than half of the connections are taken.
const SCARCE: Duration = Duration::from_secs(5);

/// Time in which a client takes some of what was sent to it. One that does not is gone, or wants the memory.
const UNREAD: Duration = Duration::from_secs(30);

/// Bytes of a request's head. Browsers send less than two thousand.
pub(crate) const HEAD_MAX_BYTES: usize = 16 * 1_024;

/// Holds the connections of a loop.
#[derive(Default)]
pub(crate) struct Connections {
    all: RefCell<Slab<Rc<State>>>,
}

/// Takes a connection off the list when it ends, though it may be by a panic.
struct Entry<'a> {
    all: &'a RefCell<Slab<Rc<State>>>,
    index: usize,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.all.borrow_mut().try_remove(self.index);
    }
}

struct State {
    stage: Cell<Stage>,
    asked: Cell<Asked>,
    notify: Notify,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The head of the first request is awaited, since then.
    First(Instant),
    /// A request is being answered. The service has time limits for whatever it waits for.
    Answering,
    /// An answer was handed over, and is taken by that time.
    Answered(Instant),
    /// An answer is handed over that ends by itself, and the connection with it.
    Streaming,
}

/// The body of an answer: whole, or one that comes bit by bit.
pub(crate) type ResponseBody = Either<Full<Bytes>, Channel<Bytes, Infallible>>;

/// What a connection is asked to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    /// To end after the answer that is under way.
    Drain,
    /// To end at once.
    Close,
}

impl Connections {
    /// Serves a connection until it ends.
    pub(crate) async fn serve<F: Future<Output = Response<ResponseBody>>>(
        &self,
        stream: TcpStream,
        respond: impl Fn(Request<Incoming>) -> F,
    ) {
        // A connection that has broken already is not worth a word.
        let _ = stream.set_nodelay(true);
        // What hyper waits for while it writes has no other end.
        #[cfg(target_os = "linux")]
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, UNREAD.as_millis() as u32);
        let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
        let state = Rc::new(State {
            stage: Cell::new(Stage::First(Instant::now())),
            asked: Cell::new(Asked::Nothing),
            notify: Notify::new(),
        });
        let _entry = Entry { all: &self.all, index: self.all.borrow_mut().insert(Rc::clone(&state)) };
        let service = service_fn(|request| {
            state.stage.set(Stage::Answering);
            let (response, state) = (respond(request), Rc::clone(&state));
            async move {
                let response = response.await;
                let stage = match response.body() {
                    Either::Left(body) => Stage::Answered(Instant::now() + time_to_read(body)),
                    Either::Right(_) => Stage::Streaming,
                };
                state.stage.set(stage);
                Ok::<_, Infallible>(response)
            }
        });
        let mut http = http1::Builder::new();
        http.header_read_timeout(None).max_buf_size(HEAD_MAX_BYTES);
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
        loop {
            tokio::select! {
                // What a client breaks is its own affair, and hyper has answered what can be answered.
                _ = connection.as_mut() => break,
                () = state.notify.notified() => match state.asked.get() {
                    Asked::Nothing => {}
                    Asked::Drain => connection.as_mut().graceful_shutdown(),
                    Asked::Close => break,
                },
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.borrow().is_empty()
    }

    /// Lets every connection end after the answer that is under way, and those at once that wait.
    pub(crate) fn drain(&self) {
        self.ask_all(Asked::Drain, |_| true);
    }

    /// Ends every connection.
    pub(crate) fn close_all(&self) {
        self.ask_all(Asked::Close, |_| true);
    }

    /// Ends the connections that have waited too long. `is_scarce` says whether others need the room.
    pub(crate) fn close_idle(&self, now: Instant, is_scarce: bool) {
        let [first, next] = if is_scarce { [SCARCE; 2] } else { [FIRST_HEAD, NEXT_HEAD] };
        self.ask_all(Asked::Close, |stage| match stage {
            Stage::First(since) => now.duration_since(since) >= first,
            Stage::Answering | Stage::Streaming => false,
            Stage::Answered(since) => now.duration_since(since) >= next,
        });
    }

    fn ask_all(&self, what: Asked, of: impl Fn(Stage) -> bool) {
        for (_, state) in self.all.borrow().iter() {
            if of(state.stage.get()) {
                state.asked.set(what);
                state.notify.notify_one();
            }
        }
    }
}

/// The time in which a client takes an answer, before it may be counted as one that waits.
fn time_to_read(body: &Full<Bytes>) -> Duration {
    Duration::from_secs(body.size_hint().lower() / READ_BYTES_A_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a connection that was answered with so many bytes is ended at a sweep after this time.
    fn is_ended(bytes: usize, after: Duration, is_scarce: bool) -> bool {
        let (connections, now) = (Connections::default(), Instant::now());
        let stage = Stage::Answered(now + time_to_read(&Full::new(Bytes::from(vec![0; bytes]))));
        let state = State { stage: Cell::new(stage), asked: Cell::new(Asked::Nothing), notify: Notify::new() };
        let state = Rc::new(state);
        connections.all.borrow_mut().insert(Rc::clone(&state));
        connections.close_idle(now + after, is_scarce);
        state.asked.get() == Asked::Close
    }

    #[test]
    fn a_long_answer_has_the_time_that_a_slow_line_takes() {
        let long = 8 * 1_024 * 1_024;
        for (bytes, seconds, is_scarce, expected) in [
            (100, 4, true, false),
            (100, 5, true, true),
            (100, 74, false, false),
            (100, 75, false, true),
            (long, 500, true, false),
            (long, 517, true, true),
            (long, 587, false, true),
        ] {
            assert_eq!(
                is_ended(bytes, Duration::from_secs(seconds), is_scarce),
                expected,
                "{bytes} bytes, {seconds} s"
            );
        }
    }
}
