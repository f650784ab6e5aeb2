//! `qvd-client`: the client's window, a view on the client's core.
//!
//! The toolkit has the main thread, the core another one ([`worker`]). What
//! happens there becomes messages, and what the user wants commands.

#![forbid(unsafe_code)]

mod app;
mod conf;
mod folders;
mod instance;
mod login;
mod platform;
mod profiles;
mod quiet;
mod reach;
mod running;
mod session;
mod settings;
mod tray;
mod view;
mod worker;

use std::process::ExitCode;

use clap::Parser as _;
use qvd_client::cli::{Environment, init_log};
use qvd_client::core::{Code, Failure};
use qvd_client::window::Arguments;
use qvd_client_window as ui;
use slint::ComponentHandle as _;
use tokio::sync::mpsc;

use crate::app::App;
use crate::instance::{Call, Claim, Taken};
use crate::worker::{Command, Worker};

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
    let environment = Environment::of_process();
    let place = match claim(&arguments, &environment)? {
        Some(Claim::Other(taken)) => {
            tell(match taken {
                Taken::Up => "the window is open already, and was brought up",
                Taken::Busy => "the window is in use for another session, and was brought up",
            });
            return Ok(());
        }
        Some(Claim::First(place)) => Some(place),
        None => None,
    };
    let (messages, receiver) = mpsc::unbounded_channel();
    let worker = Worker::start(messages)
        .map_err(|e| Failure::new(Code::Internal, "no thread or runtime").because(e))?;
    if let Some(place) = place {
        // Without the thread there is no session either.
        let _ = worker.commands.send(Command::Serve(place));
    }
    platform::set().map_err(no_display)?;
    let app = App::new(arguments, environment, &worker, receiver);
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

/// Whose window this is; `None` where that cannot be found out, which keeps
/// nobody from his session.
fn claim(arguments: &Arguments, environment: &Environment) -> Result<Option<Claim>, Failure> {
    if let Some(profile) = &arguments.profile
        && let Some(home) = &environment.home
        && conf::profile(home, profile).is_none()
    {
        let message = format!(
            "--profile: {profile:?} is no name of a connection: letters, digits, spaces, - and _"
        );
        return Err(Failure::new(Code::Usage, message));
    }
    let profile = arguments.profile.as_deref();
    let file = conf::in_use(arguments, environment, profile);
    let (Some(file), Some(folder)) = (file, instance::folder(environment)) else {
        return Ok(None);
    };
    let call = Call {
        host: arguments.host.clone(),
        port: arguments.port,
        user: arguments.username.clone(),
        vm: arguments.vm_id.clone(),
    };
    match instance::claim(&folder, &instance::display(environment), &file, &call) {
        Ok(claim) => Ok(Some(claim)),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            let message = "the window is open already, and does not answer";
            Err(Failure::new(Code::Internal, message).because(error))
        }
        Err(error) => {
            tracing::warn!("{}: {error}", folder.display());
            Ok(None)
        }
    }
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

fn report(failure: &Failure) {
    tell(&failure.chain());
}

#[allow(clippy::print_stderr, reason = "there is no window to tell it in")]
fn tell(words: &str) {
    eprintln!("qvd-client: {words}");
}
