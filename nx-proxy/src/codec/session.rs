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
    pending: Option<Output>,
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

    /// The next thing that came of the agent's bytes; at most one frame is
    /// decoded.
    ///
    /// # Errors
    /// The stream is damaged; the session has to end.
    pub fn poll(&mut self) -> Result<Option<Output>, CodecError> {
        match &mut self.stage {
            Stage::Handshake(_) => Ok(None),
            Stage::Session(session) => session.poll(),
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
            Stage::Session(session) => session.reader.is_empty(),
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
        Some(free)
    }

    /// Says that this end of a channel has ended.
    pub fn finish(&mut self, channel: u8) {
        if let Stage::Session(session) = &mut self.stage {
            session.channels.insert(channel, Channel::Closing);
            session.writer.control(7, channel);
        }
    }

    /// Says that a channel is closed altogether.
    pub fn drop_channel(&mut self, channel: u8) {
        if let Stage::Session(session) = &mut self.stage {
            session.channels.remove(&channel);
            session.writer.control(6, channel);
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
            encoder: Encoder::new(greeting.delta),
            channels: BTreeMap::new(),
            from: None,
            to: None,
            tokens: 0,
            statistics: false,
            pending: Some(Output::Greeting(greeting.clone())),
            greeting: Some(greeting),
        }
    }

    fn poll(&mut self) -> Result<Option<Output>, CodecError> {
        if let Some(output) = self.pending.take() {
            self.greeting = None;
            return Ok(Some(output));
        }
        while let Some(frame) = self.reader.poll()? {
            let output = match frame {
                Frame::Control(code, argument) => self.control(code, argument)?,
                Frame::Data(payload) => self.data(&payload)?,
            };
            if output.is_some() {
                return Ok(output);
            }
        }
        Ok(None)
    }

    fn control(&mut self, code: u8, argument: u8) -> Result<Option<Output>, CodecError> {
        let control = match code {
            0 => {
                let channel = Channel::X(Box::default(), Cutter::default());
                self.opening(argument)?;
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
            // This end never asks for these; they change nothing.
            33 | 35 => Control::Tokens(argument),
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

    fn service(&mut self, service: Service, channel: u8) -> Result<Control, CodecError> {
        self.opening(channel)?;
        self.channels.insert(channel, Channel::Closing);
        Ok(Control::Open(service, channel))
    }

    fn data(&mut self, payload: &[u8]) -> Result<Option<Output>, CodecError> {
        if std::mem::take(&mut self.statistics) {
            return Ok(None);
        }
        let Some(id) = self.from else {
            return bad("data before its channel", 0_u8);
        };
        match self.channels.get_mut(&id) {
            Some(Channel::X(x, _)) => {
                let mut out = Vec::new();
                self.requests.frame(payload, x, &mut out)?;
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
        let mut bits = BitWriter::default();
        loop {
            let setup = !cutter.setup;
            let Some(message) = cutter.poll(x.big)? else {
                break;
            };
            if setup {
                self.encoder.setup(&message, x, &mut bits);
            } else {
                self.encoder
                    .message(&message, x, &mut self.requests, &mut bits)?;
            }
        }
        let payload = bits.finish();
        if !payload.is_empty() {
            self.switch(id);
            self.writer.data(&payload);
        }
        Ok(())
    }
}
