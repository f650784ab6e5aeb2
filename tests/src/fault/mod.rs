//! A relay between two programs which does to their connection what networks
//! do: cut it, stall it, close half of it, delay it, split it anywhere, corrupt
//! it.
//!
//! ```text
//! client ──▶ FaultProxy (TCP or Unix) ──▶ server (TCP or Unix)
//!            ToServer: rules ▶          ◀ rules: ToClient
//! ```
//!
//! [`Rules`] say what happens in each direction, now or at a byte; they hold
//! for all connections and can be changed while bytes pass. Orders
//! ([`FaultProxy::cut`], [`FaultProxy::half_close`]) do something at once. What
//! passed is counted and its beginning recorded ([`Connection`]).
//!
//! The relay has a thread of its own, so that it goes on while a test waits for
//! an X server whose answer passes through it.

mod connection;
mod endpoint;
mod pump;
mod rules;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

pub use self::connection::{Connection, Direction, Passed};
pub use self::endpoint::Endpoint;
use self::endpoint::Listener;
pub use self::rules::{Corruption, Cut, Fault, Rules, Split};
use crate::background::Background;
use crate::error::Doing as _;
use crate::{Error, Result};

/// A running relay. Dropping it closes its listener and all connections.
#[derive(Debug)]
pub struct FaultProxy {
    address: Endpoint,
    shared: Arc<Shared>,
    background: Option<Background>,
}

/// What the relay's thread and those who steer it have in common.
#[derive(Debug)]
struct Shared {
    upstream: Endpoint,
    rules: [watch::Sender<Rules>; 2],
    refusing: Mutex<bool>,
    connections: Mutex<Vec<Arc<Connection>>>,
    /// Counts everything that happens, to wake those who wait.
    happened: watch::Sender<u64>,
}

impl FaultProxy {
    /// Listens on `address` (TCP port 0 is any free port) and passes each
    /// connection on to `upstream`, without a fault until one is ordered.
    ///
    /// # Errors
    ///
    /// When it cannot listen there.
    pub fn start(address: &Endpoint, upstream: &Endpoint) -> Result<Self> {
        let doing = || format!("listening on {address}");
        let runtime = Background::runtime()?;
        let entered = runtime.enter();
        let (listener, address) = Listener::bind(address).doing(doing)?;
        drop(entered);
        let shared = Arc::new(Shared {
            upstream: upstream.clone(),
            rules: [watch::Sender::default(), watch::Sender::default()],
            refusing: Mutex::new(false),
            connections: Mutex::default(),
            happened: watch::Sender::default(),
        });
        let accepting = Arc::clone(&shared);
        let background = Background::start("fault-proxy", runtime, async |stopped| {
            tokio::select! {
                () = accept(listener, accepting) => {}
                _ = stopped => {}
            }
        })?;
        Ok(Self {
            address,
            shared,
            background: Some(background),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> &Endpoint {
        &self.address
    }

    /// Its TCP port, if it listens on TCP.
    pub fn port(&self) -> Option<u16> {
        match &self.address {
            Endpoint::Tcp(address) => Some(address.port()),
            Endpoint::Unix(_) => None,
        }
    }

    /// Changes the rules of one direction, for what passes from now on, on
    /// present and future connections.
    pub fn change(&self, direction: Direction, change: impl FnOnce(&mut Rules)) {
        self.shared.rules(direction).send_modify(change);
    }

    /// Stops reading and writing in one direction, without closing anything.
    pub fn stall(&self, direction: Direction) {
        self.change(direction, |rules| rules.stalled = true);
    }

    /// Ends a stall, ordered or come at a byte.
    pub fn resume(&self, direction: Direction) {
        self.change(direction, |rules| {
            rules.stalled = false;
            if matches!(rules.at, Some((_, Fault::Stall))) {
                rules.at = None;
            }
        });
    }

    /// Cuts all connections that there are.
    pub fn cut(&self, how: Cut) {
        for connection in self.connections() {
            connection.cut(how);
        }
    }

    /// Tells the receiver of `direction`, on all connections, that nothing more
    /// comes; the other direction goes on.
    pub fn half_close(&self, direction: Direction) {
        for connection in self.connections() {
            connection.half_close(direction);
        }
    }

    /// Whether new connections are closed as soon as they come.
    pub fn refuse(&self, refuse: bool) {
        *self
            .shared
            .refusing
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = refuse;
    }

    /// All connections so far, oldest first, ended ones too.
    pub fn connections(&self) -> Vec<Arc<Connection>> {
        self.shared.connections().clone()
    }

    /// The newest connection.
    pub fn last_connection(&self) -> Option<Arc<Connection>> {
        self.shared.connections().last().cloned()
    }

    /// Waits until `count` connections have come, and returns the last of them.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`].
    pub async fn wait_for_connection(
        &self,
        count: usize,
        within: Duration,
    ) -> Result<Arc<Connection>> {
        let index = count.saturating_sub(1);
        self.wait_until(&format!("connection {count}"), within, || {
            self.shared.connections().get(index).cloned()
        })
        .await
    }

    /// Waits until `bytes` have passed in one direction on the newest
    /// connection.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`].
    pub async fn wait_for_bytes(
        &self,
        direction: Direction,
        bytes: u64,
        within: Duration,
    ) -> Result<()> {
        self.wait_until(
            &format!("passing of {bytes} bytes {direction}"),
            within,
            || {
                let passed = self.last_connection()?.passed(direction);
                (passed.bytes >= bytes).then_some(())
            },
        )
        .await
    }

    /// Waits until all connections have ended.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`].
    pub async fn wait_until_closed(&self, within: Duration) -> Result<()> {
        self.wait_until("the end of all connections", within, || {
            self.connections()
                .iter()
                .all(|connection| connection.is_closed())
                .then_some(())
        })
        .await
    }

    fn wait_until<T>(
        &self,
        what: &str,
        within: Duration,
        look: impl Fn() -> Option<T>,
    ) -> impl Future<Output = Result<T>> {
        let mut happened = self.shared.happened.subscribe();
        let what = format!("on the relay at {}: {what}", self.address);
        async move {
            let waiting = async {
                loop {
                    happened.mark_unchanged();
                    if let Some(found) = look() {
                        return Some(found);
                    }
                    happened.changed().await.ok()?;
                }
            };
            match tokio::time::timeout(within, waiting).await {
                Ok(Some(found)) => Ok(found),
                Ok(None) | Err(_) => Err(Error::Deadline {
                    what,
                    limit: within,
                    context: self.describe(),
                }),
            }
        }
    }

    fn describe(&self) -> String {
        let lines = self
            .connections()
            .into_iter()
            .map(|one| format!("\n  {one}"));
        lines.collect::<Vec<_>>().concat()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        drop(self.background.take());
        if let Endpoint::Unix(path) = &self.address {
            let _gone = std::fs::remove_file(path);
        }
    }
}

impl Shared {
    fn rules(&self, direction: Direction) -> &watch::Sender<Rules> {
        let [to_server, to_client] = &self.rules;
        match direction {
            Direction::ToServer => to_server,
            Direction::ToClient => to_client,
        }
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn is_refusing(&self) -> bool {
        *self.refusing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn happened(&self) {
        self.happened
            .send_modify(|count| *count = count.wrapping_add(1));
    }
}

async fn accept(listener: Listener, shared: Arc<Shared>) {
    // An error of one accept (too many files, a peer already gone) is that
    // connection's; the client sees it refused.
    loop {
        let Ok(client) = listener.accept().await else {
            continue;
        };
        if shared.is_refusing() {
            client.close(Cut::Reset);
            continue;
        }
        let connection = Arc::new(Connection::new());
        shared.connections().push(Arc::clone(&connection));
        shared.happened();
        tokio::spawn(pump::relay(client, connection, Arc::clone(&shared)));
    }
}
