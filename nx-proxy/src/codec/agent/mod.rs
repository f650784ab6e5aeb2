//! The agent's reading of what goes to it, for tests: it proves itself on what
//! nxproxy sent, then proves what this end sends.

mod events;
mod fields;
mod replies;
mod tests;

use std::collections::VecDeque;

use super::CodecError;
use super::bits::Bits;
use super::cache::{Char, Int, Opcodes};
use super::message::size;
use events::{Events, Pointer};
use fields::{In, Kept, Message, Read};
use replies::Replies;

/// A request whose reply has a coding of its own.
#[derive(Debug)]
struct Asked {
    sequence: u16,
    /// Opcode on the NX wire.
    op: u8,
    x11: Vec<u8>,
}

/// A message as the agent gets it.
#[derive(Debug)]
struct Got {
    message: Message,
    /// Wire opcode of the request it answers, where that has its own coding.
    op: Option<u8>,
}

#[derive(Debug, Default)]
struct Agent {
    delta: bool,
    asked: VecDeque<Asked>,
    setup: bool,
    sequence: u16,
    rep_op: Opcodes,
    reply_seq: Int<6>,
    event_seq: Int<6>,
    pointer: Pointer,
    events: Events,
    replies: Replies,
    generic: Kept,
    gr: Char,
    gr_i: [Int; 12],
    er_code: Char,
    er_major: Char,
    er_minor: Int,
    methods: Vec<bool>,
    got: Vec<Got>,
}

impl Agent {
    /// Reads one frame of the X channel.
    fn frame(&mut self, payload: &[u8]) -> Result<(), CodecError> {
        let mut bits = Bits::new(payload);
        if !self.setup {
            self.setup = true;
            let message = setup(&mut bits)?;
            self.got.push(Got { message, op: None });
        }
        while let Some(code) = self.rep_op.read(&mut bits)? {
            let cache = if code == 1 {
                &mut self.reply_seq
            } else {
                &mut self.event_seq
            };
            let by = super::message::low16(cache.read(&mut bits, 16, 7)?);
            self.sequence = self.sequence.wrapping_add(by);
            let asked = match self.asked.front() {
                Some(head) if code <= 1 && head.sequence == self.sequence => self.asked.pop_front(),
                _ => None,
            };
            let op = asked.as_ref().filter(|_| code == 1).map(|asked| asked.op);
            let m = Message::of(32);
            let bits = &mut bits;
            let mut f = In { bits, m };
            self.message(code, asked, &mut f)?;
            let mut message = f.m;
            message.put(0, &[code]);
            message.put(2, &self.sequence.to_le_bytes());
            self.got.push(Got { message, op });
        }
        Ok(())
    }

    fn message(
        &mut self,
        code: u8,
        asked: Option<Asked>,
        f: &mut In<'_, '_>,
    ) -> Result<(), CodecError> {
        match (code, asked) {
            (1, Some(asked)) => self.answer(&asked, f),
            _ if !self.delta => {
                f.mem(0, 32)?;
                if code == 1 {
                    f.m.resize(32 + 4 * size(f.m.u32(4)));
                    f.data()?;
                }
                Ok(())
            }
            (1, None) => self.reply(f),
            (0, _) => self.error(f),
            _ => self.events.read(code, f, &mut self.pointer),
        }
    }

    fn answer(&mut self, asked: &Asked, f: &mut In<'_, '_>) -> Result<(), CodecError> {
        match asked.op {
            98 => {
                f.bool(8)?;
                for at in [9, 10, 11] {
                    f.v8(at, 8, 0)?;
                }
            }
            233 => {
                for _ in 0..128 {
                    self.methods.push(f.bits.bit()?);
                }
            }
            // Shared memory, which is not to be used.
            245 if asked.x11.len() > 4 => assert_eq!(f.bits.value(2, 0)?, 0),
            245 => {
                assert_eq!(f.bits.value(2, 0)?, 2);
                assert!(!f.bits.bit()? && !f.bits.bit()?);
            }
            251 => {
                let length = f.count(8, 0)?;
                f.bits.memory(length)?;
            }
            op => self.replies.read(op, &asked.x11, f, &mut self.pointer)?,
        }
        Ok(())
    }

    fn reply(&mut self, f: &mut In<'_, '_>) -> Result<(), CodecError> {
        match self.generic.action(f.bits)? {
            Read::Stored(at) => {
                f.m = self.generic.stored(at);
                f.c(1, &mut self.gr)?;
                f.row(8, &mut self.gr_i, 0)?;
                self.generic.put(Some(at), &f.m);
            }
            Read::Full(at) => {
                let words = f.v32(4, 32, 15)?;
                f.m.resize(32 + 4 * size(words));
                f.c(1, &mut self.gr)?;
                for (k, cache) in self.gr_i.iter_mut().take(6).enumerate() {
                    f.i32(8 + 4 * k, cache, 32, 0)?;
                }
                f.data()?;
                self.generic.put(at, &f.m);
            }
        }
        Ok(())
    }

    fn error(&mut self, f: &mut In<'_, '_>) -> Result<(), CodecError> {
        let code = f.c(1, &mut self.er_code)?;
        if !matches!(code, 1 | 8 | 11 | 15) {
            f.v32(4, 32, 16)?;
        }
        if code >= 18 {
            f.i16(8, &mut self.er_minor, 0)?;
        }
        f.c(10, &mut self.er_major)?;
        if code >= 18 {
            for at in 11..32 {
                f.v8(at, 8, 0)?;
            }
        }
        Ok(())
    }
}

fn setup(bits: &mut Bits<'_>) -> Result<Message, CodecError> {
    let m = Message::of(8);
    let mut f = In { bits, m };
    f.v8(0, 8, 0)?;
    f.v8(1, 8, 0)?;
    for at in [2, 4, 6] {
        f.v16(at, 0)?;
    }
    f.m.resize(8 + 4 * usize::from(f.m.u16(6)));
    assert!(!f.same()?, "there is nothing before the first setup");
    for at in 8..f.m.bytes.len() {
        f.v8(at, 8, 0)?;
    }
    Ok(f.m)
}
