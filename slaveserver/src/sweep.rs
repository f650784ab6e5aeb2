//! What the agent has done once no process of a session is left: mounts that
//! nobody serves are taken away. Run as the session's user, who can unmount
//! nothing but his own.

use std::path::Path;
use std::process::ExitCode;

use qvd_share::mount::{Table, is_dead};

use crate::shares;

/// The word by which the program sweeps.
pub(crate) const COMMAND: &str = "sweep";

/// Takes dead mounts directly beneath `folder` away, and the empty directories
/// of those that are gone.
pub(crate) fn run(folder: &Path, home: &Path) -> ExitCode {
    let Ok(folder) = folder.canonicalize() else {
        // Nothing was ever shared.
        return ExitCode::SUCCESS;
    };
    let mounts = Table::open().and_then(|mut table| table.mounts());
    let mounts = mounts.unwrap_or_default();
    let entries = std::fs::read_dir(&folder).into_iter().flatten();
    for entry in entries.flatten().map(|entry| entry.path()) {
        // One that is mounted and served is another session's.
        if !mounts.iter().any(|mount| mount.point == entry) || is_dead(&entry) {
            shares::clear(&folder, home, &entry);
        }
    }
    ExitCode::SUCCESS
}
