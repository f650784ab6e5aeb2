//! An agent that answers with the bytes of the reference's, and whose nxagent
//! takes the client itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use qvd_http1::RequestReader;
use qvd_rpc::{Call, Reply, SessionState};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::super::agent::call_at;
use crate::background::Background;
use crate::display::ensure_socket_directory;
use crate::error::Doing as _;
use crate::ports::{self, Lease};
use crate::process::{Log, Process, Program};
use crate::{Error, Result, Scene};

/// What it answered: to `ping`, to `x_state` of no session, to what it does not
/// know.
const ANSWERS: &str = include_str!("../../../../protocol/recordings/agent.responses.http");

/// Between two looks at what nxagent has said.
const POLL: Duration = Duration::from_millis(50);

/// How long nxagent may take to end.
const END: Duration = Duration::from_secs(20);

/// A running one. Dropped, it ends with its session.
#[derive(Debug)]
pub struct ReferenceAgent {
    rpc: u16,
    display: Lease,
    state: Arc<Mutex<State>>,
    background: Option<Background>,
}

#[derive(Debug, Default)]
struct State {
    log: Option<Log>,
    /// Where nxagent's output was when it was started or woken: until it says
    /// what it does, it is starting.
    begun: usize,
}

impl State {
    fn said(&self) -> String {
        self.log.as_ref().map(Log::text).unwrap_or_default()
    }

    fn is(&self) -> SessionState {
        let Some(log) = &self.log else {
            return SessionState::Stopped;
        };
        let lines = log.lines();
        let since = lines.get(self.begun..).unwrap_or_default().iter();
        let mut known = since.rev().filter_map(|line| state_after(&line.text));
        known.next().unwrap_or(SessionState::Starting)
    }
}

/// What the session is made of, on the thread that has it.
struct Session {
    nxagent: Option<Process>,
    desktop: Option<Process>,
    programs: [Option<Program>; 2],
}

impl ReferenceAgent {
    /// One whose sessions show a clock.
    ///
    /// # Errors
    ///
    /// When a program is missing, or it cannot listen.
    pub fn start(scene: &Scene) -> Result<Self> {
        ensure_socket_directory()?;
        let display = ports::display()?;
        let number = display.number();
        let _gone = std::fs::remove_file(ports::display_socket(number));
        let options = "nx/nx,client=linux,geometry=800x600,keyboard=pc105/es,link=adsl,\
                       tolerancechecks=risky";
        let file = scene.write("reference-nxagent.conf", format!("{options}:{number}\n"))?;
        let nxagent = scene.installed("nxagent", "nxagent")?.args([
            &format!(":{number}"),
            "-ac",
            "-name",
            "QVD",
            "-display",
            &format!("nx/nx,options={}:{number}", file.display()),
        ]);
        scene.installed("xclock", "x11-apps")?;
        // As xinit does, until the display is there.
        let words = "until xclock -update 1 -geometry 400x400+10+10; do sleep 0.2; done";
        let desktop = scene
            .installed("sh", "dash")?
            .env("DISPLAY", format!(":{number}"))
            .args(["-c", words]);
        let doing = || "listening as an agent".into();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing(doing)?;
        listener.set_nonblocking(true).doing(doing)?;
        let rpc = listener.local_addr().doing(doing)?.port();
        let runtime = Background::runtime()?;
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let background = Background::start("reference-agent", runtime, async move |stopped| {
            let mut session = Session {
                nxagent: None,
                desktop: None,
                programs: [Some(nxagent), Some(desktop)],
            };
            tokio::select! {
                () = accept(listener, &mut session, &shared) => {}
                _ = stopped => {}
            }
            session.end().await;
        })?;
        Ok(Self {
            rpc,
            display,
            state,
            background: Some(background),
        })
    }

    /// Where it answers calls.
    #[must_use]
    pub fn rpc(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.rpc).into()
    }

    /// The port on which its nxagent takes the client.
    #[must_use]
    pub fn x_port(&self) -> u16 {
        self.display.number().saturating_add(4000)
    }

    /// What its nxagent has said.
    #[must_use]
    pub fn said(&self) -> String {
        locked(&self.state).said()
    }

    /// The state of its session.
    #[must_use]
    pub fn state(&self) -> SessionState {
        locked(&self.state).is()
    }

    /// Makes a call, as a broker does.
    ///
    /// # Errors
    ///
    /// As [`call_at`].
    pub async fn call(&self, call: Call) -> Result<Reply> {
        call_at(self.rpc(), call).await
    }

    /// Waits until its nxagent has said this.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] with what it has said.
    pub async fn expect(&self, words: &str, within: Duration) -> Result<()> {
        self.until(words, within, || self.said().contains(words))
            .await
    }

    /// Waits until its session is in this state.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] with what nxagent has said.
    pub async fn wait_for_state(&self, wanted: SessionState, within: Duration) -> Result<()> {
        let what = format!("the session: {}", wanted.as_str());
        self.until(&what, within, || self.state() == wanted).await
    }

    async fn until(&self, what: &str, within: Duration, done: impl Fn() -> bool) -> Result<()> {
        let until = Instant::now() + within;
        while !done() {
            if Instant::now() >= until {
                return Err(Error::Deadline {
                    what: what.to_owned(),
                    limit: within,
                    context: self.said(),
                });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

impl Drop for ReferenceAgent {
    fn drop(&mut self) {
        drop(self.background.take());
        // It may have been killed, which leaves these behind.
        let _gone = std::fs::remove_file(ports::display_socket(self.display.number()));
        let _gone = std::fs::remove_file(ports::display_lock(self.display.number()));
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the reference takes a line of nxagent's for.
fn state_after(line: &str) -> Option<SessionState> {
    let states = [
        ("Session: Starting session", SessionState::Listening),
        ("Session: Session started", SessionState::Connected),
        ("Session: Suspending session", SessionState::Suspending),
        ("Session: Session suspended", SessionState::Suspended),
        ("Session: Resuming session", SessionState::Listening),
        ("Session: Session resumed", SessionState::Connected),
        ("Session: Terminating session", SessionState::Stopping),
        ("Session: Session terminated", SessionState::Stopped),
        ("Session: Aborting session", SessionState::Stopping),
        ("Session: Session aborted", SessionState::Stopped),
    ];
    let mut states = states.into_iter();
    let (_, state) = states.find(|(words, _)| line.contains(words))?;
    Some(state)
}

/// An answer as of the recording, with these words.
fn answer(words: &str) -> Vec<u8> {
    let body = format!("{words}\n\r\n");
    let length = body.len();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json-simplerpc\r\n";
    format!("{head}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// What it answers to a method that it does not know.
fn unknown() -> &'static [u8] {
    let from = ANSWERS.find("HTTP/1.1 404").unwrap_or_default();
    let rest = ANSWERS.get(from..).unwrap_or_default();
    let next = rest.get(1..).and_then(|rest| rest.find("HTTP/1.1 "));
    let to = next.map_or(rest.len(), |next| next + 1);
    rest.get(..to).unwrap_or_default().as_bytes()
}

async fn accept(listener: std::net::TcpListener, session: &mut Session, state: &Mutex<State>) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    while let Ok((stream, _)) = listener.accept().await {
        // One call after the other, each on a connection that is closed.
        let _ = converse(stream, session, state).await;
    }
}

async fn converse(
    mut stream: TcpStream,
    session: &mut Session,
    state: &Mutex<State>,
) -> Result<()> {
    let doing = || "answering a call".to_owned();
    let mut reader = RequestReader::new(0);
    let mut chunk = [0; 4096];
    let request = loop {
        let invalid = |error: qvd_http1::Error| Error::Invalid(error.to_string());
        if let Some(request) = reader.poll().map_err(invalid)? {
            break request;
        }
        let read = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut chunk)).await;
        match read.unwrap_or(Ok(0)).doing(doing)? {
            0 => return Ok(()),
            count => reader.receive(chunk.get(..count).unwrap_or_default()),
        }
    };
    let now = locked(state).is();
    let words = match request.head.path() {
        b"/vma/ping" => "1".to_owned(),
        b"/vma/x_state" => format!("\"{}\"", now.as_str()),
        b"/vma/x_start" => session.start(now, state)?,
        b"/vma/x_suspend" => {
            if matches!(now, SessionState::Connected | SessionState::Listening) {
                session.signal(Signal::HUP)?;
            }
            // As seen.
            "\"starting\"".to_owned()
        }
        b"/vma/x_stop" => {
            session.signal(Signal::TERM)?;
            format!("\"{}\"", SessionState::Stopping.as_str())
        }
        _ => {
            stream.write_all(unknown()).await.doing(doing)?;
            return Ok(());
        }
    };
    stream.write_all(&answer(&words)).await.doing(doing)
}

impl Session {
    /// What is answered to `x_start`.
    fn start(&mut self, now: SessionState, state: &Mutex<State>) -> Result<String> {
        match now {
            SessionState::Stopped => {
                let [nxagent, desktop] = &mut self.programs;
                let Some(nxagent) = nxagent.take() else {
                    return Ok("\"\",\"the session is over\"".into());
                };
                let nxagent = nxagent.start()?;
                locked(state).log = Some(nxagent.log().clone());
                self.nxagent = Some(nxagent);
                self.desktop = desktop.take().map(Program::start).transpose()?;
            }
            SessionState::Suspended => {
                let mut state = locked(state);
                state.begun = state.log.as_ref().map(Log::position).unwrap_or_default();
                self.signal(Signal::HUP)?;
            }
            SessionState::Connected => {
                self.signal(Signal::HUP)?;
                return Ok("\"\",\"retry later\"".into());
            }
            other => return Ok(format!("\"\",\"the session is {}\"", other.as_str())),
        }
        Ok("\"starting\"".into())
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        match &self.nxagent {
            Some(nxagent) => nxagent.signal(signal),
            None => Ok(()),
        }
    }

    async fn end(mut self) {
        for process in [self.desktop.take(), self.nxagent.take()]
            .into_iter()
            .flatten()
        {
            // One that has ended is none the worse.
            let _ = process.stop(END).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_answers_are_the_recorded_ones() {
        for words in ["1", "\"stopped\"", "\"starting\""] {
            let answer = String::from_utf8(answer(words)).unwrap_or_default();
            assert!(ANSWERS.contains(&answer), "{answer}");
        }
        let unknown = String::from_utf8_lossy(unknown());
        assert!(unknown.starts_with("HTTP/1.1 404 ") && unknown.ends_with("permissible.\n"));
    }
}
