//! Requests of the slave channel against recordings of the reference, and at
//! every split of their bytes.

#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use qvd_http1::{Request, RequestHead, RequestReader, Status};
use qvd_slave::{ClientRequest, Error, Key, MAX_BODY, SFTP, VmRequest, mount_name};

const SHARE: &[u8] = include_bytes!("../../recordings/slave-share.request.http");

fn key() -> Key {
    Key::new("SLAVEKEY0123456789").unwrap()
}

fn read(bytes: &[u8]) -> (Request, Vec<u8>) {
    let mut reader = RequestReader::new(MAX_BODY);
    reader.receive(bytes);
    let request = reader.poll().unwrap().unwrap();
    (request, reader.take_rest())
}

fn head(line: &str, headers: &[(&str, &str)]) -> RequestHead {
    let mut text = format!("{line} HTTP/1.1\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    read(format!("{text}\r\n").as_bytes()).0.head
}

#[test]
fn the_references_share_is_understood_at_every_split() {
    let init = b"\0\0\0\x05\x01\0\0\0\x03";
    let bytes = [SHARE, init].concat();
    for split in 0..=SHARE.len() {
        let (first, second) = bytes.split_at(split);
        let mut reader = RequestReader::new(MAX_BODY);
        reader.receive(first);
        let early = reader.poll().unwrap();
        reader.receive(second);
        let request = early.or_else(|| reader.poll().unwrap()).unwrap();
        key().check(&request.head.headers).unwrap();
        let share = VmRequest::from_head(&request.head).unwrap();
        let VmRequest::Share { path, charset } = share else {
            panic!("{share:?}")
        };
        assert_eq!(path, b"/srv/rig/sharesrc/docs");
        assert_eq!(charset, None);
        assert_eq!(mount_name(&path), b"docs");
        assert_eq!(reader.take_rest(), init, "split at {split}");
    }
}

#[test]
fn our_share_differs_from_the_references_in_the_user_agent_only() {
    let share = VmRequest::Share {
        path: b"/srv/rig/sharesrc/docs".to_vec(),
        charset: None,
    };
    let mut ours = Vec::new();
    share.to_head(&key()).write(&mut ours).unwrap();
    let reference = String::from_utf8(SHARE.to_vec()).unwrap();
    let reference: String = reference
        .split_inclusive("\r\n")
        .filter(|line| !line.starts_with("User-Agent"))
        .collect();
    assert_eq!(String::from_utf8(ours).unwrap(), reference);
}

#[test]
fn refusals_have_their_status() {
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", SFTP)];
    let cases: [(RequestHead, Status); 8] = [
        (head("PUT /shares//a", &[]), Status::BAD_REQUEST),
        (head("PUT /share/a", &upgrade), Status::NOT_FOUND),
        (head("DELETE /shares/a", &upgrade), Status::NOT_FOUND),
        (head("POST /open/a", &[]), Status::BAD_REQUEST),
        (
            head("POST /open/../a", &[("X-QVD-Share-Ticket", "docs")]),
            Status::BAD_REQUEST,
        ),
        (
            head("POST /open//etc/passwd", &[("X-QVD-Share-Ticket", "docs")]),
            Status::BAD_REQUEST,
        ),
        (head("POST /usbip", &[]), Status::BAD_REQUEST),
        (head("GET /", &[]), Status::NOT_FOUND),
    ];
    for (head, status) in cases {
        let error = VmRequest::from_head(&head).unwrap_err();
        assert_eq!(error.status(), status, "{head:?}");
        let mut bytes = Vec::new();
        error.response().write(&mut bytes).unwrap();
    }
    let long = format!("PUT /shares/{}", "a".repeat(4097));
    assert_eq!(
        VmRequest::from_head(&head(&long, &upgrade)),
        Err(Error::Path("too long"))
    );
}

#[test]
fn a_charset_is_a_name() {
    let with = |charset| {
        let upgrade = format!("{SFTP};charset={charset}");
        VmRequest::from_head(&head(
            "PUT /shares//a",
            &[("Connection", "Upgrade"), ("Upgrade", &upgrade)],
        ))
    };
    let expected = VmRequest::Share {
        path: b"/a".to_vec(),
        charset: Some("ISO-8859-15".into()),
    };
    assert_eq!(with("ISO-8859-15"), Ok(expected));
    for bad in ["", "a,b", "a b", "a=b"] {
        assert_eq!(with(bad), Err(Error::Malformed("charset")), "{bad}");
    }
}

#[test]
fn ports_and_printers_have_a_grammar() {
    let port = |n: u16| n.try_into().unwrap();
    let cases = [
        ("GET /ping", ClientRequest::Ping),
        ("GET /printer", ClientRequest::Printers),
        (
            "POST /tcp/connect/631",
            ClientRequest::TcpConnect(port(631)),
        ),
        (
            "GET /tcp/portcheck/65535",
            ClientRequest::TcpCheck(port(65535)),
        ),
        (
            "POST /printer/laser-1/printjob",
            ClientRequest::PrintJob {
                printer: "laser-1".into(),
            },
        ),
    ];
    for (line, request) in cases {
        assert_eq!(
            ClientRequest::from_head(&head(line, &[])),
            Ok(request),
            "{line}"
        );
    }
    for bad in ["0", "65536", "+80", "", "80/x", "-1"] {
        let line = format!("POST /tcp/connect/{bad}");
        assert!(
            ClientRequest::from_head(&head(&line, &[])).is_err(),
            "{bad}"
        );
    }
    for bad in ["..", "a/b", "a b", ""] {
        let line = format!("POST /printer/{bad}/printjob");
        assert!(
            ClientRequest::from_head(&head(&line, &[])).is_err(),
            "{bad}"
        );
    }
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![0x20_u8..0x7f, 0x80_u8..=0xff], 0..60)
}

fn relative() -> impl Strategy<Value = Vec<u8>> {
    path().prop_filter("relative", |p| {
        !p.starts_with(b"/") && !p.split(|b| *b == b'/').any(|c| c == b"..")
    })
}

fn vm_request() -> impl Strategy<Value = VmRequest> {
    prop_oneof![
        (
            path(),
            proptest::option::of("[A-Za-z0-9][A-Za-z0-9-]{0,20}")
        )
            .prop_map(|(path, charset)| VmRequest::Share { path, charset }),
        path().prop_map(|path| VmRequest::Fetch { path }),
        (relative(), "[a-z]{1,9}").prop_map(|(path, ticket)| VmRequest::Open {
            path,
            ticket: ticket.into()
        }),
        Just(VmRequest::Usb),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(request in vm_request(), rest in proptest::collection::vec(any::<u8>(), 0..20)) {
        let mut bytes = Vec::new();
        request.to_head(&key()).write(&mut bytes).unwrap();
        bytes.extend_from_slice(&rest);
        let (read, left) = read(&bytes);
        prop_assert_eq!(key().check(&read.head.headers), Ok(()));
        prop_assert_eq!(VmRequest::from_head(&read.head), Ok(request));
        prop_assert_eq!(left, rest);
    }

    #[test]
    fn no_head_panics(method in "[A-Z]{1,6}", target in path(), upgrade in path()) {
        let head = RequestHead::new(method, [b"/", target.as_slice()].concat())
            .header("Connection", "Upgrade")
            .header("Upgrade", upgrade);
        let _ = VmRequest::from_head(&head);
        let _ = ClientRequest::from_head(&head);
    }
}
