//! The local ends of channels beside X: servers that are connected to, a slave
//! command that is run, a socket that is listened on.

mod command;
mod group;
mod listener;
mod session;
mod socket;
mod target;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use command::Environment;
use group::Group;
pub use listener::Listener;
pub(crate) use session::OwnChannels;
pub(crate) use socket::UserSocket;
pub use target::{Target, TargetError};

use crate::codec::Service;
use crate::{Accepting, LocalEnd, LocalEnds, Opening};

/// Bytes that may wait between a slave channel and code in this process.
const IN_PROCESS: usize = 64 << 10;

/// Takes the agent's slave channels in this process.
pub type Handler = Arc<dyn Fn(LocalEnd) + Send + Sync>;

/// Is told of a process that was started for a slave channel, by its number.
type Started = Arc<dyn Fn(u32) + Send + Sync>;

/// What a session's channels beside X lead to. One that nothing was set for is
/// refused.
///
/// Servers are connected to when the agent opens a channel, not before.
#[derive(Default)]
pub struct Channels {
    targets: BTreeMap<Service, Target>,
    slave: Option<Slave>,
    listener: Option<Listener>,
    fonts: Option<Listener>,
    group: Arc<Group>,
    started: Option<Started>,
}

/// Who takes the agent's slave channels.
enum Slave {
    Command(PathBuf, Environment),
    Handler(Handler),
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channels")
            .field("targets", &self.targets)
            .field("listener", &self.listener)
            .field("fonts", &self.fonts)
            .finish_non_exhaustive()
    }
}

impl Channels {
    /// No channels.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Channels to `service` lead to `target`.
    #[must_use]
    pub fn with(mut self, service: Service, target: Target) -> Self {
        self.targets.insert(service, target);
        self
    }

    /// For each slave channel of the agent `program` is run, with one socket as
    /// its standard input and output and this program's environment.
    #[must_use]
    pub fn with_slave_command(mut self, program: PathBuf) -> Self {
        self.slave = Some(Slave::Command(program, Environment::Inherited));
        self
    }

    /// As [`Channels::with_slave_command`], with these variables alone.
    #[must_use]
    pub fn with_slave_command_in(
        mut self,
        program: PathBuf,
        environment: Vec<(String, OsString)>,
    ) -> Self {
        self.slave = Some(Slave::Command(program, Environment::Only(environment)));
        self
    }

    /// Slave channels of the agent are given to `handler`. It must not wait.
    #[must_use]
    pub fn with_slave_handler(mut self, handler: Handler) -> Self {
        self.slave = Some(Slave::Handler(handler));
        self
    }

    /// Connections to `listener` become slave channels to the agent.
    #[must_use]
    pub fn with_listener(mut self, listener: Listener) -> Self {
        self.listener = Some(listener);
        self
    }

    /// Connections to `listener` become channels to the agent's font server.
    #[must_use]
    pub fn with_font_listener(mut self, listener: Listener) -> Self {
        self.fonts = Some(listener);
        self
    }

    /// Tells `started` the number of each process that is started for a slave
    /// channel.
    #[must_use]
    pub fn telling(mut self, started: impl Fn(u32) + Send + Sync + 'static) -> Self {
        self.started = Some(Arc::new(started));
        self
    }

    /// What channels to `service` lead to.
    #[must_use]
    pub fn target(&self, service: Service) -> Option<&Target> {
        self.targets.get(&service)
    }

    /// Ends the slave commands and what they have started: politely, and after
    /// two seconds with force. Dropping this ends them with force at once.
    pub async fn end(&self) {
        self.group.end().await;
    }

    fn slave(&self) -> io::Result<LocalEnd> {
        match &self.slave {
            None => Err(refused("no slave command is set")),
            Some(Slave::Handler(handler)) => {
                let (ours, theirs) = tokio::io::duplex(IN_PROCESS);
                handler(Box::new(theirs));
                Ok(Box::new(ours))
            }
            Some(Slave::Command(program, environment)) => {
                let (id, end) = command::start(program, environment, &self.group)?;
                if let Some(started) = &self.started {
                    started(id);
                }
                Ok(end)
            }
        }
    }
}

impl LocalEnds for Channels {
    fn open(&self, service: Service) -> Opening {
        if service == Service::Slave {
            let end = self.slave();
            return Box::pin(async { end });
        }
        match self.targets.get(&service).cloned() {
            Some(target) => Box::pin(async move { target.connect().await }),
            None => {
                let error = refused(&format!("no server is set for {service:?}"));
                Box::pin(async { Err(error) })
            }
        }
    }

    fn accept(&self) -> Accepting<'_> {
        Box::pin(async {
            tokio::select! {
                end = next(self.listener.as_ref()) => (Service::Slave, end),
                end = next(self.fonts.as_ref()) => (Service::Font, end),
            }
        })
    }
}

async fn next(listener: Option<&Listener>) -> LocalEnd {
    match listener {
        Some(listener) => listener.accept().await,
        None => pending().await,
    }
}

fn refused(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, reason)
}

#[cfg(test)]
mod tests;
