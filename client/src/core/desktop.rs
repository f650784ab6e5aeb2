//! From nothing to a desktop in its window, and to its end.

use std::future::Future;
use std::pin::Pin;

use nx_proxy::{Display, Engine, NxOptions, Order, Session};
use qvd_broker::{ClientParameters, VmEntry};
use tokio::sync::watch;

use super::broker::{Broker, Target, Tunnel};
use super::choice::{Choice, choose};
use super::event::Event;
use super::failure::{Code, Failure};
use super::session::{Outcome, engine_failed, interrupted, run_session};

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Where the broker is and who asks.
    pub target: Target,
    /// Which VM.
    pub choice: Choice,
    /// What the client says of itself. The keyboard is the display's where
    /// none is given.
    pub parameters: ClientParameters,
    /// NX options of the user for this end.
    pub nx_options: NxOptions,
    /// Name of the X display; `None` when the user has none.
    pub display: Option<String>,
}

/// The user, as the client sees him.
pub trait View: Send {
    /// Something happened. Called at once and must not wait.
    fn tell(&mut self, event: Event);

    /// Has the user choose one of several VMs. Dropped when the user leaves.
    fn choose<'a>(&'a mut self, vms: &'a [VmEntry]) -> Chosen<'a>;
}

/// The user's choice; fails when there is nobody to ask.
pub type Chosen<'a> = Pin<Box<dyn Future<Output = Result<&'a VmEntry, Failure>> + Send + 'a>>;

/// Opens a desktop, and returns when it has ended. An [`Order`] beyond
/// [`Order::Run`] has it left; before there is a session, that is
/// [`Code::Interrupted`].
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
    let (tunnel, session) = prepared;
    let events = &mut |event| view.tell(event);
    match run_session(engine, tunnel, &session, events, orders).await? {
        Outcome::Closed => still_there(session.display).await,
        outcome => Ok(outcome),
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

async fn prepare(
    engine: &dyn Engine,
    wish: &Wish,
    view: &mut dyn View,
) -> Result<(Tunnel, Session), Failure> {
    // What is missing here is said before a session is started there.
    engine.check().map_err(engine_failed)?;
    let Some(display) = wish.display.as_deref() else {
        return Err(engine_failed(nx_proxy::Error::NoDisplay));
    };
    let display = async { Display::open(display).await.map_err(engine_failed) };
    let listed = async {
        let events = &mut |event| view.tell(event);
        let mut broker = Broker::open(wish.target.clone(), events).await?;
        let vms = broker.vms(events).await?;
        Ok((broker, vms))
    };
    let (display, (broker, vms)) = tokio::try_join!(display, listed)?;

    let id = match choose(&vms, &wish.choice)? {
        Some(vm) => vm.id,
        None => view.choose(&vms).await?.id,
    };
    let mut parameters = wish.parameters.clone();
    parameters.keyboard = parameters
        .keyboard
        .or_else(|| display.keyboard().map(ToString::to_string));
    let events = &mut |event| view.tell(event);
    let tunnel = broker
        .connect(id, parameters.to_parameters(), events)
        .await?;
    let mut session = Session::new(display);
    session.options = wish.nx_options.clone();
    Ok((tunnel, session))
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
