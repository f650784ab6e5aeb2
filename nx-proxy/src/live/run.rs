//! A session from its first byte to its end.

use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until, timeout};

use super::driver::{Driver, Fault, Step};
use super::limits;
use super::local::{LocalEnd, LocalEnds};
use super::stats::Shared;
use crate::channels::OwnChannels;
use crate::codec::{Codec, CodecError, Service};
use crate::display::CLOSED_BY_IT;
use crate::engine::{CLOSED, away_changed, lost_because, next_order};
use crate::{Ending, Error, Event, Events, NxStream, Order, Orders, Session};

/// What the loop has been woken by.
enum Wake {
    Away(bool),
    Order(Option<Order>),
    Local(Service, LocalEnd),
    Time,
    Step(Result<Step, Fault>),
}

/// What an engine has for each of its sessions.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    /// Channels in place of the session's own.
    pub(super) ends: Option<&'a Arc<dyn LocalEnds>>,
    /// What the agent wants to be told.
    pub(super) cookie: Option<&'a str>,
    pub(super) shared: &'a Shared,
}

/// Runs one session on `stream`, with its own channels unless `given` has
/// others.
pub(super) async fn run(
    given: Given<'_>,
    stream: NxStream,
    session: &Session,
    events: Events<'_>,
    orders: Orders,
) -> Result<Ending, Error> {
    if let Some(ends) = given.ends {
        return carry(given, ends, None, stream, session, events, orders).await;
    }
    let OwnChannels {
        channels,
        socket,
        dir: _dir,
    } = OwnChannels::new(session)?;
    let channels = Arc::new(channels);
    let ends: Arc<dyn LocalEnds> = Arc::clone(&channels) as _;
    let ended = carry(given, &ends, socket, stream, session, events, orders).await;
    channels.end().await;
    ended
}

/// Carries one session; its slave channels are asked for at `socket`.
async fn carry(
    given: Given<'_>,
    ends: &Arc<dyn LocalEnds>,
    socket: Option<PathBuf>,
    stream: NxStream,
    session: &Session,
    events: Events<'_>,
    mut orders: Orders,
) -> Result<Ending, Error> {
    let access = session.display.access().clone();
    let codec = Codec::new(given.cookie);
    let mut driver = Driver::new(
        codec,
        stream,
        access,
        Arc::clone(ends),
        given.shared.clone(),
    );
    let mut life = Life {
        session,
        socket,
        events,
        agreed: false,
        started: false,
        up: false,
        ending: false,
        order: Order::Run,
        leaving: false,
        silence: Silence::default(),
        away: false,
        until: Some(Instant::now() + session.start_timeout),
    };
    let mut ordered = true;
    let mut away = session.away.clone();
    let done = loop {
        let deadline = life.deadline(driver.heard);
        let wake = tokio::select! {
            biased;
            order = next_order(&mut orders, life.order), if ordered => Wake::Order(order),
            (service, end) = ends.accept(), if life.up && life.order == Order::Run => {
                Wake::Local(service, end)
            }
            away = away_changed(&mut away) => Wake::Away(away),
            step = poll_fn(|cx| driver.poll(cx)) => Wake::Step(step),
            () = sleep_until(deadline) => Wake::Time,
        };
        let ended = match wake {
            Wake::Order(Some(order)) => life.obey(order, &mut driver),
            Wake::Order(None) => {
                ordered = false;
                None
            }
            Wake::Local(service, end) => {
                driver.open(service, end);
                None
            }
            Wake::Away(away) => {
                life.away = away;
                // What could not be heard is no silence.
                driver.heard = Instant::now();
                None
            }
            Wake::Time => life.time(&mut driver),
            Wake::Step(Ok(step)) => life.step(step, &mut driver),
            Wake::Step(Err(fault)) => Some(Err(life.fault(fault))),
        };
        if let Some(ended) = ended {
            break ended;
        }
    };
    driver.count();
    if life.order != Order::Abort && !life.away {
        // The agent may be gone, or deaf.
        let end = poll_fn(|cx| driver.poll_end(cx));
        let _ = timeout(limits::FAREWELL, end).await;
    }
    match done {
        Err(error) if life.order != Order::Run => {
            tracing::debug!(%error, "session failed while it was left");
            Ok(Ending::Suspended)
        }
        done => done,
    }
}

/// What is known of a session.
struct Life<'a> {
    session: &'a Session,
    /// Where slave channels are asked for, until somebody knows.
    socket: Option<PathBuf>,
    events: Events<'a>,
    agreed: bool,
    started: bool,
    /// Channels may be used.
    up: bool,
    /// The agent has said that it closes the session.
    ending: bool,
    order: Order,
    /// It is left once it is up: nxagent may end with all its programs when it
    /// loses a display that it is still asking things of.
    leaving: bool,
    /// The agent's silence.
    silence: Silence,
    /// The stream is away, and nothing can come.
    away: bool,
    /// Until when it has to come up, or to end.
    until: Option<Instant>,
}

/// How long the agent says nothing.
#[derive(Debug, Default)]
struct Silence {
    /// When it was asked for a sign of life, of which it gave none yet.
    asked: Option<Instant>,
}

impl Silence {
    /// When it is to be asked or, where it was, is lost. A process that was
    /// stopped has itself not listened: the agent has its time from the
    /// question on.
    fn due(&mut self, heard: Instant, now: Instant) -> Instant {
        if now.duration_since(heard) < limits::ASK {
            self.asked = None;
        }
        match self.asked {
            None => heard + limits::ASK,
            Some(asked) => (heard + limits::LOST).max(asked + (limits::LOST - limits::ASK)),
        }
    }

    /// Whether it is still to be asked, which is done now: also where its time
    /// was up long ago, and so nobody has listened.
    fn asks(&mut self, due: Instant, now: Instant) -> bool {
        let asks = self.asked.is_none() || now.duration_since(due) > limits::LATE;
        if asks {
            self.asked = Some(now);
        }
        asks
    }
}

/// An end, if it is one.
type Ended = Option<Result<Ending, Error>>;

impl Life<'_> {
    /// When there is something to be done even if nothing happens.
    fn deadline(&mut self, heard: Instant) -> Instant {
        let now = Instant::now();
        if self.away {
            return self.until.unwrap_or_else(|| now + limits::LOST);
        }
        let due = self.silence.due(heard, now);
        self.until.map_or(due, |until| until.min(due))
    }

    fn time(&mut self, driver: &mut Driver) -> Ended {
        let now = Instant::now();
        if self.until.is_some_and(|until| until <= now) {
            if self.leaving {
                self.leave(driver);
                return None;
            }
            if self.order != Order::Run || self.ending {
                return Some(self.closed());
            }
            let seconds = self.session.start_timeout.as_secs();
            return Some(Err(Error::NotUp { seconds }));
        }
        if self.away {
            return None;
        }
        let due = self.silence.due(driver.heard, now);
        if now < due {
            return None;
        }
        if self.silence.asks(due, now) {
            driver.ask();
            return None;
        }
        let seconds = limits::LOST.as_secs();
        if !self.agreed {
            return Some(Err(Error::Unheard { seconds }));
        }
        let reason = format!("nothing was heard for {seconds} s");
        Some(Err(Error::Lost { reason }))
    }

    fn obey(&mut self, order: Order, driver: &mut Driver) -> Ended {
        self.order = order;
        match order {
            Order::Run => None,
            // Nobody is there to whom it could be said.
            Order::Suspend if self.started && !self.away => {
                (self.events)(Event::Ending);
                if self.up {
                    self.leave(driver);
                } else {
                    self.leaving = true;
                    self.until = Some(Instant::now() + limits::LEAVE);
                }
                None
            }
            // Nothing is drawn yet that had to be left in order.
            Order::Suspend | Order::Abort => Some(Ok(Ending::Suspended)),
        }
    }

    /// Takes the session off the display.
    fn leave(&mut self, driver: &mut Driver) {
        self.leaving = false;
        self.until = Some(Instant::now() + limits::LEAVE);
        driver.leave();
    }

    fn step(&mut self, step: Step, driver: &mut Driver) -> Ended {
        match step {
            Step::Agreed(greeting) => {
                self.agreed = true;
                (self.events)(Event::Log(format!(
                    "agent speaks NX {}: link {}, delta {}, stream {}, pack {}",
                    greeting.version,
                    greeting.link,
                    u8::from(greeting.delta),
                    greeting.stream,
                    greeting.pack
                )));
                (self.events)(Event::Agreed(greeting));
                (self.events)(Event::Negotiated);
            }
            Step::Started if !self.started => {
                self.started = true;
                if self.order == Order::Run {
                    self.until = None;
                }
                // Connections wait at it until the session is up.
                if let Some(socket) = self.socket.take() {
                    (self.events)(Event::SlaveListening(socket));
                }
                (self.events)(Event::Started);
            }
            Step::Started => {}
            Step::Up => {
                self.up = true;
                if self.leaving {
                    self.leave(driver);
                }
            }
            Step::Opened(service, id) => (self.events)(Event::Opened(service, id)),
            Step::Closed(service, id) => (self.events)(Event::Closed(service, id)),
            Step::NotOpened(service, why) => (self.events)(Event::NotOpened(service, why)),
            Step::Ending if !self.ending => {
                self.ending = true;
                if self.order == Order::Run {
                    self.until = Some(Instant::now() + limits::LAST_WORDS);
                }
                (self.events)(Event::Ending);
            }
            Step::Ending => {}
            // The agent may wait for this end to close the connection.
            Step::Settled => return Some(self.closed()),
            Step::AgentGone(error) => return Some(self.agent_gone(error.as_ref())),
            Step::DisplayGone if self.order != Order::Run || self.ending => {}
            Step::DisplayGone if self.started => {
                let display = self.session.display.name().to_owned();
                return Some(Err(Error::DisplayClosed { display }));
            }
            Step::DisplayGone => return Some(Err(self.display(CLOSED_BY_IT))),
        }
        None
    }

    /// The end of a session that was left, or that the agent closed.
    fn closed(&self) -> Result<Ending, Error> {
        match self.order {
            Order::Run if self.started => Ok(Ending::ClosedByAgent),
            Order::Run => Err(Error::ClosedEarly),
            _ => Ok(Ending::Suspended),
        }
    }

    fn agent_gone(&self, error: Option<&io::Error>) -> Result<Ending, Error> {
        if self.order != Order::Run {
            return Ok(Ending::Suspended);
        }
        if !self.started {
            return Err(match error {
                Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    Error::NotLetIn {
                        reason: error.to_string(),
                    }
                }
                _ => Error::ClosedEarly,
            });
        }
        match error {
            _ if self.ending => Ok(Ending::ClosedByAgent),
            None => Err(Error::Lost {
                reason: CLOSED.to_owned(),
            }),
            Some(error) => Err(Error::Lost {
                reason: lost_because(error),
            }),
        }
    }

    fn fault(&self, fault: Fault) -> Error {
        match fault {
            Fault::Codec(CodecError::Handshake(reason)) => Error::Negotiation { reason },
            Fault::Codec(error) if !self.agreed => Error::Negotiation {
                reason: error.to_string(),
            },
            Fault::Codec(source) => Error::Damaged { source },
            Fault::Display(error) => self.display(&error.to_string()),
            Fault::Refused(words) => self.display(&words),
        }
    }

    fn display(&self, reason: &str) -> Error {
        Error::DisplayMissing {
            display: self.session.display.name().to_owned(),
            reason: reason.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_agent_is_asked_before_it_counts_as_lost() {
        let begin = Instant::now();
        let at = |second| begin + Duration::from_secs(second);
        let mut silence = Silence::default();
        assert_eq!(silence.due(at(0), at(1)), at(20));
        assert!(silence.asks(at(20), at(20)));
        assert_eq!(silence.due(at(0), at(20)), at(30));
        assert!(!silence.asks(at(30), at(30)));
        // It has given a sign, and falls silent again.
        assert_eq!(silence.due(at(25), at(26)), at(45));
        assert!(silence.asks(at(45), at(45)));
    }

    #[test]
    fn a_process_that_was_stopped_asks_first() {
        let begin = Instant::now();
        let at = |second| begin + Duration::from_secs(second);
        let mut silence = Silence::default();
        // Its last look at the clock was long ago.
        let due = silence.due(at(0), at(100));
        assert_eq!(due, at(20));
        assert!(silence.asks(due, at(100)));
        assert_eq!(silence.due(at(0), at(100)), at(110));
        // Or it was stopped when it had asked.
        let mut silence = Silence::default();
        assert!(silence.asks(at(20), at(20)));
        let due = silence.due(at(0), at(100));
        assert_eq!(due, at(30));
        assert!(silence.asks(due, at(100)));
        let due = silence.due(at(0), at(100));
        assert_eq!(due, at(110));
        assert!(!silence.asks(due, at(110)));
    }
}
