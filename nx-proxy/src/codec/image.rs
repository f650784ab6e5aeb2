//! What a channel knows of its images, and images made of it.

use std::collections::BTreeMap;
use std::io::Read as _;

use super::limits;
use super::message::{pad4, size, u8_at, u16_at, u32_at};
use super::pixels::{self, Masks};

/// Geometry, alpha and colormap of each resource.
#[derive(Debug, Default)]
pub(super) struct Images {
    resources: BTreeMap<u8, Resource>,
}

#[derive(Debug, Default)]
struct Resource {
    geometry: Option<Geometry>,
    alpha: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Geometry {
    /// Bits per pixel of depths 1, 4, 8, 15 and 16, 24, 32.
    bits: [u8; 6],
    masks: Masks,
}

impl Geometry {
    fn bits(&self, depth: u8) -> u8 {
        let [one, four, eight, sixteen, twenty_four, thirty_two] = self.bits;
        match depth {
            1 => one,
            4 => four,
            8 => eight,
            15 | 16 => sixteen,
            24 => twenty_four,
            32 => thirty_two,
            _ => 0,
        }
    }
}

/// The fields of a packed image.
pub(super) struct Shape {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Bytes of a line.
    pub(super) line: usize,
    pub(super) bits: u8,
    pub(super) masks: Masks,
    /// Whether the X server's pixels are big-endian.
    pub(super) big: bool,
}

impl Images {
    /// 241.
    pub(super) fn set_geometry(&mut self, message: &[u8], big: bool) {
        let mut bits = [0; 6];
        for (to, from) in bits.iter_mut().zip(message.get(4..).unwrap_or_default()) {
            *to = *from;
        }
        self.resource(message).geometry = Some(Geometry {
            bits,
            masks: Masks {
                red: u32_at(message, 12, big),
                green: u32_at(message, 16, big),
                blue: u32_at(message, 20, big),
            },
        });
    }

    /// 246. What cannot be unpacked leaves the resource without alpha.
    pub(super) fn set_alpha(&mut self, message: &[u8], big: bool) {
        let packed = size(u32_at(message, 8, big));
        let unpacked = size(u32_at(message, 12, big));
        let data = message.get(16..).unwrap_or_default();
        let data = data.get(..packed).unwrap_or(data);
        let alpha = if unpacked > limits::ALPHA {
            None
        } else if u8_at(message, 4) == 65 {
            flagged(data, unpacked)
        } else {
            data.get(..unpacked).map(<[u8]>::to_vec)
        };
        if alpha.is_none() {
            tracing::debug!(packed, unpacked, "alpha cannot be unpacked");
        }
        self.resource(message).alpha = alpha.unwrap_or_default();
    }

    /// 247.
    pub(super) fn free(&mut self, resource: u8) {
        self.resources.remove(&resource);
    }

    fn resource(&mut self, message: &[u8]) -> &mut Resource {
        self.resources.entry(u8_at(message, 1)).or_default()
    }

    /// 243: appends the PutImage to `out`; false when there is none.
    pub(super) fn unpack(&self, m: &[u8], big: bool, server_big: bool, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let done = self.put_image(m, big, server_big, out).is_some();
        if !done {
            tracing::debug!(method = u8_at(m, 12), "image cannot be unpacked");
            out.truncate(start);
        }
        done
    }

    fn put_image(&self, m: &[u8], big: bool, server_big: bool, out: &mut Vec<u8>) -> Option<()> {
        let resource = self.resources.get(&u8_at(m, 1))?;
        let geometry = resource.geometry?;
        if u16_at(m, 24, big) != 0 || u16_at(m, 26, big) != 0 {
            return None;
        }
        let depth = u8_at(m, 15);
        let bits = geometry.bits(depth);
        let (width, height) = (u16_at(m, 36, big), u16_at(m, 38, big));
        let (width, height) = (usize::from(width), usize::from(height));
        let line = pad4((width * usize::from(bits)).div_ceil(8));
        let length = line * height;
        if bits == 0 || length > limits::IMAGE {
            return None;
        }
        let shape = Shape {
            width,
            height,
            line,
            bits,
            masks: geometry.masks,
            big: server_big,
        };
        let data = m.get(40..)?.get(..size(u32_at(m, 16, big)))?;
        let put16 = |out: &mut Vec<u8>, v: u16| {
            out.extend(if big {
                v.to_be_bytes()
            } else {
                v.to_le_bytes()
            });
        };
        out.extend([72, u8_at(m, 13)]);
        put16(out, u16::try_from((24 + length) / 4).ok()?);
        out.extend(m.get(4..12)?);
        out.extend(m.get(36..40)?);
        out.extend(m.get(32..36)?);
        out.extend([0, depth, 0, 0]);
        let from = out.len();
        pixels::unpack(u8_at(m, 12), data, &shape, out)?;
        let pixels = out.get_mut(from..)?;
        if pixels.len() != length {
            return None;
        }
        if depth == 32 && bits == 32 && resource.alpha.len() == width * height {
            for (pixel, alpha) in pixels.chunks_exact_mut(4).zip(&resource.alpha) {
                *(if server_big {
                    pixel.first_mut()?
                } else {
                    pixel.last_mut()?
                }) = *alpha;
            }
        }
        Some(())
    }
}

/// A flag byte, then the data itself or one zlib stream of it, `length` bytes
/// unpacked.
pub(super) fn flagged(data: &[u8], length: usize) -> Option<Vec<u8>> {
    let (flag, rest) = data.split_first()?;
    if *flag == 0 {
        return rest.get(..length).map(<[u8]>::to_vec);
    }
    let mut plain = Vec::new();
    let limit = u64::try_from(length).ok()? + 1;
    flate2::read::ZlibDecoder::new(rest)
        .take(limit)
        .read_to_end(&mut plain)
        .ok()?;
    (plain.len() == length).then_some(plain)
}
