//! A process that outlives the server, for the one thing the server cannot do
//! when it is killed: take its mount away.

use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::FdFlags;
use rustix::process::{PidfdFlags, getppid, pidfd_open};

use crate::settings::Settings;
use crate::shares;

/// The word by which the program starts as a guard.
pub(crate) const COMMAND: &str = "guard";

/// How long a killed server may take to end, once it has begun to.
const DYING: Duration = Duration::from_secs(5);

/// A guard, seen from the server: it holds the other end of a pipe that ends
/// with the server.
pub(crate) struct Guard(Child);

impl Guard {
    pub(crate) fn start(settings: &Settings, point: &Path) -> io::Result<Self> {
        let own = std::env::current_exe()?;
        Command::new(own)
            .arg(COMMAND)
            .args([point, &settings.home])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // A signal to the server's group is none to the guard.
            .process_group(0)
            .spawn()
            .map(Self)
    }

    /// Has the guard wait for the end of what the server starts from now on as
    /// well: sshfs outlives a server that is killed by the moment in which it
    /// sees that its channel is closed.
    pub(crate) fn wait_for_children(&self) -> io::Result<()> {
        match &self.0.stdin {
            Some(pipe) => Ok(rustix::io::fcntl_setfd(pipe, FdFlags::empty())?),
            None => Ok(()),
        }
    }

    /// There is nothing left to do for it.
    pub(crate) fn dismiss(mut self) {
        if let Some(mut pipe) = self.0.stdin.take() {
            // If it is gone, so is what it would have done.
            let _ = pipe.write_all(b"x");
        }
        let _ = self.0.wait();
    }
}

/// The guard's life: it waits for the pipe's end.
pub(crate) fn run(point: &Path, home: &Path) -> ExitCode {
    let server = getppid().and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let mut word = [0];
    let told = io::stdin().read(&mut word);
    if matches!(told, Ok(0) | Err(_))
        && let Some(folder) = point.parent()
    {
        // The pipe may be closed before the mount's descriptor is: only the
        // end of the process says that both are.
        if let Some(server) = server {
            let limit = Timespec::try_from(DYING).ok();
            let _ = poll(&mut [PollFd::new(&server, PollFlags::IN)], limit.as_ref());
        }
        shares::clear(folder, home, point);
    }
    ExitCode::SUCCESS
}
