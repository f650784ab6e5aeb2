//! The broker as a program: it listens, follows changed files, and ends.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use qvd_config::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::Error;
use crate::auth::Authenticator;
use crate::connect::Timeouts;
use crate::counters::Counters;
use crate::dialogue::{ClientStream, Shared, converse};
use crate::inventory::FileInventory;
use crate::registry::Registry;
use crate::tls::{Certificate, make_self_signed};
use crate::watch::Watcher;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(15);

/// Most clients that are not in a tunnel yet; more wait to be accepted.
const MAX_DIALOGUES: usize = 4096;

/// Runs the broker until it is told to end.
///
/// # Errors
/// When it cannot start.
pub fn run(config: &ServerConfig) -> Result<(), Error> {
    let failed = |source| Error::System {
        doing: "starting the runtime",
        source,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let done = runtime.block_on(serve(config));
    // Tunnels end with the program; there is nothing to wait for.
    runtime.shutdown_background();
    done
}

async fn serve(config: &ServerConfig) -> Result<(), Error> {
    let inventory = Arc::new(FileInventory::open(&config.l7r.inventory)?);
    let certificate = certificate(config)?.map(Arc::new);
    let shared = Arc::new(Shared {
        inventory: inventory.clone(),
        auth: Authenticator::new()?,
        timeouts: Timeouts::from(config),
        registry: Registry::default(),
        counters: Counters::default(),
    });
    let listener = listen(config)?;
    let signals = |kind| {
        signal(kind).map_err(|source| Error::System {
            doing: "watching signals",
            source,
        })
    };
    let mut terminate = signals(SignalKind::terminate())?;
    let mut interrupt = signals(SignalKind::interrupt())?;
    let told = signals(SignalKind::user_defined1())?;
    let pid_file = PidFile::write(config.l7r.pid_file.as_deref())?;
    let follow = follow(&inventory, certificate.as_deref(), config)?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!("listening on {address}");
    }
    tokio::select! {
        () = accept(listener, certificate.clone(), shared.clone()) => {}
        () = follow => {}
        () = tell(told, &shared) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drop(pid_file);
    tracing::info!("broker ends: {}", shared.counters);
    Ok(())
}

fn certificate(config: &ServerConfig) -> Result<Option<Certificate>, Error> {
    if !config.l7r.use_ssl {
        tracing::warn!("connections of clients are not encrypted");
        return Ok(None);
    }
    let (cert, key) = (&config.ssl.cert_file, &config.ssl.key_file);
    if config.ssl.self_signed && !cert.exists() && !key.exists() {
        make_self_signed(cert, key)?;
        tracing::info!(file = %cert.display(), "made a certificate that vouches for itself");
    }
    let certificate = Certificate::open(cert, key)?;
    tracing::info!("certificate has SHA-256 {}", certificate.fingerprint());
    Ok(Some(certificate))
}

fn listen(config: &ServerConfig) -> Result<TcpListener, Error> {
    let (address, port) = (config.l7r.address.to_string(), config.l7r.port);
    qvd_net::socket::listen(&address, port).map_err(|source| {
        let address = SocketAddr::new(config.l7r.address, port).to_string();
        Error::Listen { address, source }
    })
}

/// Takes clients for ever.
async fn accept(listener: TcpListener, certificate: Option<Arc<Certificate>>, shared: Arc<Shared>) {
    let room = Arc::new(Semaphore::new(MAX_DIALOGUES));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "client cannot be accepted");
                // Out of descriptors: others must end first.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        Counters::count(&shared.counters.connections);
        let (certificate, shared) = (certificate.clone(), shared.clone());
        tokio::spawn(async move {
            if let Err(error) = qvd_net::socket::tune(&stream) {
                tracing::debug!(%error, %peer, "socket options");
            }
            match certificate {
                None => dialogue(stream, peer, shared).await,
                Some(certificate) => encrypted(stream, peer, &certificate, shared).await,
            }
            drop(place);
        });
    }
}

async fn encrypted(
    stream: TcpStream,
    peer: SocketAddr,
    certificate: &Certificate,
    shared: Arc<Shared>,
) {
    match timeout(HANDSHAKE, certificate.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => dialogue(stream, peer, shared).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake"),
        Err(_) => tracing::debug!(%peer, "TLS handshake takes too long"),
    }
}

/// Answers a client; its tunnel, if it comes to one, is a task of its own,
/// which holds nothing of the dialogue.
async fn dialogue<S: ClientStream>(stream: S, peer: SocketAddr, shared: Arc<Shared>) {
    // Boxed, so that the memory is given back when the dialogue is over.
    if let Some(tunnel) = Box::pin(converse(stream, peer, &shared)).await {
        tokio::spawn(tunnel.run(shared));
    }
}

/// Reads files again when they change. What is faulty is told, and the old
/// content stays in force.
fn follow<'a>(
    inventory: &'a FileInventory,
    certificate: Option<&'a Certificate>,
    config: &ServerConfig,
) -> Result<impl Future<Output = ()> + use<'a>, Error> {
    let mut users = Watcher::new(&[inventory.path()])?;
    let mut certificates = match certificate {
        Some(_) => Some(Watcher::new(&[
            &config.ssl.cert_file,
            &config.ssl.key_file,
        ])?),
        None => None,
    };
    Ok(async move {
        loop {
            let renewed = async {
                match &mut certificates {
                    Some(watcher) => watcher.changed().await,
                    None => std::future::pending().await,
                }
            };
            let (what, read) = tokio::select! {
                () = users.changed() => ("inventory", inventory.reload()),
                () = renewed => ("certificate", certificate.map_or(Ok(false), Certificate::reload)),
            };
            match read {
                Ok(true) => tracing::info!("{what} was read again"),
                Ok(false) => {}
                Err(error) => tracing::error!("{what} is left as it was: {error}"),
            }
        }
    })
}

/// Writes the counters into the log on SIGUSR1.
async fn tell(mut told: Signal, shared: &Shared) {
    while told.recv().await.is_some() {
        tracing::info!("{}", shared.counters);
    }
}

/// The pid file, removed when the broker ends in order.
struct PidFile<'a>(Option<&'a Path>);

impl<'a> PidFile<'a> {
    fn write(path: Option<&'a Path>) -> Result<Self, Error> {
        if let Some(path) = path {
            let failed = |e| Error::file("write", path, e);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(failed)?;
            }
            std::fs::write(path, format!("{}\n", std::process::id())).map_err(failed)?;
        }
        Ok(Self(path))
    }
}

impl Drop for PidFile<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}
