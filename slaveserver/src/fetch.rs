//! A folder of the VM's, served to the client.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;

use qvd_http1::{Response, ResponseHead, Status};
use qvd_share::serve::{Error as Unserved, Folder};

use crate::Error;
use crate::peer::Peer;
use crate::settings::Settings;

pub(crate) fn serve(settings: &Settings, mut peer: Peer, path: &[u8]) -> Result<(), Error> {
    // Relative to the user's home, in which the server runs.
    let folder = settings.home.join(OsString::from_vec(path.to_vec()));
    let opened = Folder::new(&folder).announced_as(path).open();
    let share = match opened {
        Ok(share) => share,
        Err(error) => {
            let status = match &error {
                Unserved::Open { source, .. } if is_refusal(source) => Status::FORBIDDEN,
                Unserved::Open { .. } => Status::NOT_FOUND,
                _ => Status::INTERNAL_SERVER_ERROR,
            };
            peer.answer(&Response::text(status, &error.to_string()))?;
            return Err(error.into());
        }
    };
    tracing::info!(folder = %folder.display(), "serving");
    let head = ResponseHead::new(Status::SWITCHING_PROTOCOLS);
    let (channel, early) = peer.upgrade(&head)?;
    Ok(share.serve(channel, &early)?)
}

fn is_refusal(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}
