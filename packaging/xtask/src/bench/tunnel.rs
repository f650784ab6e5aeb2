//! Bulk through a tunnel: how fast, and what it costs the one who passes it on.

use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, Result};

use super::broker::Broker;
use super::figure::{Aim, Figure};
use super::load::{self, Backend, Way};
use super::reference::{self, Certificate, Relay};
use super::{Bench, usage};

/// Bytes of one measurement.
const PLAIN: u64 = 1_000_000_000;
const TLS: u64 = 500_000_000;

/// Bytes that pass before anything is measured.
const WARM_UP: u64 = 50_000_000;

/// Megabytes a second, and processor seconds a gigabyte.
#[derive(Debug, Default)]
struct Measured {
    speed: Vec<f64>,
    cost: Vec<f64>,
}

/// Measures both ways, plain and with TLS.
pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let backend = Backend::start()?;
    let certificate = Certificate::make(&bench.scene).await?;
    let nginx = reference::nginx(&bench.scene, backend.address()).await?;
    let nginx_tls = reference::nginx_tls(&bench.scene, backend.address(), &certificate).await?;
    let mut figures = Vec::new();
    let mut ours = Broker::start(bench, backend.address(), false).await?;
    for way in [Way::Up, Way::Down] {
        let direct = pass(bench, &|| connect(backend.address()), None, way, PLAIN)?;
        let nginx = pass_relay(bench, &nginx, way, PLAIN)?;
        let own = pass_broker(bench, &mut ours, way, PLAIN)?;
        let word = word(way);
        figures.push(
            Figure::new("tunnel", format!("plain {word}"), "MB/s", own.speed)
                .beside("direct", direct.speed)
                .beside("nginx", nginx.speed),
        );
        figures.push(
            Figure::new("tunnel", format!("plain {word}"), "CPU s/GB", own.cost)
                .aim(Aim::AtMost(0.5))
                .beside("nginx", nginx.cost),
        );
    }
    let mut ours = Broker::start(bench, backend.address(), true).await?;
    for way in [Way::Up, Way::Down] {
        let nginx = pass_relay(bench, &nginx_tls, way, TLS)?;
        let own = pass_broker(bench, &mut ours, way, TLS)?;
        let word = word(way);
        figures.push(
            Figure::new("tunnel", format!("TLS {word}"), "MB/s", own.speed)
                .beside("nginx", nginx.speed),
        );
        figures.push(
            Figure::new("tunnel", format!("TLS {word}"), "CPU s/GB", own.cost)
                .aim(Aim::AtMost(1.5))
                .beside("nginx", nginx.cost),
        );
    }
    Ok(figures)
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    TcpStream::connect(address).context("connecting through the tunnel")
}

fn pass_broker(bench: &Bench, broker: &mut Broker, way: Way, bytes: u64) -> Result<Measured> {
    let group = broker.group();
    pass(bench, &|| broker.connect(), Some(group), way, bytes)
}

fn pass_relay(bench: &Bench, relay: &Relay, way: Way, bytes: u64) -> Result<Measured> {
    pass(
        bench,
        &|| connect(relay.entrance()),
        Some(relay.group()),
        way,
        bytes,
    )
}

/// Passes `bytes` as often as wanted; `group` is the process group whose time
/// counts.
fn pass(
    bench: &Bench,
    connect: &dyn Fn() -> Result<TcpStream>,
    group: Option<u32>,
    way: Way,
    bytes: u64,
) -> Result<Measured> {
    load::transfer(connect()?, way, WARM_UP)?;
    let mut measured = Measured::default();
    for _ in 0..bench.runs {
        let before = group.map(usage::processor_time).transpose()?;
        let time = load::transfer(connect()?, way, bytes)?;
        let after = group.map(usage::processor_time).transpose()?;
        let megabytes = bytes as f64 / 1e6;
        measured.speed.push(megabytes / time.as_secs_f64());
        if let (Some(before), Some(after)) = (before, after) {
            let used = after.saturating_sub(before).as_secs_f64();
            measured.cost.push(used / (megabytes / 1e3));
        }
    }
    Ok(measured)
}

fn word(way: Way) -> &'static str {
    match way {
        Way::Up => "up",
        Way::Down => "down",
    }
}
