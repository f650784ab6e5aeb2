//! Replies with a coding of their own (delta=1).

use super::cache::{Actions, Char, Int};
use super::encode::{Out, Pointer};
use super::message::{pad4, size, u8_at, u16_at, u32_at};
use super::x_channel::What;

/// Caches of replies; names are those of the protocol's tables.
#[derive(Debug, Default)]
pub(super) struct Replies {
    vis: Int,
    gw: [Int; 6],
    gw_gravity: [Char; 2],
    cmap: Int,
    depth: Char,
    gg_root: Int,
    gg: [Int; 5],
    tree: Int,
    property: Actions,
    gp_fmt: Char,
    gp_type: Int,
    gso: Int,
    qp: [Int; 2],
    tc_child: Int,
    tc: [Int; 2],
    gif: Int,
    font: Actions,
    ci: [Int; 5],
    fonts: Actions,
    image: Actions,
    ks: Int,
    ks_low: Char,
}

/// Whether a reply to a request `op` holds as much as it says: what is missing
/// would be made up, thousands of times as long as what came.
pub(super) fn is_whole(op: u8, message: &[u8], big: bool) -> bool {
    let many = |at: usize| usize::from(u16_at(message, at, big));
    let needs = match op {
        15 => 32 + 4 * many(16),
        17 => 32 + many(8),
        20 => {
            let unit = match u8_at(message, 1) {
                16 => 2,
                32 => 4,
                _ => 1,
            };
            let count = size(u32_at(message, 16, big));
            count.saturating_mul(unit).saturating_add(32)
        }
        47 => 60 + 8 * many(46),
        49 => (0..many(8)).fold(32, |at: usize, _| {
            at.saturating_add(1 + usize::from(u8_at(message, at)))
        }),
        91 => 32 + 8 * many(8),
        _ => 0,
    };
    message.len() >= needs
}

impl Replies {
    /// The answer to a request `op`.
    pub(super) fn write(&mut self, op: u8, what: &What, out: &mut Out<'_>, pointer: &mut Pointer) {
        match op {
            3 => self.attributes(out),
            14 => {
                out.char(1, &mut self.depth);
                out.int32(8, &mut self.gg_root, 29, 9);
                out.ints16(12, &mut self.gg, 8);
            }
            15 => {
                let n = usize::from(out.u16(16));
                out.value16(16, 8);
                out.int32(8, &mut self.tree, 29, 0);
                out.int32(12, &mut self.tree, 29, 0);
                for k in 0..n {
                    out.int32(32 + 4 * k, &mut self.tree, 29, 0);
                }
            }
            16 => out.value32(8, 29, 9),
            17 => {
                let n = usize::from(out.u16(8));
                out.value16(8, 6);
                memory(out, 32, n);
            }
            20 => self.property(out),
            23 => out.int32(8, &mut self.gso, 29, 9),
            26 | 31 => out.value8(1, 3, 0),
            38 => {
                out.bool(1);
                let [root, child] = &mut self.qp;
                out.int32(8, root, 29, 9);
                out.int32(12, child, 29, 9);
                pointer.write(out, 16, 8);
                out.int16(24, &mut pointer.state, 0);
            }
            40 => {
                out.bool(1);
                out.int32(8, &mut self.tc_child, 29, 9);
                out.ints16(12, &mut self.tc, 8);
            }
            43 => {
                out.value8(1, 2, 0);
                out.int32(8, &mut self.gif, 29, 0);
            }
            47 => self.font(out),
            49 => self.fonts(out),
            73 => {
                self.image.discard(out.bits);
                out.char(1, &mut self.depth);
                out.value32(4, 32, 9);
                out.int32(8, &mut self.vis, 29, 0);
                out.rest(32);
            }
            84 => {
                let asked = match what {
                    What::Colour(asked) => *asked,
                    _ => [0; 3],
                };
                for (k, asked) in asked.into_iter().enumerate() {
                    let got = out.u16(8 + 2 * k);
                    out.bits.bit(got == asked);
                    if got != asked {
                        out.bits.value(u32::from(got.wrapping_sub(asked)), 16, 6);
                    }
                }
                out.value32(16, 32, 9);
            }
            85 => {
                out.value32(8, 32, 9);
                colour(out, 12);
            }
            92 => colour(out, 8),
            91 => {
                out.bits.bit(true);
                out.bits.bit(false);
                let n = usize::from(out.u16(8));
                out.value16(8, 5);
                for k in 0..n {
                    for part in 0..3 {
                        out.value16(32 + 8 * k + 2 * part, 0);
                    }
                }
            }
            97 => {
                out.value16(8, 8);
                out.value16(10, 8);
            }
            101 => self.keyboard(out),
            103 => {
                out.value8(1, 8, 2);
                out.value32(4, 32, 8);
                bytes(out, 8, 4);
            }
            117 => {
                out.value8(1, 8, 4);
                out.value32(4, 32, 4);
                bytes(out, 32, 4);
            }
            119 => {
                out.value8(1, 8, 0);
                out.bits.bit(false);
                for byte in out.message.get(32..).unwrap_or_default() {
                    out.bits.bit(*byte == 0);
                    if *byte != 0 {
                        out.bits.value(u32::from(*byte), 8, 0);
                    }
                }
            }
            _ => {}
        }
    }

    fn attributes(&mut self, out: &mut Out<'_>) {
        out.value8(1, 2, 0);
        out.int32(8, &mut self.vis, 29, 0);
        let [class, planes, pixel, all, your, dont] = &mut self.gw;
        out.int16(12, class, 3);
        let [bit, window] = &mut self.gw_gravity;
        out.char(14, bit);
        out.char(15, window);
        out.int32(16, planes, 32, 9);
        out.int32(20, pixel, 32, 9);
        out.bool(24);
        out.bool(25);
        out.value8(26, 2, 0);
        out.bool(27);
        out.int32(28, &mut self.cmap, 29, 9);
        out.int32(32, all, 32, 0);
        out.int32(36, your, 32, 0);
        out.int16(40, dont, 0);
    }

    fn property(&mut self, out: &mut Out<'_>) {
        self.property.discard(out.bits);
        out.char(1, &mut self.gp_fmt);
        out.value32(16, 32, 9);
        out.int32(8, &mut self.gp_type, 29, 9);
        out.value32(12, 32, 9);
        let unit = match out.u8(1) {
            16 => 2,
            32 => 4,
            _ => 1,
        };
        let length = pad4(size(out.u32(16)).saturating_mul(unit));
        if out.message.len() > 32 {
            memory(out, 32, length);
        }
    }

    fn char_info(&mut self, out: &mut Out<'_>, at: usize) {
        let both = u32::from(out.u16(at)) | u32::from(out.u16(at + 10)) << 16;
        let [first, rest @ ..] = &mut self.ci;
        first.write(out.bits, both, 32, 6);
        out.ints16(at + 2, rest, 6);
    }

    fn font(&mut self, out: &mut Out<'_>) {
        self.font.discard(out.bits);
        out.bits.bit(true);
        let (properties, chars) = (usize::from(out.u16(46)), size(out.u32(56)));
        out.value16(46, 8);
        out.value32(56, 32, 10);
        self.char_info(out, 8);
        self.char_info(out, 24);
        for at in [40, 42, 44] {
            out.value16(at, 9);
        }
        out.bool(48);
        out.value8(49, 8, 0);
        out.value8(50, 8, 0);
        out.bool(51);
        out.value16(52, 9);
        out.value16(54, 9);
        out.bits.bit(false);
        for k in 0..properties {
            out.value32(60 + 8 * k, 32, 9);
            out.value32(64 + 8 * k, 32, 9);
        }
        let start = 60 + 8 * properties;
        let held = out.message.len().saturating_sub(start) / 12;
        for k in 0..chars.min(held) {
            self.char_info(out, start + 12 * k);
        }
    }

    fn fonts(&mut self, out: &mut Out<'_>) {
        self.fonts.discard(out.bits);
        out.value32(4, 32, 8);
        out.value16(8, 6);
        out.bits.bit(true);
        let mut at = 32;
        for _ in 0..out.u16(8) {
            let length = usize::from(out.u8(at));
            out.value8(at, 8, 0);
            memory(out, at + 1, length);
            at += 1 + length;
        }
    }

    fn keyboard(&mut self, out: &mut Out<'_>) {
        out.bits.bit(false);
        let per_key = usize::from(out.u8(1)).max(1);
        let keys = out.message.len().saturating_sub(32) / 4 / per_key;
        out.bits.value(u32::try_from(keys).unwrap_or(0), 8, 0);
        out.value8(1, 8, 4);
        let mut prev = 0_u8;
        for k in 0..keys * per_key {
            let symbol = out.u32(32 + 4 * k);
            out.bits.bit(symbol == 0);
            if symbol != 0 {
                let low = symbol.to_le_bytes()[0];
                self.ks.write(out.bits, symbol >> 8, 24, 9);
                self.ks_low.write(out.bits, low.wrapping_sub(prev), 5);
                prev = low;
            }
        }
    }
}

/// MEM of `length` bytes, filled up with zeros where the message is shorter.
fn memory(out: &mut Out<'_>, at: usize, length: usize) {
    let rest = out.message.get(at..).unwrap_or_default();
    match rest.get(..length) {
        Some(bytes) => out.bits.memory(bytes),
        None => {
            let mut bytes = rest.to_vec();
            bytes.resize(length.min(super::limits::SERVER_MESSAGE), 0);
            out.bits.memory(&bytes);
        }
    }
}

/// Every byte from `at` to the end.
fn bytes(out: &mut Out<'_>, at: usize, block: u32) {
    for byte in out.message.get(at..).unwrap_or_default() {
        out.bits.value(u32::from(*byte), 8, block);
    }
}

/// Exact and visual colour.
fn colour(out: &mut Out<'_>, at: usize) {
    for k in 0..3 {
        let exact = out.u16(at + 2 * k);
        let visual = out.u16(at + 6 + 2 * k);
        out.bits.value(u32::from(exact), 16, 9);
        out.bits.value(u32::from(visual.wrapping_sub(exact)), 16, 5);
    }
}
