//! Directories that nobody else can enter, for a session's sockets.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use tempfile::TempDir;

use crate::Error;

/// How their names begin; six characters follow.
const PREFIX: &str = "qvd-nx-";

/// Longest path of a Unix socket, in bytes (`sun_path` with its final NUL).
const MAX_PATH: usize = 107;

/// How often one is made anew that was taken for a forgotten one.
const TRIES: usize = 3;

/// A directory of mode 0700. It goes away with this value; when the process is
/// killed, with the next one that is made.
#[derive(Debug)]
pub(crate) struct PrivateDir {
    dir: TempDir,
    /// Says that it is in use; the kernel lets go of it with the process.
    _lock: Option<File>,
}

impl PrivateDir {
    fn new(parent: &Path) -> io::Result<Self> {
        let mut tries = 0..TRIES;
        loop {
            let dir = tempfile::Builder::new()
                .prefix(PREFIX)
                .permissions(fs::Permissions::from_mode(0o700))
                .tempdir_in(parent)?;
            let lock = match locked(dir.path()) {
                // Who sweeps may have come between.
                Ok(Some(lock)) if dir.path().exists() => Some(lock),
                _ if tries.next().is_some() => continue,
                Ok(_) => return Err(io::ErrorKind::ResourceBusy.into()),
                // It cannot be locked there; nobody else can either.
                Err(error) if dir.path().exists() => {
                    tracing::debug!(%error, "a directory without a lock");
                    None
                }
                Err(error) => return Err(error),
            };
            return Ok(Self { dir, _lock: lock });
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Does `make` with a new directory that nobody else can enter: where the user
/// has one of that kind, or else in the directory for temporary files.
pub(crate) fn privately<T>(make: impl Fn(PrivateDir) -> io::Result<T>) -> Result<T, Error> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let usable = |dir: &PathBuf| fits(dir) && dir.is_dir();
    let parents = [runtime, Some(std::env::temp_dir()), Some("/tmp".into())];
    let mut failure = None;
    for parent in parents.into_iter().flatten().filter(usable) {
        sweep(&parent);
        match PrivateDir::new(&parent).and_then(&make) {
            Ok(made) => return Ok(made),
            Err(source) => {
                failure = Some(Error::PrivateDir {
                    dir: parent,
                    source,
                });
            }
        }
    }
    Err(failure.unwrap_or_else(|| Error::PrivateDirName {
        dir: std::env::temp_dir(),
    }))
}

/// A directory's lock, unless somebody holds it.
fn locked(path: &Path) -> io::Result<Option<File>> {
    let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC).bits();
    let flags = flags.try_into().unwrap_or_default();
    let dir = File::options().read(true).custom_flags(flags).open(path)?;
    match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(dir)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Removes what processes of this user that were killed have left.
fn sweep(parent: &Path) {
    let own = rustix::process::geteuid().as_raw();
    // What cannot be looked at or removed is left.
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_one = name.as_encoded_bytes().starts_with(PREFIX.as_bytes());
        // Of the link, if it is one.
        let is_own = is_one && entry.metadata().is_ok_and(|data| data.uid() == own);
        let path = entry.path();
        if is_own && let Ok(Some(_lock)) = locked(&path) {
            match fs::remove_dir_all(&path) {
                Ok(()) => tracing::debug!(path = %path.display(), "left by a killed process"),
                Err(error) => tracing::debug!(path = %path.display(), %error, "not removed"),
            }
        }
    }
}

/// Whether a socket beneath `dir` can be named in an NX option string, where
/// `,`, `:` and `=` separate options.
fn fits(dir: &Path) -> bool {
    let room = "/qvd-nx-XXXXXX/nx".len();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+".contains(&b);
    dir.is_absolute()
        && dir.as_os_str().len() + room <= MAX_PATH
        && dir
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .copied()
            .all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_has_left_is_removed_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let used = PrivateDir::new(parent.path()).unwrap();
        let left = parent.path().join("qvd-nx-killed");
        let other = parent.path().join("qvd-other");
        let elsewhere = parent.path().join("elsewhere");
        for dir in [&left, &other, &elsewhere] {
            fs::create_dir(dir).unwrap();
            fs::write(dir.join("sl"), "").unwrap();
        }
        let link = parent.path().join("qvd-nx-link");
        std::os::unix::fs::symlink(&elsewhere, link).unwrap();
        fs::write(parent.path().join("qvd-nx-file"), "").unwrap();
        sweep(parent.path());
        assert!(used.path().is_dir());
        assert!(!left.exists());
        assert!(other.join("sl").exists() && elsewhere.join("sl").exists());
        assert!(parent.path().join("qvd-nx-file").exists());

        let path = used.path().to_owned();
        drop(used);
        assert!(!path.exists());
    }

    #[test]
    fn directories_whose_name_would_smuggle_an_option_are_not_used() {
        assert!(fits(Path::new("/run/user/1000")));
        assert!(fits(Path::new("/tmp")));
        for dir in [
            "/tmp/a,kill=1",
            "/tmp/a:1",
            "/tmp/a b",
            "relative",
            "/tmp/é",
        ] {
            assert!(!fits(Path::new(dir)), "{dir}");
        }
        assert!(!fits(Path::new(&format!("/{}", "x".repeat(100)))));
    }
}
