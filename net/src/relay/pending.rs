//! Bytes that wait for their reader.

use std::io;
use std::task::{Context, Poll, ready};

use super::stream::Stream;

/// What could not be written yet. Its memory is given back as soon as the
/// last byte has gone.
#[derive(Debug, Default)]
pub(super) struct Pending {
    bytes: Vec<u8>,
    written: usize,
}

impl Pending {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, written: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Everything that waits, leaving nothing.
    #[cfg(feature = "tls")]
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.written = 0;
        std::mem::take(&mut self.bytes)
    }

    /// Writes until nothing waits.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, to: &Stream) -> Poll<io::Result<()>> {
        while let Some(rest) = self
            .bytes
            .get(self.written..)
            .filter(|rest| !rest.is_empty())
        {
            ready!(to.poll_write_ready(cx))?;
            match to.try_write(rest) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => self.written += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        *self = Self::default();
        Poll::Ready(Ok(()))
    }

    /// Writes what the socket takes now and keeps the rest. Nothing may be
    /// waiting already.
    pub(super) fn write_or_keep(&mut self, mut bytes: &[u8], to: &Stream) -> io::Result<()> {
        debug_assert!(self.is_empty(), "bytes would be written out of order");
        while !bytes.is_empty() {
            match to.try_write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    *self = Self::new(bytes.to_vec());
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
