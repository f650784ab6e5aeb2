//! The agent at rest and under calls, beside QEMU's guest agent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use qvd_tests::process::Process;
use qvd_tests::rig::{Agent, Desktop};

use super::figure::{Aim, Figure};
use super::{Bench, reference, usage};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);

/// How long calls are counted.
const COUNTING: Duration = Duration::from_secs(1);

/// Time between two tries to connect to what is starting: neither agent says
/// that it is about to listen, and it bounds what the figure can tell.
const RETRY: Duration = Duration::from_micros(100);

/// An agent that answers pings.
trait Pings {
    type Stream: Read + Write;

    fn start(&self, bench: &Bench) -> Result<Process>;
    fn connect(&self) -> std::io::Result<Self::Stream>;
    fn request(&self) -> &'static [u8];
    /// How an answer ends.
    fn end(&self) -> &'static [u8];

    fn ping(&self, stream: &mut Self::Stream) -> Result<()> {
        stream.write_all(self.request()).context("sending a ping")?;
        let mut answer = Vec::new();
        let mut chunk = [0; 1024];
        while !answer.ends_with(self.end()) {
            let count = stream
                .read(&mut chunk)
                .context("awaiting the answer to a ping")?;
            ensure!(
                count > 0,
                "the connection ended before the answer to a ping"
            );
            answer.extend(chunk.iter().take(count));
        }
        Ok(())
    }
}

struct Ours(Agent);

impl Pings for Ours {
    type Stream = TcpStream;

    fn start(&self, bench: &Bench) -> Result<Process> {
        Ok(bench.scene.start(self.0.program(&bench.scene)?)?)
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        let address: SocketAddr = self.0.rpc();
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        Ok(stream)
    }

    fn request(&self) -> &'static [u8] {
        b"GET /vma/ping HTTP/1.1\r\n\r\n"
    }

    fn end(&self) -> &'static [u8] {
        b"1\n\r\n"
    }
}

struct GuestAgent(PathBuf);

impl Pings for GuestAgent {
    type Stream = UnixStream;

    fn start(&self, bench: &Bench) -> Result<Process> {
        // One that was killed leaves its socket and lock behind.
        let _absent = std::fs::remove_file(&self.0);
        let _absent = std::fs::remove_file(bench.scene.path("qemu-ga.pid"));
        reference::guest_agent(&bench.scene, &self.0)
    }

    fn connect(&self) -> std::io::Result<UnixStream> {
        let stream = UnixStream::connect(&self.0)?;
        stream.set_read_timeout(Some(ANSWER))?;
        Ok(stream)
    }

    fn request(&self) -> &'static [u8] {
        b"{\"execute\":\"guest-ping\"}\n"
    }

    fn end(&self) -> &'static [u8] {
        b"{\"return\": {}}\n"
    }
}

#[derive(Default)]
struct Measured {
    start: Vec<f64>,
    rss: Vec<f64>,
    pss: Vec<f64>,
    fresh: Vec<f64>,
    kept: Vec<f64>,
}

/// Measures both.
pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let ours = Ours(Agent::configure(&bench.scene, "vm", &Desktop::Small, &[])?);
    let ours = one(bench, &ours)?;
    let other = one(bench, &GuestAgent(bench.scene.path("qemu-ga.sock")))?;
    let figure = |name: &str, unit, own, aim, reference| {
        Figure::new("agent", name, unit, own)
            .aim(aim)
            .beside("qemu-ga", reference)
    };
    Ok(vec![
        figure(
            "memory at rest",
            "MB RSS",
            ours.rss,
            Aim::AtMost(5.0),
            other.rss,
        ),
        figure(
            "memory at rest",
            "MB PSS",
            ours.pss,
            Aim::AtMost(2.5),
            other.pss,
        ),
        figure(
            "start to first ping",
            "ms",
            ours.start,
            Aim::AtMost(10.0),
            other.start,
        ),
        figure(
            "pings on new connections",
            "/s",
            ours.fresh,
            Aim::AtLeast(5e3),
            other.fresh,
        ),
        figure(
            "pings on one connection",
            "/s",
            ours.kept,
            Aim::AtLeast(3e4),
            other.kept,
        ),
    ])
}

fn one<P: Pings>(bench: &Bench, agent: &P) -> Result<Measured> {
    let mut measured = Measured::default();
    for _ in 0..bench.runs {
        let start = Instant::now();
        let process = agent.start(bench)?;
        let mut stream = first_connection(agent, &process)?;
        agent.ping(&mut stream)?;
        measured.start.push(start.elapsed().as_secs_f64() * 1e3);

        let memory = usage::memory(process.pid())?;
        measured.rss.push(memory.rss / 1024.0);
        measured.pss.push(memory.pss / 1024.0);

        measured.kept.push(rate(|| agent.ping(&mut stream))?);
        drop(stream);
        measured.fresh.push(rate(|| {
            let mut stream = agent.connect().context("connecting for a ping")?;
            agent.ping(&mut stream)
        })?);
    }
    Ok(measured)
}

fn first_connection<P: Pings>(agent: &P, process: &Process) -> Result<P::Stream> {
    let start = Instant::now();
    loop {
        match agent.connect() {
            Ok(stream) => return Ok(stream),
            Err(error) if start.elapsed() > ANSWER => {
                let context = format!("connecting to a new agent{}", process.log().tail());
                return Err(error).context(context);
            }
            Err(_) => std::thread::park_timeout(RETRY),
        }
    }
}

/// How many times a second something can be done, one after the other.
fn rate(mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    let mut count = 0_u32;
    while start.elapsed() < COUNTING {
        call()?;
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}
