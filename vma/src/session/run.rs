//! The life of a session, from the start of nxagent to its last process.

mod ending;

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use rustix::net::{SocketFlags, accept_with};
use rustix::process::{Pid, Signal, WaitStatus, kill_process};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep, sleep, timeout};

use self::ending::Ending;
use super::client::Client;
use super::environment::Environment;
use super::nxagent::{Action, NxAgent, POKE_AFTER};
use super::vnc::Showing;
use super::{cannot_start, children, may_command, paths, prepare_dir, seat};
use crate::control::{Channel, Command, Event, Hello, Launch, NxState, VERSION};
use crate::files::write_private;
use crate::log::Log;
use crate::output::Output;

/// A point in the future that does not come.
const NEVER: Duration = Duration::from_secs(365 * 86400);

pub(super) struct Session {
    pub(super) launch: Launch,
    pub(super) environment: Rc<Environment>,
    pub(super) agent: NxAgent,
    nxagent: Option<Pid>,
    x_session: Option<Pid>,
    /// What nxagent prints: its states.
    output: Output,
    /// What the programs of the X session print: for the log.
    x_output: Output,
    daemon: Option<Daemon>,
    /// What serves the client.
    pub(super) bridge: Option<JoinHandle<()>>,
    pub(super) client: Client,
    ending: Ending,
    reason: Option<String>,
    showing: Showing,
    log: Log,
    poke: Pin<Box<Sleep>>,
    deadline: Pin<Box<Sleep>>,
}

/// The daemon of the moment.
struct Daemon {
    channel: Rc<Channel>,
    events: mpsc::UnboundedSender<Event>,
    writer: JoinHandle<()>,
}

impl Session {
    pub(super) async fn run(
        launch: Launch,
        listener: OwnedFd,
        daemon: OwnedFd,
        log: Log,
    ) -> anyhow::Result<()> {
        let mut session = Self {
            environment: Rc::new(Environment::read(&launch)),
            launch,
            agent: NxAgent::default(),
            nxagent: None,
            x_session: None,
            output: Output::default(),
            x_output: Output::default(),
            daemon: None,
            bridge: None,
            client: Client::default(),
            ending: Ending::No,
            reason: None,
            showing: Showing::default(),
            log,
            poke: Box::pin(sleep(NEVER)),
            deadline: Box::pin(sleep(NEVER)),
        };
        session.attach(daemon)?;
        session.begin();
        session.serve(listener).await?;
        session.finish().await;
        Ok(())
    }

    /// Prepares the folder and starts nxagent; a failure is the session's end.
    fn begin(&mut self) {
        let started = prepare_dir(&self.launch)
            .map_err(|e| format!("{e:#}"))
            .and_then(|()| {
                children::start_nxagent(&self.launch, &self.environment).map_err(|e| {
                    cannot_start(&self.launch.nxagent, &e, "install the package nxagent")
                })
            });
        match started {
            Ok((pid, output)) => {
                self.nxagent = Some(pid);
                self.output = output;
                self.report(Event::Started {
                    nxagent: pid.as_raw_nonzero().get(),
                });
            }
            Err(reason) => {
                self.reason = Some(reason);
                self.end_remnants();
            }
        }
    }

    async fn serve(&mut self, listener: OwnedFd) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&listener, true)?;
        let listener = crate::sys::watch(listener)?;
        let mut ended = signal(SignalKind::child())?;
        let mut terminate = signal(SignalKind::terminate())?;
        while self.ending == Ending::No || children::any_left() {
            let daemon = self.daemon.as_ref().map(|d| d.channel.clone());
            tokio::select! {
                _ = ended.recv() => self.reap(),
                _ = terminate.recv() => self.end(),
                ready = listener.readable() => {
                    let accepted = ready?.try_io(|l| {
                        accept_with(l.get_ref(), SocketFlags::CLOEXEC).map_err(io::Error::from)
                    });
                    if let Ok(accepted) = accepted {
                        self.meet(accepted);
                    }
                }
                message = receive(daemon) => match message {
                    Ok(Some((command, fd))) => self.command(command, fd),
                    Ok(None) => self.daemon = None,
                    Err(error) => {
                        tracing::warn!(%error, "the daemon is not understood");
                        self.daemon = None;
                    }
                },
                lines = self.output.next() => {
                    for line in lines {
                        self.line(&line);
                    }
                }
                lines = self.x_output.next() => {
                    for line in lines {
                        tracing::debug!(target: "x-session", "{line}");
                    }
                }
                () = bridge_over(self.bridge.as_mut()) => {
                    // It may have come up and ended at the same moment.
                    self.hear_carrier();
                    self.client_over();
                }
                Some((carrier, said)) = self.client.said.recv() => {
                    self.carrier_said(carrier, said);
                }
                () = self.poke.as_mut() => {
                    self.poke.as_mut().reset(Instant::now() + NEVER);
                    let actions = self.agent.poke();
                    self.act(actions);
                }
                () = self.deadline.as_mut() => self.escalate(),
            }
        }
        Ok(())
    }

    /// A daemon, perhaps another than before, wants to command the session.
    fn meet(&mut self, accepted: io::Result<OwnedFd>) {
        let attached = accepted.and_then(|socket| {
            if may_command(&socket)? {
                self.attach(socket)
            } else {
                Err(io::Error::from(io::ErrorKind::PermissionDenied))
            }
        });
        if let Err(error) = attached {
            tracing::warn!(%error, "control connection refused");
        }
    }

    fn attach(&mut self, socket: OwnedFd) -> io::Result<()> {
        let channel = Rc::new(Channel::new(socket)?);
        let (events, mut queue) = mpsc::unbounded_channel::<Event>();
        let out = channel.clone();
        // The session never waits for a daemon that does not read.
        let writer = tokio::task::spawn_local(async move {
            while let Some(event) = queue.recv().await {
                if out.send(&event, None).await.is_err() {
                    break;
                }
            }
        });
        let hello = Hello {
            version: VERSION,
            session: self.launch.session.clone(),
            user: self.launch.user.name.clone(),
            display: self.launch.display,
            state: self.agent.state(),
            pid: rustix::process::getpid().as_raw_nonzero().get(),
            nxagent: self.nxagent.map(|pid| pid.as_raw_nonzero().get()),
            carrier: true,
            served: self.bridge.is_some() && !self.is_carried(),
        };
        let _ = events.send(Event::Hello(hello));
        self.daemon = Some(Daemon {
            channel,
            events,
            writer,
        });
        self.tell_carrier();
        Ok(())
    }

    pub(super) fn report(&self, event: Event) {
        if let Some(daemon) = &self.daemon {
            // Without a daemon nobody needs to know: the next one is told in
            // the hello.
            let _ = daemon.events.send(event);
        }
    }

    fn command(&mut self, command: Command, fd: Option<OwnedFd>) {
        match command {
            Command::Serve { greeted, port } => match fd {
                Some(client) => self.serve_client(client, greeted, port),
                None => tracing::warn!("told to serve a client without its connection"),
            },
            Command::Wake {
                options,
                name,
                slave,
                seat,
                carrier,
            } => {
                // Whoever comes now is another client, or comes anew.
                self.forget_client();
                self.launch.seat = seat;
                self.launch.carrier = carrier;
                self.launch.slave.clone_from(&slave);
                if let Some(slave) = &slave
                    && let Err(error) = super::prepare_slave(&self.launch.dir, slave)
                {
                    tracing::warn!("folders cannot be shared: {error}");
                }
                if name.is_some() {
                    self.log.set_session(name.as_deref());
                }
                let path = paths::options(&self.launch.dir);
                if let Err(error) = write_private(&path, options.as_bytes()) {
                    tracing::warn!(%error, file = %path.display(), "cannot be written");
                }
                // nxagent makes its socket anew.
                let _ = std::fs::remove_file(paths::nx_socket(&self.launch.dir));
                let actions = self.agent.wake();
                self.act(actions);
            }
            Command::Tell { number } => {
                self.hear_carrier();
                self.report(Event::Told { number });
            }
            Command::Suspend => self.suspend(),
            Command::Terminate => self.end(),
            Command::Log { settings } => self.log.follow(settings, fd.map(Into::into)),
            Command::VncAsk {
                number,
                program,
                confirm,
                command,
            } => {
                let confirm = confirm.then_some(command.as_deref());
                let answer =
                    self.showing
                        .ask(&self.launch, &self.environment, number, &program, confirm);
                if let Some(answer) = answer {
                    self.report(Event::Vnc { number, answer });
                }
            }
            Command::VncShow {
                number,
                program,
                arguments,
            } => {
                let shown = fd.ok_or(io::ErrorKind::InvalidInput.into()).and_then(|fd| {
                    let launch = &self.launch;
                    self.showing
                        .show(launch, &self.environment, number, &program, &arguments, fd)
                });
                if let Err(error) = shown {
                    tracing::warn!(%error, "the session cannot be shown");
                }
            }
            Command::Start(_) | Command::Unknown => tracing::warn!("command not understood"),
        }
    }

    fn line(&mut self, line: &str) {
        if line.starts_with("Session:") || line.starts_with("Error") || line.starts_with("Warning")
        {
            tracing::info!(target: "nxagent", "{line}");
        } else if !line.is_empty() {
            tracing::debug!(target: "nxagent", "{line}");
        }
        let before = self.agent.state();
        let actions = self.agent.line(line);
        self.act(actions);
        // Its client may have gone before this was read.
        let is_up = self.agent.state() == NxState::Connected;
        if is_up && before != NxState::Connected && self.bridge.is_none() {
            let actions = self.agent.client_gone();
            self.act(actions);
        }
    }

    pub(super) fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Report(state) => {
                    if state == NxState::Connected {
                        seat::apply(&self.launch, &self.environment);
                    }
                    self.report(Event::Nx { state });
                }
                Action::Hangup => self.signal_nxagent(Signal::HUP),
                Action::Terminate => self.signal_nxagent(Signal::TERM),
                Action::DropClient => self.drop_client(),
                Action::GiveUp => {
                    self.reason = Some("nxagent hangs since it lost its client".into());
                    self.end();
                }
                Action::ArmPoke => self.poke.as_mut().reset(Instant::now() + POKE_AFTER),
                Action::Poke => poke(self.launch.display),
                Action::StartXSession => self.start_x_session(),
            }
        }
    }

    fn start_x_session(&mut self) {
        if self.ending != Ending::No {
            return;
        }
        match children::start_x_session(&self.launch, &self.environment) {
            Ok((pid, output)) => {
                self.x_session = Some(pid);
                self.x_output = output;
            }
            Err(error) => {
                let program = self.launch.x_session.first().map_or("", String::as_str);
                let hint = "see command.x-session in vma.conf";
                self.reason = Some(cannot_start(Path::new(program), &error, hint));
                self.end();
            }
        }
    }

    fn signal_nxagent(&mut self, signal: Signal) {
        // One that is stopped would not hear it.
        self.thaw();
        self.kill_nxagent(signal);
    }

    pub(super) fn kill_nxagent(&self, signal: Signal) {
        if let Some(pid) = self.nxagent {
            let _ = kill_process(pid, signal);
        }
    }

    fn reap(&mut self) {
        while let Some((pid, status)) = children::next_ended() {
            if self.nxagent == Some(pid) {
                self.nxagent = None;
                self.nxagent_ended(status);
            } else if self.x_session == Some(pid) {
                self.x_session = None;
                self.x_session_ended(status);
            } else if let Some((number, answer)) = self.showing.ended(pid, status) {
                self.report(Event::Vnc { number, answer });
            }
        }
    }

    fn nxagent_ended(&mut self, status: WaitStatus) {
        if !self.agent.is_terminating() && status.exit_status() != Some(0) && self.reason.is_none()
        {
            let how = children::describe(status);
            self.reason = Some(match self.agent.complaint() {
                Some(complaint) => format!("nxagent {how}: {complaint}"),
                None => format!("nxagent {how}"),
            });
        }
        self.end_remnants();
    }

    /// The user has logged out, or the X session could not go on.
    fn x_session_ended(&mut self, status: WaitStatus) {
        tracing::info!("the X session {}", children::describe(status));
        if self.ending == Ending::No && status.exit_status() != Some(0) {
            self.reason = Some(format!("the X session {}", children::describe(status)));
        }
        self.end();
    }
}

/// Resolves when the client's connection is over; never, while there is none.
async fn bridge_over(bridge: Option<&mut JoinHandle<()>>) {
    match bridge {
        // However it ended, it has.
        Some(bridge) => drop(bridge.await),
        None => std::future::pending().await,
    }
}

/// The daemon's next message; never, while there is no daemon.
async fn receive(channel: Option<Rc<Channel>>) -> io::Result<Option<(Command, Option<OwnedFd>)>> {
    match channel {
        Some(channel) => channel.receive().await,
        None => std::future::pending().await,
    }
}

/// Connects to the display and closes again, which has nxagent look at its
/// signals.
fn poke(display: u16) {
    tokio::task::spawn_local(async move {
        let path = format!("/tmp/.X11-unix/X{display}");
        let _ = timeout(Duration::from_secs(1), UnixStream::connect(path)).await;
    });
}
