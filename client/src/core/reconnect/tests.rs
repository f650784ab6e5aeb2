use proptest::prelude::*;

use super::*;

const LIMIT: Duration = Duration::from_secs(180);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn running() -> Reconnect {
    let mut machine = Reconnect::new(LIMIT);
    machine.up(seconds(0));
    machine
}

#[test]
fn what_is_left_counts_every_way_it_is_tried() {
    let mut machine = Reconnect::carried(seconds(10));
    machine.up(seconds(0));
    machine.failed(Code::SessionLost, seconds(100), 0);
    let left = |beyond, now| machine.left_with(seconds(beyond), seconds(now));
    assert_eq!(left(180, 103), seconds(177));
    assert_eq!(left(5, 103), seconds(7));
    assert_eq!(left(0, 103), seconds(7));
    assert_eq!(left(0, 200), seconds(0));
}

#[test]
fn a_lost_session_is_tried_at_once_and_then_ever_later() {
    let mut machine = running();
    let lost = machine.failed(Code::SessionLost, seconds(100), 0);
    assert_eq!(lost, Action::TryAfter(Duration::ZERO));
    let mut waits = Vec::new();
    for _ in 0..8 {
        match machine.failed(Code::ConnectFailed, seconds(101), u32::MAX) {
            Action::TryAfter(wait) => waits.push(wait.as_millis()),
            Action::GiveUp => panic!("gave up after {waits:?}"),
        }
    }
    assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000]);
    let quick = machine.failed(Code::ConnectFailed, seconds(101), 0);
    assert_eq!(quick, Action::TryAfter(seconds(5)), "half of it at least");
}

#[test]
fn attempts_are_counted_on_when_it_is_tried_in_another_way() {
    let mut machine = running();
    assert_eq!((machine.attempt(), machine.attempts()), (1, 0));
    machine.failed(Code::SessionLost, seconds(100), 0);
    machine.tried_before(40);
    assert_eq!(machine.attempts(), 40);
    let now = machine.failed(Code::ConnectFailed, seconds(110), u32::MAX);
    assert_eq!(now, Action::TryAfter(Duration::ZERO));
    assert_eq!(machine.attempt(), 41);
    let next = machine.failed(Code::ConnectFailed, seconds(110), u32::MAX);
    assert_eq!(next, Action::TryAfter(FIRST_WAIT));
    assert_eq!(machine.attempt(), 42);
    // Another outage has its own.
    machine.up(seconds(111));
    machine.failed(Code::SessionLost, seconds(150), 0);
    assert_eq!(machine.attempt(), 1);
}

#[test]
fn what_was_never_up_is_not_tried_again() {
    let mut machine = Reconnect::new(LIMIT);
    for code in Code::ALL {
        assert_eq!(machine.failed(*code, seconds(1), 0), Action::GiveUp);
    }
}

#[test]
fn what_does_not_go_away_by_itself_ends_the_client() {
    for code in [
        Code::LoginRefused,
        Code::NotAllowed,
        Code::NoSuchVm,
        Code::RequestRefused,
        Code::Protocol,
        Code::Display,
        Code::Engine,
        Code::Internal,
        Code::Interrupted,
    ] {
        assert_eq!(running().failed(code, seconds(1), 0), Action::GiveUp);
        let mut machine = running();
        machine.failed(Code::SessionLost, seconds(1), 0);
        assert_eq!(machine.failed(code, seconds(2), 0), Action::GiveUp);
    }
}

#[test]
fn the_last_attempt_is_made_at_the_limit() {
    let mut machine = running();
    machine.failed(Code::SessionLost, seconds(10), 0);
    for _ in 0..10 {
        machine.failed(Code::ConnectFailed, seconds(20), 0);
    }
    let last = machine.failed(Code::ConnectFailed, seconds(189), u32::MAX);
    assert_eq!(last, Action::TryAfter(seconds(1)));
    let over = machine.failed(Code::ConnectFailed, seconds(190), u32::MAX);
    assert_eq!(over, Action::GiveUp);
}

#[test]
fn a_session_that_stays_up_has_a_new_outage_next_time() {
    let mut machine = running();
    machine.failed(Code::SessionLost, seconds(10), 0);
    machine.failed(Code::ConnectFailed, seconds(100), 0);
    machine.up(seconds(150));
    let again = machine.failed(Code::SessionLost, seconds(170), 0);
    assert_eq!(again, Action::TryAfter(Duration::ZERO));
    assert_eq!(machine.left(seconds(171)), seconds(179));
}

#[test]
fn two_clients_do_not_take_a_session_from_each_other_for_ever() {
    let mut machine = running();
    let mut now = 100;
    machine.failed(Code::SessionLost, seconds(now), 0);
    let mut relapses = 0;
    loop {
        machine.up(seconds(now + 1));
        now += 2;
        if machine.failed(Code::SessionLost, seconds(now), 0) == Action::GiveUp {
            break;
        }
        relapses += 1;
    }
    assert_eq!(relapses, MOST_RELAPSES);
}

#[test]
fn a_vm_that_looks_stopped_is_not_believed_at_once() {
    let mut machine = running();
    assert!(!machine.is_out() && machine.was_up());
    machine.failed(Code::SessionLost, seconds(10), 0);
    assert!(machine.is_out() && !machine.knows_stopped(seconds(24)));
    let soon = machine.failed(Code::VmStopped, seconds(24), 0);
    assert!(matches!(soon, Action::TryAfter(_)));
    assert!(machine.knows_stopped(seconds(25)));
    let later = machine.failed(Code::VmStopped, seconds(25), 0);
    assert_eq!(later, Action::GiveUp);
}

#[test]
fn a_vm_that_looks_stopped_may_be_there_again_while_its_session_is_kept() {
    let mut machine = Reconnect::carried(LIMIT);
    machine.up(seconds(0));
    machine.failed(Code::SessionLost, seconds(10), 0);
    let late = machine.failed(Code::VmStopped, seconds(185), 0);
    assert!(matches!(late, Action::TryAfter(_)));
    let over = machine.failed(Code::VmStopped, seconds(190), 0);
    assert_eq!(over, Action::GiveUp);
}

#[test]
fn a_carrier_that_is_lost_as_soon_as_it_is_back_is_tried_for_ever_and_never_wildly() {
    let mut machine = Reconnect::carried(LIMIT);
    let mut now = seconds(0);
    machine.up(now);
    for round in 0..10_000 {
        now += Duration::from_millis(300);
        let Action::TryAfter(wait) = machine.failed(Code::SessionLost, now, 0) else {
            panic!("given up in round {round}");
        };
        assert!(wait <= Duration::from_millis(250), "{wait:?}");
        assert!(round == 0 || wait >= Duration::from_millis(50), "{wait:?}");
        now += wait;
        machine.up(now);
    }
    // Once it does not come back, there is an end.
    let begin = now;
    while let Action::TryAfter(wait) = machine.failed(Code::ConnectFailed, now, u32::MAX) {
        now += wait.max(Duration::from_millis(1));
    }
    assert!(now >= begin + LIMIT && now < begin + 2 * LIMIT);
}

#[test]
fn no_limit_no_attempt() {
    let mut machine = Reconnect::new(Duration::ZERO);
    machine.up(seconds(0));
    let lost = machine.failed(Code::SessionLost, seconds(1), 0);
    assert_eq!(lost, Action::GiveUp);
}

proptest! {
    /// Behind a broker that lets each of them take the session.
    #[test]
    fn of_two_clients_that_reconnect_one_gives_up(
        worked_for in 0_u64..100,
        chances in prop::collection::vec(any::<u32>(), 100),
        takes in prop::collection::vec(0_u64..12_000, 100),
    ) {
        let mut clients = [running(), Reconnect::new(LIMIT)];
        // The user turns to the second, which the first does not know.
        let mut now = seconds(worked_for);
        clients[1].up(now);
        let mut holder = 1;
        let mut tries = [clients[0].failed(Code::SessionLost, now, 0), Action::GiveUp];
        for (chance, takes) in chances.into_iter().zip(takes) {
            let other = 1 - holder;
            let Action::TryAfter(wait) = tries[other] else {
                return Ok(());
            };
            // The holder is told to go when the other asks, which has the
            // session when the agent has let it go.
            now += wait;
            tries[holder] = clients[holder].failed(Code::SessionLost, now, chance);
            now += Duration::from_millis(takes);
            clients[other].up(now);
            holder = other;
        }
        prop_assert!(false, "they still take it from each other");
    }

    #[test]
    fn no_outage_outlasts_its_limit(
        chances in prop::collection::vec(any::<u32>(), 1..500),
        takes in 0_u64..20_000,
    ) {
        let mut machine = running();
        let begin = seconds(50);
        let mut now = begin;
        let mut code = Code::SessionLost;
        for chance in chances {
            match machine.failed(code, now, chance) {
                Action::TryAfter(wait) => {
                    prop_assert!(now + wait <= begin + LIMIT);
                    now += wait + Duration::from_millis(takes);
                }
                Action::GiveUp => {
                    prop_assert!(now >= begin + LIMIT);
                    break;
                }
            }
            code = Code::ConnectFailed;
        }
    }
}
