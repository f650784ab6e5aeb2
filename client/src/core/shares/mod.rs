//! The slave channel of a session: folders of this machine in the VM, and what
//! else the two ask of each other beside the desktop.

mod media;
mod port;
mod sharing;
mod wanted;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use qvd_slaveclient::service::{Gate, VARIABLE};
use qvd_slaveclient::{About, Key, Record, Registry};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::time::timeout;

pub use wanted::Shared;

use self::port::Port;
use self::sharing::Context;
use super::event::Event;

/// How long shares may take to end with the session: a disk may be slow.
const ENDING: Duration = Duration::from_secs(5);

/// Variables of the user's environment that the slave server gets beside those
/// of the engine: where printers are.
const ENVIRONMENT: [&str; 2] = ["CUPS_SERVER", "XDG_RUNTIME_DIR"];

/// What is wanted of a session's slave channel.
#[derive(Debug, Clone)]
pub struct Slave {
    /// Where sessions are written down: `~/.qvd`.
    pub base: PathBuf,
    /// The program that serves what the VM asks.
    pub command: Option<PathBuf>,
    /// What of this machine the VM may reach.
    pub gate: Gate,
    /// The folders that are shared, where any are.
    pub shared: Shared,
    /// A file that is opened in the session.
    pub open: Option<PathBuf>,
}

impl Slave {
    /// What the engine needs to know.
    pub(super) fn engine(&self) -> nx_proxy::Slave {
        let inherited = ENVIRONMENT
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), std::env::var_os(name)?)));
        let gate = (VARIABLE.to_owned(), self.gate.to_variable().into());
        nx_proxy::Slave {
            command: self.command.clone(),
            environment: inherited.chain([gate]).collect(),
        }
    }
}

/// The slave channel of a running client. The record in `~/.qvd` goes when
/// this is dropped.
pub(super) struct Channel {
    slave: Slave,
    record: Record,
    port: Port,
    tell: UnboundedSender<Event>,
    key: Option<Key>,
    socket: Option<PathBuf>,
    /// Where it is told whether the carrier beneath has a connection.
    road: Option<PathBuf>,
    sharing: Option<Sharing>,
}

/// The shares of one engine: they end when the pipe is dropped.
struct Sharing {
    _end: io::PipeWriter,
    ended: oneshot::Receiver<()>,
}

impl Channel {
    /// Opens it for a session in the VM named `vm`.
    ///
    /// # Errors
    /// When there is no port, or the session cannot be written down.
    pub(super) async fn open(
        slave: Slave,
        vm: &str,
        broker: &str,
        tell: UnboundedSender<Event>,
    ) -> Result<Self, qvd_slaveclient::Error> {
        let port = Port::open()
            .await
            .map_err(qvd_slaveclient::Error::Channel)?;
        let about = About {
            vm: vm.to_owned(),
            broker: broker.to_owned(),
            pid: std::process::id(),
        };
        let record = Record::new(&slave.base, about)?;
        tracing::info!(
            session = record.name(),
            port = port.number(),
            "slave channel"
        );
        Ok(Self {
            slave,
            record,
            port,
            tell,
            key: None,
            socket: None,
            road: None,
            sharing: None,
        })
    }

    /// The broker's key of the session that comes now.
    pub(super) fn keyed(&mut self, key: Option<&SecretString>) {
        self.key = key.and_then(|key| Key::new(key.expose_secret()));
        if self.key.is_none() {
            tracing::info!("the broker gave no key of the slave channel: nothing is shared");
        }
    }

    /// Connections are taken at `socket`; at `road` it is told of outages, where
    /// there are any that a session survives.
    pub(super) fn listening(&mut self, socket: PathBuf, road: Option<PathBuf>) {
        self.socket = Some(socket);
        self.road = road;
    }

    /// The session is there: it is written down, and folders are shared.
    pub(super) fn connected(&mut self) {
        let (Some(key), Some(socket)) = (self.key.clone(), self.socket.clone()) else {
            return;
        };
        self.port.lead_to(Some(socket.clone()));
        if let Err(error) = self
            .record
            .write(self.port.number(), &key, self.road.as_deref())
        {
            self.warn(error.to_string());
        }
        let context = Context {
            socket,
            road: self.road.clone(),
            key,
            shared: self.slave.shared.clone(),
            // Once, not with every reconnect.
            open: self.slave.open.take(),
            registry: Registry::new(&self.slave.base),
            session: self.record.name().to_owned(),
            tell: self.tell.clone(),
            refused: AtomicBool::new(false),
        };
        match Sharing::start(context) {
            Ok(sharing) => self.sharing = Some(sharing),
            Err(error) => self.warn(error.to_string()),
        }
    }

    /// The engine has ended, and with it every connection.
    pub(super) async fn lost(&mut self) {
        (self.socket, self.road) = (None, None);
        self.port.lead_to(None);
        self.record.lost();
        if let Some(sharing) = self.sharing.take() {
            sharing.end().await;
        }
    }

    fn warn(&self, why: String) {
        let path = self.slave.base.clone();
        let _ = self.tell.send(Event::NotShared { path, why });
    }
}

impl Sharing {
    fn start(context: Context) -> io::Result<Self> {
        let (reader, end) = sharing::end()?;
        let (done, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("shares".into())
            .spawn(move || {
                sharing::run(&Arc::new(context), &reader);
                let _ = done.send(());
            })?;
        Ok(Self { _end: end, ended })
    }

    async fn end(self) {
        let Self { _end: end, ended } = self;
        drop(end);
        if timeout(ENDING, ended).await.is_err() {
            tracing::warn!("shares take long to end");
        }
    }
}
