//! Getting a connection back for a session that goes on.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use qvd_broker::RESUMES;
use qvd_carrier::Offer;
use qvd_net::carrier::Ended;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::super::broker::{Broker, Tunnel};
use super::super::desktop::{chance, is_stopped, within};
use super::super::event::Event;
use super::super::failure::{Code, Failure};
use super::super::reconnect::Action;
use super::beneath::{Beneath, listen_again};
use super::{Carried, Kept, Run, Way, network, over};

/// How long an attempt may take to get a connection back.
const ATTEMPT: Duration = Duration::from_secs(20);

/// How long the broker may take to be reached, on a link that is not slow.
const REACH: Duration = Duration::from_secs(2);

/// The least that an attempt has, however little time is left.
const LEAST: Duration = Duration::from_secs(1);

/// An outage that is over by then is none that the user is told of.
const UNSEEN: Duration = Duration::from_secs(1);

/// How far an attempt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The broker's name is looked up.
    Looking,
    Connecting,
    /// There is a connection from `own` to `address`.
    Reached {
        address: SocketAddr,
        own: SocketAddr,
    },
}

/// What has come of an attempt to get a session's connection back.
enum Regained {
    /// It runs again.
    Runs(Run),
    /// The agent does not have the session any more; on this tunnel one begins
    /// anew.
    Anew(Tunnel),
    /// The session has ended.
    Ended(Ended),
}

impl Carried {
    /// Gets a connection for the session, which runs again then; tells the user
    /// of an outage that is to be seen.
    pub(super) async fn regain(
        &mut self,
        mut failure: Failure,
        lost: Instant,
        way: Way<'_>,
    ) -> Result<Run, Kept> {
        let tell = |event| {
            // Without a listener the client ends.
            let _ = way.tell.send(event);
        };
        let mut told = false;
        // What came of attempts is for the log.
        let cause = failure.to_string();
        loop {
            let now = self.begin.elapsed();
            let action = self.outages.failed(failure.code(), now, chance());
            let Action::TryAfter(wait) = action else {
                return Err(Kept::GivenUp {
                    failure,
                    lost,
                    told,
                    attempts: self.outages.attempts(),
                });
            };
            let attempt = self.outages.attempt();
            let trying = |wait| Event::Reconnecting {
                attempt,
                wait,
                left: self
                    .outages
                    .left_with(way.wish.reconnect, self.begin.elapsed()),
            };
            if told {
                tell(trying(wait));
            }
            let tried = async {
                tokio::select! {
                    () = sleep(wait) => {}
                    // What has failed may go now.
                    () = self.network.changed(), if wait > Duration::ZERO => {
                        way.wish.target.names.renew();
                    }
                }
                self.try_once(way).await
            };
            let seen = async {
                if !told {
                    sleep_until(lost + UNSEEN).await;
                    tell(Event::Lost {
                        cause: cause.clone(),
                        frozen: way.drawn.load(Ordering::Relaxed),
                    });
                    tell(trying(Duration::ZERO));
                    told = true;
                }
                std::future::pending().await
            };
            let regained = tokio::select! {
                regained = tried => regained,
                never = seen => match never {},
            };
            match regained {
                Ok(Regained::Runs(run)) => {
                    if told {
                        tell(match way.drawn.load(Ordering::Relaxed) {
                            true => Event::Connected,
                            // It is still to be drawn.
                            false => Event::Opening,
                        });
                    }
                    self.outages.up(self.begin.elapsed());
                    tracing::info!(after = ?lost.elapsed(), "the connection is back");
                    return Ok(run);
                }
                Ok(Regained::Anew(tunnel)) => return Err(Kept::Anew(tunnel)),
                Ok(Regained::Ended(ended)) => return Err(over(&ended)),
                Err(error) => {
                    tracing::info!(code = error.code().as_str(), "{}", error.chain());
                    failure = error;
                }
            }
        }
    }

    /// One attempt, which is given up where its broker is not reached in time
    /// or its way is gone.
    async fn try_once(&self, way: Way<'_>) -> Result<Regained, Failure> {
        let given_up = |message| Err(Failure::new(Code::ConnectFailed, message));
        let (step, mut steps) = watch::channel(Step::Looking);
        let patience = self.patience();
        let unreached = async {
            let _ = steps.wait_for(|step| *step != Step::Looking).await;
            let reached = steps.wait_for(|step| matches!(step, Step::Reached { .. }));
            if timeout(patience, reached).await.is_ok() {
                std::future::pending::<()>().await;
            }
        };
        let left = self.outages.left(self.begin.elapsed());
        let limit = left.min(ATTEMPT).max(LEAST);
        tokio::select! {
            regained = within(limit, self.attempt(way, &step)) => regained,
            () = unreached => given_up("the broker cannot be reached"),
            () = self.way_gone(&step) => {
                way.wish.target.names.renew();
                given_up("the network has changed")
            }
        }
    }

    /// Waits until the network has changed so that an attempt's connection
    /// leads nowhere, or would be made in another way.
    async fn way_gone(&self, step: &watch::Sender<Step>) {
        loop {
            self.network.changed().await;
            match *step.borrow() {
                Step::Reached { address, own } if network::leads(own, address) => {}
                _ => return,
            }
        }
    }

    /// How long the broker may take to be reached: then it is tried anew, as
    /// what the network has lost meanwhile is asked for again ever more seldom.
    fn patience(&self) -> Duration {
        let (stats, _) = self.session.stats();
        let round_trip = stats.round_trip.unwrap_or_default();
        round_trip.saturating_mul(4).max(REACH)
    }

    /// One attempt; tells how far it has come.
    async fn attempt(&self, way: Way<'_>, step: &watch::Sender<Step>) -> Result<Regained, Failure> {
        let Way { wish, vm, .. } = way;
        let events = &mut |event| {
            match event {
                Event::Connecting { .. } => drop(step.send_replace(Step::Connecting)),
                Event::Reached { address, own } => {
                    step.send_replace(Step::Reached { address, own });
                }
                _ => {}
            }
            tracing::debug!("{event:?}");
        };
        let mut broker = Broker::open(wish.target.clone(), &mut *events).await?;
        let vms = match vm.is_application {
            false => broker.vms(&mut *events).await?,
            true => broker.applications(&mut *events).await?,
        };
        let Some(now) = vms.into_iter().find(|now| now.id == vm.id) else {
            let message = qvd_broker::one_line(&format!("{vm} is not yours any more"));
            return Err(Failure::new(Code::NoSuchVm, message));
        };
        if is_stopped(&now) {
            let message = qvd_broker::one_line(&format!("{now} was stopped meanwhile"));
            return Err(Failure::new(Code::VmStopped, message));
        }
        let mut parameters = way.parameters.clone();
        // Both of names that clients may send.
        let _ = parameters.set(RESUMES, "1");
        if let Some(token) = self.session.token() {
            let _ = parameters.set(qvd_carrier::RESUME, token.to_parameter());
        }
        let tunnel = broker.connect(vm.id, parameters, &mut *events).await?;
        self.go_on(tunnel).await
    }

    /// Has the session go on on a tunnel: when the agent has said that it does.
    async fn go_on(&self, tunnel: Tunnel) -> Result<Regained, Failure> {
        let Tunnel {
            stream,
            slave_key,
            carrier,
        } = tunnel;
        let lost = |cause: String| {
            let message = format!("connection to the session was lost: {cause}");
            Failure::new(Code::SessionLost, message)
        };
        let found = listen_again(stream, carrier).await;
        let (stream, carrier) = match found.map_err(|error| lost(error.to_string()))? {
            Beneath::Carrier(connection, Offer::Resume) => {
                let mut link = self.session.link();
                let times = link.borrow().times;
                let mut run = self.run(connection);
                return tokio::select! {
                    ended = &mut run => match ended {
                        Ended::Lost(loss) => Err(lost(loss.to_string())),
                        ended => Ok(Regained::Ended(ended)),
                    },
                    _ = link.wait_for(|link| link.times > times) => Ok(Regained::Runs(run)),
                };
            }
            // What was read is the stream's still.
            Beneath::Carrier(stream, Offer::New) => (stream, true),
            Beneath::Plain(stream) => (stream, false),
        };
        Ok(Regained::Anew(Tunnel {
            stream,
            slave_key,
            carrier: Some(carrier),
        }))
    }
}
