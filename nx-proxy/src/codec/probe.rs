//! Parts of the codec by themselves, for those who feed it what nobody would
//! send. No part of the crate's contract.

use super::CodecError;
use super::bits::BitWriter;
use super::encode::Encoder;
use super::image::Images;
use super::requests::Requests;
use super::x_channel::{Expected, Extension, What, XChannel};
use super::x_server::Cutter;

/// A packed image and what is known of its resource.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    /// How it is packed.
    pub method: u8,
    /// Depth of the drawable.
    pub depth: u8,
    /// Bits per pixel of that depth.
    pub bits: u8,
    /// Pixels across.
    pub width: u16,
    /// Pixels down.
    pub height: u16,
    /// Format of the PutImage.
    pub format: u8,
    /// Red, green and blue of a pixel.
    pub masks: [u32; 3],
    /// Byte order of client and X server.
    pub big: bool,
    /// Method of an alpha channel, and how many pixels it says it has.
    pub alpha: Option<(u8, u8)>,
    /// The packed pixels, the alpha channel's bytes as well.
    pub data: &'a [u8],
}

impl Image<'_> {
    /// The PutImage that it stands for, if it can be unpacked.
    #[must_use]
    pub fn unpacked(&self) -> Option<Vec<u8>> {
        let mut images = Images::default();
        let put = |out: &mut Vec<u8>, value: u32| {
            out.extend(if self.big {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            });
        };
        let put16 = |out: &mut Vec<u8>, value: u16| {
            out.extend(if self.big {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            });
        };
        let length = u32::try_from(self.data.len()).ok()?;
        let mut geometry = vec![241, 0, 6, 0];
        geometry.extend([self.bits; 6]);
        geometry.extend([0; 2]);
        for mask in self.masks {
            put(&mut geometry, mask);
        }
        images.set_geometry(&geometry, self.big);
        if let Some((method, pixels)) = self.alpha {
            let mut message = vec![246, 0, 0, 0, method, 0, 0, 0];
            put(&mut message, length);
            put(&mut message, u32::from(pixels));
            message.extend_from_slice(self.data);
            images.set_alpha(&message, self.big);
        }
        let mut message = vec![243, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2];
        message.extend([self.method, self.format, 0, self.depth]);
        put(&mut message, length);
        put(&mut message, 0);
        put(&mut message, 0);
        for value in [0, 0, self.width, self.height, self.width, self.height] {
            put16(&mut message, value);
        }
        message.resize(40, 0);
        message.extend_from_slice(self.data);
        let mut out = Vec::new();
        images
            .unpack(&message, self.big, self.big, &mut out)
            .then_some(out)
    }
}

/// The X server's side of a channel.
pub struct Server {
    encoder: Encoder,
    requests: Requests,
    channel: XChannel,
    cutter: Cutter,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    /// A channel whose agent awaits replies to requests of these opcodes, from
    /// number 1 on.
    #[must_use]
    pub fn new(delta: bool, big: bool, asked: &[u8]) -> Self {
        let mut channel = XChannel {
            big,
            expose: [true; 3],
            ..XChannel::default()
        };
        for (sequence, op) in (1_u16..).zip(asked) {
            let what = match op {
                84 => What::Colour([u16::from(sequence.to_le_bytes()[0]) << 4; 3]),
                98 => What::Extension {
                    extension: Extension::Render,
                    hidden: sequence % 2 == 0,
                },
                245 => What::Stage(sequence.to_le_bytes()[0] % 3),
                _ => What::Nothing,
            };
            let (sequence, op) = (sequence, *op);
            channel.expected.push_back(Expected { sequence, op, what });
        }
        Self {
            encoder: Encoder::new(delta, false),
            requests: Requests::new(delta, false),
            channel,
            cutter: Cutter::default(),
        }
    }

    /// The payload for the agent that bytes of the X server make.
    ///
    /// # Errors
    /// They are no X11.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
        self.cutter.receive(bytes);
        let mut bits = BitWriter::default();
        loop {
            let setup = !self.cutter.setup;
            let Some(message) = self.cutter.poll(self.channel.big)? else {
                return Ok(bits.finish());
            };
            if setup {
                self.encoder.setup(message, &mut self.channel, &mut bits);
            } else {
                let (channel, requests) = (&mut self.channel, &mut self.requests);
                self.encoder
                    .message(message, channel, requests, &mut bits)?;
            }
        }
    }
}
