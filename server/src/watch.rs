//! Telling when files have new content.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::watch;

use crate::Error;

/// Watches files by their folders, so that a file that is replaced by another
/// (as careful editors and tools do) is still watched.
pub struct Watcher {
    changes: watch::Receiver<()>,
    /// Ends the watching when dropped.
    _watcher: RecommendedWatcher,
}

impl Watcher {
    /// Begins to watch.
    ///
    /// # Errors
    /// [`Error::File`] when a folder cannot be watched.
    pub fn new(files: &[&Path]) -> Result<Self, Error> {
        let mut names: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
        for file in files {
            let folder = file
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            let name = PathBuf::from(file.file_name().unwrap_or_default());
            names
                .entry(folder.unwrap_or(Path::new(".")).to_owned())
                .or_default()
                .insert(name);
        }
        let (sender, changes) = watch::channel(());
        let watched: BTreeSet<PathBuf> = names.values().flatten().cloned().collect();
        let tell = move |event: notify::Result<Event>| {
            // An error means that events may have been lost: look again.
            let relevant = event.map_or(true, |event| {
                is_new_content(event.kind)
                    && event.paths.iter().any(|path| {
                        path.file_name()
                            .is_some_and(|name| watched.contains(Path::new(name)))
                    })
            });
            if relevant {
                sender.send_replace(());
            }
        };
        let failed = |folder: &Path, error: notify::Error| {
            Error::file("watch", folder, std::io::Error::other(error))
        };
        let first = names.keys().next().cloned().unwrap_or_default();
        let mut watcher = notify::recommended_watcher(tell).map_err(|e| failed(&first, e))?;
        for folder in names.keys() {
            watcher
                .watch(folder, RecursiveMode::NonRecursive)
                .map_err(|e| failed(folder, e))?;
        }
        Ok(Self {
            changes,
            _watcher: watcher,
        })
    }

    /// Waits for new content of any of the files. Cancel safe.
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Whether a file is complete now: closed after writing, or renamed or linked
/// into place. Half-written content is not read.
fn is_new_content(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(_))
            | EventKind::Other
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn replaced_and_rewritten_files_are_noticed_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("watched");
        std::fs::write(&file, "1").unwrap();
        let mut watcher = Watcher::new(&[&file]).unwrap();
        let within = Duration::from_secs(20);
        std::fs::write(&file, "2").unwrap();
        tokio::time::timeout(within, watcher.changed())
            .await
            .unwrap();
        let new = folder.path().join("new");
        std::fs::write(&new, "3").unwrap();
        std::fs::rename(&new, &file).unwrap();
        tokio::time::timeout(within, watcher.changed())
            .await
            .unwrap();
        std::fs::write(folder.path().join("other"), "4").unwrap();
        let quiet = tokio::time::timeout(Duration::from_millis(300), watcher.changed());
        assert!(quiet.await.is_err());
    }
}
