//! What is refused, what is tolerated, and that no bytes can do more than that.

use proptest::prelude::*;
use qvd_http1::{
    Error, MAX_HEAD, MAX_HEADERS, RequestHead, RequestReader, ResponseEvent, ResponseHead,
    ResponseReader, Status,
};

fn read(bytes: &[u8]) -> Result<Option<qvd_http1::Request>, Error> {
    let mut reader = RequestReader::new(16);
    reader.receive(bytes);
    reader.poll()
}

fn read_response(bytes: &[u8]) -> Result<Option<ResponseEvent>, Error> {
    let mut reader = ResponseReader::new(16);
    reader.receive(bytes);
    reader.receive_end();
    reader.poll()
}

#[test]
fn bare_line_feeds_and_leading_empty_lines_are_tolerated() {
    let request = read(b"\r\n\nGET /vma/ping?a=b HTTP/1.1\nHost: x\n\n")
        .unwrap()
        .unwrap();
    assert_eq!(request.head.path(), b"/vma/ping");
    assert_eq!(request.head.query(), b"a=b");
    assert_eq!(request.head.headers.text("host"), Some("x"));
}

#[test]
fn folded_header_lines_are_joined() {
    let folded =
        b"GET / HTTP/1.1\r\nAuthorization: Basic YWxpY2U6\r\n  czNjcmV0\r\nAccept: a\r\n\r\n";
    let request = read(folded).unwrap().unwrap();
    assert_eq!(
        request.head.headers.text("Authorization"),
        Some("Basic YWxpY2U6 czNjcmV0")
    );
    assert_eq!(request.head.headers.text("Accept"), Some("a"));
    let blank_fold = b"GET / HTTP/1.1\r\nA: b\r\n  \r\nC: d\r\n\r\n";
    let request = read(blank_fold).unwrap().unwrap();
    assert_eq!(request.head.headers.text("C"), Some("d"));
}

#[test]
fn a_folder_name_with_spaces_is_one_target() {
    let request = read(b"PUT /shares//home/ann/my docs HTTP/1.1\r\n\r\n")
        .unwrap()
        .unwrap();
    assert_eq!(request.head.path(), b"/shares//home/ann/my docs");
}

#[test]
fn malformed_requests_are_refused_with_their_status() {
    for (bytes, error, code) in [
        (&b"GET /vma/ping\r\n\r\n"[..], Error::RequestLine, 400),
        (b"GET  / HTTP/1.1\r\n\r\n", Error::RequestLine, 400),
        (b"get / HTTP/1.1\r\n\r\n", Error::RequestLine, 400),
        (b"GET http://x/ HTTP/1.1\r\n\r\n", Error::RequestLine, 400),
        (b"GET /\0 HTTP/1.1\r\n\r\n", Error::RequestLine, 400),
        (b"GET / HTTP/1.1 x\r\n\r\n", Error::RequestLine, 400),
        (b"GET / SPDY\r\n\r\n", Error::RequestLine, 400),
        (b"GET / HTTP/1.0\r\n\r\n", Error::Version, 505),
        (b"GET / HTTP/2.0\r\n\r\n", Error::Version, 505),
        (
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            Error::HeaderLine,
            400,
        ),
        (b"GET / HTTP/1.1\r\nA : b\r\n\r\n", Error::HeaderLine, 400),
        (
            b"GET / HTTP/1.1\r\n folded: b\r\n\r\n",
            Error::RequestLine,
            400,
        ),
        (b"GET / HTTP/1.1\r\nA: b\0c\r\n\r\n", Error::HeaderLine, 400),
        (
            b"GET / HTTP/1.1\r\nContent-Length: 1, 2\r\n\r\n",
            Error::ContentLength,
            400,
        ),
        (
            b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            Error::TransferEncoding,
            501,
        ),
        (
            b"GET / HTTP/1.1\r\nContent-Length: 17\r\n\r\n",
            Error::BodyTooLarge {
                length: 17,
                limit: 16,
            },
            413,
        ),
    ] {
        let got = read(bytes);
        assert_eq!(got, Err(error), "{}", String::from_utf8_lossy(bytes));
        assert_eq!(got.unwrap_err().status().code(), code);
    }
}

#[test]
fn heads_are_bounded_in_bytes_and_lines() {
    let mut endless = b"GET / HTTP/1.1\r\nA: ".to_vec();
    endless.resize(MAX_HEAD + 1, b'x');
    assert_eq!(read(&endless), Err(Error::HeadTooLarge { limit: MAX_HEAD }));
    endless.extend_from_slice(b"\r\n\r\n");
    assert_eq!(read(&endless), Err(Error::HeadTooLarge { limit: MAX_HEAD }));

    let lines = |n: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(n));
    assert!(read(lines(MAX_HEADERS).as_bytes()).unwrap().is_some());
    let too_many = Err(Error::TooManyHeaders { limit: MAX_HEADERS });
    assert_eq!(read(lines(MAX_HEADERS + 1).as_bytes()), too_many);
}

#[test]
fn malformed_responses_are_refused() {
    for bytes in [
        &b"HTTP/1.1\r\n\r\n"[..],
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 999 No\r\n\r\n",
        b"HTTP/1.1 +20 No\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
    ] {
        assert_eq!(read_response(bytes), Err(Error::StatusLine), "{bytes:?}");
    }
    assert_eq!(
        read_response(b"HTTP/1.0 200 OK\r\n\r\n"),
        Err(Error::Version)
    );
}

#[test]
fn a_response_without_length_lasts_until_the_end() {
    let Ok(Some(ResponseEvent::Response(response))) =
        read_response(b"HTTP/1.1 503 Service Unavailable\r\n\r\nvm is down")
    else {
        panic!("no response");
    };
    assert_eq!(response.body, b"vm is down");
    let long = read_response(b"HTTP/1.1 200 OK\r\n\r\n01234567890123456");
    assert_eq!(
        long,
        Err(Error::BodyTooLarge {
            length: 17,
            limit: 16
        })
    );
}

#[test]
fn nothing_can_be_smuggled_into_a_head_that_is_written() {
    let mut out = Vec::new();
    let request = |target: &str| RequestHead::new("GET", target);
    assert!(request("/a\r\nX: y").write(&mut out).is_err());
    assert!(request("no-slash").write(&mut out).is_err());
    assert!(
        request("/")
            .header("A", "b\r\nC: d")
            .write(&mut out)
            .is_err()
    );
    assert!(request("/").header("A\r\nC", "d").write(&mut out).is_err());
    assert!(request("/").header("A_B", "c").write(&mut out).is_err());
    let mut response = ResponseHead::new(Status::OK);
    response.reason = "OK\r\nX: y".into();
    assert!(response.write(&mut out).is_err());
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_are_read_alike(
        bytes in proptest::collection::vec(
            prop_oneof![Just(b'\r'), Just(b'\n'), Just(b' '), Just(b':'), Just(b'/'), any::<u8>()],
            0..300),
        cut in 0usize..300,
    ) {
        let mut bytes = bytes;
        bytes.splice(0..0, *b"GET / HTTP/1.1\r\nA: b\r\n");
        let all = |pieces: &[&[u8]]| {
            let mut reader = RequestReader::new(16);
            let mut got = Vec::new();
            for piece in pieces {
                reader.receive(piece);
                loop {
                    match reader.poll() {
                        Ok(Some(r)) => got.push(Ok(r)),
                        Ok(None) => break,
                        Err(e) => { got.push(Err(e)); return got; }
                    }
                }
            }
            got
        };
        let (a, b) = bytes.split_at(cut.min(bytes.len()));
        prop_assert_eq!(all(&[a, b]), all(&[&bytes]));
    }

    #[test]
    fn what_is_written_is_read(
        target in "/[!-~]{0,40}",
        headers in proptest::collection::vec(("[A-Za-z][A-Za-z0-9-]{0,12}", "[!-~]([ -~]{0,30}[!-~])?"), 0..8),
    ) {
        let mut head = RequestHead::new("GET", target);
        for (name, value) in headers.iter().filter(|(n, _)| {
            !n.eq_ignore_ascii_case("content-length") && !n.eq_ignore_ascii_case("transfer-encoding")
        }) {
            head.headers.push(name.as_str(), value.as_str());
        }
        let mut out = Vec::new();
        head.write(&mut out).unwrap();
        prop_assert_eq!(read(&out).unwrap().unwrap().head, head);
    }
}
