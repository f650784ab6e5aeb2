//! The X server's bytes, cut into messages.

use super::message::{size, u8_at, u16_at, u32_at};
use super::{CodecError, limits};

/// Room that is kept when no part of a message is left.
const KEPT: usize = 64 * 1024;

/// Cuts what the X server sends.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    bytes: Vec<u8>,
    given: usize,
    /// Whether the setup answer has come.
    pub(super) setup: bool,
}

impl Cutter {
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.settle();
        self.bytes.extend_from_slice(bytes);
    }

    /// Forgets what was given.
    pub(super) fn settle(&mut self) {
        self.bytes.drain(..self.given);
        self.given = 0;
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
    }

    /// Whether every byte that came was given.
    pub(super) fn is_empty(&self) -> bool {
        self.given == self.bytes.len()
    }

    /// The next whole message.
    pub(super) fn poll(&mut self, big: bool) -> Result<Option<&[u8]>, CodecError> {
        let rest = self.bytes.get(self.given..).unwrap_or_default();
        let head = if self.setup { 32 } else { 8 };
        if rest.len() < head {
            return Ok(None);
        }
        let length = if !self.setup {
            8 + 4 * usize::from(u16_at(rest, 6, big))
        } else if matches!(u8_at(rest, 0), 1 | 35) {
            size(u32_at(rest, 4, big))
                .saturating_mul(4)
                .saturating_add(32)
        } else {
            32
        };
        if length > limits::SERVER_MESSAGE {
            return Err(CodecError::TooLarge {
                what: "message of the X server",
                value: length,
            });
        }
        let Some(message) = rest.get(..length) else {
            return Ok(None);
        };
        self.setup = true;
        self.given += length;
        Ok(Some(message))
    }
}
