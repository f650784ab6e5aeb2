//! Hooks that an agent left behind because it was killed.
//!
//! Each run of a hook has a record in `path.run`, `hook-<display>-<leader>`,
//! that holds its mark. The agent that starts next ends what is left of them:
//! nobody awaits their outcome any more. What a hook put into a session of its
//! own, such as the daemon of a file system it mounted, lives on.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal};

use super::run::group_of;
use crate::{files, procs};

/// Longest record, in bytes.
const MAX_RECORD: u64 = 64;

/// Where the records of an agent are.
#[derive(Debug, Clone)]
pub struct Records {
    folder: PathBuf,
    prefix: String,
}

impl Records {
    /// The records of the agent of this display.
    #[must_use]
    pub fn new(run: &Path, display: u16) -> Self {
        Self {
            folder: run.to_owned(),
            prefix: format!("hook-{display}-"),
        }
    }

    /// Notes a run. That it cannot be noted hinders nothing.
    pub fn write(&self, leader: i32, mark: &str) {
        let path = self.path(leader);
        if let Err(error) = files::write_private(&path, mark.as_bytes()) {
            tracing::warn!("{}: {error}", path.display());
        }
    }

    /// Forgets a run.
    pub fn remove(&self, leader: i32) {
        let _ = fs::remove_file(self.path(leader));
    }

    fn path(&self, leader: i32) -> PathBuf {
        self.folder.join(format!("{}{leader}", self.prefix))
    }
}

/// Ends what earlier agents of this display have left of their hooks; how many
/// processes that were. Looks through `/proc`: for a thread that may wait.
pub fn end_leftovers(records: &Records) -> usize {
    let mut ended = 0;
    for entry in fs::read_dir(&records.folder)
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        let Some(leader) = name.to_str().and_then(|n| n.strip_prefix(&records.prefix)) else {
            continue;
        };
        let small = entry.metadata().is_ok_and(|m| m.len() <= MAX_RECORD);
        let mark = fs::read_to_string(entry.path()).ok().filter(|_| small);
        if let (Some(leader), Some(mark)) = (leader.parse().ok().and_then(Pid::from_raw), mark) {
            let left = group_of(leader, &mark);
            procs::signal(&left, Signal::KILL);
            ended += left.len();
        }
        let _ = fs::remove_file(entry.path());
    }
    ended
}
