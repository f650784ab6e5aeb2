//! Running the server: listening, signals, reloading, draining.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use qvd_config::ServerConfig;
use qvd_net::socket;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::agent::Limits;
use crate::counters::Counters;
use crate::dialogue::{self, Outcome};
use crate::inventory::FileInventory;
use crate::stream::ClientStream;
use crate::tls::{Certificate, make_self_signed};
use crate::watch::Watcher;
use crate::{Broker, Error, metrics, ready};

/// Client connections at once that are not (yet) tunnels; more wait to be
/// accepted.
const MAX_DIALOGUES: usize = 2048;

/// For a client to do its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// After SIGTERM, for dialogues and sessions to end.
const DRAIN: Duration = Duration::from_secs(5);

/// After a connection could not be accepted (no descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the server is made of, before it runs.
pub struct Server {
    broker: Arc<Broker>,
    inventory: Arc<FileInventory>,
    certificate: Option<Arc<Certificate>>,
    listener: TcpListener,
    metrics: Option<TcpListener>,
    watcher: Watcher,
}

impl Server {
    /// Reads inventory and certificate and listens. Needs a tokio runtime.
    ///
    /// # Errors
    /// Whatever keeps the server from running.
    pub fn new(config: &ServerConfig) -> Result<Self, Error> {
        let inventory = Arc::new(FileInventory::open(&config.l7r.inventory)?);
        let certificate = if config.l7r.use_ssl {
            Some(certificate(config)?)
        } else {
            None
        };
        let limits = Limits {
            tries: config.timeout.x_start.number(),
            listening: config.timeout.listening,
        };
        let broker = Broker::new(inventory.clone(), limits, config.timeout.takeover)?;
        let mut watched = vec![config.l7r.inventory.as_path()];
        if config.l7r.use_ssl {
            watched.push(&config.ssl.cert_file);
            watched.push(&config.ssl.key_file);
        }
        let metrics = config
            .l7r
            .metrics_port
            .map(|port| listen("127.0.0.1", port.get()));
        Ok(Self {
            broker: Arc::new(broker),
            inventory,
            certificate: certificate.map(Arc::new),
            watcher: Watcher::new(&watched)?,
            metrics: metrics.transpose()?,
            listener: listen(&config.l7r.address.to_string(), config.l7r.port)?,
        })
    }

    /// Where clients connect.
    ///
    /// # Errors
    /// The kernel's.
    pub fn address(&self) -> Result<SocketAddr, Error> {
        self.listener
            .local_addr()
            .map_err(system("cannot learn the address listened on"))
    }

    /// The broker in it.
    #[must_use]
    pub fn broker(&self) -> Arc<Broker> {
        self.broker.clone()
    }

    /// Serves until SIGTERM or SIGINT, then drains: no new connections, and
    /// what is left after some seconds, or at the next signal, is cut.
    ///
    /// # Errors
    /// When signals cannot be handled.
    pub async fn run(self) -> Result<(), Error> {
        let mut signals = Signals::new()?;
        let Self {
            broker,
            inventory,
            certificate,
            listener,
            metrics,
            watcher,
        } = self;
        let mut background = tokio::task::JoinSet::new();
        background.spawn(reload(watcher, inventory, certificate.clone()));
        if let Some(listener) = metrics {
            background.spawn(metrics::serve(listener, broker.clone()));
        }
        // Each connection holds a sender: all have ended when none is left.
        let (alive, mut all_ended) = mpsc::channel::<()>(1);
        tokio::select! {
            () = accept(&listener, &broker, certificate.as_deref(), alive) => {}
            () = signals.wait(&broker) => {}
        }
        drop(listener);
        ready::tell("STOPPING=1");
        tracing::info!(counters = %broker.counters(), "ending");
        broker.end_sessions();
        tokio::select! {
            _ = all_ended.recv() => {}
            () = tokio::time::sleep(DRAIN) => tracing::warn!("connections are cut"),
            () = signals.wait(&broker) => tracing::warn!("connections are cut"),
        }
        Ok(())
    }
}

/// Announces the addresses: scripts and tests wait for this line.
///
/// # Errors
/// The kernel's.
pub fn announce(server: &Server) -> Result<(), Error> {
    let address = server.address()?;
    tracing::info!("listening on {address}");
    let mut out = io::stdout().lock();
    // Nobody may be reading.
    let _ = writeln!(out, "listening on {address}");
    if let Some(certificate) = &server.certificate {
        let fingerprint = certificate.fingerprint();
        tracing::info!(%fingerprint, "certificate");
        let _ = writeln!(out, "certificate SHA-256 {fingerprint}");
    }
    if let Some(Ok(address)) = server.metrics.as_ref().map(TcpListener::local_addr) {
        let _ = writeln!(out, "metrics on {address}");
    }
    let _ = out.flush();
    ready::tell("READY=1");
    Ok(())
}

fn certificate(config: &ServerConfig) -> Result<Certificate, Error> {
    let (cert, key) = (&config.ssl.cert_file, &config.ssl.key_file);
    if config.ssl.self_signed && !exists(cert)? && !exists(key)? {
        make_self_signed(cert, key)?;
        tracing::info!(file = %cert.display(), "made a self-signed certificate");
    }
    Certificate::open(cert, key)
}

fn exists(file: &Path) -> Result<bool, Error> {
    file.try_exists().map_err(|e| Error::file("read", file, e))
}

fn listen(host: &str, port: u16) -> Result<TcpListener, Error> {
    socket::listen(host, port).map_err(|source| Error::Listen {
        address: format!("{host}:{port}"),
        source,
    })
}

fn system(doing: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::System { doing, source }
}

/// Takes clients, as many at once as there is room for.
async fn accept(
    listener: &TcpListener,
    broker: &Arc<Broker>,
    certificate: Option<&Certificate>,
    alive: mpsc::Sender<()>,
) {
    let room = Arc::new(Semaphore::new(MAX_DIALOGUES));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let acceptor = certificate.map(Certificate::acceptor);
                let client = Client {
                    stream,
                    peer,
                    permit,
                    alive: alive.clone(),
                };
                tokio::spawn(client.serve(broker.clone(), acceptor));
            }
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection just accepted.
struct Client {
    stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
    alive: mpsc::Sender<()>,
}

impl Client {
    async fn serve(self, broker: Arc<Broker>, acceptor: Option<tokio_rustls::TlsAcceptor>) {
        let Self {
            stream,
            peer,
            permit,
            alive,
        } = self;
        Counters::count(&broker.counters.connections);
        if let Err(error) = socket::tune(&stream) {
            tracing::debug!(%peer, %error, "connection lost");
            return;
        }
        let stream = match acceptor {
            None => ClientStream::Plain(stream),
            Some(acceptor) => {
                match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => ClientStream::Tls(Box::new(stream)),
                    Ok(Err(error)) => {
                        tracing::debug!(%peer, %error, "no TLS handshake");
                        return;
                    }
                    Err(_) => {
                        tracing::debug!(%peer, "TLS handshake too slow");
                        return;
                    }
                }
            }
        };
        // In a box, so that this task is small while it waits above.
        match Box::pin(dialogue::run(broker, stream, peer.ip().to_canonical())).await {
            Outcome::Over => {}
            Outcome::Joined(tunnel) => {
                drop(permit);
                // A task of its own, which gives back what this one holds.
                tokio::spawn(async move {
                    tunnel.run().await;
                    drop(alive);
                });
            }
        }
    }
}

/// Reads again what has changed.
async fn reload(
    mut watcher: Watcher,
    inventory: Arc<FileInventory>,
    certificate: Option<Arc<Certificate>>,
) {
    loop {
        watcher.changed().await;
        match inventory.reload() {
            Ok(true) => tracing::info!("inventory read again"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the inventory stays as it was"),
        }
        match certificate.as_ref().map(|certificate| certificate.reload()) {
            Some(Ok(true)) => tracing::info!("certificate replaced"),
            Some(Ok(false)) | None => {}
            Some(Err(error)) => tracing::error!(%error, "the certificate stays as it was"),
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    report: Signal,
}

impl Signals {
    fn new() -> Result<Self, Error> {
        let open = |kind| signal(kind).map_err(system("cannot handle signals"));
        Ok(Self {
            terminate: open(SignalKind::terminate())?,
            interrupt: open(SignalKind::interrupt())?,
            report: open(SignalKind::user_defined1())?,
        })
    }

    /// Waits for the end; SIGUSR1 has the counters logged.
    async fn wait(&mut self, broker: &Broker) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.report.recv() => tracing::info!(counters = %broker.counters(), "counters"),
            }
        }
    }
}
