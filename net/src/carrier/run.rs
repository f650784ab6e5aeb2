//! One connection of a session.

use std::future::{Future as _, poll_fn};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};
use qvd_carrier::limits::{BLOCK, HELLO_TIME};
use qvd_carrier::{Carrier, Error, HELLO, Loss, Reason, Token};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Sleep, sleep_until, timeout};

use super::{Ended, Session, Shared};

/// Bytes that are handed to the connection at a time: what is more urgent
/// overtakes no more than these.
const ROOM: usize = 64 * 1024;

/// Least room for which the connection is read: a record of TLS.
const READ: usize = 16 * 1024;

/// How long a peer that broke the protocol may take to read why it is the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// Parts of what is written that are handed over at once.
const PARTS: usize = 32;

/// Rounds of reading and writing before others have their turn: who reads NX
/// is not to wait for what has come behind it.
const ROUNDS: usize = 2;

impl Session {
    /// Runs a connection until it is lost, or the session is over. `early` was
    /// read from it before. Dropped, the connection is lost.
    pub async fn run<C>(&self, connection: C, early: Vec<u8>) -> Ended
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        self.run_with(connection, &early, Carrier::connect).await
    }

    /// Hears who is on a connection that was greeted when it was taken, at the
    /// agent, while the one before goes on: its hello, for [`Session::serve`].
    ///
    /// # Errors
    /// Why the connection is of no use; a client that would be refused has been
    /// told.
    pub async fn hear<C>(&self, connection: &mut C) -> Result<[u8; HELLO], Loss>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let mut hello = [0; HELLO];
        let heard = timeout(HELLO_TIME, connection.read_exact(&mut hello)).await;
        match heard {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return Err(Loss::Closed),
            Err(_) => return Err(Loss::Hello),
        }
        let looked = self.shared.lock().carrier.look_at(&hello);
        let Err((loss, verdict)) = looked else {
            return Ok(hello);
        };
        if let Some(verdict) = verdict {
            // It may have gone already.
            let told = async {
                connection.write_all(&verdict).await?;
                connection.shutdown().await
            };
            let _ = timeout(HELLO_TIME, told).await;
        }
        Err(loss)
    }

    /// As [`Session::run`], at the agent, for a connection that was greeted
    /// when it was taken, and of which `hello` was read since. `next` are fresh
    /// random bits.
    pub async fn serve<C>(&self, connection: C, hello: &[u8], next: Token) -> Ended
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        self.run_with(connection, hello, |carrier, now| {
            carrier.await_client(next, now)
        })
        .await
    }

    async fn run_with<C>(
        &self,
        connection: C,
        early: &[u8],
        begin: impl FnOnce(&mut Carrier, Instant) -> Result<(), Error>,
    ) -> Ended
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let generation = {
            let mut inner = self.shared.lock();
            inner.generation = inner.generation.wrapping_add(1);
            // The connection before learns that it was replaced.
            inner.wake_driver();
            inner.lost = None;
            let now = Instant::now();
            if let Err(error) = begin(&mut inner.carrier, now) {
                tracing::debug!(%error, "carrier");
                return inner.over.clone().unwrap_or(Ended::Replaced);
            }
            let mut early = Bytes::copy_from_slice(early);
            while !early.is_empty() {
                inner.carrier.input(&mut early, now);
                inner.gather();
            }
            inner.generation
        };
        let _guard = Guard {
            shared: &self.shared,
            generation,
        };
        self.shared.publish();
        let mut driver = Driver {
            shared: &self.shared,
            connection,
            generation,
            head: Vec::new(),
            numbered: 0..0,
            unflushed: false,
            block: BytesMut::new(),
            timer: Box::pin(sleep_until(Instant::now().into())),
            armed: None,
        };
        let ended = poll_fn(|cx| driver.poll(cx)).await;
        self.shared.publish();
        if let Ended::Over {
            by_peer: false,
            reason: Reason::Violation | Reason::Flood,
            ..
        } = ended
        {
            // It is not awaited that the peer has heard why, but made likely.
            let _ = timeout(FAREWELL, driver.farewell()).await;
        }
        ended
    }
}

/// Sees to it that a connection that is not run counts as lost.
struct Guard<'a> {
    shared: &'a Shared,
    generation: u64,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        if inner.generation != self.generation {
            return;
        }
        inner.carrier.lost();
        inner.gather();
        drop(inner);
        self.shared.publish();
    }
}

struct Driver<'a, C> {
    shared: &'a Shared,
    connection: C,
    generation: u64,
    /// What is to be written: first this, then what the machine keeps between
    /// these positions.
    head: Vec<u8>,
    numbered: Range<u64>,
    unflushed: bool,
    /// What is left of the block that is read to.
    block: BytesMut,
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Driver<'_, C> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        for _ in 0..ROUNDS {
            if let Some(ended) = self.settle(cx) {
                return Poll::Ready(ended);
            }
            let wrote = match self.poll_write(cx) {
                Poll::Ready(Ok(wrote)) => wrote,
                Poll::Ready(Err(error)) => return Poll::Ready(self.broken(&error)),
                Poll::Pending => false,
            };
            let read = match self.poll_read(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(self.closed()),
                Poll::Ready(Ok(_)) => true,
                Poll::Ready(Err(error)) => return Poll::Ready(self.broken(&error)),
                Poll::Pending => false,
            };
            let timed = self.poll_timer(cx).is_ready();
            if !wrote && !read && !timed {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Has the peer read the last that was written: a connection that is closed
    /// with something unread may take that away from it.
    async fn farewell(&mut self) -> io::Result<()> {
        while !self.is_written() || self.unflushed {
            poll_fn(|cx| self.poll_write(cx)).await?;
        }
        self.connection.shutdown().await?;
        loop {
            self.block.clear();
            let room = self.block.capacity().max(READ);
            let mut room = (&mut self.block).limit(room);
            if self.connection.read_buf(&mut room).await? == 0 {
                return Ok(());
            }
        }
    }

    /// Whether there is anything more to do on this connection, and if so who
    /// is to be woken for it.
    fn settle(&mut self, cx: &mut Context<'_>) -> Option<Ended> {
        let mut inner = self.shared.lock();
        inner.gather();
        if inner.generation != self.generation {
            return Some(Ended::Replaced);
        }
        inner.set_driver(cx.waker());
        if inner.carrier.is_done() {
            return Some(inner.over.clone().unwrap_or(Ended::Replaced));
        }
        let loss = inner.lost?;
        // What nobody answers may be taken by nobody, either.
        if !matches!(loss, Loss::Refused(_)) {
            return Some(Ended::Lost(loss));
        }
        // What a refusal says is still to be written.
        if self.is_written() && !self.unflushed {
            let now = Instant::now();
            self.numbered = inner.carrier.transmit(now, &mut self.head, ROOM);
        }
        (self.is_written() && !self.unflushed).then_some(Ended::Lost(loss))
    }

    fn is_written(&self) -> bool {
        self.head.is_empty() && self.numbered.is_empty()
    }

    /// Writes what there is; whether that was anything.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut any = false;
        loop {
            // The machine keeps what is written: it stays locked meanwhile.
            let mut inner = self.shared.lock();
            if inner.generation != self.generation {
                // What there is to write is the next connection's.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.is_written() {
                let now = Instant::now();
                self.numbered = inner.carrier.transmit(now, &mut self.head, ROOM);
                inner.gather();
            }
            if self.is_written() {
                break;
            }
            let parts = inner.carrier.numbered(&self.numbered);
            let parts = std::iter::once(&self.head[..]).chain(parts);
            let written = put(Pin::new(&mut self.connection), cx, parts);
            drop(inner);
            match written {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    let headed = count.min(self.head.len());
                    self.head.drain(..headed);
                    let count = u64::try_from(count - headed).unwrap_or(u64::MAX);
                    self.numbered.start = self.numbered.start.saturating_add(count);
                    self.unflushed = true;
                    any = true;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if any => return Poll::Ready(Ok(true)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.connection).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(any))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.block.capacity() < READ && !self.block.try_reclaim(BLOCK) {
            self.block = self.shared.lock().carrier.block();
        }
        // No more than there is: it would be made larger.
        let room = self.block.capacity();
        let mut room = (&mut self.block).limit(room);
        let read = pin!(self.connection.read_buf(&mut room));
        let count = ready!(read.poll(cx))?;
        let mut bytes = self.block.split().freeze();
        loop {
            self.hand_over(&mut bytes);
            if bytes.is_empty() {
                return Poll::Ready(Ok(count));
            }
            // What it asks for is answered before the next. Where that is not
            // taken now, it is later.
            if let Poll::Ready(Err(error)) = self.poll_write(cx) {
                return Poll::Ready(Err(error));
            }
        }
    }

    /// Gives the machine of what was read as much as it takes at once.
    fn hand_over(&self, bytes: &mut Bytes) {
        let before = self.shared.link.borrow().times;
        let mut inner = self.shared.lock();
        if inner.generation != self.generation {
            bytes.clear();
            return;
        }
        inner.carrier.input(bytes, Instant::now());
        inner.gather();
        let changed = inner.times != before || inner.over.is_some();
        drop(inner);
        if changed {
            self.shared.publish();
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A deadline that was put off is found so when the timer fires: each
        // byte that comes puts one off.
        if let Some(at) = self.shared.lock().carrier.deadline()
            && self.armed.is_none_or(|armed| at < armed)
        {
            self.armed = Some(at);
            self.timer.as_mut().reset(at.into());
        }
        if self.armed.is_none() {
            return Poll::Pending;
        }
        ready!(self.timer.as_mut().poll(cx));
        self.armed = None;
        let mut inner = self.shared.lock();
        inner.carrier.timeout(Instant::now());
        inner.gather();
        Poll::Ready(())
    }

    /// The other end has closed the connection.
    fn closed(&self) -> Ended {
        self.lose(Loss::Closed)
    }

    fn broken(&self, error: &io::Error) -> Ended {
        tracing::debug!(%error, "carrier's connection");
        self.lose(Loss::Closed)
    }

    fn lose(&self, loss: Loss) -> Ended {
        let mut inner = self.shared.lock();
        if inner.generation != self.generation {
            return Ended::Replaced;
        }
        inner.carrier.lost();
        inner.gather();
        match &inner.over {
            Some(over) => over.clone(),
            None => Ended::Lost(inner.lost.unwrap_or(loss)),
        }
    }
}

/// Writes as much of these parts as the connection takes at once.
fn put<'a, C: AsyncWrite>(
    connection: Pin<&mut C>,
    cx: &mut Context<'_>,
    parts: impl Iterator<Item = &'a [u8]>,
) -> Poll<io::Result<usize>> {
    let mut parts = parts.filter(|part| !part.is_empty());
    if !connection.is_write_vectored() {
        return connection.poll_write(cx, parts.next().unwrap_or_default());
    }
    let mut slices = [IoSlice::new(&[]); PARTS];
    let mut count = 0_usize;
    for (slice, part) in slices.iter_mut().zip(parts) {
        *slice = IoSlice::new(part);
        count = count.saturating_add(1);
    }
    connection.poll_write_vectored(cx, slices.get(..count).unwrap_or_default())
}
