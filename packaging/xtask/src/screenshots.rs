//! `cargo xtask screenshots`: pictures of the window's pages, as the tests meet
//! them on the way to real sessions.

use anyhow::{Context as _, Result};
use qvd_tests::programs::BIN_DIR_VARIABLE;

use crate::workspace::Metadata;
use crate::{install, run};

/// Has the tests write each page here.
const PICTURES_VARIABLE: &str = "QVD_SCREENSHOTS";

/// The programs that take part.
const PROGRAMS: [&str; 6] = [
    "-p",
    "qvd-vma",
    "-p",
    "qvd-server",
    "-p",
    "qvd-client-window",
];

/// Writes `target/screenshots/*.png`.
pub(crate) fn run() -> Result<()> {
    install::run(false)?;
    let target = Metadata::read()?.target_directory;
    let folder = target.join("screenshots");
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let mut build = run::cargo();
    run::shown(build.args(["build", "--bins", "--locked"]).args(PROGRAMS))?;
    let mut tests = run::cargo();
    tests.args(["test", "-p", "qvd-tests", "--test", "e2e", "--locked"]);
    tests.args(["--", "window::"]);
    tests.env(BIN_DIR_VARIABLE, target.join("debug"));
    tests.env(PICTURES_VARIABLE, &folder);
    run::shown(&mut tests)?;
    println!("the pictures are in {}", folder.display());
    Ok(())
}
