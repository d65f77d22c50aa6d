//! Each rule of what is remembered, by the case that it is there for.

use std::collections::BTreeMap;
use std::time::Duration;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::network::{NetworkHash, NetworkPath};
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::registration::limits::{KEYS_PER_MAILBOX, MAIL_TRIES};
use rendezvous_protocol::registration::{
    Due, EmailAddress, MailOutcome, NotConfirmed, Registration, RegistrationPayload, RegistrationWrite, Registrations,
    Token, TooManyMails, Unsent,
};
use rendezvous_protocol::time::UnixMillis;

/// A day's beginning.
const START: UnixMillis = UnixMillis::saturating(1_700_006_400_000);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn path(site: u64, provider: u64) -> NetworkPath {
    let hash = |number: u64| NetworkHash::from_bytes(number.to_be_bytes());
    NetworkPath { provider: hash(1_000 + provider), site: hash(100 + site), household: hash(1) }
}

pub(crate) fn registration(seed: u8, email: &str, issued_at: UnixMillis) -> Registration {
    let payload = RegistrationPayload {
        audience: Origin::parse("https://beacon.example").unwrap(),
        community: Community::new("chess").unwrap(),
        email: EmailAddress::parse(email).unwrap(),
        issued_at,
    };
    Registration::sign(payload, &PrivateKey::from_seed(&[seed; 32])).unwrap()
}

/// Applies writes to what is on disk.
pub(crate) fn store(rows: &mut BTreeMap<String, String>, writes: Vec<RegistrationWrite>) {
    for RegistrationWrite { name, row } in writes {
        match row {
            Some(row) => rows.insert(name, row),
            None => rows.remove(&name),
        };
    }
}

/// The state with its disk.
struct World {
    state: Registrations,
    rows: BTreeMap<String, String>,
    tokens: u8,
}

impl World {
    fn new(mails_per_day: u32) -> Self {
        Self { state: Registrations::restore(mails_per_day, []).unwrap(), rows: BTreeMap::new(), tokens: 0 }
    }

    fn with<T>(&mut self, work: impl FnOnce(&mut Registrations, &mut Vec<RegistrationWrite>) -> T) -> T {
        let mut writes = Vec::new();
        let done = work(&mut self.state, &mut writes);
        store(&mut self.rows, writes);
        done
    }

    fn ask(&mut self, now: UnixMillis, site: u64, seed: u8, email: &str) -> Result<(), TooManyMails> {
        let registration = registration(seed, email, now);
        self.with(|state, writes| state.ask(now, path(site, site), &registration, writes))
    }

    fn next_mail(&mut self, now: UnixMillis) -> Option<Due> {
        self.tokens += 1;
        let token = Token::from_random([self.tokens; 32]);
        self.with(|state, writes| state.next_mail(now, token, writes))
    }

    fn mailed(&mut self, now: UnixMillis, due: &Due, outcome: MailOutcome) -> Result<(), Unsent> {
        self.with(|state, writes| state.mailed(now, due, outcome, u8::MAX, writes))
    }

    /// Asks, and sends the mail.
    fn link(&mut self, now: UnixMillis, seed: u8, email: &str) -> Token {
        self.ask(now, u64::from(seed), seed, email).unwrap();
        let due = self.next_mail(now).unwrap();
        assert_eq!(self.mailed(now, &due, MailOutcome::Sent), Ok(()));
        due.token
    }

    fn confirm(&mut self, now: UnixMillis, token: Token) -> Result<(), NotConfirmed> {
        self.with(|state, writes| state.confirm(now, &token, writes)).map(|_| ())
    }

    fn restart(&mut self) {
        self.state = Registrations::restore(1_000, self.rows.clone()).unwrap();
    }

    fn registered(&self) -> Vec<String> {
        self.state.registered().map(|(_, registered)| registered.email.as_str().to_owned()).collect()
    }
}

#[test]
fn a_link_is_good_once_and_for_an_hour_and_looking_at_it_changes_nothing() {
    let mut world = World::new(100);
    let token = world.link(START, 1, "a@b.example");
    let before = world.rows.clone();
    for _ in 0..3 {
        let about = world.state.look(START.after(HOUR - Duration::from_millis(1)), &token).unwrap();
        assert_eq!(about.email.as_str(), "a@b.example");
    }
    assert!(world.registered().is_empty() && world.rows == before);
    assert_eq!(world.state.look(START.after(HOUR), &token), Err(NotConfirmed::Ended));
    assert_eq!(world.confirm(START.after(HOUR), token), Err(NotConfirmed::Ended));
    assert_eq!(world.confirm(START.after(HOUR / 2), token), Ok(()));
    assert_eq!(world.registered(), ["a@b.example"]);
    assert_eq!(world.confirm(START.after(HOUR / 2), token), Err(NotConfirmed::Ended));
    assert_eq!(world.confirm(START, Token::from_random([99; 32])), Err(NotConfirmed::Ended));
}

#[test]
fn no_secret_of_a_link_is_stored() {
    let mut world = World::new(100);
    let token = world.link(START, 1, "a@b.example");
    let stored = format!("{:?}", world.rows);
    assert!(stored.contains("\\\"token\\\""), "{stored}");
    assert!(!stored.contains(&token.to_text()) && !format!("{token:?}").contains(&token.to_text()));
    assert_eq!(token.to_text().parse(), Ok(token));
    let text = token.to_text();
    for text in ["", "x", text.get(1..).unwrap(), &text.to_uppercase().replace('0', "A")] {
        assert!(text.parse::<Token>().is_err(), "{text}");
    }
}

#[test]
fn of_two_registrations_of_one_key_the_later_counts_and_a_repeated_one_takes_no_link_away() {
    let mut world = World::new(100);
    let first = world.link(START, 1, "a@b.example");
    let later = START.after(Duration::from_secs(60));
    let second = world.link(later, 1, "c@d.example");
    assert_eq!(world.confirm(later, first), Err(NotConfirmed::Ended));
    // Somebody has seen the first, and hands it in again.
    let repeated = registration(1, "a@b.example", START);
    assert_eq!(world.with(|state, writes| state.ask(later, path(9, 9), &repeated, writes)), Ok(()));
    assert_eq!(world.next_mail(later), None);
    assert_eq!(world.confirm(later, second), Ok(()));
    let third = world.link(later.after(Duration::from_secs(1)), 1, "e@f.example");
    assert_eq!(world.registered(), ["c@d.example"], "until the other address is confirmed");
    assert_eq!(world.confirm(later.after(Duration::from_secs(2)), third), Ok(()));
    assert_eq!(world.registered(), ["e@f.example"]);
}

#[test]
fn a_mailbox_has_six_mails_a_day_and_two_that_one_site_asks_for_and_the_answer_is_the_same() {
    let mut world = World::new(1_000);
    let mut mails = |site: u64, seed: u8, email: &str, now: UnixMillis| {
        assert_eq!(world.ask(now, site, seed, email), Ok(()));
        world.next_mail(now).is_some()
    };
    let spellings = ["v@a.example", "V@a.example", "v+1@A.example"];
    let of_one: Vec<_> = (0..3).map(|number| mails(1, number + 1, spellings[usize::from(number)], START)).collect();
    assert_eq!(of_one, [true, true, false]);
    let of_others: Vec<_> =
        (0..6).map(|number| mails(2 + u64::from(number), number + 10, "v@a.example", START)).collect();
    assert_eq!(of_others, [true, true, true, true, false, false]);
    assert!(mails(1, 50, "w@a.example", START), "another mailbox");
    assert!(mails(1, 51, "v@a.example", START.after(DAY)), "another day");
}

#[test]
fn a_site_and_a_provider_have_their_part_of_a_day_and_ask_for_it_whatever_comes_of_it() {
    let mut world = World::new(64);
    let mut ask = |site: u64, provider: u64, seed: u8| {
        let registration = registration(seed, "v@a.example", START);
        world.with(|state, writes| state.ask(START, path(site, provider), &registration, writes)).is_ok()
    };
    // 64 / 16 of a site, 64 / 4 of a provider. Most of these ask for a mail that is not sent.
    assert_eq!((0..6).filter(|seed| ask(1, 1, seed + 1)).count(), 4);
    assert_eq!((0..20).filter(|seed| ask(100 + u64::from(*seed), 1, seed + 20)).count(), 12);
    let all = (0..80).filter(|seed| ask(200 + u64::from(*seed), 200 + u64::from(*seed), seed + 50)).count();
    assert_eq!(all, 64 - 16);
    let wait = world.ask(START.after(HOUR), 999, 250, "w@a.example").unwrap_err().retry_after;
    assert_eq!(wait, DAY - HOUR);
    assert_eq!(world.ask(START.after(DAY), 999, 250, "w@a.example"), Ok(()));
    assert_eq!(
        world.rows.keys().filter(|name| name.starts_with("mails/")).count(),
        1,
        "of the day before nothing is left"
    );
}

#[test]
fn it_takes_many_networks_to_use_up_a_day_and_each_that_comes_has_something() {
    let registration = registration(1, "v@a.example", START);
    // How much of a day each network has that asks for as much as it gets, until nothing is left.
    let shares = |path_of: &dyn Fn(u64, u64) -> NetworkPath| {
        let mut world = World::new(200);
        let mut ask =
            |path| world.with(|state, writes| state.ask(START, path, &registration, writes)).map_or(0, |()| 1);
        let each = (0..).map(|network| (0..200).map(|time| ask(path_of(network, time))).sum::<u32>());
        each.take_while(|share| *share > 0).collect::<Vec<_>>()
    };
    let of_sites = shares(&|site, _| path(site, site));
    assert_eq!((of_sites.len(), &of_sites[..3], of_sites[46]), (48, &[12, 11, 11][..], 2));
    let of_providers = shares(&|provider, site| path(1_000 * provider + site, provider));
    assert_eq!((of_providers.len(), &of_providers[..3], of_providers[14]), (16, &[50, 37, 28][..], 2));
}

#[test]
fn what_was_not_certainly_mailed_is_mailed_after_a_restart_with_another_link() {
    let mut world = World::new(100);
    world.ask(START, 1, 1, "a@b.example").unwrap();
    world.restart();
    let first = world.next_mail(START).expect("killed before the mail");
    assert_eq!(world.next_mail(START), None, "it is on its way");
    world.restart();
    let second = world.next_mail(START).expect("killed while it was on its way");
    assert_ne!(first.token, second.token);
    assert_eq!(world.mailed(START, &first, MailOutcome::Sent), Ok(()), "of the process before: nothing happens");
    assert_eq!(world.mailed(START, &second, MailOutcome::Sent), Ok(()));
    world.restart();
    assert_eq!(world.next_mail(START), None);
    assert_eq!(world.confirm(START, first.token), Err(NotConfirmed::Ended));
    assert_eq!(world.confirm(START, second.token), Ok(()));
    world.restart();
    assert_eq!(world.registered(), ["a@b.example"]);
}

#[test]
fn a_mail_is_tried_five_times_with_one_link_and_a_refused_one_once() {
    let mut world = World::new(100);
    world.ask(START, 1, 1, "a@b.example").unwrap();
    let (mut now, mut links) = (START, Vec::new());
    for _ in 1..MAIL_TRIES {
        let due = world.next_mail(now).unwrap();
        assert_eq!(world.mailed(now, &due, MailOutcome::Deferred), Ok(()));
        assert_eq!(world.next_mail(now), None);
        assert_eq!(world.state.look(now, &due.token).map(|_| ()), Ok(()), "a server may have taken it all the same");
        links.push(due.token);
        now = world.state.deadline().unwrap();
    }
    let due = world.next_mail(now).unwrap();
    assert!(links.iter().all(|link| *link == due.token));
    assert_eq!(world.mailed(now, &due, MailOutcome::Deferred), Err(Unsent));
    assert_eq!((world.next_mail(now), world.state.deadline()), (None, None));
    world.ask(now, 2, 2, "c@d.example").unwrap();
    let due = world.next_mail(now).unwrap();
    assert_eq!(world.mailed(now, &due, MailOutcome::Refused), Err(Unsent));
    assert!(!world.rows.keys().any(|name| name.starts_with("pending/")));
}

#[test]
fn a_mailbox_confirms_so_many_keys_of_a_community_and_room_is_made_by_removing() {
    let mut world = World::new(1_000);
    let mut now = START;
    for seed in 0..KEYS_PER_MAILBOX as u8 {
        now = now.after(DAY);
        let token = world.link(now, seed + 1, "a@b.example");
        assert_eq!(world.confirm(now, token), Ok(()));
    }
    now = now.after(DAY);
    let token = world.link(now, 100, "a@b.example");
    assert_eq!(world.confirm(now, token), Err(NotConfirmed::MailboxFull));
    let first = PrivateKey::from_seed(&[1; 32]).public_key();
    assert_eq!(world.with(|state, writes| state.remove(|subject, _| subject.public_key == first, writes)), 1);
    assert_eq!(world.confirm(now, token), Ok(()), "the link is good still");
    let again = world.link(now.after(Duration::from_secs(1)), 100, "a@b.example");
    assert_eq!(world.confirm(now.after(Duration::from_secs(1)), again), Ok(()), "takes no more room");
    assert_eq!(world.registered().len(), KEYS_PER_MAILBOX);
    assert_eq!(world.with(|state, writes| state.remove(|_, email| email.mailbox() == "a@b.example", writes)), 16);
    assert!(world.rows.keys().all(|name| name.starts_with("mails")), "{:?}", world.rows.keys());
}

#[test]
fn a_clock_that_is_set_back_keeps_no_link_longer_and_lets_mail_go() {
    let mut world = World::new(100);
    let token = world.link(START.after(DAY), 1, "a@b.example");
    world.with(|state, writes| state.handle_timeout(START, writes));
    assert!(world.state.look(START, &token).is_ok());
    assert_eq!(world.state.look(START.after(HOUR), &token), Err(NotConfirmed::Ended));
    world.with(|state, writes| state.handle_timeout(START.after(HOUR), writes));
    assert_eq!(world.state.deadline(), None);
    world.ask(START.after(DAY), 2, 2, "c@d.example").unwrap();
    assert_eq!(world.next_mail(START), None);
    assert!(world.next_mail(START.after(Duration::from_secs(600))).is_some());
}

#[test]
fn a_row_that_cannot_be_read_is_named_and_not_repeated() {
    let mut world = World::new(100);
    let token = world.link(START, 1, "a@b.example");
    world.confirm(START, token).unwrap();
    world.link(START, 2, "c@d.example");
    for name in world.rows.keys() {
        let mut rows = world.rows.clone();
        rows.insert(name.clone(), r#"{"email":"secret@b.example"}"#.to_owned());
        let error = Registrations::restore(100, rows).unwrap_err().to_string();
        assert!(error.contains(name.as_str()) && !error.contains("secret"), "{error}");
    }
    for name in ["other/chess/x", "pending/chess", "pending/ch ess/x", "mails/x", ""] {
        assert!(Registrations::restore(100, [(name.to_owned(), "1 1".to_owned())]).is_err(), "{name}");
    }
}

#[test]
fn where_another_has_written_a_mail_on_its_way_stays_so_and_what_was_removed_is_gone() {
    let mut world = World::new(1_000);
    let kept = world.link(START, 1, "a@b.example");
    world.ask(START, 2, 2, "c@b.example").unwrap();
    let due = world.next_mail(START).unwrap();
    let mut writes = Vec::new();
    let mut other = Registrations::restore(0, world.rows.clone()).unwrap();
    assert_eq!(other.remove(|_, email| email.as_str() == "a@b.example", &mut writes), 1);
    store(&mut world.rows, writes);
    world.state.reread(world.rows.clone()).unwrap();
    assert_eq!(world.confirm(START, kept), Err(NotConfirmed::Ended));
    assert_eq!(world.next_mail(START), None, "it is on its way");
    assert_eq!(world.mailed(START, &due, MailOutcome::Deferred), Ok(()));
    world.state.reread(world.rows.clone()).unwrap();
    assert_eq!(world.next_mail(START), None, "not at once");
    let again = world.next_mail(START.after(Duration::from_secs(30))).unwrap();
    assert_eq!(again.token, due.token, "the link of the first try stays good");
    assert_eq!(world.confirm(START, again.token), Ok(()));
}

#[test]
fn a_try_that_could_not_be_written_was_not_made() {
    let mut world = World::new(1_000);
    world.ask(START, 1, 1, "a@b.example").unwrap();
    let lost = world.state.next_mail(START, Token::from_random([8; 32]), &mut Vec::new()).unwrap();
    world.state.reread(world.rows.clone()).unwrap();
    let due = world.next_mail(START).unwrap();
    assert_ne!(due.token, lost.token);
    assert_eq!(world.mailed(START, &due, MailOutcome::Deferred), Ok(()));
    let later = START.after(Duration::from_secs(30));
    world.state.next_mail(later, Token::from_random([9; 32]), &mut Vec::new()).unwrap();
    world.state.reread(world.rows.clone()).unwrap();
    assert_eq!(world.next_mail(later).map(|due| due.token), Some(due.token));
}

#[test]
fn where_another_has_written_no_network_has_another_share_of_the_day() {
    let mut world = World::new(32);
    world.ask(START, 1, 1, "a@b.example").unwrap();
    world.ask(START, 1, 2, "c@b.example").unwrap();
    assert!(world.ask(START, 1, 3, "d@b.example").is_err());
    world.state.reread(world.rows.clone()).unwrap();
    assert!(world.ask(START, 1, 3, "d@b.example").is_err());
    let unreadable = ("registered/chess".to_owned(), String::new());
    assert!(world.state.reread([unreadable]).is_err());
    assert!(world.next_mail(START).is_some(), "nothing has changed");
}
