//! The carrier beside plain connections, its two ends on threads of their own:
//! throughput, directly and through a broker's tunnel, and what NX waits for.
//!
//! `cargo xtask bench carrier` runs this and shows the figures: a line each,
//! its name and what every run has given.

mod ends;
mod tunnel;

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use qvd_carrier::{Config, Kind, Offer, Role};
use qvd_net::carrier::{Session, Stream};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use self::ends::{Far, MODE_ECHO, MODE_SINK, MODE_SOURCE, Rate};
use self::tunnel::Tunnel;

/// Bytes of one transfer.
const BULK: u64 = 400_000_000;

/// Bytes of a small message, and of its answer.
const SMALL: usize = 32;

/// Small messages of one measurement.
const ECHOES: usize = 2000;

/// A slow link, small messages over it, and bytes of a transfer: three seconds.
const SLOW: Rate = Rate {
    bits: 10_000_000,
    packet: 1448,
    queue: 4096,
};
const SLOW_ECHOES: usize = 300;
const SLOW_BULK: u64 = 3_750_000;

/// A link as those of offices are, and bytes of a transfer: three seconds.
const FAST: Rate = Rate {
    bits: 1_000_000_000,
    packet: 16 * 1024,
    queue: 128 * 1024,
};
const FAST_BULK: u64 = 375_000_000;

/// One way of a link that is fast and far away, and bytes of a transfer.
const FAR: Duration = Duration::from_millis(50);
const FAR_BULK: u64 = 150_000_000;

/// What was measured, by name.
#[derive(Default)]
struct Found(Vec<(&'static str, Vec<f64>)>);

impl Found {
    fn add(&mut self, name: &'static str, value: f64) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => self.0.push((name, vec![value])),
        }
    }

    fn tell(&self) -> Result<()> {
        let mut out = std::io::stdout().lock();
        for (name, values) in &self.0 {
            let values: Vec<_> = values.iter().map(|value| format!("{value:.5}")).collect();
            writeln!(out, "{name}\t{}", values.join(" "))?;
        }
        Ok(())
    }
}

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let runs = match words.next() {
        Some(runs) => runs.parse().context("how many runs")?,
        None => 5,
    };
    let only: Vec<String> = words.collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("making a runtime")?;
    runtime.block_on(measure(runs, &only))?.tell()
}

async fn measure(runs: usize, only: &[String]) -> Result<Found> {
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    let mut found = Found::default();
    let far = Far::start()?;
    let tunnel = Tunnel::start(&far)?;
    let slow = far.behind(Some(SLOW), Duration::ZERO)?;
    let fast = far.behind(Some(FAST), Duration::ZERO)?;
    let distant = far.behind(None, FAR)?;
    for _ in 0..runs {
        if wanted("direct") {
            direct(&far, &mut found).await?;
        }
        if wanted("tunnel") {
            through(&tunnel, &mut found).await?;
        }
        if wanted("slow") {
            over_a_slow_link(&slow, &mut found).await?;
        }
        if wanted("fast") {
            let plain = sink(plain(&fast).await?, FAST_BULK).await?;
            found.add("plain fast up", plain);
            let near = Near::connect(&fast).await?;
            found.add("fast up", sink(near.open(Kind::Share)?, FAST_BULK).await?);
        }
        if wanted("distant") {
            let plain = sink(plain(&distant).await?, FAR_BULK).await?;
            found.add("plain far", plain);
            let near = Near::connect(&distant).await?;
            found.add("far", sink(near.open(Kind::Share)?, FAR_BULK).await?);
        }
    }
    Ok(found)
}

async fn plain(far: &Far) -> Result<TcpStream> {
    let plain = TcpStream::connect(far.plain).await?;
    plain.set_nodelay(true)?;
    Ok(plain)
}

async fn direct(far: &Far, found: &mut Found) -> Result<()> {
    found.add("plain up", sink(plain(far).await?, BULK).await?);
    let near = Near::connect(far).await?;
    found.add("up", sink(near.open(Kind::Share)?, BULK).await?);
    found.add("plain down", source(plain(far).await?, BULK).await?);
    found.add("down", source(near.open(Kind::Share)?, BULK).await?);
    let times = Quantiles::of(echo(plain(far).await?, ECHOES).await?);
    found.add("plain trip, median", times.median);
    found.add("plain trip, p99", times.high);
    let times = Quantiles::of(echo(near.open(Kind::Nx)?, ECHOES).await?);
    found.add("trip, median", times.median);
    found.add("trip, p99", times.high);
    let load = near.load()?;
    let times = Quantiles::of(echo(near.open(Kind::Nx)?, ECHOES).await?);
    found.add("loaded trip, median", times.median);
    found.add("loaded trip, p99", times.high);
    load.abort();
    Ok(())
}

async fn through(tunnel: &Tunnel, found: &mut Found) -> Result<()> {
    let stream = tunnel.plain().await?;
    let begin = processor();
    found.add("plain tunnel up", sink(stream, BULK).await?);
    found.add("plain tunnel up, processor", spent(begin));
    let near = Near::on(tunnel.carrier().await?).await?;
    let begin = processor();
    found.add("tunnel up", sink(near.open(Kind::Share)?, BULK).await?);
    found.add("tunnel up, processor", spent(begin));
    let stream = tunnel.plain().await?;
    let begin = processor();
    found.add("plain tunnel down", source(stream, BULK).await?);
    found.add("plain tunnel down, processor", spent(begin));
    let begin = processor();
    found.add("tunnel down", source(near.open(Kind::Share)?, BULK).await?);
    found.add("tunnel down, processor", spent(begin));
    Ok(())
}

/// The processor time of all that takes part.
fn processor() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Seconds of it for a gigabyte.
fn spent(begin: f64) -> f64 {
    (processor() - begin) / (BULK as f64 / 1e9)
}

async fn over_a_slow_link(slow: &Far, found: &mut Found) -> Result<()> {
    let plain_bulk = sink(plain(slow).await?, SLOW_BULK).await?;
    found.add("slow plain up", plain_bulk);
    let near = Near::connect(slow).await?;
    found.add("slow up", sink(near.open(Kind::Share)?, SLOW_BULK).await?);
    let times = Quantiles::of(echo(plain(slow).await?, SLOW_ECHOES).await?);
    found.add("slow plain trip, median", times.median);
    found.add("slow plain trip, p99", times.high);
    let times = Quantiles::of(echo(near.open(Kind::Nx)?, SLOW_ECHOES).await?);
    found.add("slow trip, median", times.median);
    found.add("slow trip, p99", times.high);
    let load = near.load()?;
    let times = Quantiles::of(echo(near.open(Kind::Nx)?, SLOW_ECHOES).await?);
    found.add("slow loaded trip, median", times.median);
    found.add("slow loaded trip, p99", times.high);
    load.abort();
    Ok(())
}

/// Of many times, the middle one and one that few are beyond, in milliseconds.
struct Quantiles {
    median: f64,
    high: f64,
}

impl Quantiles {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |part: usize| {
            let time = times.get(times.len() * part / 100).copied();
            time.unwrap_or_default().as_secs_f64() * 1e3
        };
        Self {
            median: at(50),
            high: at(99),
        }
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
        Self::on(connection).await
    }

    async fn on(connection: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Self> {
        let session = Session::new(Role::Client, Config::default());
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
    stream.flush().await?;
    let mut done = [0];
    stream.read_exact(&mut done).await?;
    Ok(bytes as f64 / 1e6 / begin.elapsed().as_secs_f64())
}

/// Has so many bytes sent: megabytes a second.
async fn source(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: u64) -> Result<f64> {
    let begin = Instant::now();
    stream.write_all(&[MODE_SOURCE]).await?;
    stream.write_all(&bytes.to_be_bytes()).await?;
    stream.flush().await?;
    let mut chunk = vec![0; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let count = stream.read(&mut chunk).await?;
        ensure!(count > 0, "the far end has ended early");
        left = left.saturating_sub(u64::try_from(count)?);
    }
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
