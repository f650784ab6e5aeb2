//! A session on the carrier: connections are got back beneath it, and the
//! engine and the shares notice nothing.

mod asked;
mod beneath;
mod door;
mod network;
mod regain;
mod statistics;

use std::pin::{Pin, pin};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use nx_proxy::NxStream;
use qvd_broker::{ConnectParameters, VmEntry};
use qvd_carrier::{Config, Kind, Loss, Reason, Role};
use qvd_net::carrier::{Ended, Session};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use self::beneath::{Beneath, listen};
pub(super) use self::door::Door;
pub(super) use self::network::Network;
pub use self::statistics::CarrierStatistics;
use super::broker::Tunnel;
use super::desktop::Wish;
use super::event::Event;
use super::failure::{Code, Failure};
use super::reconnect::Reconnect;
use super::session::Outcome;

/// How long the other end may take to hear of the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// How the carrier is spoken.
#[derive(Debug, Clone)]
pub struct Carrier {
    /// How long a session whose connection is lost is kept as it is.
    pub grace: Duration,
    /// Silence after which the agent is asked whether it is there.
    pub keepalive: Duration,
    /// Where its numbers can be had.
    pub statistics: CarrierStatistics,
}

/// A session on the carrier.
pub(super) struct Carried {
    session: Session,
    connection: Option<NxStream>,
    network: Network,
    away: watch::Sender<bool>,
    /// This session's outages, by the time since its beginning.
    outages: Reconnect,
    begin: Instant,
}

/// With what a session's connection is got back.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) wish: &'a Wish,
    pub(super) vm: &'a VmEntry,
    pub(super) parameters: &'a ConnectParameters,
    /// Where the user is told.
    pub(super) tell: &'a UnboundedSender<Event>,
    /// Whether the desktop has been in its window.
    pub(super) drawn: &'a AtomicBool,
}

/// A connection that is run.
type Run = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// Why a carrier is kept no more.
pub(super) enum Kept {
    /// It has ended, by either end.
    Over,
    /// It has ended out of order: what is said of it where the session had not
    /// come up.
    Broken(Failure),
    /// It was lost and could not be got back.
    GivenUp {
        failure: Failure,
        lost: Instant,
        /// Whether the user knows of the loss.
        told: bool,
        /// How often it was tried.
        attempts: u32,
    },
    /// The agent does not have it any more; on this tunnel a session begins
    /// anew.
    Anew(Tunnel),
}

impl Carried {
    /// A new session on a connection on which the carrier was offered: the
    /// session and its NX.
    pub(super) fn begin(
        connection: NxStream,
        carrier: &Carrier,
    ) -> Result<(Self, NxStream), Failure> {
        let config = Config {
            keepalive: carrier.keepalive,
            ..Config::default()
        };
        let session = Session::new(Role::Client, config);
        let nx = session.open(Kind::Nx, b"").map_err(|error| {
            Failure::new(Code::Internal, format!("carrier: {error}")).because(error)
        })?;
        carrier.statistics.follow(&session);
        let mut outages = Reconnect::carried(carrier.grace);
        outages.up(Duration::ZERO);
        let carried = Self {
            session,
            connection: Some(connection),
            network: Network::watch(),
            away: watch::Sender::new(false),
            outages,
            begin: Instant::now(),
        };
        Ok((carried, NxStream::new(nx, Vec::new())))
    }

    /// Whether the agent is away, for the engine.
    pub(super) fn away(&self) -> watch::Receiver<bool> {
        self.away.subscribe()
    }

    /// Runs the session's connections until it is over, or cannot be got back.
    pub(super) async fn keep(mut self, way: Way<'_>) -> Kept {
        let Some(connection) = self.connection.take() else {
            return Kept::Over;
        };
        let mut run = self.run(connection);
        loop {
            let ended = loop {
                tokio::select! {
                    ended = &mut run => break ended,
                    () = self.network.changed() => {
                        way.wish.target.names.renew();
                        self.session.doubt();
                    }
                }
            };
            let loss = match ended {
                Ended::Lost(loss) => loss,
                ended => return over(&ended),
            };
            let lost = Instant::now();
            // In the words of a session without the carrier.
            let cause = match loss {
                Loss::Closed => "the other side closed it".to_owned(),
                Loss::Silent => "the other side is silent".to_owned(),
                loss => loss.to_string(),
            };
            let message = format!("connection to the session was lost: {cause}");
            tracing::info!("{message}");
            let failure = Failure::new(Code::SessionLost, message);
            self.away.send_replace(true);
            if self.session.token().is_none() {
                // It had not begun: there is nothing to get back.
                self.session.abandon("never begun");
                return Kept::GivenUp {
                    failure,
                    lost,
                    told: false,
                    attempts: 0,
                };
            }
            let regained = self.regain(failure, lost, way).await;
            self.away.send_replace(false);
            match regained {
                Ok(again) => run = again,
                Err(kept) => {
                    self.session.abandon("the connection did not come back");
                    return kept;
                }
            }
        }
    }

    /// One connection, run to its end.
    fn run(&self, connection: NxStream) -> Run {
        let session = self.session.clone();
        Box::pin(async move { session.run(connection, Vec::new()).await })
    }
}

/// What a session that has ended is kept for: nothing.
fn over(ended: &Ended) -> Kept {
    match ended {
        Ended::Over { reason, text, .. } => {
            tracing::info!(%reason, text, "carrier is over");
            broken(*reason, text).map_or(Kept::Over, Kept::Broken)
        }
        _ => Kept::Over,
    }
}

/// What to say of a session that ended for this reason before it was up.
fn broken(reason: Reason, text: &str) -> Option<Failure> {
    if matches!(reason, Reason::Done | Reason::Suspended) {
        return None;
    }
    let why = match text.is_empty() {
        true => reason.to_string(),
        false => text.to_owned(),
    };
    let message = match reason {
        Reason::Violation | Reason::Flood => {
            format!("VM's agent and client do not understand each other: {why}")
        }
        _ => format!("VM's agent did not take the client: {why}"),
    };
    Some(Failure::new(Code::VmUnavailable, message))
}

/// What a session is carried on.
pub(super) struct Road {
    /// Its NX.
    pub(super) stream: NxStream,
    /// The carrier beneath, where that is spoken.
    pub(super) carried: Option<Carried>,
    /// The way of folders beside NX.
    pub(super) door: Option<Door>,
}

impl Road {
    /// Finds out what is spoken on a tunnel, and begins with it. `slave`: what
    /// answers what the VM asks.
    ///
    /// # Errors
    /// When the carrier cannot begin.
    pub(super) async fn of(
        tunnel: Tunnel,
        carrier: Option<&Carrier>,
        slave: Option<nx_proxy::Slave>,
    ) -> Result<Self, Failure> {
        let plain = |stream| Self {
            stream,
            carried: None,
            door: None,
        };
        let Some(carrier) = carrier else {
            return Ok(plain(tunnel.stream));
        };
        let connection = match listen(tunnel.stream, tunnel.carrier).await {
            Beneath::Plain(stream) => return Ok(plain(stream)),
            Beneath::Carrier(connection, _) => connection,
        };
        tracing::info!("the carrier is spoken");
        let (carried, stream) = Carried::begin(connection, carrier)?;
        let door = Door::open(carried.session.clone(), slave)
            .inspect_err(|error| tracing::warn!(%error, "folders go through NX"))
            .ok();
        Ok(Self {
            stream,
            carried: Some(carried),
            door,
        })
    }
}

/// Runs an engine on what carries it: how it ended, and the carrier if that
/// was first.
pub(super) async fn carry(
    run: impl Future<Output = Result<Outcome, Failure>>,
    carried: Option<Carried>,
    way: Way<'_>,
) -> (Result<Outcome, Failure>, Option<Kept>) {
    let Some(carried) = carried else {
        return (run.await, None);
    };
    let session = carried.session.clone();
    let mut run = pin!(run);
    let mut keep = pin!(carried.keep(way));
    tokio::select! {
        // It has ended because the carrier has.
        ended = &mut run => {
            if session.is_over() {
                return (ended, timeout(FAREWELL, keep).await.ok());
            }
            let heard = farewell(&session, keep).await;
            let ended = ended.map(|outcome| match outcome {
                Outcome::Suspended if !heard => Outcome::Left,
                outcome => outcome,
            });
            (ended, None)
        }
        kept = &mut keep => (run.await, Some(kept)),
    }
}

/// Ends a session in order, whose engine has ended: `keep` is what runs it. Says
/// whether the agent was heard since, and so knows.
async fn farewell(session: &Session, keep: impl Future<Output = Kept>) -> bool {
    let begin = std::time::Instant::now();
    let is_up = session.link().borrow().up;
    if is_up {
        session.end(Reason::Done, "");
        let _ = timeout(FAREWELL, keep).await;
    } else {
        session.abandon("the session was left");
    }
    let (stats, _) = session.stats();
    let (sent, received, resumes) = (stats.sent, stats.received, stats.resumes);
    tracing::info!(sent, received, resumes, "carrier is over");
    is_up && session.heard().is_some_and(|heard| heard >= begin)
}
