//! Pushes to peers: a thread for each, which asks the objects for what waits and makes one request at a time. What a peer
//! is pushed, and when, the service decides.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rendezvous_protocol::mailbox::bytes::Address;
use rendezvous_service::mailbox::{ANSWER_MAX_BYTES, ObjectName, PeerTurns, PushAnswer, REPLICATE, push_body};
use rendezvous_service::note::{Details, Note};
use tokio::sync::oneshot;
use ureq::Agent;

use crate::clock::unix_now;
use crate::direct_agent::direct_agent;
use crate::event_loop::{Mail, Shared};
use crate::journal;
use crate::mailboxes::object::MailName;
use crate::mailboxes::replication::{Replication, Waiting};

/// Time for one push, with a body of a megabyte.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Starts the threads, which end with the loops. Nothing waits for them: whatever a request under way was to bring is still
/// on disk.
pub(crate) fn start(shared: &Arc<Shared>, waiting: Waiting) -> std::io::Result<()> {
    for (peer, waiting) in waiting.into_iter().enumerate() {
        let shared = Arc::clone(shared);
        let builder = std::thread::Builder::new().name(format!("peer-{peer}"));
        builder.spawn(move || run(&shared, peer, &waiting))?;
    }
    Ok(())
}

fn run(shared: &Shared, peer: usize, waiting: &Receiver<Address>) {
    let Some(replication) = &shared.doors.replication else { return };
    let agent = direct_agent(TIMEOUT);
    let mut turns = PeerTurns::default();
    loop {
        while let Ok(mailbox) = waiting.try_recv() {
            turns.add(mailbox);
        }
        let Some(mailbox) = turns.next(unix_now()) else {
            let heard = match turns.wait(unix_now()) {
                Some(wait) => waiting.recv_timeout(wait),
                None => waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match heard {
                Ok(mailbox) => turns.add(mailbox),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            continue;
        };
        let object = MailName::Own(ObjectName::Mailbox(mailbox));
        let (asked, answered) = oneshot::channel();
        shared.send_to_owner(object, Mail::TakeBatch { object, peer, asked });
        let (entries, items) = match answered.blocking_recv() {
            Ok(Ok(batch)) => batch,
            // The object could not be read, which is in the log: what waits is pushed once it can be.
            Ok(Err(())) => continue,
            Err(_) => return,
        };
        if entries.is_empty() {
            continue;
        }
        let answer = push(replication, &agent, peer, mailbox, &items);
        replication.count(&answer);
        match answer {
            PushAnswer::Settled { .. } => {
                shared.send_to_owner(object, Mail::Settle { object, peer, entries });
                turns.answered(mailbox);
            }
            PushAnswer::Failed { cause, retry_after } => {
                // Once, until the peer answers again: it may be away for days.
                if turns.failed(unix_now(), mailbox, retry_after, fastrand::u8(..)) {
                    let url = replication.peers.origin(peer).map(|origin| origin.as_str().to_owned());
                    let details = Details { cause: Some(cause), url, ..Details::default() };
                    journal::write([Note::info("peer_unreached", details)]);
                }
            }
        }
    }
}

/// Makes one push.
fn push(replication: &Replication, agent: &Agent, peer: usize, mailbox: Address, items: &[String]) -> PushAnswer {
    let failed = |cause: String| PushAnswer::Failed { cause, retry_after: None };
    let Some(origin) = replication.peers.origin(peer) else { return failed("it is not a peer".to_owned()) };
    let mut nonce = [0; 16];
    if let Err(error) = getrandom::fill(&mut nonce) {
        return failed(format!("no randomness: {error}"));
    }
    let body = match push_body(&replication.peers, peer, unix_now(), mailbox, items, nonce) {
        Ok(body) => body,
        Err(error) => return failed(error.to_string()),
    };
    let request = agent.post(format!("{}{REPLICATE}", origin.as_str())).content_type("application/json");
    match request.send(body) {
        Ok(mut response) => {
            let status = response.status().as_u16();
            let mut answer = Vec::new();
            let mut reader = response.body_mut().as_reader().take(ANSWER_MAX_BYTES as u64);
            match reader.read_to_end(&mut answer) {
                Ok(_) => PushAnswer::read(status, &answer, items.len()),
                Err(error) => failed(error.to_string()),
            }
        }
        Err(error) => failed(error.to_string()),
    }
}
