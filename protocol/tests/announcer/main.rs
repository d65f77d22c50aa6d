//! The announcer against simulated beacons and against a plain model, and its rules one by one.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    reason = "a test stops where it fails"
)]

mod model;
mod world;

use std::time::Duration;

use model::{CODES, Event, Known, Model};
use proptest::prelude::*;
use rendezvous_protocol::announcer::{
    Announcer, BACK_OFF_MAX, BeaconStatus, LIFETIME_MAX, RETRY_AFTER_MAX, Reply, Request, RequestOutcome,
    RequestProblem, TicketPacing, WAIT_MIN,
};
use rendezvous_protocol::community::Community;
use rendezvous_protocol::limits::{CLOCK_SKEW, TICKET_MAX_LIFETIME};
use rendezvous_protocol::ticket::{Purpose, Ticket, TicketRules};
use rendezvous_protocol::time::UnixMillis;
use serde_json::json;
use world::{
    HOUR, Link, MINUTES, PACING, SERVER, START, Server, World, hash, honest, identity, millis, moment, no_connection,
    nonce, reply, signed, wall_clock,
};

// ---- Against simulated beacons ----

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// With any number of beacons, whatever the clock here says and however it jumps.
    #[test]
    fn a_peer_is_listed_at_once_and_for_good_and_no_ticket_is_refused(
        servers in prop::collection::vec(honest(), 1..5),
        ahead in wall_clock(),
    ) {
        // One beacon alone cannot show that the clock here is far behind.
        let least = if servers.len() == 1 { -10_000 } else { i64::MIN };
        let ahead = (ahead.0.max(least), ahead.1, ahead.2.max(least));
        let mut world = World::new(servers, ahead);
        world.run(12 * MINUTES);
        for (server, served) in world.servers.iter().zip(&world.served) {
            prop_assert!(served.listed_at.is_some_and(|at| at <= 7_000 + 3 * server.delay), "{:?}", served.listed_at);
            prop_assert_eq!(&served.gaps, &[0_u64; 0]);
            prop_assert_eq!(&served.refused, &[""; 0]);
            // One each 45 to 85 s and no more.
            prop_assert!((8..=17).contains(&served.tickets().count()), "{}", served.tickets().count());
        }
    }

    /// More than a minute without the beacon, or without its answers, is not noticed on its list.
    #[test]
    fn an_outage_of_75_seconds_makes_no_gap(
        server in honest(),
        begin in 5_000..6 * MINUTES,
        length in 0..75_000_u64,
        patience in 1..10_000_u64,
        outage_is in prop_oneof![Just(Link::Dead), Just(Link::Mute)],
    ) {
        let server = Server { outage: begin..begin + length, outage_is, patience, ..server };
        let mut world = World::new(vec![server, SERVER], (0, 0, 0));
        world.run(10 * MINUTES);
        for served in &world.served {
            prop_assert!(served.listed_at.is_some());
            prop_assert_eq!(&served.gaps, &[0_u64; 0]);
            // Above all no ANNOUNCE_TOO_SOON, though it may have taken tickets that it never answered.
            prop_assert_eq!(&served.refused, &[""; 0]);
        }
    }

    /// A beacon that is back is found within the longest wait.
    #[test]
    fn a_beacon_that_comes_back_lists_the_peer_again(server in honest(), begin in 0..2 * MINUTES, patience in 1..10_000_u64) {
        let back = begin + 20 * MINUTES;
        let server = Server { outage: begin..back, outage_is: Link::Dead, patience, ..server };
        let mut world = World::new(vec![server], (0, 0, 0));
        world.run(back + 2 * MINUTES);
        let [served] = &world.served[..] else { panic!() };
        let last_gap = served.gaps.last().copied().or(served.listed_at).unwrap();
        prop_assert!(last_gap <= back + millis(BACK_OFF_MAX) + patience + 4_000, "{last_gap}");
        let gaps: Vec<_> = served.requests.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        // The longest is the usual one: 75 s, a tenth of that, and the ways there and back.
        prop_assert!(gaps.iter().all(|gap| *gap <= 85_000 + patience + 4_000), "{gaps:?}");
    }

    /// Whatever another beacon does, the requests to this one are made at the same moments.
    #[test]
    fn a_failing_beacon_delays_no_other(
        server in honest(),
        lie in -2 * HOUR..2 * HOUR,
        patience in 1..30_000_u64,
        outage_is in prop_oneof![Just(Link::Dead), Just(Link::Mute), Just(Link::Good)],
    ) {
        let moments = |other: Server| {
            let mut world = World::new(vec![server.clone(), other], (0, 0, 0));
            world.run(6 * MINUTES);
            world.served[0].requests.iter().map(|(at, _)| *at).collect::<Vec<_>>()
        };
        let bad = Server { lie, patience, outage: 0..u64::MAX, outage_is, ..SERVER };
        prop_assert_eq!(moments(bad), moments(SERVER));
    }

    /// Whatever beacons do that were found, and however many there are of them, the configured ones are asked the same at the
    /// same moments, and none that was found gets a ticket from the future.
    #[test]
    fn beacons_that_were_found_have_no_voice(
        configured in prop::collection::vec(honest(), 0..3),
        found in prop::collection::vec((honest(), -12 * HOUR..12 * HOUR), 1..6),
        ahead in -10_000..1_000_i64,
    ) {
        let world = |found: &[(Server, i64)]| {
            let liars = found.iter().map(|(server, lie)| Server { lie: *lie, ..server.clone() });
            let mut world = World::new(configured.iter().cloned().chain(liars).collect(), (ahead, 0, ahead));
            world.announcer = Announcer::new(identity(), PACING, configured.len());
            (0..found.len()).for_each(|place| world.announcer.begin_found(place));
            world.run(6 * MINUTES);
            world
        };
        let tickets = |world: &World| {
            let dates = |ticket: &Ticket| (ticket.payload().issued_at, ticket.payload().expires_at);
            let of_one = |served: &world::Served| served.tickets().map(|(at, ticket)| (at, dates(ticket))).collect::<Vec<_>>();
            world.served.iter().take(configured.len()).map(of_one).collect::<Vec<_>>()
        };
        let with_them = world(&found);
        prop_assert_eq!(tickets(&with_them), tickets(&world(&[])));
        for served in &with_them.served {
            prop_assert!(served.latest_date().is_none_or(|latest| latest <= 3_500), "{:?}", served.latest_date());
        }
    }

    /// What one liar among several gets: nothing that it could use later, and nobody else is harmed. With two
    /// beacons that takes a clock here that is right, with more it does not.
    #[test]
    fn a_beacon_that_lies_about_the_time_gets_no_ticket_from_the_future(
        mut servers in prop::collection::vec(honest(), 1..4),
        liar in honest(),
        lie in prop_oneof![-12 * HOUR..-HOUR / 60, HOUR / 60..12 * HOUR],
        place in 0..4_usize,
        ahead in wall_clock(),
    ) {
        let place = place.min(servers.len());
        servers.insert(place, Server { lie, ..liar });
        let ahead = if servers.len() == 2 { (500, 0, 500) } else { ahead };
        // It cannot know what is wrong here before it has seen a ticket.
        prop_assume!([ahead.0, ahead.2].iter().all(|ahead| lie.abs_diff(*ahead) > 20_000));
        let mut world = World::new(servers, ahead);
        world.run(8 * MINUTES);
        for (server, served) in world.servers.iter().zip(&world.served) {
            prop_assert!(served.latest_date().is_none_or(|latest| latest <= 3_500), "{:?}", served.latest_date());
            if server.lie == 0 {
                prop_assert!(served.listed_at.is_some_and(|at| at <= 10_000), "{:?}", served.listed_at);
                prop_assert_eq!(&served.gaps, &[0_u64; 0]);
            }
        }
    }

    /// Not even where nobody contradicts it.
    #[test]
    fn a_beacon_alone_gets_no_ticket_that_is_later_than_the_clock_here_by_more_than_clocks_differ(
        alone in honest(),
        lie in 20_000..600 * 24 * HOUR,
        dead in 0..2_usize,
    ) {
        let dead = vec![Server { outage: 0..u64::MAX, outage_is: Link::Dead, ..SERVER }; dead];
        let mut world = World::new([vec![Server { lie, ..alone }], dead].concat(), (0, 0, 0));
        world.run(5 * MINUTES);
        let latest = world.served[0].latest_date();
        prop_assert!(latest.is_some_and(|latest| latest <= millis(CLOCK_SKEW) as i64 + 1_000), "{latest:?}");
    }

    /// A ticket from the past can be of use to nobody but that beacon.
    #[test]
    fn a_beacon_whose_clock_is_slow_gets_tickets_by_its_clock(
        servers in prop::collection::vec(honest(), 2..4),
        slow in honest(),
        ahead in -12 * HOUR..0,
    ) {
        let mut world = World::new([vec![Server { ahead, ..slow }], servers].concat(), (0, 0, 0));
        world.run(8 * MINUTES);
        for served in &world.served {
            prop_assert!(served.listed_at.is_some_and(|at| at <= 10_000), "{:?}", served.listed_at);
            prop_assert_eq!(&served.gaps, &[0_u64; 0]);
            prop_assert_eq!(&served.refused, &[""; 0]);
        }
    }

    #[test]
    fn waits_after_failures_are_bounded_whatever_a_server_asks_for(
        answers in prop::collection::vec((any::<bool>(), any::<Option<u64>>(), any::<u8>()), 1..60),
    ) {
        let mut announcer = Announcer::new(identity(), PACING, 1);
        let mut at = 0;
        for (refuses, retry_after, random) in answers {
            let (number, request) = announcer.due(moment(at, 0), &nonce(at)).unwrap();
            prop_assert!(announcer.due(moment(at, 0), &nonce(at)).is_none());
            let retry_after = retry_after.map(Duration::from_millis);
            let problem = RequestProblem { code: "THROTTLED".into(), detail: String::new() };
            let answer = if refuses {
                RequestOutcome::Reply(Reply::refused("THROTTLED", String::new(), retry_after))
            } else {
                RequestOutcome::Failed { problem, retry_after }
            };
            announcer.answered(moment(at, 0), number, answer, random);
            let wait = announcer.next_deadline(moment(at, 0)).unwrap() - Duration::from_millis(at);
            let most = if retry_after.is_some() { RETRY_AFTER_MAX + WAIT_MIN } else { BACK_OFF_MAX };
            prop_assert!(wait <= most, "{wait:?}");
            prop_assert!(wait >= WAIT_MIN || request == Request::Time, "{wait:?}");
            at += millis(wait);
        }
    }
}

// ---- Against the model ----

/// What comes of a request, and how long that takes in milliseconds.
fn events() -> impl Strategy<Value = Vec<(Event, u64, u64, u8)>> {
    let millis = || prop::option::of(0..400_000_u64);
    let event = prop_oneof![
        4 => (millis(), prop::bool::weighted(0.8)).prop_map(|(after, listed)| Event::Done { after, listed }),
        3 => millis().prop_map(|retry_after| Event::Failed { retry_after }),
        3 => (prop::sample::select(CODES), millis()).prop_map(|(code, after)| Event::Refused { code, after }),
    ];
    // Beyond the deadline: a host may be late. And a request may take its time.
    prop::collection::vec((event, 0..20_000_u64, 0..30_000_u64, any::<u8>()), 1..60)
}

proptest! {
    /// One beacon whose clock is right, as this machine's is.
    #[test]
    fn every_request_is_the_one_of_the_model_at_its_moment(
        events in events(),
        lifetime in 1_000..200_000_u64,
        interval in 0..100_000_u64,
    ) {
        let pacing = TicketPacing {
            lifetime: Duration::from_millis(lifetime),
            interval: Duration::from_millis(interval),
        };
        let mut announcer = Announcer::new(identity(), pacing, 1);
        let mut model = Model::new(lifetime, interval);
        let mut at = 0;
        for (event, late, took, random) in events {
            let deadline = announcer.next_deadline(moment(at, 0)).unwrap();
            prop_assert_eq!(deadline.as_nanos(), u128::from(model.due_at));
            let due = millis(deadline);
            if due > at {
                prop_assert_eq!(announcer.due(moment(due - 1, 0), &nonce(at)), None);
            }
            at = at.max(due) + late;
            let (_, request) = announcer.due(moment(at, 0), &nonce(at)).unwrap();
            prop_assert_eq!(announcer.due(moment(at, 0), &nonce(at)), None);
            prop_assert_eq!(announcer.next_deadline(moment(at, 0)), None);
            prop_assert_eq!(dates_of(&request), model.request(at));
            // The beacon reads its clock in the middle.
            let (read_at, answered_at) = (at + took, at + 2 * took);
            announcer.answered(moment(answered_at, 0), 0, event.outcome(read_at), random);
            model.answered(event, at, read_at, answered_at, random);
            at = answered_at;
            prop_assert_eq!(announcer.clock_is_behind(moment(at, 0)), 0);
            prop_assert_eq!(Known::of(announcer.statuses().next().unwrap()), model.known);
        }
        announcer.stop();
        let leave = announcer.due(moment(at, 0), &nonce(at)).map(|(_, request)| dates_of(&request));
        prop_assert_eq!(leave, model.leave(at));
        prop_assert_eq!(announcer.is_done(), leave.is_none());
    }
}

/// When a request's ticket begins and ends, in milliseconds since the beginning.
fn dates_of(request: &Request) -> Option<(u64, u64)> {
    let (Request::Announce(ticket) | Request::Leave(ticket)) = request else { return None };
    let since_start = |time: UnixMillis| time.as_u64() - START as u64;
    Some((since_start(ticket.payload().issued_at), since_start(ticket.payload().expires_at)))
}

// ---- Against the specification ----

/// The numbers of the program in the table of section 11 are the ones here.
#[test]
fn the_specification_has_these_numbers() {
    const SPECIFICATION: &str = include_str!("../../README.md");
    let (_, section) = SPECIFICATION.split_once("\n## 11. Announcing\n").unwrap();
    let row = |name: &str| {
        let row = section.lines().find_map(|line| line.strip_prefix(&format!("| {name} | "))).expect(name);
        row.split(" | ").next().unwrap().to_owned()
    };
    for (name, duration) in [
        ("life of a ticket", TICKET_MAX_LIFETIME),
        ("`Retry-After` is heeded up to", RETRY_AFTER_MAX),
        ("`retryAfterMs` of `ANNOUNCE_TOO_SOON` is heeded up to", RETRY_AFTER_MAX),
        ("pace, at least", WAIT_MIN),
        ("longest back-off", BACK_OFF_MAX),
    ] {
        let millis = row(name).trim_end_matches(" ms").replace(',', "").parse().map(Duration::from_millis);
        assert_eq!(millis, Ok(duration), "{name}");
    }
}

// ---- The rules, one by one ----

/// The next request to the only beacon, when it is due.
fn next(announcer: &mut Announcer, at: &mut u64) -> Request {
    *at = (*at).max(millis(announcer.next_deadline(moment(*at, 0)).unwrap()));
    announcer.due(moment(*at, 0), &nonce(*at)).unwrap().1
}

fn ticket_of(request: Request) -> Ticket {
    match request {
        Request::Announce(ticket) | Request::Leave(ticket) => ticket,
        Request::Time => panic!("no ticket"),
    }
}

fn done(at: u64) -> RequestOutcome {
    reply(&json!({ "ok": true, "serverTime": START + at as i64, "announceAfterMs": 45_000 }))
}

fn refusal(at: u64, code: &str) -> RequestOutcome {
    reply(&json!({ "ok": false, "code": code, "detail": "why", "serverTime": START + at as i64 }))
}

/// An announcer for one beacon that has told it the time.
fn with_one_beacon() -> Announcer {
    let mut announcer = Announcer::new(identity(), PACING, 1);
    assert_eq!(next(&mut announcer, &mut 0), Request::Time);
    assert_eq!(announcer.answered(moment(0, 0), 0, done(0), 0), None);
    announcer
}

#[test]
fn a_ticket_is_for_the_community_alone_and_is_sent_as_the_wire_says() {
    let request = next(&mut with_one_beacon(), &mut 0);
    let body = request.body().unwrap();
    let ticket = ticket_of(request);
    assert_eq!(body, format!("{{\"ticket\":{}}}", ticket.to_json()));
    let community = Community::new("mainnet").unwrap();
    assert_eq!(ticket.payload().community.as_ref(), Some(&community));
    assert!(ticket.verify(&TicketRules::new(&community), moment(0, 0).wall).is_ok());
}

#[test]
fn a_ticket_that_was_not_answered_is_sent_again_until_half_of_its_life_is_over() {
    let (mut announcer, mut at) = (with_one_beacon(), 0);
    let first = ticket_of(next(&mut announcer, &mut at));
    while at < 90_000 {
        announcer.answered(moment(at, 0), 0, no_connection(), 255);
        let again = ticket_of(next(&mut announcer, &mut at));
        assert_eq!(again == first, at < 90_000, "{at}");
    }
}

#[test]
fn news_is_what_changes_and_nothing_else() {
    let (mut announcer, mut at) = (with_one_beacon(), 0);
    let mut say = |answer: fn(u64) -> RequestOutcome| {
        next(&mut announcer, &mut at);
        announcer.answered(moment(at, 0), 0, answer(at), 0).is_some()
    };
    assert!(say(done));
    assert!(!say(done));
    assert!(say(|_| no_connection()));
    assert!(!say(|_| no_connection()));
    assert!(say(|at| refusal(at, "THROTTLED")));
    assert!(say(done));
}

fn no_place(at: u64) -> RequestOutcome {
    let body = json!({ "ok": true, "accepted": false, "listed": false, "serverTime": START + at as i64, "announceAfterMs": 45_000 });
    reply(&body)
}

#[test]
fn a_beacon_without_a_place_is_asked_again_at_its_pace_with_another_ticket() {
    let (mut announcer, mut at) = (with_one_beacon(), 0);
    let mut tickets = Vec::new();
    for (answer, news) in
        [(no_place as fn(u64) -> RequestOutcome, true), (no_place, false), (done, true), (no_place, true)]
    {
        tickets.push(ticket_of(next(&mut announcer, &mut at)).payload().issued_at);
        let status = announcer.answered(moment(at, 0), 0, answer(at), 0).cloned();
        assert_eq!(status.is_some(), news, "{status:?}");
        assert_eq!(announcer.next_deadline(moment(at, 0)).map(millis), Some(at + 45_000));
    }
    assert!(tickets.is_sorted_by(|one, other| one < other), "{tickets:?}");
    let status = announcer.statuses().next().cloned();
    assert_eq!(status, Some(BeaconStatus::Unlisted { retry_in: Duration::from_secs(45) }));
    // It was not a failure, and the ticket before is not listed any more.
    next(&mut announcer, &mut at);
    let status = announcer.answered(moment(at, 0), 0, no_connection(), 0).cloned();
    let Some(BeaconStatus::Failing { failures: 1, listed_until: None, .. }) = status else { panic!("{status:?}") };
    // A peer that goes says so even where it has no place.
    announcer.stop();
    assert!(matches!(announcer.due(moment(at, 0), &nonce(at)), Some((0, Request::Leave(_)))));
}

#[test]
fn after_a_success_waits_begin_again() {
    let (mut announcer, mut at) = (with_one_beacon(), 0);
    let mut waits = Vec::new();
    for fails in [true, true, true, false, true] {
        next(&mut announcer, &mut at);
        announcer.answered(moment(at, 0), 0, if fails { no_connection() } else { done(at) }, 0);
        waits.push(millis(announcer.next_deadline(moment(at, 0)).unwrap()) - at);
    }
    assert_eq!(waits, [1_000, 2_000, 4_000, 45_000, 1_000]);
}

#[test]
fn while_it_is_listed_it_waits_at_most_half_of_what_is_left() {
    let (mut announcer, mut at) = (with_one_beacon(), 0);
    next(&mut announcer, &mut at);
    announcer.answered(moment(at, 0), 0, done(at), 0);
    let mut waits = Vec::new();
    while at < 180_000 {
        next(&mut announcer, &mut at);
        announcer.answered(moment(at, 0), 0, no_connection(), 255);
        waits.push((announcer.next_deadline(moment(at, 0)).unwrap() - Duration::from_millis(at)).as_secs());
    }
    assert_eq!(waits, [2, 4, 8, 16, 32, 36, 18, 9, 4, 2, 1, 1, 1, 60]);
}

#[test]
fn a_beacon_read_its_clock_in_the_middle_between_request_and_answer() {
    let mut announcer = Announcer::new(identity(), PACING, 1);
    next(&mut announcer, &mut 0);
    announcer.answered(moment(10_000, 0), 0, done(5_000), 0);
    assert_eq!(announcer.clock_is_behind(moment(10_000, 0)), 0);
}

#[test]
fn a_shorter_life_is_found_and_kept() {
    let (mut announcer, mut at) = (with_one_beacon(), 0);
    for expected in [180, 90, 45, 22] {
        let ticket = ticket_of(next(&mut announcer, &mut at));
        let payload = ticket.payload();
        assert_eq!((at, payload.expires_at.since(payload.issued_at).as_secs()), (0, expected));
        announcer.answered(
            moment(at, 0),
            0,
            if expected > 40 { refusal(at, "LIFETIME_TOO_LONG") } else { done(at) },
            0,
        );
    }
    // The beacon asked for 45 s, when the ticket would be over.
    let ticket = ticket_of(next(&mut announcer, &mut at));
    assert_eq!(at, 22_500 * 5 / 6);
    assert_eq!(ticket.payload().expires_at.since(ticket.payload().issued_at).as_millis(), 22_500);
}

#[test]
fn no_beacon_can_make_it_run_hot() {
    // Refuses every life, every date, and asks for everything at once.
    for code in ["LIFETIME_TOO_LONG", "EXPIRED", "NOT_YET_VALID", "ANNOUNCE_TOO_SOON", "NO_SUCH_CODE"] {
        let (mut announcer, mut at, mut requests) = (with_one_beacon(), 0, 0);
        while at < 60_000 {
            next(&mut announcer, &mut at);
            requests += 1;
            let serving = reply(&json!({
                "ok": false, "code": code, "retryAfterMs": 0, "serverTime": START + signed(hash(at) % 100_000_000),
            }));
            announcer.answered(moment(at, 0), 0, serving, 0);
        }
        assert!(requests < 20, "{code}: {requests}");
    }
    let (mut announcer, mut at, mut requests) = (with_one_beacon(), 0, 0);
    while at < 60_000 {
        next(&mut announcer, &mut at);
        requests += 1;
        announcer.answered(moment(at, 0), 0, reply(&json!({ "ok": true, "announceAfterMs": 0 })), 0);
    }
    assert_eq!(requests, 61);
}

#[test]
fn the_host_may_ask_for_fewer_announces_but_not_for_so_few_that_tickets_end() {
    for (interval, expected) in [(0, 45_000), (100, 100_000), (1_000_000, 150_000)] {
        let pacing = TicketPacing { interval: Duration::from_secs(interval), ..PACING };
        let mut announcer = Announcer::new(identity(), pacing, 1);
        for answer in [done(0), done(0)] {
            next(&mut announcer, &mut 0);
            announcer.answered(moment(0, 0), 0, answer, 0);
        }
        assert_eq!(announcer.next_deadline(moment(0, 0)).map(millis), Some(expected));
    }
    // Nonsense is not a life, and not a reason to fail.
    for lifetime in [Duration::ZERO, Duration::MAX] {
        let mut announcer = Announcer::new(identity(), TicketPacing { lifetime, interval: Duration::MAX }, 1);
        for answer in [done(0), reply(&json!({ "ok": true, "announceAfterMs": u64::MAX, "serverTime": u64::MAX }))] {
            next(&mut announcer, &mut 0);
            announcer.answered(moment(0, 0), 0, answer, 255);
        }
        assert!(announcer.next_deadline(moment(0, 0)).unwrap() <= LIFETIME_MAX);
    }
}

#[test]
fn who_stops_leaves_with_newer_tickets_and_after_what_is_under_way() {
    let mut announcer = Announcer::new(identity(), PACING, 3);
    let ask = |announcer: &mut Announcer| announcer.due(moment(0, 0), &nonce(0));
    for number in 0..3 {
        assert_eq!(ask(&mut announcer), Some((number, Request::Time)));
    }
    // One never answers, one answers its first announce, one has not answered it yet.
    announcer.answered(moment(0, 0), 1, done(0), 0);
    let first = ticket_of(ask(&mut announcer).unwrap().1);
    announcer.answered(moment(0, 0), 1, done(0), 0);
    announcer.answered(moment(0, 0), 2, done(0), 0);
    let unanswered = ticket_of(ask(&mut announcer).unwrap().1);

    announcer.stop();
    announcer.stop();
    let (number, leave) = ask(&mut announcer).unwrap();
    let leave = ticket_of(leave);
    assert_eq!((number, leave.payload().purpose), (1, Purpose::Leave));
    assert!(leave.payload().issued_at > first.payload().issued_at);
    assert_eq!(ask(&mut announcer), None);
    let answer = reply(&json!({ "ok": true, "left": true }));
    let status = announcer.answered(moment(0, 0), 1, answer, 0);
    assert_eq!(status, Some(&BeaconStatus::Left { left: true, problem: None }));
    assert!(!announcer.is_done());

    announcer.answered(moment(0, 0), 2, no_connection(), 0);
    let (number, leave) = ask(&mut announcer).unwrap();
    assert!(ticket_of(leave).payload().issued_at > unanswered.payload().issued_at);
    announcer.answered(moment(0, 0), number, no_connection(), 0);
    assert_eq!(announcer.answered(moment(0, 0), 0, done(0), 0), None);
    announcer.stop();
    assert!(announcer.is_done());
    assert_eq!((ask(&mut announcer), announcer.next_deadline(moment(0, 0))), (None, None));
}

#[test]
fn a_place_for_what_was_found_is_busy_while_it_is_good_for_something_and_ends_without_a_goodbye() {
    let mut announcer = Announcer::new(identity(), PACING, 0);
    assert!(announcer.is_done() && !announcer.is_busy(0));
    announcer.begin_found(0);
    assert!(!announcer.is_busy(0), "nobody was asked yet");
    assert_eq!(next(&mut announcer, &mut 0), Request::Time);
    assert!(announcer.is_busy(0), "the answer is awaited");
    announcer.answered(moment(0, 0), 0, done(0), 0);
    assert!(!announcer.is_busy(0));
    let mut at = 0;
    let first = ticket_of(next(&mut announcer, &mut at));
    announcer.answered(moment(at, 0), 0, done(at), 0);
    assert!(announcer.is_busy(0), "it lists the peer");
    next(&mut announcer, &mut at);
    announcer.answered(moment(at, 0), 0, no_connection(), 0);
    assert!(!announcer.is_busy(0), "it does not answer any more");
    announcer.end_found(0);
    announcer.stop();
    assert!(announcer.is_done(), "nobody is there to be told");

    let mut announcer = Announcer::new(identity(), PACING, 0);
    announcer.begin_found(0);
    announcer.end_found(0);
    assert_eq!(announcer.next_deadline(moment(at, 0)), None);
    announcer.begin_found(0);
    assert_eq!(next(&mut announcer, &mut at), Request::Time, "another beacon in the same place begins anew");
    announcer.answered(moment(at, 0), 0, done(at), 0);
    assert_ne!(ticket_of(next(&mut announcer, &mut at)), first);
    announcer.stop();
    announcer.begin_found(1);
    assert_eq!(announcer.statuses().count(), 1, "who goes begins with nobody");
}

#[test]
fn the_first_to_answer_is_not_believed_before_the_others_had_their_say() {
    let mut announcer = Announcer::new(identity(), PACING, 3);
    for number in 0..3 {
        assert_eq!(announcer.due(moment(0, 0), &nonce(0)), Some((number, Request::Time)));
    }
    announcer.answered(moment(0, 0), 0, done(HOUR as u64), 0);
    assert_eq!(announcer.due(moment(0, 0), &nonce(0)), None);
    assert_eq!(announcer.clock_is_behind(moment(0, 0)), 0);
    assert_eq!(announcer.unconfirmed_clock_is_behind(moment(0, 0)), None, "others may say another time yet");
    announcer.answered(moment(0, 0), 1, done(HOUR as u64), 0);
    announcer.answered(moment(0, 0), 2, no_connection(), 0);
    assert_eq!(announcer.unconfirmed_clock_is_behind(moment(0, 0)), None);
    assert_eq!(announcer.clock_is_behind(moment(0, 0)), HOUR);
    let ticket = ticket_of(announcer.due(moment(0, 0), &nonce(0)).unwrap().1);
    assert_eq!(ticket.payload().issued_at.as_u64(), (START + HOUR) as u64);
}

#[test]
fn the_only_beacon_that_tells_the_time_is_named_when_all_were_heard_of() {
    let mut announcer = Announcer::new(identity(), PACING, 2);
    for number in 0..2 {
        assert_eq!(announcer.due(moment(0, 0), &nonce(0)), Some((number, Request::Time)));
    }
    announcer.answered(moment(0, 0), 0, done(HOUR as u64), 0);
    assert_eq!(announcer.unconfirmed_clock_is_behind(moment(0, 0)), None);
    announcer.answered(moment(0, 0), 1, no_connection(), 0);
    assert_eq!(announcer.unconfirmed_clock_is_behind(moment(0, 0)), Some(HOUR));
}

#[test]
fn a_server_without_the_time_gets_tickets_all_the_same() {
    let mut announcer = Announcer::new(identity(), PACING, 1);
    next(&mut announcer, &mut 0);
    let not_found = RequestOutcome::Reply(Reply::refused("HTTP_STATUS", "HTTP status 404".into(), None));
    assert_eq!(announcer.answered(moment(0, 0), 0, not_found, 0), None);
    assert!(matches!(next(&mut announcer, &mut 0), Request::Announce(_)));
}
