//! A recorded session, decoded again.

use std::collections::VecDeque;

use super::message::{u8_at, u16_at};
use super::x_server::Cutter;
use super::{Codec, CodecError, Decoded, Output};

/// Plays the agent's part and the X server's of a recorded session to a
/// [`Codec`]. The X server's messages come as early as they can: when the
/// requests they follow have been decoded.
#[derive(Debug)]
pub struct Replay {
    codec: Codec,
    server: VecDeque<(u64, Vec<u8>)>,
    /// The X server's bytes are none, or end inside a message.
    cut: bool,
    channel: Option<u8>,
    /// Requests of channels that are closed.
    unanswered: usize,
    /// Bytes of the X server that come at once.
    piece: usize,
    requests: u64,
    /// X11 bytes for the X server.
    pub x11: Vec<u8>,
    /// Bytes for the agent.
    pub nx: Vec<u8>,
    /// Every request, its offset being that in `x11`.
    pub trace: Vec<Decoded>,
}

impl Replay {
    /// `server` is what the X server sent.
    ///
    /// # Errors
    /// It is not X11, or no X server that takes the session.
    pub fn new(server: &[u8]) -> Result<Self, CodecError> {
        if server.first().is_some_and(|first| *first != 1) {
            return Err(CodecError::Server);
        }
        let mut cutter = Cutter::default();
        cutter.receive(server);
        let mut messages = VecDeque::new();
        let mut number = 0_u64;
        while let Some(message) = cutter.poll(false)? {
            // Keymap events have no number.
            if !messages.is_empty() && u8_at(message, 0) & 0x7f != 11 {
                let [low, high, ..] = number.to_le_bytes();
                let last = u16::from_le_bytes([low, high]);
                number += u64::from(u16_at(message, 2, false).wrapping_sub(last));
            }
            messages.push_back((number, message.to_vec()));
        }
        Ok(Self {
            codec: Codec::new(None).traced(),
            cut: messages.is_empty() || !cutter.is_empty(),
            server: messages,
            channel: None,
            unanswered: 0,
            piece: usize::MAX,
            requests: 0,
            x11: Vec::new(),
            nx: Vec::new(),
            trace: Vec::new(),
        })
    }

    /// Has the X server's messages come in pieces of so many bytes.
    #[must_use]
    pub fn in_pieces_of(mut self, bytes: usize) -> Self {
        self.piece = bytes.max(1);
        self
    }

    /// Takes bytes of the agent.
    ///
    /// # Errors
    /// They cannot be decoded.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        self.codec.receive(bytes)?;
        while let Some(output) = self.codec.poll()? {
            match output {
                Output::OpenX(channel) => self.channel = Some(channel),
                Output::X(_, bytes) => {
                    let trace = self.codec.take_trace();
                    self.requests += u64::try_from(trace.len()).unwrap_or(0);
                    let offset = self.x11.len();
                    self.trace.extend(trace.into_iter().map(|mut request| {
                        request.offset += offset;
                        request
                    }));
                    self.x11.extend(bytes);
                    self.answer()?;
                }
                Output::Control(super::Control::Open(_, channel)) => self.codec.opened(channel),
                Output::Control(super::Control::Finish(channel)) => {
                    self.unanswered += self.codec.awaited(channel);
                    self.codec.drop_channel(channel);
                }
                Output::Greeting(_) | Output::Data(..) | Output::Control(_) => {}
            }
        }
        self.nx.extend(self.codec.take_output()?);
        Ok(())
    }

    /// Whether nothing is left of what came: no part of a frame or of the
    /// handshake.
    #[must_use]
    pub fn whole(&self) -> bool {
        self.codec.whole()
    }

    /// Whether the X server's bytes end inside a message, or are none.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Requests that the X server's bytes hold no answer to.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        let open = self
            .channel
            .map_or(0, |channel| self.codec.awaited(channel));
        self.unanswered + open
    }

    fn answer(&mut self) -> Result<(), CodecError> {
        let Some(channel) = self.channel else {
            return Ok(());
        };
        while let Some((number, message)) = self.server.front() {
            if *number > self.requests {
                break;
            }
            for piece in message.chunks(self.piece) {
                self.codec.receive_server(channel, piece)?;
            }
            self.server.pop_front();
        }
        Ok(())
    }
}
