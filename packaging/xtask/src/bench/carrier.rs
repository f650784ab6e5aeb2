//! The carrier beside plain connections: throughput, what NX waits for, how
//! soon a session is back, memory, and folders.

mod bulk;
mod programs;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

pub(crate) use self::bulk::run_agent_end;
use super::Bench;
use super::figure::{Aim, Figure};
use crate::run;

const GROUP: &str = "carrier";

/// Most of a millisecond that NX may wait for others.
const MOMENT: f64 = 1.0;

/// What a frame of 4 KiB takes on the slow link, in milliseconds.
const FRAME: f64 = 4096.0 * 8.0 / 10_000.0;

/// Measures between two ends of its own, and then with real ones.
pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = between_two_ends(bench)?;
    figures.extend(bulk::measure(bench).await?);
    figures.extend(programs::measure(bench).await?);
    Ok(figures)
}

/// What `net/benches/carrier` has measured, by name.
struct Found(BTreeMap<String, Vec<f64>>);

impl Found {
    fn read(text: &str) -> Result<Self> {
        let mut found = BTreeMap::new();
        for line in text.lines() {
            let (name, values) = line.split_once('\t').context("a line without a name")?;
            let values: Result<Vec<f64>, _> = values.split(' ').map(str::parse).collect();
            found.insert(name.to_owned(), values?);
        }
        Ok(Self(found))
    }

    fn get(&self, name: &str) -> Result<Vec<f64>> {
        let values = self.0.get(name);
        values.cloned().with_context(|| format!("no {name}"))
    }

    /// A figure of the carrier's beside the plain one's.
    fn beside(&self, name: &str, shown: &str, unit: &'static str) -> Result<Figure> {
        let plain = match name.strip_prefix("slow ") {
            Some(rest) => format!("slow plain {rest}"),
            None => format!("plain {name}"),
        };
        let figure = Figure::new(GROUP, shown, unit, self.get(name)?);
        Ok(figure.beside("plain TCP", self.get(&plain)?))
    }

    /// The carrier's part of what the plain one carries, run by run.
    fn part(&self, name: &str, shown: &str) -> Result<Figure> {
        let pairs = self.get(name)?;
        let plain = self.get(&format!("plain {name}"))?;
        let parts = pairs.iter().zip(&plain).map(|(one, other)| one / other);
        Ok(Figure::new(GROUP, shown, "×", parts.collect()))
    }

    fn added(&self, with: &str, without: &str, shown: &str) -> Result<Figure> {
        let (with, without) = (self.get(with)?, self.get(without)?);
        let added = with.iter().zip(&without).map(|(one, other)| one - other);
        Ok(Figure::new(GROUP, shown, "ms", added.collect()))
    }
}

fn between_two_ends(bench: &Bench) -> Result<Vec<Figure>> {
    let runs = bench.runs.to_string();
    let mut command = run::cargo();
    command.args(["bench", "--quiet", "--locked", "-p", "qvd-net"]);
    command.args(["--bench", "carrier", "--", &runs]);
    let output = run::captured(command.stderr(std::process::Stdio::inherit()))?;
    ensure!(output.status.success(), "the carrier's bench has failed");
    let found = Found::read(std::str::from_utf8(&output.stdout)?)?;
    let tunnel = [
        found.part(
            "tunnel up",
            "through TLS and a broker, of a plain tunnel, up",
        )?,
        found.part(
            "tunnel down",
            "through TLS and a broker, of a plain tunnel, down",
        )?,
    ];
    let mut figures = vec![
        found.beside("up", "bulk up", "MB/s")?,
        found.beside("down", "bulk down", "MB/s")?,
        found.beside("tunnel up", "through TLS and a broker, up", "MB/s")?,
        found.beside("tunnel down", "through TLS and a broker, down", "MB/s")?,
    ];
    figures.extend(tunnel.map(|figure| figure.aim(Aim::AtLeast(0.9))));
    figures.extend([
        found.beside("far", "bulk, 100 ms away", "MB/s")?,
        found.beside("fast up", "up to 1 Gbit/s: bulk", "MB/s")?,
        found
            .part("fast up", "up to 1 Gbit/s: of a plain connection")?
            .aim(Aim::AtLeast(0.9)),
        found.beside("slow up", "10 Mbit/s: bulk", "MB/s")?,
        found.beside("trip, median", "NX round trip, median", "ms")?,
        found.beside("trip, p99", "NX round trip, p99", "ms")?,
        found
            .added("trip, p99", "plain trip, p99", "added at idle, p99")?
            .aim(Aim::AtMost(MOMENT)),
        found.added(
            "loaded trip, median",
            "plain trip, median",
            "added by a share at full speed, median",
        )?,
        found
            .added(
                "loaded trip, p99",
                "plain trip, p99",
                "added by a share at full speed, p99",
            )?
            .aim(Aim::AtMost(MOMENT)),
        found.beside(
            "slow trip, median",
            "10 Mbit/s: NX round trip, median",
            "ms",
        )?,
        found
            .added(
                "slow loaded trip, median",
                "slow trip, median",
                "10 Mbit/s: added by a share, median",
            )?
            .aim(Aim::AtMost(FRAME)),
        found
            .added(
                "slow loaded trip, p99",
                "slow trip, p99",
                "10 Mbit/s: added by a share, p99",
            )?
            .aim(Aim::AtMost(FRAME)),
    ]);
    Ok(figures)
}
