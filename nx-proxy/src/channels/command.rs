//! The slave command: a program that serves one slave channel of the agent.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

use super::group::{Exit, Group};
use crate::LocalEnd;

/// Which variables the command gets.
#[derive(Debug, Clone)]
pub(super) enum Environment {
    /// This program's, as from nxproxy.
    Inherited,
    /// These only.
    Only(Vec<(String, OsString)>),
}

/// Starts `program` with one end of a pair of sockets as its standard input and
/// output, and gives the other. Its standard error is this program's. What else
/// is open here is closed there (nx-protocol §7).
pub(super) fn start(
    program: &Path,
    environment: &Environment,
    group: &Group,
) -> io::Result<(u32, LocalEnd)> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", program.display()));
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let theirs = OwnedFd::from(theirs);
    let mut command = Command::new(program);
    if let Environment::Only(variables) = environment {
        command.env_clear();
        command.envs(variables.iter().map(|(name, value)| (name, value)));
    }
    command
        .stdin(theirs.try_clone()?)
        .stdout(theirs)
        .stderr(Stdio::inherit());
    let started = group.start(&mut command);
    // The command holds the program's end, which would never come to an end.
    drop(command);
    let (id, exit) = started.map_err(named)?;
    let end = Slave {
        socket: UnixStream::from_std(ours)?,
        exit: Some(exit),
    };
    Ok((id, Box::new(end)))
}

/// The socket of a slave command. It is at its end when the command has exited
/// and everything it wrote is read, whoever else may hold the other end.
struct Slave {
    socket: UnixStream,
    /// `None` once the command has exited.
    exit: Option<Exit>,
}

impl AsyncRead for Slave {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(exit) = &mut this.exit {
            let read = Pin::new(&mut this.socket).poll_read(cx, buffer);
            if read.is_ready() {
                return read;
            }
            if Pin::new(exit).poll(cx).is_pending() {
                return Poll::Pending;
            }
            this.exit = None;
        }
        // What the command wrote is there, but the runtime may not have noticed
        // yet.
        let room = buffer.initialize_unfilled();
        match rustix::io::read(&this.socket, room) {
            Ok(count) => buffer.advance(count),
            Err(rustix::io::Errno::AGAIN) => {}
            Err(error) => return Poll::Ready(Err(error.into())),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Slave {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
