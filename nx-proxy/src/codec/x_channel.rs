//! What is kept for one X channel, and the replies awaited on it.

use std::collections::VecDeque;

use super::image::Images;
use super::{CodecError, limits};

/// What is kept for one X channel.
#[derive(Debug, Default)]
pub(super) struct XChannel {
    /// Whether the setup message has come.
    pub(super) setup: bool,
    pub(super) big: bool,
    /// Whether the X server's images are big-endian.
    pub(super) server_big: bool,
    pub(super) sequence: u16,
    pub(super) out_sequence: u16,
    pub(super) expected: VecDeque<Expected>,
    /// Expose, GraphicsExpose, NoExpose.
    pub(super) expose: [bool; 3],
    pub(super) images: Images,
    pub(super) split: bool,
    /// Bytes of the last request that are still to be passed on as they are.
    pub(super) raw: usize,
}

/// A reply that is awaited and coded in a way of its own.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) sequence: u16,
    /// Opcode on the NX wire.
    pub(super) op: u8,
    pub(super) what: What,
}

/// What the request's answer needs of it.
#[derive(Debug, Clone)]
pub(super) enum What {
    Nothing,
    Colour([u16; 3]),
    Extension { extension: Extension, hidden: bool },
    Stage(u8),
}

/// Which extension an opcode belongs to, once known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extension {
    Render,
    Shape,
    Other,
}

/// Has a request's reply awaited.
pub(super) fn expect(channel: &mut XChannel, op: u8, what: What) -> Result<(), CodecError> {
    if channel.expected.len() >= limits::EXPECTED {
        return Err(CodecError::TooLarge {
            what: "queue of replies",
            value: channel.expected.len(),
        });
    }
    channel.expected.push_back(Expected {
        sequence: channel.sequence,
        op,
        what,
    });
    Ok(())
}

/// Takes the awaited reply with this number.
pub(super) fn expected(channel: &mut XChannel, sequence: u16) -> Option<Expected> {
    let head = channel.expected.front()?;
    if head.sequence == sequence {
        channel.expected.pop_front()
    } else {
        None
    }
}
