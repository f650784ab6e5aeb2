//! Every recorded exchange is read, at every split, and written back byte for byte.

use qvd_http1::{Error, RequestReader, Response, ResponseEvent, ResponseReader, Status};

const BODY_LIMIT: usize = 64 * 1024;

macro_rules! recording {
    ($name:literal) => {
        include_bytes!(concat!("../../../recordings/", $name)).as_slice()
    };
}

fn requests_in_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut reader = RequestReader::new(BODY_LIMIT);
    let mut written = Vec::new();
    for piece in pieces {
        reader.receive(piece);
        while let Some(request) = reader.poll().unwrap() {
            let mut out = Vec::new();
            request.head.write(&mut out).unwrap();
            out.extend_from_slice(&request.body);
            written.push(out);
        }
    }
    assert!(!reader.is_within_message());
    written
}

fn responses_in_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<ResponseEvent> {
    let mut reader = ResponseReader::new(BODY_LIMIT);
    let mut events = Vec::new();
    for piece in pieces {
        reader.receive(piece);
        while let Some(event) = reader.poll().unwrap() {
            events.push(event);
        }
    }
    assert_eq!(reader.take_rest(), b"");
    events
}

fn write_event(event: &ResponseEvent, out: &mut Vec<u8>) {
    match event {
        ResponseEvent::Interim(head) | ResponseEvent::Upgraded(head) => head.write(out).unwrap(),
        ResponseEvent::Response(response) => response.write(out).unwrap(),
    }
}

#[test]
fn requests_are_read_at_every_split_and_written_back() {
    for (bytes, count) in [
        (recording!("client.requests.http"), 24),
        (recording!("agent.requests.http"), 7),
        (recording!("slave-share.request.http"), 1),
    ] {
        let whole = requests_in_pieces([bytes]);
        assert_eq!(whole.len(), count);
        assert_eq!(whole.concat(), bytes);
        assert_eq!(requests_in_pieces(bytes.chunks(1)), whole);
        for at in 0..bytes.len().min(1500) {
            let (a, b) = bytes.split_at(at);
            assert_eq!(requests_in_pieces([a, b]), whole, "split at {at}");
        }
    }
}

#[test]
fn responses_are_read_at_every_split_and_written_back() {
    for (bytes, count) in [
        (recording!("broker-connect.responses.http"), 6),
        (recording!("agent.responses.http"), 7),
        (recording!("agent-pipelined.response.http"), 2),
        (recording!("agent-bad-header.response.http"), 1),
        (recording!("agent-http10.response.http"), 1),
        (recording!("slave-share.response.http"), 1),
        (recording!("slave-conflict.response.http"), 1),
    ] {
        let whole = responses_in_pieces([bytes]);
        assert_eq!(whole.len(), count);
        let mut written = Vec::new();
        whole.iter().for_each(|e| write_event(e, &mut written));
        assert_eq!(written, bytes);
        assert_eq!(responses_in_pieces(bytes.chunks(1)), whole);
        for at in 0..bytes.len() {
            let (a, b) = bytes.split_at(at);
            assert_eq!(responses_in_pieces([a, b]), whole, "split at {at}");
        }
    }
}

#[test]
fn the_tunnels_first_bytes_survive_the_101_in_the_same_segment() {
    let mut bytes = recording!("broker-connect.responses.http").to_vec();
    bytes.extend_from_slice(b"NXPROXY-3.5.0-3.5.99 link=LAN");
    let mut reader = ResponseReader::new(BODY_LIMIT);
    reader.receive(&bytes);
    let mut progress = Vec::new();
    let upgraded = loop {
        match reader.poll().unwrap().unwrap() {
            ResponseEvent::Interim(head) => {
                progress.push(head.headers.text("X-QVD-VM-Info").unwrap().to_owned());
            }
            ResponseEvent::Upgraded(head) => break head,
            ResponseEvent::Response(r) => panic!("{r:?}"),
        }
    };
    assert_eq!(progress.len(), 5);
    assert_eq!(progress[4], "Connection established");
    assert_eq!(upgraded.headers.value("x-qvd-slave-key").unwrap().len(), 64);
    assert_eq!(reader.take_rest(), b"NXPROXY-3.5.0-3.5.99 link=LAN");
}

#[test]
fn a_pipelined_init_after_an_upgrade_request_is_kept() {
    let mut bytes = recording!("slave-share.request.http").to_vec();
    let init = b"\0\0\0\x05\x01\0\0\0\x03";
    bytes.extend_from_slice(init);
    for at in 0..bytes.len() {
        let mut reader = RequestReader::new(0);
        let (a, b) = bytes.split_at(at);
        reader.receive(a);
        let early = reader.poll().unwrap();
        reader.receive(b);
        let request = match early {
            Some(request) => request,
            None => reader.poll().unwrap().unwrap(),
        };
        assert_eq!(request.head.path(), b"/shares//srv/rig/sharesrc/docs");
        assert!(request.head.headers.asks_upgrade_to("qvd:sftp/1.0"));
        assert_eq!(reader.take_rest(), init);
    }
}

#[test]
fn our_error_responses_have_the_form_of_the_recorded_ones() {
    let recorded = recording!("agent-bad-header.response.http");
    let body = &recorded[recorded.len() - 76..];
    let mut ours = Vec::new();
    Response::new(Status::BAD_REQUEST, "text/plain", body)
        .write(&mut ours)
        .unwrap();
    assert_eq!(ours, recorded);
}

#[test]
fn the_end_of_the_connection_within_a_message_is_an_error() {
    let bytes = recording!("agent-pipelined.response.http");
    for at in 0..bytes.len() {
        let mut reader = ResponseReader::new(BODY_LIMIT);
        reader.receive(&bytes[..at]);
        reader.receive_end();
        let end = loop {
            match reader.poll() {
                Ok(Some(_)) => {}
                end => break end,
            }
        };
        assert_eq!(end, Err(Error::Truncated), "cut at {at}");
    }
}
