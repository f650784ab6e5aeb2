//! `cargo xtask ci`: what continuous integration runs, and a contributor too.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::{check, deny, run, test};

/// A named step.
type Step = (&'static str, fn() -> Result<()>);

const STEPS: &[Step] = &[
    ("format", || {
        run::shown(run::cargo().args(["fmt", "--all", "--check"]))
    }),
    ("lints", || {
        let lints = ["clippy", "--workspace", "--all-targets", "--locked"];
        run::shown(run::cargo().args(lints).args(["--", "-D", "warnings"]))
    }),
    ("check", check::run),
    ("dependencies", deny::run),
    ("tests", || test::run(None)),
];

/// Runs all steps, also after a failed one, and sums up.
pub(crate) fn run() -> Result<()> {
    let mut summary = Vec::new();
    for (name, step) in STEPS {
        println!("\n=== {name}");
        let start = Instant::now();
        let outcome = step();
        if let Err(error) = &outcome {
            eprintln!("error: {error:#}");
        }
        summary.push((*name, start.elapsed(), outcome.is_ok()));
    }
    println!("\n=== summary");
    for (name, time, passed) in &summary {
        let word = if *passed { "passed" } else { "FAILED" };
        println!("{word}  {name:14} {}", minutes(*time));
    }
    let failed: Vec<_> = summary
        .iter()
        .filter(|step| !step.2)
        .map(|step| step.0)
        .collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn minutes(time: Duration) -> String {
    format!("{}:{:02} min", time.as_secs() / 60, time.as_secs() % 60)
}
