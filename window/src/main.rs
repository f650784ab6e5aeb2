//! `qvd-client`: the client's window, a view on the client's core.
//!
//! The toolkit has the main thread, the core another one ([`worker`]). What
//! happens there becomes messages, and what the user wants commands.

#![forbid(unsafe_code)]

mod app;
mod arguments;
mod conf;
mod link;
mod login;
mod session;
mod settings;
mod view;
mod worker;

use std::process::ExitCode;

use clap::Parser as _;
use qvd_client::cli::{Environment, init_log};
use qvd_client::core::{Code, Failure};
use qvd_client_window as ui;
use slint::ComponentHandle as _;
use tokio::sync::mpsc;

use crate::app::App;
use crate::arguments::Arguments;
use crate::worker::Worker;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments.with_link(),
        Err(error) => {
            // Also help and version, which are no failure.
            let _ = error.print();
            return match error.use_stderr() {
                true => ExitCode::from(Code::Usage.exit_status()),
                false => ExitCode::SUCCESS,
            };
        }
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!(code = failure.code().as_str(), "{}", failure.chain());
            report(&failure);
            ExitCode::from(failure.code().exit_status())
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let (messages, receiver) = mpsc::unbounded_channel();
    let worker = Worker::start(messages)
        .map_err(|e| Failure::new(Code::Internal, "no thread or runtime").because(e))?;
    let app = App::new(arguments, Environment::of_process(), &worker, receiver);
    let app = app.map_err(no_display)?;
    if let Some(settings) = app.settings.borrow().as_ref() {
        let _ = init_log(settings.log_file.as_deref(), settings.log_level);
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
    }
    app.window.show().map_err(no_display)?;
    slint::run_event_loop_until_quit().map_err(no_display)?;
    // It may be closed already.
    let _ = app.window.hide();
    worker.end();
    Ok(())
}

fn no_display(error: slint::PlatformError) -> Failure {
    let message = match (std::env::var("WAYLAND_DISPLAY"), std::env::var("DISPLAY")) {
        (Err(_), Err(_)) => {
            "there is no display: DISPLAY and WAYLAND_DISPLAY are not set".to_owned()
        }
        (Ok(name), _) | (_, Ok(name)) => format!("the display {name} cannot be used"),
    };
    Failure::new(Code::Display, message).because(error)
}

#[allow(clippy::print_stderr, reason = "there is no window to tell it in")]
fn report(failure: &Failure) {
    eprintln!("qvd-client: {}", failure.chain());
}
