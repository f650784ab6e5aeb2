//! The daemon: RPC, configuration, and the session's state. It handles no byte
//! of a session, and the session does not depend on its life.

mod asked;
mod core;
mod ctl;
mod gate;
mod launch;
mod link;
mod places;
mod port;
mod power;
mod presence;
mod record;
mod reload;
mod rpc;
mod service;
mod shares;
mod slave;
mod stages;
mod tls;
mod vnc;

pub use gate::Gate;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use qvd_config::VmaConfig;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use self::reload::Reloader;
use crate::log::Log;
use crate::settings::{Loaded, SessionPaths};

/// Longest path of a Unix socket, in bytes, with its end.
const MAX_SOCKET_PATH: usize = 108;

/// Runs the daemon until it is told to end. A session that runs then goes on.
///
/// # Errors
/// When it cannot start: a port in use, a folder that cannot be made.
pub fn main(path: PathBuf, loaded: Loaded, log: Log) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Threads only look users up and search /proc.
        .max_blocking_threads(4)
        // They come in bursts, at the start of a session: an idle agent has
        // neither their stacks nor their wake-ups.
        .thread_keep_alive(std::time::Duration::from_secs(1))
        .build()
        .context("runtime")?;
    let local = tokio::task::LocalSet::new();
    runtime.block_on(local.run_until(run(path, loaded, log)))
}

async fn run(path: PathBuf, loaded: Loaded, log: Log) -> anyhow::Result<()> {
    let started = Instant::now();
    let config = loaded.config.clone();
    let paths = SessionPaths::new(&config);
    prepare_run(&config.process.run, &paths)?;
    let gate = Gate::new(&config).map_err(anyhow::Error::msg)?;
    let listener = bind(&config).await?;
    let address = listener.local_addr()?;
    let pid_file = config.process.pid_file.clone();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let socket = paths.agent.clone();
    let control = ctl::listen_on(&socket).with_context(|| socket.display().to_string())?;
    let (core, handle) = core::Core::new(config, paths, gate, log.clone()).await;
    let (reload, requests) = mpsc::unbounded_channel();
    let reloader = Reloader::new(path.clone(), &loaded, log, handle.input.clone(), requests)
        .context("watching files")?;
    let context = ctl::Context {
        handle: handle.clone(),
        reload,
        config: path,
        rpc: address.to_string(),
        started,
    };
    if let Some(path) = &pid_file {
        let pid = format!("{}\n", std::process::id());
        crate::files::write_public(path, pid.as_bytes())
            .with_context(|| format!("pid file {}", path.display()))?;
    }
    tracing::info!("listening on {address}");
    notify_ready();
    tokio::select! {
        () = core.run() => {}
        () = rpc::serve(listener, handle) => {}
        () = reloader.run() => {}
        ended = ctl::serve(control, context) => ended.context("control socket")?,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    if let Some(path) = &pid_file {
        let _ = fs::remove_file(path);
    }
    let _ = fs::remove_file(&socket);
    tracing::info!("daemon ends; a session that runs goes on");
    Ok(())
}

async fn bind(config: &VmaConfig) -> anyhow::Result<tokio::net::TcpListener> {
    let address = SocketAddr::new(config.rpc.address, config.rpc.port);
    // An earlier daemon may be just about to end: its port is free in a moment.
    let mut tries = 0;
    loop {
        match qvd_net::socket::listen(&address.ip().to_string(), address.port()) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && tries < 20 => {
                tries += 1;
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            bound => return bound.with_context(|| format!("cannot listen on {address}")),
        }
    }
}

/// The folder of sockets and records. Others may pass through it (a session's
/// own folder is below), but not write.
fn prepare_run(run: &Path, paths: &SessionPaths) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(run)
        .with_context(|| format!("path.run {}", run.display()))?;
    let longest = crate::session::paths::nx_socket(&paths.dir);
    if longest.as_os_str().len() >= MAX_SOCKET_PATH {
        anyhow::bail!(
            "path.run {} is too long for a socket below it",
            run.display()
        );
    }
    Ok(())
}

/// Tells systemd, where it is, that calls are taken.
fn notify_ready() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let sent = std::os::unix::net::UnixDatagram::unbound().and_then(|socket| {
        match path.to_str().and_then(|p| p.strip_prefix('@')) {
            Some(name) => {
                use std::os::linux::net::SocketAddrExt as _;
                let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
                socket.send_to_addr(b"READY=1", &address)
            }
            None => socket.send_to(b"READY=1", Path::new(&path)),
        }
    });
    if let Err(error) = sent {
        tracing::warn!(%error, "systemd cannot be told that the daemon is ready");
    }
}
