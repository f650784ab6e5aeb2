//! Licences, sources, duplicates and known faults of dependencies, by
//! cargo-deny.

use anyhow::{Result, bail};

use crate::run;

/// The release which reads deny.toml.
const VERSION: &str = "0.20.2";

/// What cargo-deny says when it cannot reach its database.
const UNREACHABLE: &str = "failed to fetch advisory database";

/// Checks the dependencies. An unreachable database of advisories is said and
/// passed over; an advisory is a failure.
pub(crate) fn run() -> Result<()> {
    if !is_installed() {
        let install = ["install", "cargo-deny", "--version", VERSION, "--locked"];
        run::shown(run::cargo().args(install).arg("--no-default-features"))?;
    }
    run::shown(run::cargo().args(["deny", "check", "licenses", "bans", "sources"]))?;

    let mut advisories = run::cargo();
    let output = run::captured(advisories.args(["deny", "check", "advisories"]))?;
    let told = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        println!("no advisory against a dependency");
        return Ok(());
    }
    if told.contains(UNREACHABLE) {
        println!("the database of advisories cannot be reached: not checked");
        return Ok(());
    }
    eprint!("{told}");
    bail!("an advisory against a dependency");
}

fn is_installed() -> bool {
    let version = run::captured(run::cargo().args(["deny", "--version"]));
    version.is_ok_and(|output| output.status.success())
}
