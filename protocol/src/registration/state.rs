//! What a beacon remembers of registrations: who has asked, which link was sent, and who has confirmed.
//!
//! Every change goes out as [`RegistrationWrite`]s, which are to be on the disk before anybody is told. A mail is sent after
//! that; one that was not sent yet, or perhaps not, is sent after a restart, with another link. Of a link only the hash is
//! stored. All answers to who asks are the same for every address, and so is what an asking takes from its network's share:
//! nobody finds out by asking whether an address is known here.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::email::EmailAddress;
use super::limits::{
    KEYS_PER_MAILBOX, MAIL_BACKOFF, MAIL_TRIES, MAILS_PER_MAILBOX, MAILS_PER_MAILBOX_AND_SITE, PROVIDERS_IN_A_DAY,
    REGISTRATIONS_MAX, SITES_IN_A_DAY, TOKEN_BYTES, TOKEN_LIFETIME,
};
use super::record::Registration;
use crate::base64;
use crate::bytes::hex;
use crate::canonical::quoted;
use crate::community::Community;
use crate::fields::{FieldError, Fields};
use crate::key::PublicKey;
use crate::mailbox::bytes::{Bytes, ContentId};
use crate::network::{NetworkHash, NetworkPath};
use crate::time::{DAY_MILLIS, UnixMillis};

/// Names what is registered: a key in a community.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// The community.
    pub community: Community,
    /// The ticket key.
    pub public_key: PublicKey,
}

/// Holds the secret of a link: 64 characters of lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token([u8; TOKEN_BYTES]);

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

impl Token {
    /// Takes bytes from a secure source of randomness.
    pub const fn from_random(bytes: [u8; TOKEN_BYTES]) -> Self {
        Self(bytes)
    }

    /// Writes the token as it stands in a link.
    pub fn to_text(self) -> String {
        hex(&self.0)
    }

    /// Returns what is stored in its place. Whoever compares hashes tells by no time how much of a guess was right.
    fn hash(&self) -> ContentId {
        ContentId::of(&self.0)
    }
}

/// Says that a text is not the secret of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a link has a token of 64 characters of 0-9 a-f")]
pub struct TokenInvalid;

impl FromStr for Token {
    type Err = TokenInvalid;

    fn from_str(text: &str) -> Result<Self, TokenInvalid> {
        // The same 64 characters as the address of a mailbox, read in one place.
        let bytes: crate::mailbox::bytes::Address = text.parse().map_err(|_| TokenInvalid)?;
        Ok(Self(*bytes.as_bytes()))
    }
}

/// Holds a change of what is stored: a row of this name, or that there is none any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationWrite {
    /// The row's name.
    pub name: String,
    /// Its text; absent where the row is erased.
    pub row: Option<String>,
}

/// Says that a stored row cannot be read. Its text is not repeated: an address may be in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored row {0} cannot be read")]
pub struct UnreadableRow(pub String);

/// Says that a network, or everybody, has had as many mails as a day has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("as many mails were asked for as this beacon sends in a day, for one network or in all")]
pub struct TooManyMails {
    /// How long the day still lasts.
    pub retry_after: Duration,
}

/// Says why a link confirms nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotConfirmed {
    /// It was used, is over, or was never sent: nothing tells these apart.
    #[error("this link was used before, or has ended: register again for another one")]
    Ended,
    /// The mailbox has confirmed as many keys as it may.
    #[error("this address has confirmed {KEYS_PER_MAILBOX} keys of this community: its operator can remove one")]
    MailboxFull,
    /// There are as many registrations as there may be.
    #[error("this beacon has as many registrations as it may: its operator can remove some")]
    Full,
}

/// Holds what a link is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// The key, and where it is listed.
    pub subject: Subject,
    /// The address to which the link was sent.
    pub email: EmailAddress,
}

/// Holds a registration that was confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Who has confirmed it.
    pub email: EmailAddress,
    /// When the key signed it.
    pub issued_at: UnixMillis,
    /// When its link was used.
    pub verified_at: UnixMillis,
}

/// Holds a mail that is to be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// What it is about.
    pub subject: Subject,
    /// To whom it goes.
    pub email: EmailAddress,
    /// The secret of its link.
    pub token: Token,
    /// Which of the subject's registrations it is of.
    pub issued_at: UnixMillis,
}

/// Says what came of sending a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailOutcome {
    /// A server has taken it.
    Sent,
    /// None did now: it may be otherwise later.
    Deferred,
    /// One has refused it for good.
    Refused,
}

/// Says that a mail is not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsent;

/// Holds a registration that is not confirmed.
#[derive(Clone, Debug)]
struct Pending {
    email: EmailAddress,
    issued_at: UnixMillis,
    ends_at: UnixMillis,
    tries: u32,
    /// What the link hashes to; absent until the first mail is about to go out.
    hash: Option<ContentId>,
    /// Whether a server has taken the mail.
    is_mailed: bool,
    /// The link's secret, for another try of the same process.
    token: Option<Token>,
    next_at: UnixMillis,
    is_in_flight: bool,
}

impl Pending {
    /// Returns whether a mail is to be tried, now or later.
    const fn waits_for_mail(&self) -> bool {
        !self.is_mailed && !self.is_in_flight && self.tries < MAIL_TRIES
    }

    /// Takes what is not stored from the same registration as it was before, if its link is the same.
    fn go_on_from(&mut self, before: &Self) {
        let Self { email, issued_at, tries, hash, is_mailed, .. } = before;
        if self.email != *email || self.issued_at != *issued_at || self.hash != *hash {
            return;
        }
        // A try that could not be written was not made.
        self.is_in_flight = before.is_in_flight && self.tries == *tries;
        self.is_mailed |= is_mailed;
        (self.token, self.next_at) = (before.token, before.next_at);
    }
}

/// Counts the mails of one day, by UTC. Whatever is counted was counted in `total` too, which bounds it all.
#[derive(Debug, Default)]
struct Day {
    number: u64,
    total: u32,
    mailboxes: BTreeMap<ContentId, u32>,
    /// Sites and providers.
    networks: BTreeMap<NetworkHash, u32>,
    pairs: BTreeMap<(ContentId, NetworkHash), u32>,
}

/// Holds everything that is remembered of registrations.
#[derive(Debug)]
pub struct Registrations {
    mails_per_day: u32,
    pending: BTreeMap<Subject, Pending>,
    /// Whose link hashes to this.
    links: BTreeMap<ContentId, Subject>,
    registered: BTreeMap<Subject, Registered>,
    day: Day,
}

const PENDING: &str = "pending";
const REGISTERED: &str = "registered";
const MAILS: &str = "mails";

/// Names the row of a subject.
fn row_name(kind: &str, Subject { community, public_key }: &Subject) -> String {
    format!("{kind}/{community}/{public_key}")
}

/// Names the row of the mails to a mailbox in a day, or in the absence of one, of all.
fn mails_name(mailbox: Option<&ContentId>) -> String {
    mailbox.map_or_else(|| MAILS.to_owned(), |mailbox| format!("{MAILS}/{mailbox}"))
}

fn put(name: String, row: String) -> RegistrationWrite {
    RegistrationWrite { name, row: Some(row) }
}

const fn erase(name: String) -> RegistrationWrite {
    RegistrationWrite { name, row: None }
}

const fn day_of(now: UnixMillis) -> u64 {
    now.as_u64() / DAY_MILLIS
}

fn mailbox_of(email: &EmailAddress) -> ContentId {
    ContentId::of(email.mailbox().as_bytes())
}

impl Registrations {
    /// Makes the state of what was stored. What was asked for and not certainly mailed is due at once.
    ///
    /// # Errors
    /// [`UnreadableRow`] names the row.
    pub fn restore(
        mails_per_day: u32,
        rows: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, UnreadableRow> {
        let (pending, links, registered) = Default::default();
        let mut state = Self { mails_per_day, pending, links, registered, day: Day::default() };
        let mut counts = Vec::new();
        for (name, row) in rows {
            if state.read(&name, &row, &mut counts).is_none() {
                return Err(UnreadableRow(name));
            }
        }
        // Rows of days before the last one are leftovers, which the next change of the day erases.
        let last = counts.iter().map(|(_, number, _)| *number).max().unwrap_or_default();
        state.day.number = last;
        for (mailbox, number, mails) in counts {
            let mails = if number == last { mails } else { 0 };
            match mailbox {
                Some(mailbox) => {
                    state.day.mailboxes.insert(mailbox, mails);
                }
                None => state.day.total = mails,
            }
        }
        Ok(state)
    }

    fn read(&mut self, name: &str, row: &str, counts: &mut Vec<(Option<ContentId>, u64, u32)>) -> Option<()> {
        let mut parts = name.splitn(3, '/');
        let (kind, second, third) = (parts.next()?, parts.next(), parts.next());
        if kind == MAILS {
            let (number, mails) = row.split_once(' ')?;
            let mailbox = match name.split_once('/') {
                Some((_, hash)) => Some(Bytes(base64::decode_array(hash)?)),
                None => None,
            };
            counts.push((mailbox, number.parse().ok()?, mails.parse().ok()?));
            return Some(());
        }
        let public_key = PublicKey::from_bytes(base64::decode_array(third?)?);
        let subject = Subject { community: Community::new(second?).ok()?, public_key };
        match kind {
            PENDING => {
                let pending = read_pending(row).ok()??;
                if let Some(hash) = pending.hash {
                    self.links.insert(hash, subject.clone());
                }
                self.pending.insert(subject, pending);
            }
            REGISTERED => {
                self.registered.insert(subject, read_registered(row).ok()??);
            }
            _ => return None,
        }
        Some(())
    }

    /// Takes what is stored now in the place of what was restored or written before, where somebody else has written, or
    /// where a write has failed. What is remembered and not stored goes on: the shares of networks, the secrets of links, and
    /// which mails are on their way.
    ///
    /// # Errors
    /// [`UnreadableRow`] names the row; nothing changes then.
    pub fn reread(&mut self, rows: impl IntoIterator<Item = (String, String)>) -> Result<(), UnreadableRow> {
        let mut stored = Self::restore(self.mails_per_day, rows)?;
        for (subject, pending) in &mut stored.pending {
            if let Some(before) = self.pending.get(subject) {
                pending.go_on_from(before);
            }
        }
        // What is counted in memory is at least what is on disk. Rows of days before stay known, so that they are erased.
        for mailbox in stored.day.mailboxes.into_keys() {
            self.day.mailboxes.entry(mailbox).or_default();
        }
        let Self { pending, links, registered, .. } = stored;
        (self.pending, self.links, self.registered) = (pending, links, registered);
        Ok(())
    }

    /// Returns what is registered.
    pub fn registered(&self) -> impl Iterator<Item = (&Subject, &Registered)> {
        self.registered.iter()
    }

    /// Takes a registration that its key has signed, from a client there. A mail is due then, unless its mailbox has had its
    /// mails of the day, or the same or a later registration of the key is known: the outcome does not say which.
    ///
    /// # Errors
    /// [`TooManyMails`], which depends on the client's network and on the beacon's day, and not on the address.
    pub fn ask(
        &mut self,
        now: UnixMillis,
        network: NetworkPath,
        registration: &Registration,
        writes: &mut Vec<RegistrationWrite>,
    ) -> Result<(), TooManyMails> {
        self.begin_day(now, writes);
        self.count_asking(now, network, writes)?;
        let payload = registration.payload();
        let subject = Subject { community: payload.community.clone(), public_key: registration.public_key() };
        let known = [
            self.pending.get(&subject).map(|pending| pending.issued_at),
            self.registered.get(&subject).map(|registered| registered.issued_at),
        ];
        // Whoever repeats what a key has signed takes nobody's link from them.
        if known.into_iter().flatten().any(|issued_at| issued_at >= payload.issued_at)
            || !self.count_mail(&payload.email, network.site, writes)
        {
            return Ok(());
        }
        self.forget_link(&subject);
        let pending = Pending {
            email: payload.email.clone(),
            issued_at: payload.issued_at,
            ends_at: now.after(TOKEN_LIFETIME),
            tries: 0,
            hash: None,
            is_mailed: false,
            token: None,
            next_at: now,
            is_in_flight: false,
        };
        writes.push(put(row_name(PENDING, &subject), write_pending(&pending)));
        self.pending.insert(subject, pending);
        Ok(())
    }

    /// Counts that a network asks, whatever comes of it.
    fn count_asking(
        &mut self,
        now: UnixMillis,
        network: NetworkPath,
        writes: &mut Vec<RegistrationWrite>,
    ) -> Result<(), TooManyMails> {
        let per_day = self.mails_per_day;
        let levels = [(network.site, SITES_IN_A_DAY), (network.provider, PROVIDERS_IN_A_DAY)];
        let day = &mut self.day;
        let is_full = |(level, parts): &(NetworkHash, u32)| {
            let asked = day.networks.get(level).copied().unwrap_or_default();
            // What others have left, so that no network's own mails make its share smaller.
            let left = per_day.saturating_sub(day.total.saturating_sub(asked));
            asked >= (left / parts).max(MAILS_PER_MAILBOX_AND_SITE)
        };
        if day.total >= per_day || levels.iter().any(is_full) {
            let retry_after = Duration::from_millis(DAY_MILLIS - now.as_u64() % DAY_MILLIS);
            return Err(TooManyMails { retry_after });
        }
        day.total += 1;
        for (level, _) in levels {
            *day.networks.entry(level).or_default() += 1;
        }
        writes.push(put(mails_name(None), format!("{} {}", day.number, day.total)));
        Ok(())
    }

    /// Counts a mail to a mailbox, if it may have another one that this site asks for.
    fn count_mail(&mut self, email: &EmailAddress, site: NetworkHash, writes: &mut Vec<RegistrationWrite>) -> bool {
        let mailbox = mailbox_of(email);
        let day = &mut self.day;
        let sent = day.mailboxes.get(&mailbox).copied().unwrap_or_default();
        let of_site = day.pairs.get(&(mailbox, site)).copied().unwrap_or_default();
        if sent >= MAILS_PER_MAILBOX || of_site >= MAILS_PER_MAILBOX_AND_SITE {
            return false;
        }
        day.mailboxes.insert(mailbox, sent + 1);
        day.pairs.insert((mailbox, site), of_site + 1);
        writes.push(put(mails_name(Some(&mailbox)), format!("{} {}", day.number, sent + 1)));
        true
    }

    /// Begins another day, if it is one, also where the clock was set back.
    fn begin_day(&mut self, now: UnixMillis, writes: &mut Vec<RegistrationWrite>) {
        let number = day_of(now);
        if self.day.number == number {
            return;
        }
        writes.extend(self.day.mailboxes.keys().map(|mailbox| erase(mails_name(Some(mailbox)))));
        self.day = Day { number, ..Day::default() };
    }

    /// Forgets the link of a registration that is not confirmed.
    fn forget_link(&mut self, subject: &Subject) {
        if let Some(hash) = self.pending.get(subject).and_then(|pending| pending.hash) {
            self.links.remove(&hash);
        }
    }

    fn drop_pending(&mut self, subject: &Subject, writes: &mut Vec<RegistrationWrite>) {
        self.forget_link(subject);
        if self.pending.remove(subject).is_some() {
            writes.push(erase(row_name(PENDING, subject)));
        }
    }

    /// Returns the mail that is to be sent now, if there is one. `token` is random. The writes are to be on the disk before it
    /// is sent.
    pub fn next_mail(&mut self, now: UnixMillis, token: Token, writes: &mut Vec<RegistrationWrite>) -> Option<Due> {
        for pending in self.pending.values_mut() {
            // A clock that was set back makes no mail wait longer.
            pending.next_at = pending.next_at.min(now.after(MAIL_BACKOFF.most));
        }
        let due = |(_, pending): &(&Subject, &mut Pending)| {
            pending.waits_for_mail() && pending.next_at <= now && now < pending.ends_at
        };
        let (subject, pending) = self.pending.iter_mut().filter(due).min_by_key(|(_, pending)| pending.next_at)?;
        let token = *pending.token.get_or_insert(token);
        let hash = token.hash();
        if pending.hash != Some(hash) {
            if let Some(before) = pending.hash {
                self.links.remove(&before);
            }
            pending.hash = Some(hash);
            pending.ends_at = now.after(TOKEN_LIFETIME);
            self.links.insert(hash, subject.clone());
        }
        pending.tries += 1;
        pending.is_in_flight = true;
        writes.push(put(row_name(PENDING, subject), write_pending(pending)));
        Some(Due { subject: subject.clone(), email: pending.email.clone(), token, issued_at: pending.issued_at })
    }

    /// Takes what came of sending a mail. `random` spreads out when it is tried again.
    ///
    /// # Errors
    /// [`Unsent`], where it is not tried again: then nothing is left of the registration.
    pub fn mailed(
        &mut self,
        now: UnixMillis,
        due: &Due,
        outcome: MailOutcome,
        random: u8,
        writes: &mut Vec<RegistrationWrite>,
    ) -> Result<(), Unsent> {
        let is_it =
            |pending: &&mut Pending| pending.issued_at == due.issued_at && pending.hash == Some(due.token.hash());
        // It may have been confirmed or replaced since.
        let Some(pending) = self.pending.get_mut(&due.subject).filter(is_it) else { return Ok(()) };
        pending.is_in_flight = false;
        match outcome {
            MailOutcome::Sent => {
                pending.is_mailed = true;
                writes.push(put(row_name(PENDING, &due.subject), write_pending(pending)));
                Ok(())
            }
            MailOutcome::Deferred if pending.tries < MAIL_TRIES => {
                pending.next_at = now.after(MAIL_BACKOFF.wait(pending.tries, random));
                Ok(())
            }
            MailOutcome::Deferred | MailOutcome::Refused => {
                self.drop_pending(&due.subject, writes);
                Err(Unsent)
            }
        }
    }

    fn linked(&self, now: UnixMillis, token: &Token) -> Option<(&Subject, &Pending)> {
        let subject = self.links.get(&token.hash())?;
        let pending = self.pending.get(subject)?;
        (now < pending.ends_at).then_some((subject, pending))
    }

    /// Returns what a link is about. Nothing changes: programs that look for harm in mail follow every link.
    ///
    /// # Errors
    /// [`NotConfirmed::Ended`].
    pub fn look(&self, now: UnixMillis, token: &Token) -> Result<Confirmed, NotConfirmed> {
        let (subject, pending) = self.linked(now, token).ok_or(NotConfirmed::Ended)?;
        Ok(Confirmed { subject: subject.clone(), email: pending.email.clone() })
    }

    /// Confirms what a link is about, and ends the link. What the key was registered with before is replaced.
    ///
    /// # Errors
    /// [`NotConfirmed`]. A link for which there is no room stays good.
    pub fn confirm(
        &mut self,
        now: UnixMillis,
        token: &Token,
        writes: &mut Vec<RegistrationWrite>,
    ) -> Result<Confirmed, NotConfirmed> {
        let (subject, pending) = self.linked(now, token).ok_or(NotConfirmed::Ended)?;
        let mailbox = pending.email.mailbox();
        let is_other_of_mailbox = |(other, registered): &(&Subject, &Registered)| {
            other.community == subject.community && *other != subject && registered.email.mailbox() == mailbox
        };
        if self.registered.iter().filter(is_other_of_mailbox).count() >= KEYS_PER_MAILBOX {
            return Err(NotConfirmed::MailboxFull);
        }
        if self.registered.len() >= REGISTRATIONS_MAX && !self.registered.contains_key(subject) {
            return Err(NotConfirmed::Full);
        }
        let registered = Registered { email: pending.email.clone(), issued_at: pending.issued_at, verified_at: now };
        let confirmed = Confirmed { subject: subject.clone(), email: pending.email.clone() };
        self.drop_pending(&confirmed.subject, writes);
        writes.push(put(row_name(REGISTERED, &confirmed.subject), write_registered(&registered)));
        self.registered.insert(confirmed.subject.clone(), registered);
        Ok(confirmed)
    }

    /// Removes what is meant, confirmed or not, and returns how many registrations that was.
    pub fn remove(
        &mut self,
        is_meant: impl Fn(&Subject, &EmailAddress) -> bool,
        writes: &mut Vec<RegistrationWrite>,
    ) -> usize {
        let of_pending = self.pending.iter().filter(|(subject, pending)| is_meant(subject, &pending.email));
        let of_pending: Vec<_> = of_pending.map(|(subject, _)| subject.clone()).collect();
        of_pending.iter().for_each(|subject| self.drop_pending(subject, writes));
        let of_registered = self.registered.iter().filter(|(subject, registered)| is_meant(subject, &registered.email));
        let of_registered: Vec<_> = of_registered.map(|(subject, _)| subject.clone()).collect();
        for subject in &of_registered {
            self.registered.remove(subject);
            writes.push(erase(row_name(REGISTERED, subject)));
        }
        of_pending.len() + of_registered.len()
    }

    /// Returns when [`Registrations::next_mail`] or [`Registrations::handle_timeout`] has something to do, if ever.
    pub fn deadline(&self) -> Option<UnixMillis> {
        let of_pending = |pending: &Pending| {
            if pending.waits_for_mail() { pending.next_at.min(pending.ends_at) } else { pending.ends_at }
        };
        self.pending.values().map(of_pending).min()
    }

    /// Forgets what has ended. Early or repeated, nothing happens.
    pub fn handle_timeout(&mut self, now: UnixMillis, writes: &mut Vec<RegistrationWrite>) {
        for pending in self.pending.values_mut() {
            // A clock that was set back keeps no link longer.
            pending.ends_at = pending.ends_at.min(now.after(TOKEN_LIFETIME));
        }
        let ended = self.pending.iter().filter(|(_, pending)| pending.ends_at <= now);
        let ended: Vec<_> = ended.map(|(subject, _)| subject.clone()).collect();
        ended.iter().for_each(|subject| self.drop_pending(subject, writes));
    }
}

fn write_pending(pending: &Pending) -> String {
    let Pending { email, issued_at, ends_at, tries, hash, is_mailed, .. } = pending;
    let email = quoted(email.as_str());
    let token = hash.map(|hash| format!(r#","token":"{hash}""#)).unwrap_or_default();
    format!(
        r#"{{"email":{email},"endsAt":{ends_at},"issuedAt":{issued_at},"mailed":{is_mailed}{token},"tries":{tries}}}"#
    )
}

fn read_pending(row: &str) -> Result<Option<Pending>, FieldError> {
    let mut fields = Fields::parse(row)?;
    let (email, ends_at) = (EmailAddress::parse(&fields.text("email")?), fields.time("endsAt")?);
    let (issued_at, mailed) = (fields.time("issuedAt")?, fields.optional_flag("mailed")?);
    let (token, tries) = (fields.optional_text("token")?, u32::try_from(fields.number("tries")?).ok());
    fields.end()?;
    let hash = token.map(|token| base64::decode_array(&token).map(Bytes));
    let (Some(email), Some(is_mailed), Some(tries), false) = (email, mailed, tries, hash == Some(None)) else {
        return Ok(None);
    };
    let next_at = UnixMillis::saturating(0);
    let hash = hash.flatten();
    Ok(Some(Pending { email, issued_at, ends_at, tries, hash, is_mailed, token: None, next_at, is_in_flight: false }))
}

fn write_registered(Registered { email, issued_at, verified_at }: &Registered) -> String {
    format!(r#"{{"email":{},"issuedAt":{issued_at},"verifiedAt":{verified_at}}}"#, quoted(email.as_str()))
}

fn read_registered(row: &str) -> Result<Option<Registered>, FieldError> {
    let mut fields = Fields::parse(row)?;
    let email = EmailAddress::parse(&fields.text("email")?);
    let (issued_at, verified_at) = (fields.time("issuedAt")?, fields.time("verifiedAt")?);
    fields.end()?;
    Ok(email.map(|email| Registered { email, issued_at, verified_at }))
}
