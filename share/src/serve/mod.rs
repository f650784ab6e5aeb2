//! The sharing end: the SFTP server of one folder.

mod driver;
mod folder;
mod handles;
mod operations;
mod place;
mod sandbox;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use driver::Stopper;
pub(crate) use driver::take_sent;

use crate::Channel;

/// A folder that is shared.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    announced: Vec<u8>,
    read_only: bool,
}

/// Why a folder is not served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It cannot be opened.
    #[error("{}: {source}", path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel cannot keep paths beneath a folder (`openat2`, Linux 5.6).
    #[error("this kernel cannot confine a share to its folder: Linux 5.6 or later is needed")]
    OldKernel,
    /// A thread cannot be started.
    #[error("starting a thread: {0}")]
    Thread(#[source] io::Error),
    /// The channel failed.
    #[error("the channel: {0}")]
    Channel(#[source] io::Error),
    /// The peer spoke no SFTP.
    #[error("the peer sent {0}")]
    Protocol(#[from] qvd_sftp::Error),
}

impl Folder {
    /// The folder at `path`, which may be written to.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        use std::os::unix::ffi::OsStrExt as _;
        let path = path.into();
        let announced = path.as_os_str().as_bytes().to_vec();
        Self {
            path,
            announced,
            read_only: false,
        }
    }

    /// Nothing in it can be changed by way of the share.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// The path by which the peer knows it: absolute paths that begin so are
    /// of the folder. By default its own.
    #[must_use]
    pub fn announced_as(mut self, path: impl Into<Vec<u8>>) -> Self {
        self.announced = path.into();
        self
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it: what can fail for the folder's sake fails here.
    ///
    /// # Errors
    /// When it is no folder or may not be read, and on a kernel that cannot
    /// confine.
    pub fn open(&self) -> Result<Share, Error> {
        let root = folder::Root::open(&self.path, self.read_only)?;
        let places = place::Places::new(&self.announced);
        Ok(Share {
            operations: Arc::new(operations::Operations::new(root, places)),
        })
    }
}

/// An opened folder, ready to be served.
#[derive(Debug)]
pub struct Share {
    operations: Arc<operations::Operations>,
}

impl Share {
    /// Serves the folder on `channel` until either end closes it. `early`:
    /// bytes of the peer that were read already. Blocks; the threads that
    /// touch files can touch nothing but the folder where the kernel has
    /// Landlock.
    ///
    /// # Errors
    /// When the channel fails or the peer speaks no SFTP. Its end is none.
    pub fn serve(self, channel: Channel, early: &[u8]) -> Result<(), Error> {
        self.serve_until(channel, early, &Stopper::new())
    }

    /// The same, and ends when `stopper` says so.
    ///
    /// # Errors
    /// As [`serve`](Self::serve).
    pub fn serve_until(
        self,
        channel: Channel,
        early: &[u8],
        stopper: &Stopper,
    ) -> Result<(), Error> {
        driver::run(self.operations, channel, early, stopper)
    }
}
