//! The thread of an event loop: takes its mail, serves its connections, and does what is due.

use std::net::{IpAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rendezvous_protocol::limits::BODY_TIMEOUT;
use rendezvous_service::call::Call;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::MissedTickBehavior;

use crate::admission::Admitted;
use crate::clock::Moment;
use crate::communities::Communities;
use crate::event_loop::{EventLoop, Mail, Shared};
use crate::mailboxes::{Committed, MailName, MailOrder, MailReader, Mailboxes};
use crate::request;
use crate::storage::{Done, Order, Reader};

/// How often a loop looks at what is due. A change waits for its interval and this until it is written.
const TICK: Duration = Duration::from_millis(100);

/// How often a loop looks for connections that have waited too long.
const SWEEP: Duration = Duration::from_secs(1);

/// Requests that are under way when the program is asked to end have this time to be answered: as long as a body may
/// take, and a little.
const DRAIN: Duration = BODY_TIMEOUT.saturating_add(Duration::from_secs(2));

/// What a loop needs of its own.
pub(crate) struct Own {
    pub(crate) reader: Reader,
    pub(crate) orders: std::sync::mpsc::Sender<Order>,
    /// The names of the objects that the loop owns and that have a row.
    pub(crate) stored: Vec<String>,
    pub(crate) mail_reader: MailReader,
    pub(crate) mail_orders: std::sync::mpsc::Sender<MailOrder>,
    /// The names of the mailboxes that the loop owns.
    pub(crate) stored_mailboxes: Vec<MailName>,
    /// Those of them of which something is to be pushed, and how much.
    pub(crate) pushes: Vec<(MailName, usize)>,
    pub(crate) mailbox: UnboundedReceiver<Mail>,
    /// Hears of it when the loop ends, however that comes about.
    pub(crate) says_ended: UnboundedSender<()>,
}

/// Says that a loop has ended, though it may be by a panic.
struct SaysEnded(UnboundedSender<()>);

impl Drop for SaysEnded {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// Starts a loop in a thread of its own.
pub(crate) fn start(shared: Arc<Shared>, index: usize, own: Own) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    std::thread::Builder::new().name(format!("loop-{index}")).spawn(move || {
        LocalSet::new().block_on(&runtime, run(shared, index, own));
    })
}

async fn run(shared: Arc<Shared>, index: usize, own: Own) {
    let Own { reader, orders, stored, mail_reader, mail_orders, stored_mailboxes, pushes, mut mailbox, says_ended } =
        own;
    let _says_ended = SaysEnded(says_ended);
    let (done, mut all_done) = unbounded_channel::<Done>();
    let config = Arc::clone(&shared.config);
    let communities = Communities::new(Arc::clone(&config), reader, orders, done, shared.loops(), stored);
    let (committed, mut all_committed) = unbounded_channel::<Committed>();
    let peers = shared.doors.replication.as_ref().map(|replication| Arc::clone(&replication.peers));
    let mut mailboxes = Mailboxes::new(config, mail_reader, mail_orders, committed, shared.loops(), stored_mailboxes);
    if let Some(peers) = peers {
        mailboxes.replicate_to(peers, pushes);
    }
    let this = Rc::new(EventLoop::new(shared, index, communities, mailboxes));
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sweep_at = Instant::now() + SWEEP;
    let mut draining: Option<(oneshot::Sender<()>, Instant)> = None;
    loop {
        tokio::select! {
            mail = mailbox.recv() => match mail {
                Some(Mail::Connection { stream, client, admitted }) => serve(&this, stream, client, admitted),
                // A list is for whoever asked alone, and who asks for one in vain comes again.
                Some(Mail::Call { call: Call::List, answer, .. }) if answer.is_closed() => {}
                Some(Mail::Call { object, call, answer }) => {
                    let called = this.communities.borrow_mut().call(Moment::now(), &object, call);
                    // Whoever asked may have gone away.
                    let _ = answer.send(called);
                }
                Some(Mail::AskMailbox { call, asked }) => this.mailboxes.borrow_mut().call(Moment::now(), call, asked),
                Some(Mail::TakeBatch { object, peer, asked }) => {
                    let batch = this.mailboxes.borrow_mut().batch(Moment::now(), object, peer);
                    // The peer's thread waits for it, unless the program ends.
                    let _ = asked.send(batch);
                }
                Some(Mail::Settle { object, peer, entries }) => {
                    this.mailboxes.borrow_mut().settle(Moment::now(), object, peer, &entries);
                }
                Some(Mail::Listen { id, call, news }) => {
                    this.mailboxes.borrow_mut().listen(Moment::now(), id, &call, news);
                }
                Some(Mail::StopListening { object, id }) => this.mailboxes.borrow_mut().stop_listening(object, id),
                Some(Mail::Live { object, id, mail }) => {
                    this.communities.borrow_mut().take_live(Moment::now(), &object, id, mail);
                }
                Some(Mail::Guest { community, mail }) => this.take_guest(Moment::now(), &community, mail),
                Some(Mail::Figures(figures)) => {
                    let _ = figures.send(this.figures());
                }
                Some(Mail::Drain(drained)) => {
                    draining = Some((drained, Instant::now() + DRAIN));
                    this.connections.drain();
                    this.live.drain();
                }
                Some(Mail::End) | None => break,
            },
            Some(done) = all_done.recv() => this.communities.borrow_mut().changed(done),
            Some(committed) = all_committed.recv() => this.mailboxes.borrow_mut().committed(committed),
            _ = ticks.tick() => {
                let now = Moment::now();
                this.communities.borrow_mut().handle_deadlines(now);
                this.mailboxes.borrow_mut().handle_deadlines(now);
                this.handle_guests(now);
                if sweep_at <= now.instant {
                    sweep_at = now.instant + SWEEP;
                    this.connections.close_idle(now.instant, this.shared.admission.is_scarce());
                }
            }
        }
        if let Some(replication) = &this.shared.doors.replication {
            for (mailbox, peer) in this.mailboxes.borrow_mut().take_fresh() {
                replication.wake(peer, mailbox);
            }
        }
        let is_empty = || this.connections.is_empty() && this.live.open() == 0;
        if let Some((drained, until)) = draining.take_if(|(_, until)| is_empty() || *until <= Instant::now()) {
            if until <= Instant::now() {
                this.connections.close_all();
            }
            let _ = drained.send(());
        }
    }
    this.communities.borrow_mut().write_all(Moment::now());
}

fn serve(this: &Rc<EventLoop>, stream: TcpStream, client: IpAddr, admitted: Admitted) {
    let this = Rc::clone(this);
    tokio::task::spawn_local(async move {
        // What becomes of the connection of `GET /live` counts for as long as that lasts.
        let admitted = Rc::new(admitted);
        let respond = {
            let this = Rc::clone(&this);
            move |request| request::respond(Rc::clone(&this), client, Rc::clone(&admitted), request)
        };
        this.connections.serve(stream, respond).await;
    });
}
