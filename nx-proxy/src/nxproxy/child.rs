use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;

use super::sys;

/// A program in a process group of its own, which ends with this value.
///
/// The group is killed before its leader is reaped, so that its number cannot
/// have become another's.
pub(super) struct Child {
    process: std::process::Child,
    pid: Pid,
    exited: AsyncFd<OwnedFd>,
    reaped: bool,
}

impl Child {
    /// Starts `command` with both its outputs on one pipe.
    pub(super) fn start(command: &mut Command) -> io::Result<(Self, pipe::Receiver)> {
        let (reader, writer) = io::pipe()?;
        command
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0);
        sys::die_with_parent(command);
        let spawned = command.spawn();
        // The command holds the writing end of the pipe, which would never
        // come to an end.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = spawned?;
        match Self::watch(&process, reader) {
            Ok((pid, exited, output)) => Ok((
                Self {
                    process,
                    pid,
                    exited,
                    reaped: false,
                },
                output,
            )),
            Err(e) => {
                process.kill()?;
                process.wait()?;
                Err(e)
            }
        }
    }

    fn watch(
        process: &std::process::Child,
        reader: PipeReader,
    ) -> io::Result<(Pid, AsyncFd<OwnedFd>, pipe::Receiver)> {
        let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::InvalidData)?;
        let exited = sys::watch(pidfd_open(pid, PidfdFlags::empty())?)?;
        Ok((pid, exited, pipe::Receiver::from_owned_fd(reader.into())?))
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Resolves when the program has exited. Cancel safe.
    pub(super) async fn exited(&self) {
        // A pidfd is readable from the exit on. The reactor can only fail to
        // tell when the runtime is shutting down, which drops this anyway.
        let _ = self.exited.readable().await;
    }

    /// Asks the program to end in order.
    pub(super) fn ask_to_end(&self) {
        self.signal(Signal::TERM);
        // One that is stopped would not hear it.
        self.go_on();
    }

    /// Has time stand still for the program.
    pub(super) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Ends [`stop`](Self::stop).
    pub(super) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends what is left of the group, and says how the program ended: by
    /// itself, or by [`kill`](Self::kill).
    pub(super) fn reap(&mut self) -> io::Result<ExitStatus> {
        self.kill();
        let status = self.process.wait()?;
        self.reaped = true;
        Ok(status)
    }

    /// Kills the whole group.
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        if !self.reaped {
            // There may be nobody left to signal.
            let _ = kill_process_group(self.pid, signal);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            // Killed processes are gone within a moment.
            let _ = self.reap();
        }
    }
}

/// The signal that ended a program, if one did.
pub(super) fn signal(status: ExitStatus) -> Option<i32> {
    status.signal()
}
