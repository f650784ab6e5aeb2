//! A Debian in a folder.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use qvd_tests::Scene;

use crate::run;

/// Keeps services from being started while packages are installed, as in
/// every image that is being made.
const POLICY: &str = "usr/sbin/policy-rc.d";

/// A Debian in a folder of the scene.
pub(super) struct Root(PathBuf);

impl Root {
    /// A minimal one, of the machine's mirror.
    pub(super) fn make(scene: &Scene) -> Result<Self> {
        let path = scene.path("root");
        run::shown(
            Command::new("mmdebstrap")
                .args(["--mode=root", "--variant=minbase", "--format=directory"])
                .arg("--quiet")
                .arg("bookworm")
                .arg(&path),
        )?;
        let root = Self(path);
        fs::copy("/etc/resolv.conf", root.0.join("etc/resolv.conf"))?;
        root.policy(101)?;
        Ok(root)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    fn policy(&self, status: u8) -> Result<()> {
        let path = self.0.join(POLICY);
        fs::write(&path, format!("#!/bin/sh\nexit {status}\n"))?;
        Ok(fs::set_permissions(
            &path,
            fs::Permissions::from_mode(0o755),
        )?)
    }

    /// From now on services are started.
    pub(super) fn goes_live(&self) -> Result<()> {
        Ok(fs::remove_file(self.0.join(POLICY))?)
    }

    /// Copies files whose names end so.
    pub(super) fn take(&self, folder: &Path, end: &str, to: &str) -> Result<()> {
        let to = self.0.join(to);
        fs::create_dir_all(&to)?;
        for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().ends_with(end) {
                fs::copy(entry.path(), to.join(entry.file_name()))?;
            }
        }
        Ok(())
    }

    /// Runs commands in it as root, with the machine's network.
    pub(super) fn run(&self, script: &str) -> Result<()> {
        self.shell(&["--mount", "--pid", "--fork", "--kill-child"], script)
    }

    /// Runs commands in it as root, without a network.
    pub(super) fn alone(&self, script: &str) -> Result<()> {
        let apart = [
            "--mount",
            "--pid",
            "--net",
            "--ipc",
            "--fork",
            "--kill-child",
        ];
        self.shell(&apart, script)
    }

    fn shell(&self, apart: &[&str], script: &str) -> Result<()> {
        println!("{script}");
        let prepare = "mount -t proc proc \"$0/proc\"; mount -t tmpfs tmpfs \"$0/run\"; \
                       ip link set lo up 2> /dev/null; \
                       exec chroot \"$0\" env -i HOME=/root TERM=dumb DEBIAN_FRONTEND=noninteractive \
                       PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -ec \"cd /root; $1\"";
        let mut unshare = Command::new("unshare");
        unshare
            .args(apart)
            .args(["--", "sh", "-c", prepare])
            .arg(&self.0)
            .arg(script);
        let status = unshare.status().context("unshare, of util-linux")?;
        ensure!(status.success(), "the commands failed ({status})");
        Ok(())
    }

    /// Finds nothing that packages of ours have left.
    pub(super) fn is_without_us(&self) -> Result<()> {
        let mut find = Command::new("find");
        find.arg(&self.0)
            .args(["-xdev", "-name", "*qvd*", "-print"]);
        let output = run::captured(&mut find)?;
        let said = String::from_utf8_lossy(&output.stdout);
        let known = [
            "root/",
            "var/lib/dpkg/",
            "var/cache/",
            "var/lib/apt/",
            "later/",
        ];
        let left: Vec<&str> = said
            .lines()
            .filter_map(|line| Path::new(line).strip_prefix(&self.0).ok()?.to_str())
            .filter(|name| !known.iter().any(|known| name.starts_with(known)))
            .collect();
        ensure!(left.is_empty(), "there is left: {left:#?}");
        Ok(())
    }

    pub(super) fn remove(&self) -> Result<()> {
        Ok(fs::remove_dir_all(&self.0)?)
    }
}
