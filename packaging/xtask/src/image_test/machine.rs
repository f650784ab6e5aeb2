//! A machine that runs an image: emulated or virtual by qemu, or a container.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use qvd_rpc::{Call, Reply, SessionState};
use qvd_tests::Scene;
use qvd_tests::process::Process;
use qvd_tests::rig::call_at;

use crate::run;

/// How long an image may take to boot. Emulated on a busy machine it takes a
/// minute.
const BOOT: Duration = Duration::from_secs(600);

/// Between two calls to a machine that is booting; nothing tells of its network.
const AGAIN: Duration = Duration::from_millis(500);

/// The display of an image's sessions, as the agent has it by default.
const DISPLAY: u16 = 100;

/// The agent's port for calls.
const RPC: u16 = 3030;

/// The port of sessions.
const SESSION: u16 = 4000 + DISPLAY;

/// A machine, on since it was made.
pub(super) struct Machine {
    pub(super) process: Process,
    pub(super) address: String,
    pub(super) rpc_port: u16,
    pub(super) x_port: u16,
    _network: Option<Network>,
}

impl Machine {
    /// Switches a virtual machine on, with an empty drive for the homes.
    pub(super) fn virtual_machine(scene: &Scene, image: &Path) -> Result<Self> {
        let homes = scene.path("homes.raw");
        std::fs::File::create(&homes)?.set_len(512 * 1024 * 1024)?;
        let (rpc_port, x_port) = (free_port()?, free_port()?);
        let forward = |host: u16, guest: u16| format!("hostfwd=tcp:127.0.0.1:{host}-:{guest}");
        let network = format!(
            "user,model=virtio-net-pci,{},{}",
            forward(rpc_port, RPC),
            forward(x_port, SESSION)
        );
        let qemu = scene
            .installed("qemu-system-x86_64", "qemu-system-x86")?
            .named("machine")
            // Virtual where that works, and else emulated.
            .args([
                "-machine",
                "q35,accel=kvm:tcg",
                "-cpu",
                "max",
                "-smp",
                "2",
                "-m",
                "1024",
            ])
            .args([
                "-display",
                "none",
                "-monitor",
                "none",
                "-serial",
                "stdio",
                "-no-reboot",
            ])
            .arg("-drive")
            .arg(format!("file={},if=virtio,snapshot=on", image.display()))
            .arg("-drive")
            .arg(format!("file={},if=virtio,format=raw", homes.display()))
            .args(["-nic", &network]);
        Ok(Self {
            process: scene.start(qemu)?,
            address: "127.0.0.1".into(),
            rpc_port,
            x_port,
            _network: None,
        })
    }

    /// Starts a container in a network of its own.
    pub(super) fn container(scene: &Scene, archive: &Path) -> Result<Self> {
        let root = scene.path("root");
        std::fs::create_dir(&root)?;
        run::shown(
            Command::new("tar")
                .args([
                    "--extract",
                    "--gzip",
                    "--numeric-owner",
                    "--preserve-permissions",
                ])
                .arg("--file")
                .arg(archive)
                .arg("--directory")
                .arg(&root),
        )?;
        let network = Network::make()?;
        let nspawn = scene
            .installed("systemd-nspawn", "systemd-container")?
            .named("machine")
            .args([
                "--boot",
                "--register=no",
                "--keep-unit",
                "--console=pipe",
                "--quiet",
            ])
            .arg(format!("--machine={}", network.name))
            .arg(format!(
                "--network-namespace-path=/run/netns/{}",
                network.name
            ))
            // As a node does for shared folders.
            .args(["--bind=/dev/fuse", "--property=DeviceAllow=/dev/fuse rwm"])
            .arg("--directory")
            .arg(&root);
        Ok(Self {
            process: scene.start(nspawn)?,
            address: network.inside.clone(),
            rpc_port: RPC,
            x_port: SESSION,
            _network: Some(network),
        })
    }

    pub(super) async fn call(&self, call: Call) -> Result<Reply> {
        let address = format!("{}:{}", self.address, self.rpc_port).parse()?;
        Ok(call_at(address, call).await?)
    }

    /// Waits until the agent answers.
    pub(super) async fn booted(&mut self) -> Result<()> {
        let limit = tokio::time::Instant::now() + BOOT;
        loop {
            let answer = tokio::time::timeout(Duration::from_secs(5), self.call(Call::Ping)).await;
            if matches!(answer, Ok(Ok(Reply::Alive))) {
                return Ok(());
            }
            ensure!(
                self.process.is_running() && tokio::time::Instant::now() < limit,
                "the agent does not answer:\n{}",
                self.process.log().tail()
            );
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Waits until the session is in this state.
    pub(super) async fn becomes(&self, wanted: SessionState, within: Duration) -> Result<()> {
        let limit = tokio::time::Instant::now() + within;
        let mut seen = None;
        loop {
            let timeout = Duration::from_secs(10);
            let state = match self.call(Call::XWait { seen, timeout }).await? {
                Reply::Waited(waited) => waited.state,
                other => anyhow::bail!("x_wait is answered with {other:?}"),
            };
            if state == wanted {
                return Ok(());
            }
            ensure!(
                tokio::time::Instant::now() < limit,
                "the session is {}, not {} within {within:?}",
                state.as_str(),
                wanted.as_str()
            );
            seen = Some(state);
        }
    }
}

/// A port of loopback that is free at the moment.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A network namespace with one way in, as a node makes it.
struct Network {
    name: String,
    inside: String,
}

impl Network {
    fn make() -> Result<Self> {
        let number = std::process::id() % 4096;
        // Of 198.18.0.0/15, which is for tests.
        let (high, low) = (number / 64, (number % 64) * 4);
        let network = Self {
            name: format!("qvdtest{number}"),
            inside: format!("198.18.{high}.{}", low + 2),
        };
        let outside = format!("198.18.{high}.{}", low + 1);
        let name = &network.name;
        let link = format!("qvdt{number}");
        for words in [
            format!("netns add {name}"),
            format!("link add {link} type veth peer name eth0 netns {name}"),
            format!("address add {outside}/30 dev {link}"),
            format!("link set {link} up"),
            format!("-n {name} address add {}/30 dev eth0", network.inside),
            format!("-n {name} link set eth0 up"),
            format!("-n {name} link set lo up"),
            format!("-n {name} route add default via {outside}"),
        ] {
            let output = run::captured(Command::new("ip").args(words.split(' ')))
                .context("making the container's network")?;
            ensure!(
                output.status.success(),
                "ip {words}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(network)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The links go with it.
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.name])
            .status();
    }
}
