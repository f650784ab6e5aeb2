//! One run of the client.

use std::io::Write as _;

use nx_proxy::{Display, Engine as _, NxProxy, Order, Session};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::progress::Progress;
use super::settings::{Settings, Task};
use super::{ask, list, log};
use crate::core::{Broker, Choice, Code, Event, Failure, Outcome, choose, run_session};

/// Does what was asked for.
pub(super) fn run(settings: &Settings) -> Result<(), Failure> {
    let no_log = log::init(settings.log_file.as_deref(), settings.log_level);
    let mut progress = Progress::new(settings.quiet);
    for warning in settings.warnings.iter().chain(&no_log) {
        progress.warn(warning);
    }
    let internal = |e: std::io::Error| Failure::new(Code::Internal, "no runtime").because(e);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(internal)?;
    let done = runtime.block_on(async {
        let orders = watch_signals().map_err(internal)?;
        match &settings.task {
            Task::Connect(choice) => connect(settings, choice, &mut progress, orders).await,
            _ => until_interrupted(orders, write_list(settings, &mut progress)).await,
        }
    });
    progress.clear();
    // A lookup that hangs in the name service must not keep the program.
    runtime.shutdown_background();
    done
}

/// Signals as orders: the first leaves the session in order, the second at
/// once.
fn watch_signals() -> std::io::Result<watch::Receiver<Order>> {
    let (orders, receiver) = watch::channel(Order::Run);
    for kind in [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ] {
        let mut signals = signal(kind)?;
        let orders = orders.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                orders.send_modify(|order| {
                    *order = if *order == Order::Run {
                        Order::Suspend
                    } else {
                        Order::Abort
                    };
                });
            }
        });
    }
    Ok(receiver)
}

async fn until_interrupted<T>(
    mut orders: watch::Receiver<Order>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        done = work => done,
        Ok(_) = orders.wait_for(|order| *order != Order::Run) => {
            Err(Failure::new(Code::Interrupted, "interrupted"))
        }
    }
}

async fn write_list(settings: &Settings, progress: &mut Progress) -> Result<(), Failure> {
    let events = &mut |event: Event| progress.event(&event);
    let mut broker = Broker::open(settings.target.clone(), events).await?;
    let vms = match settings.task {
        Task::ListApplications => broker.applications(events).await?,
        _ => broker.vms(events).await?,
    };
    progress.clear();
    let text = list::render(&vms, settings.json, settings.header);
    match std::io::stdout().write_all(text.as_bytes()) {
        // Of a reader that has seen enough, such as head.
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Code::Internal, "the list could not be written").because(e))
        }
        _ => Ok(()),
    }
}

async fn connect(
    settings: &Settings,
    choice: &Choice,
    progress: &mut Progress,
    orders: watch::Receiver<Order>,
) -> Result<(), Failure> {
    // What is missing here is said before a session is started there.
    let mut engine = NxProxy::new(&settings.nxproxy);
    if let Some(cache) = &settings.cache {
        engine = engine.with_cache(cache);
    }
    engine
        .check()
        .map_err(|e| Failure::new(Code::Engine, e.to_string()).because(e))?;
    let no_display = |e: nx_proxy::Error| Failure::new(Code::Display, e.to_string()).because(e);
    let name = settings.display.as_deref();
    let name = name.ok_or_else(|| no_display(nx_proxy::Error::NoDisplay))?;
    let display = Display::open(name).await.map_err(no_display)?;
    let mut parameters = settings.parameters.clone();
    parameters.keyboard = parameters
        .keyboard
        .or_else(|| display.keyboard().map(ToString::to_string));

    let preparing = async {
        let events = &mut |event: Event| progress.event(&event);
        let mut broker = Broker::open(settings.target.clone(), events).await?;
        let vms = broker.vms(events).await?;
        let vm = match choose(&vms, choice)? {
            Some(vm) => vm,
            None => {
                progress.clear();
                ask::vm(&vms)?
            }
        };
        let events = &mut |event: Event| progress.event(&event);
        broker
            .connect(vm.id, parameters.to_parameters(), events)
            .await
    };
    let tunnel = until_interrupted(orders.clone(), preparing).await?;

    let mut session = Session::new(display);
    session.options = settings.nx_options.clone();
    let events = &mut |event: Event| progress.event(&event);
    match run_session(&engine, tunnel, &session, events, orders).await? {
        Outcome::Suspended => progress.done("Session suspended; connect again to resume it"),
        Outcome::Closed => progress.done("Session closed"),
    }
    Ok(())
}
