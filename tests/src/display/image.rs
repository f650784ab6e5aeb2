//! Pixels of a display, and questions about them.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use super::window::Window;
use crate::error::Doing as _;
use crate::{Error, Result};

/// Part of a picture's pixels which must differ from the most frequent colour
/// for it to count as drawn.
const DRAWN_PART: f64 = 0.002;

/// A rectangle of a display or a picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Left edge.
    pub x: u16,
    /// Upper edge.
    pub y: u16,
    /// Width.
    pub width: u16,
    /// Height.
    pub height: u16,
}

impl Region {
    /// The part of a window which lies within a display of this size.
    pub(super) fn within(window: &Window, width: u16, height: u16) -> Option<Self> {
        let clip = |start: i32, length: u16, limit: u16| {
            let end = start.saturating_add(length.into()).min(limit.into());
            let start = start.max(0);
            let length = u16::try_from(end.checked_sub(start)?)
                .ok()
                .filter(|one| *one > 0)?;
            Some((u16::try_from(start).ok()?, length))
        };
        let (x, width) = clip(window.x, window.width, width)?;
        let (y, height) = clip(window.y, window.height, height)?;
        Some(Self {
            x,
            y,
            width,
            height,
        })
    }
}

/// How a server lays pixels out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) bits_per_pixel: u8,
    pub(super) little_endian: bool,
    pub(super) red: u32,
    pub(super) green: u32,
    pub(super) blue: u32,
}

/// A picture of 8 bits each of red, green and blue.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    width: u16,
    height: u16,
    pixels: Vec<[u8; 3]>,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Image({}x{}, {} colours)",
            self.width,
            self.height,
            self.colours()
        )
    }
}

impl Image {
    pub(super) fn decode(width: u16, height: u16, data: &[u8], layout: Layout) -> Result<Self> {
        if layout.bits_per_pixel != 32 {
            return Err(Error::Invalid(format!(
                "a display with {} bits a pixel cannot be read: use depth 24",
                layout.bits_per_pixel
            )));
        }
        let channel = |pixel: u32, mask: u32| {
            let value = (pixel & mask) >> mask.trailing_zeros().min(31);
            u8::try_from(value & 0xff).unwrap_or_default()
        };
        let (words, _) = data.as_chunks::<4>();
        let pixels: Vec<_> = words
            .iter()
            .take(usize::from(width) * usize::from(height))
            .map(|bytes| {
                let pixel = match layout.little_endian {
                    true => u32::from_le_bytes(*bytes),
                    false => u32::from_be_bytes(*bytes),
                };
                [layout.red, layout.green, layout.blue].map(|mask| channel(pixel, mask))
            })
            .collect();
        if pixels.len() < usize::from(width) * usize::from(height) {
            return Err(Error::Invalid(format!(
                "a picture of {width}x{height} came incomplete"
            )));
        }
        Ok(Self {
            width,
            height,
            pixels,
        })
    }

    /// Width in pixels.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u16 {
        self.height
    }

    /// Red, green and blue of a pixel, if it is within the picture.
    pub fn pixel(&self, x: u16, y: u16) -> Option<[u8; 3]> {
        let inside = x < self.width && y < self.height;
        let index = usize::from(y) * usize::from(self.width) + usize::from(x);
        self.pixels.get(index).copied().filter(|_| inside)
    }

    /// A part of the picture, cut at its edges.
    pub fn crop(&self, region: Region) -> Self {
        let width = region.width.min(self.width.saturating_sub(region.x));
        let height = region.height.min(self.height.saturating_sub(region.y));
        let rows = self.pixels.chunks(usize::from(self.width).max(1));
        let rows = rows.skip(region.y.into()).take(height.into());
        let pixels = rows
            .flat_map(|row| row.iter().skip(region.x.into()).take(width.into()))
            .copied()
            .collect();
        Self {
            width,
            height,
            pixels,
        }
    }

    /// Number of distinct colours.
    pub fn colours(&self) -> usize {
        self.histogram().len()
    }

    /// Part of the pixels, 0 to 1, which have the most frequent colour.
    pub fn dominance(&self) -> f64 {
        let most = self.histogram().into_values().max().unwrap_or_default();
        ratio(most, self.pixels.len())
    }

    /// Whether all pixels are of one colour.
    pub fn is_uniform(&self) -> bool {
        self.colours() <= 1
    }

    /// Whether something was really drawn here: not one colour, nor one colour
    /// with a line or a pointer on it.
    pub fn is_drawn(&self) -> bool {
        self.dominance() <= 1.0 - DRAWN_PART
    }

    /// Part of the pixels, 0 to 1, which differ from `other`; all of them when
    /// the sizes differ.
    pub fn changed_fraction(&self, other: &Self) -> f64 {
        if (self.width, self.height) != (other.width, other.height) {
            return 1.0;
        }
        let changed = self
            .pixels
            .iter()
            .zip(&other.pixels)
            .filter(|(a, b)| a != b)
            .count();
        ratio(changed, self.pixels.len())
    }

    /// The mean colour.
    pub fn mean(&self) -> [u8; 3] {
        let count = u64::try_from(self.pixels.len()).unwrap_or(u64::MAX).max(1);
        let mut sums = [0_u64; 3];
        for pixel in &self.pixels {
            for (sum, part) in sums.iter_mut().zip(pixel) {
                *sum += u64::from(*part);
            }
        }
        sums.map(|sum| u8::try_from(sum / count).unwrap_or(u8::MAX))
    }

    /// Reads a picture that [`Self::save`] wrote.
    ///
    /// # Errors
    ///
    /// When there is none, or it is of another kind.
    pub fn load(path: &Path) -> Result<Self> {
        let doing = || format!("reading {}", path.display());
        let file = File::open(path).doing(doing)?;
        let reader = png::Decoder::new(std::io::BufReader::new(file)).read_info();
        let mut reader = reader.map_err(std::io::Error::other).doing(doing)?;
        let odd = || Error::Invalid(format!("{} is no picture of 8-bit RGB", path.display()));
        let mut bytes = vec![0; reader.output_buffer_size().ok_or_else(odd)?];
        let info = reader.next_frame(&mut bytes);
        let info = info.map_err(std::io::Error::other).doing(doing)?;
        if (info.color_type, info.bit_depth) != (png::ColorType::Rgb, png::BitDepth::Eight) {
            return Err(odd());
        }
        let size = |value| u16::try_from(value).map_err(|_| odd());
        let (pixels, _) = bytes.as_chunks::<3>();
        Ok(Self {
            width: size(info.width)?,
            height: size(info.height)?,
            pixels: pixels.to_vec(),
        })
    }

    /// Writes the picture as PNG.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let doing = || format!("writing {}", path.display());
        let file = File::create(path).doing(doing)?;
        let (width, height) = (self.width.into(), self.height.into());
        let mut encoder = png::Encoder::new(BufWriter::new(file), width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder
            .write_header()
            .map_err(std::io::Error::other)
            .doing(doing)?;
        let written = writer.write_image_data(self.pixels.as_flattened());
        written
            .and_then(|()| writer.finish())
            .map_err(std::io::Error::other)
            .doing(doing)
    }

    fn histogram(&self) -> HashMap<[u8; 3], usize> {
        let mut counts = HashMap::new();
        for pixel in &self.pixels {
            *counts.entry(*pixel).or_default() += 1;
        }
        counts
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    let number = |value: usize| u32::try_from(value).map_or(f64::from(u32::MAX), f64::from);
    number(part) / number(whole).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout {
        bits_per_pixel: 32,
        little_endian: true,
        red: 0xff_0000,
        green: 0xff00,
        blue: 0xff,
    };

    fn picture(width: u8, height: u8, colour: impl Fn(u8, u8) -> [u8; 3]) -> Image {
        let mut data = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let [red, green, blue] = colour(x, y);
                data.extend([blue, green, red, 0]);
            }
        }
        Image::decode(width.into(), height.into(), &data, LAYOUT).unwrap()
    }

    #[test]
    fn pixels_are_read_in_the_servers_order() {
        let image = picture(3, 2, |x, y| [x, y, 9]);
        assert_eq!(image.pixel(2, 1), Some([2, 1, 9]));
        assert_eq!(image.pixel(3, 0), None);
        let big = Layout {
            little_endian: false,
            ..LAYOUT
        };
        let image = Image::decode(1, 1, &[0, 1, 2, 3], big).unwrap();
        assert_eq!(image.pixel(0, 0), Some([1, 2, 3]));
        assert!(Image::decode(2, 1, &[0; 4], LAYOUT).is_err());
    }

    #[test]
    fn an_empty_window_is_not_drawn() {
        assert!(!picture(50, 50, |_, _| [0; 3]).is_drawn());
        assert!(
            !picture(50, 50, |x, y| if (x, y) == (9, 9) {
                [1; 3]
            } else {
                [0; 3]
            })
            .is_drawn()
        );
        assert!(picture(50, 50, |x, _| [x; 3]).is_drawn());
    }

    #[test]
    fn changes_are_a_part_of_the_pixels() {
        let black = picture(10, 10, |_, _| [0; 3]);
        let half = picture(10, 10, |x, _| if x < 5 { [0; 3] } else { [1; 3] });
        assert_eq!(black.changed_fraction(&black), 0.0);
        assert_eq!(black.changed_fraction(&half), 0.5);
        assert_eq!(black.changed_fraction(&picture(1, 1, |_, _| [0; 3])), 1.0);
    }

    #[test]
    fn a_part_is_cut_at_the_edges() {
        let image = picture(4, 4, |x, y| [x, y, 0]);
        let part = image.crop(Region {
            x: 3,
            y: 2,
            width: 9,
            height: 9,
        });
        assert_eq!((part.width(), part.height()), (1, 2));
        assert_eq!(part.pixel(0, 1), Some([3, 3, 0]));
    }

    #[test]
    fn a_saved_picture_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("picture.png");
        picture(4, 3, |x, y| [x, y, 7]).save(&path).unwrap();
        let file = std::io::BufReader::new(File::open(&path).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 4 * 3 * 3);
        assert_eq!(bytes[bytes.len() - 3..], [3, 2, 7]);
        let loaded = Image::load(&path).unwrap();
        assert_eq!(loaded, picture(4, 3, |x, y| [x, y, 7]));
        assert_eq!(loaded.mean(), [1, 1, 7]);
    }

    #[test]
    fn a_windows_visible_part() {
        let window = |x, y| Window {
            id: 1,
            name: String::new(),
            instance: String::new(),
            class: String::new(),
            x,
            y,
            width: 20,
            height: 10,
            visible: true,
        };
        let region = |x, y, width, height| {
            Some(Region {
                x,
                y,
                width,
                height,
            })
        };
        assert_eq!(
            Region::within(&window(5, 5), 100, 100),
            region(5, 5, 20, 10)
        );
        assert_eq!(
            Region::within(&window(-5, 95), 100, 100),
            region(0, 95, 15, 5)
        );
        assert_eq!(Region::within(&window(100, 0), 100, 100), None);
        assert_eq!(Region::within(&window(-20, 0), 100, 100), None);
    }
}
