//! The session from its start to its stop, and any order of events.

mod back;

use proptest::prelude::*;
use qvd_rpc::{Parameters, Reply};

use super::*;
use crate::parameters::Defaults;
use crate::provision::Account;

fn spec_for(user: &str) -> Box<SessionSpec> {
    let defaults = Defaults {
        keyboard: "pc105/us".into(),
        link: "lan".into(),
        tolerancechecks: "risky".into(),
        audio: false,
        printing: false,
        slave: false,
        display: 100,
    };
    let account = Account::of_test(user);
    Box::new(SessionSpec::from_parameters(&Parameters::new(), account, &defaults).unwrap())
}

fn start() -> Event {
    Event::StartAsked(spec_for("ann"))
}

fn machine() -> Machine {
    Machine::new(Timeouts::default())
}

/// Carries stages out at once, with this outcome.
fn prepare(machine: &mut Machine, mut effects: Vec<Effect>) -> Vec<Effect> {
    while let Some(at) = effects
        .iter()
        .position(|e| matches!(e, Effect::Prepare(..)))
    {
        let Effect::Prepare(number, ..) = effects.remove(at) else {
            unreachable!()
        };
        effects.extend(machine.step(Event::Prepared(number, Ok(()))));
    }
    effects
}

fn launched() -> Machine {
    let mut machine = machine();
    let effects = machine.step(start());
    let effects = prepare(&mut machine, effects);
    assert_eq!(
        effects[0],
        Effect::Reply(Reply::State(SessionState::Starting))
    );
    assert!(matches!(effects[1], Effect::Launch(_)));
    assert_eq!(machine.state(), SessionState::Starting);
    machine
}

fn awaiting() -> Machine {
    let mut machine = launched();
    let waiting = NxState::Waiting { resumed: false };
    assert_eq!(machine.step(Event::Nx(waiting)), [Effect::OpenPort]);
    assert_eq!(
        machine.state(),
        SessionState::Starting,
        "not before the port is open"
    );
    machine.step(Event::PortOpened(Ok(())));
    assert_eq!(machine.state(), SessionState::Listening);
    machine
}

fn connected() -> Machine {
    let mut machine = awaiting();
    let effects = machine.step(Event::Nx(NxState::Connected));
    assert!(effects.contains(&Effect::ClosePort), "one client only");
    assert_eq!(machine.state(), SessionState::Connected);
    machine
}

fn suspended() -> Machine {
    let mut machine = connected();
    machine.step(Event::Nx(NxState::Suspending));
    assert_eq!(machine.state(), SessionState::Suspending);
    machine.step(Event::Nx(NxState::Suspended));
    assert_eq!(machine.state(), SessionState::Suspended);
    machine
}

fn waking() -> Machine {
    let mut machine = suspended();
    let effects = machine.step(start());
    let effects = prepare(&mut machine, effects);
    assert!(
        effects.iter().any(|e| matches!(e, Effect::Wake(_))),
        "{effects:?}"
    );
    machine
}

fn adopted(state: NxState, served: bool) -> Event {
    Event::Adopted {
        user: "ann".into(),
        state,
        served,
    }
}

#[test]
fn a_session_is_started_suspended_resumed_and_stopped() {
    let mut machine = waking();
    assert_eq!(machine.state(), SessionState::Starting);
    machine.step(Event::Nx(NxState::Waiting { resumed: true }));
    machine.step(Event::PortOpened(Ok(())));
    assert_eq!(machine.state(), SessionState::Listening);
    machine.step(Event::Nx(NxState::Connected));
    let effects = machine.step(Event::StopAsked);
    assert_eq!(
        effects[0],
        Effect::Reply(Reply::State(SessionState::Stopping))
    );
    assert!(effects.contains(&Effect::Terminate));
    assert_eq!(machine.state(), SessionState::Stopping);
    machine.step(Event::Nx(NxState::Terminating));
    assert_eq!(
        machine.state(),
        SessionState::Stopping,
        "until every process is gone"
    );
    machine.step(Event::Gone { reason: None });
    assert_eq!(
        (machine.state(), machine.user(), machine.reason()),
        (SessionState::Stopped, None, None)
    );
}

#[test]
fn the_state_is_provisioning_while_hooks_run_and_the_user_is_made() {
    let mut machine = machine();
    machine.step(start());
    assert_eq!(machine.state(), SessionState::Provisioning);
    machine.step(Event::Prepared(1, Ok(())));
    assert_eq!(machine.state(), SessionState::Provisioning);
    machine.step(Event::Prepared(2, Err("no such user: ann".into())));
    assert_eq!(machine.state(), SessionState::Stopped);
    assert_eq!(machine.reason(), Some("no such user: ann"));
    machine.step(start());
    assert_eq!(machine.reason(), None, "a new start forgets it");
}

#[test]
fn a_stage_of_a_start_that_was_given_up_says_nothing_about_the_next() {
    let mut machine = suspended();
    machine.step(start());
    machine.step(Event::StopAsked);
    machine.step(Event::Gone { reason: None });
    machine.step(start());
    let late = machine.prepared - 1;
    assert_eq!(machine.step(Event::Prepared(late, Ok(()))), []);
    assert_eq!(machine.state(), SessionState::Provisioning);
}

#[test]
fn a_stop_cuts_the_stage_short_that_is_carried_out() {
    let mut machine = machine();
    machine.step(start());
    assert!(machine.step(Event::StopAsked).contains(&Effect::CutShort));
    assert_eq!(
        machine.state(),
        SessionState::Stopping,
        "until it has ended"
    );
    machine.step(Event::Prepared(1, Err("cut short".into())));
    assert_eq!(
        (machine.state(), machine.reason()),
        (SessionState::Stopped, None)
    );
    let mut machine = suspended();
    machine.step(start());
    assert!(machine.step(Event::StopAsked).contains(&Effect::CutShort));
}

#[test]
fn only_a_client_that_goes_by_itself_is_said_to_have_left() {
    let mut left = connected();
    let effects = left.step(Event::Nx(NxState::Suspending));
    assert!(effects.contains(&Effect::ClientLeft));
    let effects = left.step(Event::Nx(NxState::Suspended));
    assert!(!effects.contains(&Effect::ClientLeft), "once only");
    let mut sent = connected();
    sent.step(Event::SuspendAsked);
    for state in [NxState::Suspending, NxState::Suspended] {
        assert!(!sent.step(Event::Nx(state)).contains(&Effect::ClientLeft));
    }
}

#[test]
fn a_failed_resume_leaves_the_desktop_suspended() {
    let mut machine = suspended();
    machine.step(start());
    machine.step(Event::Prepared(
        machine.prepared,
        Err("hook says no".into()),
    ));
    assert_eq!(machine.state(), SessionState::Suspended);
    assert_eq!(machine.reason(), Some("hook says no"));
    assert_eq!(machine.user(), Some("ann"));
}

#[test]
fn a_contending_start_suspends_the_session_and_is_told_to_come_back() {
    let mut machine = connected();
    let effects = machine.step(start());
    let Effect::Reply(Reply::Failure(message)) = &effects[0] else {
        panic!("{effects:?}")
    };
    assert!(message.ends_with("retry later"));
    assert!(effects.contains(&Effect::Suspend));
    let effects = machine.step(start());
    assert_eq!(
        effects,
        [Effect::Reply(Reply::Failure(
            "session is suspending, retry later".into()
        ))]
    );
}

#[test]
fn another_user_does_not_get_the_suspended_desktop() {
    let mut machine = suspended();
    let effects = machine.step(Event::StartAsked(spec_for("bob")));
    let message = "a session of user ann is suspended in this VM".to_owned();
    assert_eq!(effects, [Effect::Reply(Reply::Failure(message))]);
    assert_eq!(machine.state(), SessionState::Suspended);
}

#[test]
fn every_wait_ends() {
    let mut launching = launched();
    assert!(launching.step(Event::TimedOut).contains(&Effect::Terminate));
    assert_eq!(
        launching.reason(),
        Some("nxagent did not listen within 20 s")
    );
    let effects = launching.step(Event::TimedOut);
    assert_eq!(effects[0], Effect::Kill, "and again until it is gone");
    assert!(matches!(effects[1], Effect::Arm(_)));

    let mut alone = awaiting();
    assert!(alone.step(Event::TimedOut).contains(&Effect::Terminate));
    assert_eq!(alone.reason(), Some("no client connected within 10 s"));

    let mut suspending = connected();
    suspending.step(Event::SuspendAsked);
    assert!(
        suspending
            .step(Event::TimedOut)
            .contains(&Effect::Terminate)
    );
}

#[test]
fn a_resume_that_nobody_comes_for_is_taken_back() {
    let mut machine = waking();
    machine.step(Event::Nx(NxState::Waiting { resumed: true }));
    machine.step(Event::PortOpened(Ok(())));
    let effects = machine.step(Event::TimedOut);
    assert!(effects.contains(&Effect::Suspend) && effects.contains(&Effect::ClosePort));
    machine.step(Event::Nx(NxState::Suspended));
    assert_eq!(machine.state(), SessionState::Suspended);
}

#[test]
fn an_nxagent_that_wakes_too_late_is_sent_back_not_lost() {
    let mut machine = waking();
    machine.step(Event::TimedOut);
    assert_eq!(machine.state(), SessionState::Suspended);
    assert_eq!(
        machine.reason(),
        Some("nxagent did not wake up within 20 s")
    );
    let late = Event::Nx(NxState::Waiting { resumed: true });
    assert_eq!(machine.step(late), [Effect::Suspend]);
}

#[test]
fn a_port_that_cannot_be_opened_ends_a_start_and_takes_a_resume_back() {
    let mut fresh = launched();
    fresh.step(Event::Nx(NxState::Waiting { resumed: false }));
    let effects = fresh.step(Event::PortOpened(Err("port 4100 is in use".into())));
    assert!(effects.contains(&Effect::Terminate));
    assert_eq!(fresh.reason(), Some("port 4100 is in use"));

    let mut resume = waking();
    resume.step(Event::Nx(NxState::Waiting { resumed: true }));
    let effects = resume.step(Event::PortOpened(Err("port 4100 is in use".into())));
    assert!(effects.contains(&Effect::Suspend) && !effects.contains(&Effect::Terminate));
}

#[test]
fn the_first_reason_is_the_one_that_is_told() {
    let mut machine = launched();
    machine.step(Event::TimedOut);
    machine.step(Event::Gone {
        reason: Some("nxagent was killed by signal 9".into()),
    });
    assert_eq!(machine.reason(), Some("nxagent did not listen within 20 s"));
}

#[test]
fn a_stop_during_the_stages_starts_nothing() {
    let mut machine = machine();
    machine.step(start());
    machine.step(Event::StopAsked);
    assert_eq!(machine.state(), SessionState::Stopping);
    let effects = machine.step(Event::Prepared(1, Ok(())));
    assert!(
        !effects
            .iter()
            .any(|e| matches!(e, Effect::Launch(_) | Effect::Prepare(..)))
    );
    assert_eq!(machine.state(), SessionState::Stopped);
}

#[test]
fn a_suspend_before_any_client_ends_the_session() {
    let mut machine = awaiting();
    assert!(
        machine
            .step(Event::SuspendAsked)
            .contains(&Effect::Terminate)
    );
    assert_eq!(machine.state(), SessionState::Stopping);
}

#[test]
fn calls_that_change_nothing_answer_the_state() {
    let mut machine = machine();
    let stopped = [Effect::Reply(Reply::State(SessionState::Stopped))];
    assert_eq!(machine.step(Event::StopAsked), stopped);
    assert_eq!(machine.step(Event::SuspendAsked), stopped);
}

#[test]
fn an_adopted_session_goes_on_where_it_is() {
    for (nx, state, opens) in [
        (NxState::Starting, SessionState::Starting, false),
        (
            NxState::Waiting { resumed: false },
            SessionState::Starting,
            true,
        ),
        (
            NxState::Waiting { resumed: true },
            SessionState::Starting,
            true,
        ),
        (NxState::Connected, SessionState::Connected, false),
        (NxState::Suspending, SessionState::Suspending, false),
        (NxState::Suspended, SessionState::Suspended, false),
        (NxState::Terminating, SessionState::Stopping, false),
    ] {
        let mut machine = machine();
        let effects = machine.step(adopted(nx, false));
        assert_eq!(machine.state(), state, "{nx:?}");
        assert_eq!(effects.contains(&Effect::OpenPort), opens);
        if opens {
            machine.step(Event::PortOpened(Ok(())));
            assert_eq!(machine.state(), SessionState::Listening);
        }
    }
}

fn any_event() -> impl Strategy<Value = u8> {
    0u8..19
}

fn event(code: u8, machine: &Machine) -> Event {
    match code {
        0 => start(),
        1 => Event::SuspendAsked,
        2 => Event::StopAsked,
        3 => Event::Prepared(machine.prepared, Ok(())),
        4 => Event::Prepared(machine.prepared, Err("no".into())),
        5 => Event::PortOpened(Ok(())),
        6 => Event::PortOpened(Err("no".into())),
        7 => Event::Nx(NxState::Waiting { resumed: false }),
        8 => Event::Nx(NxState::Connected),
        9 => Event::Nx(NxState::Suspending),
        10 => Event::Nx(NxState::Suspended),
        11 => Event::Nx(NxState::Terminating),
        12 => Event::Gone { reason: None },
        13 => Event::RejoinAsked,
        14 => Event::Rejoined,
        16 => Event::ClientCame { carrier: true },
        18 => Event::ClientGone,
        17 => Event::ClientLost,
        _ => Event::TimedOut,
    }
}

#[test]
fn a_suspend_that_comes_as_the_client_connects_is_repeated() {
    let mut machine = suspended();
    let effects = machine.step(start());
    prepare(&mut machine, effects);
    machine.step(Event::Nx(NxState::Waiting { resumed: true }));
    machine.step(Event::PortOpened(Ok(())));
    assert!(machine.step(Event::SuspendAsked).contains(&Effect::Suspend));
    let effects = machine.step(Event::Nx(NxState::Connected));
    assert_eq!(effects, [Effect::Suspend]);
    assert_eq!(machine.state(), SessionState::Suspending);
    machine.step(Event::Nx(NxState::Suspending));
    machine.step(Event::Nx(NxState::Suspended));
    assert_eq!(machine.state(), SessionState::Suspended);
}

#[test]
fn a_resume_whose_client_fails_says_so() {
    for first in [NxState::Suspending, NxState::Suspended] {
        let mut machine = suspended();
        let effects = machine.step(start());
        prepare(&mut machine, effects);
        machine.step(Event::Nx(NxState::Waiting { resumed: true }));
        machine.step(Event::PortOpened(Ok(())));
        machine.step(Event::Nx(first));
        machine.step(Event::Nx(NxState::Suspended));
        assert_eq!(machine.state(), SessionState::Suspended);
        let reason = "the client's connection failed before the session was resumed";
        assert_eq!(machine.reason(), Some(reason));
    }
}

proptest! {
    /// Whatever happens in whatever order: each call is answered once, a state
    /// that waits has a timer, and the port is open only where it is listened
    /// on.
    #[test]
    fn no_order_of_events_breaks_the_machine(codes in proptest::collection::vec(any_event(), 0..60)) {
        let mut machine = machine();
        let (mut armed, mut port) = (false, false);
        for code in codes {
            let event = event(code, &machine);
            let call = matches!(
                event,
                Event::StartAsked(_) | Event::RejoinAsked | Event::SuspendAsked | Event::StopAsked
            );
            port |= matches!(event, Event::PortOpened(Ok(())));
            let effects = machine.step(event);
            let replies = effects.iter().filter(|e| matches!(e, Effect::Reply(_))).count();
            prop_assert_eq!(replies, usize::from(call));
            for effect in &effects {
                match effect {
                    Effect::Arm(_) => armed = true,
                    Effect::Disarm => armed = false,
                    Effect::ClosePort => port = false,
                    _ => {}
                }
            }
            let waits = matches!(
                machine.state,
                State::Launching | State::Waking | State::Listening { .. } | State::Suspending
                    | State::Stopping { process: true } | State::Rejoining { open: true }
            );
            prop_assert!(armed || !waits, "{:?} waits without a timer", machine.state);
            let listens = matches!(machine.state, State::Listening { .. } | State::Rejoining { .. });
            prop_assert!(!port || listens, "port open in {:?}", machine.state);
        }
    }
}
