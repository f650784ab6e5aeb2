//! The project's own commands: `cargo xtask <command>`.

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program"
)]

mod bench;
mod check;
mod ci;
mod deny;
mod desktop;
mod fuzz;
mod image;
mod image_test;
mod install;
mod man;
mod nx_record;
mod package;
mod package_test;
mod run;
mod screenshots;
mod soak;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Checks, tests, measures and shows QVD.
#[derive(Parser)]
#[command(name = "cargo xtask", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Refuse dependencies which the architecture does not allow, and sources
    /// which do not keep the workspace's rules.
    Check,
    /// Show a desktop: broker, agent and client on loopback, for you.
    Desktop(desktop::Arguments),
    /// Install the Debian packages which tests and the desktop need.
    Install {
        /// Also what `bench` compares with.
        #[arg(long)]
        bench: bool,
    },
    /// Install what is needed, build the programs, run all tests.
    Test {
        /// Run only the tests whose name contains this.
        filter: Option<String>,
    },
    /// What continuous integration runs: format, lints, check, dependencies,
    /// tests.
    Ci,
    /// Build the programs and pack them, for Debian and as RPMs, into
    /// `target/packages`.
    Package(package::Arguments),
    /// Build the client of the command line without any library, into
    /// `target/static`.
    Static,
    /// Install the packages in a machine of their own, upgrade and remove them.
    PackageTest(package_test::Arguments),
    /// Make a disk image with the agent, for a virtual machine or a container.
    Image(image::Arguments),
    /// Make images, boot them, and have sessions in them.
    ImageTest(image_test::Arguments),
    /// Feed the protocol engines what nobody would send.
    Fuzz(fuzz::Arguments),
    /// Record NX sessions of the installed nxagent and nxproxy, and decode what
    /// was recorded.
    NxRecord(nx_record::Arguments),
    /// Write the manual pages into `target/man/`.
    Man,
    /// Run the tests that repeat sessions, and those that use a shared folder at
    /// random, in full: about three quarters of an hour.
    Soak,
    /// Write pictures of the window's pages into `target/screenshots/`.
    Screenshots,
    /// Measure the programs beside plain references.
    Bench(bench::Arguments),
    /// What `bench` has the client start for nxproxy.
    #[command(hide = true)]
    NxEnd {
        /// nxproxy's options.
        options: String,
    },
    /// What `bench` has the agent start for nxagent.
    #[command(hide = true)]
    NxAgentEnd {
        /// The socket at which it is told what to do.
        control: std::path::PathBuf,
        /// nxagent's arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Check => check::run(),
        Command::Desktop(arguments) => desktop::run(&arguments),
        Command::Install { bench } => install::run(bench),
        Command::Test { filter } => test::run(filter.as_deref()),
        Command::Ci => ci::run(),
        Command::Package(arguments) => package::run(&arguments),
        Command::Static => package::run_static(),
        Command::PackageTest(arguments) => package_test::run(&arguments),
        Command::Image(arguments) => image::run(&arguments),
        Command::ImageTest(arguments) => image_test::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::NxRecord(arguments) => nx_record::run(&arguments),
        Command::Man => man::run(),
        Command::Soak => soak::run(),
        Command::Screenshots => screenshots::run(),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::NxEnd { options } => bench::run_end(&options),
        Command::NxAgentEnd { control, arguments } => bench::run_agent_end(&control, &arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
