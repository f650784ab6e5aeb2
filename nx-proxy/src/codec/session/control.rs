//! What the agent's control messages ask for.

use super::super::bits::BitWriter;
use super::super::control::{Control, Service};
use super::super::error::bad;
use super::super::x_server::Cutter;
use super::super::{CodecError, limits};
use super::{Channel, Output, Session};

impl Session {
    pub(super) fn control(&mut self, code: u8, argument: u8) -> Result<Option<Output>, CodecError> {
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
}
