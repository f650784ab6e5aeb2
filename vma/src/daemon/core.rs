//! Tells the session's machine what happened, and has carried out what it says.
//! One task, one queue: nothing in here waits for a peer, a hook or a child.

mod effects;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use qvd_carrier::{Offer, Token};
use qvd_config::VmaConfig;
use qvd_rpc::{Parameters, Reply, SessionState, Waited};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, Sleep, sleep};

use super::asked::{ByHand, Waiting};
use super::gate::Gate;
use super::launch::random_name;
use super::link::{Adopted, Link, Report};
use super::port::{Client, NxPort};
use super::presence::{Became, Ports, Presence};
use super::rpc::Handle;
use super::vnc;
use crate::control::{Command, User};
use crate::hooks::arguments::Properties;
use crate::hooks::{Detached, Hook, Records, Runner, end_leftovers};
use crate::log::Log;
use crate::machine::{Event, Machine};
use crate::parameters::SessionSpec;
use crate::provision::{self, Account};
use crate::session::paths::nx_socket;
use crate::settings::{SessionPaths, defaults, timeouts};

/// A point in the future that does not come.
const NEVER: Duration = Duration::from_secs(365 * 86400);

/// A call that only the core can answer.
pub enum Ask {
    /// `x_start`.
    Start(Parameters),
    /// `x_suspend`.
    Suspend,
    /// `x_stop`.
    Stop,
    /// `poweroff`.
    Poweroff,
    /// `expire`.
    Expire,
}

/// How things are, for who asks on the machine itself.
pub struct Description {
    /// The session's state.
    pub state: SessionState,
    /// Why the last start or resume failed.
    pub reason: Option<String>,
    /// Login name of its user.
    pub user: Option<String>,
    /// Its name.
    pub session: Option<String>,
    /// When it came into that state.
    pub since: SystemTime,
    /// Process id of nxagent.
    pub nxagent: Option<i32>,
    /// Number of its display.
    pub display: u16,
    /// Whether its client is there, where that is known.
    pub client: Option<crate::control::Client>,
}

/// What the core is told.
pub enum Input {
    /// A call, and where its answer goes.
    Call(Ask, oneshot::Sender<Reply>),
    /// A stage is over; provisioning found this user.
    Prepared(u64, Result<Option<User>, String>),
    /// The hook has ended that was asked whether an action may be carried out.
    Allowed(Hook, Result<(), String>),
    /// From the session process.
    Session(Report),
    /// The session process has not said what it was asked for by this number.
    Unsaid(u64),
    /// Another configuration, and the rules of the RPC port that it has.
    Reload(Box<VmaConfig>, Arc<Gate>),
    /// The log file is another, or goes elsewhere.
    LogChanged,
    /// Of who wants to see the session.
    Vnc(vnc::Ask),
    /// Run a hook by hand.
    Hook(Hook, ByHand),
    /// How are things?
    Describe(oneshot::Sender<Description>),
}

pub(super) struct Core {
    pub(super) config: Arc<VmaConfig>,
    pub(super) paths: SessionPaths,
    gate: watch::Sender<Arc<Gate>>,
    pub(super) log: Log,
    questions: vnc::Questions,
    /// When the session came into its state.
    since: SystemTime,
    /// Process id of nxagent, while there is one.
    nxagent: Option<i32>,
    pub(super) machine: Machine,
    input: mpsc::UnboundedReceiver<Input>,
    pub(super) sender: mpsc::UnboundedSender<Input>,
    published: watch::Sender<Waited>,
    /// The session process, while there is one.
    pub(super) link: Option<Link>,
    port: Option<NxPort>,
    clients: mpsc::UnboundedReceiver<Client>,
    client_sender: mpsc::UnboundedSender<Client>,
    carrier: Carried,
    /// The user that provisioning found.
    user: Option<User>,
    timer: Pin<Box<Sleep>>,
    pub(super) hooks: Runner,
    pub(super) detached: Detached,
    /// Calls that wait for a hook.
    pub(super) waiting: Waiting,
    /// Calls that wait for what the session process has not told yet.
    pub(super) unsure: Vec<(u64, Ask, oneshot::Sender<Reply>)>,
    /// The number of the last of them.
    pub(super) questions_asked: u64,
    /// Cuts the stage short that is carried out.
    pub(super) cut: Option<oneshot::Sender<()>>,
    /// What the session was started or resumed with last.
    pub(super) current: Current,
}

/// What is known of the session's carrier.
#[derive(Default)]
struct Carried {
    /// Whether the client is there.
    client: Presence,
    /// Whether the session process speaks it.
    spoken: bool,
    /// Whether the client of the last start or resume does.
    wanted: bool,
    /// With what the client that the session has goes on.
    tokens: Vec<Token>,
    /// The NX ports that were opened for it.
    ports: Ports,
}

/// What hooks are told of the session that is, or is being made.
#[derive(Default)]
pub(super) struct Current {
    /// Its name in logs.
    pub session: Option<String>,
    /// What it was started with.
    pub properties: Properties,
    /// Its user's home, once he was found, with his name: not always where
    /// the broker, or the configuration, would have it.
    pub home: Option<(String, PathBuf)>,
}

impl Current {
    /// The user was found.
    fn found(&mut self, user: &User) {
        self.home = Some((user.name.clone(), user.home.clone()));
        self.tell_home(&user.name);
    }

    /// Has hooks told the real home of this user, where it is known.
    pub(super) fn tell_home(&mut self, user: &str) {
        if let Some((_, home)) = self.home.as_ref().filter(|(name, _)| name == user) {
            let home = home.display().to_string();
            self.properties.set("qvd.vm.user.home", home);
        }
    }
}

impl Core {
    /// The core, and what others talk to it by. A session that an earlier
    /// daemon started is taken over.
    pub(super) async fn new(
        config: VmaConfig,
        paths: SessionPaths,
        gate: Gate,
        log: Log,
    ) -> (Self, Handle) {
        let machine = Machine::new(timeouts(&config));
        let (sender, input) = mpsc::unbounded_channel();
        let (client_sender, clients) = mpsc::unbounded_channel();
        let start = Waited {
            state: machine.state(),
            reason: None,
            carrier: None,
        };
        let (published, state) = watch::channel(start);
        let hook_log = config.log.path.join("qvd-hooks.log");
        let hooks = Runner::new(hook_log, &config.process.run, paths.display);
        let (gate, rules) = watch::channel(Arc::new(gate));
        let handle = Handle {
            input: sender.clone(),
            state,
            gate: rules,
        };
        let records = Records::new(&config.process.run, paths.display);
        let mut core = Self {
            config: Arc::new(config),
            paths,
            gate,
            log,
            questions: vnc::Questions::default(),
            since: SystemTime::now(),
            nxagent: None,
            machine,
            input,
            sender,
            published,
            link: None,
            port: None,
            clients,
            client_sender,
            carrier: Carried::default(),
            user: None,
            timer: Box::pin(sleep(NEVER)),
            detached: Detached::new(hooks.clone()),
            hooks,
            waiting: Waiting::default(),
            unsure: Vec::new(),
            questions_asked: 0,
            cut: None,
            current: Current::default(),
        };
        let left = tokio::task::spawn_blocking(move || end_leftovers(&records)).await;
        if let Ok(count @ 1..) = left {
            tracing::warn!("ended {count} processes of hooks of an earlier agent");
        }
        let of = core.config.clone();
        match tokio::task::spawn_blocking(move || provision::recover(&of)).await {
            Ok(Err(error)) => tracing::error!("{error}"),
            Err(error) => tracing::error!("{error}"),
            Ok(Ok(())) => {}
        }
        core.adopt().await;
        (core, handle)
    }

    async fn adopt(&mut self) {
        match Link::adopt(&self.paths, self.sender.clone()).await {
            Ok(Some(Adopted {
                link,
                user,
                state,
                served,
            })) => {
                self.current.session = Some(link.name().to_owned());
                self.log.set_session(Some(link.name()));
                tracing::info!(%user, "took a running session over");
                self.link = Some(link);
                // Its log file may have been moved away while nobody watched.
                self.tell_log();
                self.step(Event::Adopted {
                    user,
                    state,
                    served,
                });
            }
            Ok(None) => {}
            Err(error) => tracing::warn!("a session of an earlier daemon was cleared: {error}"),
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                Some(input) = self.input.recv() => self.take(input),
                Some(client) = self.clients.recv() => {
                    let Client { connection, greeted, carrier, port } = client;
                    self.carrier.ports.came = port;
                    self.tell(Command::Serve { greeted, port }, Some(connection));
                    self.step(Event::ClientCame { carrier });
                }
                () = self.timer.as_mut() => {
                    self.arm(NEVER);
                    self.step(Event::TimedOut);
                }
            }
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Call(ask, reply) => self.asked(ask, reply),
            Input::Allowed(hook, outcome) => self.allowed(hook, &outcome),
            Input::Prepared(number, found) => {
                let outcome = found.map(|user| {
                    if let Some(user) = user {
                        self.current.found(&user);
                        self.user = Some(user);
                    }
                });
                self.step(Event::Prepared(number, outcome));
            }
            Input::Session(Report::Nx(state)) => self.step(Event::Nx(state)),
            Input::Session(Report::Started(nxagent)) => self.nxagent = Some(nxagent),
            Input::Session(Report::Speaks(spoken)) => self.carrier.spoken = spoken,
            Input::Session(Report::Carrier {
                up,
                tokens,
                port,
                client,
            }) => {
                let presence = &mut self.carrier.client;
                let became = presence.told(up, !tokens.is_empty(), client, Instant::now());
                self.carrier.tokens = tokens;
                match self.carrier.ports.told(became, port) {
                    Became::There => self.step(Event::Rejoined),
                    Became::Lost => self.step(Event::ClientLost),
                    Became::Gone => self.step(Event::ClientGone),
                    Became::Same => {}
                }
            }
            Input::Session(Report::Told(number)) | Input::Unsaid(number) => self.decide(number),
            Input::Session(Report::Vnc(number, answer)) => self.questions.answered(number, answer),
            Input::Reload(config, gate) => {
                self.machine.set_timeouts(timeouts(&config));
                self.config = Arc::new(*config);
                self.gate.send_replace(gate);
            }
            Input::LogChanged => self.tell_log(),
            Input::Vnc(vnc::Ask::May(reply)) => {
                let state = self.machine.state();
                if let Some(command) = self.questions.ask(reply, state, &self.config) {
                    self.tell(command, None);
                }
            }
            Input::Vnc(vnc::Ask::Show(number, connection)) => {
                self.tell(vnc::show(number, &self.config), Some(connection));
            }
            Input::Hook(hook, by_hand) => self.run_by_hand(hook, by_hand),
            Input::Describe(reply) => {
                let _ = reply.send(self.describe());
            }
            Input::Session(Report::Gone { session, reason }) => {
                if self
                    .link
                    .as_ref()
                    .is_some_and(|link| link.session() == session)
                {
                    self.link = None;
                    self.nxagent = None;
                    self.carrier = Carried {
                        ports: self.carrier.ports,
                        ..Carried::default()
                    };
                    self.questions.clear();
                    self.step(Event::Gone { reason });
                    self.decide(u64::MAX);
                    if self.link.is_none() {
                        self.log.set_session(None);
                    }
                }
            }
        }
    }

    /// Carries a call out that no hook has refused.
    pub(super) fn call(&mut self, ask: Ask) -> Reply {
        let event = match ask {
            Ask::Start(parameters) if self.rejoins(&parameters) => Event::RejoinAsked,
            Ask::Start(parameters) => match self.spec(&parameters) {
                Ok(spec) => Event::StartAsked(Box::new(spec)),
                Err(reason) => {
                    tracing::warn!("start refused: {reason}");
                    return Reply::Failure(reason);
                }
            },
            Ask::Suspend => Event::SuspendAsked,
            Ask::Stop => Event::StopAsked,
            Ask::Poweroff => return self.power_off(),
            Ask::Expire => {
                tracing::info!("the disk image of this VM has expired");
                // It may ask the user: the caller does not wait for that.
                self.run_detached(Hook::Expire);
                return Reply::Nothing;
            }
        };
        let reply = self.apply(event);
        reply.unwrap_or_else(|| Reply::Failure("the agent has no answer".into()))
    }

    /// Whether this is the client that the session has, by the token of its
    /// carrier, and by the user whom the broker says it has.
    pub(super) fn rejoins(&self, parameters: &Parameters) -> bool {
        let token = parameters
            .value(qvd_carrier::RESUME)
            .and_then(qvd_carrier::resumes);
        let user = parameters.value("qvd.vm.user.name");
        let is_known = token.is_some_and(|token| {
            // All are compared, in constant time.
            self.carrier
                .tokens
                .iter()
                .fold(false, |known, one| known | (*one == token))
        });
        is_known
            && self.config.carrier.enable
            && self.machine.may_rejoin()
            && user.is_none_or(|user| self.machine.user() == Some(user))
    }

    /// What a start asks for, or why it cannot be done.
    fn spec(&self, parameters: &Parameters) -> Result<SessionSpec, String> {
        let account = Account::from_parameters(parameters, &self.config)?;
        let mut spec = SessionSpec::from_parameters(parameters, account, &defaults(&self.config))?;
        if spec.session.is_none() {
            spec.session = Some(random_name()?);
        }
        // Later on, a session to be resumed would wait for them in vain.
        spec.options_line(&nx_socket(&self.paths.dir), self.display())?;
        Ok(spec)
    }

    /// What the client is offered that is awaited.
    fn offer(&self) -> Option<Offer> {
        if self.machine.is_rejoined() {
            return Some(Offer::Resume);
        }
        let wanted = self.carrier.wanted && self.carrier.spoken && self.config.carrier.enable;
        wanted.then_some(Offer::New)
    }

    pub(super) fn tell(&self, command: Command, fd: Option<OwnedFd>) {
        match &self.link {
            Some(link) => link.tell(command, fd),
            None => tracing::debug!("no session process to tell"),
        }
    }

    /// Has the session process log where the daemon does.
    fn tell_log(&self) {
        if self.link.is_some() {
            let settings = self.log.settings();
            let file = self.log.file().and_then(|_| crate::log::current());
            self.tell(Command::Log { settings }, file.map(Into::into));
        }
    }

    fn describe(&self) -> Description {
        Description {
            state: self.machine.state(),
            reason: self.machine.reason().map(str::to_owned),
            user: self.machine.user().map(str::to_owned),
            session: self.link.as_ref().and(self.current.session.clone()),
            since: self.since,
            nxagent: self.nxagent,
            display: self.display(),
            client: self.carrier.client.describe(Instant::now()),
        }
    }

    fn display(&self) -> u16 {
        self.config.nx.display.number()
    }

    fn publish(&mut self) {
        let state = self.machine.state();
        let reason = self.machine.reason();
        let carrier = Some(self.offer().is_some());
        self.published.send_if_modified(|published| {
            let changed = published.state != state || published.reason.as_deref() != reason;
            // What is offered may change while the state does not.
            let is_other = changed || published.carrier != carrier;
            self.since = if published.state == state {
                self.since
            } else {
                SystemTime::now()
            };
            if changed {
                let user = self.machine.user().unwrap_or_default();
                match reason {
                    Some(reason) => tracing::warn!(user, "session is {state}: {reason}"),
                    None => tracing::info!(user, "session is {state}"),
                }
            }
            if is_other {
                *published = Waited {
                    state,
                    reason: reason.map(str::to_owned),
                    carrier,
                };
            }
            is_other
        });
    }
}
