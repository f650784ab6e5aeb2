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

/// Most bytes of what a command says that go into the log.
const MAX_WORDS: usize = 64 * 1024;

/// Most bytes of a line of it.
const MAX_LINE: u64 = 4096;

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

/// What a command says goes into the log, and is read on beyond what fits: who
/// finds its standard error closed may end of it.
async fn log(words: Option<ChildStderr>) {
    let Some(words) = words else { return };
    let mut words = BufReader::new(words);
    let (mut line, mut left) = (Vec::new(), MAX_WORDS);
    loop {
        line.clear();
        let mut part = (&mut words).take(MAX_LINE);
        let Ok(length @ 1..) = part.read_until(b'\n', &mut line).await else {
            return;
        };
        if left > 0 {
            tracing::info!("{}", String::from_utf8_lossy(&line).trim_end());
            left = left.saturating_sub(length);
        }
    }
}

#[cfg(test)]
#[path = "../../../../tests/src/script.rs"]
mod script;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use qvd_carrier::{Config, Offer, Role, Token};
    use qvd_net::carrier::Stream;
    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::script::write_script;
    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    /// Asks a command that runs this script; `ask` has the VM's end.
    async fn asked(folder: &Path, script: &str, ask: impl AsyncFnOnce(Stream)) {
        let program = folder.join("command");
        write_script(&program, script).unwrap();
        let slave = nx_proxy::Slave {
            command: Some(program),
            environment: vec![("HERE".to_owned(), folder.into())],
        };
        let server = Server {
            slave: Some(slave),
            road: folder.join("road"),
        };
        let client = Session::new(Role::Client, Config::default());
        let agent = Session::new(Role::Agent, Config::default());
        let (here, there) = duplex(4096);
        let greeting = qvd_carrier::greeting(Offer::New).to_vec();
        let both = async {
            tokio::join!(
                client.run(here, greeting),
                agent.serve(there, &[], Token::new([1; 16]))
            )
        };
        let answered = serve(client.clone(), server);
        let asks = async {
            ask(agent.open(Kind::Slave, b"").unwrap()).await;
            // Every request is over before the session is.
            agent.end(qvd_carrier::Reason::Done, "");
        };
        let all = async { tokio::join!(both, answered, asks) };
        timeout(WAIT, all).await.unwrap();
    }

    #[tokio::test]
    async fn an_answer_ends_with_its_command_whoever_else_holds_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let script = "read word; sleep 1000 & echo $! > \"$HERE/left\"; echo \"$word, yes\"";
        asked(folder.path(), script, async |mut stream| {
            stream.write_all(b"well\n").await.unwrap();
            let mut heard = String::new();
            stream.read_to_string(&mut heard).await.unwrap();
            assert_eq!(heard, "well, yes\n");
        })
        .await;
        // What it began, a viewer for instance, is the user's.
        let left = fs::read_to_string(folder.path().join("left")).unwrap();
        let left = Pid::from_raw(left.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(left, Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn a_command_says_as_much_as_it_likes() {
        let folder = tempfile::tempdir().unwrap();
        let script = "printf 'no text: \\377\\n' >&2; yes | head -c 300000 >&2 && echo whole";
        asked(folder.path(), script, async |mut stream| {
            let mut heard = String::new();
            stream.read_to_string(&mut heard).await.unwrap();
            assert_eq!(heard, "whole\n");
        })
        .await;
    }

    #[tokio::test]
    async fn a_command_that_does_not_end_is_killed_with_what_it_has_begun() {
        let folder = tempfile::tempdir().unwrap();
        let script =
            "sleep 1000 & echo $! > \"$HERE/left\"; echo $$ > \"$HERE/own\"; echo begun; wait";
        asked(folder.path(), script, async |mut stream| {
            let mut heard = [0; 5];
            stream.read_exact(&mut heard).await.unwrap();
            // Given up: nobody listens any more.
            drop(stream);
        })
        .await;
        for file in ["own", "left"] {
            let id = fs::read_to_string(folder.path().join(file)).unwrap();
            let stat = format!("/proc/{}/stat", id.trim());
            // Who is killed takes a moment; and init to take it away.
            let gone = async {
                loop {
                    let stat = fs::read_to_string(&stat).unwrap_or_default();
                    if stat.is_empty() || stat.contains(") Z ") {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            let gone = timeout(WAIT, gone).await;
            assert!(gone.is_ok(), "{file} is left");
        }
    }
}
