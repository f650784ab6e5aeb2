//! Events (delta=1).

use super::super::cache::{Char, Int};
use super::super::message::{low8, low16};
use super::fields::{Done, In, Message};

/// The pointer's place.
#[derive(Debug, Default)]
pub(super) struct Pointer {
    last: (u16, u16),
    root: [Int; 2],
    event: [Int; 2],
    pub(super) state: Int,
}

impl Pointer {
    pub(super) fn read(&mut self, f: &mut In<'_, '_>, at: usize, block: u32) -> Done {
        let [x, y] = &mut self.root;
        let x = low16(x.read(f.bits, 16, block)?).wrapping_add(self.last.0);
        let y = low16(y.read(f.bits, 16, block)?).wrapping_add(self.last.1);
        self.last = (x, y);
        let [event_x, event_y] = &mut self.event;
        let event_x = low16(event_x.read(f.bits, 16, block)?).wrapping_add(x);
        let event_y = low16(event_y.read(f.bits, 16, block)?).wrapping_add(y);
        for (k, value) in [x, y, event_x, event_y].into_iter().enumerate() {
            f.m.put(at + 2 * k, &value.to_le_bytes());
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
pub(super) struct Events {
    now: u32,
    time: Int,
    button: Char,
    win: [Int; 3],
    focus: Int,
    expose_w: Int<12>,
    ex_g: [Int; 5],
    ne_draw: Int,
    ne_minor: Int,
    ne_major: Char,
    vis_w: Int,
    cr_w: Int,
    cr_last: u32,
    map_e: Int,
    map_w: Int,
    rp_w: Int,
    cf_w: [Int; 3],
    cf_g: [Int; 5],
    pr_w: Int,
    pr_a: Int,
    sc_w: Int,
    sc_a: Int,
    cm_w: Int,
    cm_c: Int,
    ge: Char,
    ge_i: [Int; 14],
    key: Message,
    keymap: Message,
}

impl Events {
    pub(super) fn read(&mut self, code: u8, f: &mut In<'_, '_>, pointer: &mut Pointer) -> Done {
        match code {
            2 => {
                f.v8(1, 8, 0)?;
                self.input_time(f)?;
                self.input(code, f, pointer)?;
                self.key = f.m.clone();
            }
            3 => {
                if f.same()? {
                    f.m.put(1, &self.key.bytes[1..2]);
                } else {
                    f.v8(1, 8, 0)?;
                }
                self.input_time(f)?;
                if f.same()? {
                    f.m.put(8, &self.key.bytes[8..31]);
                } else {
                    self.input(code, f, pointer)?;
                }
            }
            4..=8 => {
                match code {
                    4 | 5 => f.c(1, &mut self.button).map(drop)?,
                    6 => f.bool(1)?,
                    _ => f.v8(1, 3, 0)?,
                }
                self.input_time(f)?;
                self.input(code, f, pointer)?;
            }
            9 | 10 => {
                f.v8(1, 3, 0)?;
                f.i32(4, &mut self.focus, 29, 9)?;
                f.v8(8, 2, 0)?;
            }
            11 => {
                if f.same()? {
                    f.m.put(1, &self.keymap.bytes[1..]);
                } else {
                    for at in 1..32 {
                        f.v8(at, 8, 0)?;
                    }
                    self.keymap = f.m.clone();
                }
            }
            12 => {
                f.i32(4, &mut self.expose_w, 29, 9)?;
                f.row(8, &mut self.ex_g, 6)?;
            }
            14 => {
                f.i32(4, &mut self.ne_draw, 29, 9)?;
                f.i16(8, &mut self.ne_minor, 0)?;
                f.c(10, &mut self.ne_major)?;
            }
            15 => {
                f.i32(4, &mut self.vis_w, 29, 9)?;
                f.v8(8, 2, 0)?;
            }
            16 => self.create(f)?,
            17..=19 => {
                f.i32(4, &mut self.map_e, 29, 9)?;
                f.i32(8, &mut self.map_w, 29, 9)?;
                if code != 17 {
                    f.bool(12)?;
                }
            }
            21 => {
                for at in [4, 8, 12] {
                    f.i32(at, &mut self.rp_w, 29, 9)?;
                }
                f.v16(16, 6)?;
                f.v16(18, 6)?;
                f.bool(20)?;
            }
            22 => {
                for (k, cache) in self.cf_w.iter_mut().enumerate() {
                    f.i32(4 + 4 * k, cache, 29, 9)?;
                }
                f.row(16, &mut self.cf_g, 8)?;
                f.bool(26)?;
            }
            28 => {
                f.i32(4, &mut self.pr_w, 29, 9)?;
                f.i32(8, &mut self.pr_a, 29, 9)?;
                self.plain_time(12, f)?;
                f.bool(16)?;
            }
            29 | 30 => {
                self.plain_time(4, f)?;
                f.i32(8, &mut self.sc_w, 29, 9)?;
                if code == 29 {
                    return f.i32(12, &mut self.sc_a, 29, 9);
                }
                f.i32(12, &mut self.sc_w, 29, 9)?;
                for at in [16, 20, 24] {
                    f.i32(at, &mut self.sc_a, 29, 9)?;
                }
            }
            32 => {
                f.i32(4, &mut self.cm_w, 29, 8)?;
                f.i32(8, &mut self.cm_c, 29, 8)?;
                f.bool(12)?;
                f.bool(13)?;
            }
            _ => {
                f.c(1, &mut self.ge)?;
                f.row(4, &mut self.ge_i, 0)?;
            }
        }
        Ok(())
    }

    fn later(&mut self, by: u32, at: usize, f: &mut In<'_, '_>) {
        self.now = self.now.wrapping_add(by);
        f.m.put(at, &self.now.to_le_bytes());
    }

    fn input_time(&mut self, f: &mut In<'_, '_>) -> Done {
        let by = self.time.read(f.bits, 32, 9)?;
        self.later(by, 4, f);
        Ok(())
    }

    fn plain_time(&mut self, at: usize, f: &mut In<'_, '_>) -> Done {
        let by = f.bits.value(32, 9)?;
        self.later(by, at, f);
        Ok(())
    }

    fn input(&mut self, code: u8, f: &mut In<'_, '_>, pointer: &mut Pointer) -> Done {
        for (k, cache) in self.win.iter_mut().enumerate() {
            f.i32(8 + 4 * k, cache, 29, 6)?;
        }
        pointer.read(f, 20, 6)?;
        f.i16(28, &mut pointer.state, 0)?;
        if matches!(code, 7 | 8) {
            for at in [30, 31] {
                let value = low8(f.bits.value(2, 0)?);
                f.m.put(at, &[value]);
            }
            Ok(())
        } else {
            f.bool(30)
        }
    }

    fn create(&mut self, f: &mut In<'_, '_>) -> Done {
        f.i32(4, &mut self.cr_w, 29, 9)?;
        let by = f.bits.value(29, 5)?;
        self.cr_last = self.cr_last.wrapping_add(by) & 0x1fff_ffff;
        f.m.put(8, &self.cr_last.to_le_bytes());
        for at in (12..22).step_by(2) {
            f.v16(at, 9)?;
        }
        f.bool(22)
    }
}
