//! A folder of the client's: mounted, and unmounted when the channel is gone.

use std::path::Path;
use std::process::{Command, Stdio};

use qvd_config::value::ShareEngine;
use qvd_http1::{Response, ResponseHead, Status};
use qvd_share::Channel;
use qvd_share::mount::{Mounted, Options, mount};
use qvd_slave::{TICKET, mount_name};

use crate::guard::Guard;
use crate::peer::Peer;
use crate::settings::Settings;
use crate::shares::{Made, Shares};
use crate::{Error, mounts};

pub(crate) fn serve(
    settings: &Settings,
    mut peer: Peer,
    path: &[u8],
    charset: Option<&str>,
) -> Result<(), Error> {
    let name = mount_name(path);
    let (shares, point) = match Shares::make(settings, &name)? {
        Made::Point(shares, point) => (shares, point),
        Made::Used(point) => {
            let text = "the mount point is in use";
            peer.answer(&Response::text(Status::CONFLICT, text))?;
            return Err(Error::Other(format!("{}: {text}", point.display())));
        }
        Made::Failed(point, error) => {
            let text = "the mount point cannot be made";
            peer.answer(&Response::text(Status::INTERNAL_SERVER_ERROR, text))?;
            return Err(Error::local(point.display().to_string())(error));
        }
    };
    // From here on the directory goes away with this process, however it ends.
    let guard = Guard::start(settings, &point).map_err(Error::local("starting the guard"))?;
    let head = ResponseHead::new(Status::SWITCHING_PROTOCOLS).header(TICKET, name.clone());
    let served = peer.upgrade(&head).and_then(|(channel, early)| {
        tracing::info!(point = %point.display(), "sharing");
        match settings.engine {
            ShareEngine::Sshfs => {
                let waits = guard.wait_for_children();
                waits.map_err(Error::local("the guard"))?;
                by_sshfs(settings, &point, charset, &early, shares)
            }
            _ => {
                let mounted = by_ourselves(settings, channel, &early, &point, &name)?;
                drop(shares);
                mounted.wait();
                // Nobody mounts something else there while this is unmounted.
                let _lock = Shares::lock(&settings.shares);
                drop(mounted);
                Ok(())
            }
        }
    });
    Shares::clear(settings, &point);
    tracing::info!(point = %point.display(), "no longer shared");
    guard.dismiss();
    served
}

fn by_ourselves(
    settings: &Settings,
    channel: Channel,
    early: &[u8],
    point: &Path,
    name: &[u8],
) -> Result<Mounted, Error> {
    let options = Options {
        timeout: settings.timeout,
        // Commas separate options in the mount table.
        name: format!("qvd:{}", String::from_utf8_lossy(name).replace(',', "_")),
    };
    Ok(mount(channel, early, point, &options)?)
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
    // Who opens a file waits until it is mounted.
    let mounted = mounts::appears(point, &child, settings.timeout);
    mounted.map_err(Error::local("the mount table"))?;
    drop(shares);
    // Only sshfs shall hold the channel: its end is sshfs's end.
    let status = child.wait().map_err(Error::local("sshfs"))?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Other(format!("sshfs: {status}")))
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
