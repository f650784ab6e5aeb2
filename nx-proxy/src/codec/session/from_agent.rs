//! What comes of the agent's frames.

use super::super::bits::Bits;
use super::super::error::bad;
use super::super::frames::Frame;
use super::super::message::size;
use super::super::{CodecError, limits};
use super::{Channel, Output, Session};

impl Session {
    pub(super) fn poll(&mut self) -> Result<Option<Output>, CodecError> {
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
}
