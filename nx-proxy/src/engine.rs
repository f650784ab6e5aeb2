use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;

use crate::codec::{Greeting, Service};
use crate::{Display, Error, NxOptions, NxStream};

/// Draws a session on the user's display.
pub trait Engine: Send + Sync {
    /// The engine's name in configuration and logs.
    fn name(&self) -> &'static str;

    /// Whether the engine can run on this machine at all. Asked before the
    /// broker is, so that no session is started in vain.
    ///
    /// # Errors
    /// What is missing, and what to install.
    fn check(&self) -> Result<(), Error>;

    /// Whether sound may be told to lead to a Unix socket.
    fn takes_sound_at_sockets(&self) -> bool {
        false
    }

    /// Runs a session on `stream` until it ends.
    ///
    /// Dropping the future ends the session at once, together with every
    /// process that was started for it; the agent then suspends it.
    fn run<'a>(
        &'a self,
        stream: NxStream,
        session: &'a Session,
        events: Events<'a>,
        orders: Orders,
    ) -> Running<'a>;
}

/// A session that runs: resolves when it has ended.
pub type Running<'a> = Pin<Box<dyn Future<Output = Result<Ending, Error>> + Send + 'a>>;

/// Is told what happens in a session, at once and without waiting.
pub type Events<'a> = &'a mut (dyn FnMut(Event) + Send);

/// What the engine is asked to do. The last order stands: an order given
/// before the engine looks is not lost.
pub type Orders = watch::Receiver<Order>;

/// What a session needs to know of the user's machine.
#[derive(Debug, Clone)]
pub struct Session {
    /// Where it is drawn.
    pub display: Display,
    /// NX options of the user.
    pub options: NxOptions,
    /// How long the agent may take from the start of the stream to the first
    /// window.
    pub start_timeout: Duration,
    /// The slave channel, if the session is to have one.
    pub slave: Option<Slave>,
    /// Where the session's sound goes, if it is to be heard: a server that
    /// speaks PulseAudio's native protocol. Some engines need a port
    /// ([`Engine::takes_sound_at_sockets`]).
    pub media: Option<Local>,
    /// Where the session's programs print, if they may: a CUPS server.
    pub cups: Option<Local>,
    /// Whether the agent is away, of a stream that survives that: nothing comes
    /// meanwhile, for however long, and the session is to take that for no
    /// loss. `None` of a stream that does not tell.
    pub away: Option<watch::Receiver<bool>>,
}

/// A server on the user's machine that a channel of the session leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Local {
    /// A Unix socket.
    Unix(PathBuf),
    /// A port of the loopback interface.
    Port(u16),
}

/// What an engine needs to know of the slave channel, on which client and VM
/// ask things of each other beside the desktop.
///
/// The engine opens a socket for the client's requests and tells of it by
/// [`Event::SlaveListening`]. For each of the VM's requests it runs a program,
/// with the connection as its standard input and output.
#[derive(Debug, Clone, Default)]
pub struct Slave {
    /// The program; without one the VM's requests are refused.
    pub command: Option<PathBuf>,
    /// Variables the program gets beside the engine's own.
    pub environment: Vec<(String, OsString)>,
}

impl Slave {
    /// The variables of the program, where no engine runs it: those an engine
    /// gives to all its programs, and its own.
    pub fn program_environment(&self) -> impl Iterator<Item = (String, OsString)> {
        plain_environment().chain(self.environment.iter().cloned())
    }
}

impl Session {
    /// Time from the start of the stream to the first window; a modem needs
    /// some seconds of it.
    pub const START_TIMEOUT: Duration = Duration::from_secs(60);

    /// A session on `display` without options.
    #[must_use]
    pub fn new(display: Display) -> Self {
        Self {
            display,
            options: NxOptions::default(),
            start_timeout: Self::START_TIMEOUT,
            slave: None,
            media: None,
            cups: None,
            away: None,
        }
    }
}

/// What happened in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The agent and this end understand each other.
    Negotiated,
    /// The session draws on the display.
    Started,
    /// From now on connections to this Unix socket, which lies where only the
    /// user gets, are the client's requests on the slave channel. Comes before
    /// [`Event::Started`].
    SlaveListening(PathBuf),
    /// The session is being left, by order or because the agent closes it.
    Ending,
    /// A line for the log.
    Log(String),
    /// What the agent said of itself; of an engine that hears it.
    Agreed(Greeting),
    /// The channel of this number beside X is open; of an engine that carries
    /// them. Numbers that 8 divides are those this end has opened.
    Opened(Service, u8),
    /// It is closed.
    Closed(Service, u8),
    /// A channel beside X has no local end, and why: the server does not answer,
    /// none was set, or no number is free. Nothing was carried on it.
    NotOpened(Service, String),
}

/// What the engine is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// Go on.
    Run,
    /// Leave the session in order; the agent suspends it.
    Suspend,
    /// Leave it at once; the agent notices that its client is gone, and
    /// suspends it.
    Abort,
}

/// How a session ended that met no fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// It was left by order, and can be resumed.
    Suspended,
    /// The agent closed it: the user logged out, or the session was stopped or
    /// suspended from elsewhere. NX does not tell which.
    ClosedByAgent,
}

/// Variables of the user's environment that programs of a session get. No
/// others: some hold passwords.
const ENVIRONMENT: &[&str] = &["PATH", "HOME", "LANG", "LC_ALL", "TZ", "XAUTHORITY"];

/// What a program of a session gets of the user's environment.
pub(crate) fn plain_environment() -> impl Iterator<Item = (String, OsString)> {
    let variable = |name: &&str| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
        Some(((*name).to_owned(), value))
    };
    ENVIRONMENT.iter().filter_map(variable)
}

/// The next order beyond `current`; `None` when none can come.
pub(crate) async fn next_order(orders: &mut Orders, current: Order) -> Option<Order> {
    orders
        .wait_for(|order| *order > current)
        .await
        .ok()
        .map(|order| *order)
}

/// Whether the agent is away, when that has changed; never, of a stream that
/// does not tell. Cancel safe.
pub(crate) async fn away_changed(away: &mut Option<watch::Receiver<bool>>) -> bool {
    if let Some(told) = away
        && told.changed().await.is_ok()
    {
        return *told.borrow_and_update();
    }
    // Nobody tells any more.
    *away = None;
    std::future::pending().await
}

/// Why a session was lost whose stream just ended.
pub(crate) const CLOSED: &str = "the other side closed it";

/// Why a session was lost whose stream failed.
pub(crate) fn lost_because(error: &std::io::Error) -> String {
    match error.kind() {
        // TLS that ends without its closing word, as of a killed broker.
        std::io::ErrorKind::UnexpectedEof => CLOSED.to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn an_end_without_the_closing_word_of_tls_is_an_end() {
        let error = io::Error::new(io::ErrorKind::UnexpectedEof, "see https://docs.example");
        assert_eq!(lost_because(&error), CLOSED);
        let error = io::Error::new(io::ErrorKind::ConnectionReset, "reset");
        assert_eq!(lost_because(&error), "reset");
    }
}
