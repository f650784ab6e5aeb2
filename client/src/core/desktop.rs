//! From nothing to a desktop in its window, and to its end, however often the
//! connection breaks in between.

mod prepare;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nx_proxy::{Display, Engine, Local, NxOptions, Order};
use qvd_broker::{ClientParameters, ConnectParameters, RESUMES, VmEntry};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use self::prepare::{Prepared, prepare};
use super::broker::{Broker, Target, Tunnel};
use super::carried::{self, Carried, Carrier, Kept, Network, Road, carry};
use super::choice::Choice;
use super::event::Event;
use super::failure::{Code, Failure};
use super::reconnect::{Action, Reconnect};
use super::session::{Outcome, interrupted, run_session};
use super::shares::{Channel, Slave};
use super::sound::Way;

/// How long a broker may take to connect, to list and to begin to prepare the
/// session, when a session is to be got back.
const ATTEMPT: Duration = Duration::from_secs(20);

/// How long a broker may then say nothing on the way to a session that runs.
/// The longest step is another client that does not let go of it: 30 s.
const STEP: Duration = Duration::from_secs(45);

/// How long it is at least until another attempt, where that one was to wait.
const LEAST_WAIT: Duration = Duration::from_secs(1);

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Where the broker is and who asks.
    pub target: Target,
    /// Which VM.
    pub choice: Choice,
    /// Whether the VM is stopped first, so that it starts afresh.
    pub kill_vm: bool,
    /// What the client says of itself. The keyboard is the display's where
    /// none is given.
    pub parameters: ClientParameters,
    /// NX options of the user for this end.
    pub nx_options: NxOptions,
    /// Name of the X display; `None` when the user has none.
    pub display: Option<String>,
    /// How long it is tried to get a lost session back; zero for not at all.
    pub reconnect: Duration,
    /// The slave channel, on which folders are shared, where it is wanted.
    pub slave: Option<Slave>,
    /// Where the session's sound is played, if it is.
    pub sound: Option<Local>,
    /// Where the session prints, if it may.
    pub printers: Option<Local>,
    /// How the carrier is spoken, where it is with an agent that knows it.
    pub carrier: Option<Carrier>,
}

/// The user, as the client sees him.
pub trait View: Send {
    /// Something happened. Called at once and must not wait.
    fn tell(&mut self, event: Event);

    /// Has the user choose one of several VMs. Dropped when the user leaves.
    fn choose<'a>(&'a mut self, vms: &'a [VmEntry]) -> Chosen<'a>;

    /// Whether a VM that was stopped while its session was lost may be
    /// started; `false` when there is nobody to ask. Dropped when the user
    /// leaves.
    fn may_start<'a>(&'a mut self, vm: &'a VmEntry) -> Allowed<'a>;
}

/// The user's choice; fails when there is nobody to ask.
pub type Chosen<'a> = Pin<Box<dyn Future<Output = Result<&'a VmEntry, Failure>> + Send + 'a>>;

/// The user's consent.
pub type Allowed<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

/// Opens a desktop, and returns when it has ended. An [`Order`] beyond
/// [`Order::Run`] has it left; before there is a session, that is
/// [`Code::Interrupted`].
///
/// A session whose connection breaks is got back as [`Reconnect`] says, with
/// the same login, and with an engine that is started anew.
///
/// # Errors
/// When the desktop does not come up, or does not end in order.
pub async fn open_desktop(
    engine: &dyn Engine,
    wish: &Wish,
    view: &mut dyn View,
    orders: watch::Receiver<Order>,
) -> Result<Outcome, Failure> {
    let prepared = until_interrupted(orders.clone(), prepare(engine, wish, view)).await?;
    let Prepared {
        vm,
        mut tunnel,
        mut session,
        parameters,
    } = prepared;
    let begin = Instant::now();
    let mut machine = Reconnect::new(wish.reconnect);
    let _way = match &wish.sound {
        Some(Local::Unix(socket)) if !engine.takes_sound_at_sockets() => {
            match Way::open(socket.clone()).await {
                Ok(way) => {
                    session.media = Some(Local::Port(way.port()));
                    Some(way)
                }
                Err(error) => {
                    tracing::warn!(%error, "no sound");
                    None
                }
            }
        }
        other => {
            session.media = other.clone();
            None
        }
    };
    let (tell, mut said) = unbounded_channel();
    let mut slave = match &wish.slave {
        None => None,
        Some(slave) => {
            let opened =
                Channel::open(slave.clone(), &vm.name, &wish.target.host, tell.clone()).await;
            opened
                .map_err(|error| view.tell(no_channel(slave, &error)))
                .ok()
        }
    };
    loop {
        let mut lost = None;
        let ended = {
            let drawn = AtomicBool::new(false);
            let mut was_up = None;
            if let Some(slave) = &mut slave {
                slave.keyed(tunnel.slave_key.as_ref());
            }
            let Road {
                stream,
                carried,
                door,
            } = Road::of(
                tunnel,
                wish.carrier.as_ref(),
                wish.slave.as_ref().map(|slave| {
                    // As an engine has it.
                    let display = ("DISPLAY".to_owned(), session.display.name().into());
                    let mut slave = slave.engine();
                    slave.environment.push(display);
                    slave
                }),
            )
            .await?;
            session.away = carried.as_ref().map(Carried::away);
            // What shares have to tell comes in between.
            let events = &mut |event: Event| {
                let _ = tell.send(event.clone());
                match (event, &mut slave) {
                    (Event::Connected, slave) => {
                        was_up = Some(begin.elapsed());
                        drawn.store(true, Ordering::Relaxed);
                        slave.iter_mut().for_each(Channel::connected);
                    }
                    // Folders have a way of their own, beside NX.
                    (Event::SlaveListening(socket), Some(slave)) => match &door {
                        Some(door) => slave.listening(door.socket(), Some(door.road())),
                        None => slave.listening(socket, None),
                    },
                    _ => {}
                }
            };
            let run = run_session(engine, stream, &session, events, orders.clone());
            let way = carried::Way {
                wish,
                vm: &vm,
                parameters: &parameters,
                tell: &tell,
                drawn: &drawn,
            };
            let run = carry(run, carried, way);
            let mut unseen = false;
            let (ended, kept) = tokio::select! {
                ended = run => ended,
                never = show_all(view, &mut said, &orders, &mut unseen) => match never {},
            };
            drop(door);
            if let Some(slave) = &mut slave {
                slave.lost().await;
            }
            while let Ok(event) = said.try_recv() {
                show(view, event, &orders, &mut unseen);
            }
            if let Some(at) = was_up {
                machine.up(at);
            }
            match (ended, kept) {
                // The agent has it no more, and the way to a new one is there.
                (Err(_), Some(Kept::Anew(anew))) => {
                    view.tell(Event::Lost {
                        cause: "it could not go on where it was".to_owned(),
                        frozen: false,
                    });
                    tunnel = anew;
                    continue;
                }
                (
                    Err(_),
                    Some(Kept::GivenUp {
                        failure,
                        lost: at,
                        told,
                        attempts,
                    }),
                ) => {
                    if told {
                        view.tell(Event::Gone);
                    }
                    lost = Some((at.duration_since(begin), told, attempts));
                    Err(failure)
                }
                (Err(_), Some(Kept::Broken(failure))) if was_up.is_none() => Err(failure),
                // The agent has said that this is the end: to come back would
                // be to take it from whoever has it now, or to begin anew.
                (Err(_), Some(Kept::Over)) if was_up.is_some() => Ok(Outcome::Closed),
                (ended, _) => ended,
            }
        };
        let mut failure = match ended {
            Ok(Outcome::Closed) => return still_there(session.display).await,
            Ok(outcome) => return Ok(outcome),
            Err(failure) => failure,
        };
        let mut told = machine.is_out();
        // Its VM has looked stopped for as long as the carrier's session was
        // kept: whether it is to be started is asked once more, however little
        // time is left.
        let mut is_kept = lost.is_some() && !wish.reconnect.is_zero();
        if let Some((at, known, attempts)) = lost {
            told |= known;
            // That time counts, and so do they.
            machine.failed(Code::SessionLost, at, chance());
            machine.tried_before(attempts);
        }
        let network = Network::watch();
        tunnel = loop {
            let is_asked = std::mem::take(&mut is_kept) && failure.code() == Code::VmStopped;
            let action = match is_asked {
                true => Action::TryAfter(Duration::ZERO),
                false => machine.failed(failure.code(), begin.elapsed(), chance()),
            };
            let Action::TryAfter(wait) = action else {
                return Err(given_up(failure, &machine, begin.elapsed()));
            };
            if !std::mem::replace(&mut told, true) {
                view.tell(Event::Lost {
                    cause: failure.to_string(),
                    frozen: false,
                });
            }
            view.tell(Event::Reconnecting {
                attempt: machine.attempt(),
                wait,
                left: machine.left(begin.elapsed()),
            });
            let again = async {
                // A network that changes all the time is no reason to hurry.
                let least = wait.min(LEAST_WAIT);
                sleep(least).await;
                tokio::select! {
                    () = sleep(wait - least) => {}
                    // What has failed may go now.
                    () = network.changed(), if wait > least => {
                        wish.target.names.renew();
                    }
                }
                resume(wish, &vm, &parameters, &machine, begin, view).await
            };
            match until_interrupted(orders.clone(), again).await {
                Ok(tunnel) => break tunnel,
                Err(_) if *orders.borrow() != Order::Run => return Err(resumable(failure)),
                Err(error) => {
                    tracing::info!(code = error.code().as_str(), "{}", error.chain());
                    failure = error;
                }
            }
        };
    }
}

/// Shows what happens while the engine runs.
async fn show_all(
    view: &mut dyn View,
    said: &mut UnboundedReceiver<Event>,
    orders: &watch::Receiver<Order>,
    unseen: &mut bool,
) -> Infallible {
    while let Some(event) = said.recv().await {
        show(view, event, orders, unseen);
    }
    std::future::pending().await
}

/// Shows what has happened. Who leaves wants no session back, though his
/// connection may be lost on the way: such an outage is `unseen`, and so is its
/// end.
fn show(view: &mut dyn View, event: Event, orders: &watch::Receiver<Order>, unseen: &mut bool) {
    match event {
        Event::Lost { .. } | Event::Reconnecting { .. } if *orders.borrow() != Order::Run => {
            *unseen = true;
        }
        Event::Connected | Event::Opening if *unseen => {}
        event => view.tell(event),
    }
}

fn no_channel(slave: &Slave, error: &qvd_slaveclient::Error) -> Event {
    Event::NotShared {
        path: slave.base.clone(),
        why: error.to_string(),
    }
}

/// Does `work` unless the user gives up first.
///
/// # Errors
/// Those of `work`, or [`Code::Interrupted`].
pub async fn until_interrupted<T>(
    mut orders: watch::Receiver<Order>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        done = work => done,
        Ok(_) = orders.wait_for(|order| *order != Order::Run) => {
            Err(interrupted())
        }
    }
}

/// One attempt to get the session of `vm` back.
async fn resume(
    wish: &Wish,
    vm: &VmEntry,
    parameters: &ConnectParameters,
    machine: &Reconnect,
    begin: Instant,
    view: &mut dyn View,
) -> Result<Tunnel, Failure> {
    let events = &mut |event| view.tell(event);
    let listed = async {
        let mut broker = Broker::open(wish.target.clone(), &mut *events).await?;
        let vms = match vm.is_application {
            false => broker.vms(&mut *events).await?,
            true => broker.applications(&mut *events).await?,
        };
        Ok((broker, vms))
    };
    let (broker, vms) = within(ATTEMPT, listed).await?;
    let Some(now) = vms.into_iter().find(|now| now.id == vm.id) else {
        let message = qvd_broker::one_line(&format!("{vm} is not yours any more"));
        return Err(Failure::new(Code::NoSuchVm, message));
    };
    let mut parameters = parameters.clone();
    // Of a name that clients may send.
    let _ = parameters.set(RESUMES, "1");
    if !is_stopped(&now) {
        let limit = machine.left(begin.elapsed()).max(ATTEMPT);
        let broker = broker.with_patience(STEP);
        let connect = broker.connect(vm.id, parameters, &mut *events);
        return within(limit, connect).await;
    }
    if !machine.knows_stopped(begin.elapsed()) || !view.may_start(&now).await {
        let message = qvd_broker::one_line(&format!("{now} was stopped meanwhile"));
        return Err(Failure::new(Code::VmStopped, message));
    }
    // The user waits for it, as for any VM that starts.
    let events = &mut |event| view.tell(event);
    broker.connect(vm.id, parameters, events).await
}

/// A connect would start it.
pub(super) fn is_stopped(vm: &VmEntry) -> bool {
    matches!(vm.state.as_str(), "stopped" | "stopping" | "zombie")
}

pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    timeout(limit, work).await.unwrap_or_else(|_| {
        let message = format!("the broker did not answer within {} s", limit.as_secs());
        Err(Failure::new(Code::TimedOut, message))
    })
}

/// A random number; without one, all clients wait equally long.
pub(super) fn chance() -> u32 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u32::from_ne_bytes(bytes),
        Err(_) => u32::MAX,
    }
}

/// The failure of an outage that is over.
fn given_up(failure: Failure, machine: &Reconnect, now: Duration) -> Failure {
    match failure.code() {
        _ if !machine.was_up() => failure,
        Code::SessionLost => resumable(failure),
        Code::UnknownHost | Code::ConnectFailed | Code::VmUnavailable | Code::TimedOut => {
            let lasted = machine.lasted(now).as_secs();
            let message = format!(
                "the session was lost and did not come back within {lasted} s: {failure}; \
                 connect again to resume it"
            );
            Failure::new(Code::SessionLost, message).because(failure)
        }
        _ => {
            let message = format!("the session was lost: {failure}");
            Failure::new(failure.code(), message).because(failure)
        }
    }
}

fn resumable(failure: Failure) -> Failure {
    // It may be suspended by now, or when the agent's patience is over.
    let message = format!("{failure}; the session is kept, connect again to resume it");
    Failure::new(Code::SessionLost, message).because(failure)
}

/// The agent also closes a session when the display it was drawn on is gone;
/// to NX that is the same.
async fn still_there(display: Display) -> Result<Outcome, Failure> {
    match Display::open(display.name()).await {
        Ok(_) => Ok(Outcome::Closed),
        Err(error) => {
            let message = format!("{error}; the session is suspended, connect again to resume it");
            Err(Failure::new(Code::Display, message).because(error))
        }
    }
}
