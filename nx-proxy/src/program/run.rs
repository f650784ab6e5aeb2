//! One session of the program.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::link;
use super::report::Report;
use super::settings::{Place, Settings};
use crate::codec::Service;
use crate::{
    Channels, Display, Engine as _, Error, Event, Listener, LocalEnds, Native, Order, Session,
};

/// The program that serves the agent's slave channels.
const SLAVE_COMMAND: &str = "NX_SLAVE_CMD";

/// Processes that were started for slave channels and not told of yet.
type Started = Arc<Mutex<VecDeque<u32>>>;

/// Runs a session, from the connection to the last word; whether it ended in
/// order.
pub(super) async fn run(settings: &Settings, display: &str, mut report: Report) -> bool {
    report.begin();
    for warning in &settings.warnings {
        report.warning(warning);
    }
    let ended = tokio::select! {
        biased;
        number = signalled() => {
            report.info(&format!("Aborting the procedure due to signal '{number}'."));
            Ok(None)
        }
        prepared = prepare(settings, display, &mut report) => prepared.map(Some),
    };
    let ended = match ended {
        Ok(Some(prepared)) => carry(prepared, settings, &mut report).await,
        Ok(None) => Ok(()),
        Err(reason) => Err(vec![reason]),
    };
    if let Err(reasons) = &ended {
        for reason in reasons {
            report.error(reason);
        }
    }
    for process in &settings.kill {
        // It may be gone already.
        let _ = Pid::from_raw(*process).map(|process| kill_process(process, Signal::TERM));
    }
    report.session("Session terminated");
    ended.is_ok()
}

/// What a session needs beside its settings.
struct Prepared {
    display: Display,
    stream: crate::NxStream,
    channels: Arc<Channels>,
    /// Where slave connections are taken, as the log has it.
    slave: Option<String>,
    started: Started,
}

async fn prepare(
    settings: &Settings,
    display: &str,
    report: &mut Report,
) -> Result<Prepared, String> {
    let display = Display::open(display).await.map_err(|e| e.to_string())?;
    let started = Started::default();
    let queue = Arc::clone(&started);
    let mut channels = Channels::new().telling(move |process| {
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push_back(process);
    });
    for (service, target) in &settings.targets {
        channels = channels.with(*service, target.clone());
    }
    if let Some(command) = std::env::var_os(SLAVE_COMMAND).filter(|c| !c.is_empty()) {
        channels = channels.with_slave_command(PathBuf::from(command));
    }
    let mut slave = None;
    if let Some(place) = &settings.slave {
        let listener = match place {
            Place::Unix(path) => Listener::unix(path),
            Place::Tcp { port, .. } => Listener::port(*port).await,
        };
        let listener = listener.map_err(|error| error.to_string())?;
        slave = Some(listener.to_string());
        channels = channels.with_listener(listener);
    }
    let stream = link::made(&settings.link, report).await?;
    Ok(Prepared {
        display,
        stream,
        channels: Arc::new(channels),
        slave,
        started,
    })
}

/// Carries the session; what was wrong, if it did not end in order.
async fn carry(
    prepared: Prepared,
    settings: &Settings,
    report: &mut Report,
) -> Result<(), Vec<String>> {
    let Prepared {
        display,
        stream,
        channels,
        slave,
        started,
    } = prepared;
    let ends: Arc<dyn LocalEnds> = Arc::clone(&channels) as _;
    let mut engine = Native::new().with_local_ends(ends);
    if let Some(cookie) = &settings.cookie {
        engine = engine.with_cookie(cookie);
    }
    let session = Session::new(display);
    let (order, orders) = watch::channel(Order::Run);
    let mut teller = Teller {
        report,
        settings,
        display: session.display.name(),
        slave,
        started,
        slaves: BTreeMap::new(),
        ending: false,
    };
    let mut tell = |event| teller.event(event);
    let ended = {
        let running = engine.run(stream, &session, &mut tell, orders);
        let signals = async {
            // Whoever is asked a second time leaves at once.
            signalled().await;
            order.send_replace(Order::Suspend);
            signalled().await;
            order.send_replace(Order::Abort);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = running => ended,
            () = signals => Ok(crate::Ending::Suspended),
            () = statistics(&engine, settings.stats.as_deref()) => Ok(crate::Ending::Suspended),
        }
    };
    if !teller.ending {
        teller.report.session("Terminating session");
    }
    if let Some(path) = &settings.stats {
        write(path, &engine.statistics().to_string());
    }
    channels.end().await;
    ended.map(drop).map_err(|error| reasons(&error))
}

/// Says what happens.
struct Teller<'t> {
    report: &'t mut Report,
    settings: &'t Settings,
    display: &'t str,
    slave: Option<String>,
    started: Started,
    /// The processes of slave channels.
    slaves: BTreeMap<u8, u32>,
    ending: bool,
}

impl Teller<'_> {
    fn event(&mut self, event: Event) {
        match event {
            Event::Agreed(greeting) => {
                let slave = self.slave.as_deref();
                self.report
                    .agreed(&greeting, self.settings, self.display, slave);
            }
            Event::Started => self.report.established(),
            Event::Ending if !self.ending => {
                self.ending = true;
                self.report.session("Terminating session");
            }
            Event::Opened(Service::Slave, id) if id & 7 == 0 => {
                self.report.info("Accepted new connection to slave server.");
            }
            Event::Opened(Service::Slave, id) => {
                let words = format!("New slave connection on channel ID#{id}");
                self.report.info(&words);
                let started = self.started.lock().map_or(None, |mut q| q.pop_front());
                if let Some(process) = started {
                    self.slaves.insert(id, process);
                    let words = format!("slave channel ID#{id} handler has PID {process}");
                    self.report.info(&words);
                }
            }
            Event::Opened(service, _) => {
                let targets = &self.settings.targets;
                if let Some((_, target)) = targets.iter().find(|(known, _)| *known == service) {
                    self.report.forwarded(service, target);
                }
            }
            Event::Closed(service, id) => {
                if let Some(process) = self.slaves.remove(&id) {
                    let words = format!("Handled death of slave with pid {process}");
                    self.report.info(&words);
                }
                self.report.closed(service);
            }
            _ => {}
        }
    }
}

/// Writes the statistics whenever the user asks for them.
async fn statistics(engine: &Native, path: Option<&Path>) {
    let (Ok(mut total), Ok(mut partial)) = (
        signal(SignalKind::user_defined1()),
        signal(SignalKind::user_defined2()),
    ) else {
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            _ = total.recv() => {}
            _ = partial.recv() => {}
        }
        let text = engine.statistics().to_string();
        match path {
            Some(path) => write(path, &text),
            // Nobody may be listening any more.
            None => drop(std::io::stderr().write_all(text.as_bytes())),
        }
    }
}

fn write(path: &Path, text: &str) {
    if let Err(error) = fs::write(path, text) {
        tracing::warn!(%error, path = %path.display(), "statistics cannot be written");
    }
}

/// The next signal that ends a session; its number.
async fn signalled() -> i32 {
    let kinds = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ];
    let [terminate, interrupt, hangup] = kinds.map(|kind| signal(kind).ok());
    let wait = async |kind: SignalKind, signals: Option<tokio::signal::unix::Signal>| {
        if let Some(mut signals) = signals {
            signals.recv().await;
            return kind.as_raw_value();
        }
        std::future::pending().await
    };
    tokio::select! {
        number = wait(SignalKind::terminate(), terminate) => number,
        number = wait(SignalKind::interrupt(), interrupt) => number,
        number = wait(SignalKind::hangup(), hangup) => number,
    }
}

/// Why a session did not end in order, in the words that are looked for, and
/// in this program's.
fn reasons(error: &Error) -> Vec<String> {
    let own = error.to_string();
    let known: &[&str] = match error {
        Error::ClosedEarly => &[
            "The remote NX proxy closed the connection",
            "Failure negotiating the session in stage '7'",
            "Wrong version or invalid session authentication cookie",
        ],
        Error::Negotiation { .. } => &["Failure negotiating the session in stage '7'"],
        Error::Lost { .. } => &["Connection with remote peer broken"],
        _ => &[],
    };
    let known = known.iter().map(|&words| words.to_owned());
    std::iter::once(own).chain(known).collect()
}
