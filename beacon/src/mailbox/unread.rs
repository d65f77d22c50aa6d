//! Answers that wait in memory until their clients have read them: so many bytes in all, and a part of them for each network.
//!
//! For a host that keeps answers until then. What is refused for want of room is not lost: whoever asks again, under the name
//! by which it collects, gets the same.

use rendezvous_protocol::network::{Client, NetworkPath};
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;

use crate::answer::Answer;
use crate::network_shares::{NetworkShare, NetworkShares};
use crate::problem::Problem;

/// Bytes of all answers.
const BYTES: usize = 128 * 1024 * 1024;

/// A provider's, a site's and a household's part of them. A household's is two of the longest answers.
const OF_PROVIDER: usize = BYTES / 4;
const OF_SITE: usize = BYTES / 8;
const OF_HOUSEHOLD: usize = BYTES / 16;

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
    _share: NetworkShare,
}

impl UnreadAnswers {
    /// Makes a count of nothing. Networks are remembered as hashes under the secret.
    pub fn new(secret: Secret) -> Self {
        Self { secret, shares: NetworkShares::default() }
    }

    /// Counts an answer to this client, for as long as what is returned beside it is there.
    ///
    /// # Errors
    /// The answer in its place, if there is no room for it.
    pub fn hold(
        &self,
        now: UnixMillis,
        client: Client,
        answer: Answer,
    ) -> Result<(Answer, Option<UnreadAnswer>), Answer> {
        let bytes = answer.body.len();
        if bytes < COUNTED_BYTES {
            return Ok((answer, None));
        }
        let path = client.hand_over().hashed(&self.secret);
        match self.take(path, bytes) {
            Some(share) => Ok((answer, Some(UnreadAnswer { _share: share }))),
            None => Err(Problem::AnswersUnread.answer_about_mailbox(now)),
        }
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

    const NOW: UnixMillis = UnixMillis::saturating(1_700_000_000_000);

    fn hold(unread: &UnreadAnswers, address: &str, bytes: usize) -> Result<Option<UnreadAnswer>, Answer> {
        let client = Client { address: read_address(address), autonomous_system: None };
        let answer = Answer::of_json("x".repeat(bytes));
        unread.hold(NOW, client, answer.clone()).map(|(held, share)| {
            assert_eq!(held, answer);
            share
        })
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
    }
}
