//! `cargo xtask soak`: the long form of the tests that repeat sessions or cut
//! them, and of those that use a shared folder at random.

use anyhow::Result;
use qvd_tests::programs::BIN_DIR_VARIABLE;

use crate::workspace::Metadata;
use crate::{install, run};

/// Has the soak tests run in full.
const WHOLE: &str = "QVD_SOAK";

/// Installs what is missing, builds the programs as they are shipped and runs
/// the soak tests, one after the other.
pub(crate) fn run() -> Result<()> {
    install::run(false)?;
    let programs = Metadata::read()?.target_directory.join("release");
    run::shown(run::cargo().args(["build", "--workspace", "--bins", "--release", "--locked"]))?;
    let mut tests = run::cargo();
    tests.args(["test", "-p", "qvd-tests", "--test", "e2e", "--locked", "--"]);
    tests.args(["soak::", "client::streams::"]);
    tests.args(["--nocapture", "--test-threads=1"]);
    tests.env(BIN_DIR_VARIABLE, programs).env(WHOLE, "1");
    run::shown(&mut tests)?;
    let mut shares = run::cargo();
    shares.args(["test", "-p", "qvd-share", "--test", "share", "--release"]);
    shares.args(["--locked", "--", "differ::", "fsx::", "ends::", "chaos::"]);
    run::shown(shares.env(WHOLE, "1"))
}
