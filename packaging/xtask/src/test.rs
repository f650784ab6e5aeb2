//! `cargo xtask test`: everything that can be tested, with the real programs.

use anyhow::Result;
use qvd_tests::programs::BIN_DIR_VARIABLE;

use crate::workspace::Metadata;
use crate::{install, run};

/// Installs what is missing, builds the programs and runs the tests whose name
/// contains `filter`.
pub(crate) fn run(filter: Option<&str>) -> Result<()> {
    install::run(false)?;
    let programs = Metadata::read()?.target_directory.join("debug");
    run::shown(run::cargo().args(["build", "--workspace", "--bins", "--locked"]))?;
    let mut tests = run::cargo();
    tests
        .args(["test", "--workspace", "--locked", "--no-fail-fast"])
        .args(filter);
    tests.env(BIN_DIR_VARIABLE, programs);
    run::shown(&mut tests)
}
