use std::fs::Permissions;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::left::{is_deserted, is_gone};

/// How long a share's process may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Most bytes of a question or an answer.
const MAX_LINE: u64 = 64 * 1024;

/// A shared folder, as the process that serves it tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The name under which the VM mounts it.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
    /// Nothing in it can be changed from the VM.
    pub read_only: bool,
    /// The session it is shared with.
    pub session: String,
}

/// The shares of a user's processes: a socket each, in a folder of the
/// user's, on which the process tells of its share and is asked to end it.
/// What does not answer is not shared.
#[derive(Debug, Clone)]
pub struct Registry {
    folder: PathBuf,
}

/// A share in the registry; taken out when this is dropped.
#[derive(Debug)]
pub struct Registered {
    socket: PathBuf,
    ended: Arc<AtomicBool>,
}

impl Registry {
    /// This machine's in `folder` (`~/.qvd`), which other machines may have,
    /// too: their processes have the same numbers, and are not reached here.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let machine = mark(rustix::system::uname().nodename().to_bytes());
        Self {
            folder: folder.join("shares").join(machine),
        }
    }

    /// Puts a share in. `end` is called when somebody wants it ended.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn register(
        &self,
        entry: &Entry,
        end: impl Fn() + Send + 'static,
    ) -> Result<Registered, Error> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(Error::file(&self.folder))?;
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}.sock", std::process::id());
        let socket = self.folder.join(name);
        // Of an earlier process with our number.
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).map_err(Error::file(&socket))?;
        std::fs::set_permissions(&socket, Permissions::from_mode(0o600))
            .map_err(Error::file(&socket))?;
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        let registered = Registered { socket, ended };
        let line = serde_json::to_vec(entry)
            .map_err(|error| Error::file(&self.folder)(io::Error::other(error)))?;
        std::thread::Builder::new()
            .name("register".into())
            .spawn(move || {
                for stream in listener.incoming() {
                    if seen.load(Ordering::Relaxed) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    // Whoever asked and left gets no answer.
                    let _ = answer(&stream, &line, &end);
                }
            })
            .map_err(Error::file(&self.folder))?;
        Ok(registered)
    }

    /// Takes out what processes left that were killed.
    pub fn tidy(&self) {
        for socket in self.sockets() {
            let is_socket = socket
                .symlink_metadata()
                .is_ok_and(|found| found.file_type().is_socket());
            if is_socket
                && owner(&socket).is_some_and(is_gone)
                && is_deserted(&socket).is_ok_and(|deserted| deserted)
            {
                // Another one may do the same.
                let _ = std::fs::remove_file(&socket);
            }
        }
    }

    /// All shares.
    #[must_use]
    pub fn list(&self) -> Vec<Entry> {
        let mut entries: Vec<_> = self
            .sockets()
            .filter_map(|path| ask(&path, "list"))
            .collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }

    /// Ends the share of that name or path; of that session where one is named.
    ///
    /// # Errors
    /// [`Error::NotShared`].
    pub fn unshare(&self, what: &str, session: Option<&str>) -> Result<Entry, Error> {
        let path = std::fs::canonicalize(what).ok();
        for socket in self.sockets() {
            let Some(entry) = ask(&socket, "list") else {
                continue;
            };
            if session.is_some_and(|session| session != entry.session) {
                continue;
            }
            if entry.name == what || Some(&entry.path) == path.as_ref() {
                return ask(&socket, "end").ok_or_else(|| Error::NotShared(what.into()));
            }
        }
        Err(Error::NotShared(what.into()))
    }

    fn sockets(&self) -> impl Iterator<Item = PathBuf> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten();
        entries.flatten().map(|entry| entry.path()).filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "sock")
        })
    }
}

/// A short name for a machine: a path to a socket has little room (FNV-1a).
fn mark(machine: &[u8]) -> String {
    let hash = machine.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    format!("{hash:08x}")
}

/// The number of the process that has made a socket, by its name.
fn owner(socket: &Path) -> Option<u32> {
    let (pid, number) = socket.file_stem()?.to_str()?.split_once('-')?;
    number.parse::<u32>().ok()?;
    pid.parse().ok()
}

impl Drop for Registered {
    fn drop(&mut self) {
        // The thread that answers goes with the next one who asks.
        self.ended.store(true, Ordering::Relaxed);
        let _ = UnixStream::connect(&self.socket);
        // If somebody removed it, it is removed.
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn answer(mut stream: &UnixStream, line: &[u8], end: &impl Fn()) -> io::Result<()> {
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    let mut word = String::new();
    BufReader::new(stream.take(MAX_LINE)).read_line(&mut word)?;
    stream.write_all(line)?;
    stream.write_all(b"\n")?;
    if word.trim() == "end" {
        end();
    }
    Ok(())
}

/// Asks a share's process. One whose process is gone is taken out.
fn ask(socket: &Path, word: &str) -> Option<Entry> {
    let mut stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(error) => {
            if error.kind() == io::ErrorKind::ConnectionRefused {
                let _ = std::fs::remove_file(socket);
            }
            return None;
        }
    };
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    stream.write_all(format!("{word}\n").as_bytes()).ok()?;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_LINE))
        .read_line(&mut line)
        .ok()?;
    serde_json::from_str(&line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_listed_until_it_is_ended_or_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path());
        assert!(registry.list().is_empty());
        let entry = Entry {
            name: "docs".into(),
            path: folder.path().canonicalize().unwrap(),
            read_only: true,
            session: "default".into(),
        };
        let registered = registry.register(&entry, || {}).unwrap();
        let mode = registered.socket.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(registry.list(), std::slice::from_ref(&entry));
        assert!(registry.unshare("papers", None).is_err());
        assert!(registry.unshare("docs", Some("other")).is_err());
        assert_eq!(registry.unshare("docs", Some("default")).unwrap(), entry);
        let path = folder.path().to_str().unwrap();
        assert_eq!(registry.unshare(path, None).unwrap(), entry);
        drop(registered);
        assert!(registry.list().is_empty());
    }

    #[test]
    fn what_a_dead_process_left_is_taken_out() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path());
        std::fs::create_dir_all(&registry.folder).unwrap();
        let socket = registry.folder.join("1.sock");
        drop(UnixListener::bind(&socket).unwrap());
        assert!(registry.list().is_empty());
        assert!(!socket.exists());
    }

    #[test]
    fn a_client_takes_out_what_a_killed_one_left_and_nothing_else() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path());
        std::fs::create_dir_all(&registry.folder).unwrap();
        let socket = |name: String| {
            let socket = registry.folder.join(name);
            let listener = UnixListener::bind(&socket).unwrap();
            (socket, listener)
        };
        let (dead, own) = (child.id(), std::process::id());
        let (left, _) = socket(format!("{dead}-0.sock"));
        let (lives, _) = socket(format!("{own}-7.sock"));
        let (listens, _listener) = socket(format!("{dead}-1.sock"));
        let (other, _) = socket(format!("{dead}-x.sock"));
        // Another machine that has the same home.
        let elsewhere = folder.path().join("shares").join(mark(b"elsewhere"));
        std::fs::create_dir(&elsewhere).unwrap();
        let there = elsewhere.join(format!("{dead}-0.sock"));
        drop(UnixListener::bind(&there).unwrap());
        registry.tidy();
        assert!(!left.exists() && there.exists());
        assert!(lives.exists() && listens.exists() && other.exists());
    }
}
