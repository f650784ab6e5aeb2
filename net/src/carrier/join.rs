//! A stream joined with a socket of this machine.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BufMut;
use qvd_carrier::limits::FULL_BLOCK;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{Shutdown, shutdown};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::sleep;

use super::Stream;

/// How long a stream may stay open whose program has closed its socket. No time
/// passes while there is no connection.
const LINGER: Duration = Duration::from_secs(5);

/// How long an answer may take of which nothing comes, when what asks for it
/// has written its last. A multiple of [`LINGER`].
const SILENCE: Duration = Duration::from_secs(600);

/// Parts of what has come that are written at once.
const PARTS: usize = 16;

/// A socket that a stream is joined with.
pub trait Local: Send + Sync {
    /// Waits until it can be read.
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send;
    /// Reads what is there.
    ///
    /// # Errors
    /// Also when nothing is.
    fn try_read(&self, buffer: &mut impl BufMut) -> io::Result<usize>;
    /// Waits until it can be written.
    fn writable(&self) -> impl Future<Output = io::Result<()>> + Send;
    /// Writes what there is room for.
    ///
    /// # Errors
    /// Also when there is none.
    fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Tells its other end that nothing more comes.
    ///
    /// # Errors
    /// The kernel's.
    fn end(&self) -> io::Result<()>;
    /// Whether its other end is closed, both ways: nobody awaits an answer.
    fn is_closed(&self) -> bool;
}

macro_rules! local {
    ($socket:ty) => {
        impl Local for $socket {
            fn readable(&self) -> impl Future<Output = io::Result<()>> + Send {
                <$socket>::readable(self)
            }

            fn try_read(&self, buffer: &mut impl BufMut) -> io::Result<usize> {
                self.try_read_buf(buffer)
            }

            fn writable(&self) -> impl Future<Output = io::Result<()>> + Send {
                <$socket>::writable(self)
            }

            fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
                self.try_write_vectored(parts)
            }

            fn end(&self) -> io::Result<()> {
                Ok(shutdown(self, Shutdown::Write)?)
            }

            fn is_closed(&self) -> bool {
                let mut looked = [PollFd::new(self, PollFlags::empty())];
                let now = Timespec::default();
                let _ = poll(&mut looked, Some(&now));
                let gone = PollFlags::HUP | PollFlags::ERR;
                looked.iter().any(|one| one.revents().intersects(gone))
            }
        }
    };
}

local!(UnixStream);
local!(TcpStream);

/// A socket of which is told when something is written to it.
pub struct Telling<L>(pub L, pub watch::Sender<()>);

impl<L: Local> Local for Telling<L> {
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send {
        self.0.readable()
    }

    fn try_read(&self, buffer: &mut impl BufMut) -> io::Result<usize> {
        self.0.try_read(buffer)
    }

    fn writable(&self) -> impl Future<Output = io::Result<()>> + Send {
        self.0.writable()
    }

    fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = self.0.try_write(parts)?;
        self.1.send_replace(());
        Ok(written)
    }

    fn end(&self) -> io::Result<()> {
        self.0.end()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl Stream {
    /// Copies both ways until both have ended. When one has, an answer may take
    /// its time: ten minutes of silence. A socket that is closed altogether
    /// awaits none, and what the stream may have for it is waited for five
    /// seconds; what was written to it goes its way all the same.
    pub async fn join(mut self, local: impl Local) {
        let moved = AtomicU64::new(0);
        let finished = {
            let mut down = pin!(told(self.down(&local, &moved)));
            let mut up = pin!(async {
                told(self.up(&local, &moved)).await;
                // However it ended, there is no more.
                let _ = self.end();
            });
            tokio::select! {
                // After a reset nobody is there for what the socket has to say.
                () = &mut down => !self.has_failed() && tokio::select! {
                    () = up => true,
                    // A closed socket ends by itself, once the stream has had
                    // room for what was written to it.
                    () = self.lingers(&moved, || false) => false,
                },
                () = &mut up => {
                    tokio::select! {
                        () = down => {}
                        () = self.lingers(&moved, || local.is_closed()) => {}
                    }
                    true
                }
            }
        };
        if finished {
            self.finish();
        }
    }

    /// Until nothing more is to be waited for, of what is counted in `moved`.
    async fn lingers(&self, moved: &AtomicU64, is_closed: impl Fn() -> bool) {
        let mut link = self.link();
        let (mut seen, mut silence) = (moved.load(Ordering::Relaxed), Duration::ZERO);
        loop {
            let closed = is_closed();
            // An outage is none of the other end's time.
            if link.wait_for(|link| link.up || link.over).await.is_err() {
                return;
            }
            tokio::select! {
                () = sleep(LINGER) => {
                    let now = moved.load(Ordering::Relaxed);
                    if std::mem::replace(&mut seen, now) != now {
                        silence = Duration::ZERO;
                        continue;
                    }
                    silence = silence.saturating_add(LINGER);
                    if closed || silence >= SILENCE {
                        return;
                    }
                }
                _ = link.wait_for(|link| !link.up && !link.over) => {}
            }
        }
    }

    fn has_failed(&self) -> bool {
        let mut inner = self.lock();
        let local = inner.local(self.id());
        local.is_some_and(|local| local.failure().is_some())
    }

    /// From the stream to the socket, which is told of the end.
    async fn down(&self, local: &impl Local, moved: &AtomicU64) -> io::Result<()> {
        loop {
            poll_fn(|cx| self.poll_has_come(cx)).await?;
            // Also takes from tokio's cooperative budget.
            local.writable().await?;
            let mut inner = self.lock();
            let mut slices = [IoSlice::new(&[]); PARTS];
            let mut count = 0_usize;
            for (slice, part) in slices
                .iter_mut()
                .zip(inner.carrier.readable_parts(self.id()))
            {
                *slice = IoSlice::new(part);
                count = count.saturating_add(1);
            }
            if count == 0 {
                break;
            }
            match local.try_write(slices.get(..count).unwrap_or_default()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    moved.fetch_add(1, Ordering::Relaxed);
                    let due = inner.carrier.consume(self.id(), count);
                    // The end may have come with the last byte.
                    inner.gather();
                    if due {
                        inner.wake_driver();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        local.end()
    }

    /// From the socket to the stream, whose other end is told of the end.
    async fn up(&self, local: &impl Local, moved: &AtomicU64) -> io::Result<()> {
        loop {
            let room = poll_fn(|cx| self.poll_room(cx)).await?;
            local.readable().await?;
            let read = self.fill(local, room);
            match read {
                Ok(0) => return Ok(()),
                Ok(_) => drop(moved.fetch_add(1, Ordering::Relaxed)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes what is there to be read, if there is room for so much; of the
    /// end, the end.
    fn fill(&self, local: &impl Local, room: usize) -> io::Result<usize> {
        let mut inner = self.lock();
        let mut block = inner.carrier.block();
        let read = local.try_read(&mut (&mut block).limit(room.min(FULL_BLOCK)));
        let waiting = inner.carrier.is_waiting(self.id());
        let written = inner.carrier.write_block(self.id(), block);
        match read? {
            0 => {
                drop(inner);
                self.end()?;
                Ok(0)
            }
            _ => {
                if !waiting {
                    inner.wake_driver();
                }
                written.map_err(|error| io::Error::new(io::ErrorKind::BrokenPipe, error))
            }
        }
    }

    /// Says that nothing more is written.
    fn end(&self) -> io::Result<()> {
        let mut inner = self.lock();
        let done = inner.carrier.half_close(self.id());
        inner.wake_driver();
        done.map_err(|error| io::Error::new(io::ErrorKind::BrokenPipe, error))
    }

    /// Ready when there is something to read, or its end.
    pub(super) fn poll_has_come(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        if !inner.carrier.readable(self.id()).is_empty() {
            return Poll::Ready(Ok(()));
        }
        let Some(local) = inner.local(self.id()) else {
            return Poll::Ready(Ok(()));
        };
        if local.ended {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = local.failure() {
            return Poll::Ready(Err(error));
        }
        local.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ready when there is room to write: how much.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        if let Some(error) = inner.local(self.id()).and_then(|local| local.failure()) {
            return Poll::Ready(Err(error));
        }
        match inner.carrier.want(self.id()) {
            0 => {
                if let Some(local) = inner.local(self.id()) {
                    local.writer = Some(cx.waker().clone());
                }
                Poll::Pending
            }
            room => Poll::Ready(Ok(room)),
        }
    }
}

async fn told(work: impl Future<Output = io::Result<()>>) {
    if let Err(error) = work.await {
        tracing::debug!(%error, "carrier's stream");
    }
}
