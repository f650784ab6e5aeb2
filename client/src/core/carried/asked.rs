//! What the VM asks of this machine on the carrier: the slave command is run for
//! each request, as the engine runs it for those that come through NX.

use std::convert::Infallible;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use qvd_carrier::{Code, Kind, ROAD_VARIABLE};
use qvd_net::carrier::{Incoming, Session};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{ChildStderr, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Most requests at a time: each is a process.
const MAX_REQUESTS: usize = 64;

/// How long a command may take to end when its request is over.
const ENDING: Duration = Duration::from_secs(5);

/// How long what a command says may take to be read when its request is over.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Most bytes of what a command says.
const MAX_WORDS: u64 = 64 * 1024;

/// What serves the VM's requests.
pub(super) struct Server {
    /// Without one they are refused.
    pub(super) slave: Option<nx_proxy::Slave>,
    /// Where the command is told of outages.
    pub(super) road: PathBuf,
}

/// Serves until the session is over, or this is dropped.
pub(super) async fn serve(session: Session, server: Server) {
    let server = Arc::new(server);
    let mut requests = JoinSet::new();
    loop {
        let incoming = tokio::select! {
            incoming = session.incoming() => incoming,
            Some(_) = requests.join_next() => continue,
        };
        let Some(incoming) = incoming else { break };
        match incoming.kind {
            Kind::Slave if requests.len() >= MAX_REQUESTS => {
                incoming.refuse(Code::TooMany, "too many requests");
            }
            Kind::Slave => {
                let server = Arc::clone(&server);
                requests.spawn(async move {
                    if let Err(error) = server.answer(incoming).await {
                        tracing::warn!(%error, "a request of the session's");
                    }
                });
            }
            kind => incoming.refuse(Code::Missing, &format!("no {} here", kind.name())),
        }
    }
    while requests.join_next().await.is_some() {}
}

impl Server {
    async fn answer(&self, incoming: Incoming) -> io::Result<()> {
        let slave = self.slave.as_ref();
        let Some((slave, program)) = slave.and_then(|s| Some((s, s.command.as_ref()?))) else {
            incoming.refuse(Code::Missing, "nothing can be asked of this machine");
            return Ok(());
        };
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let theirs = OwnedFd::from(theirs);
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(slave.program_environment())
            .env(ROAD_VARIABLE, &self.road)
            .stdin(theirs.try_clone()?)
            .stdout(theirs)
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                incoming.refuse(Code::Failed, "the program does not start");
                let named = format!("{}: {error}", program.display());
                return Err(io::Error::new(error.kind(), named));
            }
        };
        // It holds the program's end, which would never come to an end.
        drop(command);
        let words = child.stderr.take();
        let group = child.id();
        let end = ours.try_clone()?;
        let joined = async {
            let mut joined = pin!(incoming.accept(b"")?.join(UnixStream::from_std(ours)?));
            tokio::select! {
                () = &mut joined => {}
                _ = child.wait() => {
                    // Others may hold its socket. What it wrote is there, and is
                    // read before the end.
                    end.shutdown(Shutdown::Both)?;
                    joined.await;
                    return Ok(());
                }
            }
            // It sees that its channel is closed.
            if timeout(ENDING, child.wait()).await.is_err() {
                tracing::warn!("a slave command does not end, it is killed");
                kill(group);
                // It may have left its group.
                let _ = child.start_kill();
            }
            Ok(())
        };
        // Others may hold its standard error, too.
        let mut log = pin!(log(words));
        tokio::select! {
            done = joined => {
                let _ = timeout(LAST_WORDS, log).await;
                done
            }
            never = async {
                log.as_mut().await;
                std::future::pending::<Infallible>().await
            } => match never {},
        }
    }
}

/// Kills what has this process for its leader, which has not been waited for.
fn kill(group: Option<u32>) {
    let group = group.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(group) = group {
        // It has just ended.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// What a command says goes into the log.
async fn log(words: Option<ChildStderr>) {
    let Some(words) = words else { return };
    let mut lines = BufReader::new(words.take(MAX_WORDS)).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::info!("{line}");
    }
}
