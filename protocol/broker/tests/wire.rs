//! Both directions against recordings of the reference, and bad input.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;
use qvd_broker::{
    Authenticated, ClientParameters, ConnectParameters, Credentials, Dialogue, Error, Event,
    Meaning, Refusal, Request, Token, VmEntry, connected, progress, read_environment, read_vm_list,
    write_environment, write_vm_list,
};
use qvd_http1::{Headers, RequestHead, RequestReader, Response, Status};
use secrecy::{ExposeSecret, SecretString};

const RECORDED_ANSWER: &[u8] = include_bytes!("../../recordings/broker-connect.responses.http");

fn recorded_requests() -> Vec<RequestHead> {
    let mut reader = RequestReader::new(0);
    reader.receive(include_bytes!("../../recordings/client.requests.http"));
    std::iter::from_fn(|| reader.poll().unwrap())
        .map(|r| r.head)
        .collect()
}

fn basic(login: &str, password: &str) -> Credentials {
    Credentials::Basic {
        login: login.into(),
        password: password.into(),
    }
}

#[test]
fn every_recorded_request_is_read_and_written_again() {
    let heads = recorded_requests();
    assert_eq!(heads.len(), 24);
    let mut connects = 0;
    for head in &heads {
        let request = Request::from_head(head).unwrap();
        let credentials = Credentials::from_headers(&head.headers).unwrap().unwrap();
        let again = request.to_head(Some(&credentials)).unwrap();
        assert_eq!(again.path(), head.path());
        assert_eq!(
            again.headers.value("Authorization"),
            head.headers.value("Authorization")
        );
        assert_eq!(Request::from_head(&again), Ok(request.clone()));
        if let Request::Connect { id, parameters } = request {
            connects += 1;
            assert_eq!(id, 1);
            assert_eq!(parameters.value("qvd.client.keyboard"), Some("pc105/es"));
            // Every key of the reference's client is among ours.
            let ours = ClientParameters::default().to_parameters();
            let theirs: Vec<_> = parameters.iter().map(|(k, _)| k.to_owned()).collect();
            assert_eq!(
                ours.iter().map(|(k, _)| k.to_owned()).collect::<Vec<_>>(),
                theirs
            );
        }
    }
    assert_eq!(connects, 11);
}

#[test]
fn recorded_credentials_may_hold_colons() {
    let heads = recorded_requests();
    let Ok(Some(Credentials::Basic { login, password })) =
        Credentials::from_headers(&heads[0].headers)
    else {
        panic!("no basic credentials");
    };
    assert_eq!(
        (login.as_str(), password.expose_secret()),
        ("alice", "s3cret:x")
    );
    let token = heads
        .iter()
        .find_map(|h| match Credentials::from_headers(&h.headers) {
            Ok(Some(Credentials::Bearer { token })) => Some(token),
            _ => None,
        });
    assert_eq!(token.unwrap().expose_secret(), "tok123");
}

fn waiting_dialogue() -> Dialogue {
    let mut dialogue = Dialogue::new(Some(basic("alice", "x")), "test/1");
    let parameters = ConnectParameters::new();
    dialogue
        .ask(Request::Connect { id: 1, parameters })
        .unwrap();
    dialogue
}

fn events(dialogue: &mut Dialogue) -> Vec<String> {
    std::iter::from_fn(|| dialogue.poll_event().unwrap())
        .map(|event| match event {
            Event::Progress(text) => text,
            Event::Connected { slave_key, .. } => {
                format!("key {}", slave_key.unwrap().expose_secret())
            }
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn the_recorded_connect_is_followed_at_every_split_and_keeps_the_tunnels_bytes() {
    let mut bytes = RECORDED_ANSWER.to_vec();
    bytes.extend_from_slice(b"NXPROXY");
    let expected = [
        "Session acquired for VM_ID: 1",
        "Starting X session at VM 1",
        "Waiting for X session to come up on VM 1",
        "Connecting X session for VM_ID: 1",
        "Connection established",
        "key MWtHOVjuoyn8zG63bZD2lz1Ec5nZfWjzSG4AN2S1LsyDiTEUh0AhRu9Ctq83jfSs",
    ];
    for at in 0..=bytes.len() {
        let mut dialogue = waiting_dialogue();
        let (a, b) = bytes.split_at(at);
        dialogue.receive(a);
        let mut got = events(&mut dialogue);
        dialogue.receive(b);
        got.extend(events(&mut dialogue));
        assert_eq!(got, expected, "split at {at}");
        assert_eq!(dialogue.take_rest(), b"NXPROXY");
        assert!(!dialogue.is_waiting());
    }
}

#[test]
fn a_broker_writes_the_recorded_answer() {
    let mut out = Vec::new();
    for text in [
        "Session acquired for VM_ID: 1",
        "Starting X session at VM 1",
        "Waiting for X session to come up on VM 1",
        "Connecting X session for VM_ID: 1",
        "Connection established",
    ] {
        progress(text).write(&mut out).unwrap();
    }
    let key = "MWtHOVjuoyn8zG63bZD2lz1Ec5nZfWjzSG4AN2S1LsyDiTEUh0AhRu9Ctq83jfSs";
    connected(key).write(&mut out).unwrap();
    assert_eq!(out, RECORDED_ANSWER);
}

#[test]
fn a_cut_before_the_101_is_an_error() {
    let mut dialogue = waiting_dialogue();
    dialogue.receive(&RECORDED_ANSWER[..RECORDED_ANSWER.len() - 1]);
    assert_eq!(events(&mut dialogue).len(), 5);
    dialogue.receive_end();
    let truncated = Error::Http(qvd_http1::Error::Truncated);
    assert_eq!(dialogue.poll_event().unwrap_err(), truncated);
}

#[test]
fn an_answer_that_fits_no_request_is_an_error() {
    let mut dialogue = Dialogue::new(None, "test/1");
    dialogue.ask(Request::ListApplications).unwrap();
    dialogue.receive(b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
    assert!(matches!(
        dialogue.poll_event(),
        Err(Error::Unexpected { .. })
    ));
    let mut dialogue = waiting_dialogue();
    dialogue.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert!(matches!(
        dialogue.poll_event(),
        Err(Error::Unexpected { .. })
    ));
}

#[test]
fn requests_are_refused_with_the_status_of_their_fault() {
    let read = |target: &str| {
        let head = RequestHead::new("GET", target)
            .header("Connection", "Upgrade")
            .header("Upgrade", "QVD/1.0");
        Request::from_head(&head).map_err(|r| (r.status.code(), r.reason))
    };
    let not_allowed =
        |key| format!("parameter {key} is not allowed: names start with qvd.client. or custom.");
    for (target, code, reason) in [
        ("/qvd/nosuch", 404, "no such request".to_owned()),
        ("/other", 404, "no such request".to_owned()),
        ("/qvd/stop_vm", 422, "parameter id is missing".to_owned()),
        (
            "/qvd/connect_to_vm?id=",
            422,
            "parameter id is missing".to_owned(),
        ),
        (
            "/qvd/connect_to_vm?id=one",
            422,
            "parameter id is not a number".to_owned(),
        ),
        (
            "/qvd/connect_to_vm?id=%2B1",
            422,
            "parameter id is not a number".to_owned(),
        ),
        (
            "/qvd/connect_to_vm?id=1&qvd.slave.key=a",
            403,
            not_allowed("qvd.slave.key"),
        ),
        (
            "/qvd/connect_to_vm?id=1&qvd.client.=a",
            403,
            not_allowed("qvd.client."),
        ),
        (
            "/qvd/connect_to_vm?id=1&qvd.clientele=a",
            403,
            not_allowed("qvd.clientele"),
        ),
        (
            "/qvd/connect_to_vm?id=%zz",
            400,
            "malformed query string".to_owned(),
        ),
    ] {
        assert_eq!(read(target), Err((code, reason)), "{target}");
    }
    let bare = RequestHead::new("GET", "/qvd/connect_to_vm?id=1");
    assert_eq!(Request::from_head(&bare).unwrap_err().status.code(), 426);
    let posted = RequestHead::new("POST", "/qvd/ping");
    assert_eq!(Request::from_head(&posted).unwrap_err().status.code(), 404);
}

#[test]
fn credentials_that_cannot_be_read_are_an_error_not_nobody() {
    let read = |value: &str| {
        let mut headers = Headers::new();
        headers.push("Authorization", value);
        Credentials::from_headers(&headers)
    };
    for bad in [
        "Basic",
        "Basic !!",
        "Digest YTpi",
        "Basic YWxpY2U=",
        "Basic /w==",
        "",
    ] {
        assert!(matches!(read(bad), Err(Error::Authorization)), "{bad}");
    }
    assert!(matches!(
        Credentials::from_headers(&Headers::new()),
        Ok(None)
    ));
    // Folded by the reference's encoder, which breaks lines.
    let long = read("basic YWxpY2U6 czNjcmV0").unwrap().unwrap();
    let Credentials::Basic { password, .. } = long else {
        panic!()
    };
    assert_eq!(password.expose_secret(), "s3cret");
    assert!(matches!(
        basic("a:b", "c").to_header(),
        Err(Error::LoginWithColon)
    ));
}

#[test]
fn lists_of_the_reference_are_read_and_ours_have_its_form() {
    let entry = VmEntry {
        id: 1,
        state: "running".into(),
        name: "testvm".into(),
        blocked: false,
        is_application: false,
    };
    let recorded =
        br#"[{"id":1,"state":"running","name":"testvm","blocked":0,"is_application":0}]"#;
    let list = |body: &[u8]| read_vm_list(&Response::new(Status::OK, "application/json", body));
    assert_eq!(list(recorded), Ok(vec![entry.clone()]));
    assert_eq!(write_vm_list(std::slice::from_ref(&entry)).body, recorded);
    let loose =
        br#"[{"id":"1","state":"running","name":"testvm","blocked":null,"is_application":"0"}]"#;
    assert_eq!(list(loose), Ok(vec![entry]));
    assert_eq!(list(b"[]"), Ok(vec![]));
    for bad in [
        &b"{}"[..],
        b"[{\"id\":-1}]",
        b"[{\"id\":1}]",
        b"null",
        b"[",
        b"<html>",
    ] {
        assert!(matches!(list(bad), Err(Error::Body { .. })), "{bad:?}");
    }
}

#[test]
fn tokens_are_read_as_written_and_stay_secret() {
    let token = Token {
        auth_params_id: 7,
        auth_token: "t0ken".into(),
    };
    let response = token.to_response();
    let again = Token::from_response(&response).unwrap();
    assert_eq!(again.auth_token.expose_secret(), "t0ken");
    assert!(!format!("{again:?}").contains("t0ken"));
    let garbled = Response::new(Status::OK, "x", "{\"auth_token\":\"t0ken\", oops");
    assert!(
        !Token::from_response(&garbled)
            .unwrap_err()
            .to_string()
            .contains("t0ken")
    );
    for (json, id) in [("{}", None), ("{\"auth_params_id\":3}", Some(3))] {
        let response = Response::new(Status::OK, "application/json", json);
        let read = Authenticated::from_response(&response).unwrap();
        assert_eq!(read.auth_params_id, id);
        assert_eq!(read.to_response(), response);
    }
}

#[test]
fn refusals_carry_the_brokers_reason() {
    let refusal = Refusal::new(Status::SERVICE_UNAVAILABLE, "agent of VM 1\r\nis down");
    assert_eq!(refusal.reason, "agent of VM 1  is down");
    assert_eq!(Refusal::from_response(&refusal.to_response()), refusal);
    assert_eq!(refusal.meaning(), Meaning::Unavailable);
    let unauthorized = Refusal::new(Status::UNAUTHORIZED, "login or password is wrong");
    let response = unauthorized.to_response();
    assert_eq!(
        response.head.headers.text("WWW-Authenticate"),
        Some("Basic realm=\"QVD\"")
    );
    // The reference's bodies repeat the status in their first line.
    let recorded = Response::new(
        Status::CONFLICT,
        "text/plain",
        "409 Conflict\n    In use.\n",
    );
    assert_eq!(Refusal::from_response(&recorded).reason, "In use.");
    let empty = Response::new(Status::FORBIDDEN, "text/plain", "");
    assert_eq!(Refusal::from_response(&empty).reason, "Forbidden");
}

#[test]
fn the_environment_is_shared_with_the_list_request_only() {
    let variables = vec![("SSO_TICKET".to_owned(), SecretString::from("t1\nc"))];
    let mut dialogue = Dialogue::new(Some(basic("a", "b")), "test/1").with_environment(variables);
    dialogue.ask(Request::ListVms { file_name: None }).unwrap();
    dialogue.ask(Request::ListApplications).unwrap();
    let sent = dialogue.poll_transmit().unwrap();
    assert!(dialogue.poll_transmit().is_none());
    let mut reader = RequestReader::new(0);
    reader.receive(&sent);
    let list = reader.poll().unwrap().unwrap().head;
    assert_eq!(
        list.headers.text("Auth-53534f5f5449434b4554"),
        Some("dDEKYw==")
    );
    let shared = read_environment(&list.headers).unwrap();
    assert_eq!(
        (shared[0].0.as_str(), shared[0].1.expose_secret()),
        ("SSO_TICKET", "t1\nc")
    );
    let applications = reader.poll().unwrap().unwrap().head;
    assert!(read_environment(&applications.headers).unwrap().is_empty());
    for bad in ["Auth-5", "Auth-zz", "Auth-", "Auth-ff"] {
        let mut headers = Headers::new();
        headers.push(bad, "YQ==");
        assert!(read_environment(&headers).is_err(), "{bad}");
    }
}

#[test]
fn secrets_stay_out_of_debug_output() {
    let mut parameters = ConnectParameters::new();
    parameters.set("custom.ticket", "s3cret").unwrap();
    let request = Request::Connect { id: 1, parameters };
    let shown = format!("{request:?} {:?}", basic("alice", "s3cret"));
    assert!(!shown.contains("s3cret"), "{shown}");
}

proptest! {
    #[test]
    fn requests_are_read_as_written(
        id in any::<u64>(),
        pairs in proptest::collection::btree_map(
            "(qvd\\.client|custom)\\.[a-z.]{1,12}", "[^\\p{C}]{0,20}", 0..6),
        file_name in proptest::option::of("[^\\p{C}]{1,20}"),
        store_auth in any::<bool>(),
    ) {
        let parameters = ConnectParameters::from_pairs(pairs).unwrap();
        for request in [
            Request::Ping, Request::ListApplications, Request::CreateToken,
            Request::ListVms { file_name }, Request::Authenticate { store_auth },
            Request::StopVm { id }, Request::Connect { id, parameters },
        ] {
            prop_assert_eq!(Request::from_head(&request.to_head(None).unwrap()), Ok(request));
        }
    }

    #[test]
    fn credentials_are_read_as_written(login in "[^:\\p{C}]{0,20}", password in "[^\\p{C}]{0,80}") {
        let mut headers = Headers::new();
        headers.push("Authorization", basic(&login, &password).to_header().unwrap());
        let read = Credentials::from_headers(&headers).unwrap().unwrap();
        let Credentials::Basic { login: l, password: p } = read else { panic!() };
        prop_assert_eq!((l.as_str(), p.expose_secret()), (login.as_str(), password.as_str()));
    }

    #[test]
    fn the_environment_is_read_as_written(
        name in "[^\\p{C}]{1,20}", value in "[^\\p{C}]{0,40}",
    ) {
        let value = SecretString::from(value);
        let mut headers = Headers::new();
        write_environment(&mut headers, [(name.as_str(), &value)]);
        let read = read_environment(&headers).unwrap();
        prop_assert_eq!(read[0].0.as_str(), name.as_str());
        prop_assert_eq!(read[0].1.expose_secret(), value.expose_secret());
    }

    #[test]
    fn no_answer_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut dialogue = waiting_dialogue();
        dialogue.receive(b"HTTP/1.1 ");
        dialogue.receive(&bytes);
        dialogue.receive_end();
        while let Ok(Some(_)) = dialogue.poll_event() {}
    }
}
