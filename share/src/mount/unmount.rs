use std::path::Path;
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::mount::UnmountFlags;

/// Whether a mount's server is gone, or its channel. It is asked for what the
/// kernel does not remember: attributes of a dead mount are still known for a
/// while. A folder that is no mount, or one that is served, is not dead.
#[must_use]
pub fn is_dead(point: &Path) -> bool {
    matches!(rustix::fs::statfs(point), Err(Errno::NOTCONN | Errno::IO))
}

/// Unmounts at once, whoever still uses it: by the system call where that is
/// allowed, by `fusermount3` for a user. A mount that is gone already is as
/// wanted.
pub fn unmount(point: &Path) {
    if rustix::mount::unmount(point, UnmountFlags::DETACH) != Err(Errno::PERM) {
        return;
    }
    for program in ["fusermount3", "fusermount"] {
        let status = Command::new(program)
            .args(["-u", "-z", "-q", "--"])
            .arg(point)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if status.is_ok() {
            return;
        }
    }
}
