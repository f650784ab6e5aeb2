//! Clients that lose their connection and come back.

use super::super::rejoin::LAST_WORD;
use super::*;

#[test]
fn a_client_that_comes_back_changes_nothing_but_its_connection() {
    let mut machine = connected();
    let effects = machine.step(Event::RejoinAsked);
    let starting = Effect::Reply(Reply::State(SessionState::Starting));
    assert_eq!(effects, [starting, Effect::OpenPort]);
    assert_eq!(machine.state(), SessionState::Starting);
    machine.step(Event::PortOpened(Ok(())));
    assert_eq!(machine.state(), SessionState::Listening);
    // Cut off once more on the way.
    machine.step(Event::RejoinAsked);
    machine.step(Event::PortOpened(Ok(())));
    assert!(machine.has_client());
    let effects = machine.step(Event::Rejoined);
    assert_eq!(effects, [Effect::ClosePort, Effect::Disarm]);
    assert_eq!(machine.state(), SessionState::Connected);
}

#[test]
fn a_client_that_does_not_come_back_after_all_is_still_the_sessions() {
    for event in [Event::TimedOut, Event::PortOpened(Err("in use".into()))] {
        let mut machine = connected();
        machine.step(Event::RejoinAsked);
        if matches!(event, Event::TimedOut) {
            machine.step(Event::PortOpened(Ok(())));
        }
        machine.step(event);
        assert_eq!(machine.state(), SessionState::Connected);
    }
}

#[test]
fn another_client_takes_the_session_from_one_that_comes_back() {
    let mut machine = connected();
    machine.step(Event::RejoinAsked);
    machine.step(Event::PortOpened(Ok(())));
    let effects = machine.step(start());
    assert!(effects.contains(&Effect::Suspend) && effects.contains(&Effect::ClosePort));
    assert_eq!(machine.state(), SessionState::Suspending);
    // It comes too late.
    assert_eq!(machine.step(Event::Rejoined), []);
}

#[test]
fn nobody_comes_back_to_a_session_without_a_client() {
    for mut machine in [machine(), launched(), suspended(), waking()] {
        let state = machine.state();
        assert!(!machine.may_rejoin());
        let effects = machine.step(Event::RejoinAsked);
        assert!(matches!(
            effects.as_slice(),
            [Effect::Reply(Reply::Failure(_))]
        ));
        assert_eq!(machine.state(), state);
    }
}

#[test]
fn a_client_that_is_lost_before_nx_has_begun_is_awaited_again() {
    let mut machine = awaiting();
    assert!(machine.may_rejoin() && !machine.is_rejoined());
    let effects = machine.step(Event::RejoinAsked);
    let starting = Effect::Reply(Reply::State(SessionState::Starting));
    assert_eq!(effects, [starting, Effect::OpenPort]);
    // Not before the port is open.
    assert_eq!(machine.state(), SessionState::Starting);
    assert!(machine.is_rejoined());
    let time = Timeouts::default().listening;
    let effects = machine.step(Event::PortOpened(Ok(())));
    assert_eq!(effects, [Effect::Arm(time)]);
    assert_eq!(machine.state(), SessionState::Listening);
    let beginning = Effect::Arm(Timeouts::default().carried);
    let effects = machine.step(Event::Rejoined);
    assert_eq!(effects, [Effect::ClosePort, beginning]);
    // It is lost once more, and a port cannot be had.
    machine.step(Event::RejoinAsked);
    let effects = machine.step(Event::PortOpened(Err("in use".into())));
    assert_eq!(effects, [Effect::ClosePort]);
    assert_eq!(machine.state(), SessionState::Listening);
    assert_eq!(machine.reason(), Some("in use"));
    // Nobody else is kept out by it.
    assert!(machine.gives_way());
    machine.step(Event::RejoinAsked);
    let effects = machine.step(Event::TimedOut);
    assert!(effects.contains(&Effect::Terminate));
}

#[test]
fn the_client_of_a_session_that_was_taken_over_keeps_its_place() {
    let times = Timeouts::default();
    let carried = [Effect::ClosePort, Effect::Arm(times.carried)];
    for resumed in [false, true] {
        let taken_over = || {
            let mut machine = machine();
            machine.step(adopted(NxState::Waiting { resumed }, false));
            machine.step(Event::PortOpened(Ok(())));
            machine
        };
        // It is there, and NX is to begin.
        let mut machine = taken_over();
        assert_eq!(machine.step(Event::Rejoined), carried);
        assert!(!machine.gives_way());
        machine.step(Event::Nx(NxState::Connected));
        assert_eq!(machine.state(), SessionState::Connected);
        // It is away, and comes back with its token.
        let mut machine = taken_over();
        assert_eq!(machine.step(Event::ClientLost), carried);
        assert!(machine.gives_way() && machine.may_rejoin());
        let effects = machine.step(Event::RejoinAsked);
        assert!(effects.contains(&Effect::OpenPort) && machine.is_rejoined());
        // Without the carrier.
        let mut machine = Machine::new(times);
        let effects = machine.step(adopted(NxState::Waiting { resumed }, true));
        assert_eq!(effects, [Effect::Arm(times.beginning)]);
        assert_eq!(machine.state(), SessionState::Listening);
        assert!(!machine.gives_way());
    }
}

#[test]
fn a_client_that_has_come_has_the_time_that_nx_takes() {
    let times = Timeouts::default();
    let (hello, nx) = (Effect::Arm(times.listening), Effect::Arm(times.beginning));
    let carried = [Effect::ClosePort, Effect::Arm(times.carried)];
    for (carrier, time) in [(true, &hello), (false, &nx)] {
        let mut machine = awaiting();
        let effects = machine.step(Event::ClientCame { carrier });
        assert_eq!(effects, std::slice::from_ref(time));
        assert_eq!(machine.state(), SessionState::Listening);
        if carrier {
            assert_eq!(machine.step(Event::Rejoined), carried);
        }
        machine.step(Event::TimedOut);
        let reason = "the client's session did not begin in time";
        assert_eq!(machine.reason(), Some(reason));
    }
    let mut machine = awaiting();
    machine.step(Event::TimedOut);
    assert_eq!(machine.reason(), Some("no client connected within 10 s"));
    // One that has ended its carrier is not waited for.
    let mut machine = awaiting();
    machine.step(Event::ClientCame { carrier: true });
    machine.step(Event::Rejoined);
    assert_eq!(machine.step(Event::ClientGone), [Effect::Arm(LAST_WORD)]);
    machine.step(Event::TimedOut);
    let reason = "the client left before its session began";
    assert_eq!(machine.reason(), Some(reason));
    // It was another one, before this one is awaited.
    assert_eq!(awaiting().step(Event::ClientGone), []);
    assert_eq!(connected().step(Event::ClientCame { carrier: true }), []);
}

#[test]
fn a_client_that_is_lost_before_nx_has_begun_keeps_no_other_out() {
    for resumed in [false, true] {
        let mut machine = match resumed {
            true => waking(),
            false => launched(),
        };
        machine.step(Event::Nx(NxState::Waiting { resumed }));
        machine.step(Event::PortOpened(Ok(())));
        machine.step(Event::ClientCame { carrier: true });
        // Not from one that is there.
        let refused = machine.step(start());
        assert!(matches!(refused[..], [Effect::Reply(Reply::Failure(_))]));
        machine.step(Event::ClientLost);
        // It was another connection that it gave up.
        let carried = Effect::Arm(Timeouts::default().carried);
        assert_eq!(machine.step(Event::Rejoined), [Effect::ClosePort, carried]);
        let refused = machine.step(start());
        assert!(matches!(refused[..], [Effect::Reply(Reply::Failure(_))]));
        machine.step(Event::ClientLost);
        let effects = machine.step(start());
        assert!(matches!(effects[0], Effect::Reply(Reply::Failure(_))));
        assert_eq!(effects.contains(&Effect::Suspend), resumed);
        assert_eq!(effects.contains(&Effect::Terminate), !resumed);
    }
}

#[test]
fn nx_that_begins_while_its_client_is_awaited_again_awaits_it_still() {
    for open in [false, true] {
        let mut machine = awaiting();
        machine.step(Event::RejoinAsked);
        if open {
            machine.step(Event::PortOpened(Ok(())));
        }
        let effects = machine.step(Event::Nx(NxState::Connected));
        assert_eq!(effects, [Effect::Entered(SessionState::Connected)]);
        if !open {
            machine.step(Event::PortOpened(Ok(())));
        }
        assert_eq!(machine.state(), SessionState::Listening);
        machine.step(Event::Rejoined);
        assert_eq!(machine.state(), SessionState::Connected);
    }
}
