//! The nxproxy engine against real programs: nxproxy, nxagent and Xvfb, and
//! against programs that misbehave.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod rig;

use std::time::Duration;

use nx_proxy::{Display, Ending, Engine as _, Error, Event, NxProxy, NxStream, Order, Session};
use rig::{Agent, Xvfb, fake_program, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};

/// A session under way, with what it tells.
struct Running {
    ended: tokio::task::JoinHandle<Result<Ending, Error>>,
    events: mpsc::UnboundedReceiver<Event>,
    order: watch::Sender<Order>,
}

fn start(engine: NxProxy, display: Display, stream: NxStream) -> Running {
    let (told, events) = mpsc::unbounded_channel();
    let (order, orders) = watch::channel(Order::Run);
    let ended = tokio::spawn(async move {
        let session = Session::new(display);
        let mut tell = |event| drop(told.send(event));
        engine.run(stream, &session, &mut tell, orders).await
    });
    Running {
        ended,
        events,
        order,
    }
}

impl Running {
    async fn until(&mut self, wanted: &Event) {
        let seen = async {
            while let Some(event) = self.events.recv().await {
                if event == *wanted {
                    return;
                }
            }
            panic!("the session ended before {wanted:?}");
        };
        until("an event", seen).await;
    }

    async fn end(self) -> Result<Ending, Error> {
        until("the end", self.ended).await.unwrap()
    }
}

#[tokio::test]
async fn a_session_starts_draws_and_is_suspended_by_order() {
    let xvfb = Xvfb::start(200).await;
    let mut agent = Agent::start(201).await;
    let display = Display::open(&xvfb.name()).await.unwrap();
    assert_eq!(display.screen().to_string(), "1024x768");

    // What was read past the 101 has to come first, even if it is one byte.
    let nx = agent.connect().await;
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let relay = tokio::spawn(async move {
        let (mut nx, mut theirs) = (nx.take(), theirs);
        tokio::io::copy_bidirectional(&mut nx, &mut theirs).await
    });
    let mut session = start(
        NxProxy::new("nxproxy"),
        display.clone(),
        NxStream::new(ours, Vec::new()),
    );
    session.until(&Event::Negotiated).await;
    session.until(&Event::Started).await;
    agent.until_line("Session: Session started at").await;

    session.order.send(Order::Suspend).unwrap();
    assert_eq!(session.end().await.unwrap(), Ending::Suspended);
    agent.until_line("Session: Session suspended at").await;
    relay.abort();
}

#[tokio::test]
async fn a_session_the_agent_closes_and_one_that_breaks_are_told_apart() {
    let xvfb = Xvfb::start(202).await;
    let mut agent = Agent::start(203).await;
    let display = Display::open(&xvfb.name()).await.unwrap();
    let stream = NxStream::new(agent.connect().await.take(), Vec::new());
    let mut session = start(NxProxy::new("nxproxy"), display.clone(), stream);
    session.until(&Event::Started).await;
    agent.until_line("Session: Session started at").await;
    agent.terminate();
    assert_eq!(session.end().await.unwrap(), Ending::ClosedByAgent);

    let agent = Agent::start(204).await;
    let stream = NxStream::new(agent.connect().await.take(), Vec::new());
    let mut session = start(NxProxy::new("nxproxy"), display, stream);
    session.until(&Event::Started).await;
    drop(agent);
    let error = session.end().await.unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error}");
}

#[tokio::test]
async fn dropping_a_session_ends_every_process_of_it() {
    let xvfb = Xvfb::start(205).await;
    let mut agent = Agent::start(206).await;
    let display = Display::open(&xvfb.name()).await.unwrap();
    let stream = NxStream::new(agent.connect().await.take(), Vec::new());
    let mut session = start(NxProxy::new("nxproxy"), display, stream);
    session.until(&Event::Started).await;
    agent.until_line("Session: Session started at").await;
    session.ended.abort();
    assert!(session.ended.await.unwrap_err().is_cancelled());
    agent.until_line("Session: Session suspended at").await;
}

#[tokio::test]
async fn a_peer_that_does_not_speak_nx_is_told() {
    let xvfb = Xvfb::start(207).await;
    let display = Display::open(&xvfb.name()).await.unwrap();
    let (ours, mut theirs) = tokio::io::duplex(1024);
    theirs
        .write_all(b".1 400 Bad Request\r\n\r\n")
        .await
        .unwrap();
    // The first part has been read already.
    let stream = NxStream::new(ours, b"HTTP/1".to_vec());
    let error = start(NxProxy::new("nxproxy"), display.clone(), stream)
        .end()
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Negotiation { reason } if reason.contains("HTTP/1.1")),
        "{error}"
    );
    // The proxy speaks first, if it came to speak before it was ended.
    let mut said = Vec::new();
    theirs.read_to_end(&mut said).await.unwrap();
    assert!(said.is_empty() || said.starts_with(b"NXPROXY-"), "{said:?}");

    let (ours, theirs) = tokio::io::duplex(1024);
    drop(theirs);
    let stream = NxStream::new(ours, Vec::new());
    let error = start(NxProxy::new("nxproxy"), display, stream)
        .end()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::ClosedEarly), "{error}");
}

#[tokio::test]
async fn programs_that_misbehave_are_told_and_ended() {
    let xvfb = Xvfb::start(208).await;
    let display = Display::open(&xvfb.name()).await.unwrap();
    let run = |script: &str| {
        let (dir, program) = fake_program(script);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let session = start(
            NxProxy::new(program),
            display.clone(),
            NxStream::new(ours, Vec::new()),
        );
        (dir, theirs, session)
    };

    let (_dir, _peer, session) = run("echo 'Error: out of luck.'; exit 0");
    let error = session.end().await.unwrap_err();
    assert!(
        matches!(&error, Error::Failed { reason } if reason == "out of luck"),
        "{error}"
    );

    let (_dir, _peer, session) = run("kill -SEGV $$");
    let error = session.end().await.unwrap_err();
    assert!(matches!(error, Error::Killed { signal: 11 }), "{error}");

    let (_dir, _peer, session) = run("exit 3");
    let error = session.end().await.unwrap_err();
    assert!(error.to_string().contains("exit status: 3"), "{error}");

    // Deaf to the polite signal, with a child that would outlive it.
    let (dir, _peer, mut session) = run(
        "trap '' TERM; sh -c 'trap \"\" TERM; exec sleep 1000' & echo $! > \"${0%/*}/child\"; echo ready; wait",
    );
    session.until(&Event::Log("ready".to_owned())).await;
    let child = std::fs::read_to_string(dir.path().join("child")).unwrap();
    session.order.send(Order::Suspend).unwrap();
    assert_eq!(session.end().await.unwrap(), Ending::Suspended);
    let gone = async {
        while rig::is_alive(child.trim()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    until("the child of the program to be gone", gone).await;
}

#[tokio::test]
async fn an_agent_that_says_nothing_is_not_waited_for_for_ever() {
    let xvfb = Xvfb::start(209).await;
    let (_theirs, ours) = tokio::io::duplex(1024);
    let mut session = Session::new(Display::open(&xvfb.name()).await.unwrap());
    session.start_timeout = Duration::from_secs(1);
    let (_order, orders) = watch::channel(Order::Run);
    let engine = NxProxy::new("nxproxy");
    let mut tell = |_| ();
    let run = engine.run(NxStream::new(ours, Vec::new()), &session, &mut tell, orders);
    let error = until("the end", run).await.unwrap_err();
    assert!(matches!(error, Error::NotUp { seconds: 1 }), "{error}");
}

/// An X server starts afresh whenever its last client leaves.
#[tokio::test]
async fn a_display_that_starts_afresh_is_waited_for() {
    let xvfb = Xvfb::start(212).await;
    for _ in 0..20 {
        drop(Display::open(&xvfb.name()).await.unwrap());
    }
}
