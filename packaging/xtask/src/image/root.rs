//! The root folder of an image, as a tar file.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::recipe::Recipe;
use crate::run;

/// What a root is made of.
pub(super) struct Plan<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) agent: &'a Path,
    pub(super) scripts: &'a [PathBuf],
    pub(super) hooks: &'a [PathBuf],
    pub(super) config: Option<&'a Path>,
    pub(super) mirror: &'a str,
    pub(super) suite: &'a str,
    /// In seconds since 1970.
    pub(super) time: u64,
    pub(super) work: &'a Path,
}

/// What is not needed in an image.
const WITHOUT: [&str; 4] = [
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/info/*",
];

/// Where programs from outside stand in the root while they are run.
const INSIDE: &str = "/run/qvd-image";

/// Makes the root: Debian's packages, the agent's, the recipe's files, the
/// administrator's programs, and at last the recipe's.
pub(super) fn make(plan: &Plan<'_>) -> Result<PathBuf> {
    let tar = plan.work.join("root.tar");
    let scratch = plan.work.join("inside");
    fs::create_dir(&scratch)?;
    let mut command = Command::new("mmdebstrap");
    command
        .env("SOURCE_DATE_EPOCH", plan.time.to_string())
        .env("TMPDIR", plan.work)
        .args(["--mode=root", "--variant=minbase", "--format=tar"])
        .arg(format!("--include={}", plan.recipe.packages.join(",")));
    for rule in WITHOUT {
        command.arg(format!("--dpkgopt={rule}"));
    }
    for step in steps(plan, &scratch)? {
        command.arg(step);
    }
    command.arg(plan.suite).arg(&tar).arg(plan.mirror);
    run::shown(&mut command).with_context(|| {
        format!(
            "making a Debian {} from {} (what mmdebstrap says above is the cause)",
            plan.suite, plan.mirror
        )
    })?;
    Ok(tar)
}

/// The steps after the packages, as mmdebstrap's hooks. They are shell words of
/// ours with names from [`Inside`] only, nothing from outside stands in them.
fn steps(plan: &Plan<'_>, scratch: &Path) -> Result<Vec<OsString>> {
    let mut inside = Inside {
        folder: scratch,
        count: 0,
    };
    let agent = inside.take(plan.agent, "deb")?;
    let mut hooks = Vec::new();
    let mut step = |text: String| hooks.push(OsString::from(format!("--customize-hook={text}")));
    // The packages may have made it a link to a service that does not run here.
    step("rm -f \"$1/etc/resolv.conf\"; cp /etc/resolv.conf \"$1/etc/resolv.conf\"".into());
    step(format!("mkdir -p \"$1{INSIDE}\""));
    step(format!(
        "sync-in {} {INSIDE}",
        quoted(&scratch.display().to_string())
    ));
    step(chroot(&format!(
        "env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {INSIDE}/{agent}"
    )));
    let trees = plan.recipe.files.iter().filter(|files| files.exists());
    for (number, files) in trees.enumerate() {
        // Whoever has checked the sources out, in the image they are root's.
        let tar = plan.work.join(format!("files-{number}.tar"));
        run::shown(
            Command::new("tar")
                .args(["--owner=0", "--group=0", "--numeric-owner", "--mode=go-w"])
                .arg("--create")
                .arg("--file")
                .arg(&tar)
                .arg("--directory")
                .args([files.as_path(), Path::new(".")]),
        )?;
        step(format!("tar-in {} /", quoted(&tar.display().to_string())));
    }
    if let Some(config) = plan.config {
        let config = inside.take(config, "conf")?;
        step(chroot(&format!("cp {INSIDE}/{config} /etc/qvd/vma.conf")));
    }
    for hook in plan.hooks {
        let name = hook.file_name().unwrap_or_default().to_string_lossy();
        let file = inside.take(hook, "hook")?;
        step(chroot(&format!(
            "install -D -m 755 {INSIDE}/{file} {}",
            quoted(&format!("/etc/qvd/hooks/{name}"))
        )));
    }
    for script in plan.scripts.iter().chain(&plan.recipe.setups) {
        let file = inside.take(script, "script")?;
        step(chroot(&format!("{INSIDE}/{file}")));
    }
    step(chroot(&format!("rm -rf {INSIDE}")));
    Ok(hooks)
}

fn chroot(words: &str) -> String {
    format!("chroot \"$1\" {words}")
}

/// One word for the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Files that the steps need within the root.
struct Inside<'a> {
    folder: &'a Path,
    count: u32,
}

impl Inside<'_> {
    /// Copies a file under a name of ours.
    fn take(&mut self, file: &Path, kind: &str) -> Result<String> {
        self.count += 1;
        let name = format!("{}.{kind}", self.count);
        fs::copy(file, self.folder.join(&name)).with_context(|| file.display().to_string())?;
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_outside_are_words_of_their_own() {
        assert_eq!(quoted("/a/it's $(x)"), r"'/a/it'\''s $(x)'");
    }
}
