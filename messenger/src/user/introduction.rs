//! How two become contacts by a code that the one has made and the other was given (`invite_code`).
//!
//! Whoever has a code asks with it to be made a contact, inside Olm, so that no relay learns the code. The request is settled in
//! the transaction in which it is decrypted, whatever the program receives for: the contact is saved, the code is used, and the
//! acknowledgement is due, or nothing of it. A code proves that the user gave it to somebody, and not who brings it.

use rendezvous_protocol::retalk::user::UserId;
use rendezvous_protocol::time::UnixMillis;

use super::account::User;
use super::error::UserError;
use super::invite_code::{InviteCode, NewCode, RequestRefusal, code_of, is_code};
use super::naming::{is_saved_name, name_like};
use super::outgoing::Outgoing;
use super::payload::{self, Card};
use super::record::{CodeRecord, PeerRecord, peer};
use crate::transport::Relay;
use crate::vault::{Rows, VaultError, random};

/// Codes that are kept. Those that are over go first.
const CODES_MAX: usize = 1_024;

/// Names somebody who has redeemed a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redeemed {
    /// The code.
    pub code: String,
    /// Who it was.
    pub by: UserId,
}

/// Returns whether anybody could redeem a code now.
pub(super) fn is_any_good(rows: &Rows<'_>, now: UnixMillis) -> Result<bool, VaultError> {
    Ok(rows.all::<CodeRecord>()?.iter().any(|record| record.code.refusal(now).is_none()))
}

/// Makes a contact of whoever brings a code that is good. Returns whether they have become one by that; a contact's request is
/// good without, because it asks for what there is.
pub(super) fn redeem(
    rows: &Rows<'_>,
    from: UserId,
    code: &str,
    card: Option<&Card>,
    now: UnixMillis,
) -> Result<Result<bool, RequestRefusal>, VaultError> {
    // Inside Olm somebody could pass on another user's card, and have that user made a contact.
    let Some(card) = card.filter(|card| card.is_of(from)) else { return Ok(Err(RequestRefusal::CardMismatch)) };
    let sender = peer(rows, from)?;
    let found = rows.get::<CodeRecord>(code)?;
    if found.as_ref().is_some_and(|record| record.code.redeemed_by.contains(&from)) {
        // Nobody who was removed since then comes back by it.
        return Ok(Ok(false));
    }
    let refusal = found.as_ref().map_or(Some(RequestRefusal::CodeUnknown), |record| record.code.refusal(now));
    match (found, refusal) {
        (Some(mut record), None) => {
            record.code.redeemed_by.push(from);
            rows.put(&record)?;
            if sender.name.is_none() {
                let name = free_name(rows, from, [record.code.name.as_deref(), Some(&card.name)])?;
                rows.put(&PeerRecord { name: Some(name), ..sender })?;
            }
            Ok(Ok(true))
        }
        _ if sender.name.is_some() => Ok(Ok(false)),
        (_, refusal) => Ok(Err(refusal.unwrap_or(RequestRefusal::CodeUnknown))),
    }
}

/// Returns the first name that is good and could not be taken for that of another contact; else the id.
fn free_name(rows: &Rows<'_>, id: UserId, names: [Option<&str>; 2]) -> Result<String, VaultError> {
    for name in names.into_iter().flatten().filter(|name| is_saved_name(name)) {
        if name_like(rows, id, name)?.is_none() {
            return Ok(name.to_owned());
        }
    }
    Ok(id.to_string())
}

/// Sees to it that one more code has a place.
fn make_room(rows: &Rows<'_>, now: UnixMillis) -> Result<(), UserError> {
    let records = rows.all::<CodeRecord>()?;
    if records.len() < CODES_MAX {
        return Ok(());
    }
    let over = records.iter().find(|record| record.code.refusal(now).is_some() && record.untold().is_none());
    let over = over.ok_or(UserError::CodesFull { most: CODES_MAX })?;
    rows.remove::<CodeRecord>(&over.code.code)?;
    Ok(())
}

impl User {
    /// Makes an invite code, to be given to somebody over another way, with the user's id.
    ///
    /// # Errors
    /// [`UserError::NameInvalid`], [`UserError::NameTaken`], [`UserError::NameConfusable`], [`UserError::CodesFull`] and
    /// [`UserError::Vault`].
    pub fn new_code(&mut self, new: &NewCode<'_>, now: UnixMillis) -> Result<InviteCode, UserError> {
        let NewCode { name, is_permanent, lasts } = *new;
        if name.is_some_and(|name| !is_saved_name(name)) {
            return Err(UserError::NameInvalid);
        }
        let code = InviteCode {
            code: code_of(random()?),
            name: name.map(str::to_owned),
            is_permanent,
            created_at: now,
            expires_at: lasts.map(|lasts| now.after(lasts)),
            is_revoked: false,
            redeemed_by: Vec::new(),
        };
        self.vault.change(|rows| {
            if let Some(name) = name
                && let Some(other) = name_like(rows, self.id, name)?
            {
                return Err(UserError::of_taken_name(name, other));
            }
            make_room(rows, now)?;
            let number = rows.next_place::<CodeRecord>()?;
            rows.put(&CodeRecord { code: code.clone(), number, told: 0 })?;
            Ok(code)
        })
    }

    /// Returns the codes that were made, the oldest first, also those that are over.
    ///
    /// # Errors
    /// [`UserError::Vault`].
    pub fn codes(&self) -> Result<Vec<InviteCode>, UserError> {
        let records = self.vault.read(|rows| rows.all::<CodeRecord>())?;
        Ok(records.into_iter().map(|record| record.code).collect())
    }

    /// Lets nobody redeem a code any more. Who has redeemed it stays a contact. Returns whether there is such a code.
    ///
    /// # Errors
    /// [`UserError::Vault`].
    pub fn revoke_code(&mut self, code: &str) -> Result<bool, UserError> {
        self.vault.change(|rows| {
            let Some(mut record) = rows.get::<CodeRecord>(code)? else { return Ok(false) };
            record.code.is_revoked = true;
            rows.put(&record)?;
            Ok(true)
        })
    }

    /// Asks whoever has made a code to make the user a contact, and saves them as one: under `name`, or as they are called
    /// already, or under the id. That they have taken it is known by their acknowledgement: then the outbox does not have it any
    /// more.
    ///
    /// # Errors
    /// [`UserError::CodeInvalid`], and those of [`User::verify`], [`User::add`] and [`User::send`].
    pub fn request_contact(
        &mut self,
        relay: &Relay<'_>,
        to: UserId,
        code: &str,
        name: Option<&str>,
        now: UnixMillis,
    ) -> Result<Outgoing, UserError> {
        if to == self.id {
            return Err(UserError::ToOneself);
        }
        if !is_code(code) {
            return Err(UserError::CodeInvalid);
        }
        // First the keys: nothing is saved, and no code leaves, where they are not those of the id.
        self.verify(relay, to, now)?;
        match name {
            Some(name) => self.add(name, to, None)?,
            None => self.vault.change(|rows| {
                let peer = peer(rows, to)?;
                let name = peer.name.or_else(|| Some(to.to_string()));
                rows.put(&PeerRecord { name, ..peer })
            })?,
        }
        let card = Card::new(&self.profile()?.name, &self.identity);
        self.post(relay, to, now, |id, mailbox| payload::contact_request(id, code, &card, mailbox))
    }

    /// Returns who has redeemed codes and was not told of yet, those of the oldest code first.
    ///
    /// # Errors
    /// [`UserError::Vault`].
    pub fn redeemed(&self) -> Result<Vec<Redeemed>, UserError> {
        let records = self.vault.read(|rows| rows.all::<CodeRecord>())?;
        let redeemed =
            records.into_iter().flat_map(|CodeRecord { code: InviteCode { code, redeemed_by, .. }, told, .. }| {
                redeemed_by.into_iter().skip(told).map(move |by| Redeemed { code: code.clone(), by })
            });
        Ok(redeemed.collect())
    }

    /// Notes that somebody was told of. Where the program is killed before that, they are told of again.
    ///
    /// # Errors
    /// [`UserError::Vault`].
    pub fn note_told(&mut self, redeemed: &Redeemed) -> Result<(), UserError> {
        self.vault.change(|rows| match rows.get::<CodeRecord>(&redeemed.code)? {
            // Another program may have noted it meanwhile.
            Some(record) if record.untold() == Some(redeemed.by) => {
                Ok(rows.put(&CodeRecord { told: record.told + 1, ..record })?)
            }
            _ => Ok(()),
        })
    }
}
