//! The QVD broker (L7R).

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program"
)]

use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use qvd_server::inventory::FileInventory;
use qvd_server::{Error, auth, serve, settings};
use secrecy::SecretString;

/// The QVD broker: authenticates users and joins them to their VMs.
#[derive(Parser)]
#[command(name = "qvd-server", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the broker in the foreground.
    Serve {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = settings::DEFAULT_PATH)]
        config: PathBuf,
    },
    /// Say what is wrong with a configuration file and the inventory it names.
    CheckConfig {
        /// The configuration file.
        #[arg(value_name = "FILE", default_value = settings::DEFAULT_PATH)]
        file: PathBuf,
    },
    /// Hash a password for the inventory.
    ///
    /// The password is asked for on a terminal, and else read as one line from
    /// standard input.
    HashPassword,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Serve { config } => run(&config),
        Command::CheckConfig { file } => check(&file),
        Command::HashPassword => hash(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in error.to_string().lines() {
                eprintln!("qvd-server: {line}");
            }
            ExitCode::from(error.exit_status())
        }
    }
}

fn run(path: &Path) -> Result<(), Error> {
    let loaded = settings::load(path)?;
    settings::init_log(&loaded.config)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    serve::run(&loaded.config).inspect_err(|error| tracing::error!("{error}"))
}

fn check(path: &Path) -> Result<(), Error> {
    let loaded = settings::load(path)?;
    for warning in &loaded.warnings {
        println!("warning: {warning}");
    }
    FileInventory::open(&loaded.config.l7r.inventory)?;
    println!("{}: good", path.display());
    Ok(())
}

fn hash() -> Result<(), Error> {
    let failed = |e: std::io::Error| Error::Hash(e.to_string());
    let password = if std::io::stdin().is_terminal() {
        let password = rpassword::prompt_password("Password: ").map_err(failed)?;
        if rpassword::prompt_password("Again: ").map_err(failed)? != password {
            return Err(Error::Hash("the two are not the same".into()));
        }
        password
    } else {
        let mut line = String::new();
        std::io::stdin()
            .lock()
            .read_line(&mut line)
            .map_err(failed)?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    println!("{}", auth::hash(&SecretString::from(password))?.as_str());
    Ok(())
}
