//! What relays hand over, judged: nothing that a relay says is believed, and nothing is shown before all of it is checked.

use rendezvous_protocol::base64;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::mailbox::bytes::{Address, ContentId};
use rendezvous_protocol::mailbox::envelope::{Signed, Verified};
use rendezvous_protocol::mailbox::record::{Deposit, RecordError, RecordRules};
use rendezvous_protocol::mailbox::sealed::{Place, SealedError};
use rendezvous_protocol::time::UnixMillis;

use crate::name::Name;
use crate::own::{Incoming, OwnMailbox};
use crate::relay::HandedOverMessage;
use crate::seal::open;

/// Says why a message is left where it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeftThere {
    /// A record that breaks a rule.
    #[error("{0}")]
    Record(#[from] RecordError),
    /// For another mailbox.
    #[error("it is for another mailbox")]
    OtherMailbox,
    /// From nobody who may write.
    #[error("its slot is neither a contact's nor an invite's, and requests are closed")]
    SlotUnknown,
    /// A number that is not its turn, and too many such.
    #[error("its number is outside the window of its slot, and so are too many that came before")]
    OutsideWindow,
}

/// Says why a message is named and not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not opened.
    #[error(transparent)]
    Sealed(#[from] SealedError),
    /// By somebody else than before.
    #[error("it is signed by another key than what came over this slot before")]
    OtherSender,
}

impl Unreadable {
    /// Returns a name for scripts.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Sealed(error) => error.code(),
            Self::OtherSender => "OTHER_SENDER",
        }
    }
}

/// A message that has come.
#[derive(Clone, Debug)]
pub struct CollectedMessage {
    /// What the owner calls the sender, where the slot has a name.
    pub name: Option<Name>,
    /// When it came, by the relay's clock.
    pub received_at: Option<UnixMillis>,
    /// Why it cannot be shown, if it cannot.
    pub unreadable: Option<Unreadable>,
    /// All else.
    pub incoming: Incoming,
}

/// Says what a message is that a relay hands over.
#[derive(Clone, Debug)]
pub enum Judged {
    /// New.
    New(Box<CollectedMessage>),
    /// Read before: the relay has to be told once more.
    Known {
        /// Its slot.
        slot: PublicKey,
    },
    /// Handed on before, and not to be acknowledged yet.
    HandedOn,
}

impl CollectedMessage {
    /// Returns the deposit.
    pub const fn deposit(&self) -> &Deposit {
        self.incoming.deposit.payload()
    }

    /// Returns the slot key.
    pub const fn slot(&self) -> PublicKey {
        self.incoming.deposit.public_key()
    }

    /// Returns the name of its bytes.
    pub const fn content_id(&self) -> ContentId {
        self.deposit().content_id
    }

    /// Returns who wrote it, and what.
    pub fn opened(&self) -> Option<(PublicKey, &[u8])> {
        let opened = self.incoming.opened.as_ref()?;
        Some((opened.from, opened.written.content.as_slice()))
    }
}

/// Judges a message that a relay hands over for the mailbox of this address.
pub fn judge(
    handed_over: &HandedOverMessage,
    mailbox: &OwnMailbox,
    address: Address,
    now: UnixMillis,
) -> Result<Judged, LeftThere> {
    let deposit = Signed::<Deposit>::parse(handed_over.deposit.get())?;
    let sealed = base64::decode(&handed_over.sealed)
        .ok_or_else(|| RecordError::Malformed("sealed must be base64".to_owned()))?;
    deposit.payload().check_sealed(&sealed)?;
    let deposit: Verified<Deposit> = deposit.verify(&RecordRules { now, audiences: &[] })?;
    let Deposit { mailbox: to, sequence, expires_at, .. } = *deposit.payload();
    if to != address {
        return Err(LeftThere::OtherMailbox);
    }
    let key = deposit.public_key();
    let slot = mailbox.slot(key);
    if slot.is_none() && !mailbox.takes_strangers() {
        return Err(LeftThere::SlotUnknown);
    }
    if slot.is_some_and(|slot| slot.has(sequence)) {
        return Ok(Judged::Known { slot: key });
    }
    if mailbox.is_beyond(key, sequence) {
        return Ok(Judged::HandedOn);
    }
    if !mailbox.takes(key, sequence) {
        return Err(LeftThere::OutsideWindow);
    }
    let place = Place { mailbox: address, slot: key, sequence, expires_at };
    let opened = open(&sealed, &place, &mailbox.sealing).map_err(Unreadable::from).and_then(|opened| {
        let is_other = slot.and_then(|slot| slot.from).is_some_and(|from| from != opened.from);
        if is_other { Err(Unreadable::OtherSender) } else { Ok(opened) }
    });
    let (opened, unreadable) = match opened {
        Ok(opened) => (Some(opened), None),
        Err(error) => (None, Some(error)),
    };
    Ok(Judged::New(Box::new(CollectedMessage {
        name: slot.and_then(|slot| slot.name.clone()),
        received_at: handed_over.received_at.and_then(UnixMillis::new),
        unreadable,
        incoming: Incoming { deposit, opened },
    })))
}
