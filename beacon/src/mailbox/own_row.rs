//! What the objects of the doors beside `/v1/` keep of themselves: one row, which says which object it is and the secret
//! under which networks are hashed, and when they are woken.

use std::fmt::Display;

use rendezvous_protocol::base64;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;

use crate::call::ObjectError;
use crate::mailbox::{Effects, Found, Write};

/// The row that says which object it is, and behind a space its secret.
const OBJECT: &str = "object";

/// Holds an object's name, and what is known of its row and its alarm.
#[derive(Debug)]
pub(crate) struct OwnRow {
    name: String,
    is_stored: bool,
    /// The object is woken by then; absent where it is not known to be.
    woken_by: Option<UnixMillis>,
}

impl OwnRow {
    /// Takes the row out of what was found, and returns the object's secret: the stored one, or `secret` for an object of
    /// which nothing is in storage.
    ///
    /// # Errors
    /// [`ObjectError::Unreadable`], if it is another object's, cannot be read, or is missing beside others.
    pub(crate) fn take(name: impl Display, found: &mut Found, secret: Secret) -> Result<(Self, Secret), ObjectError> {
        let unreadable = |reason: &str| ObjectError::Unreadable(format!("the row {OBJECT:?}: {reason}"));
        let name = name.to_string();
        let (own, rows): (Vec<_>, Vec<_>) =
            std::mem::take(&mut found.rows).into_iter().partition(|(row, _)| row == OBJECT);
        found.rows = rows;
        let own = own.into_iter().next().map(|(_, text)| text);
        let secret = match &own {
            None if !found.rows.is_empty() || !found.messages.is_empty() => {
                return Err(unreadable("there are other rows, and not this one"));
            }
            None => secret,
            Some(text) => {
                let (object, secret) = text.split_once(' ').ok_or_else(|| unreadable("no secret"))?;
                if object != name {
                    return Err(unreadable("it is another object's"));
                }
                Secret::from_bytes(base64::decode_array(secret).ok_or_else(|| unreadable("no secret"))?)
            }
        };
        Ok((Self { name, is_stored: own.is_some(), woken_by: None }, secret))
    }

    /// Returns which object it is of which this was found, if its row says so.
    pub(crate) fn name_in(found: &Found) -> Option<&str> {
        let (_, text) = found.rows.iter().find(|(name, _)| name == OBJECT)?;
        text.split(' ').next()
    }

    /// Returns whether anything of the object is in storage.
    pub(crate) const fn is_stored(&self) -> bool {
        self.is_stored
    }

    /// Notes when the object is woken already.
    pub(crate) const fn note_alarm_at(&mut self, at: Option<UnixMillis>) {
        self.woken_by = at;
    }

    /// Notes that the object was woken.
    pub(crate) const fn note_alarm(&mut self) {
        self.woken_by = None;
    }

    /// Sees to it that storage says which object it is, and that the object is woken.
    pub(crate) fn conclude(
        &mut self,
        mut writes: Vec<Write>,
        secret: &Secret,
        deadline: Option<UnixMillis>,
    ) -> Effects {
        if !writes.is_empty() && !self.is_stored {
            self.is_stored = true;
            let row = format!("{} {}", self.name, base64::encode(secret.as_bytes()));
            writes.insert(0, Write::Put { name: OBJECT.to_owned(), row });
        }
        let wake_at = deadline.filter(|at| self.woken_by.is_none_or(|by| *at < by));
        self.woken_by = wake_at.or(self.woken_by);
        Effects { writes, wake_at, ..Effects::default() }
    }

    /// Sees to it that nothing is left in storage of an object of which there is nothing.
    pub(crate) fn conclude_absent(&mut self) -> Effects {
        let erases = std::mem::take(&mut self.is_stored);
        self.woken_by = None;
        Effects { writes: erases.then_some(Write::EraseAll).into_iter().collect(), ..Effects::default() }
    }
}
