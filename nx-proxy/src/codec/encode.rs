//! The X server's messages to NX.

use super::bits::BitWriter;
use super::cache::{Actions, Char, Int, Opcodes};
use super::events::Events;
use super::message::{u8_at, u16_at, u32_at};
use super::replies::{Replies, is_whole};
use super::requests::Requests;
use super::x_channel::{Expected, Extension, What, XChannel, expected};
use super::{CodecError, pixels};

/// Fields of an X message on their way into the bits.
pub(super) struct Out<'o> {
    pub(super) bits: &'o mut BitWriter,
    pub(super) message: &'o [u8],
    pub(super) big: bool,
}

impl Out<'_> {
    pub(super) fn u8(&self, at: usize) -> u8 {
        u8_at(self.message, at)
    }

    pub(super) fn u16(&self, at: usize) -> u16 {
        u16_at(self.message, at, self.big)
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        u32_at(self.message, at, self.big)
    }

    pub(super) fn bool(&mut self, at: usize) {
        let bit = self.u8(at) != 0;
        self.bits.bit(bit);
    }

    pub(super) fn value8(&mut self, at: usize, bits: u32, block: u32) {
        let value = u32::from(self.u8(at));
        self.bits.value(value, bits, block);
    }

    pub(super) fn value16(&mut self, at: usize, block: u32) {
        let value = u32::from(self.u16(at));
        self.bits.value(value, 16, block);
    }

    pub(super) fn value32(&mut self, at: usize, bits: u32, block: u32) {
        let value = self.u32(at);
        self.bits.value(value, bits, block);
    }

    pub(super) fn char(&mut self, at: usize, cache: &mut Char) {
        let value = self.u8(at);
        cache.write(self.bits, value, 8);
    }

    pub(super) fn int16(&mut self, at: usize, cache: &mut Int, block: u32) {
        let value = u32::from(self.u16(at));
        cache.write(self.bits, value, 16, block);
    }

    pub(super) fn ints16(&mut self, at: usize, caches: &mut [Int], block: u32) {
        for (k, cache) in caches.iter_mut().enumerate() {
            self.int16(at + 2 * k, cache, block);
        }
    }

    pub(super) fn int32(&mut self, at: usize, cache: &mut Int, bits: u32, block: u32) {
        let value = self.u32(at);
        cache.write(self.bits, value, bits, block);
    }

    /// MEM of everything from `at` on, if there is anything.
    pub(super) fn rest(&mut self, at: usize) {
        if let Some(rest) = self.message.get(at..).filter(|rest| !rest.is_empty()) {
            self.bits.memory(rest);
        }
    }
}

/// The pointer's place, which replies and events tell as changes.
#[derive(Debug, Default)]
pub(super) struct Pointer {
    last: (u16, u16),
    root: [Int; 2],
    event: [Int; 2],
    pub(super) state: Int,
}

impl Pointer {
    /// POINT of the four fields at `at`.
    pub(super) fn write(&mut self, out: &mut Out<'_>, at: usize, block: u32) {
        let root = (out.u16(at), out.u16(at + 2));
        let event = (out.u16(at + 4), out.u16(at + 6));
        let [root_x, root_y] = &mut self.root;
        let [event_x, event_y] = &mut self.event;
        let by = |a: u16, b: u16| u32::from(a.wrapping_sub(b));
        root_x.write(out.bits, by(root.0, self.last.0), 16, block);
        root_y.write(out.bits, by(root.1, self.last.1), 16, block);
        event_x.write(out.bits, by(event.0, root.0), 16, block);
        event_y.write(out.bits, by(event.1, root.1), 16, block);
        self.last = root;
    }
}

/// Encodes for all X channels of a session.
#[derive(Debug)]
pub(super) struct Encoder {
    delta: bool,
    hide_render: bool,
    rep_op: Opcodes,
    reply_seq: Int<6>,
    event_seq: Int<6>,
    replies: Box<Replies>,
    events: Box<Events>,
    pointer: Pointer,
    minor: Int,
    generic: Generic,
    errors: (Char, Char),
}

/// Replies without a coding of their own.
#[derive(Debug, Default)]
struct Generic {
    store: Actions,
    byte: Char,
    words: [Int; 6],
}

impl Encoder {
    pub(super) fn new(delta: bool, hide_render: bool) -> Self {
        Self {
            delta,
            hide_render,
            rep_op: Opcodes::default(),
            reply_seq: Int::default(),
            event_seq: Int::default(),
            replies: Box::default(),
            events: Box::default(),
            pointer: Pointer::default(),
            minor: Int::default(),
            generic: Generic::default(),
            errors: Default::default(),
        }
    }

    /// The X server's answer to the setup message.
    pub(super) fn setup(&mut self, message: &[u8], channel: &mut XChannel, bits: &mut BitWriter) {
        let big = channel.big;
        channel.server_big = u8_at(message, 30) == 1;
        let mut out = Out { bits, message, big };
        out.value8(0, 8, 0);
        out.value8(1, 8, 0);
        for at in [2, 4, 6] {
            out.value16(at, 0);
        }
        out.bits.bit(false);
        for byte in message.get(8..).unwrap_or_default() {
            bits.value(u32::from(*byte), 8, 0);
        }
    }

    /// One message of the X server; nothing is written for an event that the
    /// agent does not want.
    pub(super) fn message(
        &mut self,
        message: &[u8],
        channel: &mut XChannel,
        requests: &mut Requests,
        bits: &mut BitWriter,
    ) -> Result<(), CodecError> {
        let code = u8_at(message, 0);
        let [expose, graphics, none] = channel.expose;
        let wanted = match code {
            12 => expose,
            13 => graphics,
            14 => none,
            // Longer than the 32 bytes that can be carried.
            35 => message.len() == 32,
            _ => true,
        };
        if !wanted {
            return Ok(());
        }
        let sequence = u16_at(message, 2, channel.big);
        self.rep_op.write(bits, code);
        let by = u32::from(sequence.wrapping_sub(channel.out_sequence));
        channel.out_sequence = sequence;
        let seq = if code == 1 {
            &mut self.reply_seq
        } else {
            &mut self.event_seq
        };
        seq.write(bits, by, 16, 7);
        let expected = if code <= 1 {
            expected(channel, sequence)
        } else {
            None
        };
        let big = channel.big;
        if code == 1
            && expected
                .as_ref()
                .is_some_and(|it| !is_whole(it.op, message, big))
        {
            return Err(CodecError::Server);
        }
        let mut out = Out { bits, message, big };
        match (code, expected) {
            (1, Some(Expected { op, what, .. })) => self.answer(op, &what, &mut out, requests),
            _ if !self.delta => bits.memory(message),
            (1, None) => {
                let g = &mut self.generic;
                g.store.discard(out.bits);
                out.value32(4, 32, 15);
                out.char(1, &mut g.byte);
                for (k, cache) in g.words.iter_mut().enumerate() {
                    out.int32(8 + 4 * k, cache, 32, 0);
                }
                out.rest(32);
            }
            (0, _) => self.error(&mut out),
            _ => self.events.write(code, &mut out, &mut self.pointer),
        }
        Ok(())
    }

    /// What is coded alike with and without delta.
    fn answer(&mut self, op: u8, what: &What, out: &mut Out<'_>, requests: &mut Requests) {
        match (op, what) {
            (98, What::Extension { extension, hidden }) => {
                let major = out.u8(9);
                if *hidden {
                    out.bits.bit(false);
                    out.bits.value(0, 8, 0);
                } else {
                    out.bool(8);
                    out.value8(9, 8, 0);
                    let known = Some(major).filter(|m| out.u8(8) != 0 && *m >= 128);
                    match (extension, known) {
                        (Extension::Render, Some(major)) => requests.render = Some(major),
                        (Extension::Shape, Some(major)) => requests.shape = Some(major),
                        _ => {}
                    }
                }
                out.value8(10, 8, 0);
                out.value8(11, 8, 0);
            }
            (99, _) => extensions(out, self.hide_render),
            (233, _) => {
                for method in 0..128 {
                    out.bits.bit(pixels::supported(method));
                }
            }
            (245, What::Stage(0)) => out.bits.value(0, 2, 0),
            (245, _) => {
                out.bits.value(2, 2, 0);
                out.bits.bit(false);
                out.bits.bit(false);
            }
            (251, _) => {
                out.bits.value(0, 8, 0);
                out.bits.memory(&[]);
            }
            _ => self.replies.write(op, what, out, &mut self.pointer),
        }
    }

    fn error(&mut self, out: &mut Out<'_>) {
        let (code, major) = &mut self.errors;
        out.char(1, code);
        let code = out.u8(1);
        if !matches!(code, 1 | 8 | 11 | 15) {
            out.value32(4, 32, 16);
        }
        if code >= 18 {
            out.int16(8, &mut self.minor, 0);
        }
        out.char(10, major);
        if code >= 18 {
            for at in 11..32 {
                out.value8(at, 8, 0);
            }
        }
    }
}

/// ListExtensions, with the names of what the agent must not use altered.
fn extensions(out: &mut Out<'_>, hide_render: bool) {
    out.value32(4, 32, 8);
    out.value8(1, 8, 0);
    let mut names = out.message.get(32..).unwrap_or_default();
    for _ in 0..out.u8(1) {
        let Some((length, rest)) = names.split_first() else {
            return;
        };
        let name = rest.get(..usize::from(*length)).unwrap_or(rest);
        names = rest.get(name.len()..).unwrap_or_default();
        out.bits.value(u32::from(*length), 8, 0);
        let mut name = name.to_vec();
        for hidden in [
            &b"MIT-SHM"[..],
            b"BIG-REQUESTS",
            b"XFree86-Bigfont",
            b"RENDER",
        ] {
            if name.starts_with(hidden) && (hide_render || hidden != b"RENDER") {
                for (to, from) in name.iter_mut().zip(b"NO-") {
                    *to = *from;
                }
            }
        }
        for byte in name {
            out.bits.value(u32::from(byte), 8, 0);
        }
    }
}
