//! The client on the command line: a view on the [core](crate::core).

mod arguments;
mod ask;
mod certificate;
mod check;
mod conceal;
mod diagnose;
mod environment;
mod icons;
mod kiosk;
mod list;
mod log;
mod login;
mod progress;
mod run;
mod settings;
mod store;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

pub use arguments::{Arguments, Command, ENVIRONMENT, EXAMPLES, FILES, SslErrors, command};
pub use environment::Environment;
pub use log::init as init_log;
pub use run::engine;
pub use settings::{Settings, Task};
pub use store::Store;

use crate::core::{Code, Failure};

/// Runs `qvdclient` and gives its exit status.
#[must_use]
pub fn main() -> ExitCode {
    let line: Vec<_> = std::env::args_os().collect();
    // Secrets that stay where they are, are warned of when they are used.
    let _ = conceal::restart(&line, &command());
    let mut arguments = match Arguments::try_parse_from(line) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Also help and version, which are no failure.
            let _ = error.print();
            return match error.use_stderr() {
                true => ExitCode::from(Code::Usage.exit_status()),
                false => ExitCode::SUCCESS,
            };
        }
    };
    let json = arguments.json;
    let environment = Environment::of_process();
    let settings = conceal::restore(&mut arguments)
        .map_err(|e| {
            let message = "the secrets of the command line are lost";
            Failure::new(Code::Internal, message).because(e)
        })
        .and_then(|()| Settings::gather(arguments, &environment));
    let done = match settings {
        Ok(mut settings) => {
            if settings.task != Task::ShowConfig {
                let no_log = log::init(settings.log_file.as_deref(), settings.log_level);
                settings.warnings.extend(no_log);
            }
            // On every line of the log, as on those of broker and agent.
            let session = tracing::error_span!("session", id = settings.session_id).entered();
            let done = run::run(&settings);
            if let Err(failure) = &done {
                log_failure(failure);
            }
            drop(session);
            done
        }
        Err(failure) => {
            // What is wrong with the settings is logged where nobody says else.
            log::init_default(&environment);
            log_failure(&failure);
            Err(failure)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure, json);
            ExitCode::from(failure.code().exit_status())
        }
    }
}

fn log_failure(failure: &Failure) {
    tracing::error!(code = failure.code().as_str(), "{}", failure.chain());
}

#[allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the user's terminal"
)]
fn report(failure: &Failure, json: bool) {
    if json {
        let error = serde_json::json!({
            "error": { "code": failure.code().as_str(), "message": failure.to_string() }
        });
        println!("{error}");
    }
    eprintln!("qvdclient: {failure}");
}
