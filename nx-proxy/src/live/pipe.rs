//! One end that bytes go to and come from: the agent, the X server, or the
//! local end of a channel.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;

use crate::Transport;

/// Chunks smaller than this are joined, so that many small messages are one
/// write.
const JOIN: usize = 16 * 1024;

/// Chunks that are written at once.
const AT_ONCE: usize = 16;

/// Written chunks that are kept until somebody asks for them, and the largest
/// of them in bytes.
const SPENT: (usize, usize) = (2, 128 * 1024);

/// Bytes that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Queue {
    chunks: VecDeque<Vec<u8>>,
    /// Of the first chunk, already written.
    written: usize,
    waiting: usize,
    /// Chunks that are written, for who fills them again.
    spent: Vec<Vec<u8>>,
}

impl Queue {
    pub(super) fn push(&mut self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        self.waiting += bytes.len();
        match self.chunks.back_mut() {
            Some(last) if last.len() + bytes.len() <= JOIN => {
                last.extend_from_slice(&bytes);
                self.spend(bytes);
            }
            _ => self.chunks.push_back(bytes),
        }
    }

    /// Bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// What is to be written next, as so many slices of `room`.
    fn next<'a>(&'a self, room: &mut [IoSlice<'a>; AT_ONCE]) -> usize {
        let mut written = self.written;
        let mut count = 0;
        for (chunk, slice) in self.chunks.iter().zip(room) {
            *slice = IoSlice::new(chunk.get(written..).unwrap_or_default());
            written = 0;
            count += 1;
        }
        count
    }

    fn take(&mut self, count: usize) {
        self.written += count;
        self.waiting = self.waiting.saturating_sub(count);
        while let Some(chunk) = self.chunks.front().filter(|c| self.written >= c.len()) {
            self.written -= chunk.len();
            if let Some(chunk) = self.chunks.pop_front() {
                self.spend(chunk);
            }
        }
    }

    fn spend(&mut self, chunk: Vec<u8>) {
        if self.spent.len() < SPENT.0 && chunk.capacity() <= SPENT.1 {
            self.spent.push(chunk);
        }
    }

    /// Chunks that are done with.
    pub(super) fn spent(&mut self) -> std::vec::Drain<'_, Vec<u8>> {
        self.spent.drain(..)
    }
}

/// A transport and what waits to be written to it.
pub(super) struct Pipe<T> {
    io: T,
    pub(super) queue: Queue,
    flushed: bool,
}

impl<T: Transport> Pipe<T> {
    pub(super) fn new(io: T) -> Self {
        Self::with_queue(io, Queue::default())
    }

    /// With bytes that came before the transport was there.
    pub(super) fn with_queue(io: T, queue: Queue) -> Self {
        let flushed = true;
        Self { io, queue, flushed }
    }

    /// Writes what waits. Ready when nothing waits any more, neither here nor
    /// in the transport.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.queue.waiting() > 0 {
            let mut room = [IoSlice::new(&[]); AT_ONCE];
            let slices = self.queue.next(&mut room);
            let slices = room.get(..slices).unwrap_or_default();
            let count = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.queue.take(count);
            self.flushed = false;
        }
        if !self.flushed {
            // TLS keeps what is not flushed.
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// How many bytes were read to the start of `buffer`; none at the end of
    /// file.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Writes what waits, then says that nothing more will come.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_chunks_are_joined_and_taken_in_order() {
        let mut queue = Queue::default();
        for k in 0..200_u8 {
            queue.push(vec![k; 100]);
        }
        queue.push(vec![200; 3 * JOIN]);
        queue.push(Vec::new());
        assert!(queue.chunks.len() < 5);
        let mut all = Vec::new();
        while queue.waiting() > 0 {
            let mut room = [IoSlice::new(&[]); AT_ONCE];
            let slices = queue.next(&mut room);
            let next: Vec<u8> = room[..slices].iter().flat_map(|s| s.to_vec()).collect();
            let part = next[..next.len().min(777)].to_vec();
            queue.take(part.len());
            all.extend(part);
        }
        assert_eq!(queue.waiting(), 0);
        assert_eq!(all.len(), 200 * 100 + 3 * JOIN);
        assert!(all.is_sorted());
    }
}
