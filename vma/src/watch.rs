//! Files that others change, watched by their folders: a file that is replaced
//! by another, as careful editors and logrotate do, is still watched.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::inotify;
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use crate::sys;

/// Room for the events read at once, in bytes.
const BUFFER: usize = 4096;

/// What is of interest: a file complete (closed after writing, moved or linked
/// into place), one that begins to be, and one that is gone.
const EVENTS: inotify::WatchFlags = inotify::WatchFlags::CLOSE_WRITE
    .union(inotify::WatchFlags::CREATE)
    .union(inotify::WatchFlags::DELETE)
    .union(inotify::WatchFlags::MOVED_FROM)
    .union(inotify::WatchFlags::MOVED_TO)
    .union(inotify::WatchFlags::ATTRIB);

/// Watches files.
pub struct Watcher {
    notices: AsyncFd<OwnedFd>,
    /// Names of files by the watch of their folder.
    names: BTreeMap<i32, Vec<OsString>>,
}

impl Watcher {
    /// Watches these files, those that links lead to included. A folder that
    /// is not there, or may not be read, is left out.
    ///
    /// # Errors
    /// When the kernel has no room for another watcher.
    pub fn new(files: &[PathBuf]) -> io::Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let mut watcher = Self {
            notices: sys::watch(inotify::init(flags)?)?,
            names: BTreeMap::new(),
        };
        for file in files {
            watcher.add(file);
            if let Some(target) = file.canonicalize().ok().filter(|target| target != file) {
                watcher.add(&target);
            }
        }
        Ok(watcher)
    }

    fn add(&mut self, file: &Path) {
        let Some(name) = file.file_name() else { return };
        let folder = file.parent().filter(|p| !p.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        match inotify::add_watch(self.notices.get_ref(), folder, EVENTS) {
            Ok(watch) => self.names.entry(watch).or_default().push(name.to_owned()),
            Err(error) => {
                tracing::debug!(%error, folder = %folder.display(), "cannot be watched");
            }
        }
    }

    /// Waits until something has happened to any of the files. Cancel safe.
    pub async fn changed(&mut self) {
        loop {
            let Ok(mut ready) = self.notices.readable().await else {
                return std::future::pending().await;
            };
            let names = &self.names;
            match ready.try_io(|fd| Ok(drain(fd.get_ref(), names)?)) {
                Ok(Ok(true)) => return,
                Ok(Err(error)) if error.kind() != io::ErrorKind::Interrupted => {
                    tracing::warn!(%error, "files are watched no more");
                    return std::future::pending().await;
                }
                _ => {}
            }
        }
    }
}

/// Reads what there is to read; whether any of it is of interest.
fn drain(fd: &OwnedFd, names: &BTreeMap<i32, Vec<OsString>>) -> Result<bool, Errno> {
    let mut buffer = [MaybeUninit::uninit(); BUFFER];
    let mut reader = inotify::Reader::new(fd.as_fd(), &mut buffer);
    let mut of_interest = false;
    loop {
        let event = match reader.next() {
            Ok(event) => event,
            // What was read before counts; with nothing read, there is to be
            // waited again.
            Err(Errno::AGAIN) if of_interest => return Ok(true),
            Err(error) => return Err(error),
        };
        // Events were lost: look at everything.
        let lost = event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW);
        let name = event
            .file_name()
            .map(|name| OsString::from_vec(name.to_bytes().to_vec()));
        let named = name.is_some_and(|name| {
            let watched = names.get(&event.wd());
            watched.is_some_and(|watched| watched.contains(&name))
        });
        of_interest |= lost || named;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const WAIT: Duration = Duration::from_secs(20);

    async fn noticed(watcher: &mut Watcher) {
        tokio::time::timeout(WAIT, watcher.changed()).await.unwrap();
        // Whatever else belongs to it.
        while tokio::time::timeout(Duration::from_millis(50), watcher.changed())
            .await
            .is_ok()
        {}
    }

    #[tokio::test]
    async fn what_happens_to_a_file_is_noticed_and_to_others_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("watched");
        let elsewhere = tempfile::tempdir().unwrap();
        let target = elsewhere.path().join("target");
        let link = dir.path().join("link");
        std::fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let mut watcher = Watcher::new(&[file.clone(), link]).unwrap();

        std::fs::write(&file, "1").unwrap();
        noticed(&mut watcher).await;
        let new = dir.path().join("new");
        std::fs::write(&new, "2").unwrap();
        std::fs::rename(&new, &file).unwrap();
        noticed(&mut watcher).await;
        std::fs::rename(&file, dir.path().join("old")).unwrap();
        noticed(&mut watcher).await;
        std::fs::write(&target, "behind a link").unwrap();
        noticed(&mut watcher).await;

        std::fs::write(dir.path().join("other"), "3").unwrap();
        let quiet = tokio::time::timeout(Duration::from_millis(300), watcher.changed());
        assert!(quiet.await.is_err());
    }
}
