//! One run of the client.

use std::io::Write as _;

use nx_proxy::{NxProxy, Order};
use qvd_broker::VmEntry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::login::Login;
use super::progress::Progress;
use super::settings::{Settings, Task};
use super::{ask, list};
use crate::core::{
    Allowed, Broker, Choice, Chosen, Code, Event, Failure, Outcome, View, Wish, open_desktop,
    until_interrupted,
};

/// Does what was asked for.
pub(super) fn run(settings: &Settings) -> Result<(), Failure> {
    let mut progress = Progress::new(settings.quiet);
    for warning in &settings.warnings {
        progress.warn(warning);
        tracing::warn!("{warning}");
    }
    if settings.task == Task::ShowConfig {
        return write_out(&settings.shown_config);
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
            Task::Check | Task::Diagnose(_) | Task::CreateIcons => Err(not_yet()),
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

fn not_yet() -> Failure {
    Failure::new(Code::Usage, "this is not supported yet")
}

async fn write_list(settings: &Settings, progress: &mut Progress) -> Result<(), Failure> {
    loop {
        let login = Login::of(settings, progress).await?;
        let done = list_as(&login, settings, progress).await;
        if let Err(failure) = &done
            && login.is_over(failure).await
        {
            continue;
        }
        if done.is_ok() {
            login.keep(progress).await;
        }
        return done;
    }
}

async fn list_as(
    login: &Login,
    settings: &Settings,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let target = settings.target(login.credentials.clone());
    let events = &mut |event: Event| progress.event(&event);
    let mut broker = Broker::open(target, events).await?;
    let vms = match settings.task {
        Task::ListApplications => broker.applications(events).await?,
        _ => broker.vms(events).await?,
    };
    progress.clear();
    let text = list::render(&vms, settings.json, settings.header);
    write_out(&text)
}

fn write_out(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Of a reader that has seen enough, such as head.
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            let message = format!("standard output: {e}");
            Err(Failure::new(Code::Output, message).because(e))
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
    let mut engine = NxProxy::new(&settings.nxproxy);
    if let Some(cache) = &settings.cache {
        engine = engine.with_cache(cache);
    }
    let outcome = loop {
        let login = until_interrupted(orders.clone(), Login::of(settings, progress)).await?;
        let wish = Wish {
            target: settings.target(login.credentials.clone()),
            choice: choice.clone(),
            kill_vm: settings.kill_vm,
            reconnect: settings.reconnect,
            parameters: settings.parameters.clone(),
            nx_options: settings.nx_options.clone(),
            display: settings.display.clone(),
        };
        let taken = progress.login();
        let session = async {
            let done = open_desktop(&engine, &wish, progress, orders.clone()).await;
            progress.ended();
            done
        };
        // While the session runs, which may be for days.
        let (done, kept) = tokio::join!(session, login.keep_when(taken));
        if let Some(warning) = kept {
            progress.warn(&warning);
        }
        match done {
            Err(failure) if login.is_over(&failure).await => {}
            done => break done?,
        }
    };
    match outcome {
        Outcome::Suspended => progress.done("Session suspended; connect again to resume it"),
        Outcome::Closed => progress.done("Session closed"),
    }
    Ok(())
}

impl View for Progress {
    fn tell(&mut self, event: Event) {
        self.event(&event);
    }

    fn choose<'a>(&'a mut self, vms: &'a [VmEntry]) -> Chosen<'a> {
        self.clear();
        Box::pin(ask::vm(vms))
    }

    fn may_start<'a>(&'a mut self, vm: &'a VmEntry) -> Allowed<'a> {
        self.clear();
        Box::pin(ask::may_start(vm))
    }
}
