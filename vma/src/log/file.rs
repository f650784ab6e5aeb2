//! A log file that others may move away, as logrotate does.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

/// How long a log file may be missing before it is made anew. logrotate makes
/// the next one itself right after it has moved one away, and takes offence at
/// one that is there already.
pub const MISSING: Duration = Duration::from_secs(1);

/// Opens a log file to append to it; it and its folder are made if need be.
///
/// # Errors
/// As of the file system; what is no regular file is refused.
pub fn open(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        // Names of users and hosts are nobody else's business.
        .mode(0o640)
        // A pipe that nobody reads must not stop the agent.
        .custom_flags(nonblocking())
        .open(path)?;
    Ok(file)
}

fn nonblocking() -> i32 {
    i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default()
}

/// Whether the path still leads to this file; nothing when it leads nowhere.
pub fn is_at(file: &File, path: &Path) -> Option<bool> {
    let at = std::fs::metadata(path).ok()?;
    let own = file.metadata().ok()?;
    Some((at.dev(), at.ino()) == (own.dev(), own.ino()))
}
