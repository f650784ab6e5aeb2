//! What the client spends on the bytes of a session, plain and under TLS, beside
//! socat between the same two ends.
//!
//! Only nxproxy is replaced: an end that passes bulk takes its place, as nxproxy
//! itself would take all of the processor for decoding.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use anyhow::{Context as _, Result};
use qvd_tests::display::Display;
use rustix::process::Signal;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::broker::Broker;
use super::figure::{Aim, Figure};
use super::load::{self, Way};
use super::reference::{self, Certificate};
use super::{Bench, usage};

/// Bytes of one measurement.
const BYTES: u64 = 500_000_000;

/// Bytes that pass before anything is measured.
const WARM_UP: u64 = 50_000_000;

/// For anything that is to happen.
const WAIT: Duration = Duration::from_secs(40);

/// What the end in nxproxy's place begins with: it is the client's that speaks
/// first, and nobody takes a connection for a session before.
pub(super) const GREETING: &[u8; 8] = b"NXPROXY-";

/// Half of what the reference's client spends, in seconds a gigabyte.
const PLAIN: f64 = 0.95;
const TLS: f64 = 1.65;

/// Processor seconds a gigabyte, to the session and from it.
#[derive(Debug, Default)]
struct Cost {
    up: Vec<f64>,
    down: Vec<f64>,
}

/// Measures both ways, plain and with TLS.
pub(super) async fn measure(bench: &Bench, display: &Display) -> Result<Vec<Figure>> {
    let certificate = Certificate::make(&bench.scene).await?;
    let mut figures = Vec::new();
    for tls in [false, true] {
        let own = client(bench, display, tls).await?;
        let other = socat(bench, tls, &certificate).await?;
        let (word, limit) = match tls {
            false => ("plain", PLAIN),
            true => ("TLS", TLS),
        };
        for (way, own, other) in [("up", own.up, other.up), ("down", own.down, other.down)] {
            figures.push(
                Figure::new("client", format!("carrying {word} {way}"), "CPU s/GB", own)
                    .aim(Aim::AtMost(limit))
                    .beside("socat", other),
            );
        }
    }
    Ok(figures)
}

/// The client, with a broker, and a session that is this program.
async fn client(bench: &Bench, display: &Display, tls: bool) -> Result<Cost> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let broker = Broker::start(bench, listener.local_addr()?, tls).await?;
    let end = end_program(bench)?;
    let login = broker.login().with("client.nx.engine", "nxproxy");
    let login = login.with("command.nxproxy", &end);
    let login = login.with("client.slave.enable", "0");
    let mut client = login.start_client(&bench.scene, display, &["--vm-id", "vm1", "-q"])?;
    let (mut stream, _) = timeout(WAIT, listener.accept()).await??;
    let mut word = [0; GREETING.len()];
    timeout(WAIT, stream.read_exact(&mut word)).await??;
    let cost = carried(bench, stream.into_std()?, client.pid())?;
    client.signal(Signal::INT)?;
    client.wait(WAIT).await?;
    Ok(cost)
}

/// socat in the client's place.
async fn socat(bench: &Bench, tls: bool, certificate: &Certificate) -> Result<Cost> {
    let scene = &bench.scene;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let front = match tls {
        true => Some(reference::tls_end(scene, address, certificate).await?),
        false => None,
    };
    let other = match &front {
        Some((port, _)) => format!("OPENSSL:127.0.0.1:{},verify=0,nodelay", port.number()),
        None => format!("TCP:{address},nodelay"),
    };
    let socket = scene.path(format!("socat-{tls}.sock"));
    let end = UnixListener::bind(&socket)?;
    std::thread::spawn(move || -> Result<()> {
        let (mut stream, _) = end.accept()?;
        // A connection that breaks is the other end's failure to report.
        load::serve_all(&mut stream)
    });
    let mut relay = reference::socat(scene, &socket, &other)?;
    let (stream, _) = timeout(WAIT, listener.accept()).await??;
    let cost = carried(bench, stream.into_std()?, relay.pid())?;
    relay.wait(WAIT).await?;
    Ok(cost)
}

/// Passes bytes to and fro, and looks at what the process `carrier` spends.
fn carried(bench: &Bench, mut stream: TcpStream, carrier: u32) -> Result<Cost> {
    stream.set_nonblocking(false)?;
    let mut cost = Cost::default();
    for (way, costs) in [(Way::Up, &mut cost.down), (Way::Down, &mut cost.up)] {
        load::transfer_on(&mut stream, way, WARM_UP)?;
        for _ in 0..bench.runs {
            let before = usage::processor_time_of(carrier)?;
            load::transfer_on(&mut stream, way, BYTES)?;
            let spent = usage::processor_time_of(carrier)?.saturating_sub(before);
            costs.push(spent.as_secs_f64() / (BYTES as f64 / 1e9));
        }
    }
    Ok(cost)
}

/// A program which the client takes for nxproxy.
pub(super) fn end_program(bench: &Bench) -> Result<String> {
    let own = std::env::current_exe().context("finding this program")?;
    let script = format!("exec '{}' nx-end \"$2\"", own.display());
    let path = bench.scene.script("nx-end", &script)?;
    Ok(path.display().to_string())
}

/// Connects to the Unix socket named among nxproxy's options, and passes what
/// is asked for until the connection ends.
pub(crate) fn run_end(options: &str) -> Result<()> {
    let (_, path) = options.split_once("connect=unix:").context("no socket")?;
    let (path, _) = path.rsplit_once(':').context("no number")?;
    let mut stream = UnixStream::connect(path)?;
    stream.write_all(GREETING)?;
    // The client waits for this word before it takes the session for one.
    println!("Info: Established X server connection.");
    load::serve_all(&mut stream)
}
