//! A folder, a mount of it, and what is between them.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use qvd_share::Channel;
use qvd_share::mount::{Mounted, Options, mount, unmount};
use qvd_share::serve::Folder;
use tempfile::TempDir;

/// OpenSSH's server, of the package openssh-sftp-server.
const SFTP_SERVER: &str = "/usr/lib/openssh/sftp-server";

/// Who shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharer {
    Ours,
    ReadOnly,
    OpenSsh,
}

/// Who mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounter {
    Ours,
    Sshfs,
}

/// All four pairings.
pub const PAIRINGS: [(Sharer, Mounter); 4] = [
    (Sharer::Ours, Mounter::Ours),
    (Sharer::Ours, Mounter::Sshfs),
    (Sharer::OpenSsh, Mounter::Ours),
    (Sharer::OpenSsh, Mounter::Sshfs),
];

/// A shared folder and its mount.
pub struct Rig {
    directory: TempDir,
    /// Another descriptor of the channel, to break it.
    pub channel: UnixStream,
    mounted: Option<Mounted>,
    children: Vec<Child>,
    sharer: Option<u32>,
    mounter: Option<u32>,
}

impl Rig {
    /// Mounts a new folder.
    pub fn new(sharer: Sharer, mounter: Mounter) -> Self {
        Self::with(sharer, mounter, Duration::from_secs(30), |_| {})
    }

    /// Mounts a new folder in which `fill` has put something.
    pub fn with(
        sharer: Sharer,
        mounter: Mounter,
        timeout: Duration,
        fill: impl FnOnce(&Path),
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (shared, point) = (
            directory.path().join("shared"),
            directory.path().join("mount"),
        );
        fs::create_dir(&shared).unwrap();
        fs::create_dir(&point).unwrap();
        fill(&shared);
        let (near, far) = UnixStream::pair().unwrap();
        let channel = near.try_clone().unwrap();
        let mut children = Vec::new();
        let mut pids = (None, None);
        match sharer {
            Sharer::OpenSsh => {
                let program = Command::new(SFTP_SERVER);
                let child = with_channel(program, &far, "openssh-sftp-server", &shared);
                pids.0 = Some(child.id());
                children.push(child);
            }
            ours => {
                let folder = Folder::new(&shared).read_only(ours == Sharer::ReadOnly);
                let share = folder.open().unwrap();
                thread::spawn(move || share.serve(Channel::socket(far), &[]));
            }
        }
        let mounted = match mounter {
            Mounter::Ours => {
                let options = Options {
                    timeout,
                    ..Options::default()
                };
                Some(mount(Channel::socket(near), &[], &point, &options).unwrap())
            }
            Mounter::Sshfs => {
                let mut program = Command::new("sshfs");
                program.args(["-f", "-o", "slave", "x:"]).arg(&point);
                let child = with_channel(program, &near, "sshfs", &shared);
                pids.1 = Some(child.id());
                children.push(child);
                None
            }
        };
        let rig = Self {
            directory,
            channel,
            mounted,
            children,
            sharer: pids.0,
            mounter: pids.1,
        };
        rig.await_mount();
        rig
    }

    fn await_mount(&self) {
        let outside = fs::metadata(self.directory.path()).unwrap().dev();
        eventually("mounted", || {
            fs::metadata(self.mount()).is_ok_and(|inside| inside.dev() != outside)
        });
    }

    /// The folder at the sharing end.
    pub fn shared(&self) -> PathBuf {
        self.directory.path().join("shared")
    }

    /// What is not shared.
    pub fn outside(&self) -> &Path {
        self.directory.path()
    }

    /// The mounted folder.
    pub fn mount(&self) -> PathBuf {
        self.directory.path().join("mount")
    }

    /// Something in the mounted folder.
    pub fn at(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.mount().join(name.as_ref())
    }

    /// The process that shares, where it is one.
    pub fn sharer(&self) -> u32 {
        self.sharer.unwrap()
    }

    /// The process that mounts, where it is one.
    pub fn mounter(&self) -> u32 {
        self.mounter.unwrap()
    }

    pub fn mounted(&self) -> &Mounted {
        self.mounted.as_ref().unwrap()
    }

    /// Mounts the folder once more, and gives the mount before.
    pub fn mount_again(&mut self) -> Mounted {
        let (near, far) = UnixStream::pair().unwrap();
        let share = Folder::new(self.shared()).open().unwrap();
        thread::spawn(move || share.serve(Channel::socket(far), &[]));
        let options = Options::default();
        let mounted = mount(Channel::socket(near), &[], &self.mount(), &options).unwrap();
        let before = self.mounted.replace(mounted).unwrap();
        self.await_mount();
        before
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        unmount(&self.mount());
        self.mounted = None;
        let _ = self.channel.shutdown(std::net::Shutdown::Both);
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn with_channel(mut program: Command, end: &UnixStream, package: &str, folder: &Path) -> Child {
    let end = || Stdio::from(OwnedFd::from(end.try_clone().unwrap()));
    program
        .stdin(end())
        .stdout(end())
        .current_dir(folder)
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "{program:?}: {error}: install the package {package}, or run `cargo xtask install`"
            )
        })
}

/// Waits until something is so.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "not {what} in a minute");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// A name of any bytes.
pub fn name(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

/// The names in a folder, in order.
pub fn names(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().as_bytes().to_vec())
        .collect();
    names.sort();
    names
}

/// Bytes that do not compress, the same for a seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
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

/// Whether `cargo xtask soak` runs the tests in their long form.
pub fn is_soak() -> bool {
    std::env::var_os("QVD_SOAK").is_some()
}
