use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What can carry NX.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// The byte stream of a session, from its very first byte: what was read
/// together with the 101 comes first.
pub struct NxStream {
    transport: Box<dyn Transport>,
    early: Vec<u8>,
    given: usize,
}

impl NxStream {
    /// A stream on `transport`, of which `early` has been read already.
    pub fn new(transport: impl Transport + 'static, early: Vec<u8>) -> Self {
        Self {
            transport: Box::new(transport),
            early,
            given: 0,
        }
    }
}

impl AsyncRead for NxStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let rest = this.early.get(this.given..).unwrap_or_default();
        if rest.is_empty() {
            return Pin::new(&mut this.transport).poll_read(cx, buf);
        }
        let (now, later) = rest.split_at(rest.len().min(buf.remaining()));
        buf.put_slice(now);
        if later.is_empty() {
            this.early = Vec::new();
            this.given = 0;
        } else {
            this.given += now.len();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for NxStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn early_bytes_come_first_whatever_the_size_of_the_reads() {
        for size in 1..8 {
            let (ours, mut theirs) = tokio::io::duplex(64);
            theirs.write_all(b" and late").await.unwrap();
            drop(theirs);
            let mut stream = NxStream::new(ours, b"early".to_vec());
            let mut all = Vec::new();
            loop {
                let mut chunk = vec![0; size];
                match stream.read(&mut chunk).await.unwrap() {
                    0 => break,
                    n => all.extend_from_slice(&chunk[..n]),
                }
            }
            assert_eq!(all, b"early and late", "reads of {size}");
        }
    }
}
