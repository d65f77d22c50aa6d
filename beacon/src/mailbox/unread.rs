//! Answers that wait in memory until their clients have read them: so many bytes in all, and a part of them for each network.
//!
//! For a host that keeps answers until then. What is refused for want of room is not lost: whoever asks again gets the same.
//! Where making the answer deletes what is in it, room is reserved before it is made.

use std::time::Duration;

use rendezvous_protocol::network::{Client, NetworkPath};
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;

use crate::answer::Answer;
use crate::network_shares::{NetworkShare, NetworkShares};
use crate::problem::Problem;
use crate::{hivemind, retalk};

/// Bytes of all answers.
const BYTES: usize = 128 * 1024 * 1024;

/// A provider's, a site's and a household's part of them. A household's is two of the longest answers.
const OF_PROVIDER: usize = BYTES / 4;
const OF_SITE: usize = BYTES / 8;
const OF_HOUSEHOLD: usize = BYTES / 16;

/// How long whoever is to reserve room waits for it, and how often it looks. What is made takes milliseconds, and counts for
/// so long as the longest that it may be: users of one household who ask in the same moment are no flood.
pub const ROOM_AWAITED_FOR: Duration = Duration::from_secs(5);
/// See [`ROOM_AWAITED_FOR`].
pub const ROOM_LOOKED_FOR_EVERY: Duration = Duration::from_millis(10);

/// An answer of fewer bytes does not count: so much a connection takes anyway.
const COUNTED_BYTES: usize = 64 * 1024;

/// Counts the bytes of answers that wait. A clone counts the same.
#[derive(Clone, Debug)]
pub struct UnreadAnswers {
    secret: Secret,
    shares: NetworkShares,
}

/// Counts one answer, until this is dropped.
#[derive(Debug)]
pub struct UnreadAnswer {
    share: NetworkShare,
}

/// Says that there is no room for another answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

impl NoRoom {
    /// Returns the answer in the place of one under `/v1/`.
    pub fn answer(self, now: UnixMillis) -> Answer {
        Problem::AnswersUnread.answer_about_mailbox(now)
    }

    /// Returns the answer in the place of one to retalk's users.
    pub fn answer_to_retalk(self) -> Answer {
        retalk::answers_unread()
    }

    /// Returns the answer in the place of one to hivemind-rendezvous' users.
    pub fn answer_to_hivemind(self) -> Answer {
        hivemind::answers_unread()
    }
}

impl UnreadAnswer {
    /// Counts the answer for which the room was reserved, and gives the rest of the room back.
    pub fn hold(mut self, answer: Answer) -> (Answer, Option<Self>) {
        let bytes = answer.body.len();
        if bytes < COUNTED_BYTES {
            return (answer, None);
        }
        self.share.shrink_to(bytes);
        (answer, Some(self))
    }
}

impl UnreadAnswers {
    /// Makes a count of nothing. Networks are remembered as hashes under the secret.
    pub fn new(secret: Secret) -> Self {
        Self { secret, shares: NetworkShares::default() }
    }

    /// Counts an answer to this client, for as long as what is returned beside it is there.
    ///
    /// # Errors
    /// [`NoRoom`], if there is none for it.
    pub fn hold(&self, client: Client, answer: Answer) -> Result<(Answer, Option<UnreadAnswer>), NoRoom> {
        if answer.body.len() < COUNTED_BYTES {
            return Ok((answer, None));
        }
        Ok(self.reserve(client, answer.body.len())?.hold(answer))
    }

    /// Counts an answer to this client that is still to be made, as the longest that it may be. A host asks again for as long as
    /// [`ROOM_AWAITED_FOR`].
    ///
    /// # Errors
    /// [`NoRoom`], if there is none for it: then it must not be made, if making it changes anything.
    pub fn reserve(&self, client: Client, most: usize) -> Result<UnreadAnswer, NoRoom> {
        let path = client.hand_over().hashed(&self.secret);
        self.take(path, most).map(|share| UnreadAnswer { share }).ok_or(NoRoom)
    }

    fn take(&self, path: NetworkPath, bytes: usize) -> Option<NetworkShare> {
        self.shares.take(path, bytes, |held| {
            let fits = |held: usize, most: usize| held.saturating_add(bytes) <= most;
            fits(held.household, OF_HOUSEHOLD)
                && fits(held.site, OF_SITE)
                && fits(held.provider, OF_PROVIDER)
                && fits(held.all, BYTES)
        })
    }
}

#[cfg(test)]
mod tests {
    use rendezvous_protocol::mailbox::limits::{COLLECT_MAX_BYTES, COLLECT_MAX_MESSAGES};
    use rendezvous_protocol::network::read_address;

    use super::*;
    use crate::hivemind::RETRIEVAL_MOST_BYTES;
    use crate::retalk::READ_MOST_BYTES;

    const NOW: UnixMillis = UnixMillis::saturating(1_700_000_000_000);

    fn hold(unread: &UnreadAnswers, address: &str, bytes: usize) -> Result<Option<UnreadAnswer>, Answer> {
        let client = Client { address: read_address(address), autonomous_system: None };
        let answer = Answer::of_json("x".repeat(bytes));
        let held = unread.hold(client, answer.clone()).map(|(held, share)| {
            assert_eq!(held, answer);
            share
        });
        held.map_err(|full| full.answer(NOW))
    }

    #[test]
    fn what_is_reserved_counts_as_the_longest_and_then_as_what_came() {
        let unread = UnreadAnswers::new(Secret::from_bytes([1; 16]));
        let client = Client { address: read_address("192.0.2.1"), autonomous_system: None };
        let reserved = unread.reserve(client, OF_HOUSEHOLD).unwrap();
        assert_eq!(unread.reserve(client, 1).unwrap_err(), NoRoom);
        assert_eq!([NoRoom.answer_to_retalk().status, NoRoom.answer_to_hivemind().status], [429, 429]);
        let (_, kept) = reserved.hold(Answer::of_json("x".repeat(COUNTED_BYTES)));
        assert!(unread.reserve(client, OF_HOUSEHOLD - COUNTED_BYTES + 1).is_err());
        let rest = unread.reserve(client, OF_HOUSEHOLD - COUNTED_BYTES).unwrap();
        drop(kept);
        // What is short does not count, nor does what was not made in the end.
        assert!(rest.hold(Answer::of_json("[]".to_owned())).1.is_none());
        drop(unread.reserve(client, OF_HOUSEHOLD).unwrap());
        drop(unread.reserve(client, OF_HOUSEHOLD).unwrap());
    }

    #[test]
    fn a_household_a_site_a_provider_and_all_have_so_much_until_it_is_read() {
        let held = |address: &dyn Fn(usize) -> String, most: usize| {
            let unread = UnreadAnswers::new(Secret::from_bytes([1; 16]));
            let mut held = Vec::new();
            while let Ok(share) = hold(&unread, &address(held.len()), 1024 * 1024) {
                held.push(share);
            }
            assert_eq!(held.len(), most);
            let refused = hold(&unread, &address(held.len()), 1024 * 1024).unwrap_err();
            assert_eq!(refused.status, 429);
            assert!(refused.body.contains(r#""code":"THROTTLED""#) && refused.body.contains("retryAfterMs"));
            // What is short is answered however little is read.
            assert!(hold(&unread, &address(held.len()), COUNTED_BYTES - 1).unwrap().is_none());
            held.pop();
            assert!(hold(&unread, &address(held.len()), 1024 * 1024).unwrap().is_some());
        };
        held(&|_| "192.0.2.1".to_owned(), 8);
        held(&|number| format!("192.0.2.{number}"), 16);
        held(&|number| format!("198.51.{number}.1"), 32);
        held(&|number| format!("10.{number}.0.1"), 128);
    }

    #[test]
    fn the_longest_answer_has_room_twice() {
        // A deposit, and the rest of an item, have less than this besides the sealed bytes.
        let longest = COLLECT_MAX_BYTES as usize / 3 * 4 + COLLECT_MAX_MESSAGES as usize * 1_024;
        assert!(2 * longest <= OF_HOUSEHOLD);
        // A read of retalk's is reserved as the longest, for as long as it takes, beside another one that is half as long.
        const { assert!(READ_MOST_BYTES * 3 / 2 <= OF_HOUSEHOLD) };
        const { assert!(RETRIEVAL_MOST_BYTES <= READ_MOST_BYTES) };
    }
}
