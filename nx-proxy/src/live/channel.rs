//! A channel and its local end.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Sleep, sleep};

use super::limits;
use super::local::{LocalEnd, Opening};
use super::pipe::{Pipe, Queue};
use crate::codec::Service;

/// What a channel carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    X,
    Service(Service),
}

/// An open channel, or one whose local end is on its way.
pub(super) struct Channel {
    pub(super) kind: Kind,
    end: End,
    /// The agent sends no more: what waits is written, then the channel is
    /// closed.
    finishing: Option<Pin<Box<Sleep>>>,
    /// The agent takes no more for now.
    pub(super) held: bool,
    /// The agent was told that this end takes no more for now.
    pub(super) congested: bool,
    /// X: whether the client's setup message has passed.
    pub(super) admitted: bool,
    /// X: whether the X server's answer to it has come.
    pub(super) answered: bool,
    /// Bytes from the agent and to it.
    pub(super) bytes: (u64, u64),
}

enum End {
    Coming(Opening, Queue),
    There(Pipe<LocalEnd>),
}

impl Channel {
    pub(super) fn coming(kind: Kind, opening: Opening) -> Self {
        Self::new(kind, End::Coming(opening, Queue::default()))
    }

    pub(super) fn there(kind: Kind, end: LocalEnd) -> Self {
        Self::new(kind, End::There(Pipe::new(end)))
    }

    fn new(kind: Kind, end: End) -> Self {
        Self {
            kind,
            end,
            finishing: None,
            held: false,
            congested: false,
            admitted: false,
            answered: false,
            bytes: (0, 0),
        }
    }

    /// Queues bytes for the local end.
    pub(super) fn push(&mut self, bytes: Vec<u8>) {
        let count = u64::try_from(bytes.len()).unwrap_or(0);
        self.bytes.0 += count;
        self.queue().push(bytes);
    }

    pub(super) fn queue(&mut self) -> &mut Queue {
        match &mut self.end {
            End::Coming(_, queue) => queue,
            End::There(pipe) => &mut pipe.queue,
        }
    }

    /// Bytes that wait for the local end.
    pub(super) fn waiting(&self) -> usize {
        match &self.end {
            End::Coming(_, queue) => queue.waiting(),
            End::There(pipe) => pipe.queue.waiting(),
        }
    }

    /// Whether its local end has come.
    pub(super) fn is_there(&self) -> bool {
        matches!(self.end, End::There(_))
    }

    /// Waits for the local end, where it is not there yet. True when it has
    /// just come.
    pub(super) fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let End::Coming(opening, queue) = &mut self.end else {
            return Poll::Ready(Ok(false));
        };
        let end = ready!(opening.as_mut().poll(cx))?;
        let queue = std::mem::take(queue);
        self.end = End::There(Pipe::with_queue(end, queue));
        Poll::Ready(Ok(true))
    }

    /// The agent has closed the channel. From now on its local end has some
    /// time to take what waits.
    pub(super) fn finish(&mut self) {
        self.finishing
            .get_or_insert_with(|| Box::pin(sleep(limits::LAST_WORDS)));
    }

    pub(super) fn is_finishing(&self) -> bool {
        self.finishing.is_some()
    }

    /// Writes what waits; once the agent has finished, also says so. Ready
    /// when that is done.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = match &mut self.end {
            End::Coming(..) => Poll::Pending,
            End::There(pipe) if self.finishing.is_some() => pipe.poll_shutdown(cx),
            End::There(pipe) => pipe.poll_write(cx),
        };
        match &mut self.finishing {
            Some(late) if written.is_pending() => {
                ready!(late.as_mut().poll(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            _ => written,
        }
    }

    /// As [`Pipe::poll_read`].
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.end {
            End::Coming(..) => Poll::Pending,
            End::There(pipe) => {
                let read = pipe.poll_read(cx, buffer);
                if let Poll::Ready(Ok(count)) = &read {
                    self.bytes.1 += u64::try_from(*count).unwrap_or(0);
                }
                read
            }
        }
    }
}
