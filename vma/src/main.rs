//! The QVD agent in the disk image.

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program"
)]

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use qvd_config::{Program, VmaConfig};
use qvd_vma::cli::{Arguments, Command, Ctl};
use qvd_vma::ctl::{self, Answer, Ask};
use qvd_vma::hooks::Hook;
use qvd_vma::log::{Log, Plan};
use qvd_vma::settings::SessionPaths;
use qvd_vma::{daemon, dialog, privileges, session, settings, status, sys};

/// Exit status of a faulty configuration, as in sysexits.h (EX_CONFIG).
const EX_CONFIG: u8 = 78;

/// How long the running agent may take: longer than any hook may run.
const CTL: Duration = Duration::from_secs(3600);

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let name = arguments.next().unwrap_or_default();
    if Path::new(&name)
        .file_name()
        .is_some_and(|n| n == dialog::NAME)
    {
        return dialog::main(arguments);
    }
    match Arguments::parse().command {
        Command::Daemon { config } => with_config(&config, |loaded| {
            sys::keep_inherited()?;
            privileges::assume(&loaded.config)?;
            let log = Log::begin(&Plan::new(&loaded.config.log))?;
            for warning in &loaded.warnings {
                tracing::warn!("{warning}");
            }
            daemon::main(config.clone(), loaded, log)?;
            Ok(())
        }),
        Command::Status { config, json } => with_config(&config, |loaded| {
            status::print(&loaded.config, json)?;
            Ok(())
        }),
        Command::CheckConfig { sample: true, .. } => {
            for line in qvd_config::sample(Program::Vma) {
                say(format_args!("{line}"));
            }
            ExitCode::SUCCESS
        }
        Command::CheckConfig { file, all, .. } => check_config(&file, all),
        Command::Ctl { config, what } => match settings::load(&config) {
            Ok(loaded) => control(&loaded.config, &what),
            Err(fault) => faulty(&fault.0),
        },
        Command::Session => {
            let run = || {
                sys::keep_inherited()?;
                session::main(Log::begin_session()?)
            };
            report(run())
        }
    }
}

fn with_config(path: &Path, run: impl FnOnce(settings::Loaded) -> anyhow::Result<()>) -> ExitCode {
    match settings::load(path) {
        Ok(loaded) => report(run(loaded)),
        Err(fault) => faulty(&fault.0),
    }
}

fn faulty(lines: &[String]) -> ExitCode {
    for line in lines {
        eprintln!("qvd-vma: {line}");
    }
    ExitCode::from(EX_CONFIG)
}

fn check_config(file: &Path, all: bool) -> ExitCode {
    let loaded = match settings::load(file) {
        Ok(loaded) => loaded,
        Err(fault) => return faulty(&fault.0),
    };
    // The files it names are part of it.
    if let Err(fault) = daemon::Gate::new(&loaded.config) {
        return faulty(&[fault]);
    }
    if all {
        for setting in &loaded.settings {
            say(format_args!("{setting}"));
        }
    }
    for warning in &loaded.warnings {
        say(format_args!("warning: {warning}"));
    }
    say(format_args!("{}: good", file.display()));
    ExitCode::SUCCESS
}

fn control(config: &VmaConfig, what: &Ctl) -> ExitCode {
    let ask = match what {
        Ctl::Suspend => Ask::Suspend,
        Ctl::Stop => Ask::Stop,
        Ctl::Reload => Ask::Reload,
        Ctl::Hook { name } => Ask::Hook { name: name.clone() },
    };
    let socket = SessionPaths::new(config).agent;
    let limit = match &ask {
        // It ends within its own time, and is killed a moment later.
        Ask::Hook { name } => Hook::named(name).map_or(CTL, |hook| hook.limit(config) + CTL),
        _ => CTL,
    };
    match ctl::ask(&socket, &ask, limit, |line| say(format_args!("{line}"))) {
        Ok(Answer::Done) => ExitCode::SUCCESS,
        Ok(Answer::Exit { code: Some(code) }) => ExitCode::from(code),
        Ok(Answer::Failed { reason }) => report(Err(anyhow::anyhow!(reason))),
        Ok(_) => report(Err(anyhow::anyhow!("the agent's answer is not understood"))),
        Err(error) => report(Err(
            anyhow::Error::new(error).context(format!("no agent on {}", socket.display()))
        )),
    }
}

fn report(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Also where the log is a file, the one who started it is told.
            tracing::error!("{error:#}");
            eprintln!("qvd-vma: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A line on standard output. A reader that has seen enough, such as `head`, is
/// no fault.
fn say(line: std::fmt::Arguments<'_>) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{line}");
}
