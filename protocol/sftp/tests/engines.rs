//! Client and server joined, at every split of their bytes, and both against
//! bytes that no peer would send.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use proptest::prelude::*;
use qvd_sftp::{
    Answer, Attributes, Client, DataReply, Error, Event, Extensions, Failure, Fetch, FileSystem,
    Lapse, Limits, NamesReply, OpenFlags, ReadAhead, Reply, Request, Response, Server, Status,
    Times,
};

const TIMEOUT: Duration = Duration::from_secs(30);

/// A client and a server whose file is a row of bytes, joined by pieces of
/// `split` bytes.
struct Pair {
    client: Client<usize>,
    server: Server,
    now: Instant,
    split: usize,
    file: Vec<u8>,
    answers: Vec<(usize, Answer)>,
}

impl Pair {
    fn new(split: usize) -> Self {
        let now = Instant::now();
        let mut pair = Self {
            client: Client::new(TIMEOUT, now),
            server: Server::new(Extensions::ALL),
            now,
            split,
            file: (0..=255).cycle().take(4000).collect(),
            answers: Vec::new(),
        };
        pair.drive();
        pair
    }

    /// Until nothing moves.
    fn drive(&mut self) {
        loop {
            let mut moved = false;
            while let Some(packet) = self.client.poll_transmit() {
                for piece in packet.chunks(self.split) {
                    self.server.receive(piece).unwrap();
                }
                moved = true;
            }
            let mut operations: Vec<_> = std::iter::from_fn(|| self.server.start()).collect();
            // The last first: order must not matter to those that may go.
            while let Some(operation) = operations.pop() {
                let reply = self.carry_out(&operation.request());
                self.server.finish(&operation, reply);
                moved = true;
            }
            while let Some(packet) = self.server.poll_transmit() {
                self.server.sent(packet.len());
                for piece in packet.chunks(self.split) {
                    self.client.receive(piece, self.now).unwrap();
                }
                moved = true;
            }
            while let Some(event) = self.client.poll_event() {
                match event {
                    Event::Ready(extensions) => assert_eq!(extensions, Extensions::ALL),
                    Event::Answer(tag, answer) => self.answers.push((tag, answer)),
                    Event::Lapsed(..) => panic!("lapsed"),
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn carry_out(&mut self, request: &Request<'_>) -> Reply {
        match request {
            Request::Open { .. } => Reply::Handle(7),
            Request::Read { offset, length, .. } => {
                let from = usize::try_from(*offset).unwrap().min(self.file.len());
                let to = (from + usize::try_from(*length).unwrap()).min(self.file.len());
                if from == to {
                    return Reply::Status(Status::EndOfFile.into());
                }
                let mut data = DataReply::with_capacity(to - from);
                data.buffer().extend_from_slice(&self.file[from..to]);
                Reply::Data(data)
            }
            Request::Write { offset, data, .. } => {
                let at = usize::try_from(*offset).unwrap();
                self.file.resize(self.file.len().max(at + data.len()), 0);
                self.file[at..at + data.len()].copy_from_slice(data);
                Reply::OK
            }
            Request::Readdir { .. } => {
                let mut names = NamesReply::new();
                assert!(names.push(b"caf\xe9", &Attributes::with_mode(0o100_644)));
                assert!(names.push(b"b", &Attributes::NONE));
                Reply::Names(names)
            }
            Request::Limits => Reply::Limits(Limits {
                packet: 1,
                read: 2,
                write: 3,
                handles: 4,
            }),
            Request::Statvfs { .. } => Reply::FileSystem(FileSystem {
                blocks: 9,
                ..FileSystem::default()
            }),
            Request::Rmdir { .. } => Reply::Status(Failure {
                status: Status::Failure,
                errno: Some(39),
            }),
            _ => Reply::OK,
        }
    }
}

#[test]
fn a_dialogue_is_the_same_at_every_split() {
    for split in [1, 2, 3, 5, 7, 64, 100_000] {
        let mut pair = Pair::new(split);
        let now = pair.now;
        let requests = [
            Request::Open {
                path: b"f",
                flags: OpenFlags::READ,
                attributes: Attributes::NONE,
            },
            Request::Read {
                handle: &7_u64.to_be_bytes(),
                offset: 10,
                length: 20,
            },
            Request::Readdir { handle: b"1" },
            Request::Limits,
            Request::Statvfs { path: b"." },
            Request::Rmdir { path: b"full" },
        ];
        for (tag, request) in requests.iter().enumerate() {
            pair.client.request(request, tag, now);
        }
        pair.drive();
        pair.answers.sort_by_key(|(tag, _)| *tag);
        let said: Vec<_> = pair
            .answers
            .iter()
            .map(|(_, answer)| match answer.response() {
                Response::Handle(handle) => format!("handle {handle:?}"),
                Response::Data(data) => format!("data {data:?}"),
                Response::Names(names) => {
                    let names: Vec<_> = names
                        .map(|n| (n.name.to_vec(), n.attributes.mode))
                        .collect();
                    format!("names {names:?}")
                }
                Response::Status(failure) => format!("{:?} {:?}", failure.status, failure.errno),
                other => format!(
                    "{:?} {:?}",
                    other.limits().map(|l| l.handles),
                    other.file_system().map(|f| f.blocks)
                ),
            })
            .collect();
        let data: Vec<u8> = (10..30).collect();
        assert_eq!(
            said,
            [
                "handle [0, 0, 0, 0, 0, 0, 0, 7]".to_owned(),
                format!("data {data:?}"),
                "names [([99, 97, 102, 233], Some(33188)), ([98], None)]".to_owned(),
                // A file system has more fields than limits, and begins alike.
                "Some(4) None".to_owned(),
                "Some(0) Some(9)".to_owned(),
                "Failure Some(39)".to_owned(),
            ],
            "split {split}"
        );
    }
}

#[test]
fn silence_lapses_and_a_late_handle_is_closed() {
    let mut pair = Pair::new(1000);
    let start = pair.now;
    let open = Request::Open {
        path: b"f",
        flags: OpenFlags::READ,
        attributes: Attributes::NONE,
    };
    pair.client.request(&open, 1, start);
    let packet = pair.client.poll_transmit().unwrap();
    assert_eq!(pair.client.poll_timeout(), Some(start + TIMEOUT));
    // Bytes on their way put it off.
    let later = start + Duration::from_secs(20);
    pair.client.sent(later);
    pair.client.handle_timeout(start + TIMEOUT).unwrap();
    assert!(pair.client.poll_event().is_none());
    pair.client.handle_timeout(later + TIMEOUT).unwrap();
    let event = pair.client.poll_event().unwrap();
    assert!(matches!(event, Event::Lapsed(1, Lapse::Silence)));
    assert_eq!(pair.client.poll_timeout(), None);

    pair.server.receive(&packet).unwrap();
    let operation = pair.server.start().unwrap();
    pair.server.finish(&operation, Reply::Handle(5));
    let late = pair.server.poll_transmit().unwrap();
    pair.client.receive(&late, later).unwrap();
    let close = pair.client.poll_transmit().unwrap();
    let (_, request) = Request::read(&close[4..]).unwrap();
    let handle = 5_u64.to_be_bytes();
    assert_eq!(request, Request::Close { handle: &handle });
}

#[test]
fn no_time_passes_in_a_pause() {
    let mut pair = Pair::new(1000);
    let start = pair.now;
    let second = Duration::from_secs(1);
    pair.client.request(&Request::Stat { path: b"a" }, 1, start);
    pair.client.pause(start + 10 * second);
    pair.client
        .request(&Request::Stat { path: b"b" }, 2, start + 40 * second);
    assert_eq!(pair.client.poll_timeout(), None);
    pair.client.handle_timeout(start + 900 * second).unwrap();
    assert!(pair.client.poll_event().is_none());
    // Told twice, it is paused since the first time.
    pair.client.pause(start + 50 * second);
    pair.client.unpause(start + 1000 * second);
    pair.client.unpause(start + 1001 * second);
    // Ten seconds of the first one's time were over.
    let first = start + 990 * second + TIMEOUT;
    assert_eq!(pair.client.poll_timeout(), Some(first));
    pair.client.handle_timeout(first).unwrap();
    let event = pair.client.poll_event().unwrap();
    assert!(matches!(event, Event::Lapsed(1, Lapse::Silence)));
    assert!(pair.client.poll_event().is_none());
    let second = start + 1000 * second + TIMEOUT;
    assert_eq!(pair.client.poll_timeout(), Some(second));
    pair.client.handle_timeout(second).unwrap();
    let event = pair.client.poll_event().unwrap();
    assert!(matches!(event, Event::Lapsed(2, Lapse::Silence)));
    assert_eq!(pair.client.poll_timeout(), None);
}

#[test]
fn a_request_that_is_never_answered_ends_though_others_are() {
    let mut pair = Pair::new(1000);
    let start = pair.now;
    pair.client.request(&Request::Stat { path: b"a" }, 1, start);
    let _lost = pair.client.poll_transmit().unwrap();
    let mut lapsed = false;
    for second in 1..=300 {
        let now = start + Duration::from_secs(second);
        pair.now = now;
        pair.client.request(&Request::Stat { path: b"b" }, 2, now);
        pair.drive();
        pair.client.handle_timeout(now).unwrap();
        while let Some(event) = pair.client.poll_event() {
            assert!(matches!(event, Event::Lapsed(1, Lapse::Neglect)));
            assert_eq!(second, 300);
            lapsed = true;
        }
    }
    assert!(lapsed);
}

#[test]
fn strangers_are_refused() {
    let version = |number: u8| [0, 0, 0, 5, 2, 0, 0, 0, number];
    let now = Instant::now();
    let mut client = Client::<()>::new(TIMEOUT, now);
    assert_eq!(client.receive(&version(2), now), Err(Error::OldVersion(2)));
    let mut client = Client::<()>::new(TIMEOUT, now);
    client.receive(&version(3), now).unwrap();
    let unasked = [0, 0, 0, 9, 101, 0, 0, 0, 77, 0, 0, 0, 0];
    assert_eq!(client.receive(&unasked, now), Err(Error::Unasked(77)));
    let mut server = Server::new(Extensions::ALL);
    assert_eq!(server.receive(&[0, 0, 0, 1, 3]), Err(Error::Version));
    let mut server = Server::new(Extensions::ALL);
    let long = Error::PacketTooLong {
        length: 0x0100_0000,
    };
    assert_eq!(server.receive(&[1, 0, 0, 0]), Err(long));
}

#[test]
fn a_server_that_is_not_read_from_stops_reading() {
    let mut pair = Pair::new(1_000_000);
    let now = pair.now;
    let mut sent = 0;
    while pair.server.wants_input() {
        pair.client
            .request(&Request::Stat { path: b"a" }, sent, now);
        sent += 1;
        let packet = pair.client.poll_transmit().unwrap();
        pair.server.receive(&packet).unwrap();
        assert!(sent < 10_000);
    }
    pair.drive();
    assert_eq!(pair.answers.len(), sent);
    assert!(pair.server.wants_input() && pair.server.is_idle());
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..most)
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(1_u8..=255, 0..40)
}

fn attributes() -> impl Strategy<Value = Attributes> {
    use proptest::option::of;
    (
        of(any::<u64>()),
        of(any::<(u32, u32)>()),
        of(any::<u32>()),
        of(any::<(u32, u32)>()),
    )
        .prop_map(|(size, owner, mode, times)| Attributes {
            size,
            owner,
            mode,
            times: times.map(|(access, modification)| Times {
                access,
                modification,
            }),
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        a in path(), b in path(), data in bytes(300), attributes in attributes(),
        id in any::<u32>(), n in any::<u64>(), m in any::<u32>(),
    ) {
        let (a, b) = (a.as_slice(), b.as_slice());
        let flags = OpenFlags::from_bits(m);
        let requests = [
            Request::Open { path: a, flags, attributes },
            Request::Close { handle: b },
            Request::Read { handle: a, offset: n, length: m },
            Request::Write { handle: a, offset: n, data: &data },
            Request::Lstat { path: a }, Request::Fstat { handle: b },
            Request::Setstat { path: a, attributes }, Request::Fsetstat { handle: a, attributes },
            Request::Opendir { path: a }, Request::Readdir { handle: b },
            Request::Remove { path: a }, Request::Mkdir { path: a, attributes },
            Request::Rmdir { path: a }, Request::Realpath { path: a }, Request::Stat { path: a },
            Request::Rename { from: a, to: b }, Request::Readlink { path: b },
            Request::Symlink { target: a, link: b }, Request::PosixRename { from: a, to: b },
            Request::Statvfs { path: a }, Request::Fstatvfs { handle: a },
            Request::Fsync { handle: a }, Request::Hardlink { from: a, to: b },
            Request::Lsetstat { path: a, attributes }, Request::Limits,
            Request::CopyData { from: a, from_offset: n, length: n, to: b, to_offset: 1 },
        ];
        for request in requests {
            let packet = request.write(id);
            prop_assert_eq!(Request::read(&packet[4..]), Ok((id, request)));
            let length = u32::from_be_bytes(packet[..4].try_into().unwrap());
            prop_assert_eq!(usize::try_from(length).unwrap(), packet.len() - 4);
            // A packet cut short is refused, and not misread.
            for end in 0..packet.len() - 4 {
                prop_assert!(Request::read(&packet[4..4 + end]).map(|(_, r)| r) != Ok(request));
            }
        }
    }

    #[test]
    fn no_bytes_panic_a_server(bytes in bytes(200), split in 1_usize..50) {
        let mut server = Server::new(Extensions::ALL);
        server.receive(&[0, 0, 0, 5, 1, 0, 0, 0, 3]).unwrap();
        for piece in bytes.chunks(split) {
            if server.receive(piece).is_err() {
                break;
            }
            while let Some(operation) = server.start() {
                let _ = operation.request();
                server.finish(&operation, Reply::OK);
            }
        }
    }

    #[test]
    fn no_packets_panic_a_server(packets in proptest::collection::vec((0_u8..22, bytes(60)), 1..20)) {
        let mut server = Server::new(Extensions::ALL);
        server.receive(&[0, 0, 0, 5, 1, 0, 0, 0, 3]).unwrap();
        for (kind, fields) in packets {
            let kind = if kind == 21 { 200 } else { kind };
            let length = u32::try_from(fields.len() + 1).unwrap().to_be_bytes();
            if server.receive(&[&length[..], &[kind], &fields].concat()).is_err() {
                break;
            }
        }
        while let Some(operation) = server.start() {
            server.finish(&operation, Reply::OK);
        }
        prop_assert!(server.is_idle());
    }

    #[test]
    fn no_answers_panic_a_client(packets in proptest::collection::vec((0_usize..6, bytes(80)), 1..20)) {
        let now = Instant::now();
        let mut client = Client::new(TIMEOUT, now);
        client.receive(&[0, 0, 0, 5, 2, 0, 0, 0, 3], now).unwrap();
        for (id, (kind, fields)) in packets.into_iter().enumerate() {
            client.request(&Request::Stat { path: b"a" }, id, now);
            let id = u32::try_from(id).unwrap().to_be_bytes();
            let kind = [101, 102, 103, 104, 105, 201][kind];
            let length = u32::try_from(fields.len() + 5).unwrap().to_be_bytes();
            if client.receive(&[&length[..], &[kind], &id, &fields].concat(), now).is_err() {
                break;
            }
            while let Some(event) = client.poll_event() {
                if let Event::Answer(_, answer) = event {
                    if let Response::Names(names) = answer.response() {
                        let _ = names.count();
                    }
                    let _ = answer.response().limits();
                    let _ = answer.response().file_system();
                }
            }
        }
    }

    /// Whatever is read, however answers are mixed and cut short, each reader
    /// gets the bytes of the file.
    #[test]
    fn readers_get_the_files_bytes(
        reads in proptest::collection::vec((0_u64..5000, 1_u32..600, any::<bool>()), 1..30),
        chunk in 16_u32..400,
        known in prop_oneof![Just(4000_u64), 0_u64..6000],
        picks in proptest::collection::vec(any::<prop::sample::Index>(), 200),
        short in any::<bool>(),
    ) {
        let file: Vec<u8> = (0..=255).cycle().take(4000).collect();
        let mut ahead = ReadAhead::default();
        let mut open: Vec<Fetch> = Vec::new();
        let mut picks = picks.iter().cycle();
        let mut next = 0;
        let mut asked = Vec::new();
        let mut served = 0;
        let total = reads.len();
        for (offset, length, on) in reads {
            let offset = if on { next } else { offset };
            next = offset + u64::from(length);
            asked.push((offset, length));
            ahead.read(offset, length, chunk, 2000, known, asked.len() - 1);
            for last in [false, true] {
                open.extend(std::iter::from_fn(|| ahead.poll_fetch()));
                while !open.is_empty() && (last || open.len() > 3) {
                    let fetch = open.remove(picks.next().unwrap().index(open.len()));
                    let from = usize::try_from(fetch.offset).unwrap().min(file.len());
                    let mut length = usize::try_from(fetch.length).unwrap().min(file.len() - from);
                    if short && length > 20 {
                        length /= 2;
                    }
                    let outcome = if length == 0 {
                        Err(Status::EndOfFile.into())
                    } else {
                        Ok(answer(&file[from..from + length]))
                    };
                    ahead.filled(fetch, outcome, known);
                    open.extend(std::iter::from_fn(|| ahead.poll_fetch()));
                }
                while let Some(ready) = ahead.poll_ready() {
                    let (offset, length) = asked[ready.waiter];
                    let got: Vec<u8> = ready.outcome.unwrap().iter().flat_map(|p| p.bytes().to_vec()).collect();
                    let from = usize::try_from(offset).unwrap().min(file.len());
                    let to = (from + usize::try_from(length).unwrap()).min(file.len());
                    prop_assert!(file[from..to].starts_with(&got));
                    // All that is known to be there is given, short answers or not.
                    let sure = usize::try_from(known).unwrap().clamp(from, to);
                    prop_assert!(got.len() >= sure - from, "{} of {}", got.len(), sure - from);
                    served += 1;
                }
            }
        }
        prop_assert_eq!(served, total);
    }
}

/// What was asked before a write is not taken for what is asked after it.
#[test]
fn an_answer_from_before_a_write_is_not_read_after_it() {
    let mut ahead = ReadAhead::default();
    ahead.prefetch(100, 100);
    let early = ahead.poll_fetch().unwrap();
    ahead.forget();
    ahead.read(0, 100, 100, 1000, 100, ());
    let late = ahead.poll_fetch().unwrap();
    assert_eq!((early.offset, early.length), (late.offset, late.length));
    ahead.filled(early, Ok(answer(&[1; 100])), 100);
    assert!(ahead.poll_ready().is_none());
    ahead.filled(late, Ok(answer(&[2; 100])), 100);
    let read = ahead.poll_ready().unwrap().outcome.unwrap();
    assert_eq!(read[0].bytes(), [2; 100]);
}

/// The same where somebody waits for what was asked before the write.
#[test]
fn a_reader_from_before_a_write_keeps_his_answer_to_himself() {
    let mut ahead = ReadAhead::default();
    ahead.read(0, 100, 100, 1000, 100, 1);
    let early = ahead.poll_fetch().unwrap();
    ahead.forget();
    ahead.read(0, 200, 100, 1000, 200, 2);
    let late: Vec<_> = std::iter::from_fn(|| ahead.poll_fetch()).collect();
    assert_eq!(late.len(), 2);
    ahead.filled(early, Err(Status::EndOfFile.into()), 200);
    let first = ahead.poll_ready().unwrap();
    assert_eq!((first.waiter, first.outcome.unwrap().len()), (1, 0));
    assert!(ahead.poll_ready().is_none());
    for fetch in late {
        ahead.filled(fetch, Ok(answer(&[2; 100])), 200);
    }
    let second = ahead.poll_ready().unwrap();
    assert_eq!((second.waiter, second.outcome.unwrap().len()), (2, 2));
}

/// An answer with data, made by way of a client.
fn answer(data: &[u8]) -> Answer {
    let mut pair = Pair::new(1_000_000);
    pair.file = data.to_vec();
    let length = u32::try_from(data.len()).unwrap();
    let read = Request::Read {
        handle: b"h",
        offset: 0,
        length,
    };
    let now = pair.now;
    pair.client.request(&read, 0, now);
    pair.drive();
    pair.answers.remove(0).1
}
