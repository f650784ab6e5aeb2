//! Requests that come in their fields, or as a change of a stored one.

use super::super::bits::Bits;
use super::super::cache::Action;
use super::super::error::bad;
use super::super::message::{Fields, u8_at, u16_at};
use super::super::state::State;
use super::super::store::Store;
use super::super::x_channel::{What, XChannel, expect};
use super::super::{
    CodecError, core_requests, draw_requests, generic, limits, nx_requests, render, text_requests,
};
use super::{Requests, header};

const GENERIC: u8 = 253;
const SHAPE: u8 = 254;
const RENDER: u8 = 255;

/// The store of an opcode that has one of its own, and how many messages it
/// holds.
pub(super) fn store(key: u8) -> Option<usize> {
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
    pub(super) fn coded(
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
pub(in crate::codec) fn replied(op: u8) -> bool {
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
