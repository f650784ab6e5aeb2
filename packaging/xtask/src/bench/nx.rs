//! `qvd-nxproxy` beside nxproxy: the same load on the same machine, each in
//! turn. Both sessions are there at once, so that what else the machine does in
//! a moment falls on both.

mod trips;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use qvd_tests::display::{Display, Options, Window};
use qvd_tests::nx::Agent;
use qvd_tests::process::Process;
use rustix::process::Signal;

use super::figure::{Aim, Figure, Samples};
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

/// How often pictures are streamed, and bytes carried, in turn.
const TURNS: usize = 3;

/// Sessions that are started in a run; the last one of each is drawn in.
const STARTS: usize = 3;

/// Bytes over the slave channel, to the VM and from it.
const UP: usize = 8_000_000;
const DOWN: usize = 30_000_000;

/// Serves slave connections of the measurement: takes so many bytes and says
/// so, or gives so many.
const SERVER: &str = "read way count\n\
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
    picture_work: Vec<f64>,
    trip: Vec<f64>,
    late_trip: Vec<f64>,
    trip_work: Vec<f64>,
    trip_wakes: Vec<f64>,
    up: Vec<f64>,
    down: Vec<f64>,
}

/// The same of both.
#[derive(Default)]
struct Both {
    own: Found,
    stock: Found,
    /// Round trips through programs that do nothing but pass bytes on.
    relayed: Vec<f64>,
    late_relayed: Vec<f64>,
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
    // Neither's window covers the other's.
    let own = Display::start(&bench.scene, options).await?;
    let stock = Display::start(&bench.scene, options).await?;
    let mut found = Both::default();
    for _ in 0..bench.runs {
        sessions(bench, [&own, &stock], &mut found).await?;
        trips::measure(bench, &own, &mut found).await?;
    }
    let Both {
        own,
        stock,
        relayed,
        late_relayed,
    } = found;
    let limit = |values: &[f64], part: f64| {
        let samples = Samples::of(values.to_vec());
        samples.map_or(0.0, |samples| samples.median * part)
    };
    let figure = |name: &str, unit, own: Vec<f64>, stock: Vec<f64>| {
        Figure::new("nx", name, unit, own).beside("nxproxy", stock)
    };
    let most = |part: f64, stock: &[f64]| Aim::AtMost(limit(stock, part));
    let least = |part: f64, stock: &[f64]| Aim::AtLeast(limit(stock, part));
    let aims = [
        most(0.6, &stock.processor),
        most(0.5, &stock.peak),
        most(1.0, &stock.window),
        least(1.5, &stock.pictures),
        least(1.0, &stock.down),
    ];
    let [processor, peak, window, pictures, down] = aims;
    Ok(vec![
        figure("drawing", "CPU s", own.processor, stock.processor).aim(processor),
        figure("peak memory", "MiB", own.peak, stock.peak).aim(peak),
        figure("start to first window", "s", own.window, stock.window).aim(window),
        figure("stream of pictures", "MB/s", own.pictures, stock.pictures).aim(pictures),
        // The rest is x11perf's, nxagent's and the X server's.
        figure(
            "proxy's work on a picture",
            "CPU ms",
            own.picture_work,
            stock.picture_work,
        ),
        // nxproxy of the agent's side is part of it with both.
        figure("added per round trip, median", "µs", own.trip, stock.trip)
            .beside("two plain relays", relayed),
        figure(
            "added per round trip, p99",
            "µs",
            own.late_trip,
            stock.late_trip,
        )
        .beside("two plain relays", late_relayed)
        .aim(Aim::AtMost(50.0)),
        figure(
            "proxy's work on a round trip",
            "CPU µs",
            own.trip_work,
            stock.trip_work,
        ),
        figure(
            "wake-ups per round trip",
            "times",
            own.trip_wakes,
            stock.trip_wakes,
        ),
        figure("slave channel to the VM", "MB/s", own.up, stock.up),
        figure("slave channel from the VM", "MB/s", own.down, stock.down).aim(down),
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

/// A session that is drawn in.
struct Running {
    kind: Proxy,
    agent: Agent,
    proxy: Process,
    /// Where slave connections are taken.
    place: PathBuf,
}

/// Starts a session; it is there once its window is.
async fn open(bench: &Bench, display: &Display, kind: Proxy, found: &mut Found) -> Result<Running> {
    let scene = &bench.scene;
    let server = scene.script("slave-server", SERVER)?;
    let options = ["link=lan", "pack=none"];
    let agent = Agent::start_serving(scene, &options, &server.display().to_string()).await?;
    let place = scene.path(format!("slave-{}.sock", agent.number()));
    let word = format!(
        "nx/nx,connect=unix:{},slave=unix:{}:{}",
        agent.socket().display(),
        place.display(),
        agent.number()
    );
    let began = Instant::now();
    let proxy = start(bench, display, kind, &word)?;
    let screen = display.screen();
    screen.wait_for_window("QVD", WAIT, is_session).await?;
    found.window.push(began.elapsed().as_secs_f64());
    agent.expect_session(0, "Session started", WAIT).await?;
    Ok(Running {
        kind,
        agent,
        proxy,
        place,
    })
}

impl Running {
    async fn close(mut self, display: &Display) -> Result<()> {
        // It may have ended with the session.
        let _ = self.proxy.signal(Signal::TERM);
        self.proxy.wait(WAIT).await?;
        let screen = display.screen();
        Ok(screen.wait_for_no_window("QVD", WAIT, is_session).await?)
    }
}

/// A session of each: its window, what is drawn, pictures, the slave channel.
async fn sessions(bench: &Bench, displays: [&Display; 2], found: &mut Both) -> Result<()> {
    let Both { own, stock, .. } = found;
    let [left, right] = displays;
    for _ in 1..STARTS {
        let one = open(bench, left, Proxy::Own, own).await?;
        one.close(left).await?;
        let other = open(bench, right, Proxy::Stock, stock).await?;
        other.close(right).await?;
    }
    let ours = open(bench, left, Proxy::Own, own).await?;
    let theirs = open(bench, right, Proxy::Stock, stock).await?;
    for (running, found) in [(&ours, &mut *own), (&theirs, &mut *stock)] {
        let pid = running.proxy.pid();
        let before = usage::processor_time_of(pid)?;
        for (test, repetitions) in DRAWN {
            draw(bench, &running.agent, test, *repetitions).await?;
        }
        let spent = usage::processor_time_of(pid)?.saturating_sub(before);
        found.processor.push(spent.as_secs_f64());
    }
    for _ in 0..TURNS {
        for (running, found) in [(&ours, &mut *own), (&theirs, &mut *stock)] {
            let before = usage::running_time_of(running.proxy.pid())?;
            let test = format!("-putimage{SIDE}");
            let (rate, drawn) = draw(bench, &running.agent, &test, PICTURES).await?;
            found.pictures.push(f64::from(SIDE * SIDE * 4) / 1e6 * rate);
            let spent = usage::running_time_of(running.proxy.pid())?.saturating_sub(before);
            found.picture_work.push(spent.as_secs_f64() * 1e3 / drawn);
        }
    }
    for (running, found) in [(&ours, &mut *own), (&theirs, &mut *stock)] {
        found
            .peak
            .push(usage::peak_of(running.proxy.pid())? / 1024.0);
    }
    for (way, count) in [("down", DOWN), ("up", UP)] {
        carried(way, count, (&ours, &mut *own), (&theirs, &mut *stock)).await?;
    }
    ours.close(left).await?;
    theirs.close(right).await
}

/// Carries bytes over the slave channel of each, in turn.
async fn carried(
    way: &str,
    count: usize,
    ours: (&Running, &mut Found),
    theirs: (&Running, &mut Found),
) -> Result<()> {
    let mut all = [ours, theirs];
    for _ in 0..TURNS {
        for (running, found) in &mut all {
            let speeds = match way {
                "up" => &mut found.up,
                _ => &mut found.down,
            };
            match slave(&running.place, way, count).await {
                Ok(speed) => speeds.push(speed),
                // With nxproxy, nxagent loses its place in what comes this fast
                // now and then, which ends the session: nothing was carried.
                Err(_) if running.kind == Proxy::Stock => speeds.push(0.0),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Has x11perf draw; how often a second, to the last pixel, and how often.
async fn draw(bench: &Bench, agent: &Agent, test: &str, repetitions: u32) -> Result<(f64, f64)> {
    let repetitions = repetitions.to_string();
    let arguments = ["-repeat", "1", "-time", "1", "-reps", &repetitions, test];
    let x11perf = agent.dress(bench.scene.installed("x11perf", "x11-apps")?);
    let mut x11perf = bench.scene.start(x11perf.args(arguments))?;
    x11perf.expect("/sec)", WAIT).await?;
    x11perf.wait(WAIT).await?;
    // "    600 reps @   1.0582 msec (   945.0/sec): PutImage 500x500 square"
    let said = x11perf.log().text();
    let line = said.lines().rfind(|line| line.contains("/sec)"));
    let numbers = line.and_then(|line| {
        let (count, rest) = line.split_once(" reps @")?;
        let (_, rate) = rest.split_once('(')?;
        let (rate, _) = rate.split_once("/sec)")?;
        let count = count.split_whitespace().next_back()?;
        Some((rate.trim().parse().ok()?, count.parse().ok()?))
    });
    numbers.with_context(|| format!("x11perf {test}: {said}"))
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
