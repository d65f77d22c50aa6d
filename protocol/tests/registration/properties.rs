//! Whatever happens in whatever order, the state does what a plain model does that counts by looking through everything.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::registration::{Due, MailOutcome, NotConfirmed, Registrations, Token};
use rendezvous_protocol::time::UnixMillis;

use crate::rules::{path, registration, store};

const START: UnixMillis = UnixMillis::saturating(1_700_006_400_000);
const HOUR: Duration = Duration::from_secs(3_600);
const MAILS_PER_DAY: u32 = 24;

#[derive(Clone, Debug)]
enum Step {
    Ask { seed: u8, mailbox: u8, site: u64, provider: u64, age_seconds: u64 },
    Send,
    Mailed { which: usize, outcome: u8 },
    Look { which: usize },
    Confirm { which: usize },
    Remove { seed: u8 },
    Pass { seconds: u64 },
    Reread,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1_u8..4, 0_u8..3, 0_u64..4, 0_u64..2, 0_u64..3).prop_map(|(seed, mailbox, site, provider, age_seconds)| {
            Step::Ask { seed, mailbox, site, provider, age_seconds }
        }),
        5 => Just(Step::Send),
        4 => (0_usize..8, 0_u8..4).prop_map(|(which, outcome)| Step::Mailed { which, outcome }),
        2 => (0_usize..8).prop_map(|which| Step::Look { which }),
        4 => (0_usize..8).prop_map(|which| Step::Confirm { which }),
        1 => (1_u8..4).prop_map(|seed| Step::Remove { seed }),
        3 => prop_oneof![1_u64..90, 600_u64..5_000, Just(86_400)].prop_map(|seconds| Step::Pass { seconds }),
        2 => Just(Step::Reread),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..80)
}

/// A registration that is not confirmed.
struct Open {
    mailbox: u8,
    issued_at: UnixMillis,
    ends_at: UnixMillis,
    tries: u32,
    link: Option<Token>,
    /// Whether this process has made the link.
    is_own: bool,
    is_sent: bool,
    is_in_flight: bool,
    not_before: UnixMillis,
}

/// Who has asked: the day, the site, the provider, and whether this process counts networks of it.
type Asking = (u64, u64, u64, bool);

#[derive(Default)]
struct Model {
    asked: Vec<Asking>,
    /// Mails: the day, the mailbox, the site, and the same.
    mails: Vec<(u64, u8, u64, bool)>,
    open: BTreeMap<PublicKey, Open>,
    registered: BTreeMap<PublicKey, (u8, UnixMillis)>,
}

fn email(mailbox: u8) -> String {
    format!("{}@a.example", char::from(b'a' + mailbox))
}

impl Model {
    fn ask(
        &mut self,
        now: UnixMillis,
        key: PublicKey,
        (mailbox, site, provider): (u8, u64, u64),
        issued_at: UnixMillis,
    ) -> bool {
        let day = now.as_u64() / 86_400_000;
        let count = |is_it: &dyn Fn(&Asking) -> bool| self.asked.iter().filter(|it| is_it(it)).count();
        let all = count(&|it| it.0 == day);
        let of_site = count(&|it| it.0 == day && it.1 == site && it.3);
        let of_provider = count(&|it| it.0 == day && it.2 == provider && it.3);
        let share = |own: usize, parts: usize| ((24 - (all - own).min(24)) / parts).max(2);
        if all >= 24 || of_site >= share(of_site, 16) || of_provider >= share(of_provider, 4) {
            return false;
        }
        self.asked.push((day, site, provider, true));
        let known = self.open.get(&key).map(|open| open.issued_at);
        let known = known.max(self.registered.get(&key).map(|(_, issued_at)| *issued_at));
        let of_mailbox = self.mails.iter().filter(|it| it.0 == day && it.1 == mailbox).count();
        let of_pair = self.mails.iter().filter(|it| it.0 == day && it.1 == mailbox && it.2 == site && it.3).count();
        if known.is_some_and(|known| known >= issued_at) || of_mailbox >= 6 || of_pair >= 2 {
            return true;
        }
        self.mails.push((day, mailbox, site, true));
        let open = Open {
            mailbox,
            issued_at,
            ends_at: now.after(HOUR),
            tries: 0,
            link: None,
            is_own: false,
            is_sent: false,
            is_in_flight: false,
            not_before: now,
        };
        self.open.insert(key, open);
        true
    }

    /// Returns whose mail may be sent now.
    fn due(&self, now: UnixMillis) -> Vec<PublicKey> {
        let is_due = |(_, open): &(&PublicKey, &Open)| {
            !open.is_sent && !open.is_in_flight && open.tries < 5 && open.not_before <= now && now < open.ends_at
        };
        self.open.iter().filter(is_due).map(|(key, _)| *key).collect()
    }

    fn linked(&self, now: UnixMillis, token: Token) -> Option<PublicKey> {
        let mut found = self.open.iter().filter(|(_, open)| open.link == Some(token) && now < open.ends_at);
        found.next().map(|(key, _)| *key)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_the_model_does(steps in steps()) {
        let mut state = Registrations::restore(MAILS_PER_DAY, []).unwrap();
        let (mut model, mut rows, mut now) = (Model::default(), BTreeMap::new(), START);
        let (mut sent, mut tokens): (Vec<Due>, u64) = (Vec::new(), 0);
        for step in steps {
            let mut writes = Vec::new();
            match step {
                Step::Ask { seed, mailbox, site, provider, age_seconds } => {
                    let issued_at = UnixMillis::saturating(now.as_u64() - 1_000 * age_seconds);
                    let registration = registration(seed, &email(mailbox), issued_at);
                    let taken = state.ask(now, path(site, provider), &registration, &mut writes);
                    let key = registration.public_key();
                    prop_assert_eq!(taken.is_ok(), model.ask(now, key, (mailbox, site, provider), issued_at));
                }
                Step::Send => {
                    tokens += 1;
                    let mut random = [0; 32];
                    random[..8].copy_from_slice(&tokens.to_be_bytes());
                    let due = state.next_mail(now, Token::from_random(random), &mut writes);
                    let expected = model.due(now);
                    prop_assert_eq!(due.is_some(), !expected.is_empty());
                    if let Some(due) = due {
                        let key = due.subject.public_key;
                        prop_assert!(expected.contains(&key));
                        let open = model.open.get_mut(&key).unwrap();
                        let email = email(open.mailbox);
                        prop_assert_eq!(due.email.as_str(), email.as_str());
                        prop_assert!(!open.is_own || open.link == Some(due.token), "one link for all tries of a process");
                        if open.link != Some(due.token) {
                            open.ends_at = now.after(HOUR);
                        }
                        (open.link, open.is_own, open.is_in_flight) = (Some(due.token), true, true);
                        open.tries += 1;
                        sent.push(due);
                    }
                }
                Step::Mailed { which, outcome } => {
                    let Some(due) = sent.len().checked_sub(which + 1).and_then(|at| sent.get(at)) else { continue };
                    let outcome = match outcome {
                        0 | 1 => MailOutcome::Sent,
                        2 => MailOutcome::Deferred,
                        _ => MailOutcome::Refused,
                    };
                    let kept = state.mailed(now, due, outcome, u8::MAX, &mut writes);
                    let key = due.subject.public_key;
                    let open = model.open.get_mut(&key).filter(|open| open.link == Some(due.token) && open.issued_at == due.issued_at);
                    let Some(open) = open else {
                        prop_assert!(kept.is_ok());
                        continue;
                    };
                    open.is_in_flight = false;
                    match outcome {
                        MailOutcome::Sent => open.is_sent = true,
                        MailOutcome::Deferred if open.tries < 5 => {
                            open.not_before = now.after(Duration::from_secs(30 << (open.tries - 1)));
                        }
                        MailOutcome::Deferred | MailOutcome::Refused => {
                            model.open.remove(&key);
                        }
                    }
                    prop_assert_eq!(kept.is_ok(), model.open.contains_key(&key));
                }
                Step::Look { which } => {
                    let Some(due) = sent.len().checked_sub(which + 1).and_then(|at| sent.get(at)) else { continue };
                    let found = state.look(now, &due.token).map(|about| about.subject.public_key);
                    prop_assert_eq!(found.ok(), model.linked(now, due.token));
                }
                Step::Confirm { which } => {
                    let Some(due) = sent.len().checked_sub(which + 1).and_then(|at| sent.get(at)) else { continue };
                    let confirmed = state.confirm(now, &due.token, &mut writes);
                    let expected = model.linked(now, due.token);
                    prop_assert_eq!(confirmed.as_ref().ok().map(|it| it.subject.public_key), expected);
                    prop_assert!(confirmed.is_ok() || confirmed == Err(NotConfirmed::Ended));
                    if let Some(open) = expected.and_then(|key| model.open.remove(&key)) {
                        model.registered.insert(due.subject.public_key, (open.mailbox, open.issued_at));
                    }
                }
                Step::Remove { seed } => {
                    let key = registration(seed, "a@a.example", now).public_key();
                    let removed = state.remove(|subject, _| subject.public_key == key, &mut writes);
                    let expected = [model.open.remove(&key).is_some(), model.registered.remove(&key).is_some()];
                    prop_assert_eq!(removed, expected.into_iter().filter(|is_there| *is_there).count());
                }
                Step::Pass { seconds } => {
                    now = now.after(Duration::from_secs(seconds));
                    state.handle_timeout(now, &mut writes);
                    model.open.retain(|_, open| now < open.ends_at);
                }
                // As though nothing had been: what is on disk is what was written.
                Step::Reread => prop_assert_eq!(state.reread(rows.clone()), Ok(())),
                Step::Restart => {
                    state = Registrations::restore(MAILS_PER_DAY, rows.clone()).unwrap();
                    model.asked.iter_mut().for_each(|it| it.3 = false);
                    model.mails.iter_mut().for_each(|it| it.3 = false);
                    for open in model.open.values_mut() {
                        (open.is_own, open.is_in_flight, open.not_before) = (false, false, START);
                    }
                }
            }
            store(&mut rows, writes);
            let registered = |state: &Registrations| {
                let all = state.registered().map(|(subject, it)| (subject.public_key, (it.email.as_str().to_owned(), it.issued_at)));
                all.collect::<BTreeMap<_, _>>()
            };
            let expected: BTreeMap<_, _> =
                model.registered.iter().map(|(key, (mailbox, issued_at))| (*key, (email(*mailbox), *issued_at))).collect();
            prop_assert_eq!(&registered(&state), &expected);
            prop_assert_eq!(&registered(&Registrations::restore(MAILS_PER_DAY, rows.clone()).unwrap()), &expected);
        }
    }
}
