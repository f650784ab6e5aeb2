//! A whole session, as bytes in and bytes out.

mod control;
mod from_agent;
mod to_agent;

use std::collections::BTreeMap;

use super::control::Control;
use super::encode::Encoder;
use super::frames::{Reader, Writer};
use super::handshake::{Greeting, Handshake};
use super::requests::{Decoded, Requests};
use super::x_channel::XChannel;
use super::x_server::Cutter;
use super::{CodecError, limits};

/// What came of the agent's bytes.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Both ends understand each other.
    Greeting(Greeting),
    /// An X channel: connect to the X server.
    OpenX(u8),
    /// For the X server.
    X(u8, Vec<u8>),
    /// For the other end of a generic channel.
    Data(u8, Vec<u8>),
    /// Something beside data.
    Control(Control),
}

/// What a session has carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// X requests of the agent.
    pub requests: u64,
    /// Replies to them: each is a round trip that somebody waited for.
    pub replies: u64,
    /// Bytes of the agent's frames before they were compressed.
    pub unpacked: u64,
    /// The same of the frames to the agent.
    pub packing: u64,
}

enum Stage {
    Handshake(Handshake),
    Session(Box<Session>),
}

/// Takes what the agent and the X server send, and says what to send them.
///
/// Nothing here waits, connects or looks at a clock. Bytes of the agent go
/// into [`Codec::receive`]; [`Codec::poll`] is then called until it gives
/// nothing more. What is to be sent to the agent comes out of
/// [`Codec::take_output`]; it is asked after anything else was called.
pub struct Codec {
    stage: Stage,
    output: Vec<u8>,
    trace: bool,
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codec").finish_non_exhaustive()
    }
}

struct Session {
    greeting: Option<Greeting>,
    reader: Reader,
    writer: Writer,
    requests: Requests,
    encoder: Encoder,
    channels: BTreeMap<u8, Channel>,
    /// Channel of the data frames that come and go.
    from: Option<u8>,
    to: Option<u8>,
    /// Tokens asked for and not yet back.
    tokens: u32,
    statistics: bool,
    replies: u64,
    pending: Option<Output>,
    /// The bit up to which the frame of the X channel `from` is decoded.
    paused: Option<usize>,
    /// Buffers to be filled again.
    spare: Vec<Vec<u8>>,
    /// The same for a frame to the agent.
    payload: Vec<u8>,
}

enum Channel {
    X(Box<XChannel>, Cutter),
    Generic,
    /// Asked for by the agent, or finished.
    Closing,
}

impl Codec {
    /// A session; `cookie` where the agent was started with one.
    #[must_use]
    pub fn new(cookie: Option<&str>) -> Self {
        Self {
            stage: Stage::Handshake(Handshake::default()),
            output: Handshake::hello(cookie),
            trace: false,
        }
    }

    /// Notes every request from now on for [`Codec::take_trace`].
    #[must_use]
    pub fn traced(mut self) -> Self {
        self.trace = true;
        self
    }

    /// Takes bytes of the agent.
    ///
    /// # Errors
    /// The handshake fails.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        match &mut self.stage {
            Stage::Session(session) => session.reader.receive(bytes),
            Stage::Handshake(handshake) => {
                if let Some((greeting, rest)) = handshake.receive(bytes)? {
                    self.output.extend_from_slice(Handshake::ready());
                    let mut session = Session::new(greeting);
                    session.requests.trace = self.trace.then(Vec::new);
                    session.reader.receive(&rest);
                    self.stage = Stage::Session(Box::new(session));
                }
            }
        }
        Ok(())
    }

    /// The next thing that came of the agent's bytes: at most one frame, or a
    /// piece of about [`limits::PIECE`] bytes of it.
    ///
    /// # Errors
    /// The stream is damaged; the session has to end.
    pub fn poll(&mut self) -> Result<Option<Output>, CodecError> {
        match &mut self.stage {
            Stage::Handshake(_) => Ok(None),
            Stage::Session(session) => session.poll(),
        }
    }

    /// Takes back the bytes of an [`Output::X`] that are done with: what comes
    /// next need not find memory of its own.
    pub fn recycle(&mut self, mut bytes: Vec<u8>) {
        if let Stage::Session(session) = &mut self.stage
            && session.spare.len() < limits::SPARE.0
            && bytes.capacity() <= limits::SPARE.1
        {
            bytes.clear();
            session.spare.push(bytes);
        }
    }

    /// The same of [`Codec::take_output`]'s bytes.
    pub fn recycle_output(&mut self, mut bytes: Vec<u8>) {
        if self.output.capacity() == 0 && bytes.capacity() <= limits::SPARE_FRAME {
            bytes.clear();
            self.output = bytes;
        }
    }

    /// Where the agent's next bytes may be put instead of being given to
    /// [`Codec::receive`], if that spares a copy. [`Codec::filled`] takes them.
    pub fn room(&mut self) -> Option<&mut [u8]> {
        match &mut self.stage {
            Stage::Session(session) => session.reader.room(),
            Stage::Handshake(_) => None,
        }
    }

    /// Takes so many bytes of the agent from the start of [`Codec::room`].
    pub fn filled(&mut self, count: usize) {
        if let Stage::Session(session) = &mut self.stage {
            session.reader.filled(count);
        }
    }

    /// Takes bytes of the X server.
    ///
    /// # Errors
    /// They are not X11.
    pub fn receive_server(&mut self, channel: u8, bytes: &[u8]) -> Result<(), CodecError> {
        match &mut self.stage {
            Stage::Handshake(_) => Ok(()),
            Stage::Session(session) => session.receive_server(channel, bytes),
        }
    }

    /// Whether everything that came is decoded, to the end of a frame.
    #[must_use]
    pub fn whole(&self) -> bool {
        match &self.stage {
            Stage::Handshake(_) => false,
            Stage::Session(session) => session.reader.is_empty() && session.paused.is_none(),
        }
    }

    /// Whether the agent has had a window shown.
    #[must_use]
    pub fn mapped(&self) -> bool {
        match &self.stage {
            Stage::Session(session) => session.requests.mapped,
            Stage::Handshake(_) => false,
        }
    }

    /// Number of the last request of an X channel.
    #[must_use]
    pub fn sequence(&self, channel: u8) -> Option<u16> {
        match &self.stage {
            Stage::Session(session) => match session.channels.get(&channel) {
                Some(Channel::X(x, _)) => Some(x.sequence),
                _ => None,
            },
            Stage::Handshake(_) => None,
        }
    }

    /// Requests of an X channel whose replies are still to come.
    #[must_use]
    pub fn awaited(&self, channel: u8) -> usize {
        match &self.stage {
            Stage::Session(session) => match session.channels.get(&channel) {
                Some(Channel::X(x, _)) => x.expected.len(),
                _ => 0,
            },
            Stage::Handshake(_) => 0,
        }
    }

    /// What was carried so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        match &self.stage {
            Stage::Session(session) => Totals {
                requests: session.requests.count(),
                replies: session.replies,
                unpacked: session.reader.unpacked,
                packing: session.writer.unpacked,
            },
            Stage::Handshake(_) => Totals::default(),
        }
    }

    /// What is to be sent to the agent.
    ///
    /// # Errors
    /// It cannot be compressed.
    pub fn take_output(&mut self) -> Result<Vec<u8>, CodecError> {
        if let Stage::Session(session) = &mut self.stage {
            session.writer.flush(&mut self.output)?;
        }
        Ok(std::mem::take(&mut self.output))
    }

    /// The requests noted since the last call.
    pub fn take_trace(&mut self) -> Vec<Decoded> {
        match &mut self.stage {
            Stage::Session(session) => session
                .requests
                .trace
                .as_mut()
                .map(std::mem::take)
                .unwrap_or_default(),
            Stage::Handshake(_) => Vec::new(),
        }
    }
}

impl Session {
    fn new(greeting: Greeting) -> Self {
        Self {
            reader: Reader::new(greeting.stream > 0),
            writer: Writer::new(greeting.stream),
            requests: Requests::new(greeting.delta, !greeting.render),
            encoder: Encoder::new(greeting.delta, !greeting.render),
            channels: BTreeMap::new(),
            from: None,
            to: None,
            tokens: 0,
            statistics: false,
            replies: 0,
            pending: Some(Output::Greeting(greeting.clone())),
            greeting: Some(greeting),
            paused: None,
            spare: Vec::new(),
            payload: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
