//! What this host keeps mail for: mailboxes of the project's own with their count, and those of retalk's and of
//! hivemind-rendezvous' users. All have the same effects, so that everything else here knows one kind.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rendezvous_protocol::retalk::user::UserId;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;
use rendezvous_service::call::{CallError, ObjectError};
use rendezvous_service::config::Config;
use rendezvous_service::hivemind::{HivemindCall, HivemindFigures, HivemindName, HivemindObject};
use rendezvous_service::live::ConnectionId;
use rendezvous_service::mailbox::{
    BatchItem, Effects, Found, ListenCall, Object, ObjectAnswer, ObjectCall, ObjectName, Peers, PushCall,
};
use rendezvous_service::retalk::{RetalkCall, RetalkObject};

/// Comes before the id in the name of an object of a user of retalk.
const RETALK: &str = "retalk:";

/// Names an object that has mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum MailName {
    /// One of the project's own.
    Own(ObjectName),
    /// The mailbox of a user of retalk.
    Retalk(UserId),
    /// What is kept for users of hivemind-rendezvous.
    Hivemind(HivemindName),
}

impl fmt::Display for MailName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(name) => name.fmt(formatter),
            Self::Retalk(user) => write!(formatter, "{RETALK}{user}"),
            Self::Hivemind(name) => name.fmt(formatter),
        }
    }
}

impl FromStr for MailName {
    type Err = CallError;

    fn from_str(name: &str) -> Result<Self, CallError> {
        match name.strip_prefix(RETALK) {
            Some(user) => user.parse().map(Self::Retalk).map_err(|_| CallError::Malformed("no object has this name")),
            None => name.parse().map(Self::Hivemind).or_else(|_| name.parse().map(Self::Own)),
        }
    }
}

/// Says what an object is asked.
#[derive(Debug)]
pub(crate) enum MailCall {
    Own(ObjectCall),
    /// A push of a peer.
    Push(PushCall),
    Retalk(RetalkCall),
    Hivemind(HivemindCall),
}

impl MailCall {
    pub(crate) fn object(&self) -> MailName {
        match self {
            Self::Own(call) => MailName::Own(call.object()),
            Self::Push(call) => MailName::Own(call.object()),
            Self::Retalk(call) => MailName::Retalk(call.object()),
            Self::Hivemind(call) => MailName::Hivemind(call.object()),
        }
    }
}

/// Holds an object in memory.
pub(super) enum MailObject {
    Own(Box<Object>),
    Retalk(Box<RetalkObject>),
    Hivemind(Box<HivemindObject>),
}

impl MailObject {
    /// Makes an object of what is on disk. `secret` is for one of which nothing is.
    pub(super) fn restore(
        now: UnixMillis,
        config: &Config,
        name: MailName,
        found: Found,
        secret: Secret,
    ) -> Result<Option<(Self, Effects)>, ObjectError> {
        Ok(match name {
            MailName::Own(name) => Object::restore(now, config, Some(name), found, secret)?
                .map(|(object, effects)| (Self::Own(Box::new(object)), effects)),
            MailName::Retalk(user) => {
                let (object, effects) = RetalkObject::restore(user, found, secret)?;
                Some((Self::Retalk(Box::new(object)), effects))
            }
            MailName::Hivemind(name) => {
                let (object, effects) = HivemindObject::restore(name, found, secret)?;
                Some((Self::Hivemind(Box::new(object)), effects))
            }
        })
    }

    /// Returns whether anything of it is on disk.
    pub(super) const fn is_stored(&self) -> bool {
        match self {
            Self::Own(object) => object.is_stored(),
            Self::Retalk(object) => object.is_stored(),
            Self::Hivemind(object) => object.is_stored(),
        }
    }

    /// Returns whether one made anew from the disk would be this one.
    pub(super) const fn is_settled(&self) -> bool {
        match self {
            Self::Own(_) | Self::Hivemind(_) => true,
            Self::Retalk(object) => object.is_settled(),
        }
    }

    /// Answers a call, which is one of this object.
    pub(super) fn handle(&mut self, now: UnixMillis, call: MailCall) -> Result<(ObjectAnswer, Effects), String> {
        match (self, call) {
            (Self::Own(object), MailCall::Own(call)) => Ok(object.handle(now, call)),
            (Self::Own(object), MailCall::Push(call)) => Ok(object.replicate(now, call)),
            (Self::Retalk(object), MailCall::Retalk(call)) => Ok(object.handle(now, call)),
            (Self::Hivemind(object), MailCall::Hivemind(call)) => Ok(object.handle(now, call)),
            _ => Err("the call of an object is one of another kind".to_owned()),
        }
    }

    pub(super) fn handle_alarm(&mut self, now: UnixMillis) -> Effects {
        match self {
            Self::Own(object) => object.handle_alarm(now),
            Self::Retalk(object) => object.handle_alarm(now),
            Self::Hivemind(object) => object.handle_alarm(now),
        }
    }

    /// Takes what was counted of messages of hivemind-rendezvous' users.
    pub(super) fn take_hivemind_figures(&mut self) -> HivemindFigures {
        match self {
            Self::Hivemind(object) => object.take_figures(),
            Self::Own(_) | Self::Retalk(_) => HivemindFigures::default(),
        }
    }

    /// Takes a connection that listens. Nobody does at mailboxes of other systems' users, whose clients ask.
    pub(super) fn listen(&mut self, now: UnixMillis, id: ConnectionId, call: &ListenCall) -> Effects {
        match self {
            Self::Own(object) => object.listen(now, id, call),
            Self::Retalk(_) | Self::Hivemind(_) => Effects::default(),
        }
    }

    pub(super) fn stop_listening(&mut self, id: ConnectionId) {
        if let Self::Own(object) = self {
            object.stop_listening(id);
        }
    }

    /// Keeps what authors bring until these peers have it. Nothing of other systems' users is pushed.
    pub(super) fn replicate_to(&mut self, now: UnixMillis, peers: Arc<Peers>) -> Result<Effects, ObjectError> {
        match self {
            Self::Own(object) => object.replicate_to(now, peers),
            Self::Retalk(_) | Self::Hivemind(_) => Ok(Effects::default()),
        }
    }

    /// Returns what a peer is pushed next.
    pub(super) fn batch(&self, peer: usize) -> Vec<BatchItem> {
        match self {
            Self::Own(object) => object.batch(peer),
            Self::Retalk(_) | Self::Hivemind(_) => Vec::new(),
        }
    }

    /// Takes that a peer has what these entries are of, or does not want it.
    pub(super) fn settle(&mut self, now: UnixMillis, peer: usize, entries: &[u64]) -> Effects {
        match self {
            Self::Own(object) => object.settle(now, peer, entries),
            Self::Retalk(_) | Self::Hivemind(_) => Effects::default(),
        }
    }
}
