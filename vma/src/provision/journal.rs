//! What is being made, for the daemon that comes after one that was killed.
//!
//! Each step is written down before it is taken, so that it can be undone, and
//! the file is removed when all is done. What a drive holds is not in here: it
//! is written on the drive itself (see [`super::drive`]), which outlives
//! `path.run`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use qvd_config::VmaConfig;

use super::drive::Device;
use crate::files::write_private;

/// Longest journal that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// A thing that is being made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "making", rename_all = "kebab-case")]
pub enum Step {
    /// The partition table of an empty drive.
    Table {
        /// The drive.
        device: Device,
    },
    /// A group that was not there.
    Group {
        /// Its name.
        name: String,
    },
    /// A user who was not there.
    User {
        /// Login name.
        name: String,
    },
    /// A home, in a folder from which it is moved into place.
    Home {
        /// That folder.
        staging: PathBuf,
    },
    /// A user who is whole, but not yet set up by the administrator's hook.
    SetUp {
        /// Login name.
        name: String,
    },
}

/// The journal of one agent.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    steps: Vec<Step>,
}

impl Journal {
    /// What an earlier call or daemon has left; empty, as a rule.
    ///
    /// # Errors
    /// One sentence: it cannot be read.
    pub fn open(config: &VmaConfig) -> Result<Self, String> {
        let name = format!("provision-{}.json", config.nx.display.number());
        Self::at(&config.process.run.join(name))
    }

    fn at(path: &Path) -> Result<Self, String> {
        let steps = match fs::metadata(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(fault(path, &e)),
            Ok(file) if file.len() > MAX_BYTES => {
                return Err(format!("{}: too long", path.display()));
            }
            Ok(_) => {
                let bytes = fs::read(path).map_err(|e| fault(path, &e))?;
                // It is replaced whole or not at all: this was no agent, and
                // must not keep users out for ever.
                serde_json::from_slice(&bytes).unwrap_or_else(|e| {
                    tracing::warn!("{} is not understood: {e}", path.display());
                    Vec::new()
                })
            }
        };
        Ok(Self {
            path: path.to_owned(),
            steps,
        })
    }

    /// What is being made, in its order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Writes down what is about to be made.
    ///
    /// # Errors
    /// One sentence: it must not be made then.
    pub fn begin(&mut self, step: Step) -> Result<(), String> {
        self.steps.push(step);
        self.write().inspect_err(|_| {
            self.steps.pop();
        })
    }

    /// The latest steps have come to this, or to nothing.
    ///
    /// # Errors
    /// One sentence.
    pub fn replace(&mut self, from: usize, step: Option<Step>) -> Result<(), String> {
        self.steps.truncate(from);
        self.steps.extend(step);
        self.write()
    }

    /// A user is set up.
    ///
    /// # Errors
    /// One sentence.
    pub fn set_up(&mut self, user: &str) -> Result<(), String> {
        let before = self.steps.len();
        self.steps
            .retain(|step| !matches!(step, Step::SetUp { name } if name == user));
        if self.steps.len() == before {
            return Ok(());
        }
        self.write()
    }

    fn write(&self) -> Result<(), String> {
        let written = if self.steps.is_empty() {
            match fs::remove_file(&self.path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            }
        } else {
            serde_json::to_vec(&self.steps)
                .map_err(io::Error::other)
                .and_then(|bytes| write_private(&self.path, &bytes))
        };
        written.map_err(|e| fault(&self.path, &e))
    }
}

fn fault(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_daemon_reads_what_is_unfinished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("provision-100.json");
        let name = || "ann".to_owned();
        let mut journal = Journal::at(&path).unwrap();
        assert!(journal.steps().is_empty() && !path.exists());
        journal.begin(Step::Group { name: name() }).unwrap();
        journal.begin(Step::User { name: name() }).unwrap();
        let next = Journal::at(&path).unwrap();
        let expected = [Step::Group { name: name() }, Step::User { name: name() }];
        assert_eq!(next.steps(), expected);
        journal
            .replace(0, Some(Step::SetUp { name: name() }))
            .unwrap();
        assert_eq!(Journal::at(&path).unwrap().steps().len(), 1);
        journal.replace(0, None).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_step_that_cannot_be_written_down_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/journal.json");
        let mut journal = Journal::at(&path).unwrap();
        assert!(journal.begin(Step::User { name: "ann".into() }).is_err());
        assert!(journal.steps().is_empty());
        let garbled = folder.path().join("garbled");
        fs::write(&garbled, "[{").unwrap();
        assert!(Journal::at(&garbled).unwrap().steps().is_empty());
        let unreadable = Journal::at(folder.path()).unwrap_err();
        assert!(unreadable.contains(&folder.path().display().to_string()));
    }
}
