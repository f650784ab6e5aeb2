//! The command line.

use std::path::PathBuf;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::settings;

/// The QVD broker: authenticates users and joins them to their VMs.
#[derive(Debug, Parser)]
#[command(name = "qvd-server", version, arg_required_else_help = true)]
pub struct Arguments {
    /// What is asked for.
    #[command(subcommand)]
    pub command: Command,
}

/// What is asked for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve clients in the foreground, until SIGTERM or SIGINT.
    ///
    /// SIGUSR1 has the counters logged. Inventory and certificate are read
    /// again when their files change.
    Serve {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = settings::DEFAULT_PATH)]
        config: PathBuf,
        /// Make a self-signed certificate where there is none, as with
        /// l7r.ssl.self_signed.
        #[arg(long)]
        self_signed: bool,
    },
    /// Read a password and print its hash for the inventory.
    ///
    /// It is asked for twice on a terminal, otherwise it is the first line of
    /// standard input.
    HashPassword,
    /// Say what is wrong with a configuration file and what it names, if
    /// anything.
    CheckConfig {
        /// The configuration file.
        #[arg(value_name = "FILE", default_value = settings::DEFAULT_PATH)]
        file: PathBuf,
        /// Print a file with every key, its default and what it is for.
        #[arg(long)]
        sample: bool,
    },
}

/// The command line, for whoever describes it.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}
