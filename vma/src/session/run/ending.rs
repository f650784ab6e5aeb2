//! The end of a session: politely, and then with force.

use std::time::Duration;

use rustix::process::{Signal, kill_process_group};
use tokio::time::{Instant, timeout};

use super::super::paths;
use super::{Daemon, NEVER, Session};
use crate::control::Event;
use crate::procs;

/// How long nxagent has to end by itself; it takes 1 s, sometimes 6 s (seen).
const POLITE: Duration = Duration::from_secs(8);

/// How long the other programs of the session have, once nxagent is gone.
const REMNANTS: Duration = Duration::from_millis(1500);

/// Between looks for processes that were started while others were killed.
const FORCE: Duration = Duration::from_millis(100);

/// How a session is being ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is not.
    No,
    /// nxagent and the X session were asked to end.
    Asked,
    /// nxagent is gone; the rest was asked to end.
    Remnants,
    /// Whatever is left is killed.
    Forced,
}

impl Session {
    /// Ends the session politely.
    pub(super) fn end(&mut self) {
        if self.ending != Ending::No {
            return;
        }
        if self.nxagent.is_none() {
            return self.end_remnants();
        }
        self.ending = Ending::Asked;
        if let Some(group) = self.x_session {
            let _ = kill_process_group(group, Signal::TERM);
        }
        let actions = self.agent.terminate();
        self.act(actions);
        self.deadline.as_mut().reset(Instant::now() + POLITE);
    }

    /// nxagent is gone, and with it everybody's display.
    pub(super) fn end_remnants(&mut self) {
        if matches!(self.ending, Ending::Remnants | Ending::Forced) {
            return;
        }
        self.ending = Ending::Remnants;
        procs::signal(&procs::descendants(rustix::process::getpid()), Signal::TERM);
        self.deadline.as_mut().reset(Instant::now() + REMNANTS);
    }

    /// A deadline of the end has passed.
    pub(super) fn escalate(&mut self) {
        let next = match self.ending {
            Ending::No => NEVER,
            Ending::Asked => {
                tracing::warn!("nxagent does not end, killing it");
                self.signal_nxagent(Signal::KILL);
                self.ending = Ending::Forced;
                FORCE
            }
            Ending::Remnants | Ending::Forced => {
                self.ending = Ending::Forced;
                procs::signal(&procs::descendants(rustix::process::getpid()), Signal::KILL);
                FORCE
            }
        };
        self.deadline.as_mut().reset(Instant::now() + next);
        self.reap();
    }

    /// Every process is gone: clears up and says so.
    pub(super) async fn finish(mut self) {
        self.forget_client();
        let dir = &self.launch.dir;
        for file in [
            paths::nx_socket(dir),
            paths::road(dir),
            paths::options(dir),
            paths::resources(dir),
            paths::xauthority(dir),
            paths::dialog(dir),
            paths::slave_key(dir),
            paths::slave_config(dir),
        ] {
            let _ = std::fs::remove_file(file);
        }
        let reason = self.reason.take();
        self.report(Event::Ended { reason });
        if let Some(Daemon { events, writer, .. }) = self.daemon.take() {
            drop(events);
            let _ = timeout(Duration::from_secs(1), writer).await;
        }
    }
}
