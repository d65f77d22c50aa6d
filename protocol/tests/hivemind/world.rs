//! A mailbox, what of it is on disk, and a disk that may end in the middle of a change.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rendezvous_protocol::hivemind::key::{MailboxId, RsaKey, relay_name};
use rendezvous_protocol::hivemind::limits::MESSAGE_LASTS;
use rendezvous_protocol::hivemind::proof::ProofId;
use rendezvous_protocol::hivemind::refused::Refused;
use rendezvous_protocol::hivemind::state::{Deposited, Incoming, Mailbox, Noted, Retrieved};
use rendezvous_protocol::mailbox::bytes::{Bytes, ContentId};
use rendezvous_protocol::mailbox::state::Change;
use rendezvous_protocol::network::{Client, HandedOver};
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;

pub(crate) const START: UnixMillis = UnixMillis::saturating(1_700_006_400_000);
pub(crate) const SECRET: Secret = Secret::from_bytes([9; 16]);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// Some public key, by a number. Nobody has its private half.
pub(crate) fn key(number: u8) -> String {
    relay_name([number; 256])
}

pub(crate) fn mailbox_of(number: u8) -> MailboxId {
    RsaKey::parse(&key(number)).unwrap().mailbox()
}

/// A network of its own for each number, eight to a provider.
pub(crate) fn network(site: u8) -> HandedOver {
    Client { address: Some(IpAddr::from([10, site / 8, site, 1])), autonomous_system: None }.hand_over()
}

pub(crate) fn content(number: u32) -> Bytes<32> {
    ContentId::of(&number.to_be_bytes())
}

pub(crate) fn proof(number: u32) -> ProofId {
    ContentId::of(&[&number.to_be_bytes()[..], b"proof"].concat())
}

pub(crate) fn incoming(number: u32, site: u8) -> Incoming {
    Incoming { content: content(number), size: 1_000, lifetime: MESSAGE_LASTS, depositor: None, network: network(site) }
}

/// The mailbox of the key 1.
pub(crate) struct World {
    pub(crate) now: UnixMillis,
    pub(crate) mailbox: Mailbox,
    pub(crate) rows: BTreeMap<String, String>,
    pub(crate) messages: BTreeMap<u64, String>,
    /// How many changes of the next call reach the disk before it ends, all of them perhaps. Absent: it goes on.
    pub(crate) breaks_after: Option<usize>,
    proofs: u32,
}

impl World {
    pub(crate) fn new() -> Self {
        let mailbox = Mailbox::restore(mailbox_of(1), SECRET, [], []).unwrap();
        let (rows, messages) = (BTreeMap::new(), BTreeMap::new());
        Self { now: START, mailbox, rows, messages, breaks_after: None, proofs: 1_000_000 }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    /// Writes what has changed. Returns whether the disk has gone on: else nobody is told an answer, and the mailbox is made anew.
    pub(crate) fn write(&mut self) -> bool {
        let changes = self.mailbox.take_changes();
        let most = self.breaks_after.take();
        for change in changes.into_iter().take(most.unwrap_or(usize::MAX)) {
            match change {
                Change::Put { name, row } => drop(self.rows.insert(name, row)),
                Change::Erase { name } => assert!(self.rows.remove(&name).is_some(), "{name} was written"),
                Change::PutMessage { number, row } => assert_eq!(self.messages.insert(number, row), None),
                Change::EraseMessage { number } => assert!(self.messages.remove(&number).is_some()),
            }
        }
        if most.is_some() {
            self.crash();
        }
        assert_eq!(self.mailbox.is_absent(), self.rows.is_empty() && self.messages.is_empty());
        most.is_none()
    }

    pub(crate) fn crash(&mut self) {
        self.mailbox = Mailbox::restore(mailbox_of(1), SECRET, self.rows.clone(), self.messages.clone()).unwrap();
    }

    /// Absent is an answer that nobody hears, because the disk has ended before.
    pub(crate) fn try_deposit(&mut self, incoming: Incoming, has_room: bool) -> Option<Result<Deposited, Refused>> {
        let deposited = self.mailbox.deposit(self.now, incoming, has_room);
        self.write().then_some(deposited)
    }

    pub(crate) fn deposit(&mut self, incoming: Incoming) -> Result<Deposited, Refused> {
        self.try_deposit(incoming, true).unwrap()
    }

    /// When a proof that is made now counts no more.
    pub(crate) fn until(&self) -> UnixMillis {
        UnixMillis::saturating((self.now.as_u64() / 1_000 + 61) * 1_000)
    }

    /// Retrieves with a proof that counts so long.
    pub(crate) fn retrieve_until(
        &mut self,
        proof: ProofId,
        until: UnixMillis,
        opens: bool,
    ) -> Option<Result<Retrieved, Refused>> {
        let retrieved = self.mailbox.retrieve(self.now, proof, until, opens);
        self.write().then_some(retrieved)
    }

    /// Retrieves with a proof that is made now.
    pub(crate) fn try_retrieve(&mut self, proof: ProofId, opens: bool) -> Option<Result<Retrieved, Refused>> {
        self.retrieve_until(proof, self.until(), opens)
    }

    pub(crate) fn retrieve_with(&mut self, proof: ProofId) -> Result<Vec<u64>, Refused> {
        match self.try_retrieve(proof, true).unwrap()? {
            Retrieved::Messages { numbers, .. } => Ok(numbers),
            Retrieved::NoPlace => panic!("there is one"),
        }
    }

    /// Retrieves with a new proof.
    pub(crate) fn retrieve(&mut self) -> Vec<u64> {
        self.proofs += 1;
        self.retrieve_with(proof(self.proofs)).unwrap()
    }

    pub(crate) fn note(&mut self, proof: ProofId, has_room: bool) -> Result<Noted, Refused> {
        let noted = self.mailbox.note_deposit(self.now, proof, self.until(), has_room);
        assert!(self.write());
        noted
    }

    pub(crate) fn expire(&mut self) -> bool {
        self.mailbox.expire(self.now);
        self.write()
    }
}
