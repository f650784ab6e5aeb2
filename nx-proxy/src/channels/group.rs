//! The processes that a session's slave channels have started.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::nxproxy::sys;

/// From the polite word to the end of what does not listen to it.
const GRACE: Duration = Duration::from_secs(2);

/// Resolves, one way or the other, when a process has exited.
pub(super) type Exit = oneshot::Receiver<()>;

/// All processes of a session, in one process group: what they started for
/// their part ends with the session, too, and not before.
///
/// The first process is the group's leader. It is not reaped before the group
/// is ended, so that the group's number cannot become another's.
#[derive(Debug)]
pub(super) struct Group {
    leader: Mutex<Option<Child>>,
    /// How many are running.
    running: watch::Sender<usize>,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            leader: Mutex::default(),
            running: watch::Sender::new(0),
        }
    }
}

impl Group {
    /// Starts a process; resolves when it has exited.
    pub(super) fn start(&self, command: &mut Command) -> io::Result<(u32, Exit)> {
        // Starting ends with the program's own start.
        let mut leader = self.leader.lock().unwrap_or_else(PoisonError::into_inner);
        let number = leader.as_ref().map(Child::id).map(i32::try_from);
        command.process_group(number.transpose().ok().flatten().unwrap_or(0));
        sys::die_with_parent(command);
        sys::close_others(command);
        let mut child = command.spawn()?;
        let id = child.id();
        let watched = pid(id).and_then(|pid| sys::watch(pidfd_open(pid, PidfdFlags::empty())?));
        let exited = match watched {
            Ok(exited) => exited,
            Err(error) => {
                child.kill()?;
                child.wait()?;
                return Err(error);
            }
        };
        let follower = match &*leader {
            None => {
                *leader = Some(child);
                None
            }
            Some(_) => Some(child),
        };
        let (tell, exit) = oneshot::channel();
        let running = self.running.clone();
        running.send_modify(|count| *count += 1);
        tokio::spawn(async move {
            // The reactor can only fail to tell when the runtime ends.
            let _ = exited.readable().await;
            if let Some(mut follower) = follower {
                // It has exited: this does not wait.
                let _ = follower.wait();
            }
            running.send_modify(|count| *count = count.saturating_sub(1));
            let _ = tell.send(());
        });
        Ok((id, exit))
    }

    /// Ends all processes politely, then with force.
    pub(super) async fn end(&self) {
        self.signal(Signal::TERM);
        let mut running = self.running.subscribe();
        let _ = timeout(GRACE, running.wait_for(|count| *count == 0)).await;
        self.kill();
    }

    fn signal(&self, signal: Signal) {
        let leader = self.leader.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leader) = &*leader
            && let Ok(group) = pid(leader.id())
        {
            // Not reaped, it is there to be signalled.
            let _ = kill_process_group(group, signal);
        }
    }

    fn kill(&self) {
        self.signal(Signal::KILL);
        let mut leader = self.leader.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut leader) = leader.take() {
            // Killed processes are gone within a moment.
            let _ = leader.wait();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

fn pid(id: u32) -> io::Result<Pid> {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
