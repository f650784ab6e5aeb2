use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use qvd_sftp::NAMED_HANDLES;
use rustix::fs::Dir;
use rustix::io::Errno;

/// Most open files and folders of one share: more would only fail later, at
/// the process's own limit.
pub(super) const MAX_HANDLES: usize = 4096;

/// An open file or folder.
#[derive(Debug)]
pub(super) enum Open {
    File {
        fd: OwnedFd,
        append: bool,
    },
    Folder {
        fd: OwnedFd,
        entries: Mutex<Entries>,
    },
}

/// Where the listing of a folder is.
#[derive(Debug)]
pub(super) struct Entries {
    pub(super) dir: Dir,
    /// A name that did not fit into the last answer.
    pub(super) left: Option<Vec<u8>>,
}

/// What is open, by the numbers the peer knows. None is given twice.
#[derive(Debug, Default)]
pub(super) struct Handles {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    open: HashMap<u64, Arc<Open>>,
    next: u64,
}

impl Handles {
    /// Takes what was opened under the number the peer has named for it, or
    /// under the next one.
    pub(super) fn insert(&self, open: Open, named: Option<u64>) -> Result<u64, Errno> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.open.len() >= MAX_HANDLES {
            return Err(Errno::MFILE);
        }
        let handle = match named {
            Some(named) if named < NAMED_HANDLES || table.open.contains_key(&named) => {
                return Err(Errno::INVAL);
            }
            Some(named) => named,
            None => {
                table.next += 1;
                table.next - 1
            }
        };
        table.open.insert(handle, Arc::new(open));
        Ok(handle)
    }

    pub(super) fn get(&self, handle: &[u8]) -> Result<Arc<Open>, Errno> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.open.get(&number(handle)?).cloned().ok_or(Errno::BADF)
    }

    pub(super) fn remove(&self, handle: &[u8]) -> Result<Arc<Open>, Errno> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.open.remove(&number(handle)?).ok_or(Errno::BADF)
    }
}

fn number(handle: &[u8]) -> Result<u64, Errno> {
    handle
        .try_into()
        .map(u64::from_be_bytes)
        .map_err(|_| Errno::BADF)
}
