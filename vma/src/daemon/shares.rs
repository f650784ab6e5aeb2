//! The mounts of a session whose processes were killed, all at once: no one of
//! them was left to unmount.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use qvd_config::VmaConfig;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::control::{Slave, User};

/// How long taking mounts away may take.
const TIME: Duration = Duration::from_secs(10);

/// What is to be known for it, whatever becomes of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares {
    /// The slave server, which knows how.
    program: PathBuf,
    /// The folder in which the client's folders are mounted.
    folder: PathBuf,
    /// The user's home.
    home: PathBuf,
    uid: u32,
    gid: u32,
}

impl Shares {
    /// Those of a session; `None` where it has no slave channel.
    #[must_use]
    pub fn of(config: &VmaConfig, slave: Option<&Slave>, user: &User) -> Option<Self> {
        Some(Self {
            program: slave?.program.clone(),
            folder: config.user.shares_path.under(&user.home),
            home: user.home.clone(),
            uid: user.uid,
            gid: user.gid,
        })
    }

    /// Takes away what nobody serves any more. It is done as the user, who
    /// can name any path but unmount nothing that is not his.
    pub async fn sweep(&self) {
        let mut command = Command::new(&self.program);
        command
            .arg("sweep")
            .args([&self.folder, &self.home])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if rustix::process::geteuid().is_root() {
            command.uid(self.uid).gid(self.gid);
        }
        let mut command = tokio::process::Command::from(command);
        let done = timeout(TIME, command.kill_on_drop(true).status()).await;
        match done {
            Ok(Ok(status)) if status.success() => {}
            done => tracing::warn!(?done, "shared folders are still mounted"),
        }
    }
}
