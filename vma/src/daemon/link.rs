//! The daemon's end of a session process, from its start or adoption until
//! every process of the session is gone.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::rc::Rc;
use std::time::Duration;

use qvd_carrier::Token;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::core::Input;
use super::launch::{Started, clear, clear_display, connect_to};
use super::record::Record;
use super::service;
use crate::control::{Channel, Client, Command, Event, Hello, Hidden, NxState, VERSION, Vnc};
use crate::procs;
use crate::settings::SessionPaths;
use crate::sys::watch;

/// How long a session process that is taken over may take to say hello.
const HELLO: Duration = Duration::from_secs(5);

/// How long a session process may take to end once it has closed its socket.
const LAST_BREATH: Duration = Duration::from_secs(2);

/// Between looks for processes that are left.
const SWEEP: Duration = Duration::from_millis(20);

/// How many times processes that are left are killed before they are given up:
/// they are then in the kernel's hands.
const SWEEPS: u32 = 250;

/// What a session process tells the core.
#[derive(Debug)]
pub enum Report {
    /// nxagent's state.
    Nx(NxState),
    /// nxagent runs, with this process id.
    Started(i32),
    /// An answer to [`Command::VncAsk`].
    Vnc(u64, Vnc),
    /// Whether the client's carrier has a connection, and the tokens with
    /// which it goes on; and the number of the port to which that came.
    Carrier {
        /// There is a connection.
        up: bool,
        /// With what it goes on.
        tokens: Vec<Token>,
        /// 0 where that is not known.
        port: u64,
        /// Whether the client is there, once it has come.
        client: Option<Client>,
    },
    /// All was told, as asked for by [`Command::Tell`].
    Told(u64),
    /// Whether the process speaks the carrier.
    Speaks(bool),
    /// No process of the session is left.
    Gone {
        /// The session's name.
        session: String,
        /// Why, when it ended neither by itself nor on demand.
        reason: Option<String>,
    },
}

/// A session process.
pub struct Link {
    record: Record,
    process: Process,
    commands: mpsc::UnboundedSender<(Command, Option<OwnedFd>)>,
}

/// A session that an earlier daemon has started.
pub struct Adopted {
    /// To its process.
    pub link: Link,
    /// Login name of its user.
    pub user: String,
    /// The state of its nxagent.
    pub state: NxState,
    /// Whether it has a client that does not speak the carrier.
    pub served: bool,
}

impl Link {
    /// The link to a process that was just started.
    ///
    /// # Errors
    /// When its socket cannot be used.
    pub fn new(
        started: Started,
        paths: &SessionPaths,
        core: mpsc::UnboundedSender<Input>,
    ) -> Result<Self, String> {
        let Started {
            record,
            launch,
            control,
            child,
        } = started;
        let channel = Channel::new(control).map_err(|e| format!("control socket: {e}"))?;
        let link = Self::attach(record, channel, Some(child), paths, core);
        link.tell(Command::Start(Box::new(launch)), None);
        Ok(link)
    }

    /// The session that an earlier daemon started, if it still runs.
    ///
    /// # Errors
    /// When there was a session that cannot be taken over; what was left of
    /// it is gone.
    pub async fn adopt(
        paths: &SessionPaths,
        core: mpsc::UnboundedSender<Input>,
    ) -> io::Result<Option<Adopted>> {
        let record = match Record::read(&paths.record) {
            Ok(None) => return Ok(None),
            Ok(Some(record)) => record,
            Err(error) => {
                clear(paths);
                return Err(error);
            }
        };
        let greeted = async {
            let channel = Channel::new(connect_to(&paths.control)?)?;
            let hello = timeout(HELLO, hello(&channel, &record)).await??;
            io::Result::Ok((channel, hello))
        };
        match greeted.await {
            Ok((channel, hello)) => {
                if hello.version != VERSION {
                    tracing::info!(
                        version = hello.version,
                        "session process of another version"
                    );
                }
                let user = record.user.clone();
                let _ = core.send(Input::Session(Report::Speaks(hello.carrier)));
                if let Some(nxagent) = hello.nxagent {
                    let _ = core.send(Input::Session(Report::Started(nxagent)));
                }
                let link = Self::attach(record, channel, None, paths, core);
                Ok(Some(Adopted {
                    link,
                    user,
                    state: hello.state,
                    served: hello.served,
                }))
            }
            Err(error) => {
                sweep(&record).await;
                clear_display(paths.display);
                clear(paths);
                Err(error)
            }
        }
    }

    fn attach(
        record: Record,
        channel: Channel,
        child: Option<Child>,
        paths: &SessionPaths,
        core: mpsc::UnboundedSender<Input>,
    ) -> Self {
        let (commands, queue) = mpsc::unbounded_channel();
        let pid = child
            .as_ref()
            .map(Pid::from_child)
            .or_else(|| record.process());
        let process = Rc::new(RefCell::new(pid.and_then(open)));
        let keeper = Keeper {
            record: record.clone(),
            paths: paths.clone(),
            core,
            process: process.clone(),
            child,
        };
        tokio::task::spawn_local(keeper.keep(channel, queue));
        Self {
            record,
            process,
            commands,
        }
    }

    /// The mark of the session's processes.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.record.session
    }

    /// The session's name in logs, when it was started.
    #[must_use]
    pub fn name(&self) -> &str {
        self.record.name.as_deref().unwrap_or(&self.record.session)
    }

    /// Tells the process something, with a descriptor if there is one.
    pub fn tell(&self, command: Command, fd: Option<OwnedFd>) {
        // A process that is gone is reported by its keeper.
        let _ = self.commands.send((command, fd));
    }

    /// Kills the process; its keeper sees to the rest of the session.
    pub fn kill(&self) {
        if let Some(process) = &*self.process.borrow() {
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
        if self.record.unit.is_some() {
            // What was killed may only be who asked systemd for it.
            procs::signal(&procs::marked(&self.record.session), Signal::KILL);
        }
    }
}

async fn hello(channel: &Channel, record: &Record) -> io::Result<Hello> {
    match channel.receive::<Event>().await? {
        Some((Event::Hello(hello), _)) if hello.session == record.session => Ok(hello),
        Some(_) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "another session answers",
        )),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Follows a session process to its end.
struct Keeper {
    record: Record,
    paths: SessionPaths,
    core: mpsc::UnboundedSender<Input>,
    process: Process,
    /// The process that the daemon has started itself.
    child: Option<Child>,
}

/// The session process, or systemd-run until that has said which one it is.
type Process = Rc<RefCell<Option<OwnedFd>>>;

fn open(pid: Pid) -> Option<OwnedFd> {
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

impl Keeper {
    async fn keep(
        mut self,
        channel: Channel,
        mut commands: mpsc::UnboundedReceiver<(Command, Option<OwnedFd>)>,
    ) {
        let mut reason = None;
        let listen = async {
            loop {
                match channel.receive::<Event>().await {
                    Ok(Some((Event::Nx { state }, _))) => self.report(Report::Nx(state)),
                    Ok(Some((Event::Started { nxagent }, _))) => {
                        self.report(Report::Started(nxagent));
                    }
                    Ok(Some((
                        Event::Carrier {
                            up,
                            tokens,
                            port,
                            client,
                        },
                        _,
                    ))) => {
                        let tokens = tokens.iter().map(Hidden::expose);
                        let tokens = tokens.filter_map(qvd_carrier::resumes).collect();
                        self.report(Report::Carrier {
                            up,
                            tokens,
                            port,
                            client,
                        });
                    }
                    Ok(Some((Event::Told { number }, _))) => self.report(Report::Told(number)),
                    Ok(Some((Event::Vnc { number, answer }, _))) => {
                        self.report(Report::Vnc(number, answer));
                    }
                    Ok(Some((Event::Ended { reason: why }, _))) => return Ok(why),
                    Ok(Some((Event::Hello(hello), _))) => self.met(&hello),
                    Ok(Some((Event::Unknown, _))) => {}
                    Ok(None) => return Err("the session process ended unexpectedly".to_owned()),
                    Err(error) => return Err(error.to_string()),
                }
            }
        };
        let speak = async {
            while let Some((command, fd)) = commands.recv().await {
                let fd = fd.as_ref().map(std::os::fd::AsFd::as_fd);
                if let Err(error) = channel.send(&command, fd).await {
                    tracing::debug!(%error, "session process");
                }
            }
            // The daemon has let the session go; it is told of its end still.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = listen => match ended {
                Ok(why) => reason = why,
                Err(fault) => reason = Some(fault),
            },
            () = speak => {}
        }
        if let Some(why) = self.gone().await {
            reason = Some(why);
        }
        let session = self.record.session.clone();
        self.report(Report::Gone { session, reason });
    }

    /// A session process that systemd has started says which one it is: now
    /// the daemon can do without systemd-run.
    fn met(&mut self, hello: &Hello) {
        self.report(Report::Speaks(hello.carrier));
        let said = Pid::from_raw(hello.pid).filter(|_| self.record.unit.is_some());
        let Some(pid) = said.filter(|pid| procs::is_marked(*pid, &self.record.session)) else {
            return;
        };
        self.record.pid = hello.pid;
        self.record.cgroup = service::cgroup(pid);
        if let Err(error) = self.record.write(&self.paths.record) {
            tracing::warn!(%error, "session record");
        }
        *self.process.borrow_mut() = open(pid);
        if let Some(mut asker) = self.child.take() {
            let _ = asker.kill();
            let _ = asker.wait();
        }
    }

    /// Sees to it that every process of the session is gone, and its files;
    /// gives a reason that only the end of the process tells.
    async fn gone(&mut self) -> Option<String> {
        let process = self.process.borrow_mut().take();
        if let Some(process) = process {
            let killer = process.try_clone();
            if timeout(LAST_BREATH, ended(process)).await.is_err() {
                tracing::warn!("the session process does not end, killing it");
                if let Ok(process) = killer {
                    let _ = pidfd_send_signal(&process, Signal::KILL);
                    let _ = timeout(LAST_BREATH, ended(process)).await;
                }
            }
        }
        // It has ended: this only takes its status.
        let status = self
            .child
            .take()
            .and_then(|mut child| child.try_wait().ok()?);
        sweep(&self.record).await;
        clear_display(self.paths.display);
        clear(&self.paths);
        let code = status?.code()?;
        let unit = self.record.unit.as_ref()?;
        service::failure(unit, &self.record.user, code)
    }

    fn report(&self, report: Report) {
        let _ = self.core.send(Input::Session(report));
    }
}

/// Resolves when the process has ended.
async fn ended(process: OwnedFd) -> io::Result<()> {
    let process = watch(process)?;
    let _ = process.readable().await?;
    Ok(())
}

/// Kills what is left of a session, whatever daemonised itself included.
async fn sweep(record: &Record) {
    if let Some(group) = &record.cgroup {
        let _ = std::fs::write(group.join("cgroup.kill"), "1");
    }
    for _ in 0..SWEEPS {
        let session = record.session.clone();
        let look = move || procs::marked(&session);
        let left = tokio::task::spawn_blocking(look).await.unwrap_or_default();
        if left.is_empty() {
            break;
        }
        procs::signal(&left, Signal::KILL);
        tokio::time::sleep(SWEEP).await;
    }
    // One of systemd's is systemd's to remove: it would wait for word of it.
    if let (Some(group), None) = (&record.cgroup, &record.unit) {
        remove_group(group).await;
    }
    // Now no process holds a mount any more.
    if let Some(shares) = &record.shares {
        shares.sweep().await;
    }
}

/// An empty control group can be removed a moment after its last process.
async fn remove_group(group: &Path) {
    let group: PathBuf = group.to_owned();
    for _ in 0..50 {
        match std::fs::remove_dir(&group) {
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {
                tokio::time::sleep(SWEEP).await;
            }
            _ => return,
        }
    }
    tracing::warn!(group = %group.display(), "control group is still in use");
}
