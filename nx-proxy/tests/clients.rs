//! Several X clients, each a channel of its own: nxproxy in the agent's place.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

#[allow(dead_code, reason = "not every test needs all of it")]
mod rig;

use std::process::Stdio;
use std::time::Duration;

use nx_proxy::{Display, Ending, Engine as _, Error, Event, Native, NxStream, Order, Session};
use rig::{Xvfb, sweep, until};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use x11rb::protocol::xproto::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

/// `nxproxy -C`, to whose display X clients connect.
struct AgentsProxy {
    process: Child,
    number: u16,
    stream: Option<UnixStream>,
    _dir: TempDir,
}

impl AgentsProxy {
    async fn start(number: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("nx");
        let words = format!("nx/nx,link=lan,listen=unix:{}:{number}", socket.display());
        let mut process = Command::new("nxproxy")
            .args(["-C", &words])
            .env("HOME", dir.path())
            .current_dir(dir.path())
            .env_remove("DISPLAY")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|e| panic!("nxproxy: {e}; install the package nxproxy"));
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let waiting = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.starts_with("Info: Waiting for connection") {
                    return true;
                }
            }
            false
        };
        assert!(until("nxproxy", waiting).await, "nxproxy does not listen");
        // What it says later is of no interest, but must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let stream = Some(UnixStream::connect(&socket).await.unwrap());
        Self {
            process,
            number,
            stream,
            _dir: dir,
        }
    }

    /// An X client that has been answered.
    async fn client(&self) -> RustConnection {
        let name = format!(":{}", self.number);
        let open = tokio::task::spawn_blocking(move || {
            let (client, _) = RustConnection::connect(Some(&name)).unwrap();
            client.get_input_focus().unwrap().reply().unwrap();
            client
        });
        until("an X client", open).await.unwrap()
    }
}

impl Drop for AgentsProxy {
    fn drop(&mut self) {
        sweep(self.number);
    }
}

struct Running {
    ended: tokio::task::JoinHandle<Result<Ending, Error>>,
    events: mpsc::UnboundedReceiver<Event>,
    _order: watch::Sender<Order>,
}

async fn start(xvfb: &Xvfb, proxy: &mut AgentsProxy) -> Running {
    let display = Display::open(&xvfb.name()).await.unwrap();
    let stream = NxStream::new(proxy.stream.take().unwrap(), Vec::new());
    let (told, mut events) = mpsc::unbounded_channel();
    let (order, orders) = watch::channel(Order::Run);
    let ended = tokio::spawn(async move {
        let session = Session::new(display);
        let mut tell = |event| drop(told.send(event));
        let engine = Native::new();
        engine.run(stream, &session, &mut tell, orders).await
    });
    let agreed = async { while !matches!(events.recv().await.unwrap(), Event::Negotiated) {} };
    until("the agreement", agreed).await;
    Running {
        ended,
        events,
        _order: order,
    }
}

/// One client stays, another one has come and gone.
async fn with_one_gone(xvfb: &Xvfb, proxy: &mut AgentsProxy) -> (Running, RustConnection) {
    let mut running = start(xvfb, proxy).await;
    let stays = proxy.client().await;
    drop(proxy.client().await);
    // The answer comes after the other's end.
    drop(proxy.client().await);
    assert_eq!(running.events.try_recv(), Ok(Event::Started));
    assert!(running.events.try_recv().is_err(), "the session ends");
    (running, stays)
}

#[tokio::test]
async fn the_end_of_a_client_is_not_the_sessions() {
    let xvfb = Xvfb::start(256).await;
    let mut proxy = AgentsProxy::start(257).await;
    let (running, stays) = with_one_gone(&xvfb, &mut proxy).await;
    // Nor is that of the last one.
    drop(stays);
    drop(proxy.client().await);
    let pid = i32::try_from(proxy.process.id().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), running.ended).await;
    let ended = ended.unwrap_or_else(|_| panic!("it waits for the agent's proxy"));
    assert_eq!(ended.unwrap().unwrap(), Ending::ClosedByAgent);
}

#[tokio::test]
async fn an_agent_that_is_killed_after_a_client_has_gone_is_lost() {
    let xvfb = Xvfb::start(258).await;
    let mut proxy = AgentsProxy::start(259).await;
    let (running, _stays) = with_one_gone(&xvfb, &mut proxy).await;
    proxy.process.kill().await.unwrap();
    let error = until("the end", running.ended).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error}");
}

#[tokio::test]
async fn a_display_that_goes_after_a_client_has_gone_is_told() {
    let xvfb = Xvfb::start(260).await;
    let mut proxy = AgentsProxy::start(261).await;
    let (running, stays) = with_one_gone(&xvfb, &mut proxy).await;
    drop(xvfb);
    let error = until("the end", running.ended).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "display :260 closed the connection");
    drop(stays);
}
