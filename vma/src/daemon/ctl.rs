//! The daemon's end of its own control socket: see [`crate::ctl`].

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use qvd_rpc::{Reply, SessionState};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::asked::ByHand;
use super::core::{self, Input};
use super::reload::Request;
use super::rpc::Handle;
use crate::control::Channel;
use crate::ctl::{Answer, Ask, Status};
use crate::hooks::{Hook, Why};
use crate::log::rfc3339;

/// Connections that may wait.
const BACKLOG: i32 = 8;

/// Most connections served at a time.
const MAX_CONNECTIONS: usize = 8;

/// How long one may take to say what it wants.
const WORDS: Duration = Duration::from_secs(10);

/// How long a suspend or stop may take, the escalations of a session that does
/// not want to end included.
const ENDING: Duration = Duration::from_secs(120);

/// What is needed to answer.
pub struct Context {
    /// The core.
    pub handle: Handle,
    /// Whoever reads the configuration again.
    pub reload: mpsc::UnboundedSender<Request>,
    /// The configuration file.
    pub config: PathBuf,
    /// Where calls are taken.
    pub rpc: String,
    /// When the daemon was started.
    pub started: Instant,
}

/// Makes the socket, for root and the agent's own user alone.
///
/// # Errors
/// As of the file system.
pub fn listen_on(path: &Path) -> io::Result<OwnedFd> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Answers for ever.
///
/// # Errors
/// When the socket cannot be watched.
pub async fn serve(listener: OwnedFd, context: Context) -> io::Result<()> {
    let listener = crate::sys::watch(listener)?;
    let context = Rc::new(context);
    let room = std::sync::Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else {
            return Ok(());
        };
        let accepted = listener.readable().await?.try_io(|listener| {
            accept_with(listener.get_ref(), SocketFlags::CLOEXEC).map_err(io::Error::from)
        });
        let Ok(accepted) = accepted else { continue };
        let channel = accepted.and_then(|socket| {
            let peer = rustix::net::sockopt::socket_peercred(&socket)?.uid;
            if peer.is_root() || peer == rustix::process::geteuid() {
                Channel::new(socket)
            } else {
                Err(io::ErrorKind::PermissionDenied.into())
            }
        });
        match channel {
            Ok(channel) => {
                let context = context.clone();
                tokio::task::spawn_local(async move {
                    if let Err(error) = converse(&channel, &context).await {
                        tracing::debug!(%error, "control socket");
                    }
                    drop(place);
                });
            }
            Err(error) => tracing::warn!(%error, "control socket"),
        }
    }
}

async fn converse(channel: &Channel, context: &Context) -> io::Result<()> {
    let asked = timeout(WORDS, channel.receive::<Ask>()).await??;
    let Some((ask, _)) = asked else { return Ok(()) };
    let answer = match ask {
        Ask::Status => context.status().await,
        Ask::Suspend => {
            tracing::info!("told to suspend the session");
            context
                .bring(core::Ask::Suspend, SessionState::Suspended)
                .await
        }
        Ask::Stop => {
            tracing::info!("told to stop the session");
            context.bring(core::Ask::Stop, SessionState::Stopped).await
        }
        Ask::Reload => {
            let (answer, lines) = context.reload().await;
            for text in lines {
                channel.send(&Answer::Line { text }, None).await?;
            }
            answer
        }
        Ask::Hook { name } => context.hook(&name, channel).await?,
        Ask::Unknown => failed("this agent does not know how to do that"),
    };
    channel.send(&answer, None).await
}

fn failed(reason: &str) -> Answer {
    Answer::Failed {
        reason: reason.to_owned(),
    }
}

impl Context {
    async fn status(&self) -> Answer {
        let (reply, described) = oneshot::channel();
        let _ = self.handle.input.send(Input::Describe(reply));
        let Ok(now) = described.await else {
            return failed("the agent is ending");
        };
        Answer::Status(Box::new(Status {
            state: now.state.as_str().to_owned(),
            reason: now.reason,
            since: rfc3339(now.since),
            user: now.user,
            session: now.session,
            nxagent_pid: now.nxagent,
            display: now.display,
            client: now.client,
            daemon_pid: std::process::id(),
            daemon_uid: rustix::process::geteuid().as_raw(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: self.started.elapsed().as_secs(),
            config: self.config.clone(),
            rpc: self.rpc.clone(),
        }))
    }

    /// Makes a call and waits until the session is where it leads.
    async fn bring(&self, ask: core::Ask, wanted: SessionState) -> Answer {
        let (reply, answered) = oneshot::channel();
        let _ = self.handle.input.send(Input::Call(ask, reply));
        if let Ok(Reply::Failure(reason)) = answered.await {
            return failed(&reason);
        }
        let at_rest = |state| matches!(state, SessionState::Stopped | SessionState::Suspended);
        let mut state = self.handle.state.clone();
        let reached = timeout(ENDING, state.wait_for(|now| at_rest(now.state))).await;
        match reached {
            Ok(Ok(now)) if now.state == wanted => Answer::Done,
            Ok(Ok(now)) => {
                let reason = now.reason.as_deref().map(|r| format!(": {r}"));
                failed(&format!(
                    "the session is {}{}",
                    now.state,
                    reason.unwrap_or_default()
                ))
            }
            Ok(Err(_)) => failed("the agent is ending"),
            Err(_) => failed(&format!("the session is not {wanted} yet")),
        }
    }

    /// Runs a hook and shows what it prints while it runs.
    async fn hook(&self, name: &str, channel: &Channel) -> io::Result<Answer> {
        let Some(hook) = Hook::named(name) else {
            let all: Vec<&str> = Hook::ALL.into_iter().map(Hook::name).collect();
            let reason = format!("there is no hook {name}, only {}", all.join(", "));
            return Ok(failed(&reason));
        };
        let (lines, mut heard) = mpsc::unbounded_channel();
        let (ended, mut outcome) = oneshot::channel();
        let by_hand = ByHand { lines, ended };
        let _ = self.handle.input.send(Input::Hook(hook, by_hand));
        let outcome = loop {
            tokio::select! {
                biased;
                Some(text) = heard.recv() => {
                    channel.send(&Answer::Line { text }, None).await?;
                }
                // What it left in the background may go on printing.
                outcome = &mut outcome => break outcome,
            }
        };
        Ok(match outcome {
            Ok(Some(Ok(()))) => Answer::Exit { code: Some(0) },
            Ok(Some(Err(failure))) => match failure.why {
                Why::Exit { status, .. } => Answer::Exit {
                    code: u8::try_from(status).ok(),
                },
                _ => failed(&failure.to_string()),
            },
            Ok(None) => failed(&format!("hook {name} is not set")),
            Err(_) => failed("the agent is ending"),
        })
    }

    async fn reload(&self) -> (Answer, Vec<String>) {
        let (reply, outcome) = oneshot::channel();
        let _ = self.reload.send(reply);
        match outcome.await {
            Ok(Ok(lines)) => (Answer::Done, lines),
            Ok(Err(faults)) => (
                failed("the configuration is not taken, the one before stays in force"),
                faults,
            ),
            Err(_) => (failed("the agent is ending"), Vec::new()),
        }
    }
}
