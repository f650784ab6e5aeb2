//! A folder of the client's: mounted, and unmounted when the channel is gone.

use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use qvd_config::value::ShareEngine;
use qvd_http1::{Response, ResponseHead, Status};
use qvd_share::Channel;
use qvd_share::mount::{Options, mount, unmount};
use qvd_slave::{TICKET, mount_name};
use rustix::fs::{FlockOperation, flock};

use crate::guard::Guard;
use crate::peer::Peer;
use crate::settings::Settings;
use crate::{Error, bookmark};

pub(crate) fn serve(
    settings: &Settings,
    peer: Peer,
    path: &[u8],
    charset: Option<&str>,
) -> Result<(), Error> {
    let name = mount_name(path);
    let shares = Shares::open(&settings.shares)?;
    let point = match shares.make(&name) {
        Ok(point) => point,
        Err(Taken::Used) => {
            let text = "the mount point is in use";
            peer.answer(&Response::text(Status::CONFLICT, text))?;
            return Err(Error::Other(format!(
                "{}: {text}",
                shares.path(&name).display()
            )));
        }
        Err(Taken::Failed(error)) => {
            let text = "the mount point cannot be made";
            peer.answer(&Response::text(Status::INTERNAL_SERVER_ERROR, text))?;
            return Err(Error::local(shares.path(&name).display().to_string())(
                error,
            ));
        }
    };
    // From here on the directory goes away with this process, however it ends.
    let guard = Guard::start(&point).map_err(Error::local("starting the guard"))?;
    let head = ResponseHead::new(Status::SWITCHING_PROTOCOLS).header(TICKET, name.clone());
    let served = peer.upgrade(&head).and_then(|(channel, early)| {
        if let Err(error) = bookmark::add(&settings.home, &settings.shares) {
            tracing::debug!(%error, "no bookmark");
        }
        tracing::info!(point = %point.display(), "sharing");
        match settings.engine {
            ShareEngine::Sshfs => by_sshfs(settings, &point, charset, &early, shares),
            _ => by_ourselves(settings, channel, &early, &point, &name, shares),
        }
    });
    unmount(&point);
    let removed = std::fs::remove_dir(&point);
    tracing::info!(point = %point.display(), ?removed, "no longer shared");
    guard.dismiss();
    served
}

fn by_ourselves(
    settings: &Settings,
    channel: Channel,
    early: &[u8],
    point: &Path,
    name: &[u8],
    shares: Shares,
) -> Result<(), Error> {
    let options = Options {
        timeout: settings.timeout,
        // Commas separate options in the mount table.
        name: format!("qvd:{}", String::from_utf8_lossy(name).replace(',', "_")),
    };
    let mounted = mount(channel, early, point, &options)?;
    drop(shares);
    mounted.wait();
    Ok(())
}

fn by_sshfs(
    settings: &Settings,
    point: &Path,
    charset: Option<&str>,
    early: &[u8],
    shares: Shares,
) -> Result<(), Error> {
    if !early.is_empty() {
        return Err(Error::Other(
            "the sharing end spoke before it was asked".into(),
        ));
    }
    let mut command = Command::new(&settings.sshfs);
    command
        .args(["-f", "-o", "slave"])
        .args(&settings.sshfs_args);
    if let Some(charset) = charset {
        command.args(["-o", &format!("modules=iconv,from_code={charset}")]);
    }
    // Standard input and output are the channel.
    let mut child = command
        .arg("qvd:")
        .arg(point)
        .spawn()
        .map_err(Error::local(settings.sshfs.display().to_string()))?;
    drop(shares);
    // Only sshfs shall hold the channel: its end is sshfs's end.
    let status = child.wait().map_err(Error::local("sshfs"))?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Other(format!("sshfs: {status}")))
    }
}

/// The folder with the mount points, locked while one of them is made.
pub(crate) struct Shares {
    path: PathBuf,
    _lock: File,
}

enum Taken {
    Used,
    Failed(io::Error),
}

impl Shares {
    /// Waits for the lock: for as long as another folder takes to be mounted.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let failed = || Error::local(path.display().to_string());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed())?;
        let lock = File::open(path).map_err(failed())?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed()(error.into()))?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    fn path(&self, name: &[u8]) -> PathBuf {
        self.path.join(OsString::from_vec(name.to_vec()))
    }

    /// Makes the mount point. What a crash left behind is taken away.
    fn make(&self, name: &[u8]) -> Result<PathBuf, Taken> {
        let point = self.path(name);
        match std::fs::symlink_metadata(&point) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // A mount whose server is gone.
            Err(error) if error.raw_os_error() == Some(107) => {
                unmount(&point);
                std::fs::remove_dir(&point).map_err(Taken::Failed)?;
            }
            Err(error) => return Err(Taken::Failed(error)),
            Ok(there) => {
                let own = std::fs::metadata(&self.path).map_err(Taken::Failed)?;
                if !there.is_dir() || there.dev() != own.dev() {
                    return Err(Taken::Used);
                }
                // Empty, it was left behind; otherwise it is the user's.
                std::fs::remove_dir(&point).map_err(|_| Taken::Used)?;
            }
        }
        let mut builder = DirBuilder::new();
        builder.mode(0o700).create(&point).map_err(Taken::Failed)?;
        Ok(point)
    }
}

/// A child without our channel.
pub(crate) fn detached(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt as _;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
}
