//! One run of the client.

use std::io::Write as _;

use nx_proxy::{Engine, Native, NxProxy, Order};
use qvd_broker::VmEntry;
use qvd_config::value::NxEngine;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::icons::Caller;
use super::login::Login;
use super::progress::Progress;
use super::settings::{Settings, Task};
use super::{ask, check, diagnose, icons, kiosk, list};
use crate::core::{
    Allowed, Broker, CarrierStatistics, Choice, Chosen, Code, Event, Failure, Outcome, View, Wish,
    open_desktop, until_interrupted,
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
        let progress = &mut progress;
        if let Task::Connect(choice) = &settings.task
            && settings.kiosk
        {
            return kiosk::run(settings, choice, progress).await;
        }
        let orders = watch_signals().map_err(internal)?;
        match &settings.task {
            Task::Connect(choice) => {
                let outcome = connect(settings, choice, progress, orders).await?;
                tell(outcome, progress);
                Ok(())
            }
            Task::Check => until_interrupted(orders, check(settings, progress)).await,
            Task::Diagnose(file) => {
                let written = diagnose::write(settings, file.as_deref());
                let path = until_interrupted(orders, written).await?;
                write_out(&format!("{}\n", path.display()))
            }
            _ => until_interrupted(orders, with_broker(settings, progress)).await,
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

/// What needs a login, and no session.
async fn with_broker(settings: &Settings, progress: &mut Progress) -> Result<(), Failure> {
    loop {
        let login = Login::of(settings, progress).await?;
        let done = as_user(&login, settings, progress).await;
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

async fn as_user(
    login: &Login,
    settings: &Settings,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let target = settings.target(login.credentials.clone());
    let events = &mut |event: Event| progress.event(&event);
    let mut broker = Broker::open(target, events).await?;
    let vms = match settings.task {
        Task::ListApplications => broker.applications(events).await?,
        Task::CreateIcons => {
            let mut all = broker.vms(events).await?;
            all.extend(broker.applications(events).await?);
            all
        }
        _ => broker.vms(events).await?,
    };
    progress.clear();
    if settings.task == Task::CreateIcons {
        return create_icons(settings, &vms);
    }
    let text = list::render(&vms, settings.json, settings.header);
    write_out(&text)
}

fn create_icons(settings: &Settings, vms: &[VmEntry]) -> Result<(), Failure> {
    let folder = settings.icons.as_deref().ok_or_else(|| {
        let message = "there is no place for icons: HOME and XDG_DATA_HOME are not set";
        Failure::new(Code::Output, message)
    })?;
    let caller = Caller {
        program: std::env::current_exe().unwrap_or_else(|_| "qvdclient".into()),
        host: settings.host.clone(),
        port: settings.port,
        tls: settings.tls.is_some(),
        login: settings.login.clone(),
        config: settings.config.as_deref().map(|file| {
            // The menu's working directory is another one.
            std::path::absolute(file).unwrap_or_else(|_| file.to_owned())
        }),
    };
    let written = icons::write(folder, &caller, vms)?;
    let lines: String = written
        .iter()
        .map(|path| format!("{}\n", path.display()))
        .collect();
    write_out(&lines)
}

async fn check(settings: &Settings, progress: &mut Progress) -> Result<(), Failure> {
    let report = check::run(settings, progress).await;
    progress.clear();
    write_out(&match settings.json {
        true => report.json(),
        false => report.text(),
    })?;
    report.failure.map_or(Ok(()), Err)
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

/// One session, from the login to its end.
pub(super) async fn connect(
    settings: &Settings,
    choice: &Choice,
    progress: &mut Progress,
    orders: watch::Receiver<Order>,
) -> Result<Outcome, Failure> {
    let statistics = Native::new();
    let engine = engine(settings, &statistics);
    let carrier = settings.carrier.as_ref();
    let numbers = Numbers {
        native: (settings.engine == NxEngine::Native).then(|| statistics.clone()),
        carrier: carrier.map(|carrier| carrier.statistics.clone()),
    };
    let _told = on_request(&numbers);
    loop {
        let login = until_interrupted(orders.clone(), Login::of(settings, progress)).await?;
        let wish = Wish {
            target: settings.target(login.credentials.clone()),
            choice: choice.clone(),
            kill_vm: settings.kill_vm,
            reconnect: settings.reconnect,
            parameters: settings.parameters.clone(),
            nx_options: settings.nx_options.clone(),
            display: settings.display.clone(),
            slave: settings.slave.clone(),
            sound: settings.sound.clone(),
            printers: settings.printers.clone(),
            carrier: settings.carrier.clone(),
        };
        let taken = progress.login();
        let session = async {
            let done = open_desktop(&*engine, &wish, progress, orders.clone()).await;
            progress.ended();
            if settings.stats {
                numbers.tell();
            }
            done
        };
        // While the session runs, which may be for days.
        let (done, kept) = tokio::join!(session, login.keep_when(taken));
        if let Some(warning) = kept {
            progress.warn(&warning);
        }
        match done {
            Err(failure) if login.is_over(&failure).await => {}
            done => return done,
        }
    }
}

/// What draws the session: `native`, of which the statistics can be had
/// meanwhile, or the installed nxproxy.
#[must_use]
pub fn engine(settings: &Settings, native: &Native) -> Box<dyn Engine> {
    match settings.engine {
        NxEngine::Native => Box::new(native.clone()),
        _ => {
            let engine =
                NxProxy::new(&settings.nxproxy).with_arguments(settings.nxproxy_args.clone());
            Box::new(match &settings.cache {
                Some(cache) => engine.with_cache(cache),
                None => engine,
            })
        }
    }
}

/// Tells on SIGUSR1 what the session has carried so far, until it is dropped.
fn on_request(numbers: &Numbers) -> JoinSet<()> {
    let mut set = JoinSet::new();
    if let Ok(mut requests) = signal(SignalKind::user_defined1()) {
        let numbers = numbers.clone();
        set.spawn(async move {
            while requests.recv().await.is_some() {
                numbers.tell();
            }
        });
    }
    set
}

/// What can be told of a session's traffic.
#[derive(Clone)]
struct Numbers {
    /// Of the engine that counts.
    native: Option<Native>,
    carrier: Option<CarrierStatistics>,
}

impl Numbers {
    fn tell(&self) {
        let carrier = self.carrier.as_ref().and_then(CarrierStatistics::tell);
        let native = self.native.as_ref().map(Native::statistics);
        let native = native.map(|native| native.to_string());
        // Nobody may be listening.
        let text = carrier.into_iter().chain(native).collect::<String>();
        let _ = write!(std::io::stderr(), "{text}");
    }
}

/// How a session ended.
pub(super) fn tell(outcome: Outcome, progress: &mut Progress) {
    match outcome {
        Outcome::Suspended => progress.done("Session suspended; connect again to resume it"),
        Outcome::Left => progress.done(
            "Session left, whose connection was lost; it is kept, connect again to resume it",
        ),
        Outcome::Closed => progress.done("Session closed"),
    }
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
