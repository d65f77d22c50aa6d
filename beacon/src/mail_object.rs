//! An object that has mail, on a host where whoever asks is in another process: a mailbox of the project's own, the count of all
//! mailboxes, or the mailbox of one of retalk's users. All have the same effects, so that a host knows one kind.

use std::time::Duration;

use rendezvous_protocol::retalk::user::UserId;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;

use crate::call::{CallError, ObjectError};
use crate::config::Config;
use crate::live::ConnectionId;
use crate::mailbox::{Effects, Found, ListenCall, Object, ObjectAnswer, ObjectCall, ObjectName, OwnRow};
use crate::retalk::{RetalkCall, RetalkObject};

/// How long an object is certain to be in memory: the runtime takes it out when nobody has asked it for ten seconds.
const KEPT_FOR: Duration = Duration::from_secs(9);

/// Names an object that has mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailName {
    /// One of the project's own.
    Own(ObjectName),
    /// The mailbox of a user of retalk.
    Retalk(UserId),
}

/// Holds what an object is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailCall {
    /// What one of the project's own is.
    Own(ObjectCall),
    /// What the mailbox of a user of retalk is.
    Retalk(RetalkCall),
}

impl MailCall {
    /// Reads what [`ObjectCall::to_text`] or [`RetalkCall::to_text`] wrote.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn parse(text: &str) -> Result<Self, CallError> {
        match RetalkCall::parse(text) {
            Some(call) => call.map(Self::Retalk),
            None => ObjectCall::parse(text).map(Self::Own),
        }
    }

    /// Returns the name of the object.
    pub const fn object(&self) -> MailName {
        match self {
            Self::Own(call) => MailName::Own(call.object()),
            Self::Retalk(call) => MailName::Retalk(call.object()),
        }
    }
}

/// Holds one object.
#[derive(Debug)]
pub enum MailObject {
    /// One of the project's own.
    Own(Box<Object>),
    /// The mailbox of a user of retalk.
    Retalk(Box<RetalkObject>),
}

impl MailObject {
    /// Makes an object of what is in storage. `name` is absent where the host does not know it: then the rows say which it
    /// is. Absent is an object of which neither says so, so that there is nothing to do. `secret` is secure randomness.
    ///
    /// # Errors
    /// [`ObjectError::Unreadable`], if any of it cannot be read. Never is one made of the rest alone.
    pub fn restore(
        now: UnixMillis,
        config: &Config,
        name: Option<MailName>,
        found: Found,
        secret: Secret,
    ) -> Result<Option<(Self, Effects)>, ObjectError> {
        let name = match name {
            // Names of the project's own are no ids.
            None => OwnRow::name_in(&found).and_then(|name| name.parse().ok()).map(MailName::Retalk),
            name => name,
        };
        let own = match name {
            Some(MailName::Retalk(user)) => {
                let (object, effects) = RetalkObject::restore_of_storage(user, found, secret, KEPT_FOR)?;
                return Ok(Some((Self::Retalk(Box::new(object)), effects)));
            }
            Some(MailName::Own(name)) => Some(name),
            None => None,
        };
        let restored = Object::restore(now, config, own, found, secret)?;
        Ok(restored.map(|(object, effects)| (Self::Own(Box::new(object)), effects)))
    }

    /// Answers a call, which is one of this object.
    ///
    /// # Errors
    /// [`ObjectError::Unreadable`], if it is one of an object of another kind.
    pub fn handle(&mut self, now: UnixMillis, call: MailCall) -> Result<(ObjectAnswer, Effects), ObjectError> {
        match (self, call) {
            (Self::Own(object), MailCall::Own(call)) => Ok(object.handle(now, call)),
            (Self::Retalk(object), MailCall::Retalk(call)) => Ok(object.handle(now, call)),
            _ => Err(ObjectError::Unreadable("the call of an object is one of another kind".to_owned())),
        }
    }

    /// Takes away what has ended.
    pub fn handle_alarm(&mut self, now: UnixMillis) -> Effects {
        match self {
            Self::Own(object) => object.handle_alarm(now),
            Self::Retalk(object) => object.handle_alarm(now),
        }
    }

    /// Returns when the object is to be woken. One that was restored takes that alarm for set: where it is not, its host sets it.
    pub fn next_alarm(&self) -> Option<UnixMillis> {
        match self {
            Self::Own(object) => object.next_alarm(),
            Self::Retalk(object) => object.next_alarm(),
        }
    }

    /// Takes a connection that listens. Nobody does at a mailbox of a user of retalk, whose programs ask.
    pub fn listen(&mut self, now: UnixMillis, id: ConnectionId, call: &ListenCall) -> Effects {
        match self {
            Self::Own(object) => object.listen(now, id, call),
            Self::Retalk(_) => Effects::default(),
        }
    }

    /// Takes that a connection has ended.
    pub fn stop_listening(&mut self, id: ConnectionId) {
        if let Self::Own(object) = self {
            object.stop_listening(id);
        }
    }
}
