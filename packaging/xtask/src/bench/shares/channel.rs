//! A share over the slave channel of nxagent and nxproxy as they are installed,
//! which is slow by itself: ours, and sshfs in the same place.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use qvd_rpc::{Call, SessionState};
use qvd_tests::display::{Display, Options};
use qvd_tests::fault::{Endpoint, FaultProxy};
use qvd_tests::rig::{Agent, Desktop};
use qvd_tests::{nx, ports};
use rustix::process::Signal;

use super::super::Bench;
use super::super::figure::Figure;
use super::GROUP;
use super::work::read_file;

/// For anything that is to happen.
const WAIT: Duration = Duration::from_secs(60);

/// The slave channel's key of the benchmark's session.
const KEY: &str = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bD1fG3hJ5lM7nP9rS1uV3xY5zA7cE9gI1kM3o";

/// Bytes towards the client, and towards the VM, which is slower.
const UP: usize = 8_000_000;
const DOWN: usize = 2_000_000;

/// Megabytes a second each way, with a mount by ourselves and by sshfs.
pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let ours = speeds(bench, "qvd").await?;
    let theirs = speeds(bench, "sshfs").await?;
    let figure = |name: &str, of: fn(&(f64, f64)) -> f64| {
        let values = |speeds: &[(f64, f64)]| speeds.iter().map(of).collect();
        Figure::new(GROUP, name, "MB/s", values(&ours)).beside("sshfs", values(&theirs))
    };
    Ok(vec![
        figure("NX channel: write, to the client", |speeds| speeds.0),
        figure("NX channel: read, to the VM", |speeds| speeds.1),
    ])
}

pub(super) async fn speeds(bench: &Bench, engine: &str) -> Result<Vec<(f64, f64)>> {
    let scene = &bench.scene;
    let shares = scene.path(format!("channel-{engine}"));
    let shown = shares.display().to_string();
    let keys = [
        ("vma.user.shares.path", shown.as_str()),
        ("vma.share.engine", engine),
        ("vma.slave.enable", "1"),
        ("log.level", "INFO"),
    ];
    let name = format!("channel-vm-{engine}");
    let agent = Agent::start(scene, &name, &Desktop::Small, &keys).await?;
    let display = Display::start(scene, Options::default()).await?;
    agent.start_session(&[("qvd.slave.key", KEY)]).await?;
    agent.wait_for_state(SessionState::Listening, WAIT).await?;
    let front = scene.path(format!("channel-{engine}.sock"));
    let _way = FaultProxy::start(&Endpoint::unix(&front), &Endpoint::local(agent.x_port()))?;
    let lease = ports::port()?;
    let option = format!("slave={}", lease.number());
    let mut proxy = nx::start_proxy_with(scene, &display, &front, &[&option])?;
    agent.wait_for_state(SessionState::Connected, WAIT).await?;

    let client = scene.path(format!("channel-client-{engine}"));
    let folder = client.join("files");
    fs::create_dir_all(&folder)?;
    fs::write(client.join("slave-port"), lease.number().to_string())?;
    fs::write(client.join("slave-key"), KEY)?;
    let program = scene.built("qvd-slaveclient")?;
    let program = program
        .args(["--folder".as_ref(), client.as_os_str(), "share".as_ref()])
        .arg(&folder);
    let _sharer = scene.start(program)?;
    let inside = shares.join("files");
    fs::write(folder.join("there"), b"")?;
    let deadline = Instant::now() + WAIT;
    while !inside.join("there").exists() {
        ensure!(Instant::now() < deadline, "{engine} did not mount");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut measured = Vec::new();
    for n in 0..bench.runs.min(3) {
        measured.push(once(&inside, &folder, n)?);
    }
    proxy.signal(Signal::TERM)?;
    proxy.wait(WAIT).await?;
    agent.call(Call::XStop).await?;
    agent.wait_for_state(SessionState::Stopped, WAIT).await?;
    Ok(measured)
}

/// Writes and reads a file each: megabytes a second.
fn once(inside: &Path, folder: &Path, number: usize) -> Result<(f64, f64)> {
    let begun = Instant::now();
    let mut file = File::create(inside.join(format!("up{number}")))?;
    file.write_all(&noise(UP))?;
    drop(file);
    let up = UP as f64 / 1e6 / begun.elapsed().as_secs_f64();
    let name = format!("down{number}");
    fs::write(folder.join(&name), noise(DOWN))?;
    // What is made at the other end is seen there a moment later.
    let deadline = Instant::now() + WAIT;
    while !inside.join(&name).exists() && Instant::now() < deadline {
        std::thread::park_timeout(Duration::from_millis(50));
    }
    Ok((up, read_file(&inside.join(&name), DOWN)?))
}

/// Bytes that do not compress: nxproxy would.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
