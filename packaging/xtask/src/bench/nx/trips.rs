//! Round trips through either proxy: what they take, and what they cost.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use qvd_tests::display::Display;
use qvd_tests::nx::Front;
use qvd_tests::ports;
use qvd_tests::process::Process;
use rustix::process::Signal;

use super::super::{Bench, usage};
use super::{Both, Proxy, WAIT, start};

/// Round trips of one measurement, and how many of them are made of one kind
/// before it is the next one's turn: what disturbs the machine disturbs all.
const TRIPS: usize = 4000;
const TURN: usize = 50;

/// nxproxy at the agent's side, and one of the two at the display's.
struct Through {
    front: Front,
    proxy: Process,
}

/// Measures both, and the display without them.
pub(super) async fn measure(bench: &Bench, display: &Display, found: &mut Both) -> Result<()> {
    let mut own = through(bench, display, Proxy::Own).await?;
    let mut stock = through(bench, display, Proxy::Stock).await?;
    let own_way = ports::display_socket(own.front.number());
    let stock_way = ports::display_socket(stock.front.number());
    let straight = ports::display_socket(display.number());
    // As many programs in between as there are with proxies.
    let relayed = relay(bench, "near", relay(bench, "far", straight.clone())?)?;
    let ways = [straight, relayed, own_way, stock_way];
    let cookie = display.cookie().bytes();
    let before = [cost(&own.proxy)?, cost(&stock.proxy)?];
    let times = tokio::task::spawn_blocking(move || trips(&ways, &cookie)).await??;
    let [direct, relayed, times @ ..] = times;
    let after = [cost(&own.proxy)?, cost(&stock.proxy)?];
    found.relayed.push(at(&relayed, 50)? - at(&direct, 50)?);
    found
        .late_relayed
        .push(at(&relayed, 99)? - at(&direct, 99)?);
    let all = [&mut found.own, &mut found.stock].into_iter();
    for ((found, times), (before, after)) in all.zip(times).zip(before.into_iter().zip(after)) {
        // What the display takes by itself is not added.
        found.trip.push(at(&times, 50)? - at(&direct, 50)?);
        found.late_trip.push(at(&times, 99)? - at(&direct, 99)?);
        let each = |before: f64, after: f64| (after - before) / TRIPS as f64;
        found.trip_work.push(each(before.0, after.0));
        found.trip_wakes.push(each(before.1, after.1));
    }
    for process in [
        &mut own.proxy,
        &mut own.front.process,
        &mut stock.proxy,
        &mut stock.front.process,
    ] {
        process.signal(Signal::TERM)?;
        process.wait(WAIT).await?;
    }
    Ok(())
}

async fn through(bench: &Bench, display: &Display, proxy: Proxy) -> Result<Through> {
    let front = Front::start(&bench.scene, "link=lan").await?;
    let word = format!(
        "nx/nx,connect=unix:{}:{}",
        front.socket().display(),
        front.number()
    );
    let proxy = start(bench, display, proxy, &word)?;
    for process in [&proxy, &front.process] {
        process.expect("Session: Session started", WAIT).await?;
    }
    Ok(Through { front, proxy })
}

/// What a process has cost so far: processor time in microseconds, and how often
/// it was woken up.
fn cost(process: &Process) -> Result<(f64, f64)> {
    let time = usage::running_time_of(process.pid())?;
    Ok((time.as_secs_f64() * 1e6, usage::wakes_of(process.pid())?))
}

/// A program in between that does nothing but pass bytes on: its socket.
fn relay(bench: &Bench, name: &str, to: PathBuf) -> Result<PathBuf> {
    let socket = bench.scene.path(format!("relay-{name}.sock"));
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket)?;
    std::thread::spawn(move || -> std::io::Result<()> {
        let (near, _) = listener.accept()?;
        let far = UnixStream::connect(to)?;
        let (from, back) = (far.try_clone()?, near.try_clone()?);
        std::thread::spawn(move || pass_on(from, back));
        pass_on(near, far)
    });
    Ok(socket)
}

fn pass_on(mut from: UnixStream, mut to: UnixStream) -> std::io::Result<()> {
    let mut bytes = [0; 4096];
    loop {
        let count = from.read(&mut bytes)?;
        if count == 0 {
            return to.shutdown(Shutdown::Both);
        }
        to.write_all(bytes.get(..count).unwrap_or_default())?;
    }
}

/// The times in microseconds, in order, of so many round trips each way.
fn trips(ways: &[PathBuf; 4], cookie: &[u8]) -> Result<[Vec<f64>; 4]> {
    let mut times = [const { Vec::new() }; 4];
    let mut streams = Vec::new();
    for way in ways {
        streams.push(connect(way, cookie)?);
    }
    for _ in 0..TRIPS / TURN {
        for (stream, times) in streams.iter_mut().zip(&mut times) {
            for _ in 0..TURN {
                let began = Instant::now();
                // GetInputFocus.
                stream.write_all(&[43, 0, 1, 0])?;
                let mut reply = [0; 32];
                stream.read_exact(&mut reply)?;
                times.push(began.elapsed().as_secs_f64() * 1e6);
            }
        }
    }
    for times in &mut times {
        times.sort_by(f64::total_cmp);
    }
    Ok(times)
}

/// So many of a hundred take no longer.
fn at(times: &[f64], part: usize) -> Result<f64> {
    let time = times.get(times.len() * part / 100).copied();
    time.context("no round trips")
}

/// An X client of the display behind this socket.
fn connect(way: &Path, cookie: &[u8]) -> Result<UnixStream> {
    let name = b"MIT-MAGIC-COOKIE-1";
    let mut setup = b"l\0\x0b\0\0\0\x12\0\x10\0\0\0".to_vec();
    setup.extend_from_slice(name);
    setup.extend([0, 0]);
    setup.extend_from_slice(cookie);
    let mut stream = UnixStream::connect(way)?;
    stream.set_read_timeout(Some(WAIT))?;
    stream.write_all(&setup)?;
    let mut head = [0; 8];
    stream.read_exact(&mut head)?;
    let [1, _, _, _, _, _, low, high] = head else {
        anyhow::bail!("the display at {} refuses", way.display());
    };
    let mut rest = vec![0; usize::from(u16::from_le_bytes([low, high])) * 4];
    stream.read_exact(&mut rest)?;
    Ok(stream)
}
