//! What an idle tunnel costs the one who holds it.

use std::net::TcpStream;

use anyhow::{Context as _, Result};

use super::broker::Broker;
use super::figure::{Aim, Figure};
use super::load::{self, Backend};
use super::reference::{self, Certificate, Relay};
use super::{Bench, usage};

/// Tunnels held open at once.
const TUNNELS: u32 = 1000;

/// Measures plain tunnels and those with TLS.
pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let backend = Backend::start()?;
    let address = backend.address();
    let certificate = Certificate::make(&bench.scene).await?;
    // Each is measured once, in a process of its own: memory once grown is not
    // given back.
    let own = of_broker(bench, &backend, false).await?;
    let nginx = reference::nginx(&bench.scene, address).await?;
    let nginx = of_relay(&backend, &nginx)?;
    let haproxy = reference::haproxy(&bench.scene, address).await?;
    let haproxy = of_relay(&backend, &haproxy)?;
    let plain = Figure::new(
        "memory",
        "plain, an idle tunnel of 1,000",
        "KiB PSS",
        vec![own],
    )
    .aim(Aim::AtMost(8.0))
    .beside("nginx", vec![nginx])
    .beside("haproxy", vec![haproxy]);

    let own = of_broker(bench, &backend, true).await?;
    let nginx = reference::nginx_tls(&bench.scene, address, &certificate).await?;
    let nginx = of_relay(&backend, &nginx)?;
    let haproxy = reference::haproxy_tls(&bench.scene, address, &certificate).await?;
    let haproxy = of_relay(&backend, &haproxy)?;
    let tls = Figure::new(
        "memory",
        "TLS, an idle tunnel of 1,000",
        "KiB PSS",
        vec![own],
    )
    .aim(Aim::AtMost(20.0))
    .beside("nginx", vec![nginx])
    .beside("haproxy", vec![haproxy]);
    Ok(vec![plain, tls])
}

async fn of_broker(bench: &Bench, backend: &Backend, tls: bool) -> Result<f64> {
    let mut broker = Broker::start(bench, backend.address(), tls).await?;
    let group = broker.group();
    per_tunnel(backend, &|| broker.connect(), group)
}

fn of_relay(backend: &Backend, relay: &Relay) -> Result<f64> {
    let connect = || TcpStream::connect(relay.entrance()).context("connecting");
    per_tunnel(backend, &connect, relay.group())
}

/// Memory that the group grows by for each tunnel, in KiB.
fn per_tunnel(
    backend: &Backend,
    connect: &dyn Fn() -> Result<TcpStream>,
    group: u32,
) -> Result<f64> {
    // What is made once for the first tunnel does not count.
    drop(load::hold(connect, 10)?);
    backend.release();
    let before = usage::memory(group)?;
    let held = load::hold(connect, usize::try_from(TUNNELS)?)?;
    let after = usage::memory(group)?;
    drop(held);
    backend.release();
    Ok((after.pss - before.pss) / f64::from(TUNNELS))
}
