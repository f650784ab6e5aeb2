//! Serves a folder on standard input and output, as `sftp-server` does.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use qvd_share::Channel;
use qvd_share::serve::{Error, Folder};

fn main() -> ExitCode {
    let folder = std::env::args_os().nth(1).unwrap_or_else(|| ".".into());
    let serve = || -> Result<(), Error> {
        let share = Folder::new(folder).open()?;
        let channel = Channel::stdio().map_err(Error::Channel)?;
        share.serve(channel, &[])
    };
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error);
            ExitCode::FAILURE
        }
    }
}
