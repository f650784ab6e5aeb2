//! A whole session, as bytes in and bytes out.

use std::collections::BTreeMap;

use super::bits::{BitWriter, Bits};
use super::control::{Control, Service};
use super::encode::Encoder;
use super::error::bad;
use super::frames::{Frame, Reader, Writer};
use super::handshake::{Greeting, Handshake};
use super::message::size;
use super::requests::{Decoded, Requests, XChannel};
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

    /// Sends data on a generic channel.
    pub fn send(&mut self, channel: u8, bytes: &[u8]) {
        if let Stage::Session(session) = &mut self.stage {
            session.send(channel, bytes);
        }
    }

    /// Says that a generic channel the agent asked for is there.
    pub fn opened(&mut self, channel: u8) {
        if let Stage::Session(session) = &mut self.stage {
            session.channels.insert(channel, Channel::Generic);
        }
    }

    /// Opens a slave channel from this end; its number, if there is one free.
    pub fn open_slave(&mut self) -> Option<u8> {
        let Stage::Session(session) = &mut self.stage else {
            return None;
        };
        let free = (0..=u8::MAX)
            .step_by(8)
            .find(|id| !session.channels.contains_key(id))?;
        session.channels.insert(free, Channel::Generic);
        session.writer.control(30, free);
        // A switch too many costs three bytes.
        session.to = None;
        Some(free)
    }

    /// Says that this end of a channel has ended.
    pub fn finish(&mut self, channel: u8) {
        if let Stage::Session(session) = &mut self.stage {
            session.channels.insert(channel, Channel::Closing);
            session.writer.control(7, channel);
        }
    }

    /// Says that this end leaves: the agent then suspends the session at once.
    pub fn shutdown(&mut self) {
        if let Stage::Session(session) = &mut self.stage {
            session.writer.control(31, 0);
            session.writer.control(18, 0);
        }
    }

    /// Says that a channel is closed altogether.
    pub fn drop_channel(&mut self, channel: u8) {
        if let Stage::Session(session) = &mut self.stage {
            session.channels.remove(&channel);
            session.writer.control(6, channel);
            session.to = None;
        }
    }

    /// Says that a channel cannot take more for now, or can again.
    pub fn congestion(&mut self, channel: u8, begins: bool) {
        if let Stage::Session(session) = &mut self.stage {
            session.writer.control(if begins { 8 } else { 9 }, channel);
        }
    }

    /// Asks for a sign of life.
    pub fn ask(&mut self) {
        if let Stage::Session(session) = &mut self.stage {
            session.tokens += 1;
            session.writer.control(20, 1);
        }
    }

    /// Asks the agent to say when it has read what was sent so far on generic
    /// channels: its [`Control::DataTokens`] has the same count.
    pub fn ask_data(&mut self, count: u8) {
        if let Stage::Session(session) = &mut self.stage {
            session.writer.control(34, count);
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

    fn poll(&mut self) -> Result<Option<Output>, CodecError> {
        if let Some(output) = self.pending.take() {
            self.greeting = None;
            return Ok(Some(output));
        }
        if let Some(at) = self.paused.take() {
            let output = self.data(at)?;
            if output.is_some() {
                return Ok(output);
            }
        }
        while let Some(frame) = self.reader.poll()? {
            if self.writer.waiting() > limits::ANSWERS {
                return Err(CodecError::TooLarge {
                    what: "answers to the agent",
                    value: self.writer.waiting(),
                });
            }
            let output = match frame {
                Frame::Control(code, argument) => self.control(code, argument)?,
                Frame::Data => self.data(0)?,
            };
            if output.is_some() {
                return Ok(output);
            }
        }
        self.part()
    }

    /// What can be passed on of a frame that is not there as a whole.
    fn part(&mut self) -> Result<Option<Output>, CodecError> {
        let Some(id) = self.from else {
            return Ok(None);
        };
        let Some(Channel::X(x, _)) = self.channels.get_mut(&id) else {
            return Ok(None);
        };
        let payload = self.reader.begun();
        if payload.is_empty() {
            return Ok(None);
        }
        let mut out = self.spare.pop().unwrap_or_default();
        let taken = self.requests.part(payload, x, &mut out)?;
        self.reader.skip(taken);
        if out.is_empty() {
            self.spare.push(out);
            return Ok(None);
        }
        Ok(Some(Output::X(id, out)))
    }

    fn control(&mut self, code: u8, argument: u8) -> Result<Option<Output>, CodecError> {
        let control = match code {
            0 => {
                let channel = Channel::X(Box::default(), Cutter::default());
                self.opening_x(argument)?;
                self.channels.insert(argument, channel);
                return Ok(Some(Output::OpenX(argument)));
            }
            1 => self.service(Service::Cups, argument)?,
            3 => self.service(Service::Smb, argument)?,
            4 => self.service(Service::Media, argument)?,
            26 => self.service(Service::Http, argument)?,
            30 => self.service(Service::Slave, argument)?,
            2 => {
                self.writer.control(6, argument);
                return Ok(None);
            }
            5 => {
                self.from = Some(argument);
                return Ok(None);
            }
            6 => {
                self.channels.remove(&argument);
                Control::Drop(argument)
            }
            7 => Control::Finish(argument),
            8 => Control::Congestion(argument, true),
            9 => Control::Congestion(argument, false),
            10 => Control::Note("the agent shows an alert"),
            14 => return bad("control message", code),
            16 => Control::Note("the agent saves its stores"),
            18 => Control::Shutdown,
            20 | 32 | 34 => {
                self.writer.control(code + 1, argument);
                return Ok(None);
            }
            21 => {
                let Some(left) = self.tokens.checked_sub(u32::from(argument)) else {
                    return bad("token reply", argument);
                };
                self.tokens = left;
                Control::Tokens(argument)
            }
            // Recordings of a proxy that asked hold answers that were not
            // asked for here; it is for the caller to count.
            35 => Control::DataTokens(argument),
            // This end never asks for these; they change nothing.
            33 => Control::Tokens(argument),
            24 => {
                self.writer.control(25, 3);
                let mut bits = BitWriter::default();
                bits.value(3, 8, 0);
                let payload = bits.finish();
                self.writer.data(&payload);
                return Ok(None);
            }
            27 => {
                self.writer.control(28, argument);
                return Ok(None);
            }
            31 => Control::Note("the agent's listeners are gone"),
            _ => return bad("control message", code),
        };
        Ok(Some(Output::Control(control)))
    }

    /// A channel the agent opens must be its to open, and free.
    fn opening(&self, channel: u8) -> Result<(), CodecError> {
        if channel & 7 == 0 || self.channels.contains_key(&channel) {
            return bad("new channel", channel);
        }
        Ok(())
    }

    /// As [`Session::opening`], for channels of which each holds images.
    fn opening_x(&self, channel: u8) -> Result<(), CodecError> {
        self.opening(channel)?;
        let open = self.channels.values();
        let value = open.filter(|c| matches!(c, Channel::X(..))).count();
        if value >= limits::X_CHANNELS {
            let what = "number of X channels";
            return Err(CodecError::TooLarge { what, value });
        }
        Ok(())
    }

    fn service(&mut self, service: Service, channel: u8) -> Result<Control, CodecError> {
        self.opening(channel)?;
        self.channels.insert(channel, Channel::Closing);
        Ok(Control::Open(service, channel))
    }

    fn data(&mut self, at: usize) -> Result<Option<Output>, CodecError> {
        if std::mem::take(&mut self.statistics) {
            return Ok(None);
        }
        let Some(id) = self.from else {
            return bad("data before its channel", 0_u8);
        };
        let payload = self.reader.payload();
        match self.channels.get_mut(&id) {
            Some(Channel::X(x, _)) => {
                let mut out = self.spare.pop().unwrap_or_default();
                self.paused = self.requests.frame(payload, at, x, &mut out)?;
                Ok(Some(Output::X(id, out)))
            }
            Some(Channel::Generic) => {
                let mut bits = Bits::new(payload);
                let mut out = Vec::new();
                loop {
                    let length = size(bits.value(32, 14)?);
                    if length == 0 {
                        break;
                    }
                    if length > limits::ITEM {
                        return Err(CodecError::TooLarge {
                            what: "raw item",
                            value: length,
                        });
                    }
                    out.extend_from_slice(bits.memory(length)?);
                }
                Ok(Some(Output::Data(id, out)))
            }
            // Data of a channel that is gone is nobody's.
            Some(Channel::Closing) | None => Ok(None),
        }
    }

    fn switch(&mut self, channel: u8) {
        if self.to != Some(channel) {
            self.to = Some(channel);
            self.writer.control(5, channel);
        }
    }

    fn send(&mut self, channel: u8, bytes: &[u8]) {
        if !matches!(self.channels.get(&channel), Some(Channel::Generic)) {
            return;
        }
        for item in bytes.chunks(limits::ITEM / 64) {
            let mut bits = BitWriter::default();
            bits.value(u32::try_from(item.len()).unwrap_or(0), 32, 14);
            bits.memory(item);
            bits.value(0, 32, 14);
            let payload = bits.finish();
            self.switch(channel);
            self.writer.data(&payload);
        }
    }

    fn receive_server(&mut self, id: u8, bytes: &[u8]) -> Result<(), CodecError> {
        let Some(Channel::X(x, cutter)) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        cutter.receive(bytes);
        let mut bits = BitWriter::into(std::mem::take(&mut self.payload));
        loop {
            let setup = !cutter.setup;
            let Some(message) = cutter.poll(x.big)? else {
                break;
            };
            if !setup && message.first() == Some(&1) {
                self.replies += 1;
            }
            if setup {
                self.encoder.setup(message, x, &mut bits);
            } else {
                self.encoder
                    .message(message, x, &mut self.requests, &mut bits)?;
            }
        }
        cutter.settle();
        let payload = bits.finish();
        if !payload.is_empty() {
            self.switch(id);
            self.writer.data(&payload);
        }
        if payload.capacity() <= limits::SPARE_FRAME {
            self.payload = payload;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
