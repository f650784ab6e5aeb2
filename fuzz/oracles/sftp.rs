//! What must hold of the SFTP engines whatever bytes come, as programs that a
//! fuzzer writes: each byte is an act, those after it are what the act is with.
//! The fuzz targets run them, and so does a test of qvd-sftp, with all that
//! fuzzing has kept.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use qvd_sftp::{
    Attributes, Client, DataReply, Event, Extensions, Fetch, FileSystem, Limits, MAX_DATA,
    NamesReply, OpenFlags, Operation, ReadAhead, Reply, Request, Response, Server, Status, Times,
    WriteBehind,
};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of the file which the model has.
const FILE: usize = 2000;

/// The bytes of an input, taken from the front. When there are no more, all
/// are 0.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    fn long(&mut self) -> u64 {
        let mut bytes = [0; 8];
        bytes.fill_with(|| self.byte());
        u64::from_be_bytes(bytes)
    }

    /// So many bytes, or what is left.
    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (part, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        part
    }

    fn string(&mut self) -> &'a [u8] {
        let count = usize::from(self.byte() % 24);
        self.bytes(count)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn attributes(&mut self) -> Attributes {
        let which = self.byte();
        Attributes {
            size: (which & 1 != 0).then(|| self.long()),
            owner: (which & 2 != 0).then(|| (u32::from(self.short()), u32::from(self.short()))),
            mode: (which & 4 != 0).then(|| u32::from(self.short())),
            times: (which & 8 != 0).then(|| Times {
                access: u32::from(self.short()),
                modification: u32::from(self.short()),
            }),
        }
    }

    /// A request of any kind, on few handles.
    fn request(&mut self) -> Request<'a> {
        const HANDLES: [&[u8]; 3] = [b"12345678", &[0x80, 0, 0, 0, 0, 0, 0, 1], b""];
        let kind = self.byte() % 28;
        let handle = HANDLES[usize::from(self.byte()) % 3];
        let number = (1 << 63) | u64::from(self.byte() % 3);
        let (path, other) = (clean(self.string()), clean(self.string()));
        let attributes = self.attributes();
        let flags = OpenFlags::from_bits(self.byte().into());
        let offset = self.long();
        match kind {
            0 => Request::Open {
                path,
                flags,
                attributes,
            },
            1 => Request::Close { handle },
            2 => Request::Read {
                handle,
                offset,
                length: self.short().into(),
            },
            3 => Request::Write {
                handle,
                offset,
                data: self.string(),
            },
            4 => Request::Lstat { path },
            5 => Request::Fstat { handle },
            6 => Request::Setstat { path, attributes },
            7 => Request::Fsetstat { handle, attributes },
            8 => Request::Opendir { path },
            9 => Request::Readdir { handle },
            10 => Request::Remove { path },
            11 => Request::Mkdir { path, attributes },
            12 => Request::Rmdir { path },
            13 => Request::Realpath { path },
            14 => Request::Stat { path },
            15 => Request::Rename {
                from: path,
                to: other,
            },
            16 => Request::Readlink { path },
            17 => Request::Symlink {
                target: path,
                link: other,
            },
            18 => Request::PosixRename {
                from: path,
                to: other,
            },
            19 => Request::Statvfs { path },
            20 => Request::Fstatvfs { handle },
            21 => Request::Fsync { handle },
            22 => Request::Hardlink {
                from: path,
                to: other,
            },
            23 => Request::Lsetstat { path, attributes },
            24 => Request::Limits,
            25 => Request::CopyData {
                from: handle,
                from_offset: offset,
                length: offset / 2,
                to: HANDLES[0],
                to_offset: offset / 3,
            },
            26 => Request::OpenAs {
                handle: number,
                path,
                flags,
                attributes,
            },
            _ => Request::OpendirAs {
                handle: number,
                path,
            },
        }
    }

    fn reply(&mut self) -> Reply {
        match self.byte() % 7 {
            0 => Reply::Handle(self.long()),
            1 => {
                let mut data = DataReply::with_capacity(8);
                data.buffer().extend_from_slice(self.string());
                Reply::Data(data)
            }
            2 => {
                let mut names = NamesReply::new();
                for _ in 0..self.byte() % 4 {
                    names.push(self.string(), &self.attributes());
                }
                Reply::Names(names)
            }
            3 => Reply::Attributes(self.attributes()),
            4 => Reply::Limits(Limits {
                packet: self.long(),
                read: self.long(),
                write: self.long(),
                handles: self.long(),
            }),
            5 => Reply::FileSystem(FileSystem {
                blocks: self.long(),
                ..FileSystem::default()
            }),
            _ => Reply::Status(Status::from_code(self.byte().into()).into()),
        }
    }
}

/// A path without NUL, which no server takes.
fn clean(path: &[u8]) -> &[u8] {
    path.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Whether `later` has to wait for `earlier`, put down in another way than the
/// server has it: by what both would see of each other.
fn depend(later: &Request<'_>, earlier: &Request<'_>) -> bool {
    let handle = |request: &Request<'_>| match *request {
        Request::Close { handle }
        | Request::Read { handle, .. }
        | Request::Write { handle, .. }
        | Request::Fstat { handle }
        | Request::Fsetstat { handle, .. }
        | Request::Readdir { handle }
        | Request::Fsync { handle } => <[u8; 8]>::try_from(handle).ok().map(u64::from_be_bytes),
        Request::OpenAs { handle, .. } | Request::OpendirAs { handle, .. } => Some(handle),
        _ => None,
    };
    let writes =
        |request: &Request<'_>| matches!(request, Request::Write { .. } | Request::Fsetstat { .. });
    let opens = |request: &Request<'_>| {
        matches!(request, Request::OpenAs { .. } | Request::OpendirAs { .. })
    };
    let closes = |request: &Request<'_>| matches!(request, Request::Close { .. });
    let same = handle(later).is_some() && handle(later) == handle(earlier);
    // A number that is named twice is the client's own fault.
    let same = same && !opens(later);
    // What uses a handle comes after what made it, and before what ends it;
    // what is written is seen by all that comes later on the same handle.
    same && (opens(earlier) || closes(later) || closes(earlier) || writes(earlier))
}

/// A server: no bytes make it panic, hold more than it may, answer in another
/// way than it was told, or begin what has to wait.
pub fn server(data: &[u8]) {
    let mut input = Input(data);
    let mut server = Server::new(Extensions::ALL);
    if input.byte() % 8 != 0 && server.receive(&[0, 0, 0, 5, 1, 0, 0, 0, 3]).is_err() {
        panic!("a server refuses a client");
    }
    let mut begun: Vec<Operation> = Vec::new();
    let mut asked: Vec<(u32, Vec<u8>)> = Vec::new();
    let mut next = 0_u32;
    while !input.is_empty() {
        let outcome = match input.byte() % 8 {
            0 => {
                let count = usize::from(input.short() % 600);
                server.receive(input.bytes(count))
            }
            1 => {
                let count = usize::from(input.byte());
                let body = input.bytes(count);
                let mut packet = u32::try_from(body.len())
                    .unwrap_or(0)
                    .to_be_bytes()
                    .to_vec();
                packet.extend_from_slice(body);
                server.receive(&packet)
            }
            2 | 3 => {
                let request = input.request();
                let packet = request.write(next);
                check_request(&request, &packet);
                asked.push((next, packet.get(4..).unwrap_or_default().to_vec()));
                next += 1;
                let split = usize::from(input.byte()).min(packet.len());
                let (head, tail) = packet.split_at(split);
                server.receive(head).and_then(|()| server.receive(tail))
            }
            4 => {
                if let Some(operation) = server.start() {
                    check_order(&operation, &begun, &asked);
                    begun.push(operation);
                }
                Ok(())
            }
            5 if !begun.is_empty() => {
                let at = usize::from(input.byte()) % begun.len();
                let operation = begun.swap_remove(at);
                server.finish(&operation, input.reply());
                Ok(())
            }
            6 => match server.take_partial(usize::from(input.byte())) {
                Some(mut partial) => {
                    let buffer = partial.buffer();
                    let room = buffer.capacity() - buffer.len();
                    let more = input.bytes(room.min(16));
                    partial.buffer().extend_from_slice(more);
                    server.receive_partial(partial)
                }
                None => Ok(()),
            },
            _ => {
                drain(&mut server);
                Ok(())
            }
        };
        if outcome.is_err() {
            return;
        }
    }
    // Whatever was asked can be carried out.
    loop {
        drain(&mut server);
        let waited = begun.len();
        while let Some(operation) = server.start() {
            check_order(&operation, &begun, &asked);
            begun.push(operation);
        }
        let Some(operation) = begun.pop() else {
            assert!(
                server.is_idle() && waited == 0,
                "something waits for nothing"
            );
            break;
        };
        server.finish(&operation, Reply::OK);
    }
    drain(&mut server);
}

/// A request is read as it was written.
fn check_request(request: &Request<'_>, packet: &[u8]) {
    match Request::read(packet.get(4..).unwrap_or_default()) {
        Ok((_, read)) => assert_eq!(read, *request),
        Err(error) => panic!("{request:?}: {error}"),
    }
}

/// None of those that are being carried out has to come first. Of each one's
/// place among those asked only its packet tells.
fn check_order(operation: &Operation, begun: &[Operation], asked: &[(u32, Vec<u8>)]) {
    let place = |operation: &Operation| {
        let id = operation.id();
        asked.iter().position(|(asked, packet)| {
            *asked == id
                && Request::read(packet).is_ok_and(|(_, asked)| asked == operation.request())
        })
    };
    let Some(own) = place(operation) else {
        return;
    };
    for other in begun {
        let earlier = place(other).is_some_and(|other| other < own);
        assert!(
            !(earlier && depend(&operation.request(), &other.request())),
            "{:?} does not wait for {:?}",
            operation.request(),
            other.request()
        );
    }
}

/// Takes what the server sends: each packet is whole and can be read.
fn drain(server: &mut Server) {
    while let Some(packet) = server.poll_transmit() {
        server.sent(packet.len());
        let length = packet.first_chunk().map(|field| u32::from_be_bytes(*field));
        let body = packet.get(4..).unwrap_or_default();
        assert_eq!(
            length.and_then(|n| usize::try_from(n).ok()),
            Some(body.len())
        );
        // The announcement of the version is no answer.
        if body.first() != Some(&2) {
            assert!(Response::read(body, true).is_ok(), "{packet:?}");
        }
    }
}

/// A client: each tag comes back once, whatever the peer answers or leaves.
pub fn client(data: &[u8]) {
    let mut input = Input(data);
    let mut now = Instant::now();
    let mut client: Client<u32> = Client::new(TIMEOUT, now);
    let errno = input.byte() & 1 != 0;
    let mut version = vec![2, 0, 0, 0, 3];
    if errno {
        for word in [&b"errno@qvd"[..], b"1"] {
            version.extend_from_slice(&u32::try_from(word.len()).unwrap_or(0).to_be_bytes());
            version.extend_from_slice(word);
        }
    }
    let mut out: HashSet<u32> = HashSet::new();
    let mut next = 0;
    if client.receive(&framed(&version), now).is_err() {
        panic!("a client refuses a server");
    }
    while !input.is_empty() {
        let outcome = match input.byte() % 8 {
            0..=2 => {
                let request = input.request();
                client.request(&request, next, now);
                out.insert(next);
                next += 1;
                Ok(())
            }
            3 => {
                // The answer of a server of ours to one of the requests.
                let id = u32::from(input.byte()) % (next + 1);
                client.receive(&input.reply().write(id, errno), now)
            }
            4 => {
                let count = usize::from(input.byte());
                client.receive(&framed(input.bytes(count)), now)
            }
            5 => {
                let count = usize::from(input.byte());
                client.receive(input.bytes(count), now)
            }
            6 => {
                now += Duration::from_millis(input.short().into()) * 4;
                client.handle_timeout(now)
            }
            _ => {
                while let Some(packet) = client.poll_transmit() {
                    client.sent(now);
                    assert!(packet.len() > 8);
                }
                Ok(())
            }
        };
        events(&mut client, &mut out);
        assert_eq!(client.under_way(), out.len());
        let lapses = client.poll_timeout();
        assert_eq!(
            lapses.is_some(),
            !out.is_empty(),
            "a request without a deadline"
        );
        if outcome.is_err() {
            break;
        }
    }
    for tag in client.abort() {
        assert!(out.remove(&tag), "{tag} comes back twice");
    }
    assert!(out.is_empty(), "{out:?} never come back");
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(0);
    [&length.to_be_bytes(), body].concat()
}

fn events(client: &mut Client<u32>, out: &mut HashSet<u32>) {
    while let Some(event) = client.poll_event() {
        match event {
            Event::Ready(_) => {}
            Event::Answer(tag, answer) => {
                if let Response::Names(names) = answer.response() {
                    assert!(names.count() <= qvd_sftp::MAX_PACKET);
                }
                assert!(out.remove(&tag), "{tag} comes back twice");
            }
            Event::Lapsed(tag, _) => assert!(out.remove(&tag), "{tag} comes back twice"),
        }
    }
}

/// One open file: what is read is what was written, however answers come.
pub fn file(data: &[u8]) {
    let mut input = Input(data);
    let mut size = usize::from(input.short()) % FILE;
    let mut there: Vec<u8> = (0..=255_u8).cycle().take(size).collect();
    let mut model = there.clone();
    let mut ahead: ReadAhead<(u64, usize)> = ReadAhead::default();
    let mut behind = WriteBehind::default();
    let mut fetches: Vec<Fetch> = Vec::new();
    let mut waiting = 0_usize;
    // Bytes of writes that were sent and not answered: reading waits for them,
    // as the mount and the server have it.
    let mut sent: Vec<(usize, Vec<u8>)> = Vec::new();
    while !input.is_empty() {
        match input.byte() % 8 {
            0..=2 => {
                let offset = u64::from(input.short() % 2200);
                let length = u32::from(input.short() % 600) + 1;
                behind.flush(|at, piece| {
                    sent.push((place(at), piece.to_vec()));
                });
                apply(&mut there, &mut sent);
                let (chunk, limit) = (u32::from(input.byte()) + 20, u64::from(input.short()));
                let who = (offset, usize::try_from(length).unwrap_or(0));
                let known = u64::try_from(size).unwrap_or(0);
                ahead.read(offset, length, chunk, limit, known, who);
                waiting += 1;
            }
            3 | 4 if !fetches.is_empty() => {
                let at = usize::from(input.byte()) % fetches.len();
                let fetch = fetches.swap_remove(at);
                let most = usize::from(input.byte()).max(1);
                fill(&mut ahead, fetch, &there, most, size);
            }
            5 => {
                let offset = usize::from(input.short()) % FILE;
                let bytes = input.string();
                // Whoever reads is answered first: so the mount's model is
                // known at any time.
                finish(&mut ahead, &mut fetches, &there, size);
                waiting = answer(&mut ahead, &model, waiting);
                assert_eq!(waiting, 0, "a reader is forgotten");
                ahead.forget();
                let at = u64::try_from(offset).unwrap_or(0);
                behind.write(at, bytes, 9, |at, piece| {
                    sent.push((place(at), piece.to_vec()));
                });
                if !bytes.is_empty() {
                    size = size.max(offset + bytes.len());
                    model.resize(size, 0);
                    model[offset..offset + bytes.len()].copy_from_slice(bytes);
                }
            }
            6 => behind.answered(Ok(())),
            _ => {
                behind.flush(|at, piece| {
                    sent.push((place(at), piece.to_vec()));
                });
                apply(&mut there, &mut sent);
                let chunk = u32::from(input.byte()) + 20;
                ahead.prefetch(chunk, u64::try_from(size).unwrap_or(0));
            }
        }
        fetches.extend(std::iter::from_fn(|| ahead.poll_fetch()));
        waiting = answer(&mut ahead, &model, waiting);
    }
    finish(&mut ahead, &mut fetches, &there, size);
    waiting = answer(&mut ahead, &model, waiting);
    assert_eq!(waiting, 0, "a reader waits for nothing");
    behind.flush(|at, piece| {
        sent.push((place(at), piece.to_vec()));
    });
    apply(&mut there, &mut sent);
    assert_eq!(there, model);
}

fn place(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

fn apply(there: &mut Vec<u8>, sent: &mut Vec<(usize, Vec<u8>)>) {
    for (at, piece) in sent.drain(..) {
        let end = at + piece.len();
        there.resize(there.len().max(end), 0);
        there[at..end].copy_from_slice(&piece);
    }
}

/// Answers all that was asked for.
fn finish(
    ahead: &mut ReadAhead<(u64, usize)>,
    fetches: &mut Vec<Fetch>,
    there: &[u8],
    size: usize,
) {
    loop {
        fetches.extend(std::iter::from_fn(|| ahead.poll_fetch()));
        let Some(fetch) = fetches.pop() else {
            return;
        };
        fill(ahead, fetch, there, usize::MAX, size);
    }
}

/// What a server says to a read, of at most so many bytes.
fn fill(ahead: &mut ReadAhead<(u64, usize)>, fetch: Fetch, there: &[u8], most: usize, size: usize) {
    let length = usize::try_from(fetch.length).unwrap_or(0).min(most);
    let from = place(fetch.offset).min(there.len());
    let to = from.saturating_add(length).min(there.len());
    let outcome = if from == to {
        Err(Status::EndOfFile.into())
    } else {
        let mut data = DataReply::with_capacity(to - from);
        data.buffer().extend_from_slice(&there[from..to]);
        Ok(answer_of(Reply::Data(data)))
    };
    ahead.filled(fetch, outcome, u64::try_from(size).unwrap_or(0));
}

/// The answer a client gets of a reply.
fn answer_of(reply: Reply) -> qvd_sftp::Answer {
    let now = Instant::now();
    let mut client: Client<()> = Client::new(TIMEOUT, now);
    let received = client
        .receive(&framed(&[2, 0, 0, 0, 3]), now)
        .and_then(|()| {
            client.request(&Request::Limits, (), now);
            client.receive(&reply.write(0, false), now)
        });
    assert!(received.is_ok());
    loop {
        match client.poll_event() {
            Some(Event::Answer((), answer)) => return answer,
            Some(_) => {}
            None => panic!("a client loses an answer"),
        }
    }
}

/// Checks what readers get, and gives how many wait still.
fn answer(ahead: &mut ReadAhead<(u64, usize)>, model: &[u8], mut waiting: usize) -> usize {
    while let Some(ready) = ahead.poll_ready() {
        waiting = waiting.saturating_sub(1);
        let (offset, length) = ready.waiter;
        let Ok(pieces) = ready.outcome else {
            panic!("a read failed of itself");
        };
        let read: Vec<u8> = pieces
            .iter()
            .flat_map(|piece| piece.bytes().to_vec())
            .collect();
        let from = place(offset).min(model.len());
        let to = from.saturating_add(length).min(model.len());
        assert_eq!(
            read,
            &model[from..to],
            "{offset}+{length} of {}",
            model.len()
        );
        assert!(read.len() <= usize::try_from(MAX_DATA).unwrap_or(usize::MAX));
    }
    waiting
}
