//! Pipes to splice through, pooled per thread.
//!
//! Making a pipe costs three system calls and its size is charged to the user
//! (`pipe-user-pages-soft`), so a few are kept; an idle tunnel has none.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use super::stream::Stream;

/// What a pipe is enlarged to where the kernel allows it, in bytes: one
/// round through it then moves what a fast connection has in its window.
const SIZE: usize = 1024 * 1024;

/// Idle pipes kept per thread.
const KEPT: usize = 8;

thread_local! {
    static POOL: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// A non-blocking pipe and how many bytes are in it.
#[derive(Debug)]
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    held: usize,
}

impl Pipe {
    /// An empty pipe, from the pool or new.
    pub(super) fn take() -> io::Result<Self> {
        if let Some(pipe) = POOL.with_borrow_mut(Vec::pop) {
            return Ok(pipe);
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Refused beyond the user's quota: the usual 64 KiB serve as well.
        let _ = fcntl_setpipe_size(&write, SIZE);
        Ok(Self {
            read,
            write,
            held: 0,
        })
    }

    /// Returns the pipe to the pool, if it is empty and there is room.
    pub(super) fn put_back(self) {
        if self.held == 0 {
            POOL.with_borrow_mut(|pool| {
                if pool.len() < KEPT {
                    pool.push(self);
                }
            });
        }
    }

    /// How many bytes are in the pipe.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Moves bytes from the socket into the pipe, which must be empty
    /// (`WouldBlock` then always means the socket). 0 is the end of bytes.
    pub(super) fn fill(&mut self, from: &Stream) -> io::Result<usize> {
        debug_assert_eq!(
            self.held, 0,
            "a full pipe could not be told from an empty socket"
        );
        let n = from.try_read_with(|fd| {
            Ok(splice(
                fd,
                None,
                &self.write,
                None,
                SIZE,
                SpliceFlags::NONBLOCK,
            )?)
        })?;
        self.held = n;
        Ok(n)
    }

    /// Moves bytes from the pipe, which must not be empty, to the socket.
    pub(super) fn drain(&mut self, to: &Stream) -> io::Result<usize> {
        let n = to.try_write_with(|fd| {
            Ok(splice(
                &self.read,
                None,
                fd,
                None,
                self.held,
                SpliceFlags::NONBLOCK,
            )?)
        })?;
        self.held = self.held.saturating_sub(n);
        Ok(n)
    }

    /// Reads out what is in the pipe, where it cannot be spliced onwards.
    pub(super) fn recover(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.held];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match rustix::io::read(&self.read, rest)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => filled += n,
            }
        }
        self.held = 0;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn what_cannot_be_spliced_onwards_is_read_back() {
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(b"in flight").await.unwrap();
        far.readable().await.unwrap();
        let mut pipe = Pipe::take().unwrap();
        assert_eq!(pipe.fill(&far.into()).unwrap(), 9);
        assert_eq!(pipe.recover().unwrap(), b"in flight");
        assert_eq!(pipe.held(), 0);
    }
}
