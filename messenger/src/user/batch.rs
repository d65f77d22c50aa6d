//! Messages in batches, for a program that says later which of them it has dealt with.

use std::collections::{BTreeMap, BTreeSet};

use super::account::User;
use super::error::UserError;
use super::message::Message;
use super::receiving::{message_of, note_taken};
use super::record::InboxRecord;
use crate::vault::{Rows, VaultError};

/// Holds what is offered in one go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The messages, which are written down as offered.
    pub messages: Vec<Message>,
    /// Messages in the inbox beside these.
    pub left: usize,
    /// Handles of no message that was offered and waits.
    pub unknown: usize,
    /// Whether another program delivers from this store now: nothing was taken, nothing is offered.
    pub is_held: bool,
}

/// Remembers when a program was offered which messages, so that they take turns.
#[derive(Clone, Debug, Default)]
pub struct Turns {
    /// The last turn of the message in each place.
    last: BTreeMap<u64, u64>,
    count: u64,
}

impl Turns {
    /// Puts the places of all messages in the order in which they are offered: those that had no turn yet, then those whose
    /// turn was longest ago. Forgets the places that there are no more.
    fn order(&mut self, places: Vec<u64>) -> Vec<u64> {
        self.last.retain(|place, _| places.binary_search(place).is_ok());
        let mut order = places;
        order.sort_by_key(|place| (self.last.get(place).copied().unwrap_or_default(), *place));
        order
    }
}

impl User {
    /// Takes the messages with these handles, and offers others as long as they fit. Unlike [`User::deliver`] this waits for no
    /// other program, and offers all in one transaction: they are shown after it.
    ///
    /// A message comes again, as [`Message::redelivered`], until it is taken, after all those that `turns` has not seen yet.
    ///
    /// # Errors
    /// [`UserError::Vault`].
    pub fn offer_batch(
        &mut self,
        done: &BTreeSet<String>,
        turns: &mut Turns,
        mut fits: impl FnMut(&Message) -> bool,
    ) -> Result<Batch, UserError> {
        let Some(_lock) = self.try_lock_inbox()? else {
            let left = self.vault.read(|rows| rows.count::<InboxRecord>())?;
            return Ok(Batch { left, is_held: true, ..Batch::default() });
        };
        let (batch, places) = self.vault.change(|rows| {
            let mut batch = Batch::default();
            for handle in done {
                match named(rows, handle)? {
                    Some(record) => note_taken(rows, &record)?,
                    None => batch.unknown += 1,
                }
            }
            let places = rows.places::<InboxRecord>()?;
            let mut offered = Vec::new();
            batch.left = places.len();
            for place in turns.order(places) {
                let Some(record) = at(rows, place)? else { continue };
                let message = message_of(rows, &record)?;
                if !fits(&message) {
                    break;
                }
                if !record.is_offered {
                    rows.put(&InboxRecord { is_offered: true, ..record })?;
                }
                batch.messages.push(message);
                offered.push(place);
                batch.left -= 1;
            }
            Ok::<_, UserError>((batch, offered))
        })?;
        turns.count += 1;
        turns.last.extend(places.into_iter().map(|place| (place, turns.count)));
        Ok(batch)
    }
}

/// Returns the message that was offered under this handle.
fn named(rows: &Rows<'_>, handle: &str) -> Result<Option<InboxRecord>, VaultError> {
    let place = handle.split_once('-').and_then(|(place, _)| place.parse().ok());
    let Some(place) = place else { return Ok(None) };
    Ok(at(rows, place)?.filter(|record| record.is_offered && record.handle() == handle))
}

/// Returns the message in this place.
fn at(rows: &Rows<'_>, place: u64) -> Result<Option<InboxRecord>, VaultError> {
    let Some(before) = place.checked_sub(1) else { return Ok(None) };
    Ok(rows.after::<InboxRecord>(before)?.filter(|record| record.number == place))
}

#[cfg(test)]
mod tests {
    use rendezvous_protocol::retalk::user::UserId;

    use super::super::tests::{START, Somebody};
    use super::super::{Content, Disposition};
    use super::*;

    /// Puts a message into the inbox, as one that was decrypted.
    fn put(user: &mut User, from: u8, id: &str, text: &str) {
        let from: UserId = format!("{from:032x}").parse().unwrap();
        let (id, content) = (id.to_owned(), Content::Text(text.to_owned()));
        let put = |rows: &Rows<'_>| {
            let number = rows.next_place::<InboxRecord>()?;
            let record =
                InboxRecord { number, id, from, claimed_name: None, content, received_at: START, is_offered: false };
            rows.put(&record)
        };
        user.vault.change::<_, VaultError>(put).unwrap();
    }

    /// Offers so many at most, once these are taken.
    fn offer(user: &mut User, turns: &mut Turns, done: &[&str], most: usize) -> Batch {
        let mut count = 0;
        let fits = |_: &Message| {
            count += 1;
            count <= most
        };
        user.offer_batch(&done.iter().map(|&handle| handle.to_owned()).collect(), turns, fits).unwrap()
    }

    /// The texts, those that come again with an asterisk.
    fn shown(batch: &Batch) -> Vec<String> {
        let show = |message: &Message| {
            let Content::Text(text) = &message.content else { panic!("a text") };
            format!("{text}{}", if message.redelivered { "*" } else { "" })
        };
        batch.messages.iter().map(show).collect()
    }

    #[test]
    fn what_is_never_dealt_with_hides_nothing_newer_and_all_of_it_comes_again() {
        let mut bob = Somebody::new("bob");
        for number in 0..5 {
            put(&mut bob.user, 1, &number.to_string(), &format!("m{number}"));
        }
        let mut turns = Turns::default();
        for (expected, left) in [(["m0", "m1"], 3), (["m2", "m3"], 3), (["m4", "m0*"], 3), (["m1*", "m2*"], 3)] {
            let batch = offer(&mut bob.user, &mut turns, &[], 2);
            assert_eq!((shown(&batch), batch.left), (expected.map(str::to_owned).to_vec(), left));
        }
        put(&mut bob.user, 1, "5", "m5");
        assert_eq!(shown(&offer(&mut bob.user, &mut turns, &[], 2)), ["m5", "m3*"]);
        assert_eq!(shown(&offer(&mut bob.user, &mut turns, &[], 2)), ["m0*", "m4*"]);
        // Another run knows of no turns, and the oldest are first.
        bob.reopen();
        let batch = offer(&mut bob.user, &mut Turns::default(), &[], 9);
        assert_eq!(
            (shown(&batch), batch.left),
            (["m0*", "m1*", "m2*", "m3*", "m4*", "m5*"].map(str::to_owned).to_vec(), 0)
        );
    }

    #[test]
    fn a_message_is_taken_by_what_it_is_and_not_by_the_id_that_its_sender_chose() {
        let (mut bob, mut turns) = (Somebody::new("bob"), Turns::default());
        put(&mut bob.user, 1, "id", "of one");
        let first = offer(&mut bob.user, &mut turns, &[], 9).messages.remove(0);
        // Another sender's, which nobody was offered yet.
        put(&mut bob.user, 2, "id", "of another");
        let batch = offer(&mut bob.user, &mut turns, &["id", "1", "1-", "2", "0-00", "x", &first.id], 0);
        assert_eq!((batch.left, batch.unknown), (2, 6));
        let batch = offer(&mut bob.user, &mut turns, &[&first.handle], 9);
        assert_eq!((shown(&batch), batch.unknown), (vec!["of another".to_owned()], 0));
        let second = batch.messages[0].handle.clone();
        assert_eq!(offer(&mut bob.user, &mut turns, &[&second], 0).left, 0);
        // The same sender's, with the same id, in the same place.
        put(&mut bob.user, 1, "id", "of one, later");
        let batch = offer(&mut bob.user, &mut turns, &[&first.handle, &second], 9);
        assert_eq!((shown(&batch), batch.unknown), (vec!["of one, later".to_owned()], 2));
        // Another run takes what this one was offered.
        bob.reopen();
        let batch = offer(&mut bob.user, &mut Turns::default(), &[&batch.messages[0].handle], 9);
        assert_eq!((batch.messages.len(), batch.left, batch.unknown), (0, 0, 0));
    }

    #[test]
    fn a_message_that_was_not_offered_is_not_taken_by_a_handle_that_was_guessed() {
        let mut bob = Somebody::new("bob");
        put(&mut bob.user, 1, "id", "text");
        let record = bob.user.vault.read(|rows| rows.after::<InboxRecord>(0)).unwrap().unwrap();
        let batch = offer(&mut bob.user, &mut Turns::default(), &[&record.handle()], 9);
        assert_eq!((shown(&batch), batch.unknown), (vec!["text".to_owned()], 1));
    }

    #[test]
    fn nothing_is_offered_or_taken_while_another_program_delivers() {
        let (mut bob, mut turns) = (Somebody::new("bob"), Turns::default());
        put(&mut bob.user, 1, "1", "one");
        put(&mut bob.user, 1, "2", "two");
        let first = offer(&mut bob.user, &mut turns, &[], 1).messages.remove(0);
        let mut other = bob.reopened();
        let mut held = Vec::new();
        let keep = |_: &Message| {
            held.push(offer(&mut bob.user, &mut turns, &[&first.handle], 9));
            Disposition::Kept
        };
        other.deliver(&[], keep).unwrap();
        let expected = Batch { left: 2, is_held: true, ..Batch::default() };
        assert_eq!(held, [expected.clone(), expected]);
        assert_eq!(shown(&offer(&mut bob.user, &mut turns, &[&first.handle], 9)), ["two*"]);
    }

    #[test]
    fn what_was_not_written_down_as_offered_is_not_offered() {
        let (mut bob, mut turns) = (Somebody::new("bob"), Turns::default());
        put(&mut bob.user, 1, "1", "one");
        bob.user.vault.commits_left = Some(0);
        assert!(bob.user.offer_batch(&BTreeSet::new(), &mut turns, |_| true).is_err());
        bob.user.vault.commits_left = None;
        assert_eq!(shown(&offer(&mut bob.user, &mut turns, &[], 9)), ["one"]);
    }
}
