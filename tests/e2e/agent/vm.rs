//! A VM's own account files and mounts, in a mount namespace of its own: what
//! an agent with all privileges does there, the machine of the test does not
//! see.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use qvd_tests::process::{Process, Program};
use qvd_tests::rig::{Agent, Desktop};
use qvd_tests::{Error, Scene};

use super::WAIT;

/// What a test ends with: it fails with any error.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Keeps the namespace, in which `/etc` is the VM's own.
pub struct Vm {
    holder: Process,
    etc: PathBuf,
    homes: PathBuf,
}

impl Vm {
    /// Makes a VM; `mounts` are more shell commands that set it up.
    pub async fn make(scene: &Scene, name: &str, mounts: &str) -> Result<Self> {
        assert!(
            rustix::process::geteuid().is_root(),
            "users can be added and drives mounted by root alone: run the tests as root"
        );
        let etc = scene.path(format!("{name}-etc"));
        let homes = scene.path(format!("{name}-homes"));
        run(Command::new("cp").args(["-a", "/etc"]).arg(&etc))?;
        // Another user passes through the test's folder, as through `/run/qvd`.
        fs::set_permissions(scene.directory(), fs::Permissions::from_mode(0o711))?;
        let script = format!(
            "mount --bind '{}' /etc && {{ {mounts}\n}} && echo ready && exec sleep infinity",
            etc.display()
        );
        let unshare = scene.installed("unshare", "util-linux")?.named("namespace");
        let holder = scene.start(
            unshare
                .args(["--mount", "--propagation", "private", "sh", "-ec"])
                .arg(script),
        )?;
        holder.expect("ready", WAIT).await?;
        Ok(Self { holder, etc, homes })
    }

    /// An agent for this VM, not yet started.
    pub fn agent(&self, scene: &Scene, name: &str, keys: &[(&str, &str)]) -> Result<Agent> {
        let homes = self.homes.display().to_string();
        let mut all = vec![
            ("vma.user.home.path", homes.as_str()),
            ("command.groupadd", "/usr/sbin/groupadd"),
            ("command.useradd", "/usr/sbin/useradd"),
        ];
        all.extend(keys);
        let agent = Agent::configure(scene, name, &Desktop::Small, &all)?;
        let session = scene.path(format!("{name}-session"));
        fs::set_permissions(session, fs::Permissions::from_mode(0o755))?;
        Ok(agent)
    }

    /// Starts the agent's daemon in the VM.
    pub async fn start(&self, scene: &Scene, agent: &mut Agent) -> Result<()> {
        let nsenter = scene.installed("nsenter", "util-linux")?;
        agent
            .start_daemon_under(scene, nsenter.arg(self.namespace()).arg("--"))
            .await?;
        Ok(())
    }

    /// Runs a program in the VM.
    pub fn ask(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self.output(program, arguments)?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Runs a program in the VM, which must succeed.
    pub fn must(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let output = self.output(program, arguments)?;
        if output.status.success() {
            return Ok(());
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(Error::Invalid(format!("{program} {arguments:?}: {errors}")).into())
    }

    fn output(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new("nsenter");
        command.arg(self.namespace()).arg("--").arg(program);
        Ok(command.args(arguments).output()?)
    }

    /// The folder of the homes.
    pub fn homes(&self) -> &Path {
        &self.homes
    }

    /// Lines of one of the VM's account files that begin with this name.
    pub fn entries(&self, file: &str, name: &str) -> Result<usize> {
        let text = fs::read_to_string(self.etc.join(file))?;
        let start = format!("{name}:");
        Ok(text.lines().filter(|line| line.starts_with(&start)).count())
    }

    /// The VM as it was when it was made, but for its drives: as after a start
    /// with an image that keeps nothing.
    pub fn reset_accounts(&self) -> Result<()> {
        for file in ["passwd", "shadow", "group", "gshadow", "subuid", "subgid"] {
            fs::copy(Path::new("/etc").join(file), self.etc.join(file))?;
        }
        Ok(())
    }

    fn namespace(&self) -> String {
        format!("--mount=/proc/{}/ns/mnt", self.holder.pid())
    }
}

/// Runs a program, which must succeed.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(Error::Invalid(format!("{command:?}: {errors}")).into())
}

/// A drive over a file; gone with the test.
pub struct Drive {
    device: PathBuf,
}

impl Drive {
    /// An empty drive.
    pub fn empty(scene: &Scene, name: &str, size: u64) -> Result<Self> {
        let file = scene.path(name);
        fs::File::create(&file)?.set_len(size)?;
        let mut losetup = Command::new("losetup");
        losetup.args(["--find", "--show"]).arg(file);
        Ok(Self {
            device: run(&mut losetup)?.into(),
        })
    }

    /// Its file below `/dev`.
    pub fn path(&self) -> String {
        self.device.display().to_string()
    }

    /// A sum over all that it holds.
    pub fn sum(&self) -> Result<String> {
        run(Command::new("sha256sum").arg(&self.device))
    }

    /// Runs a program on it.
    pub fn with(&self, script: &str) -> Result<String> {
        let mut shell = Command::new("sh");
        run(shell.args(["-ec", script, "sh"]).arg(&self.device))
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        let forget = ["-c", "partx --delete \"$1\"; losetup --detach \"$1\"", "sh"];
        let mut shell = Command::new("sh");
        let _ = shell.args(forget).arg(&self.device).output();
    }
}

/// A program of the test's, perhaps none at all.
pub fn script(scene: &Scene, name: &str, text: &str) -> Result<PathBuf> {
    let path = scene.write(name, format!("#!/bin/sh\n{text}\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// `nsenter` and the rest of what a VM is made of.
pub fn require_programs(scene: &Scene) -> Result<()> {
    for (name, package) in [
        ("losetup", "mount"),
        ("sfdisk", "fdisk"),
        ("partx", "util-linux"),
        ("mkfs.ext4", "e2fsprogs"),
        ("useradd", "passwd"),
    ] {
        let _: Program = scene.installed(name, package)?;
    }
    Ok(())
}
