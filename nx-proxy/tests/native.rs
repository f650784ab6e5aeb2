//! The native engine against real programs, nxagent and Xvfb, and against peers
//! that misbehave.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod rig;

use std::time::Duration;

use nx_proxy::{Display, Ending, Engine as _, Error, Event, Native, NxStream, Order, Session};
use rig::{Agent, Xvfb, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};

/// A session under way, with what it tells.
struct Running {
    ended: tokio::task::JoinHandle<Result<Ending, Error>>,
    events: mpsc::UnboundedReceiver<Event>,
    order: watch::Sender<Order>,
}

fn start(display: Display, stream: NxStream) -> Running {
    let (told, events) = mpsc::unbounded_channel();
    let (order, orders) = watch::channel(Order::Run);
    let ended = tokio::spawn(async move {
        let session = Session::new(display);
        let mut tell = |event| drop(told.send(event));
        Native::new().run(stream, &session, &mut tell, orders).await
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
async fn a_session_starts_and_is_suspended_by_order() {
    let xvfb = Xvfb::start(220).await;
    let display = Display::open(&xvfb.name()).await.unwrap();
    for (number, link) in [(221, "link=lan"), (222, "link=modem")] {
        let mut agent = Agent::start_with(number, link).await;
        let stream = NxStream::new(agent.connect().await.take(), Vec::new());
        let mut session = start(display.clone(), stream);
        session.until(&Event::Negotiated).await;
        session.until(&Event::Started).await;
        agent.until_line("Session: Session started at").await;

        session.order.send(Order::Suspend).unwrap();
        assert_eq!(session.end().await.unwrap(), Ending::Suspended);
        agent.until_line("Session: Session suspended at").await;
    }
}

#[tokio::test]
async fn a_session_the_agent_closes_and_one_that_breaks_are_told_apart() {
    let xvfb = Xvfb::start(223).await;
    let mut agent = Agent::start(224).await;
    let display = Display::open(&xvfb.name()).await.unwrap();
    let stream = NxStream::new(agent.connect().await.take(), Vec::new());
    let mut session = start(display.clone(), stream);
    session.until(&Event::Started).await;
    agent.until_line("Session: Session started at").await;
    agent.terminate();
    assert_eq!(session.end().await.unwrap(), Ending::ClosedByAgent);

    let agent = Agent::start(225).await;
    let stream = NxStream::new(agent.connect().await.take(), Vec::new());
    let mut session = start(display, stream);
    session.until(&Event::Started).await;
    drop(agent);
    let error = session.end().await.unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error}");
}

#[tokio::test]
async fn a_display_that_goes_is_told_and_the_session_suspended() {
    let xvfb = Xvfb::start(226).await;
    let mut agent = Agent::start(227).await;
    let display = Display::open(&xvfb.name()).await.unwrap();
    let stream = NxStream::new(agent.connect().await.take(), Vec::new());
    let mut session = start(display, stream);
    session.until(&Event::Started).await;
    agent.until_line("Session: Session started at").await;
    drop(xvfb);
    let error = session.end().await.unwrap_err();
    assert!(
        matches!(&error, Error::DisplayMissing { display, .. } if display == ":226"),
        "{error}"
    );
    agent.until_line("Session: Session suspended at").await;
}

#[tokio::test]
async fn a_session_that_is_dropped_is_suspended() {
    let xvfb = Xvfb::start(228).await;
    let mut agent = Agent::start(229).await;
    let display = Display::open(&xvfb.name()).await.unwrap();
    let stream = NxStream::new(agent.connect().await.take(), Vec::new());
    let mut session = start(display, stream);
    session.until(&Event::Started).await;
    agent.until_line("Session: Session started at").await;
    session.ended.abort();
    assert!(session.ended.await.unwrap_err().is_cancelled());
    agent.until_line("Session: Session suspended at").await;
}

#[tokio::test]
async fn a_peer_that_does_not_speak_nx_is_told() {
    let xvfb = Xvfb::start(230).await;
    let display = Display::open(&xvfb.name()).await.unwrap();
    let (ours, mut theirs) = tokio::io::duplex(1024);
    theirs
        .write_all(b".1 400 Bad Request\r\n\r\n")
        .await
        .unwrap();
    // The first part has been read already.
    let stream = NxStream::new(ours, b"HTTP/1".to_vec());
    let error = start(display.clone(), stream).end().await.unwrap_err();
    assert!(matches!(&error, Error::Negotiation { .. }), "{error}");
    let mut said = Vec::new();
    theirs.read_to_end(&mut said).await.unwrap();
    assert!(said.is_empty() || said.starts_with(b"NXPROXY-"), "{said:?}");

    let (ours, theirs) = tokio::io::duplex(1024);
    drop(theirs);
    let stream = NxStream::new(ours, Vec::new());
    let error = start(display, stream).end().await.unwrap_err();
    assert!(matches!(error, Error::ClosedEarly), "{error}");
}

#[tokio::test]
async fn an_agent_that_says_nothing_is_not_waited_for_for_ever() {
    let xvfb = Xvfb::start(231).await;
    let (_theirs, ours) = tokio::io::duplex(1024);
    let mut session = Session::new(Display::open(&xvfb.name()).await.unwrap());
    session.start_timeout = Duration::from_secs(1);
    let (_order, orders) = watch::channel(Order::Run);
    let engine = Native::new();
    let mut tell = |_| ();
    let run = engine.run(NxStream::new(ours, Vec::new()), &session, &mut tell, orders);
    let error = until("the end", run).await.unwrap_err();
    assert!(matches!(error, Error::NotUp { seconds: 1 }), "{error}");
}
