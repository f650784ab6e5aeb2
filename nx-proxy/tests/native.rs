//! The native engine against real programs, nxagent and Xvfb, and against peers
//! that misbehave.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

mod rig;

use std::time::Duration;

use nx_proxy::codec::Service;
use nx_proxy::{
    Accepting, Display, Ending, Engine as _, Error, Event, LocalEnd, LocalEnds, Native,
    NoLocalEnds, NxStream, Opening, Order, Session,
};
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
    start_engine(Native::new(), display, stream)
}

fn start_engine(engine: Native, display: Display, stream: NxStream) -> Running {
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
        matches!(&error, Error::DisplayClosed { display } if display == ":226"),
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

/// What it says first is all it ever says.
#[tokio::test]
async fn an_agent_of_another_time_is_told_at_its_first_word() {
    let xvfb = Xvfb::start(237).await;
    let display = Display::open(&xvfb.name()).await.unwrap();
    let (ours, mut theirs) = tokio::io::duplex(1024);
    theirs.write_all(b"NXPROXY-1.5.0 ").await.unwrap();
    let session = start(display, NxStream::new(ours, Vec::new()));
    let error = session.end().await.unwrap_err().to_string();
    assert!(error.contains("NX 1.5.0, which is too old"), "{error}");
}

/// Local ends that are given one by one.
struct Given(tokio::sync::Mutex<mpsc::UnboundedReceiver<LocalEnd>>);

impl LocalEnds for Given {
    fn open(&self, service: Service) -> Opening {
        NoLocalEnds.open(service)
    }

    fn accept(&self) -> Accepting<'_> {
        Box::pin(async move {
            match self.0.lock().await.recv().await {
                Some(end) => (Service::Slave, end),
                None => std::future::pending().await,
            }
        })
    }
}

/// The slave of the session gives back what it gets.
#[tokio::test]
async fn a_slave_channel_carries_bytes_both_ways() {
    const LENGTH: usize = 48 << 10;
    const ROUNDS: u32 = 8;
    let xvfb = Xvfb::start(232).await;
    let display = Display::open(&xvfb.name()).await.unwrap();
    for (number, link) in [(233, "link=lan"), (234, "link=adsl")] {
        let mut agent = Agent::start_with(number, link).await;
        let (give, given) = mpsc::unbounded_channel::<LocalEnd>();
        let engine = Native::new().with_local_ends(std::sync::Arc::new(Given(given.into())));
        let stream = NxStream::new(agent.connect().await.take(), Vec::new());
        let mut session = start_engine(engine.clone(), display.clone(), stream);
        session.until(&Event::Started).await;
        agent.until_line("Session: Session started at").await;

        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        assert!(give.send(Box::new(theirs)).is_ok());
        let (mut read, mut write) = tokio::io::split(ours);
        // No more at once than sockets hold: a slave that is slow is too much
        // for some nxagents.
        for round in 0..ROUNDS {
            let sent: Vec<u8> = (round..)
                .map(|k| k.wrapping_mul(k).to_be_bytes()[2])
                .take(LENGTH)
                .collect();
            let mut back = vec![0; LENGTH];
            let (wrote, got) = until("the bytes to come back", async {
                tokio::join!(write.write_all(&sent), read.read_exact(&mut back))
            })
            .await;
            wrote.unwrap();
            got.unwrap();
            assert!(back == sent, "{link}: other bytes came back");
        }
        // Its end is the other end's, too.
        drop((read, write));
        session.until(&Event::Closed(Service::Slave, 0)).await;
        session.order.send(Order::Suspend).unwrap();
        assert_eq!(session.end().await.unwrap(), Ending::Suspended);
        let (down, up) = engine.statistics().channels["slave"];
        assert!(usize::try_from(down.min(up)).unwrap() >= LENGTH);
    }
}

/// A recorded agent, with a byte of its stream changed: whatever comes of it,
/// the engine ends with an error that says what was met, or when the stream
/// does, and never hangs.
#[tokio::test]
async fn a_damaged_stream_ends_the_session_with_its_fault() {
    let xvfb = Xvfb::start(235).await;
    let display = Display::open(&xvfb.name()).await.unwrap();
    let recording = recorded("lan");
    let begin = 200;
    let mut damaged = 0;
    for at in (0..40).map(|k| begin + k * 379) {
        let mut bytes = recording.clone();
        bytes[at] ^= 0x5a;
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let session = start(display.clone(), NxStream::new(ours, Vec::new()));
        let agent = tokio::spawn(async move {
            // The engine may have left.
            let _ = theirs.write_all(&bytes).await;
            let _ = theirs.shutdown().await;
            let mut said = Vec::new();
            let _ = theirs.read_to_end(&mut said).await;
        });
        match session.end().await {
            Err(Error::Damaged { .. }) => damaged += 1,
            Ok(_)
            | Err(
                Error::Lost { .. }
                | Error::ClosedEarly
                | Error::DisplayMissing { .. }
                | Error::DisplayClosed { .. },
            ) => {}
            Err(other) => panic!("byte {at}: {other}"),
        }
        until("the agent's end", agent).await.unwrap();
    }
    assert!(damaged > 0, "no damage was noticed");
}

/// A recorded agent that says its last word and does not go: nothing is waited
/// for any more.
#[tokio::test]
async fn an_agent_that_stays_after_its_last_word_is_left() {
    let xvfb = Xvfb::start(236).await;
    let display = Display::open(&xvfb.name()).await.unwrap();
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let mut session = start(display, NxStream::new(ours, Vec::new()));
    let (mut hears, mut says) = tokio::io::split(theirs);
    let hearing = tokio::spawn(async move {
        let mut said = Vec::new();
        let _ = hears.read_to_end(&mut said).await;
    });
    // Its last word is among the last of what it says; no agent has it before
    // its session is drawn.
    let recorded = recorded("lan");
    let (session_of_it, last_word) = recorded.split_at(recorded.len() - 64);
    says.write_all(session_of_it).await.unwrap();
    session.until(&Event::Started).await;
    says.write_all(last_word).await.unwrap();
    session.until(&Event::Ending).await;
    let ended = tokio::time::timeout(Duration::from_secs(10), session.ended).await;
    let ended = ended.unwrap_or_else(|_| panic!("it waits for the agent"));
    assert_eq!(ended.unwrap().unwrap(), Ending::ClosedByAgent);
    drop(says);
    hearing.abort();
}

/// What the agent sent in a recorded session.
fn recorded(folder: &str) -> Vec<u8> {
    let root = env!("CARGO_MANIFEST_DIR");
    let path = format!("{root}/recordings/{folder}/nx.0.t2c.xz");
    let mut packed = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let mut bytes = Vec::new();
    lzma_rs::xz_decompress(&mut packed, &mut bytes).unwrap();
    bytes
}
