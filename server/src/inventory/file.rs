use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::parse::{MAX_FILE, parse};
use super::{Inventory, Snapshot};
use crate::Error;

/// The inventory in a TOML file.
#[derive(Debug)]
pub struct FileInventory {
    file: PathBuf,
    current: RwLock<Arc<Snapshot>>,
}

impl FileInventory {
    /// Reads the file.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Inventory`].
    pub fn open(file: impl Into<PathBuf>) -> Result<Self, Error> {
        let file = file.into();
        let current = RwLock::new(Arc::new(read(&file)?));
        Ok(Self { file, current })
    }

    /// Reads the file again, and says whether anything is different now.
    ///
    /// # Errors
    /// As [`open`](Self::open); what was read before stays in force.
    pub fn reload(&self) -> Result<bool, Error> {
        let new = read(&self.file)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let changed = **current != new;
        *current = Arc::new(new);
        Ok(changed)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file
    }
}

impl Inventory for FileInventory {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn read(file: &Path) -> Result<Snapshot, Error> {
    let error = |source| Error::file("read", file, source);
    let size = std::fs::metadata(file).map_err(error)?.len();
    if size > MAX_FILE {
        let reason = format!("{size} bytes are more than {MAX_FILE}");
        return Err(Error::Inventory {
            file: file.to_owned(),
            line: 1,
            reason,
        });
    }
    parse(&std::fs::read_to_string(file).map_err(error)?, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_content_is_refused_and_the_old_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("inventory.toml");
        let vm = "[[vm]]\nid = 4\nname = \"n\"\nusers = []\naddress = \"h\"\n";
        std::fs::write(&file, vm).unwrap();
        let inventory = FileInventory::open(&file).unwrap();
        std::fs::write(&file, format!("{vm}blocked = 3\n")).unwrap();
        let error = inventory.reload().unwrap_err().to_string();
        assert!(error.contains("inventory.toml:6: "), "{error}");
        assert!(!inventory.snapshot().vms[&4].blocked);
        std::fs::write(&file, format!("{vm}blocked = true\n")).unwrap();
        assert!(inventory.reload().unwrap());
        assert!(inventory.snapshot().vms[&4].blocked);
        assert!(!inventory.reload().unwrap());
    }
}
