//! `qvd-nxproxy` beside nxproxy: the same load on the same machine, each in
//! turn.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use qvd_tests::display::{Display, Options, Window};
use qvd_tests::nx::Agent;
use qvd_tests::ports;
use qvd_tests::process::Process;
use rustix::process::Signal;

use super::figure::{Aim, Figure};
use super::{Bench, usage};

/// For anything that is to happen.
const WAIT: Duration = Duration::from_secs(120);

/// What is drawn for processor time and memory: lines, text, copies, shapes and
/// pictures, each so often.
const DRAWN: &[(&str, u32)] = &[
    ("-aa10text", 3000),
    ("-f14text", 3000),
    ("-rect100", 6000),
    ("-seg100", 20_000),
    ("-circle100", 2000),
    ("-copywinwin500", 300),
    ("-putimage100", 600),
    ("-putimage500", 60),
    ("-create", 60),
];

/// Full pictures of one stream, and the pixels across and down of each.
const PICTURES: u32 = 150;
const SIDE: u32 = 500;

/// Round trips of one measurement.
const TRIPS: usize = 4000;

/// Bytes over the slave channel, to the VM and from it.
const UP: usize = 4_000_000;
const DOWN: usize = 30_000_000;

/// Serves slave connections of the measurement: takes so many bytes and says
/// so, or gives so many.
const SERVER: &str = "#!/bin/sh\nread way count\n\
    case $way in up) head -c $count > /dev/null; echo taken;; \
    *) head -c $count /dev/zero;; esac\n";

/// Who draws.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Proxy {
    Own,
    Stock,
}

/// What was measured of one proxy.
#[derive(Default)]
struct Found {
    processor: Vec<f64>,
    peak: Vec<f64>,
    window: Vec<f64>,
    pictures: Vec<f64>,
    trip: Vec<f64>,
    up: Vec<f64>,
    down: Vec<f64>,
}

/// Measures both.
pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    // Without a window manager nxagent takes three quarters of it, in which
    // x11perf has to find room.
    let options = Options {
        width: 1600,
        height: 1200,
        ..Options::default()
    };
    let display = Display::start(&bench.scene, options).await?;
    let (mut own, mut stock) = (Found::default(), Found::default());
    for _ in 0..bench.runs {
        for (proxy, found) in [(Proxy::Own, &mut own), (Proxy::Stock, &mut stock)] {
            session(bench, &display, proxy, found).await?;
            round_trips(bench, &display, proxy, found).await?;
        }
    }
    let limit = |values: &[f64], part: f64| {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0) * part
    };
    let figure = |name: &str, unit, own: Vec<f64>, stock: Vec<f64>| {
        Figure::new("nx", name, unit, own).beside("nxproxy", stock)
    };
    Ok(vec![
        figure("drawing", "CPU s", own.processor, stock.processor.clone())
            .aim(Aim::AtMost(limit(&stock.processor, 0.6))),
        figure("peak memory", "MiB", own.peak, stock.peak.clone())
            .aim(Aim::AtMost(limit(&stock.peak, 0.5))),
        figure(
            "start to first window",
            "s",
            own.window,
            stock.window.clone(),
        )
        .aim(Aim::AtMost(limit(&stock.window, 1.0))),
        figure(
            "stream of pictures",
            "MB/s",
            own.pictures,
            stock.pictures.clone(),
        )
        .aim(Aim::AtLeast(limit(&stock.pictures, 1.5))),
        // nxproxy of the agent's side is part of it with both.
        figure("added per round trip, p99", "µs", own.trip, stock.trip),
        figure("slave channel to the VM", "MB/s", own.up, stock.up),
        figure("slave channel from the VM", "MB/s", own.down, stock.down),
    ])
}

/// Starts one with these words, drawing on `display`.
fn start(bench: &Bench, display: &Display, proxy: Proxy, word: &str) -> Result<Process> {
    let scene = &bench.scene;
    let program = match proxy {
        Proxy::Own => scene.built("qvd-nxproxy")?,
        Proxy::Stock => scene.installed("nxproxy", "nxproxy")?,
    };
    // nxproxy does not read the display's cookie.
    let program = display.dress(program).args(["-S", word]);
    Ok(scene.start(program)?)
}

fn is_session(window: &Window) -> bool {
    window.name == "QVD" && window.width > 100
}

/// A session: its window, what is drawn, pictures, the slave channel.
async fn session(bench: &Bench, display: &Display, proxy: Proxy, found: &mut Found) -> Result<()> {
    let scene = &bench.scene;
    let server = scene.write("slave-server", SERVER)?;
    std::fs::set_permissions(&server, std::fs::Permissions::from_mode(0o755))?;
    let options = ["link=lan", "pack=none"];
    let agent = Agent::start_serving(scene, &options, &server.display().to_string()).await?;
    let place = scene.path(format!("slave-{}.sock", agent.number()));
    let word = format!(
        "nx/nx,connect=unix:{},slave=unix:{}:{}",
        agent.socket().display(),
        place.display(),
        display.number()
    );
    let began = Instant::now();
    let mut process = start(bench, display, proxy, &word)?;
    let screen = display.screen();
    screen.wait_for_window("QVD", WAIT, is_session).await?;
    found.window.push(began.elapsed().as_secs_f64());
    agent.expect_session(0, "Session started", WAIT).await?;

    let before = usage::processor_time_of(process.pid())?;
    for (test, repetitions) in DRAWN {
        draw(bench, &agent, test, *repetitions).await?;
    }
    let spent = usage::processor_time_of(process.pid())?.saturating_sub(before);
    found.processor.push(spent.as_secs_f64());
    let rate = draw(bench, &agent, &format!("-putimage{SIDE}"), PICTURES).await?;
    found.pictures.push(f64::from(SIDE * SIDE * 4) / 1e6 * rate);
    found.peak.push(usage::peak_of(process.pid())? / 1024.0);

    for (way, count, speeds) in [("up", UP, &mut found.up), ("down", DOWN, &mut found.down)] {
        speeds.push(match slave(&place, way, count).await {
            // With nxproxy, nxagent loses its place in what comes this fast now
            // and then, which ends the session: nothing was carried.
            Err(_) if proxy == Proxy::Stock => 0.0,
            speed => speed?,
        });
    }
    // It may have ended with the session.
    let _ = process.signal(Signal::TERM);
    process.wait(WAIT).await?;
    Ok(())
}

/// Has x11perf draw; how often a second, to the last pixel.
async fn draw(bench: &Bench, agent: &Agent, test: &str, repetitions: u32) -> Result<f64> {
    let repetitions = repetitions.to_string();
    let arguments = ["-repeat", "1", "-time", "1", "-reps", &repetitions, test];
    let x11perf = agent.dress(bench.scene.installed("x11perf", "x11-apps")?);
    let mut x11perf = bench.scene.start(x11perf.args(arguments))?;
    x11perf.expect("/sec)", WAIT).await?;
    x11perf.wait(WAIT).await?;
    let said = x11perf.log().text();
    let rate = said.rsplit_once("/sec)").and_then(|(said, _)| {
        let (_, rate) = said.rsplit_once('(')?;
        rate.trim().parse().ok()
    });
    rate.with_context(|| format!("x11perf {test}: {said}"))
}

/// Carries so many bytes over a slave channel; megabytes a second.
async fn slave(place: &Path, way: &str, count: usize) -> Result<f64> {
    let (place, way) = (place.to_owned(), way.to_owned());
    let carried = tokio::task::spawn_blocking(move || -> Result<f64> {
        let mut stream = UnixStream::connect(&place).context("slave channel")?;
        stream.set_read_timeout(Some(WAIT))?;
        let began = Instant::now();
        writeln!(stream, "{way} {count}")?;
        let mut buffer = vec![0; 64 << 10];
        let got = if way == "up" {
            let mut left = count;
            while left > 0 {
                let part = buffer.get(..left.min(buffer.len())).unwrap_or_default();
                stream.write_all(part)?;
                left -= part.len();
            }
            let mut word = [0; 5];
            stream.read_exact(&mut word)?;
            count
        } else {
            let mut got = 0;
            while got < count {
                match stream.read(&mut buffer)? {
                    0 => break,
                    length => got += length,
                }
            }
            got
        };
        ensure!(got == count, "{got} of {count} bytes {way}");
        Ok(count as f64 / 1e6 / began.elapsed().as_secs_f64())
    });
    carried.await?
}

/// The time of a round trip through nxproxy at the agent's side and `proxy`:
/// the 99th of a hundred, in microseconds.
async fn round_trips(
    bench: &Bench,
    display: &Display,
    proxy: Proxy,
    found: &mut Found,
) -> Result<()> {
    let scene = &bench.scene;
    let number = ports::display()?;
    let socket = scene.path(format!("front-{}.sock", number.number()));
    let front = scene
        .installed("nxproxy", "nxproxy")?
        .env("NX_CLIENT", "/bin/true")
        .args([
            "-C",
            &format!(
                "nx/nx,link=lan,listen=unix:{}:{}",
                socket.display(),
                number.number()
            ),
        ]);
    let mut front = scene.start(front)?;
    front.expect("Waiting for connection", WAIT).await?;
    let word = format!(
        "nx/nx,connect=unix:{}:{}",
        socket.display(),
        number.number()
    );
    let mut process = start(bench, display, proxy, &word)?;
    process.expect("Session: Session started", WAIT).await?;
    front.expect("Session: Session started", WAIT).await?;
    let cookie = display.cookie().bytes();
    let number = number.number();
    let trip = tokio::task::spawn_blocking(move || trips(number, &cookie)).await??;
    // What the display takes by itself is not added.
    found.trip.push(trip - direct(display)?);
    for process in [&mut process, &mut front] {
        process.signal(Signal::TERM)?;
        process.wait(WAIT).await?;
    }
    Ok(())
}

/// The same without any proxy.
fn direct(display: &Display) -> Result<f64> {
    trips(display.number(), &display.cookie().bytes())
}

/// Asks display `number` who has the focus, over and over.
fn trips(number: u16, cookie: &[u8]) -> Result<f64> {
    let name = b"MIT-MAGIC-COOKIE-1";
    let mut setup = b"l\0\x0b\0\0\0\x12\0\x10\0\0\0".to_vec();
    setup.extend_from_slice(name);
    setup.extend([0, 0]);
    setup.extend_from_slice(cookie);
    let mut stream = UnixStream::connect(ports::display_socket(number))?;
    stream.set_read_timeout(Some(WAIT))?;
    stream.write_all(&setup)?;
    let mut head = [0; 8];
    stream.read_exact(&mut head)?;
    let [1, _, _, _, _, _, low, high] = head else {
        anyhow::bail!("display :{number} refuses");
    };
    let mut rest = vec![0; usize::from(u16::from_le_bytes([low, high])) * 4];
    stream.read_exact(&mut rest)?;
    let mut times = Vec::with_capacity(TRIPS);
    for _ in 0..TRIPS {
        let began = Instant::now();
        // GetInputFocus.
        stream.write_all(&[43, 0, 1, 0])?;
        let mut reply = [0; 32];
        stream.read_exact(&mut reply)?;
        times.push(began.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    times
        .get(TRIPS * 99 / 100)
        .copied()
        .context("no round trips")
}
