//! Frames of the agent's X channel to X11 requests.

pub(super) mod coded;

use super::bits::Bits;
use super::error::{Place as _, bad};
use super::message::{Fields, low8, low16, pad4};
use super::nx_requests::{self, Simple};
use super::raw::{pass_on, plain};
use super::state::State;
use super::store::{Store, Used};
use super::x_channel::{Extension, What, XChannel, expect};
use super::{CodecError, limits};
use coded::store;

/// A request that was decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// Opcode on the NX wire.
    pub opcode: u8,
    /// Minor opcode of RENDER, where it is one and known.
    pub render: Option<u8>,
    /// Method of a packed image, where it is one.
    pub image: Option<u8>,
    /// Where its X11 bytes start among those that come with it.
    pub offset: usize,
    /// Whether it came as a change of a stored message.
    pub hit: bool,
}

/// Decodes the requests of a session.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) delta: bool,
    hide_render: bool,
    pub(super) state: Box<State>,
    stores: Vec<Option<Box<Store>>>,
    used: Used,
    pub(super) render: Option<u8>,
    pub(super) shape: Option<u8>,
    message: Vec<u8>,
    pub(super) count: u64,
    /// Whether a window was shown.
    pub(super) mapped: bool,
    pub(super) trace: Option<Vec<Decoded>>,
}

impl Requests {
    pub(super) fn new(delta: bool, hide_render: bool) -> Self {
        let mut stores = Vec::new();
        stores.resize_with(256, || None);
        Self {
            delta,
            hide_render,
            // Made where it stays: it is large.
            state: Box::default(),
            stores,
            used: Used::default(),
            render: None,
            shape: None,
            message: Vec::new(),
            count: 0,
            mapped: false,
            trace: None,
        }
    }

    /// How many were decoded.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Decodes the payload of one frame from bit `at` on; X11 bytes are appended
    /// to `out`. Gives the bit to go on at when `out` has become large.
    pub(super) fn frame(
        &mut self,
        payload: &[u8],
        at: usize,
        channel: &mut XChannel,
        out: &mut Vec<u8>,
    ) -> Result<Option<usize>, CodecError> {
        let mut bits = Bits::from(payload, at);
        if !channel.setup {
            let length = bits.value(8, 0)?;
            for _ in 0..length {
                out.push(low8(bits.value(8, 0)?));
            }
            channel.setup = true;
            channel.big = out.first() == Some(&b'B');
            channel.expose = [true; 3];
        }
        pass_on(&mut bits, channel, out)?;
        while channel.raw == 0 && out.len() < limits::PIECE {
            let Some(op) = self.state.req_op.read(&mut bits)? else {
                return Ok(None);
            };
            self.count += 1;
            self.mapped |= matches!(op, 8 | 9);
            let offset = out.len();
            let mut minor = None;
            let hit = self
                .request(op, &mut bits, channel, out, &mut minor)
                .at(self.count, op)?;
            self.note(op, minor, offset, hit);
        }
        Ok(Some(bits.at()))
    }

    pub(super) fn note(&mut self, opcode: u8, minor: Option<u8>, offset: usize, hit: bool) {
        if let Some(trace) = &mut self.trace {
            trace.push(Decoded {
                opcode,
                render: minor.filter(|_| opcode != 243),
                image: minor.filter(|_| opcode == 243),
                offset,
                hit,
            });
        }
    }

    /// Decodes one request; whether it was a hit. `minor` is RENDER's minor
    /// opcode, or the method of a packed image.
    fn request(
        &mut self,
        op: u8,
        bits: &mut Bits<'_>,
        channel: &mut XChannel,
        out: &mut Vec<u8>,
        minor: &mut Option<u8>,
    ) -> Result<bool, CodecError> {
        // nxproxy ends the session as well. What it does not know it passes on,
        // and the X server refuses it.
        if matches!(op, 236 | 237) {
            return bad("opcode", op);
        }
        channel.sequence = channel.sequence.wrapping_add(1);
        if (230..=252).contains(&op) && store(op).is_none() {
            let mut fields = Fields {
                bits,
                message: &mut self.message,
                big: channel.big,
            };
            if let Some(simple) = nx_requests::simple(op, &mut self.state, &mut fields)? {
                return obey(op, simple, channel, out).map(|()| false);
            }
        }
        if op == 98 {
            return self.query_extension(bits, channel, out).map(|()| false);
        }
        let own = matches!(op, 238 | 239 | 241..=244 | 246) || op == 72 && channel.split;
        if !self.delta && !own {
            self.plain(op, bits, channel, out)?;
            return Ok(false);
        }
        let hit = self.coded(op, bits, channel, out, minor)?;
        Ok(hit)
    }

    fn query_extension(
        &mut self,
        bits: &mut Bits<'_>,
        channel: &mut XChannel,
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let n = low16(bits.value(16, 6)?);
        let mut name = Vec::new();
        for _ in 0..n {
            name.push(low8(bits.value(8, 0)?));
        }
        let is = |prefix: &[u8]| name.starts_with(prefix);
        let extension = if is(b"RENDER") {
            Extension::Render
        } else if is(b"SHAPE") {
            Extension::Shape
        } else {
            Extension::Other
        };
        let hidden = is(b"MIT-SHM")
            || is(b"BIG-REQUESTS")
            || is(b"XFree86-Bigfont")
            || self.hide_render && extension == Extension::Render;
        expect(channel, 98, What::Extension { extension, hidden })?;
        let padded = pad4(name.len());
        let words = u16::try_from(2 + padded / 4).unwrap_or(u16::MAX);
        name.resize(padded, 0);
        header(98, words, channel.big, out);
        put16(n, channel.big, out);
        out.extend([0; 2]);
        out.extend(name);
        Ok(())
    }

    /// A request as it is, of a session without delta coding.
    fn plain(
        &mut self,
        op: u8,
        bits: &mut Bits<'_>,
        channel: &mut XChannel,
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        if op == 99 {
            expect(channel, op, What::Nothing)?;
            header(99, 1, channel.big, out);
            return Ok(());
        }
        plain(op, bits.memory(4)?, channel, out)?;
        pass_on(bits, channel, out)
    }
}

/// What becomes of an NX request that draws nothing.
fn obey(
    op: u8,
    simple: Simple,
    channel: &mut XChannel,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    let big = channel.big;
    match simple {
        Simple::Nothing => {}
        Simple::StartSplit => channel.split = true,
        Simple::EndSplit => channel.split = false,
        Simple::Expose(expose) => channel.expose = expose,
        Simple::FreeUnpack(resource) => channel.images.free(resource),
        Simple::UnpackMethods | Simple::FontServer => {
            expect(channel, op, What::Nothing)?;
            header(43, 1, big, out);
            return Ok(());
        }
        Simple::SharedMemory(0) => {
            expect(channel, op, What::Stage(0))?;
            header(98, 4, big, out);
            put16(7, big, out);
            out.extend(b"\0\0NO-MIT-\0");
            return Ok(());
        }
        Simple::SharedMemory(2) => {
            expect(channel, op, What::Stage(2))?;
            header(43, 1, big, out);
            return Ok(());
        }
        Simple::SharedMemory(_) => {}
    }
    header(127, 1, big, out);
    Ok(())
}

fn header(op: u8, words: u16, big: bool, out: &mut Vec<u8>) {
    out.extend([op, 0]);
    put16(words, big, out);
}

fn put16(value: u16, big: bool, out: &mut Vec<u8>) {
    out.extend(if big {
        value.to_be_bytes()
    } else {
        value.to_le_bytes()
    });
}
