use std::ffi::OsString;
use std::future::Future;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::child::{Child, signal};
use super::output::{Account, Lines, Step, Verdict};
use super::rendezvous::Rendezvous;
use crate::engine::{CLOSED, away_changed, lost_because, next_order, plain_environment};
use crate::pump::{Outcome, pump};
use crate::{Ending, Error, Event, Events, Local, NxStream, Order, Orders, Session};

/// From the start of nxproxy to its connection; it takes some milliseconds.
const CONNECT: Duration = Duration::from_secs(10);

/// From the order to leave, or the end of the stream, to nxproxy's end. It
/// tells the agent, and takes one or two seconds of its own.
const LEAVE: Duration = Duration::from_secs(4);

/// How long nxproxy may hear nothing from an agent that is away: after 30 s it
/// tells the user, after 120 s it ends (seen).
const SILENCE: Duration = Duration::from_secs(20);

/// How long it stays stopped when the agent is back and nothing comes: it may
/// look at the clock before it hears, and show its dialog (seen of nxagent).
const THAW: Duration = Duration::from_secs(1);

/// For what nxproxy wrote before it ended.
const DRAIN: Duration = Duration::from_secs(1);

/// The number at the end of an NX option string. It names directories only,
/// and those are a session's own.
const NUMBER: u16 = 40;

/// Runs `program` for one session.
pub(super) async fn run(
    program: &Path,
    cache: Option<&Path>,
    arguments: &[String],
    stream: NxStream,
    session: &Session,
    events: Events<'_>,
    orders: Orders,
) -> Result<Ending, Error> {
    let rendezvous = Rendezvous::new()?;
    if let Some(cache) = cache {
        keep_cache(&rendezvous, cache);
    }
    let mut command = command(program, &rendezvous, session);
    command.args(arguments);
    let (child, output) = Child::start(&mut command).map_err(|source| Error::Spawn {
        program: program.to_owned(),
        source,
    })?;
    let (given, is_given) = watch::channel(());
    let carry = carry(&rendezvous, child.pid(), session, stream, &given);
    let watch = Watch {
        child,
        display: session.display.name().to_owned(),
        output: Some(output),
        lines: Lines::default(),
        account: Account::default(),
        events,
        slave: rendezvous.slave(),
        order: Order::Run,
        fault: None,
        given_up: false,
        deadline: Some(Instant::now() + session.start_timeout),
        away: false,
        silent: None,
        given: is_given,
        thaws: None,
    };
    watch.until_end(session, carry, orders).await
}

/// Takes nxproxy's connection and carries the bytes.
async fn carry(
    rendezvous: &Rendezvous,
    pid: i32,
    session: &Session,
    stream: NxStream,
    given: &watch::Sender<()>,
) -> Result<Outcome, Error> {
    let accepted = timeout(CONNECT, rendezvous.accept(pid));
    let (accepted, admitted) = tokio::join!(accepted, session.display.admit_user());
    admitted?;
    let socket = accepted
        .map_err(|_| Error::Silent {
            seconds: CONNECT.as_secs(),
        })?
        .map_err(Error::system("taking nxproxy's connection"))?;
    Ok(pump(stream, socket, session.away.is_some(), given).await)
}

/// A running nxproxy and what is known of it.
struct Watch<'a> {
    child: Child,
    display: String,
    /// None once it has ended.
    output: Option<pipe::Receiver>,
    lines: Lines,
    account: Account,
    events: Events<'a>,
    /// Where nxproxy listens for the slave channel, if it does.
    slave: PathBuf,
    order: Order,
    /// What went wrong outside nxproxy, or by its silence.
    fault: Option<Error>,
    /// It did not end in time and was killed for that.
    given_up: bool,
    deadline: Option<Instant>,
    /// The agent is away.
    away: bool,
    /// When the agent, which is away, will have been so for too long.
    silent: Option<Instant>,
    /// Tells when nxproxy was given something, since it was stopped.
    given: watch::Receiver<()>,
    /// When nxproxy, which is stopped, goes on whatever it was given.
    thaws: Option<Instant>,
}

impl Watch<'_> {
    async fn until_end(
        mut self,
        session: &Session,
        carry: impl Future<Output = Result<Outcome, Error>>,
        mut orders: Orders,
    ) -> Result<Ending, Error> {
        let mut carry = pin!(carry);
        let mut outcome = None;
        let mut ordered = true;
        let mut away = session.away.clone();
        let mut chunk = [0; 4096];
        loop {
            let deadline = self.deadline.unwrap_or_else(Instant::now);
            tokio::select! {
                length = read(&mut self.output, &mut chunk) => {
                    self.lines.receive(chunk.get(..length).unwrap_or_default());
                    self.take_lines();
                }
                () = self.child.exited() => break,
                carried = &mut carry, if outcome.is_none() => {
                    outcome = Some(self.carried(carried));
                }
                order = next_order(&mut orders, self.order), if ordered => match order {
                    Some(order) => self.obey(order),
                    None => ordered = false,
                },
                away = away_changed(&mut away) => {
                    self.away = away;
                    self.silent = away.then(|| Instant::now() + SILENCE);
                    self.thaws = (!away).then(|| Instant::now() + THAW);
                }
                // Who has gone that could tell is not waited for.
                _ = self.given.changed(), if self.thaws.is_some() => self.thaw(),
                () = sleep_until(self.thaws.unwrap_or(deadline)), if self.thaws.is_some() => {
                    self.thaw();
                }
                () = sleep_until(self.silent.unwrap_or(deadline)), if self.silent.is_some() => {
                    // No time passes for it until the agent is back.
                    self.silent = None;
                    self.given.mark_unchanged();
                    self.child.stop();
                }
                () = sleep_until(deadline), if self.deadline.is_some() => {
                    let waited = session.start_timeout.as_secs();
                    self.too_late(outcome.as_ref().and_then(Option::as_ref), waited);
                }
            }
        }
        let status = self
            .child
            .reap()
            .map_err(Error::system("reaping nxproxy"))?;
        self.drain().await;
        self.conclude(status, outcome.flatten())
    }

    /// Time goes on for nxproxy.
    fn thaw(&mut self) {
        self.thaws = None;
        self.child.go_on();
    }

    /// The stream has ended, or was never carried: nxproxy is to end, too.
    fn carried(&mut self, carried: Result<Outcome, Error>) -> Option<Outcome> {
        // Nothing comes any more that it could wait for.
        self.thaw();
        self.deadline = Some(Instant::now() + LEAVE);
        match carried {
            Ok(outcome) => {
                tracing::debug!(?outcome, "NX stream ended");
                Some(outcome)
            }
            Err(error) => {
                self.fault = Some(error);
                self.child.kill();
                None
            }
        }
    }

    fn too_late(&mut self, outcome: Option<&Outcome>, seconds: u64) {
        tracing::warn!("nxproxy does not end in time and is killed");
        self.deadline = None;
        self.given_up = true;
        self.fault = match outcome {
            _ if self.order != Order::Run || self.fault.is_some() => self.fault.take(),
            None => Some(Error::NotUp { seconds }),
            Some(Outcome::LocalFailed) => Some(Error::Failed {
                reason: "it closed its connection and did not end".to_owned(),
            }),
            Some(_) => None,
        };
        self.child.kill();
    }

    fn obey(&mut self, order: Order) {
        self.order = order;
        match order {
            Order::Run => {}
            // Nobody is there who would hear it.
            Order::Suspend if self.away => self.child.kill(),
            Order::Suspend => {
                self.deadline = Some(Instant::now() + LEAVE);
                self.child.ask_to_end();
            }
            Order::Abort => self.child.kill(),
        }
    }

    fn take_lines(&mut self) {
        while let Some(line) = self.lines.poll() {
            let step = self.account.take(&line);
            (self.events)(Event::Log(line));
            match step {
                Some(Step::Negotiated) => (self.events)(Event::Negotiated),
                Some(Step::Started) => {
                    if self.order == Order::Run {
                        self.deadline = None;
                    }
                    (self.events)(Event::Started);
                }
                Some(Step::SlaveListening) => {
                    (self.events)(Event::SlaveListening(self.slave.clone()));
                }
                Some(Step::Ending) => (self.events)(Event::Ending),
                Some(Step::DisplayRefused) => self.child.kill(),
                Some(Step::Ended) | None => {}
            }
        }
    }

    /// What nxproxy wrote last.
    async fn drain(&mut self) {
        let mut chunk = [0; 4096];
        let rest = async {
            while self.output.is_some() {
                let length = read(&mut self.output, &mut chunk).await;
                self.lines.receive(chunk.get(..length).unwrap_or_default());
            }
        };
        // The group is dead, so that the pipe ends now.
        let _ = timeout(DRAIN, rest).await;
        self.lines.receive_end();
        self.take_lines();
    }

    fn conclude(self, status: ExitStatus, outcome: Option<Outcome>) -> Result<Ending, Error> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.order != Order::Run {
            return Ok(Ending::Suspended);
        }
        let verdict = self.account.verdict();
        // Its death closes the stream, whose end may be seen first.
        if let (Verdict::Silent, Some(signal), false) = (&verdict, signal(status), self.given_up) {
            return Err(Error::Killed { signal });
        }
        Err(match (verdict, outcome) {
            (Verdict::Closed, _) => return Ok(Ending::ClosedByAgent),
            (Verdict::ClosedEarly, _) => Error::ClosedEarly,
            (Verdict::Lost(_) | Verdict::Silent, Some(Outcome::PeerFailed(error))) => Error::Lost {
                reason: lost_because(&error),
            },
            // nxproxy's own words tell less: that it could read no more.
            (Verdict::Lost(_) | Verdict::Silent, Some(Outcome::Closed)) => Error::Lost {
                reason: CLOSED.to_owned(),
            },
            (Verdict::Lost(reason), _) => Error::Lost { reason },
            (Verdict::NotUnderstood(reason), _) => Error::Negotiation { reason },
            (Verdict::DisplayMissing(reason), _) => Error::DisplayMissing {
                display: self.display,
                reason,
            },
            (Verdict::DisplayRefused, _) => Error::DisplayRefused {
                display: self.display,
            },
            (Verdict::Failed(reason), _) => Error::Failed { reason },
            (Verdict::Silent, _) => match signal(status) {
                Some(signal) => Error::Killed { signal },
                None => Error::Failed {
                    reason: format!("it ended without a word ({status})"),
                },
            },
        })
    }
}

/// The next output; never resolves again once it has ended, except with 0 for
/// the end itself.
async fn read(output: &mut Option<pipe::Receiver>, chunk: &mut [u8]) -> usize {
    let Some(pipe) = output else {
        return std::future::pending().await;
    };
    match pipe.read(chunk).await {
        Ok(0) | Err(_) => {
            *output = None;
            0
        }
        Ok(length) => length,
    }
}

fn command(program: &Path, rendezvous: &Rendezvous, session: &Session) -> Command {
    let mut connect = OsString::from(session.options.to_string());
    if session.slave.is_some() {
        connect.push(",slave=unix:");
        connect.push(rendezvous.slave());
    }
    for (option, local) in [("media", &session.media), ("cups", &session.cups)] {
        if let Some(local) = local {
            connect.push(format!(",{option}="));
            match local {
                Local::Unix(path) => {
                    connect.push("unix:");
                    connect.push(path);
                }
                Local::Port(port) => connect.push(port.to_string()),
            }
        }
    }
    connect.push(",connect=unix:");
    connect.push(rendezvous.socket());
    connect.push(format!(":{NUMBER}"));

    let mut command = Command::new(program);
    command.arg("-S").arg(connect).env_clear();
    // It ends where there is no HOME, though it has NX_ROOT (seen).
    command.env("HOME", rendezvous.dir());
    command.envs(plain_environment());
    command
        .env("DISPLAY", session.display.name())
        .env("NX_ROOT", rendezvous.dir())
        .env("NX_TEMP", rendezvous.dir())
        // nxproxy calls this to show dialogs, which are the client's business.
        .env("NX_CLIENT", "/bin/true")
        .current_dir(rendezvous.dir());
    if let Some(slave) = &session.slave {
        if let Some(program) = &slave.command {
            command.env("NX_SLAVE_CMD", program);
        }
        command.envs(slave.environment.iter().map(|(name, value)| (name, value)));
    }
    command
}

/// Puts the lasting cache where nxproxy looks for it. A session without a
/// cache is slower over slow links, nothing worse.
fn keep_cache(rendezvous: &Rendezvous, cache: &Path) {
    let kept = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(cache)
        .and_then(|()| std::os::unix::fs::symlink(cache, rendezvous.dir().join("cache")));
    if let Err(error) = kept {
        tracing::warn!(cache = %cache.display(), %error, "NX cache is not kept");
    }
}
