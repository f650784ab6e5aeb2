//! Frames, to and from bytes (PROTOCOL.md §3). Strict: what is read is written
//! back as the same bytes.

use crate::error::Violation;
use crate::limits::{HEADER, MAX_CREDIT, MAX_METADATA, MAX_PAYLOAD, MAX_TEXT};

/// One frame. Data and metadata are borrowed from where the frame was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are PROTOCOL.md's")]
pub enum Frame<'a> {
    /// A new stream.
    Open {
        stream: u32,
        kind: u8,
        credit: u32,
        metadata: &'a [u8],
    },
    /// A stream is taken.
    Accept {
        stream: u32,
        credit: u32,
        metadata: &'a [u8],
    },
    /// A stream is not taken.
    Refuse {
        stream: u32,
        code: u8,
        text: &'a str,
    },
    /// Bytes of a stream.
    Data { stream: u32, bytes: &'a [u8] },
    /// Leave to send so many more bytes.
    Credit { stream: u32, bytes: u32 },
    /// No more data this way.
    HalfClose { stream: u32 },
    /// The stream is no more.
    Reset { stream: u32, code: u8 },
    /// The session is no more.
    End { code: u8, text: &'a str },
    /// Are you there?
    Ping([u8; 8]),
    /// I am.
    Pong([u8; 8]),
    /// Processed up to this position, whose last byte came so many
    /// microseconds before this was written.
    Ack { position: u64, kept: u32 },
}

pub(crate) const OPEN: u8 = 0x01;
pub(crate) const ACCEPT: u8 = 0x02;
pub(crate) const REFUSE: u8 = 0x03;
pub(crate) const DATA: u8 = 0x04;
pub(crate) const CREDIT: u8 = 0x05;
pub(crate) const HALF_CLOSE: u8 = 0x06;
pub(crate) const RESET: u8 = 0x07;
pub(crate) const END: u8 = 0x08;
pub(crate) const PING: u8 = 0x11;
pub(crate) const PONG: u8 = 0x12;
pub(crate) const ACK: u8 = 0x13;

/// A frame's header, alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
    pub(crate) length: usize,
}

impl Header {
    /// The header of bytes that begin with one.
    pub(crate) fn read(bytes: [u8; HEADER]) -> Self {
        let [kind, a, b, c, d, high, low] = bytes;
        Self {
            kind,
            stream: u32::from_be_bytes([a, b, c, d]),
            length: usize::from(u16::from_be_bytes([high, low])),
        }
    }

    /// Refuses what no payload can put right, before one is waited for.
    fn check(self) -> Result<Self, Violation> {
        let (least, most) = match self.kind {
            OPEN => (5, 5 + MAX_METADATA),
            ACCEPT => (4, 4 + MAX_METADATA),
            REFUSE | END => (1, 1 + MAX_TEXT),
            DATA => (1, MAX_PAYLOAD),
            CREDIT => (4, 4),
            HALF_CLOSE => (0, 0),
            RESET => (1, 1),
            PING | PONG => (8, 8),
            ACK => (12, 12),
            kind => return Err(Violation::Type(kind)),
        };
        if !(least..=most).contains(&self.length) {
            return Err(Violation::Payload(self.kind));
        }
        let of_session = matches!(self.kind, END | PING | PONG | ACK);
        if of_session != (self.stream == 0) {
            return Err(Violation::Stream(self.kind));
        }
        Ok(self)
    }
}

impl<'a> Frame<'a> {
    /// Reads the frame `bytes` begin with: it and how long it was, or `None`
    /// when there is only a part of it.
    ///
    /// # Errors
    ///
    /// [`Violation`] when no more bytes would make a frame of these.
    pub fn read(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, Violation> {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let header = Header::read(*header).check()?;
        let Some(payload) = rest.get(..header.length) else {
            return Ok(None);
        };
        let frame = Self::parse(header, payload).ok_or(Violation::Payload(header.kind))?;
        Ok(Some((frame, HEADER.saturating_add(header.length))))
    }

    fn parse(header: Header, payload: &'a [u8]) -> Option<Self> {
        let stream = header.stream;
        Some(match header.kind {
            OPEN => {
                let (kind, rest) = payload.split_first()?;
                let (credit, metadata) = rest.split_first_chunk::<4>()?;
                Self::Open {
                    stream,
                    kind: *kind,
                    credit: granted(*credit)?,
                    metadata,
                }
            }
            ACCEPT => {
                let (credit, metadata) = payload.split_first_chunk::<4>()?;
                Self::Accept {
                    stream,
                    credit: granted(*credit)?,
                    metadata,
                }
            }
            REFUSE => {
                let (code, text) = coded(payload)?;
                Self::Refuse { stream, code, text }
            }
            DATA => Self::Data {
                stream,
                bytes: payload,
            },
            CREDIT => Self::Credit {
                stream,
                bytes: granted(payload.try_into().ok()?).filter(|bytes| *bytes > 0)?,
            },
            HALF_CLOSE => Self::HalfClose { stream },
            RESET => Self::Reset {
                stream,
                code: *payload.first()?,
            },
            END => {
                let (code, text) = coded(payload)?;
                Self::End { code, text }
            }
            PING => Self::Ping(payload.try_into().ok()?),
            PONG => Self::Pong(payload.try_into().ok()?),
            ACK => {
                let (position, kept) = payload.split_first_chunk::<8>()?;
                Self::Ack {
                    position: u64::from_be_bytes(*position),
                    kept: u32::from_be_bytes(kept.try_into().ok()?),
                }
            }
            _ => return None,
        })
    }

    /// Appends the frame to `out`. What is beyond a limit is cut off: the
    /// machine has refused it long before.
    pub fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Open {
                stream,
                kind,
                credit,
                metadata,
            } => {
                let metadata = cut(metadata, MAX_METADATA);
                header(OPEN, stream, metadata.len().saturating_add(5), out);
                out.push(kind);
                out.extend_from_slice(&credit.min(MAX_CREDIT).to_be_bytes());
                out.extend_from_slice(metadata);
            }
            Self::Accept {
                stream,
                credit,
                metadata,
            } => {
                let metadata = cut(metadata, MAX_METADATA);
                header(ACCEPT, stream, metadata.len().saturating_add(4), out);
                out.extend_from_slice(&credit.min(MAX_CREDIT).to_be_bytes());
                out.extend_from_slice(metadata);
            }
            Self::Refuse { stream, code, text } => said(REFUSE, stream, code, text, out),
            Self::Data { stream, bytes } => {
                let bytes = cut(bytes, MAX_PAYLOAD);
                header(DATA, stream, bytes.len(), out);
                out.extend_from_slice(bytes);
            }
            Self::Credit { stream, bytes } => {
                header(CREDIT, stream, 4, out);
                out.extend_from_slice(&bytes.min(MAX_CREDIT).to_be_bytes());
            }
            Self::HalfClose { stream } => header(HALF_CLOSE, stream, 0, out),
            Self::Reset { stream, code } => {
                header(RESET, stream, 1, out);
                out.push(code);
            }
            Self::End { code, text } => said(END, 0, code, text, out),
            Self::Ping(bytes) => {
                header(PING, 0, 8, out);
                out.extend_from_slice(&bytes);
            }
            Self::Pong(bytes) => {
                header(PONG, 0, 8, out);
                out.extend_from_slice(&bytes);
            }
            Self::Ack { position, kept } => {
                header(ACK, 0, 12, out);
                out.extend_from_slice(&position.to_be_bytes());
                out.extend_from_slice(&kept.to_be_bytes());
            }
        }
    }

    /// The header of a DATA frame of so many bytes, at most [`MAX_PAYLOAD`].
    pub(crate) fn data_header(stream: u32, length: usize) -> [u8; HEADER] {
        let [a, b, c, d] = stream.to_be_bytes();
        let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
        [DATA, a, b, c, d, high, low]
    }

    /// Whether it counts for the position and is replayed.
    #[must_use]
    pub const fn is_numbered(&self) -> bool {
        !matches!(self, Self::Ping(_) | Self::Pong(_) | Self::Ack { .. })
    }
}

/// A text no longer than fits a frame, cut between characters.
#[must_use]
pub(crate) fn short(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default()
}

fn header(kind: u8, stream: u32, length: usize, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&stream.to_be_bytes());
    // No payload is beyond MAX_PAYLOAD here.
    out.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
}

fn said(kind: u8, stream: u32, code: u8, text: &str, out: &mut Vec<u8>) {
    let text = short(text);
    header(kind, stream, text.len().saturating_add(1), out);
    out.push(code);
    out.extend_from_slice(text.as_bytes());
}

fn cut(bytes: &[u8], most: usize) -> &[u8] {
    bytes.get(..most).unwrap_or(bytes)
}

fn granted(bytes: [u8; 4]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes)).filter(|bytes| *bytes <= MAX_CREDIT)
}

fn coded(payload: &[u8]) -> Option<(u8, &str)> {
    let (code, text) = payload.split_first()?;
    Some((*code, std::str::from_utf8(text).ok()?))
}
