//! `cargo xtask fuzz`: feeds the protocol engines what nobody would send.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::{run, workspace};

/// What libFuzzer wants of the compiler: marks by which it sees where an input
/// leads. All of them are flags of a stable compiler.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 \
     -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Most bytes of an input: each is an act or its arguments.
const LONGEST: u32 = 1024;

/// What to feed and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only this target; by default each has its turn.
    #[arg(value_name = "TARGET")]
    target: Option<String>,
    /// Seconds for each target.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u32,
    /// Keep what was found: the least inputs that reach as much, in fuzz/corpus.
    #[arg(long)]
    keep: bool,
}

/// Builds the targets and runs them. What breaks one is written to
/// `fuzz/regressions`, where the tests find it.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let root = workspace::root();
    let fuzz = root.join("fuzz");
    let output = root.join("target/fuzz");
    // The flags are for the machine's own kind only, so that build scripts,
    // which nobody feeds, go without.
    let host = run::captured(std::process::Command::new("rustc").arg("-vV"))?;
    let host = String::from_utf8_lossy(&host.stdout).into_owned();
    let host = host.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.unwrap_or("x86_64-unknown-linux-gnu");
    let mut build = run::cargo();
    build.args(["build", "--release", "--locked", "--target", host]);
    build.arg("--manifest-path").arg(fuzz.join("Cargo.toml"));
    build.arg("--target-dir").arg(&output);
    run::shown(build.env("RUSTFLAGS", FLAGS))?;

    let mut targets = Vec::new();
    for entry in fs::read_dir(fuzz.join("targets"))? {
        let path = entry?.path();
        targets.extend(
            path.file_stem()
                .map(|name| name.to_string_lossy().into_owned()),
        );
    }
    targets.sort();
    if let Some(wanted) = &arguments.target {
        targets.retain(|target| target == wanted);
        ensure!(!targets.is_empty(), "there is no fuzz target {wanted}");
    }
    for target in targets {
        let program = output.join(host).join("release").join(&target);
        feed(&program, &fuzz, &target, arguments)?;
    }
    Ok(())
}

fn feed(program: &Path, fuzz: &Path, target: &str, arguments: &Arguments) -> Result<()> {
    let corpus = fuzz.join("corpus").join(target);
    let regressions = fuzz.join("regressions").join(target);
    let found = program.with_extension("found");
    for folder in [&corpus, &regressions, &found] {
        fs::create_dir_all(folder)?;
    }
    let mut fuzzer = std::process::Command::new(program);
    fuzzer.arg(format!("-max_len={LONGEST}"));
    fuzzer.arg(format!("-max_total_time={}", arguments.seconds));
    fuzzer.arg(format!("-artifact_prefix={}/", regressions.display()));
    run::shown(fuzzer.args([&found, &corpus]))?;
    if arguments.keep {
        let mut merge = std::process::Command::new(program);
        merge.args(["-merge=1", "-use_counters=0"]);
        run::shown(merge.args([&corpus, &found]))?;
    }
    Ok(())
}
