//! `cargo xtask check`: the rules of ARCHITECTURE.md that a program can check.

mod edges;
mod sources;

use anyhow::{Result, bail};

use crate::workspace::Metadata;

/// Checks everything and tells all that is wrong, not only the first.
pub(crate) fn run() -> Result<()> {
    let metadata = Metadata::read()?;
    let mut wrong = edges::check(&metadata);
    wrong.extend(sources::check(&metadata)?);
    for line in &wrong {
        eprintln!("error: {line}");
    }
    match wrong.len() {
        0 => {
            println!("the workspace keeps its rules");
            Ok(())
        }
        1 => bail!("1 rule is broken"),
        count => bail!("{count} rules are broken"),
    }
}
