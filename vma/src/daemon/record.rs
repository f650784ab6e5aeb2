//! Which session runs, written down for the next daemon.
//!
//! The session process runs as the user and could say anything of itself. Who
//! its user is, and which process it is, is told by this file, which only the
//! daemon can write.

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::shares::Shares;
use crate::files::write_private;
use crate::procs;

/// A session that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The mark of the session's processes.
    pub session: String,
    /// Its name in logs.
    #[serde(default)]
    pub name: Option<String>,
    /// Login name of its user.
    pub user: String,
    /// Process id of the session process.
    pub pid: i32,
    /// Its control group.
    pub cgroup: Option<PathBuf>,
    /// The service of systemd in which it runs.
    #[serde(default)]
    pub unit: Option<String>,
    /// Its shared folders, where it may have some.
    #[serde(default)]
    pub shares: Option<Shares>,
}

impl Record {
    /// Writes the record.
    ///
    /// # Errors
    /// As of the file system.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        write_private(path, &serde_json::to_vec(self)?)
    }

    /// The record of the session that was started last, if it was not cleared.
    ///
    /// # Errors
    /// When the file cannot be read or is no record.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The session process, if it is still that: numbers are used again.
    #[must_use]
    pub fn process(&self) -> Option<Pid> {
        let pid = Pid::from_raw(self.pid)?;
        procs::is_marked(pid, &self.session).then_some(pid)
    }
}
