//! What the distributions' own tools say of the packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::workspace;
use crate::{install, run};

/// How much of the machine is open to a service, by `systemd-analyze
/// security`: 0 is nothing, 10 is everything. More than what is here fails.
const EXPOSURE: [(&str, f64); 2] = [("qvd-vma.service", 9.0), ("qvd-server.service", 1.6)];

/// What rpmlint says and why it is as it is.
const RPM_NOTES: &str = "packaging/rpm/rpmlint.toml";

/// Has every tool judge what it knows.
pub(super) fn run(packages: &[PathBuf]) -> Result<()> {
    install::judges()?;
    let of = |kind: &'static str| {
        let is_kind = move |path: &&PathBuf| path.extension().is_some_and(|end| end == kind);
        packages.iter().filter(is_kind)
    };
    let root = workspace::root();
    let mut lintian = Command::new("lintian");
    lintian
        .args(["--allow-root", "--fail-on", "error", "--suppress-tags"])
        .arg(SUPPRESSED.join(","))
        .args(of("deb"));
    run::shown(&mut lintian).context("lintian")?;
    let mut rpmlint = Command::new("rpmlint");
    rpmlint
        .arg("--config")
        .arg(root.join(RPM_NOTES))
        .args(of("rpm"));
    run::shown(&mut rpmlint).context("rpmlint")?;

    let packaging = root.join("packaging");
    let desktop = packaging.join("desktop");
    let mut validate = Command::new("desktop-file-validate");
    run::shown(validate.arg(desktop.join("qvd-client.desktop")))?;
    let mut validate = Command::new("appstreamcli");
    validate.args(["validate", "--no-net"]);
    run::shown(validate.arg(desktop.join("com.theqvd.client.metainfo.xml")))?;
    for entry in std::fs::read_dir(packaging.join("apparmor"))? {
        // Read and translated, not given to the kernel, which need not have it.
        let mut parser = Command::new("apparmor_parser");
        run::shown(parser.args(["-Q", "-K"]).arg(entry?.path()))?;
    }
    for (unit, most) in EXPOSURE {
        exposure(&packaging.join("systemd").join(unit), most)?;
    }
    Ok(())
}

/// Tags of lintian that do not fit.
const SUPPRESSED: [&str; 5] = [
    // The packages are not Debian's own: there is nobody to file a bug with.
    "initial-upload-closes-no-bugs",
    // The crates' licences are judged by `cargo xtask ci`.
    "copyright-without-copyright-notice",
    // Programs that only the others start have no pages.
    "no-manual-page",
    // Scripts are written out instead of made by debhelper.
    "maintainer-script-calls-systemctl",
    "command-with-path-in-maintainer-script",
];

fn exposure(unit: &Path, most: f64) -> Result<()> {
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["security", "--offline=yes", "--no-pager"]);
    let output = run::captured(analyze.arg(unit))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let level = said
        .lines()
        .find(|line| line.contains("Overall exposure level"))
        .and_then(|line| {
            line.rsplit(": ")
                .next()?
                .split_whitespace()
                .next()?
                .parse::<f64>()
                .ok()
        });
    let level = level.with_context(|| {
        let why = String::from_utf8_lossy(&output.stderr);
        format!(
            "systemd-analyze does not know {}: {said}{why}",
            unit.display()
        )
    })?;
    println!("{}: exposure {level}, at most {most}", unit.display());
    ensure!(level <= most, "{} is more open than it was", unit.display());
    Ok(())
}
