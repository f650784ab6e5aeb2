//! What goes to the agent: control messages, data of generic channels and what
//! the X server sends.

use super::super::bits::BitWriter;
use super::super::{CodecError, Service, limits};
use super::{Channel, Codec, Session, Stage};

impl Codec {
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

    /// Opens a channel from this end, of a slave or a font server; its number,
    /// if there is one free.
    pub fn open(&mut self, service: Service) -> Option<u8> {
        let code = match service {
            Service::Font => 29,
            Service::Slave => 30,
            // The agent opens these.
            Service::Cups | Service::Smb | Service::Media | Service::Http => return None,
        };
        let Stage::Session(session) = &mut self.stage else {
            return None;
        };
        let free = (0..=u8::MAX)
            .step_by(8)
            .find(|id| !session.channels.contains_key(id))?;
        session.channels.insert(free, Channel::Generic);
        session.writer.control(code, free);
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
    /// channels: its [`DataTokens`] has the same count.
    ///
    /// [`DataTokens`]: crate::codec::Control::DataTokens
    pub fn ask_data(&mut self, count: u8) {
        if let Stage::Session(session) = &mut self.stage {
            session.writer.control(34, count);
        }
    }
}

impl Session {
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

    pub(super) fn receive_server(&mut self, id: u8, bytes: &[u8]) -> Result<(), CodecError> {
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
