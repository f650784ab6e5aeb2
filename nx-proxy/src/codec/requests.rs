//! Frames of the agent's X channel to X11 requests.

use std::collections::VecDeque;

use super::bits::Bits;
use super::cache::Action;
use super::error::{Place as _, bad};
use super::image::Images;
use super::message::{Fields, low8, low16, pad4, u8_at, u16_at};
use super::nx_requests::{self, Simple};
use super::raw::{pass_on, plain};
use super::state::State;
use super::store::{Store, Used};
use super::{CodecError, core_requests, draw_requests, generic, limits, render, text_requests};

/// Which extension an opcode belongs to, once known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extension {
    Render,
    Shape,
    Other,
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

const GENERIC: u8 = 253;
const SHAPE: u8 = 254;
const RENDER: u8 = 255;

/// The store of an opcode that has one of its own, and how many messages it
/// holds.
fn store(key: u8) -> Option<usize> {
    Some(match key {
        12 | 40 | 56 | 59 | 61 | 62 | 64 | 65 | 66 | 74..=77 | SHAPE => 3000,
        16 | 18 | 20 | 25 | 55 | 68 | 69 | 71 | 242 | 246 => 2000,
        53 => 1000,
        70 => 4000,
        72 | 243 => 6000,
        73 => 200,
        241 => 20,
        GENERIC => 400,
        RENDER => 8000,
        _ => return None,
    })
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

    fn key(&self, op: u8) -> Option<u8> {
        if Some(op) == self.render {
            Some(RENDER)
        } else if Some(op) == self.shape {
            Some(SHAPE)
        } else if !(SHAPE..).contains(&op) && op != GENERIC && store(op).is_some() {
            Some(op)
        } else if matches!(op,
            1..=5 | 7..=10 | 14 | 15 | 17 | 19 | 22..=24 | 26 | 28 | 31 | 36..=38 | 43 | 45..=47
            | 49 | 54 | 57 | 58 | 60 | 63 | 67 | 84 | 85 | 88 | 91 | 92 | 95 | 97 | 99 | 101
            | 103 | 117 | 119 | 127)
        {
            None
        } else {
            Some(GENERIC)
        }
    }

    /// A request in its fields, or a change of a stored one.
    fn coded(
        &mut self,
        op: u8,
        bits: &mut Bits<'_>,
        channel: &mut XChannel,
        out: &mut Vec<u8>,
        minor: &mut Option<u8>,
    ) -> Result<bool, CodecError> {
        let key = self.key(op);
        let slot = key.and_then(|key| self.stores.get_mut(usize::from(key)));
        let mut store = match (key.and_then(store), slot) {
            (Some(slots), Some(slot)) => {
                Some(slot.get_or_insert_with(|| Box::new(Store::new(slots))))
            }
            _ => None,
        };
        let action = match &mut store {
            Some(store) => store.action(bits, &mut self.used)?,
            None => Action::Discarded,
        };
        let big = channel.big;
        let message: &[u8] = match (action, store) {
            (Action::Hit(at), Some(store)) => {
                let message = store.at(at)?;
                let mut f = Fields { bits, message, big };
                change(op, key, &mut self.state, &mut f)?;
                f.put8(0, op);
                message
            }
            (action, store) => {
                let mut f = Fields {
                    bits,
                    message: &mut self.message,
                    big,
                };
                build(op, key, &mut self.state, &mut f)?;
                let length = f.len();
                if length > limits::REQUEST {
                    return Err(CodecError::TooLarge {
                        what: "request",
                        value: length,
                    });
                }
                f.put8(0, op);
                f.put16(2, u16::try_from(length / 4).unwrap_or(u16::MAX));
                if let (Action::Added(at), Some(store)) = (action, store) {
                    store.put(at, &self.message, &mut self.used)?;
                }
                &self.message
            }
        };
        if key == Some(RENDER) {
            *minor = Some(u8_at(message, 1));
        }
        match op {
            241 => channel.images.set_geometry(message, big),
            242 => {}
            246 => channel.images.set_alpha(message, big),
            243 => {
                *minor = Some(u8_at(message, 12));
                let server_big = channel.server_big;
                if !channel.images.unpack(message, big, server_big, out) {
                    header(127, 1, big, out);
                }
                return Ok(matches!(action, Action::Hit(_)));
            }
            _ => {
                out.extend_from_slice(message);
                if self.delta && replied(op) {
                    let what = match op {
                        84 => What::Colour([8, 10, 12].map(|at| u16_at(message, at, big))),
                        _ => What::Nothing,
                    };
                    expect(channel, op, what)?;
                }
                return Ok(matches!(action, Action::Hit(_)));
            }
        }
        header(127, 1, big, out);
        Ok(matches!(action, Action::Hit(_)))
    }
}

fn build(op: u8, key: Option<u8>, s: &mut State, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    match key {
        Some(RENDER) => render::full(s, f),
        Some(SHAPE) => generic::full(&mut s.shape, f),
        Some(GENERIC) => generic::full(&mut s.generic, f),
        _ => {
            let known = core_requests::full(op, s, f)?
                || draw_requests::full(op, s, f)?
                || text_requests::full(op, s, f)?
                || nx_requests::full(op, s, f)?;
            if known { Ok(()) } else { bad("opcode", op) }
        }
    }
}

fn change(
    op: u8,
    key: Option<u8>,
    s: &mut State,
    f: &mut Fields<'_, '_>,
) -> Result<(), CodecError> {
    match key {
        Some(RENDER) => render::hit(s, f),
        Some(SHAPE) => generic::words(&mut s.shape, f),
        Some(GENERIC) => {
            f.char(1, &mut s.generic.op)?;
            generic::words(&mut s.generic, f)
        }
        _ => {
            let known = core_requests::hit(op, s, f)?
                || draw_requests::hit(op, s, f)?
                || text_requests::hit(op, s, f)?
                || nx_requests::hit(op, s, f)?;
            if known { Ok(()) } else { bad("opcode", op) }
        }
    }
}

/// Requests whose replies are coded in a way of their own with delta=1.
fn replied(op: u8) -> bool {
    matches!(
        op,
        3 | 14
            ..=17
                | 20
                | 23
                | 26
                | 31
                | 38
                | 40
                | 43
                | 47
                | 49
                | 73
                | 84
                | 85
                | 91
                | 92
                | 97
                | 99
                | 101
                | 103
                | 117
                | 119
    )
}

fn expect(channel: &mut XChannel, op: u8, what: What) -> Result<(), CodecError> {
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
