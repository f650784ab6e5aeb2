//! A file of a shared folder, opened in the session.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::process::Command;

use qvd_http1::{Response, Status};
use qvd_slave::mount_name;

use crate::Error;
use crate::peer::Peer;
use crate::settings::Settings;
use crate::share::detached;
use crate::shares::Shares;

pub(crate) fn serve(
    settings: &Settings,
    peer: &mut Peer,
    path: &[u8],
    ticket: &[u8],
) -> Result<(), Error> {
    let not_found = |peer: &mut Peer, text: &str| -> Result<(), Error> {
        peer.answer(&Response::text(Status::NOT_FOUND, text))?;
        Err(Error::Other(text.into()))
    };
    // A ticket that is not what we would have given names no share.
    if mount_name(ticket) != ticket {
        return not_found(peer, "no such share");
    }
    let share = settings.shares.join(OsString::from_vec(ticket.to_vec()));
    // A folder that was just taken is being mounted: its lock says until when.
    drop(Shares::lock(&settings.shares)?);
    let file = share.join(OsString::from_vec(path.to_vec()));
    if !share.is_dir() || !file.exists() {
        return not_found(peer, "no such file in the share");
    }
    let mut command = Command::new(&settings.open_file);
    command.arg(&file);
    // nxagent starts its programs without a display.
    if std::env::var_os("DISPLAY").is_none() {
        command.env("DISPLAY", &settings.display);
    }
    match detached(&mut command).spawn() {
        Ok(_child) => {
            tracing::info!(file = %file.display(), "opened");
            Ok(peer.answer(&Response::text(Status::OK, "opened"))?)
        }
        Err(source) => {
            let text = "the program that opens files cannot be started";
            peer.answer(&Response::text(Status::INTERNAL_SERVER_ERROR, text))?;
            Err(Error::local(settings.open_file.display().to_string())(
                source,
            ))
        }
    }
}
