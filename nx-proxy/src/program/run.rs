//! One session of the program.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

use super::link;
use super::report::Report;
use super::settings::{Place, Settings};
use super::signals::Signals;
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
    let (mut ends, mut asks) = (Signals::ends(), Signals::asks());
    report.begin();
    for warning in &settings.warnings {
        report.warning(warning);
    }
    let ended = tokio::select! {
        biased;
        number = ends.next() => {
            report.info(&format!("Aborting the procedure due to signal '{number}'."));
            Ok(None)
        }
        prepared = prepare(settings, display, &mut report) => prepared.map(Some),
    };
    let ended = match ended {
        Ok(Some(prepared)) => carry(prepared, settings, &mut report, &mut ends, &mut asks).await,
        Ok(None) => Ok(()),
        Err(reason) => Err(vec![reason]),
    };
    if let Err(reasons) = &ended {
        for reason in reasons {
            report.error(reason);
        }
    }
    end_processes(&settings.kill);
    report.session("Session terminated");
    ended.is_ok()
}

/// Ends processes that were to end with the session.
pub(super) fn end_processes(processes: &[i32]) {
    for process in processes {
        // It may be gone already.
        let _ = Pid::from_raw(*process).map(|process| kill_process(process, Signal::TERM));
    }
}

/// What a session needs beside its settings.
struct Prepared {
    display: Display,
    stream: crate::NxStream,
    channels: Arc<Channels>,
    /// Where slave connections are taken, as the log has it.
    slave: Option<String>,
    /// The same for the agent's font server.
    fonts: Option<String>,
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
        let listener = listener(place).await?;
        slave = Some(listener.to_string());
        channels = channels.with_listener(listener);
    }
    let mut fonts = None;
    if let Some(place) = &settings.fonts {
        let listener = listener(place).await?;
        fonts = Some(match listener.number() {
            Some(port) => port.to_string(),
            None => listener.to_string(),
        });
        channels = channels.with_font_listener(listener);
    }
    let stream = link::made(&settings.link, report).await?;
    Ok(Prepared {
        display,
        stream,
        channels: Arc::new(channels),
        slave,
        fonts,
        started,
    })
}

async fn listener(place: &Place) -> Result<Listener, String> {
    let listener = match place {
        Place::Unix(path) => Listener::unix(path),
        Place::Tcp { port, .. } => Listener::port(*port).await,
    };
    listener.map_err(|error| error.to_string())
}

/// Carries the session; what was wrong, if it did not end in order.
async fn carry(
    prepared: Prepared,
    settings: &Settings,
    report: &mut Report,
    ends: &mut Signals,
    asks: &mut Signals,
) -> Result<(), Vec<String>> {
    let Prepared {
        display,
        stream,
        channels,
        slave,
        fonts,
        started,
    } = prepared;
    let local: Arc<dyn LocalEnds> = Arc::clone(&channels) as _;
    let mut engine = Native::new().with_local_ends(local);
    if let Some(cookie) = &settings.cookie {
        engine = engine.with_cookie(cookie);
    }
    let session = Session::new(display);
    let (order, orders) = watch::channel(Order::Run);
    let teller = Mutex::new(Teller {
        report,
        settings,
        display: session.display.name(),
        slave,
        fonts,
        started,
        slaves: BTreeMap::new(),
        ending: false,
    });
    let mut tell = |event| locked(&teller).event(event);
    let ended = {
        let running = engine.run(stream, &session, &mut tell, orders);
        let signals = async {
            // Whoever is asked a second time leaves at once.
            ends.next().await;
            order.send_replace(Order::Suspend);
            ends.next().await;
            order.send_replace(Order::Abort);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = running => ended,
            () = signals => Ok(crate::Ending::Suspended),
            () = statistics(&engine, asks, &teller) => Ok(crate::Ending::Suspended),
        }
    };
    let mut teller = teller.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !teller.ending {
        teller.report.session("Terminating session");
    }
    if let Some(path) = &settings.stats {
        teller.write(path, &engine.statistics().to_string());
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
    fonts: Option<String>,
    started: Started,
    /// The processes of slave channels.
    slaves: BTreeMap<u8, u32>,
    ending: bool,
}

impl Teller<'_> {
    fn event(&mut self, event: Event) {
        match event {
            Event::Agreed(greeting) => {
                let (slave, fonts) = (self.slave.as_deref(), self.fonts.as_deref());
                self.report
                    .agreed(&greeting, self.settings, self.display, slave, fonts);
            }
            Event::Started => self.report.established(),
            Event::Ending if !self.ending => {
                self.ending = true;
                self.report.session("Terminating session");
            }
            Event::Opened(Service::Slave, id) if id & 7 == 0 => {
                self.report.info("Accepted new connection to slave server.");
            }
            Event::Opened(Service::Font, _) => {
                self.report.info("Accepted new connection to font server.");
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
            Event::NotOpened(service, why) => self.not_opened(service, &why),
            _ => {}
        }
    }

    fn not_opened(&mut self, service: Service, why: &str) {
        let targets = &self.settings.targets;
        let target = targets.iter().find(|(known, _)| *known == service);
        self.report
            .not_opened(service, target.map(|(_, target)| target), why);
    }

    /// Writes statistics to a file.
    fn write(&mut self, path: &Path, text: &str) {
        if let Err(error) = fs::write(path, text) {
            let path = path.display();
            let words = format!("Statistics cannot be written to '{path}': {error}.");
            self.report.warning(&words);
        }
    }
}

fn locked<'t, 'r>(teller: &'t Mutex<Teller<'r>>) -> MutexGuard<'t, Teller<'r>> {
    teller.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes the statistics whenever the user asks for them.
async fn statistics(engine: &Native, asks: &mut Signals, teller: &Mutex<Teller<'_>>) {
    loop {
        asks.next().await;
        let text = engine.statistics().to_string();
        let mut teller = locked(teller);
        match &teller.settings.stats {
            Some(path) => teller.write(path, &text),
            // Nobody may be listening any more.
            None => drop(std::io::stderr().write_all(text.as_bytes())),
        }
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
        Error::Negotiation { .. } | Error::Unheard { .. } => {
            &["Failure negotiating the session in stage '7'"]
        }
        Error::Lost { .. } => &["Connection with remote peer broken"],
        _ => &[],
    };
    let known = known.iter().map(|&words| words.to_owned());
    std::iter::once(own).chain(known).collect()
}
