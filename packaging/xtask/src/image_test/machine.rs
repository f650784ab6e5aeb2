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

/// The drive of the homes in a virtual machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Homes {
    /// A new one.
    Empty,
    /// As the machine before has left it.
    Kept,
    /// None.
    Missing,
}

/// A machine, on since it was made.
pub(crate) struct Machine {
    pub(crate) process: Process,
    pub(crate) address: String,
    pub(crate) rpc_port: u16,
    pub(crate) x_port: u16,
    _network: Option<Network>,
}

impl Machine {
    /// Switches a virtual machine on.
    pub(crate) fn virtual_machine(scene: &Scene, image: &Path, homes: Homes) -> Result<Self> {
        let drive = scene.path("homes.raw");
        if homes == Homes::Empty {
            std::fs::File::create(&drive)?.set_len(512 * 1024 * 1024)?;
        }
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
            .args([
                "-machine",
                accelerated(),
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
            .args(["-nic", &network]);
        let qemu = match homes {
            Homes::Missing => qemu,
            Homes::Empty | Homes::Kept => qemu
                .arg("-drive")
                .arg(format!("file={},if=virtio,format=raw", drive.display())),
        };
        Ok(Self {
            process: scene.start(qemu)?,
            address: "127.0.0.1".into(),
            rpc_port,
            x_port,
            _network: None,
        })
    }

    /// Starts a container out of an archive, in a network of its own.
    pub(crate) fn container(scene: &Scene, archive: &Path) -> Result<Self> {
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
        Self::root(scene, &root, true)
    }

    /// Starts a container in a folder, in a network of its own. Without FUSE
    /// it has no shared folders.
    pub(crate) fn root(scene: &Scene, root: &Path, fuse: bool) -> Result<Self> {
        let network = Network::make()?;
        // As a node does for shared folders.
        let fuse: &[&str] = if fuse {
            &["--bind=/dev/fuse", "--property=DeviceAllow=/dev/fuse rwm"]
        } else {
            &[]
        };
        let nspawn = scene
            .installed("systemd-nspawn", "systemd-container")?
            .named("machine")
            .args([
                "--boot",
                "--register=no",
                "--keep-unit",
                "--console=read-only",
                "--quiet",
            ])
            .arg(format!("--machine={}", network.name))
            .arg(format!(
                "--network-namespace-path=/run/netns/{}",
                network.name
            ))
            .args(fuse)
            .arg("--directory")
            .arg(root);
        Ok(Self {
            process: scene.start(nspawn)?,
            address: network.inside.clone(),
            rpc_port: RPC,
            x_port: SESSION,
            _network: Some(network),
        })
    }

    pub(crate) async fn call(&self, call: Call) -> Result<Reply> {
        let address = format!("{}:{}", self.address, self.rpc_port).parse()?;
        Ok(call_at(address, call).await?)
    }

    /// The first process of a container.
    fn first(&self) -> Option<String> {
        let nspawn = self.process.pid();
        let children = std::fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children"));
        let children = children.ok()?;
        children.split_whitespace().next().map(str::to_owned)
    }

    /// A command in the container, as its root. It has no network but the
    /// container's.
    pub(crate) fn inside(&self, words: &[&str]) -> Result<Command> {
        let first = self.first();
        let first = first.context("the container has no process")?;
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &first, "--all", "--root", "--wd=/", "--"])
            .args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"])
            .args(["DEBIAN_FRONTEND=noninteractive"])
            .args(words);
        Ok(command)
    }

    /// Waits until the agent answers.
    pub(crate) async fn booted(&mut self) -> Result<()> {
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
    pub(crate) async fn becomes(&self, wanted: SessionState, within: Duration) -> Result<()> {
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

impl Drop for Machine {
    fn drop(&mut self) {
        // A container outlives its nspawn that is killed.
        if self._network.is_some()
            && let Some(first) = self.first()
        {
            let _ = Command::new("kill").args(["-KILL", &first]).status();
        }
    }
}

/// Virtual where the processor can, and else emulated. `/dev/kvm` alone says
/// nothing: it opens on machines whose guests then stand still.
fn accelerated() -> &'static str {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut flags = processor.split_whitespace();
    if flags.any(|flag| flag == "vmx" || flag == "svm") {
        "q35,accel=kvm:tcg"
    } else {
        "q35,accel=tcg"
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
