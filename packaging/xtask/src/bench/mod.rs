//! `cargo xtask bench`: figures of the released programs, each beside a plain
//! reference measured in the same run.

mod agent;
mod broker;
mod carrier;
mod carry;
mod client;
mod figure;
mod load;
mod memory;
mod nx;
mod reference;
mod session;
mod shares;
mod tunnel;
mod usage;
mod window;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use qvd_tests::Scene;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub(crate) use self::carrier::run_agent_end;
pub(crate) use self::carry::run_end;
use self::figure::Figure;
use crate::workspace::Metadata;
use crate::{install, run};

/// The crates whose programs are measured.
const PROGRAMS: [&str; 12] = [
    "-p",
    "qvd-vma",
    "-p",
    "qvd-server",
    "-p",
    "qvd-client",
    "-p",
    "qvd-slaveserver",
    "-p",
    "qvd-slaveclient",
    "-p",
    "nx-proxy",
];

/// What to measure and how to tell it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Write JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// How often each figure is measured; the median counts.
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: usize,
    /// Only these groups.
    #[arg(value_name = "GROUP")]
    groups: Vec<Group>,
}

/// Figures that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Group {
    /// The agent: memory, start, calls.
    Agent,
    /// The client: from its start to the session's window.
    Client,
    /// The tunnel through the broker: throughput and processor time.
    Tunnel,
    /// The broker's memory with idle tunnels.
    Memory,
    /// The carrier: throughput, what NX waits for, the way back, folders.
    Carrier,
    /// The native NX engine, beside nxproxy.
    Nx,
    /// The window: start, memory, what it does when nobody does anything.
    Window,
    /// Shared folders: speed directly and over long links, memory.
    Shares,
}

/// What all measurements share.
struct Bench {
    scene: Scene,
    runs: usize,
    /// Where the released programs are.
    programs: PathBuf,
}

/// Builds the programs as they are shipped, measures and tells.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    install::run(true)?;
    // The whole of them takes minutes to build.
    let programs: &[&str] = match arguments.groups.as_slice() {
        [Group::Nx] => &["-p", "nx-proxy"],
        [Group::Window] => &[],
        _ => &PROGRAMS,
    };
    let mut build = run::cargo();
    build.args(["build", "--release", "--locked", "--bins"]);
    build.args(programs);
    if arguments.groups.is_empty() || arguments.groups.contains(&Group::Window) {
        build.args(["-p", "qvd-client-window"]);
    }
    run::shown(&mut build)?;
    let programs = Metadata::read()?.target_directory.join("release");
    allow_many_files()?;

    let scene = Scene::new("bench")?.with_programs(&programs);
    let bench = Bench {
        scene,
        runs: arguments.runs.max(1),
        programs,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("making a runtime")?;
    let figures = runtime.block_on(bench.measure(&arguments.groups))?;
    runtime.block_on(bench.scene.assert_nothing_left())?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        print!("{}", figure::table(&figures));
    }
    Ok(())
}

impl Bench {
    async fn measure(&self, groups: &[Group]) -> Result<Vec<Figure>> {
        let wanted = |group| groups.is_empty() || groups.contains(&group);
        let mut figures = Vec::new();
        if wanted(Group::Agent) {
            figures.extend(agent::measure(self).await?);
            figures.extend(session::measure(self).await?);
        }
        if wanted(Group::Client) {
            figures.extend(client::measure(self).await?);
        }
        if wanted(Group::Tunnel) {
            figures.extend(tunnel::measure(self).await?);
        }
        if wanted(Group::Memory) {
            figures.extend(memory::measure(self).await?);
        }
        if wanted(Group::Carrier) {
            figures.extend(carrier::measure(self).await?);
        }
        if wanted(Group::Nx) {
            figures.extend(nx::measure(self).await?);
        }
        if wanted(Group::Window) {
            figures.extend(window::measure(self).await?);
        }
        if wanted(Group::Shares) {
            figures.extend(shares::measure(self).await?);
        }
        Ok(figures)
    }
}

/// A thousand tunnels are thousands of descriptors, here and in what is
/// measured, which inherits the limit.
fn allow_many_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).context("raising the limit of open files")
}
