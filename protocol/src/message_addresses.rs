//! Where messages for a peer can be left, as the `data` of its ticket says: section 3 of the specification.
//!
//! Words of other applications stand beside those of this module, and are not looked at. What is said is the signer's own
//! word: a ticket proves that its key says so, not that the user or the mailbox is the peer's.

use std::fmt;

use crate::mailbox::bytes::Address;
use crate::mailbox::relays::{RelaysError, read_relays};
use crate::origin::Origin;
use crate::retalk::user::UserId;
use crate::ticket::PeerData;

/// What the word begins with that names a user of messages.
const USER: &str = "rendezvous-user=";

/// What the word begins with that names a mailbox.
const MAILBOX: &str = "rendezvous-mailbox=";

/// Says which word of a peer's `data` cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageAddressError {
    /// Something else than a user's id after the name.
    #[error("{USER} in the data of a ticket is followed by an id of 32 characters of 0-9 a-f")]
    User,
    /// Something else than an address after the name.
    #[error("{MAILBOX} in the data of a ticket is followed by an address of 64 characters of 0-9 a-f")]
    Mailbox,
    /// Two users.
    #[error("{USER} is in the data of a ticket twice")]
    UserTwice,
    /// Two mailboxes.
    #[error("{MAILBOX} is in the data of a ticket twice")]
    MailboxTwice,
    /// A mailbox that is nowhere.
    #[error("{MAILBOX} in the data of a ticket names no relay")]
    MailboxNowhere,
    /// Something else than relays after the id or the address.
    #[error("in the data of a ticket {0}")]
    Relays(#[from] RelaysError),
}

/// Names somebody to whom messages can be sent (section 19).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserAddress {
    /// The user.
    pub user: UserId,
    /// The relays where the user collects; none, where the sender has to know one.
    pub relays: Vec<Origin>,
}

/// Names a mailbox (section 17).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxAddress {
    /// The mailbox.
    pub mailbox: Address,
    /// The relays where it is open, at least one.
    pub relays: Vec<Origin>,
}

/// Holds what a peer's `data` says of where messages can be left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageAddresses {
    /// As whom the peer gets messages.
    pub user: Option<UserAddress>,
    /// The peer's mailbox.
    pub mailbox: Option<MailboxAddress>,
}

impl MessageAddresses {
    /// Reads the words of a peer's `data`.
    ///
    /// # Errors
    /// [`MessageAddressError`], of the first word that begins like one of these and is none.
    pub fn read(data: &PeerData) -> Result<Self, MessageAddressError> {
        let mut addresses = Self::default();
        for word in data.as_str().split(' ') {
            if let Some(rest) = word.strip_prefix(USER) {
                let (id, relays) = id_and_relays(rest)?;
                let user = id.parse().map_err(|_| MessageAddressError::User)?;
                if addresses.user.replace(UserAddress { user, relays }).is_some() {
                    return Err(MessageAddressError::UserTwice);
                }
            } else if let Some(rest) = word.strip_prefix(MAILBOX) {
                let (address, relays) = id_and_relays(rest)?;
                let mailbox = address.parse().map_err(|_| MessageAddressError::Mailbox)?;
                if relays.is_empty() {
                    return Err(MessageAddressError::MailboxNowhere);
                }
                if addresses.mailbox.replace(MailboxAddress { mailbox, relays }).is_some() {
                    return Err(MessageAddressError::MailboxTwice);
                }
            }
        }
        Ok(addresses)
    }
}

/// Takes a word apart at its commas: the id, and the relays after it.
fn id_and_relays(rest: &str) -> Result<(&str, Vec<Origin>), MessageAddressError> {
    let mut parts = rest.split(',');
    let id = parts.next().unwrap_or_default();
    Ok((id, read_relays(parts)?))
}

impl fmt::Display for UserAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{USER}{}", self.user)?;
        write_relays(&self.relays, formatter)
    }
}

impl fmt::Display for MailboxAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{MAILBOX}{}", self.mailbox)?;
        write_relays(&self.relays, formatter)
    }
}

fn write_relays(relays: &[Origin], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    relays.iter().try_for_each(|relay| write!(formatter, ",{}", relay.as_str()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mailbox::limits::RELAYS_MAX;

    #[test]
    fn what_cannot_be_read_is_named() {
        let (user, mailbox) = ("0".repeat(32), "0".repeat(64));
        let five: String = (0..=RELAYS_MAX).map(|number| format!(",https://{number}.example")).collect();
        for (data, fault) in [
            ("rendezvous-user=?".to_owned(), MessageAddressError::User),
            ("rendezvous-mailbox=?,https://a.example".to_owned(), MessageAddressError::Mailbox),
            (format!("rendezvous-user={user} rendezvous-user={user}"), MessageAddressError::UserTwice),
            (format!("rendezvous-mailbox={mailbox}"), MessageAddressError::MailboxNowhere),
            (format!("rendezvous-user={user},a.example"), RelaysError::NotAnOrigin.into()),
            (format!("rendezvous-user={user},https://a.example,https://a.example"), RelaysError::Twice.into()),
            (format!("rendezvous-mailbox={mailbox}{five}"), RelaysError::TooMany.into()),
        ] {
            assert_eq!(MessageAddresses::read(&PeerData::new(&data).unwrap()), Err(fault), "{data}");
        }
    }

    fn relays(least: usize) -> impl Strategy<Value = Vec<Origin>> {
        prop::collection::btree_set("https?://[a-z]{1,9}\\.example(:[1-9][0-9]{3})?", least..=RELAYS_MAX)
            .prop_map(|texts| texts.iter().map(|text| Origin::parse(text).unwrap()).collect())
    }

    fn addresses() -> impl Strategy<Value = MessageAddresses> {
        let user =
            ("[0-9a-f]{32}", relays(0)).prop_map(|(user, relays)| UserAddress { user: user.parse().unwrap(), relays });
        let mailbox = ("[0-9a-f]{64}", relays(1))
            .prop_map(|(mailbox, relays)| MailboxAddress { mailbox: mailbox.parse().unwrap(), relays });
        (prop::option::of(user), prop::option::of(mailbox))
            .prop_map(|(user, mailbox)| MessageAddresses { user, mailbox })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_wherever_it_stands(said in addresses(), words in prop::collection::vec("[a-z=:{}\"é]{0,9}", 3)) {
            let [before, between, after] = &*words else { unreachable!() };
            let text = [
                Some(before.clone()), said.user.as_ref().map(ToString::to_string), Some(between.clone()),
                said.mailbox.as_ref().map(ToString::to_string), Some(after.clone()),
            ];
            let text = text.into_iter().flatten().collect::<Vec<_>>().join(" ");
            // Four relays twice are more than there is room for.
            if let Some(data) = PeerData::new(&text) {
                prop_assert_eq!(MessageAddresses::read(&data), Ok(said));
            }
        }

        #[test]
        fn anything_is_read_or_refused(text in "(rendezvous-(user|mailbox)=[0-9a-f,:/ .]{0,90}| |[a-z]){1,4}") {
            if let Some(data) = PeerData::new(&text) && let Ok(said) = MessageAddresses::read(&data) {
                let written: Vec<String> = [said.user.map(|it| it.to_string()), said.mailbox.map(|it| it.to_string())]
                    .into_iter().flatten().collect();
                prop_assert!(written.iter().all(|word| text.split(' ').any(|part| part == word)));
            }
        }
    }
}
