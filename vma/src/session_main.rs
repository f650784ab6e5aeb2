//! The session process as a program of its own: small, since there is one for
//! each session and it needs no command line, configuration or TLS.

#![forbid(unsafe_code)]
#![allow(clippy::print_stderr, reason = "a command line program")]

use std::path::Path;
use std::process::ExitCode;

use qvd_vma::log::Log;
use qvd_vma::{dialog, session, sys};

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let name = arguments.next().unwrap_or_default();
    let called = Path::new(&name).file_name();
    if called.is_some_and(|called| called == dialog::NAME) {
        return dialog::main(arguments);
    }
    let run = || -> anyhow::Result<()> {
        sys::keep_inherited()?;
        session::main(Log::begin_session()?)
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            eprintln!("qvd-vma-session: {error:#}");
            ExitCode::FAILURE
        }
    }
}
