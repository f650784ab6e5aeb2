//! Both directions against recordings of the reference agent, and bad input.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use proptest::prelude::*;
use qvd_http1::{RequestHead, RequestReader, Response, ResponseEvent, ResponseReader, Status};
use qvd_rpc::{Call, Error, MAX_WAIT, Parameters, Reply, SessionState, Waited};

fn recorded_calls() -> Vec<RequestHead> {
    let mut reader = RequestReader::new(0);
    reader.receive(include_bytes!("../../recordings/agent.requests.http"));
    std::iter::from_fn(|| reader.poll().unwrap())
        .map(|r| r.head)
        .collect()
}

fn recorded_replies() -> Vec<Response> {
    let mut reader = ResponseReader::new(1024);
    reader.receive(include_bytes!("../../recordings/agent.responses.http"));
    std::iter::from_fn(|| reader.poll().unwrap())
        .map(|event| match event {
            ResponseEvent::Response(response) => response,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn bytes(response: &Response) -> Vec<u8> {
    let mut out = Vec::new();
    response.write(&mut out).unwrap();
    out
}

#[test]
fn recorded_calls_are_read() {
    let calls: Vec<_> = recorded_calls().iter().map(Call::from_request).collect();
    assert_eq!(calls[0], Ok(Call::Ping));
    assert_eq!(calls[1], Ok(Call::XState));
    assert_eq!(calls[2], Err(Error::NoSuchMethod));
    assert_eq!(calls[3], Err(Error::NoSuchMethod));
    assert_eq!(calls[4], Ok(Call::XSuspend));
    assert_eq!(calls[5], Ok(Call::XStop));
    let Ok(Call::XStart(parameters)) = &calls[6] else {
        panic!("{:?}", calls[6])
    };
    assert_eq!(parameters.value("qvd.vm.user.name"), Some("qvdrig"));
    assert_eq!(parameters.value("qvd.client.keyboard"), Some("pc105/es"));
    assert_eq!(
        parameters.value("qvd.client.fullscreen"),
        None,
        "empty counts as none"
    );
}

#[test]
fn recorded_replies_are_read_and_written_byte_for_byte() {
    let replies = recorded_replies();
    for (at, expected) in [
        (0, Reply::Alive),
        (1, Reply::State(SessionState::Stopped)),
        (4, Reply::State(SessionState::Stopped)),
        (5, Reply::State(SessionState::Stopped)),
        (6, Reply::State(SessionState::Starting)),
    ] {
        assert_eq!(Reply::from_response(&replies[at]), Ok(expected.clone()));
        assert_eq!(bytes(&expected.to_response()), bytes(&replies[at]));
    }
    for at in [2, 3] {
        let not_found = Err(Error::Status {
            status: Status::NOT_FOUND,
        });
        assert_eq!(Reply::from_response(&replies[at]), not_found);
        assert_eq!(
            Error::NoSuchMethod.response().head.status,
            replies[at].head.status
        );
    }
}

#[test]
fn a_failure_is_two_elements() {
    let failure = Reply::Failure("session is \"connected\"\nretry later".into());
    let response = failure.to_response();
    let body = &b"\"\",\"session is \\\"connected\\\"\\nretry later\"\r\n"[..];
    assert_eq!(response.body, body);
    assert_eq!(response.head.status, Status::OK);
    assert_eq!(Reply::from_response(&response), Ok(failure));
}

#[test]
fn methods_of_other_paths_and_verbs_do_not_exist() {
    for (verb, target) in [
        ("POST", "/vma/ping"),
        ("GET", "/vma/"),
        ("GET", "/vma/ping/"),
        ("GET", "/VMA/ping"),
        ("GET", "/vma/exec?command=id"),
        ("GET", "//vma/ping"),
    ] {
        let call = Call::from_request(&RequestHead::new(verb, target));
        assert_eq!(call, Err(Error::NoSuchMethod), "{verb} {target}");
    }
}

#[test]
fn waits_are_bounded_and_checked() {
    let read = |target: &str| Call::from_request(&RequestHead::new("GET", target));
    let wait = |seen, timeout| Ok(Call::XWait { seen, timeout });
    assert_eq!(read("/vma/x_wait"), wait(None, MAX_WAIT));
    let suspended = Some(SessionState::Suspended);
    assert_eq!(
        read("/vma/x_wait?state=suspended&timeout=250"),
        wait(suspended, Duration::from_millis(250))
    );
    assert_eq!(read("/vma/x_wait?timeout=99999999"), wait(None, MAX_WAIT));
    for bad in [
        "state=up",
        "timeout=-1",
        "timeout=soon",
        "timeout=1e9",
        "state=%",
    ] {
        let call = read(&format!("/vma/x_wait?{bad}"));
        assert!(matches!(call, Err(Error::Parameters(_))), "{bad}: {call:?}");
    }
}

#[test]
fn odd_answers_are_errors_not_states() {
    for body in ["", "null", "\"\"", " \r\n"] {
        let response = Response::new(Status::OK, "text/plain", body);
        assert_eq!(
            Reply::from_response(&response),
            Ok(Reply::Nothing),
            "{body}"
        );
    }
    for body in [
        "\"up\"",
        "true",
        "[]",
        "{}",
        "{\"state\":1}",
        "stopped",
        "\"a",
        "\u{1}",
    ] {
        let response = Response::new(Status::OK, "text/plain", body);
        assert!(
            matches!(Reply::from_response(&response), Err(Error::Reply(_))),
            "{body}"
        );
    }
}

#[test]
fn parameter_values_stay_out_of_debug_output() {
    let mut parameters = Parameters::new();
    parameters.set("qvd.slave.key", "tAxT9SK6");
    let call = Call::XStart(parameters);
    assert!(!format!("{call:?}").contains("tAxT9SK6"));
    assert!(!format!("{:?}", call.to_request()).contains("tAxT9SK6"));
}

proptest! {
    #[test]
    fn calls_are_read_as_written(
        pairs in proptest::collection::btree_map("[a-z.]{1,20}", "[^\\p{C}]{0,30}", 0..10),
        state in proptest::sample::select(SessionState::ALL.to_vec()),
        ms in 0u64..60_000,
    ) {
        let timeout = Duration::from_millis(ms);
        for call in [
            Call::Ping, Call::XState, Call::XSuspend, Call::XStop, Call::Poweroff, Call::Expire,
            Call::XStart(pairs.into()),
            Call::XWait { seen: Some(state), timeout },
        ] {
            prop_assert_eq!(Call::from_request(&call.to_request()), Ok(call));
        }
    }

    #[test]
    fn replies_are_read_as_written(
        message in "\\PC{0,60}",
        state in proptest::sample::select(SessionState::ALL.to_vec()),
        reason in proptest::option::of("\\PC{0,60}"),
        carrier in any::<Option<bool>>(),
    ) {
        for reply in [
            Reply::Alive, Reply::Nothing, Reply::State(state), Reply::Failure(message),
            Reply::Waited(Waited { state, reason, carrier }),
        ] {
            prop_assert_eq!(Reply::from_response(&reply.to_response()), Ok(reply));
        }
    }

    #[test]
    fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Reply::from_response(&Response::new(Status::OK, "x", body));
    }
}
