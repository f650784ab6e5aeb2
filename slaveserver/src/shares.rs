//! The folder in which the client's folders are mounted.

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::hash::{Hash as _, Hasher as _};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use qvd_share::mount::{Table, is_dead, unmount};
use rustix::fs::{FlockOperation, flock};

use crate::settings::Settings;
use crate::{Error, bookmark};

/// How long a mount of the session's last connection may take to go away. Its
/// channel is closed; what it waits for is its own end.
const ENDING: Duration = Duration::from_secs(10);

/// The folder with the mount points, locked while one of them is made or taken
/// away.
pub(crate) struct Shares {
    _lock: File,
}

/// What came of a mount point.
pub(crate) enum Made {
    /// It is there, and nothing else is made until the lock is dropped.
    Point(Shares, PathBuf),
    /// Something is there.
    Used(PathBuf),
    /// It cannot be made.
    Failed(PathBuf, io::Error),
}

impl Shares {
    /// Waits for the lock: for as long as another folder takes to be mounted.
    pub(crate) fn lock(path: &Path) -> Result<Self, Error> {
        let failed = || Error::local(path.display().to_string());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed())?;
        let lock = File::open(path).map_err(failed())?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed()(error.into()))?;
        Ok(Self { _lock: lock })
    }

    /// Makes the mount point for a folder of that name. What a crash left
    /// behind is taken away, and what the connection before this one has still
    /// mounted is waited for.
    pub(crate) fn make(settings: &Settings, name: &[u8]) -> Result<Made, Error> {
        let point = settings.shares.join(OsString::from_vec(name.to_vec()));
        let table = || Error::local("the mount table");
        let mut mounts = Table::open().map_err(table())?;
        let deadline = Instant::now() + ENDING;
        loop {
            let shares = Self::lock(&settings.shares)?;
            // The table has it by its real name.
            let real = settings.shares.canonicalize().unwrap_or_default();
            let real = real.join(OsString::from_vec(name.to_vec()));
            if !mounts.has(&real).map_err(table())? {
                return Ok(match make(&point) {
                    Ok(true) => {
                        let epoch = Epoch::of(settings, name);
                        epoch.write();
                        if let Err(error) = bookmark::add(&settings.home, &settings.shares) {
                            tracing::debug!(%error, "no bookmark");
                        }
                        Made::Point(shares, point)
                    }
                    Ok(false) => Made::Used(point),
                    Err(error) => Made::Failed(point, error),
                });
            }
            if is_dead(&point) {
                unmount(&point);
                if mounts.has(&real).map_err(table())? {
                    return Ok(Made::Used(point));
                }
                continue;
            }
            drop(shares);
            let is_ending = !Epoch::of(settings, name).is_now();
            if !is_ending || !mounts.changes(None, deadline).map_err(table())? {
                return Ok(Made::Used(point));
            }
        }
    }

    /// Takes a mount point away, and a mount on it that nobody serves. One that
    /// somebody else has made there meanwhile stays.
    pub(crate) fn clear(settings: &Settings, point: &Path) {
        clear(&settings.shares, &settings.home, point);
    }
}

/// As [`Shares::clear`], of whoever knows the folders' names alone.
pub(crate) fn clear(shares: &Path, home: &Path, point: &Path) {
    // Without the lock there is but the chance that a new one is removed.
    let _lock = Shares::lock(shares);
    if is_dead(point) {
        unmount(point);
    }
    // Not ours to remove if it is not empty, or a mount.
    let _ = std::fs::remove_dir(point);
    let is_last = std::fs::read_dir(shares).is_ok_and(|mut entries| entries.next().is_none());
    if is_last && let Err(error) = bookmark::remove(home, shares) {
        tracing::debug!(%error, "the bookmark stays");
    }
}

/// `false` when something is there that is not ours.
fn make(point: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(point) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        // Empty, it was left behind; otherwise it is the user's.
        Ok(there) if !there.is_dir() || std::fs::remove_dir(point).is_err() => return Ok(false),
        Ok(_) => {}
    }
    DirBuilder::new().mode(0o700).create(point)?;
    Ok(true)
}

/// Which connection of a client a mount is of. Each has a key of its own, in a
/// file that is replaced: the file's number and time tell them apart.
struct Epoch {
    record: PathBuf,
    now: String,
}

impl Epoch {
    fn of(settings: &Settings, name: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let folder = settings.key_file.parent().unwrap_or(Path::new("/"));
        let now = std::fs::metadata(&settings.key_file)
            .map(|key| format!("{} {} {}", key.ino(), key.mtime(), key.mtime_nsec()));
        Self {
            record: folder.join(format!("share-{:016x}", hasher.finish())),
            now: now.unwrap_or_default(),
        }
    }

    fn write(&self) {
        // Without it a name is in use until it is free.
        if let Err(error) = std::fs::write(&self.record, &self.now) {
            tracing::debug!(%error, "the share's connection is not written down");
        }
    }

    fn is_now(&self) -> bool {
        std::fs::read_to_string(&self.record).map_or(true, |then| then == self.now)
    }
}
