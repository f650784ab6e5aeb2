use std::collections::VecDeque;

use crate::order::{Order, Touch};
use crate::response::VERSION as VERSION_PACKET;
use crate::wire::{begin, finish, put_string, put_u32};
use crate::{Error, Extensions, Frames, Partial, Reply, Request, VERSION};

const INIT: u8 = 1;

/// Most operations that wait or are being carried out before no more are
/// read. sshfs has some dozens under way, our client a few hundred.
const MAX_OPERATIONS: usize = 256;

/// Bytes of waiting requests from which no more are read.
const MAX_WAITING: usize = 4 * 1024 * 1024;

/// Bytes of answers not sent yet from which nothing more is begun.
const MAX_UNSENT: usize = 4 * 1024 * 1024;

/// A request that may be carried out now.
#[derive(Debug)]
pub struct Operation {
    sequence: u64,
    id: u32,
    packet: Vec<u8>,
}

impl Operation {
    /// The number by which the client knows it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What is asked.
    #[must_use]
    pub fn request(&self) -> Request<'_> {
        // It was read once when it came.
        Request::read(&self.packet).map_or(Request::Unknown { kind: 0 }, |(_, request)| request)
    }
}

/// An SFTP server for a client, without the files.
///
/// Feed [`receive`](Self::receive) while [`wants_input`](Self::wants_input);
/// carry out what [`start`](Self::start) gives, in any order and at the same
/// time, and hand the outcome to [`finish`](Self::finish), after which `start`
/// may give more. Send what [`poll_transmit`](Self::poll_transmit) gives, and
/// say so with [`sent`](Self::sent).
#[derive(Debug)]
pub struct Server {
    extensions: Extensions,
    frames: Frames,
    begun: bool,
    order: Order,
    out: VecDeque<Vec<u8>>,
    unsent: usize,
}

impl Server {
    /// A server that announces `extensions`.
    #[must_use]
    pub fn new(extensions: Extensions) -> Self {
        Self {
            extensions,
            frames: Frames::new(),
            begun: false,
            order: Order::default(),
            out: VecDeque::new(),
            unsent: 0,
        }
    }

    /// Takes bytes of the client.
    ///
    /// # Errors
    /// When they cannot be understood: the connection is at its end.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.frames.receive(bytes)?;
        self.packets()
    }

    /// The packet that is arriving, to be read into where at least so many
    /// bytes of it are still to come.
    pub fn take_partial(&mut self, least: usize) -> Option<Partial> {
        self.frames.take_partial(least)
    }

    /// Takes back what `take_partial` gave, with more of it.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_partial(&mut self, partial: Partial) -> Result<(), Error> {
        self.frames.receive_partial(partial);
        self.packets()
    }

    fn packets(&mut self) -> Result<(), Error> {
        while let Some(packet) = self.frames.poll() {
            match packet.as_slice() {
                [INIT, version @ ..] if !self.begun => {
                    let version = version.first_chunk().ok_or(Error::Version)?;
                    let version = u32::from_be_bytes(*version);
                    if version < VERSION {
                        return Err(Error::OldVersion(version));
                    }
                    self.begun = true;
                    self.announce();
                }
                [INIT, ..] => return Err(Error::Version),
                _ if !self.begun => return Err(Error::Version),
                _ => self.take(packet)?,
            }
        }
        Ok(())
    }

    fn take(&mut self, packet: Vec<u8>) -> Result<(), Error> {
        let (_, request) = Request::read(&packet)?;
        let touch = Touch::of(&request);
        self.order.push(touch, packet);
        Ok(())
    }

    fn announce(&mut self) {
        let mut version = begin(VERSION_PACKET, 512);
        put_u32(&mut version, VERSION);
        for (name, number) in self.extensions.announced() {
            put_string(&mut version, name);
            put_string(&mut version, number);
        }
        self.transmit(finish(version));
    }

    /// Whether more should be read from the client now.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.order.len() < MAX_OPERATIONS && self.order.bytes() < MAX_WAITING
    }

    /// An operation that may be carried out now.
    pub fn start(&mut self) -> Option<Operation> {
        if self.unsent >= MAX_UNSENT {
            return None;
        }
        let (sequence, packet) = self.order.start()?;
        let id = packet
            .get(1..5)
            .and_then(|id| id.try_into().ok())
            .map_or(0, u32::from_be_bytes);
        Some(Operation {
            sequence,
            id,
            packet,
        })
    }

    /// The outcome of an operation.
    pub fn finish(&mut self, operation: &Operation, reply: Reply) {
        self.order.done(operation.sequence);
        self.transmit(reply.write(operation.id, self.extensions.errno));
    }

    /// Whether operations wait or are being carried out.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.order.len() == 0
    }

    fn transmit(&mut self, packet: Vec<u8>) {
        self.unsent = self.unsent.saturating_add(packet.len());
        self.out.push_back(packet);
    }

    /// A packet to be sent.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    /// Whether there is something to be sent.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// Whether operations are not begun yet.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.order.waits()
    }

    /// That many bytes of what `poll_transmit` gave were sent.
    pub fn sent(&mut self, bytes: usize) {
        self.unsent = self.unsent.saturating_sub(bytes);
    }
}
