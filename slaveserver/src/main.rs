//! `qvd-vma-slaveserver`: serves one connection of the slave channel on
//! standard input and output, as the session's user.

#![forbid(unsafe_code)]

mod bookmark;
mod fetch;
mod guard;
mod mounts;
mod open;
mod peer;
mod settings;
mod share;
mod shares;
mod sweep;

use std::io;
use std::process::ExitCode;

use qvd_http1::{Response, Status};
use qvd_slave::VmRequest;

use crate::peer::Peer;
use crate::settings::Settings;

/// Why a request was not served to its end.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Settings(String),
    #[error("the slave channel: {0}")]
    Channel(#[from] io::Error),
    #[error("the request: {0}")]
    Request(#[from] qvd_http1::Error),
    #[error("refused: {0}")]
    Refused(#[from] qvd_slave::Error),
    #[error("{0}")]
    Folder(#[from] qvd_share::serve::Error),
    #[error("{0}")]
    Mount(#[from] qvd_share::mount::Error),
    #[error("{what}: {source}")]
    Local { what: String, source: io::Error },
    #[error("{0}")]
    Other(String),
}

impl Error {
    fn local(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Local { what, source }
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        None => {}
        Some(word) if word == guard::COMMAND || word == sweep::COMMAND => {
            let folder = arguments.next().unwrap_or_default();
            let home = arguments.next().unwrap_or_default();
            let run = match word == guard::COMMAND {
                true => guard::run,
                false => sweep::run,
            };
            return run(folder.as_ref(), home.as_ref());
        }
        Some(_) => {
            tracing_subscriber::fmt().with_writer(io::stderr).init();
            tracing::error!(
                "qvd-vma-slaveserver takes no arguments: it serves the slave channel on its \
                 standard input and output"
            );
            return ExitCode::from(64);
        }
    }
    let settings = Settings::load();
    let level = settings.as_ref().map_or(tracing::Level::INFO, |s| s.level);
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_max_level(level)
        .init();
    match settings.and_then(|settings| serve(&settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(settings: &Settings) -> Result<(), Error> {
    let mut peer = Peer::stdio();
    let request = match peer.request() {
        Ok(request) => request,
        Err(Error::Request(error)) => {
            peer.answer(&Response::text(error.status(), &error.to_string()))?;
            return Err(error.into());
        }
        Err(error) => return Err(error),
    };
    let understood = settings
        .key
        .check(&request.head.headers)
        .and_then(|()| VmRequest::from_head(&request.head));
    match understood {
        Ok(VmRequest::Share { path, charset }) => {
            share::serve(settings, peer, &path, charset.as_deref())
        }
        Ok(VmRequest::Fetch { path }) => fetch::serve(settings, peer, &path),
        Ok(VmRequest::Open { path, ticket }) => open::serve(settings, &mut peer, &path, &ticket),
        Ok(_) => {
            let text = "this server has no such service";
            Ok(peer.answer(&Response::text(Status::NOT_IMPLEMENTED, text))?)
        }
        Err(error) => {
            peer.answer(&error.response())?;
            Err(error.into())
        }
    }
}
