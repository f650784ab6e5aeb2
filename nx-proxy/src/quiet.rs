//! A Unix socket that wakes nobody for room that nobody waits for.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{SendAncillaryBuffer, SendFlags, Shutdown, sendmsg, shutdown};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;

use crate::nxproxy::sys;

/// A connected Unix socket.
///
/// The runtime's own asks to be told of bytes and of room at once, and a Unix
/// socket tells of room each time its peer reads: half of all the times a
/// session's thread was woken up. Room is asked for here only while the socket
/// is full.
pub(crate) struct Quiet {
    socket: AsyncFd<OwnedFd>,
    /// The same socket, while it is full or was a moment ago.
    full: Option<AsyncFd<OwnedFd>>,
}

impl Quiet {
    pub(crate) fn new(socket: UnixStream) -> io::Result<Self> {
        let socket = OwnedFd::from(socket.into_std()?);
        Ok(Self {
            socket: sys::watch(socket)?,
            full: None,
        })
    }
}

impl AsyncRead for Quiet {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.socket.poll_read_ready(cx))?;
            let room = buf.initialize_unfilled();
            let length = room.len();
            match ready.try_io(|socket| Ok(rustix::io::read(socket, &mut *room)?)) {
                Ok(Ok(count)) => {
                    if count > 0 && count < length {
                        // There was no more.
                        ready.clear_ready();
                    }
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_empty) => {}
            }
        }
    }
}

impl AsyncWrite for Quiet {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let this = &mut *self;
            let written = match &this.full {
                None => give(&this.socket, bufs),
                Some(full) => {
                    let mut ready = ready!(full.poll_write_ready(cx))?;
                    match ready.try_io(|socket| give(socket, bufs)) {
                        Ok(written) => written,
                        Err(_full) => continue,
                    }
                }
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let again = this.socket.get_ref().try_clone()?;
                    this.full = Some(sys::watch_for(again, Interest::WRITABLE)?);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing more waits: there is no need to hear of room.
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.full = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.full = None;
        Poll::Ready(Ok(shutdown(&self.socket, Shutdown::Write)?))
    }
}

/// Writes what there is room for at once.
fn give(socket: &AsyncFd<OwnedFd>, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
    let mut nothing = SendAncillaryBuffer::default();
    Ok(sendmsg(socket, bytes, &mut nothing, SendFlags::NOSIGNAL)?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;

    fn pair() -> (Quiet, UnixStream) {
        let (one, other) = UnixStream::pair().unwrap();
        (Quiet::new(one).unwrap(), other)
    }

    #[tokio::test]
    async fn more_than_the_socket_holds_arrives_both_ways() {
        let (quiet, other) = pair();
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|k| (k % 251) as u8).collect();
        let (mut quiet_reads, mut quiet_writes) = tokio::io::split(quiet);
        let (mut other_reads, mut other_writes) = tokio::io::split(other);
        let writes = async {
            for part in bytes.chunks(70_000) {
                quiet_writes.write_all(part).await.unwrap();
            }
            quiet_writes.shutdown().await.unwrap();
        };
        let answers = async {
            let mut got = Vec::new();
            other_reads.read_to_end(&mut got).await.unwrap();
            other_writes.write_all(&got).await.unwrap();
            other_writes.shutdown().await.unwrap();
        };
        let reads = async {
            let mut got = Vec::new();
            quiet_reads.read_to_end(&mut got).await.unwrap();
            got
        };
        let all = async { tokio::join!(writes, answers, reads) };
        let ((), (), got) = timeout(Duration::from_secs(60), all).await.unwrap();
        assert!(got == bytes);
    }

    #[tokio::test]
    async fn room_is_asked_for_only_while_the_socket_is_full() {
        let (mut quiet, mut other) = pair();
        quiet.write_all(b"a word").await.unwrap();
        assert!(quiet.full.is_none());
        let mut count = 6;
        loop {
            let part = [7; 65536];
            match taken_at_once(&mut quiet, &part).await {
                Some(written) => count += written,
                None => break,
            }
        }
        assert!(quiet.full.is_some());
        let mut got = vec![0; count];
        other.read_exact(&mut got).await.unwrap();
        quiet.write_all(b"more").await.unwrap();
        quiet.flush().await.unwrap();
        assert!(quiet.full.is_none());
        drop(quiet);
        other.read_to_end(&mut got).await.unwrap();
        assert!(got.ends_with(b"more"));
    }

    /// What a write takes at once, if anything.
    async fn taken_at_once(quiet: &mut Quiet, part: &[u8]) -> Option<usize> {
        std::future::poll_fn(|cx| match Pin::new(&mut *quiet).poll_write(cx, part) {
            Poll::Ready(written) => Poll::Ready(Some(written.unwrap())),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn an_end_and_a_peer_that_went_are_told() {
        let (mut quiet, other) = pair();
        drop(other);
        assert_eq!(quiet.read(&mut [0; 8]).await.unwrap(), 0);
        let error = quiet.write_all(b"hello").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
