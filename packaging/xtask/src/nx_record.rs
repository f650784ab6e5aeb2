//! `cargo xtask nx-record`: NX sessions of the installed programs, recorded, and
//! decoded by our own.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use qvd_tests::Scene;
use qvd_tests::display::{Display, Options};
use qvd_tests::nx::{self, Recorded};
use rustix::process::Signal;

use crate::workspace::Metadata;
use crate::{install, run};

/// How long the programs of a session may take.
const SESSION: Duration = Duration::from_secs(1800);

/// For a program to end.
const WAIT: Duration = Duration::from_secs(60);

/// What draws in a session unless it is told: every kind of request that
/// x11perf knows, text, windows.
const PROGRAMS: [&str; 3] = [
    "x11perf -repeat 1 -reps 20 -all",
    "xterm -e sh -c 'ls -lR /usr/share/doc | head -2000; sleep 1'",
    "timeout 5 ico -faces -dbl",
];

/// What to record.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where the recordings go: a folder for each link. Without it
    /// target/nx-recordings.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// The link; may be given again. Without it lan, wan, adsl and modem.
    #[arg(long = "link", value_name = "LINK")]
    links: Vec<String>,
    /// A program that draws, a shell's line; may be given again. They run one
    /// after the other.
    #[arg(long = "program", value_name = "LINE")]
    programs: Vec<String>,
}

/// Records, and replays what was recorded.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    install::run(false)?;
    run::shown(run::cargo().args(["build", "--locked", "-p", "nx-proxy", "--bins"]))?;
    let target = Metadata::read()?.target_directory;
    let out = match &arguments.out {
        Some(out) => out.clone(),
        None => target.join("nx-recordings"),
    };
    let links: Vec<&str> = if arguments.links.is_empty() {
        vec!["lan", "wan", "adsl", "modem"]
    } else {
        arguments.links.iter().map(String::as_str).collect()
    };
    let programs: Vec<&str> = if arguments.programs.is_empty() {
        PROGRAMS.to_vec()
    } else {
        arguments.programs.iter().map(String::as_str).collect()
    };
    let mut bad = Vec::new();
    for link in links {
        let folder = out.join(link);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| folder.display().to_string());
            }
            _ => {}
        }
        let scene = Scene::new(&format!("record-{link}"))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(record(&scene, link, &programs, &folder))?;
        let size = |name: &str| std::fs::metadata(folder.join(name)).map_or(0, |meta| meta.len());
        println!(
            "{}: {} bytes of NX for {} bytes of X11",
            folder.display(),
            size("nx.0.t2c"),
            size("x11.0.c2t")
        );
        let mut replay = Command::new(target.join("debug/qvd-nxproxy"));
        replay
            .arg("--replay")
            .arg(&folder)
            .arg("--out")
            .arg(folder.join("decoded"));
        if run::shown(&mut replay).is_err() {
            bad.push(link.to_owned());
            continue;
        }
        let read = |name: &str| std::fs::read(folder.join(name));
        if !is_same(&read("decoded")?, &read("x11.0.c2t")?) {
            println!("{link}: other bytes than nxproxy's");
            bad.push(link.to_owned());
        }
    }
    ensure!(bad.is_empty(), "not decoded as nxproxy does: {bad:?}");
    Ok(())
}

/// As long as what was recorded, if nothing else: the padding differs.
fn is_same(decoded: &[u8], recorded: &[u8]) -> bool {
    decoded.len() == recorded.len()
}

async fn record(
    scene: &Scene,
    link: &str,
    programs: &[&str],
    folder: &std::path::Path,
) -> Result<()> {
    let options = Options {
        window_manager: true,
        ..Options::default()
    };
    let display = Display::start(scene, options).await?;
    let link = format!("link={link}");
    let session = nx::record(scene, &display, &[&link, "geometry=800x600"], folder).await?;
    let Recorded {
        agent, mut proxy, ..
    } = session;
    for line in programs {
        println!("  {line}");
        let program = scene.installed("sh", "dash")?.args(["-c", line]);
        let mut program = scene.start(agent.dress(program))?;
        program.wait(SESSION).await?;
    }
    // nxagent ends in order, and nxproxy with it.
    agent.process().signal(Signal::TERM)?;
    proxy.wait(WAIT).await?;
    Ok(())
}
