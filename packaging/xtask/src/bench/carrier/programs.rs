//! Real sessions with the carrier, beside the same ones without.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use qvd_rpc::{Call, SessionState};
use qvd_tests::Scene;
use qvd_tests::display::{Display, Options};
use qvd_tests::fault::{Cut, Endpoint, FaultProxy};
use qvd_tests::process::Process;
use qvd_tests::rig::{Agent, Desktop, Inventory, Login, Server, User, Vm, user_name};
use rustix::process::Signal;

use super::super::figure::{Aim, Figure};
use super::super::shares::{over_sshfs, over_the_nx_channel, read_file, write_file};
use super::super::{Bench, usage};
use super::GROUP;
use super::bulk::session_process;

/// For anything that is to happen.
const WAIT: Duration = Duration::from_secs(60);

/// How long a network is away: longer than the quick attempts at first.
const OUTAGE: Duration = Duration::from_secs(3);

/// Bytes of a file in a folder.
const LARGE: usize = 200_000_000;

/// A user with a folder, a broker, a relay before it and a VM.
struct Chain {
    agent: Agent,
    display: Display,
    relay: FaultProxy,
    /// Through the relay, and without it.
    relayed: Login,
    straight: Login,
    _server: Server,
    shared: std::path::PathBuf,
}

impl Chain {
    async fn set(scene: &Scene, name: &str, carrier: bool) -> Result<Self> {
        let shared = scene.path(format!("{name}-shared"));
        let shown = shared.display().to_string();
        let enabled = if carrier { "1" } else { "0" };
        let keys = [
            ("vma.user.shares.path", shown.as_str()),
            ("vma.carrier.enable", enabled),
            ("log.level", "INFO"),
        ];
        let agent = Agent::start(scene, name, &Desktop::Small, &keys).await?;
        let user = User::new(&user_name()?, "bench");
        let inventory = Inventory {
            users: vec![user.clone()],
            vms: vec![Vm::of(&agent, 1, "desktop", &[&user.login])],
        };
        let server = Server::start(scene, &inventory, true, &[("log.level", "INFO")]).await?;
        let upstream = Endpoint::local(server.address().port());
        let relay = FaultProxy::start(&Endpoint::local(0), &upstream)?;
        let straight = Login::at(&server, &user)
            .with("client.reconnect.timeout", "180")
            .with("client.file_sharing.enable", "1")
            .with("internal.client.media", "");
        let mut relayed = straight.clone();
        relayed.port = relay.port().context("a relay without a port")?;
        let options = Options {
            window_manager: true,
            ..Options::default()
        };
        Ok(Self {
            agent,
            display: Display::start(scene, options).await?,
            relay,
            relayed,
            straight,
            _server: server,
            shared,
        })
    }

    async fn connect(&self, scene: &Scene, login: &Login) -> Result<Process> {
        let client = login.start_client(scene, &self.display, &["-q"])?;
        self.agent
            .wait_for_state(SessionState::Connected, WAIT)
            .await?;
        let place = self.shared.join("home");
        let deadline = Instant::now() + WAIT;
        let mounted = |place: &Path| {
            let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
            mounts.contains(&place.display().to_string())
        };
        while !mounted(&place) {
            ensure!(Instant::now() < deadline, "nothing is mounted");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(client)
    }

    async fn leave(&self, mut client: Process) -> Result<()> {
        client.signal(Signal::INT)?;
        client.wait(WAIT).await?;
        self.agent
            .wait_for_state(SessionState::Suspended, WAIT)
            .await?;
        self.agent.call(Call::XStop).await?;
        Ok(self
            .agent
            .wait_for_state(SessionState::Stopped, WAIT)
            .await?)
    }

    /// From the network's return to the session's.
    async fn outage(&self) -> Result<f64> {
        let log = self.agent.daemon_log()?;
        let from = log.position();
        self.relay.refuse(true);
        self.relay.cut(Cut::Reset);
        tokio::time::sleep(OUTAGE).await;
        let begin = Instant::now();
        self.relay.refuse(false);
        let back = |line: &qvd_tests::process::Line| line.text.contains("the client is back");
        log.wait_for(from, "the client is back", WAIT, back).await?;
        Ok(begin.elapsed().as_secs_f64())
    }

    /// Memory of the client and of the session process, in MiB.
    fn memory(&self, client: &Process) -> Result<(f64, f64)> {
        let pid = session_process(&self.agent)?;
        let mib = |pid| Ok::<_, anyhow::Error>(usage::memory_of(pid)?.pss / 1024.0);
        Ok((mib(client.pid())?, mib(pid)?))
    }
}

/// Measures sessions with and without the carrier.
pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let scene = &bench.scene;
    let (mut back, mut up, mut down) = (Vec::new(), Vec::new(), Vec::new());
    let mut with = (Vec::new(), Vec::new());
    let mut without = (Vec::new(), Vec::new());
    let carried = Chain::set(scene, "carried-vm", true).await?;
    for run in 0..bench.runs {
        let client = carried.connect(scene, &carried.relayed).await?;
        back.push(carried.outage().await?);
        let (here, there) = carried.memory(&client)?;
        with.0.push(here);
        with.1.push(there);
        carried.leave(client).await?;
        let client = carried.connect(scene, &carried.straight).await?;
        let (to_client, to_vm) = copies(&carried.shared.join("home"), &scene.home(), run)?;
        up.push(to_client);
        down.push(to_vm);
        carried.leave(client).await?;
    }
    let plain = Chain::set(scene, "plain-vm", false).await?;
    for _ in 0..bench.runs {
        let client = plain.connect(scene, &plain.relayed).await?;
        let (here, there) = plain.memory(&client)?;
        without.0.push(here);
        without.1.push(there);
        plain.leave(client).await?;
    }
    let slow = over_the_nx_channel(bench).await?;
    let (sshfs_up, sshfs_down) = over_sshfs(bench, LARGE)?;
    let channel = |of: fn(&(f64, f64)) -> f64| slow.iter().map(of).collect::<Vec<_>>();
    Ok(vec![
        Figure::new(GROUP, "network back to session back", "s", back).aim(Aim::AtMost(0.3)),
        Figure::new(GROUP, "memory of the client", "MiB PSS", with.0).beside("without", without.0),
        Figure::new(GROUP, "memory of the session process", "MiB PSS", with.1)
            .beside("without", without.1),
        Figure::new(GROUP, "folder: write, to the client", "MB/s", up)
            .beside("NX channel", channel(|speeds| speeds.0))
            .beside("sshfs, direct", sshfs_up),
        Figure::new(GROUP, "folder: read, to the VM", "MB/s", down)
            .beside("NX channel", channel(|speeds| speeds.1))
            .beside("sshfs, direct", sshfs_down),
    ])
}

/// Writes and reads a file each, as on the mount of sshfs: megabytes a second.
fn copies(inside: &Path, home: &Path, run: usize) -> Result<(f64, f64)> {
    let (up, down) = (format!("up{run}"), format!("down{run}"));
    let written = write_file(&inside.join(&up), LARGE)?;
    fs::write(home.join(&down), vec![0x5a; LARGE])?;
    // What is made at the other end is seen there a moment later.
    let deadline = Instant::now() + WAIT;
    while !inside.join(&down).exists() && Instant::now() < deadline {
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let read = read_file(&inside.join(&down), LARGE)?;
    fs::remove_file(home.join(&up))?;
    fs::remove_file(home.join(&down))?;
    Ok((written, read))
}
