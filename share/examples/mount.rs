//! Mounts the folder of the SFTP server on standard input and output.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use qvd_share::Channel;
use qvd_share::mount::{Options, mount};

fn main() -> ExitCode {
    let Some(point) = std::env::args_os().nth(1) else {
        return ExitCode::FAILURE;
    };
    let Ok(channel) = Channel::stdio() else {
        return ExitCode::FAILURE;
    };
    match mount(channel, &[], Path::new(&point), &Options::default()) {
        Ok(mounted) => {
            mounted.wait();
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(%error);
            ExitCode::FAILURE
        }
    }
}
