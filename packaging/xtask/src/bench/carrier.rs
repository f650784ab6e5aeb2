//! The carrier beside plain connections: throughput, what NX waits for, how
//! soon a session is back, memory, and folders.

mod ends;
mod programs;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use qvd_carrier::{Kind, Offer};
use qvd_net::carrier::{Session, Stream};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use self::ends::{Far, MODE_ECHO, MODE_SINK};
use super::Bench;
use super::figure::{Aim, Figure};

const GROUP: &str = "carrier";

/// Bytes of one transfer.
const BULK: u64 = 400_000_000;

/// Bytes of a small message, and of its answer.
const SMALL: usize = 32;

/// Small messages of one measurement.
const ECHOES: usize = 2000;

/// The same over the slow link.
const SLOW_ECHOES: usize = 200;

/// Bits a second of the slow link.
const SLOW: u64 = 10_000_000;

/// Measures between two ends in this program, and then with real ones.
pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = between_two_ends(bench).await?;
    figures.extend(programs::measure(bench).await?);
    Ok(figures)
}

async fn between_two_ends(bench: &Bench) -> Result<Vec<Figure>> {
    let far = Far::start(None)?;
    let slow = Far::start(Some(SLOW))?;
    let (mut plain_bulk, mut bulk) = (Vec::new(), Vec::new());
    let mut plain_idle = Quantiles::default();
    let (mut idle, mut busy) = (Quantiles::default(), Quantiles::default());
    let (mut slow_idle, mut slow_busy) = (Quantiles::default(), Quantiles::default());
    for _ in 0..bench.runs {
        let plain = TcpStream::connect(far.plain).await?;
        plain.set_nodelay(true)?;
        plain_bulk.push(sink(plain, BULK).await?);
        let plain = TcpStream::connect(far.plain).await?;
        plain.set_nodelay(true)?;
        plain_idle.take(echo(plain, ECHOES).await?);

        let near = Near::connect(&far).await?;
        bulk.push(sink(near.open(Kind::Share)?, BULK).await?);
        idle.take(echo(near.open(Kind::Nx)?, ECHOES).await?);
        let load = near.load()?;
        busy.take(echo(near.open(Kind::Nx)?, ECHOES).await?);
        load.abort();

        let near = Near::connect(&slow).await?;
        slow_idle.take(echo(near.open(Kind::Nx)?, SLOW_ECHOES).await?);
        let load = near.load()?;
        slow_busy.take(echo(near.open(Kind::Nx)?, SLOW_ECHOES).await?);
        load.abort();
    }
    let ratio = bulk.iter().zip(&plain_bulk).map(|(one, other)| one / other);
    let ratio = Figure::new(GROUP, "bulk of the plain one's", "×", ratio.collect());
    let frame = qvd_carrier::limits::CHUNK as f64 * 8.0 / SLOW as f64 * 1e3;
    Ok(vec![
        Figure::new(GROUP, "bulk", "MB/s", bulk).beside("plain TCP", plain_bulk),
        ratio.aim(Aim::AtLeast(0.9)),
        Figure::new(GROUP, "NX round trip, median", "ms", idle.median)
            .beside("plain TCP", plain_idle.median),
        Figure::new(GROUP, "NX round trip, p99", "ms", idle.high.clone())
            .beside("plain TCP", plain_idle.high.clone()),
        Figure::new(
            GROUP,
            "NX round trip, p99, a share at full speed",
            "ms",
            busy.high.clone(),
        )
        .beside("plain TCP", plain_idle.high.clone()),
        Figure::new(
            GROUP,
            "added at idle, p99",
            "ms",
            added(&idle.high, &plain_idle.high),
        )
        .aim(Aim::AtMost(1.0)),
        Figure::new(
            GROUP,
            "added by the share, p99",
            "ms",
            added(&busy.high, &plain_idle.high),
        )
        .aim(Aim::AtMost(1.0)),
        Figure::new(
            GROUP,
            "10 Mbit/s: NX round trip, median",
            "ms",
            slow_idle.median.clone(),
        ),
        Figure::new(
            GROUP,
            "10 Mbit/s: added by a share, median",
            "ms",
            added(&slow_busy.median, &slow_idle.median),
        )
        .aim(Aim::AtMost(2.0 * frame)),
    ])
}

fn added(with: &[f64], without: &[f64]) -> Vec<f64> {
    with.iter()
        .zip(without)
        .map(|(with, without)| with - without)
        .collect()
}

/// Of many times, the middle one and one that few are beyond, in milliseconds.
#[derive(Default)]
struct Quantiles {
    median: Vec<f64>,
    high: Vec<f64>,
}

impl Quantiles {
    fn take(&mut self, mut times: Vec<Duration>) {
        times.sort_unstable();
        let at = |part: usize| {
            let time = times.get(times.len() * part / 100).copied();
            time.unwrap_or_default().as_secs_f64() * 1e3
        };
        self.median.push(at(50));
        self.high.push(at(99));
    }
}

/// The near end of a carrier.
struct Near {
    session: Session,
    run: JoinHandle<()>,
}

impl Near {
    async fn connect(far: &Far) -> Result<Self> {
        let connection = TcpStream::connect(far.carrier).await?;
        qvd_net::socket::tune(&connection)?;
        let session = Session::new(qvd_carrier::Role::Client, qvd_carrier::Config::default());
        let running = session.clone();
        let greeting = qvd_carrier::greeting(Offer::New).to_vec();
        let run = tokio::spawn(async move {
            let _ = running.run(connection, greeting).await;
        });
        let mut link = session.link();
        link.wait_for(|link| link.up).await.context("the far end")?;
        Ok(Self { session, run })
    }

    fn open(&self, kind: Kind) -> Result<Stream> {
        Ok(self.session.open(kind, b"")?)
    }

    /// A folder that is written to for ever.
    fn load(&self) -> Result<JoinHandle<Result<f64>>> {
        Ok(tokio::spawn(sink(self.open(Kind::Share)?, u64::MAX)))
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        self.run.abort();
    }
}

/// Sends so many bytes, until the far end says that they are there: megabytes
/// a second.
async fn sink(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: u64) -> Result<f64> {
    let begin = Instant::now();
    stream.write_all(&[MODE_SINK]).await?;
    stream.write_all(&bytes.to_be_bytes()).await?;
    let chunk = vec![0x5a; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let count = usize::try_from(left)
            .unwrap_or(chunk.len())
            .min(chunk.len());
        stream
            .write_all(chunk.get(..count).unwrap_or_default())
            .await?;
        left -= u64::try_from(count)?;
    }
    let mut done = [0];
    stream.read_exact(&mut done).await?;
    Ok(bytes as f64 / 1e6 / begin.elapsed().as_secs_f64())
}

/// How long small messages take to come back.
async fn echo(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    times: usize,
) -> Result<Vec<Duration>> {
    stream.write_all(&[MODE_ECHO]).await?;
    let message = [7; SMALL];
    let mut answer = [0; SMALL];
    let mut taken = Vec::with_capacity(times);
    for _ in 0..times {
        let begin = Instant::now();
        stream.write_all(&message).await?;
        stream.flush().await?;
        stream.read_exact(&mut answer).await?;
        taken.push(begin.elapsed());
        ensure!(answer == message, "another answer");
    }
    Ok(taken)
}
