//! A stream of a session, read and written like a socket.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

use super::inner::Inner;
use super::{Link, Shared};

/// A stream. A cut of the connection is a pause in it. Dropped, it is given
/// up; when its writing end was shut down before, what was written still goes.
pub struct Stream {
    shared: Arc<Shared>,
    id: u32,
    finished: bool,
}

impl Stream {
    pub(super) fn new(shared: Arc<Shared>, id: u32) -> Self {
        Self {
            shared,
            id,
            finished: false,
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// The state of the session's connection.
    pub(super) fn link(&self) -> watch::Receiver<Link> {
        self.shared.link.subscribe()
    }

    /// Its last was written: let go, what was written still goes.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shared.lock()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.lock().leave(self.id, self.finished);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_has_come(cx))?;
        let mut inner = self.shared.lock();
        let mut due = false;
        loop {
            let bytes = inner.carrier.readable(self.id);
            let count = bytes.len().min(buf.remaining());
            if count == 0 {
                break;
            }
            buf.put_slice(bytes.get(..count).unwrap_or_default());
            due |= inner.carrier.consume(self.id, count);
        }
        // The end may have come with the last byte.
        inner.gather();
        if due {
            inner.wake_driver();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.shared.lock();
        if let Some(error) = inner.local(self.id).and_then(|local| local.failure()) {
            return Poll::Ready(Err(error));
        }
        let waiting = inner.carrier.is_waiting(self.id);
        let count = match inner.carrier.write(self.id, buf) {
            Ok(count) => count,
            Err(error) => {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::BrokenPipe, error)));
            }
        };
        if count > 0 || buf.is_empty() {
            if !waiting {
                inner.wake_driver();
            }
            return Poll::Ready(Ok(count));
        }
        if let Some(local) = inner.local(self.id) {
            local.writer = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What is written is the session's, and goes as soon as it can.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let mut inner = this.shared.lock();
        if inner
            .local(this.id)
            .and_then(|local| local.failure())
            .is_none()
        {
            // A stream that is over has nothing left to close.
            let _ = inner.carrier.half_close(this.id);
            inner.wake_driver();
        }
        drop(inner);
        this.finish();
        Poll::Ready(Ok(()))
    }
}
