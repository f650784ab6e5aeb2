//! Pixels out of packed images.

use std::io::Cursor;

use libjpeg_turbo_rs::{DecodeLimits, Decoder, PixelFormat};

use super::image::{Shape, flagged};

/// Where the colours of a pixel are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Masks {
    pub(super) red: u32,
    pub(super) green: u32,
    pub(super) blue: u32,
}

/// What is added to each colour that lost its low bits, by method (those of
/// JPEG and PNG in the place of theirs).
fn correction(method: u8) -> u8 {
    match method {
        1 => 63,
        2 => 7,
        4 => 5,
        5 => 4,
        6 => 3,
        8 => 1,
        _ => 0,
    }
}

/// The methods this end reports to the agent.
pub(super) fn supported(method: u8) -> bool {
    matches!(method, 0..=10 | 26..=35 | 37..=46 | 63..=67)
}

/// Appends the pixels of `data`, line by line as the X server wants them;
/// `None` when they cannot be unpacked.
pub(super) fn unpack(method: u8, data: &[u8], shape: &Shape, out: &mut Vec<u8>) -> Option<()> {
    match method {
        1..=3 => {
            let c = correction(method);
            let pixels = data.iter().map(|v| match *v {
                0 => [0; 3],
                255 => [255; 3],
                v => [
                    ((v & 0x30) << 2) | c,
                    ((v & 0x0c) << 4) | c,
                    ((v & 0x03) << 6) | c,
                ],
            });
            if shape.bits == 8 {
                out.extend_from_slice(data);
                return Some(());
            }
            reduced(pixels, shape, out)
        }
        4..=7 => {
            let c = correction(method);
            let (words, rest) = data.as_chunks::<2>();
            if !rest.is_empty() {
                return None;
            }
            let pixels = words.iter().map(|w| match u16::from_le_bytes(*w) {
                0 => [0; 3],
                0xffff => [255; 3],
                v => {
                    let [low, high] = v.to_le_bytes();
                    [
                        ((high & 0x7c) << 1) | c,
                        ((high & 0x03) << 6) | ((low & 0xe0) >> 2) | c,
                        ((low & 0x1f) << 3) | c,
                    ]
                }
            });
            reduced(pixels, shape, out)
        }
        8..=10 => {
            let c = if method == 10 { 0 } else { correction(method) };
            let (pixels, rest) = data.as_chunks::<3>();
            if !rest.is_empty() {
                return None;
            }
            let pixels = pixels.iter().map(|[r, g, b]| match [*r, *g, *b] {
                end @ ([0, 0, 0] | [255, 255, 255]) => end,
                [r, g, b] => [r | c, g | c, b | c],
            });
            reduced(pixels, shape, out)
        }
        26..=35 => photo(&jpeg(data, shape)?, correction(method - 25), shape, out),
        37..=46 => photo(&png(data, shape)?, correction(method - 36), shape, out),
        63 | 64 => {
            out.extend(flagged(data, shape.line * shape.height)?);
            Some(())
        }
        67 => {
            if shape.bits != 32 {
                out.extend_from_slice(data);
                return Some(());
            }
            let (pixels, rest) = data.as_chunks::<3>();
            if !rest.is_empty() || pixels.len() != shape.width * shape.height {
                return None;
            }
            out.reserve(pixels.len() * 4);
            for [a, b, c] in pixels {
                out.extend_from_slice(&if shape.big {
                    [0, *a, *b, *c]
                } else {
                    [*a, *b, *c, 0]
                });
            }
            Some(())
        }
        _ => None,
    }
}

/// Pixels of fewer colours, red, green and blue.
fn reduced(
    pixels: impl ExactSizeIterator<Item = [u8; 3]>,
    shape: &Shape,
    out: &mut Vec<u8>,
) -> Option<()> {
    if pixels.len() != shape.width * shape.height {
        return None;
    }
    match shape.bits {
        32 => {
            out.reserve(pixels.len() * 4);
            for [r, g, b] in pixels {
                out.extend_from_slice(&if shape.big {
                    [0, r, g, b]
                } else {
                    [b, g, r, 0]
                });
            }
        }
        16 => {
            for (k, [r, g, b]) in pixels.enumerate() {
                let value =
                    (u16::from(r) << 8) & 0xf800 | (u16::from(g) << 3) & 0x07e0 | u16::from(b) >> 3;
                word16(value, shape, out);
                end_line(k, shape, out);
            }
        }
        _ => return None,
    }
    Some(())
}

fn word16(value: u16, shape: &Shape, out: &mut Vec<u8>) {
    out.extend(if shape.big {
        value.to_be_bytes()
    } else {
        value.to_le_bytes()
    });
}

/// Pads the line that pixel `k` of 16 bits ends.
fn end_line(k: usize, shape: &Shape, out: &mut Vec<u8>) {
    if (k + 1).is_multiple_of(shape.width) && shape.width % 2 == 1 {
        out.extend([0; 2]);
    }
}

/// Pixels of a JPEG or PNG, in the places of the display's masks.
fn photo(rgb: &[u8], c: u8, shape: &Shape, out: &mut Vec<u8>) -> Option<()> {
    let (pixels, _) = rgb.as_chunks::<3>();
    if pixels.len() != shape.width * shape.height {
        return None;
    }
    match shape.bits {
        32 => {
            let c = u32::from_be_bytes([0, c, c, c]);
            let masks = [shape.masks.red, shape.masks.green, shape.masks.blue];
            let shifts = masks.map(|m| m.trailing_zeros().min(24));
            let [red, green, blue] = shifts;
            out.reserve(pixels.len() * 4);
            for [r, g, b] in pixels {
                let mut pixel =
                    u32::from(*r) << red | u32::from(*g) << green | u32::from(*b) << blue;
                if pixel != 0 {
                    pixel |= c;
                }
                out.extend_from_slice(&if shape.big {
                    pixel.to_be_bytes()
                } else {
                    pixel.to_le_bytes()
                });
            }
        }
        16 => {
            for (k, [r, g, b]) in pixels.iter().enumerate() {
                let place = |v: u8, mask: u32| {
                    let shift = mask.trailing_zeros().min(15);
                    let most = mask >> shift;
                    ((u32::from(v).saturating_mul(most.min(0xffff)) + 127) / 255) << shift
                };
                let value = place(*r, shape.masks.red)
                    | place(*g, shape.masks.green)
                    | place(*b, shape.masks.blue);
                word16(super::message::low16(value), shape, out);
                end_line(k, shape, out);
            }
        }
        _ => return None,
    }
    Some(())
}

fn jpeg(data: &[u8], shape: &Shape) -> Option<Vec<u8>> {
    let limits = DecodeLimits {
        max_width: shape.width,
        max_height: shape.height,
        max_scans: super::limits::SCANS,
        ..DecodeLimits::default()
    };
    let mut decoder = Decoder::new_with_limits(data, limits).ok()?;
    let header = decoder.header();
    if (usize::from(header.width), usize::from(header.height)) != (shape.width, shape.height) {
        return None;
    }
    decoder.set_output_format(PixelFormat::Rgb);
    Some(decoder.decode_image().ok()?.data)
}

fn png(data: &[u8], shape: &Shape) -> Option<Vec<u8>> {
    let mut decoder = png::Decoder::new_with_limits(
        Cursor::new(data),
        png::Limits {
            bytes: super::limits::IMAGE * 2,
        },
    );
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info().ok()?;
    let info = reader.info();
    if (
        usize::try_from(info.width).ok()?,
        usize::try_from(info.height).ok()?,
    ) != (shape.width, shape.height)
    {
        return None;
    }
    let mut raw = vec![0; reader.output_buffer_size()?];
    let info = reader.next_frame(&mut raw).ok()?;
    let samples = info.color_type.samples();
    let mut rgb = Vec::with_capacity(shape.width * shape.height * 3);
    for pixel in raw.chunks_exact(samples) {
        match pixel {
            [v] | [v, _] => rgb.extend([*v; 3]),
            [r, g, b, ..] => rgb.extend([*r, *g, *b]),
            [] => {}
        }
    }
    Some(rgb)
}
