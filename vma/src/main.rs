//! The QVD agent in the disk image.

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use qvd_vma::{daemon, dialog, log, session, settings, status, sys};

/// Exit status of a faulty configuration, as in sysexits.h (EX_CONFIG).
const EX_CONFIG: u8 = 78;

/// The QVD agent: runs the desktop session of this virtual machine.
#[derive(Parser)]
#[command(name = "qvd-vma", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent in the foreground.
    ///
    /// A session that runs when the agent ends goes on, and the next agent
    /// takes it over.
    Daemon {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = settings::DEFAULT_PATH)]
        config: PathBuf,
    },
    /// Say what state the session is in.
    Status {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = settings::DEFAULT_PATH)]
        config: PathBuf,
    },
    /// Say what is wrong with a configuration file, if anything.
    CheckConfig {
        /// The configuration file.
        #[arg(value_name = "FILE", default_value = settings::DEFAULT_PATH)]
        file: PathBuf,
    },
    /// Run one session. For the agent itself.
    #[command(hide = true)]
    Session,
}

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
            log::init(&loaded.config)?;
            for warning in &loaded.warnings {
                tracing::warn!("{warning}");
            }
            daemon::main(loaded.config)?;
            Ok(())
        }),
        Command::Status { config } => with_config(&config, |loaded| {
            let waited = status::ask(&loaded.config)?;
            match waited.reason {
                Some(reason) => println!("{}: {reason}", waited.state),
                None => println!("{}", waited.state),
            }
            Ok(())
        }),
        Command::CheckConfig { file } => with_config(&file, |loaded| {
            for warning in &loaded.warnings {
                println!("warning: {warning}");
            }
            println!("{}: good", file.display());
            Ok(())
        }),
        Command::Session => {
            log::init_session();
            report(
                sys::keep_inherited()
                    .map_err(Into::into)
                    .and_then(|()| session::main()),
            )
        }
    }
}

fn with_config(path: &Path, run: impl FnOnce(settings::Loaded) -> anyhow::Result<()>) -> ExitCode {
    match settings::load(path) {
        Ok(loaded) => report(run(loaded)),
        Err(fault) => {
            for line in &fault.0 {
                eprintln!("qvd-vma: {line}");
            }
            ExitCode::from(EX_CONFIG)
        }
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
