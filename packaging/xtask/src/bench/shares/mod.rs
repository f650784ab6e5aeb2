//! Shared folders, beside sshfs with sftp-server over the same kind of
//! channel: directly, and over links with a delay.

mod channel;
mod link;
mod rig;
mod work;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use self::rig::{Kind, Rig};
pub(super) use self::work::{read_file, write_file};
use super::Bench;
use super::figure::{Aim, Figure};

/// Bytes of a large file, at most: less over links that carry less.
const LARGE: usize = 200_000_000;

/// Names of a listing.
const NAMES: usize = 5000;

/// How long after its work a share's memory is looked at: most of the time,
/// most shares do nothing.
const REST: Duration = Duration::from_secs(2);

const GROUP: &str = "shares";

/// One thing that is measured on a mount.
struct Work {
    name: &'static str,
    unit: &'static str,
    /// What ours shall be of sshfs's, where more is better.
    more: bool,
    measure: fn(&Rig, &Path, usize) -> Result<f64>,
}

const DIRECT: &[Work] = &[
    Work {
        name: "write",
        unit: "MB/s",
        more: true,
        measure: work::write,
    },
    Work {
        name: "read",
        unit: "MB/s",
        more: true,
        measure: work::read,
    },
    Work {
        name: "create",
        unit: "files/s",
        more: true,
        measure: |r, s, _| work::create(r, s, 1000).map(per_second(1000)),
    },
    Work {
        name: "stat",
        unit: "files/s",
        more: true,
        measure: |r, s, _| work::stat(r, s, 2000).map(per_second(2000)),
    },
    Work {
        name: "delete",
        unit: "files/s",
        more: true,
        measure: |r, s, _| work::delete(r, s, 1000).map(per_second(1000)),
    },
    Work {
        name: "list of 5,000",
        unit: "ms",
        more: false,
        measure: |r, s, _| Ok(work::list(r, s, false)? * 1e3),
    },
    Work {
        name: "ls -l of 5,000",
        unit: "ms",
        more: false,
        measure: |r, s, _| Ok(work::list(r, s, true)? * 1e3),
    },
];

fn per_second(count: usize) -> impl Fn(f64) -> f64 {
    move |seconds| count as f64 / seconds
}

/// Something done to each of many small files, in round trips each.
struct Small {
    name: &'static str,
    aim: f64,
    count: usize,
    measure: fn(&Rig, &Path, usize) -> Result<f64>,
}

const SMALL: &[Small] = &[
    Small {
        name: "create",
        aim: 2.0,
        count: 20,
        measure: work::create,
    },
    Small {
        name: "stat, listed before",
        aim: 0.1,
        count: 200,
        measure: work::stat_listed,
    },
    Small {
        name: "delete",
        aim: 1.1,
        count: 20,
        measure: work::delete,
    },
    Small {
        name: "tar x",
        aim: 3.0,
        count: 20,
        measure: work::tar,
    },
];

/// Megabytes a second each way over the stock NX slave channel, mounted by
/// ourselves.
pub(super) async fn over_the_nx_channel(bench: &Bench) -> Result<Vec<(f64, f64)>> {
    channel::speeds(bench, "qvd").await
}

/// Megabytes a second each way by sshfs with sftp-server on a direct socket.
pub(super) fn over_sshfs(bench: &Bench, bytes: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    let folder = bench.scene.path("shared-by-sshfs");
    fs::create_dir_all(&folder)?;
    let mut speeds = (Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        let rig = Rig::new(bench, Kind::Sshfs, &folder, Duration::ZERO)?;
        speeds.0.push(work::write(&rig, &folder, bytes)?);
        speeds.1.push(work::read(&rig, &folder, bytes)?);
    }
    Ok(speeds)
}

/// Measures directly, with 20 and 100 ms of round trip, and over the stock NX
/// slave channel.
pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let folder = bench.scene.path("shared");
    fs::create_dir_all(&folder)?;
    let mut figures = direct(bench, &folder)?;
    for (ms, large) in [(20, 60_000_000), (100, 30_000_000)] {
        figures.extend(delayed(bench, &folder, ms, large)?);
    }
    figures.push(memory(bench, &folder)?);
    figures.extend(channel::measure(bench).await?);
    Ok(figures)
}

/// Each measurement has a mount of its own: nothing is known or cached.
fn sample(
    bench: &Bench,
    kind: Kind,
    folder: &Path,
    delay: Duration,
    measure: &dyn Fn(&Rig, &Path) -> Result<f64>,
) -> Result<f64> {
    let shared = fresh(folder)?;
    work::prepare(&shared)?;
    let rig = Rig::new(bench, kind, &shared, delay)?;
    let value = measure(&rig, &shared);
    drop(rig);
    fs::remove_dir_all(&shared).context("removing what was shared")?;
    value
}

fn fresh(folder: &Path) -> Result<PathBuf> {
    let shared = folder.join("files");
    if shared.exists() {
        fs::remove_dir_all(&shared)?;
    }
    fs::create_dir(&shared)?;
    Ok(shared)
}

fn direct(bench: &Bench, folder: &Path) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for work in DIRECT {
        let of = |kind| -> Result<Vec<f64>> {
            let measure = |rig: &Rig, shared: &Path| (work.measure)(rig, shared, LARGE);
            let one = |_| sample(bench, kind, folder, Duration::ZERO, &measure);
            (0..bench.runs).map(one).collect()
        };
        let (ours, theirs) = (of(Kind::Ours)?, of(Kind::Sshfs)?);
        let middle = super::figure::Samples::of(theirs.clone()).map(|samples| samples.median);
        let mut figure = Figure::new(GROUP, work.name, work.unit, ours);
        if let Some(middle) = middle {
            figure = figure.aim(if work.more {
                Aim::AtLeast(middle * 2.0)
            } else {
                Aim::AtMost(middle / 2.0)
            });
        }
        figures.push(figure.beside("sshfs", theirs));
    }
    for (name, measure) in [
        (
            "write",
            work::write as fn(&Rig, &Path, usize) -> Result<f64>,
        ),
        ("read", work::read),
    ] {
        let of = |kind| -> Result<Vec<f64>> {
            let cost = |rig: &Rig, shared: &Path| {
                let before = rig.processor_time()?;
                measure(rig, shared, LARGE)?;
                let used = rig.processor_time()?.saturating_sub(before);
                Ok(used.as_secs_f64() / (LARGE as f64 / 1e9))
            };
            let one = |_| sample(bench, kind, folder, Duration::ZERO, &cost);
            (0..bench.runs).map(one).collect()
        };
        let (ours, theirs) = (of(Kind::Ours)?, of(Kind::Sshfs)?);
        figures.push(
            Figure::new(GROUP, format!("{name}, both ends"), "CPU s/GB", ours)
                .beside("sshfs", theirs),
        );
    }
    Ok(figures)
}

fn delayed(bench: &Bench, folder: &Path, ms: u64, large: usize) -> Result<Vec<Figure>> {
    let round_trip = Duration::from_millis(ms);
    let runs = bench.runs.min(3);
    let mut figures = Vec::new();
    let ceiling: Vec<f64> = (0..runs)
        .map(|_| link::ceiling(round_trip, large))
        .collect::<Result<_>>()?;
    for (name, measure) in [
        ("read", work::read as fn(&Rig, &Path, usize) -> Result<f64>),
        ("write", work::write),
    ] {
        let of = |kind| -> Result<Vec<f64>> {
            let measure = |rig: &Rig, shared: &Path| measure(rig, shared, large);
            let one = |_| sample(bench, kind, folder, round_trip, &measure);
            (0..runs).map(one).collect()
        };
        figures.push(
            Figure::new(GROUP, format!("{ms} ms: {name}"), "MB/s", of(Kind::Ours)?)
                .beside("link", ceiling.clone())
                .beside("sshfs", of(Kind::Sshfs)?),
        );
    }
    for small in SMALL {
        let of = |kind| -> Result<Vec<f64>> {
            let measure = |rig: &Rig, shared: &Path| (small.measure)(rig, shared, small.count);
            let trips = |seconds: f64| seconds / round_trip.as_secs_f64() / small.count as f64;
            let one = |_| sample(bench, kind, folder, round_trip, &measure).map(trips);
            (0..runs).map(one).collect()
        };
        figures.push(
            Figure::new(
                GROUP,
                format!("{ms} ms: {}", small.name),
                "round trips",
                of(Kind::Ours)?,
            )
            .aim(Aim::AtMost(small.aim))
            .beside("sshfs", of(Kind::Sshfs)?),
        );
    }
    let of = |kind| -> Result<Vec<f64>> {
        let list = |rig: &Rig, shared: &Path| work::list(rig, shared, false);
        let one = |_| sample(bench, kind, folder, round_trip, &list);
        let trips = |seconds: f64| seconds / round_trip.as_secs_f64();
        (0..runs).map(|n| one(n).map(trips)).collect()
    };
    figures.push(
        Figure::new(
            GROUP,
            format!("{ms} ms: list of 5,000"),
            "round trips",
            of(Kind::Ours)?,
        )
        .aim(Aim::AtMost(3.0))
        .beside("sshfs", of(Kind::Sshfs)?),
    );
    Ok(figures)
}

/// Memory of both ends after some work, and of the VM's end of eight shares.
fn memory(bench: &Bench, folder: &Path) -> Result<Figure> {
    let eight = |kind| -> Result<f64> {
        let mut rigs = Vec::new();
        for n in 0..8 {
            let shared = folder.join(format!("share{n}"));
            fs::create_dir_all(&shared)?;
            work::prepare(&shared)?;
            // sshfs gets one place only: one stands for eight.
            if kind == Kind::Sshfs && n > 0 {
                break;
            }
            let rig = Rig::new(bench, kind, &shared, Duration::ZERO)?;
            work::list(&rig, &shared, true)?;
            rigs.push(rig);
        }
        std::thread::park_timeout(REST);
        let mut total = 0.0;
        for rig in &rigs {
            let (mounting, sharing) = rig.memory()?;
            total += mounting + sharing;
        }
        Ok(total / 1024.0 * 8.0 / rigs.len().max(1) as f64)
    };
    let (ours, theirs) = (eight(Kind::Ours)?, eight(Kind::Sshfs)?);
    Ok(
        Figure::new(GROUP, "8 shares at rest, both ends", "MB PSS", vec![ours])
            .aim(Aim::AtMost(20.0))
            .beside("sshfs, 8 times one", vec![theirs]),
    )
}
