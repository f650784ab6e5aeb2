//! Plain socket to plain socket.

use std::io;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, ready};

use super::pending::Pending;
use super::pipe::Pipe;
use super::stream::Stream;
use super::{Fault, Meter, Place, Side, add, both, scratch};

/// Both directions between two plain sockets.
#[derive(Debug)]
pub(super) struct Relay {
    left: Stream,
    right: Stream,
    left_to_right: Direction,
    right_to_left: Direction,
}

impl Relay {
    pub(super) fn new(left: Side, right: Side) -> Self {
        Self {
            left_to_right: Direction::new(left.early),
            right_to_left: Direction::new(right.early),
            left: left.stream,
            right: right.stream,
        }
    }

    /// Ready when both directions have ended or either has failed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, meter: &Meter) -> Poll<Result<(), Fault>> {
        let forth = self.poll_left_to_right(cx, meter);
        let back = self.poll_right_to_left(cx, meter);
        if !matches!(forth, Poll::Ready(Err(_))) && matches!(back, Poll::Ready(Err(_))) {
            // The direction polled first may have been given bytes since.
            let _ = self.poll_left_to_right(cx, meter);
        }
        both(forth, back, meter)
    }

    /// As if the kernel had refused to splice.
    #[cfg(test)]
    pub(super) fn always_copy(&mut self) {
        self.left_to_right.copying = true;
        self.right_to_left.copying = true;
    }

    fn poll_left_to_right(
        &mut self,
        cx: &mut Context<'_>,
        meter: &Meter,
    ) -> Poll<Result<(), Fault>> {
        let ends = Ends {
            from: &self.left,
            from_place: Place::Left,
            to: &self.right,
            to_place: Place::Right,
        };
        self.left_to_right.poll(cx, ends, &meter.left_to_right)
    }

    fn poll_right_to_left(
        &mut self,
        cx: &mut Context<'_>,
        meter: &Meter,
    ) -> Poll<Result<(), Fault>> {
        let ends = Ends {
            from: &self.right,
            from_place: Place::Right,
            to: &self.left,
            to_place: Place::Left,
        };
        self.right_to_left.poll(cx, ends, &meter.right_to_left)
    }
}

/// The sockets of one direction.
#[derive(Clone, Copy)]
struct Ends<'a> {
    from: &'a Stream,
    from_place: Place,
    to: &'a Stream,
    to_place: Place,
}

/// One direction's progress.
#[derive(Debug)]
struct Direction {
    /// Held while bytes are between the two splices.
    pipe: Option<Pipe>,
    /// Early bytes, and what a copy could not write at once.
    pending: Pending,
    /// The kernel does not splice these sockets.
    copying: bool,
    progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Open,
    /// The source has ended; what is held still has to go.
    Ending,
    Done,
}

impl Direction {
    fn new(early: Vec<u8>) -> Self {
        Self {
            pipe: None,
            pending: Pending::new(early),
            copying: false,
            progress: Progress::Open,
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        ends: Ends<'_>,
        count: &AtomicU64,
    ) -> Poll<Result<(), Fault>> {
        let result = self.poll_step(cx, ends, count);
        // Between two polls a pipe stays only if it holds bytes.
        if self.pipe.as_ref().is_some_and(|pipe| pipe.held() == 0)
            && let Some(pipe) = self.pipe.take()
        {
            pipe.put_back();
        }
        result
    }

    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        ends: Ends<'_>,
        count: &AtomicU64,
    ) -> Poll<Result<(), Fault>> {
        loop {
            ready!(self.poll_deliver(cx, ends.to)).map_err(ends.to_place.fault())?;
            match self.progress {
                Progress::Open => {}
                Progress::Ending => {
                    self.progress = Progress::Done;
                    ends.to.end_writing().map_err(ends.to_place.fault())?;
                }
                Progress::Done => return Poll::Ready(Ok(())),
            }
            if self.progress == Progress::Done {
                continue;
            }
            // Also takes from tokio's cooperative budget, so that a busy
            // tunnel lets the others run.
            ready!(ends.from.poll_read_ready(cx)).map_err(ends.from_place.fault())?;
            match self
                .fetch(ends)
                .map_err(|(place, error)| place.fault()(error))
            {
                Ok(0) => self.progress = Progress::Ending,
                Ok(n) => add(count, n),
                Err(fault) if fault.source.kind() == io::ErrorKind::WouldBlock => {}
                Err(fault) => return Poll::Ready(Err(fault)),
            }
        }
    }

    /// Gives the destination all that is held.
    fn poll_deliver(&mut self, cx: &mut Context<'_>, to: &Stream) -> Poll<io::Result<()>> {
        if !self.pending.is_empty() {
            ready!(self.pending.poll_write(cx, to))?;
        }
        while let Some(pipe) = self.pipe.as_mut().filter(|pipe| pipe.held() > 0) {
            ready!(to.poll_write_ready(cx))?;
            match pipe.drain(to) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if refused(&error) => {
                    self.copying = true;
                    self.pending = Pending::new(pipe.recover()?);
                    ready!(self.pending.poll_write(cx, to))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes bytes from the source: into a pipe, or, copying, onwards at once.
    /// 0 is the end of bytes. An error says whose it is.
    fn fetch(&mut self, ends: Ends<'_>) -> Result<usize, (Place, io::Error)> {
        if !self.copying {
            // Out of descriptors there is still the copy.
            if self.pipe.is_none() {
                self.pipe = Pipe::take().ok();
            }
            if let Some(pipe) = &mut self.pipe {
                match pipe.fill(ends.from) {
                    Err(error) if refused(&error) => self.copying = true,
                    result => return result.map_err(|error| (ends.from_place, error)),
                }
            }
        }
        scratch::with(|buffer| {
            let n = ends
                .from
                .try_read(buffer)
                .map_err(|error| (ends.from_place, error))?;
            let bytes = buffer.get(..n).unwrap_or_default();
            self.pending
                .write_or_keep(bytes, ends.to)
                .map_err(|error| (ends.to_place, error))?;
            Ok(n)
        })
    }
}

/// Whether the kernel says that these descriptors cannot be spliced.
fn refused(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error())
        || error.raw_os_error() == Some(rustix::io::Errno::NOSYS.raw_os_error())
}
