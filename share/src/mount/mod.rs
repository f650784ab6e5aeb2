//! The mounting end: a FUSE file system over a pipelined SFTP client.
//!
//! What takes sshfs a round trip is done here without one wherever the answer
//! is known, or can be asked for together with the one before:
//!
//! - attributes and listings hold for a lease ([`LEASE`]); a folder that was
//!   made here is known to be empty, a name that was not listed to be absent;
//! - a file is opened, looked at and begun to be read in one go; writes,
//!   changes of attributes through an open file and closing are not awaited,
//!   and their failures are told by the next `fsync` or `close`;
//! - reading on is seen, and asked for ahead as far as the round trip needs.
//!
//! Nothing hangs: a peer that is silent for the mount's time has its requests
//! fail, and when the channel is gone everything fails at once with `EIO` and
//! the mount goes away. While it is known that the channel has an outage which
//! will be over, that time does not pass; whoever waits can be killed.

mod attributes;
mod convert;
mod core;
mod create;
mod dying;
mod files;
mod folders;
mod fs;
mod link;
mod links;
mod names;
mod node;
mod patience;
mod place;
mod table;
mod tree;
mod unmount;
mod writes;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fuser::{Config, MountOption, Session};

pub use self::table::{Mount, Table};
pub use self::tree::LEASE;
pub use self::unmount::{is_dead, unmount};

use self::link::Link;
use self::place::Place;
use crate::Channel;

/// How a folder is mounted.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long the peer may be silent while something is asked of it.
    pub timeout: Duration,
    /// What the mount table calls it.
    pub name: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            name: "qvd".into(),
        }
    }
}

/// Why a folder cannot be mounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer's SFTP server did not begin.
    #[error("the other end is no SFTP server: {0}")]
    Peer(#[source] io::Error),
    /// FUSE refused.
    #[error("mounting on {}: {source}", path.display())]
    Fuse {
        /// The mount point.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("starting a thread: {0}")]
    Thread(#[source] io::Error),
}

/// A mounted folder. It is unmounted when this is dropped.
#[derive(Debug)]
pub struct Mounted {
    link: Arc<Link>,
    place: Place,
}

/// Mounts the folder of the peer's SFTP server on `point`, an empty
/// directory. `early`: bytes of the peer that were read already.
///
/// # Errors
/// When the peer is no SFTP server, or FUSE cannot be used.
pub fn mount(
    channel: Channel,
    early: &[u8],
    point: &Path,
    options: &Options,
) -> Result<Mounted, Error> {
    let link = Link::start(channel, early, options.timeout)?;
    let refused = |source| {
        link.gone();
        Error::Fuse {
            path: point.to_owned(),
            source,
        }
    };
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(options.name.clone()),
        MountOption::Subtype("qvd".into()),
        MountOption::NoDev,
        MountOption::NoSuid,
        MountOption::NoAtime,
    ];
    // Asked before, no question to what is mounted there.
    let real = point.canonicalize().ok();
    let begin = || Session::new(fs::Folder::new(Arc::clone(&link)), point, &config);
    let session = match begin() {
        // Who took a dead one away that was mounted here before took this one.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => begin(),
        begun => begun,
    };
    let session = session.map_err(refused)?;
    let place = Place::of(&session, point, real).map_err(refused)?;
    link.mounted(dying::Device::of(&session).map_err(refused)?);
    let notifier = session.notifier();
    link.with(|core| core.notifier = Some(notifier));
    let served = Arc::clone(&link);
    // Not joined: after a lazy unmount it ends with the last open file.
    let thread = std::thread::Builder::new()
        .name("share-fuse".into())
        .spawn(move || {
            let ended = session.run();
            tracing::debug!(?ended, "the mount ended");
            served.gone();
        });
    thread.map_err(Error::Thread)?;
    Ok(Mounted { link, place })
}

impl Mounted {
    /// Waits until the channel is gone, or somebody unmounts.
    pub fn wait(&self) {
        self.link.wait_gone();
    }

    /// How many requests the sharing end has not answered yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.link.with(|core| core.under_way())
    }

    /// Ends it from elsewhere: everything under way fails.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.link))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.link.gone();
        self.place.leave();
    }
}

/// Ends a mount.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<Link>);

impl Stopper {
    /// Ends it.
    pub fn stop(&self) {
        self.0.gone();
    }
}
