//! Replies with a coding of their own.

use super::super::cache::{Char, Int};
use super::super::message::{low8, low16, pad4, size};
use super::events::Pointer;
use super::fields::{Done, In, Kept, Message, Read};

#[derive(Debug, Default)]
pub(super) struct Replies {
    vis: Int,
    gw_class: Int,
    gw_bg: Char,
    gw_wg: Char,
    gw: [Int; 4],
    gw_dont: Int,
    cmap: Int,
    depth: Char,
    gg_root: Int,
    gg_g: [Int; 5],
    tree: Int,
    properties: Kept,
    gp_fmt: Char,
    gp_type: Int,
    gso: Int,
    qp_root: Int,
    qp_child: Int,
    tc_child: Int,
    tc: [Int; 2],
    gif: Int,
    fonts: Kept,
    tails: Vec<Message>,
    ci: [Int; 5],
    lists: Kept,
    images: Kept,
    colours: Message,
    keyboard: Message,
    modifiers: Message,
    ks: Int,
    ks_low: Char,
}

impl Replies {
    /// The reply to request `op`; `asked` are its X11 bytes.
    pub(super) fn read(
        &mut self,
        op: u8,
        asked: &[u8],
        f: &mut In<'_, '_>,
        pointer: &mut Pointer,
    ) -> Done {
        match op {
            3 => self.attributes(f)?,
            14 => {
                f.c(1, &mut self.depth)?;
                f.i32(8, &mut self.gg_root, 29, 9)?;
                f.row(12, &mut self.gg_g, 8)?;
            }
            15 => {
                let n = usize::from(f.v16(16, 8)?);
                f.i32(8, &mut self.tree, 29, 0)?;
                f.i32(12, &mut self.tree, 29, 0)?;
                f.m.words(32 + 4 * n);
                for k in 0..n {
                    f.i32(32 + 4 * k, &mut self.tree, 29, 0)?;
                }
            }
            16 => f.v32(8, 29, 9).map(drop)?,
            17 => {
                let n = usize::from(f.v16(8, 6)?);
                f.m.words(32 + pad4(n));
                f.mem(32, n)?;
            }
            20 => self.property(f)?,
            23 => f.i32(8, &mut self.gso, 29, 9)?,
            26 | 31 => f.v8(1, 3, 0)?,
            38 => {
                f.bool(1)?;
                f.i32(8, &mut self.qp_root, 29, 9)?;
                f.i32(12, &mut self.qp_child, 29, 9)?;
                pointer.read(f, 16, 8)?;
                f.i16(24, &mut pointer.state, 0)?;
            }
            40 => {
                f.bool(1)?;
                f.i32(8, &mut self.tc_child, 29, 9)?;
                f.row(12, &mut self.tc, 8)?;
            }
            43 => {
                f.v8(1, 2, 0)?;
                f.i32(8, &mut self.gif, 29, 0)?;
            }
            47 => self.font(f)?,
            49 => self.list(f)?,
            73 => self.image(f)?,
            84 => {
                for k in 0..3 {
                    let at = 8 + 2 * k;
                    let mut part = u16::from_le_bytes([asked[at], asked[at + 1]]);
                    if !f.same()? {
                        part = part.wrapping_add(low16(f.bits.value(16, 6)?));
                    }
                    f.m.put(at, &part.to_le_bytes());
                }
                f.v32(16, 32, 9)?;
            }
            85 => {
                f.v32(8, 32, 9)?;
                colour(f, 12)?;
            }
            92 => colour(f, 8)?,
            91 => self.colours(f)?,
            97 => {
                f.v16(8, 8)?;
                f.v16(10, 8)?;
            }
            101 => self.keyboard(f)?,
            103 | 117 => {
                let (from, block) = if op == 103 { (8, 2) } else { (32, 4) };
                f.v8(1, 8, block)?;
                let words = f.v32(4, 32, if op == 103 { 8 } else { 4 })?;
                f.m.words(32 + 4 * size(words));
                for at in from..f.m.bytes.len() {
                    f.v8(at, 8, 4)?;
                }
            }
            119 => self.modifiers(f)?,
            _ => panic!("a reply to {op}"),
        }
        Ok(())
    }

    fn attributes(&mut self, f: &mut In<'_, '_>) -> Done {
        f.m.words(44);
        f.v8(1, 2, 0)?;
        f.i32(8, &mut self.vis, 29, 0)?;
        f.i16(12, &mut self.gw_class, 3)?;
        f.c(14, &mut self.gw_bg)?;
        f.c(15, &mut self.gw_wg)?;
        let [planes, pixel, all, your] = &mut self.gw;
        f.i32(16, planes, 32, 9)?;
        f.i32(20, pixel, 32, 9)?;
        f.bool(24)?;
        f.bool(25)?;
        f.v8(26, 2, 0)?;
        f.bool(27)?;
        f.i32(28, &mut self.cmap, 29, 9)?;
        f.i32(32, all, 32, 0)?;
        f.i32(36, your, 32, 0)?;
        f.i16(40, &mut self.gw_dont, 0)
    }

    fn property(&mut self, f: &mut In<'_, '_>) -> Done {
        let at = match self.properties.action(f.bits)? {
            Read::Stored(at) => {
                f.m = self.properties.stored(at);
                return Ok(());
            }
            Read::Full(at) => at,
        };
        let format = f.c(1, &mut self.gp_fmt)?;
        let items = size(f.v32(16, 32, 9)?);
        f.i32(8, &mut self.gp_type, 29, 9)?;
        f.v32(12, 32, 9)?;
        let unit = match format {
            16 => 2,
            32 => 4,
            _ => 1,
        };
        f.m.words(32 + pad4(items * unit));
        f.data()?;
        self.properties.put(at, &f.m);
        Ok(())
    }

    fn char_info(&mut self, f: &mut In<'_, '_>, at: usize) -> Done {
        let [first, rest @ ..] = &mut self.ci;
        let [a, b, c, d] = first.read(f.bits, 32, 6)?.to_le_bytes();
        f.m.put(at, &[a, b]);
        f.m.put(at + 10, &[c, d]);
        f.row(at + 2, rest, 6)
    }

    fn font(&mut self, f: &mut In<'_, '_>) -> Done {
        let at = match self.fonts.action(f.bits)? {
            Read::Stored(at) => {
                f.m = self.fonts.stored(at);
                return Ok(());
            }
            Read::Full(at) => at,
        };
        f.m.resize(60);
        assert!(f.bits.bit()?, "a font of another coding");
        let properties = usize::from(f.v16(46, 8)?);
        let chars = size(f.v32(56, 32, 10)?);
        f.m.words(60 + 8 * properties + 12 * chars);
        self.char_info(f, 8)?;
        self.char_info(f, 24)?;
        for at in [40, 42, 44] {
            f.v16(at, 9)?;
        }
        f.bool(48)?;
        f.v8(49, 8, 0)?;
        f.v8(50, 8, 0)?;
        f.bool(51)?;
        f.v16(52, 9)?;
        f.v16(54, 9)?;
        if f.same()? {
            let k = f.count(4, 0)?;
            let tail = self.tails.remove(k);
            f.m.put(60, &tail.bytes[60..]);
            self.tails.insert(k / 2, tail);
        } else {
            for k in 0..2 * properties {
                f.v32(60 + 4 * k, 32, 9)?;
            }
            for k in 0..chars {
                self.char_info(f, 60 + 8 * properties + 12 * k)?;
            }
            self.tails.insert(self.tails.len() / 2, f.m.clone());
            self.tails.truncate(16);
        }
        self.fonts.put(at, &f.m);
        Ok(())
    }

    fn list(&mut self, f: &mut In<'_, '_>) -> Done {
        let at = match self.lists.action(f.bits)? {
            Read::Stored(at) => {
                f.m = self.lists.stored(at);
                return Ok(());
            }
            Read::Full(at) => at,
        };
        let words = f.v32(4, 32, 8)?;
        f.m.resize(32 + 4 * size(words));
        let n = f.v16(8, 6)?;
        assert!(f.bits.bit()?, "a list of another coding");
        let mut place = 32;
        for _ in 0..n {
            f.v8(place, 8, 0)?;
            let length = usize::from(f.m.bytes[place]);
            f.mem(place + 1, length)?;
            place += 1 + length;
        }
        self.lists.put(at, &f.m);
        Ok(())
    }

    fn image(&mut self, f: &mut In<'_, '_>) -> Done {
        match self.images.action(f.bits)? {
            Read::Stored(at) => {
                f.m = self.images.stored(at);
                f.i32(8, &mut self.vis, 29, 0)?;
                self.images.put(Some(at), &f.m);
            }
            Read::Full(at) => {
                f.c(1, &mut self.depth)?;
                let words = f.v32(4, 32, 9)?;
                f.m.resize(32 + 4 * size(words));
                f.i32(8, &mut self.vis, 29, 0)?;
                f.data()?;
                self.images.put(at, &f.m);
            }
        }
        Ok(())
    }

    fn colours(&mut self, f: &mut In<'_, '_>) -> Done {
        assert!(f.bits.bit()?, "colours of another coding");
        if f.same()? {
            f.m = self.colours.clone();
            return Ok(());
        }
        let n = usize::from(f.v16(8, 5)?);
        f.m.words(32 + 8 * n);
        for k in 0..n {
            for part in 0..3 {
                f.v16(32 + 8 * k + 2 * part, 0)?;
            }
        }
        self.colours = f.m.clone();
        Ok(())
    }

    fn keyboard(&mut self, f: &mut In<'_, '_>) -> Done {
        if f.same()? {
            f.m = self.keyboard.clone();
            return Ok(());
        }
        let keys = f.count(8, 0)?;
        f.v8(1, 8, 4)?;
        let symbols = keys * usize::from(f.m.bytes[1]);
        f.m.words(32 + 4 * symbols);
        let mut prev = 0_u8;
        for k in 0..symbols {
            let mut symbol = 0;
            if !f.same()? {
                let high = self.ks.read(f.bits, 24, 9)?;
                prev = prev.wrapping_add(self.ks_low.read(f.bits, 5)?);
                symbol = high << 8 | u32::from(prev);
            }
            f.m.put(32 + 4 * k, &symbol.to_le_bytes());
        }
        self.keyboard = f.m.clone();
        Ok(())
    }

    fn modifiers(&mut self, f: &mut In<'_, '_>) -> Done {
        f.v8(1, 8, 0)?;
        f.m.words(32 + 8 * usize::from(f.m.bytes[1]));
        if f.same()? {
            f.m.put(32, &self.modifiers.bytes[32..]);
            return Ok(());
        }
        for at in 32..f.m.bytes.len() {
            let value = if f.same()? {
                0
            } else {
                low8(f.bits.value(8, 0)?)
            };
            f.m.put(at, &[value]);
        }
        self.modifiers = f.m.clone();
        Ok(())
    }
}

/// Exact and visual colour.
fn colour(f: &mut In<'_, '_>, at: usize) -> Done {
    for k in 0..3 {
        let exact = f.v16(at + 2 * k, 9)?;
        let visual = exact.wrapping_add(low16(f.bits.value(16, 5)?));
        f.m.put(at + 6 + 2 * k, &visual.to_le_bytes());
    }
    Ok(())
}
