//! Where a running client writes down its session, so that other programs of
//! the user find it.
//!
//! Each session has a folder of its own, `sessions/<name>` in `~/.qvd`, with
//! its port, its key and what it is; the client holds a lock on a file in it
//! for as long as it lives, so that a folder which nobody holds is known to be
//! of a client that crashed, whatever numbers processes and ports have been
//! given since. The latest session also stands in `~/.qvd` itself, where the
//! reference's programs look.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use qvd_slave::Key;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::Error;

/// The file with the port of the slave channel, in decimal digits.
pub(crate) const PORT: &str = "slave-port";
/// The file with the key of the slave channel, without a line end.
pub(crate) const KEY: &str = "slave-key";
/// The file that says what the session is.
pub(crate) const ABOUT: &str = "session.json";
/// The file that names the socket which tells of outages, where one does.
pub(crate) const ROAD: &str = "road";
/// The file that the client holds.
const LOCK: &str = "lock";
/// The folder of the sessions' folders.
const SESSIONS: &str = "sessions";

/// Most bytes of a session's name.
const MAX_NAME: usize = 64;

/// What a session is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct About {
    /// The virtual machine.
    pub vm: String,
    /// The broker.
    pub broker: String,
    /// The number of the client's process.
    pub pid: u32,
}

/// The place in which a running client has its session written down. It is
/// taken away when this is dropped.
#[derive(Debug)]
pub struct Record {
    base: PathBuf,
    folder: PathBuf,
    name: String,
    about: About,
    _lock: File,
}

impl Record {
    /// A place in `base` (`~/.qvd`) for a session in the VM that `about`
    /// names. What clients that crashed have left is taken away.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(base: &Path, about: About) -> Result<Self, Error> {
        let sessions = base.join(SESSIONS);
        make_private(&sessions).map_err(Error::file(&sessions))?;
        let _guard = hold(&sessions)?;
        clean(base, &sessions);
        let wanted = plain(&about.vm);
        let (name, folder) = (1..)
            .map(|number: u32| match number {
                1 => wanted.clone(),
                _ => format!("{wanted}-{number}"),
            })
            .map(|name| (sessions.join(&name), name))
            .find(|(folder, _)| !folder.exists())
            .map(|(folder, name)| (name, folder))
            .ok_or_else(|| Error::NoSession("too many sessions".into()))?;
        make_private(&folder).map_err(Error::file(&folder))?;
        let path = folder.join(LOCK);
        let lock = private(OpenOptions::new().create_new(true), &path).map_err(Error::file(&path));
        let locked = lock.and_then(|lock| {
            // Nobody has it for longer than a look.
            flock(&lock, FlockOperation::LockExclusive)
                .map_err(|error| Error::file(&path)(error.into()))?;
            Ok(lock)
        });
        match locked {
            Ok(lock) => Ok(Self {
                base: base.to_owned(),
                folder,
                name,
                about,
                _lock: lock,
            }),
            Err(error) => {
                remove_folder(&folder);
                Err(error)
            }
        }
    }

    /// The session's name, by which `--session` chooses it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The session's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes port and key down, and where outages are told of; a session that
    /// was got back has another key.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, port: u16, key: &Key, road: Option<&Path>) -> Result<(), Error> {
        let about = serde_json::to_vec(&self.about).map_err(io::Error::other);
        let path = self.folder.join(ABOUT);
        about
            .and_then(|about| replace(&path, &about))
            .map_err(Error::file(&path))?;
        if let Some(road) = road {
            let path = self.folder.join(ROAD);
            replace(&path, road.as_os_str().as_bytes()).map_err(Error::file(&path))?;
        }
        let _guard = hold(&self.base.join(SESSIONS))?;
        for folder in [&self.folder, &self.base] {
            for (name, text) in [(KEY, key.to_file().to_owned()), (PORT, port.to_string())] {
                let path = folder.join(name);
                replace(&path, text.as_bytes()).map_err(Error::file(&path))?;
            }
        }
        Ok(())
    }
}

impl Record {
    /// The session is lost, for now: there is nothing that could be connected
    /// to.
    pub fn lost(&self) {
        // Without the lock there is but the chance that another client writes
        // the same files now.
        let _guard = hold(&self.base.join(SESSIONS));
        forget_port(&self.base, &self.folder);
        for name in [KEY, PORT, ROAD] {
            let _ = std::fs::remove_file(self.folder.join(name));
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let sessions = self.base.join(SESSIONS);
        // Without the lock there is but the chance that another client writes
        // the same files now.
        let _guard = hold(&sessions);
        forget(&self.base, &self.folder);
        // Another session takes the place in which the reference looks.
        if !self.base.join(PORT).exists()
            && let Some(other) = live(&sessions).pop()
        {
            for name in [KEY, PORT] {
                if let Ok(bytes) = std::fs::read(other.join(name)) {
                    let _ = replace(&self.base.join(name), &bytes);
                }
            }
        }
    }
}

/// The folders of the sessions in `base` whose clients live, by name.
pub(crate) fn sessions(base: &Path) -> Vec<PathBuf> {
    live(&base.join(SESSIONS))
}

/// Whether what stands in `base` itself is of a session of ours, alive or
/// dead: of a session's folder with the same port.
pub(crate) fn is_recorded(base: &Path) -> bool {
    folders(&base.join(SESSIONS))
        .iter()
        .any(|folder| same_port(base, folder))
}

fn folders(sessions: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(sessions).into_iter().flatten();
    let mut all: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    all.sort();
    all
}

fn live(sessions: &Path) -> Vec<PathBuf> {
    let mut all = folders(sessions);
    all.retain(|folder| is_live(folder));
    all
}

/// Whether the client of a session's folder lives: it holds the lock.
pub(crate) fn is_live(folder: &Path) -> bool {
    let Ok(lock) = File::open(folder.join(LOCK)) else {
        return false;
    };
    flock(&lock, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
}

/// Takes away what clients that crashed have left.
fn clean(base: &Path, sessions: &Path) {
    for folder in folders(sessions) {
        if !is_live(&folder) {
            forget(base, &folder);
        }
    }
}

/// Takes a session's folder away, and what is its own in `base`.
fn forget(base: &Path, folder: &Path) {
    forget_port(base, folder);
    remove_folder(folder);
}

fn forget_port(base: &Path, folder: &Path) {
    if same_port(base, folder) {
        for name in [PORT, KEY] {
            let _ = std::fs::remove_file(base.join(name));
        }
    }
}

fn same_port(base: &Path, folder: &Path) -> bool {
    let read = |name: &str, folder: &Path| std::fs::read(folder.join(name)).ok();
    let port = read(PORT, folder);
    port.is_some() && port == read(PORT, base) && read(KEY, folder) == read(KEY, base)
}

fn remove_folder(folder: &Path) {
    // Not a link to elsewhere, and nothing that is not ours.
    for name in [PORT, KEY, ROAD, ABOUT, LOCK] {
        let _ = std::fs::remove_file(folder.join(name));
    }
    let _ = std::fs::remove_dir(folder);
}

/// Holds the folder of the sessions; never for longer than it takes to write
/// some files.
fn hold(sessions: &Path) -> Result<File, Error> {
    let file = File::open(sessions).map_err(Error::file(sessions))?;
    flock(&file, FlockOperation::LockExclusive)
        .map_err(|error| Error::file(sessions)(error.into()))?;
    Ok(file)
}

/// A VM's name as the name of a folder.
fn plain(vm: &str) -> String {
    let name: String = vm
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    let mut name = name.trim_start_matches('.').to_owned();
    while name.len() > MAX_NAME {
        name.pop();
    }
    match name.as_str() {
        // The name of what stands in `~/.qvd` itself.
        "" | "default" => "session".to_owned(),
        _ => name,
    }
}

fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    options.write(true).mode(0o600).open(path)
}

/// Replaces a file that only the user may read.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let next = folder.join(format!(".{name}.{}", std::process::id()));
    // Of an earlier process with our number.
    let _ = std::fs::remove_file(&next);
    private(OpenOptions::new().create_new(true), &next)?.write_all(bytes)?;
    std::fs::rename(&next, path).inspect_err(|_| drop(std::fs::remove_file(&next)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::Session;

    fn about(vm: &str) -> About {
        About {
            vm: vm.into(),
            broker: "broker".into(),
            pid: 1,
        }
    }

    fn record(base: &Path, vm: &str, port: u16, key: &str) -> Record {
        let record = Record::new(base, about(vm)).unwrap();
        record.write(port, &Key::new(key).unwrap(), None).unwrap();
        record
    }

    fn text(path: PathBuf) -> Option<String> {
        std::fs::read_to_string(path).ok()
    }

    #[test]
    fn a_session_is_written_down_privately_and_taken_away() {
        let base = tempfile::tempdir().unwrap();
        let one = record(base.path(), "office", 62001, "KEYKEY1");
        assert_eq!(one.name(), "office");
        for folder in [base.path(), one.folder()] {
            assert_eq!(text(folder.join(PORT)).unwrap(), "62001");
            assert_eq!(text(folder.join(KEY)).unwrap(), "KEYKEY1");
            for name in [PORT, KEY] {
                let mode = folder.join(name).metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
            }
        }
        one.write(62001, &Key::new("KEYKEY2").unwrap(), None)
            .unwrap();
        assert_eq!(text(base.path().join(KEY)).unwrap(), "KEYKEY2");
        let folder = one.folder().to_owned();
        one.lost();
        assert!(Session::all(base.path()).is_empty());
        assert!(!base.path().join(PORT).exists());
        one.write(62001, &Key::new("KEYKEY3").unwrap(), None)
            .unwrap();
        assert_eq!(Session::all(base.path()).len(), 1);
        drop(one);
        assert!(!folder.exists());
        let left: Vec<_> = std::fs::read_dir(base.path()).unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn sessions_side_by_side_are_told_apart() {
        let base = tempfile::tempdir().unwrap();
        let one = record(base.path(), "office", 1, "KEYKEY1");
        let two = record(base.path(), "office", 2, "KEYKEY2");
        assert_eq!(two.name(), "office-2");
        assert_eq!(text(base.path().join(PORT)).unwrap(), "2");
        let names: Vec<_> = Session::all(base.path())
            .iter()
            .map(|session| session.name().to_owned())
            .collect();
        assert_eq!(names, ["office", "office-2"]);
        // The one that stays is the one that the reference finds.
        drop(two);
        assert_eq!(text(base.path().join(PORT)).unwrap(), "1");
        assert_eq!(text(base.path().join(KEY)).unwrap(), "KEYKEY1");
        drop(one);
        assert!(!base.path().join(PORT).exists());
    }

    #[test]
    fn what_a_crash_left_is_known_and_taken_away() {
        let base = tempfile::tempdir().unwrap();
        let mut crashed = record(base.path(), "office", 3, "KEYKEY3");
        let folder = crashed.folder().to_owned();
        // As the end of the process does.
        crashed._lock = File::open("/dev/null").unwrap();
        std::mem::forget(crashed);
        assert!(folder.exists() && base.path().join(PORT).exists());
        assert!(Session::all(base.path()).is_empty());
        assert!(matches!(
            Session::choose(base.path(), None),
            Err(Error::NoSession(_))
        ));
        let next = Record::new(base.path(), about("other")).unwrap();
        assert!(!folder.exists());
        assert!(!base.path().join(PORT).exists() && !base.path().join(KEY).exists());
        drop(next);
    }

    #[test]
    fn what_the_references_client_wrote_is_left_alone() {
        let base = tempfile::tempdir().unwrap();
        let one = record(base.path(), "office", 1, "KEYKEY1");
        std::fs::write(base.path().join(PORT), "62999").unwrap();
        std::fs::write(base.path().join(KEY), "OTHERS").unwrap();
        drop(one);
        assert_eq!(text(base.path().join(PORT)).unwrap(), "62999");
        assert_eq!(text(base.path().join(KEY)).unwrap(), "OTHERS");
    }

    #[test]
    fn any_vms_name_is_a_folders_name() {
        for (vm, name) in [
            ("office", "office"),
            ("../../etc", "_.._etc"),
            ("Büro 1", "Büro_1"),
            ("", "session"),
            ("default", "session"),
            ("..", "session"),
        ] {
            assert_eq!(plain(vm), name);
        }
        assert!(plain(&"ä".repeat(99)).len() <= MAX_NAME);
    }
}
