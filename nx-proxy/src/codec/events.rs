//! Events (delta=1).

use super::cache::{Char, Int};
use super::encode::{Out, Pointer};

/// Caches of events; names are those of the protocol's tables.
#[derive(Debug, Default)]
pub(super) struct Events {
    last_time: u32,
    time: Int,
    button: Char,
    win: [Int; 3],
    focus: Int,
    expose_window: Int<12>,
    expose: [Int; 5],
    ne_draw: Int,
    ne_minor: Int,
    ne_major: Char,
    visibility: Int,
    created: Int,
    last_created: u32,
    map: [Int; 2],
    reparent: Int,
    configured: [Int; 3],
    geometry: [Int; 5],
    property: [Int; 2],
    selection: Int,
    atom: Int,
    colormap: [Int; 2],
    generic_byte: Char,
    generic: [Int; 14],
}

impl Events {
    fn since(&mut self, time: u32) -> u32 {
        let since = time.wrapping_sub(self.last_time);
        self.last_time = time;
        since
    }

    fn input(&mut self, code: u8, out: &mut Out<'_>, pointer: &mut Pointer) {
        self.input_time(out);
        self.input_rest(code, out, pointer);
    }

    fn input_time(&mut self, out: &mut Out<'_>) {
        let since = self.since(out.u32(4));
        self.time.write(out.bits, since, 32, 9);
    }

    fn input_rest(&mut self, code: u8, out: &mut Out<'_>, pointer: &mut Pointer) {
        for (k, cache) in self.win.iter_mut().enumerate() {
            out.int32(8 + 4 * k, cache, 29, 6);
        }
        pointer.write(out, 20, 6);
        out.int16(28, &mut pointer.state, 0);
        if matches!(code, 7 | 8) {
            out.value8(30, 2, 0);
            out.value8(31, 2, 0);
        } else {
            out.bool(30);
        }
    }

    /// Everything behind the sequence number.
    pub(super) fn write(&mut self, code: u8, out: &mut Out<'_>, pointer: &mut Pointer) {
        match code {
            2 => {
                out.value8(1, 8, 0);
                self.input(code, out, pointer);
            }
            3 => {
                out.bits.bit(false);
                out.value8(1, 8, 0);
                self.input_time(out);
                out.bits.bit(false);
                self.input_rest(code, out, pointer);
            }
            4 | 5 => {
                out.char(1, &mut self.button);
                self.input(code, out, pointer);
            }
            6 => {
                out.bool(1);
                self.input(code, out, pointer);
            }
            7 | 8 => {
                out.value8(1, 3, 0);
                self.input(code, out, pointer);
            }
            9 | 10 => {
                out.value8(1, 3, 0);
                out.int32(4, &mut self.focus, 29, 9);
                out.value8(8, 2, 0);
            }
            11 => {
                out.bits.bit(false);
                for at in 1..32 {
                    out.value8(at, 8, 0);
                }
            }
            12 => {
                let window = out.u32(4);
                self.expose_window.write(out.bits, window, 29, 9);
                out.ints16(8, &mut self.expose, 6);
            }
            14 => {
                out.int32(4, &mut self.ne_draw, 29, 9);
                out.int16(8, &mut self.ne_minor, 0);
                out.char(10, &mut self.ne_major);
            }
            15 => {
                out.int32(4, &mut self.visibility, 29, 9);
                out.value8(8, 2, 0);
            }
            16 => self.create(out),
            17..=19 => {
                let [event, window] = &mut self.map;
                out.int32(4, event, 29, 9);
                out.int32(8, window, 29, 9);
                if code != 17 {
                    out.bool(12);
                }
            }
            21 => {
                for at in [4, 8, 12] {
                    out.int32(at, &mut self.reparent, 29, 9);
                }
                out.value16(16, 6);
                out.value16(18, 6);
                out.bool(20);
            }
            22 => {
                for (k, cache) in self.configured.iter_mut().enumerate() {
                    out.int32(4 + 4 * k, cache, 29, 9);
                }
                out.ints16(16, &mut self.geometry, 8);
                out.bool(26);
            }
            28 => {
                let [window, atom] = &mut self.property;
                out.int32(4, window, 29, 9);
                out.int32(8, atom, 29, 9);
                self.plain_time(12, out);
                out.bool(16);
            }
            29 => {
                self.plain_time(4, out);
                out.int32(8, &mut self.selection, 29, 9);
                out.int32(12, &mut self.atom, 29, 9);
            }
            30 => {
                self.plain_time(4, out);
                out.int32(8, &mut self.selection, 29, 9);
                out.int32(12, &mut self.selection, 29, 9);
                for at in [16, 20, 24] {
                    out.int32(at, &mut self.atom, 29, 9);
                }
            }
            32 => {
                let [window, map] = &mut self.colormap;
                out.int32(4, window, 29, 8);
                out.int32(8, map, 29, 8);
                out.bool(12);
                out.bool(13);
            }
            _ => {
                out.char(1, &mut self.generic_byte);
                out.ints16(4, &mut self.generic, 0);
            }
        }
    }

    fn plain_time(&mut self, at: usize, out: &mut Out<'_>) {
        let since = self.since(out.u32(at));
        out.bits.value(since, 32, 9);
    }

    fn create(&mut self, out: &mut Out<'_>) {
        out.int32(4, &mut self.created, 29, 9);
        let window = out.u32(8);
        let by = window.wrapping_sub(self.last_created);
        out.bits.value(by, 29, 5);
        self.last_created = window;
        for k in 0..5 {
            out.value16(12 + 2 * k, 9);
        }
        out.bool(22);
    }
}
