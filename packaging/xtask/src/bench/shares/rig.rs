//! A shared folder and its mount: ours, or sshfs and sftp-server.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use qvd_tests::programs::built_in;

use super::super::{Bench, usage};
use super::link;

/// The slave channel's key of the benchmark's sessions.
const KEY: &str = "benchmark";

/// How long a mount may take.
const MOUNT: Duration = Duration::from_secs(20);

/// Who mounts and shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `qvd-vma-slaveserver` and `qvd-slaveclient`.
    Ours,
    /// sshfs and OpenSSH's `sftp-server`.
    Sshfs,
}

/// A shared folder and its mount, which end when this is dropped.
pub(super) struct Rig {
    pub(super) mount: PathBuf,
    mounter: Child,
    sharer: Child,
}

impl Rig {
    /// Mounts `shared` over a link with this round trip.
    pub(super) fn new(bench: &Bench, kind: Kind, shared: &Path, delay: Duration) -> Result<Self> {
        let rig = match kind {
            Kind::Ours => Self::ours(bench, shared, delay)?,
            Kind::Sshfs => Self::sshfs(bench, shared, delay)?,
        };
        let outside = fs::metadata(bench.scene.directory())?.dev();
        let deadline = Instant::now() + MOUNT;
        while !fs::metadata(&rig.mount).is_ok_and(|inside| inside.dev() != outside) {
            ensure!(Instant::now() < deadline, "{kind:?} did not mount");
            std::thread::park_timeout(Duration::from_millis(2));
        }
        Ok(rig)
    }

    fn ours(bench: &Bench, shared: &Path, delay: Duration) -> Result<Self> {
        let home = bench.scene.path("share-home");
        fs::create_dir_all(&home)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        for (name, text) in [
            ("slave-port", port.to_string()),
            ("slave-key", KEY.to_owned()),
            ("slave.conf", KEY.to_owned()),
            ("vma.conf", "log.level = WARN\n".to_owned()),
        ] {
            fs::write(home.join(name), text)?;
        }
        let mut sharer = Command::new(built_in(&bench.programs, "qvd-slaveclient")?);
        sharer
            .arg("--folder")
            .arg(&home)
            .args(["--session", "default", "share"])
            .arg(shared);
        sharer.stdout(Stdio::null()).process_group(0);
        let sharer = sharer.spawn().context("qvd-slaveclient")?;
        let (accepted, _) = listener.accept()?;
        accepted.set_nodelay(true)?;
        let end = behind(accepted, delay)?;
        let mut mounter = Command::new(built_in(&bench.programs, "qvd-vma-slaveserver")?);
        mounter
            .env("HOME", &home)
            .env("QVD_VMA_CONFIG", home.join("vma.conf"))
            .env("QVD_SLAVE_KEY_FILE", home.join("slave.conf"));
        let mounter = on(mounter, end)?;
        let name = shared.file_name().context("the shared folder's name")?;
        Ok(Self {
            mount: home.join("Redirected").join(name),
            mounter,
            sharer,
        })
    }

    fn sshfs(bench: &Bench, shared: &Path, delay: Duration) -> Result<Self> {
        let mount = bench.scene.path("share-sshfs");
        fs::create_dir_all(&mount)?;
        let (near, far) = link::delayed(delay)?;
        let mut sharer = Command::new("/usr/lib/openssh/sftp-server");
        sharer.current_dir(shared);
        let sharer = on(sharer, far)?;
        let mut mounter = Command::new("sshfs");
        mounter.args(["-f", "-o", "slave", "x:"]).arg(&mount);
        let mounter = on(mounter, near)?;
        Ok(Self {
            mount,
            mounter,
            sharer,
        })
    }

    /// Processor time of both ends so far.
    pub(super) fn processor_time(&self) -> Result<Duration> {
        Ok(usage::processor_time(self.mounter.id())? + usage::processor_time(self.sharer.id())?)
    }

    /// PSS in KiB of the mounting end with its guard, and of the sharing end.
    pub(super) fn memory(&self) -> Result<(f64, f64)> {
        let mut mounting = usage::memory(self.mounter.id())?.pss;
        let id = self.mounter.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        for child in children.split_whitespace() {
            mounting += usage::memory(child.parse()?)?.pss;
        }
        Ok((mounting, usage::memory(self.sharer.id())?.pss))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // The other ends by itself, as it does when a session ends.
        let _ = self.sharer.kill();
        let _ = self.sharer.wait();
        let deadline = Instant::now() + MOUNT;
        while matches!(self.mounter.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(2));
        }
        let _ = self.mounter.kill();
        let _ = self.mounter.wait();
        let _ = Command::new("umount")
            .args(["-l", "-q"])
            .arg(&self.mount)
            .stderr(Stdio::null())
            .status();
    }
}

/// A socket which is `stream` behind a link.
fn behind(stream: TcpStream, delay: Duration) -> Result<TcpStream> {
    if delay.is_zero() {
        return Ok(stream);
    }
    link::behind(stream, delay)
}

fn on(mut program: Command, end: TcpStream) -> Result<Child> {
    program
        .stdin(OwnedFd::from(end.try_clone()?))
        .stdout(OwnedFd::from(end))
        .process_group(0)
        .spawn()
        .with_context(|| format!("{program:?}"))
}
