//! An image that cannot be made: it is told why, and nothing is left.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use qvd_tests::Scene;

use crate::image::{self, Kind};

/// Space of a folder in which no image finds room.
const LITTLE: &str = "size=64m";

/// Tries without a network and without room.
pub(super) fn test(scene: &Scene, target: &Path) -> Result<()> {
    let agent = image::agent(&target.join("packages"))?;
    let folder = scene.path("nowhere");
    fs::create_dir(&folder)?;

    let mut offline = Command::new("unshare");
    offline.args(["--net", "--"]);
    let said = refused(offline.arg(std::env::current_exe()?), &agent, &folder)?;
    ensure!(said.contains("http"), "the mirror is not named: {said}");
    let left: Vec<_> = fs::read_dir(&folder)?.collect();
    ensure!(left.is_empty(), "left behind: {left:?}");

    let script = format!(
        "mount -t tmpfs -o {LITTLE} none '{}' && \"$@\"",
        folder.display()
    );
    let after = format!(
        "{script}; status=$?; echo \"left: $(ls -A '{}')\"; exit $status",
        folder.display()
    );
    let mut full = Command::new("unshare");
    full.args(["--mount", "--", "sh", "-c", &after, "sh"]);
    let said = refused(full.arg(std::env::current_exe()?), &agent, &folder)?;
    ensure!(said.contains("MiB free"), "the room is not named: {said}");
    Ok(())
}

/// Has `wrapped` make an image, which fails: the last line that it says.
fn refused(wrapped: &mut Command, agent: &Path, folder: &Path) -> Result<String> {
    let out = folder.join(Kind::Lxc.file());
    let wrapped = wrapped.args(["image", "lxc", "--agent"]).arg(agent);
    let Output {
        status,
        stdout,
        stderr,
    } = wrapped.arg("--out").arg(&out).output()?;
    let (said, listed) = (
        String::from_utf8_lossy(&stderr),
        String::from_utf8_lossy(&stdout),
    );
    ensure!(status.code() == Some(1), "it ended with {status}: {said}");
    let left = listed.lines().find_map(|line| line.strip_prefix("left: "));
    ensure!(left.unwrap_or_default().is_empty(), "left behind: {listed}");
    let last = said.lines().rfind(|line| line.starts_with("error: "));
    Ok(last.context("it says no error")?.to_owned())
}
