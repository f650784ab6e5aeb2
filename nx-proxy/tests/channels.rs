//! Channels beside X with a real nxagent: slave channels both ways, and servers
//! that are slow, absent or gone.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

#[allow(dead_code, reason = "each test has its own part")]
mod rig;

use std::path::PathBuf;
use std::time::Duration;

use nx_proxy::codec::Service;
use nx_proxy::{
    Display, Ending, Engine as _, Error, Event, Local, Native, NxStream, Order, Session, Slave,
};
use rig::{Agent, Xvfb, fake_program, is_alive, until};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};

/// A session under way, with what it tells.
struct Running {
    ended: tokio::task::JoinHandle<Result<Ending, Error>>,
    events: mpsc::UnboundedReceiver<Event>,
    order: watch::Sender<Order>,
}

impl Running {
    async fn start(agent: &Agent, session: Session) -> Self {
        let stream = NxStream::new(agent.connect().await.take(), Vec::new());
        let (told, events) = mpsc::unbounded_channel();
        let (order, orders) = watch::channel(Order::Run);
        let ended = tokio::spawn(async move {
            let mut tell = |event| drop(told.send(event));
            Native::new().run(stream, &session, &mut tell, orders).await
        });
        Self {
            ended,
            events,
            order,
        }
    }

    async fn until<T>(&mut self, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let seen = async {
            while let Some(event) = self.events.recv().await {
                if let Some(found) = wanted(&event) {
                    return found;
                }
            }
            panic!("the session ended before {what}");
        };
        until(what, seen).await
    }

    async fn until_opened(&mut self, service: Service) {
        let is = |event: &Event| matches!(event, Event::Opened(s, _) if *s == service);
        self.until("a channel is open", |event| is(event).then_some(()))
            .await;
    }

    async fn until_closed(&mut self, service: Service) {
        let is = |event: &Event| matches!(event, Event::Closed(s, _) if *s == service);
        self.until("a channel is closed", |event| is(event).then_some(()))
            .await;
    }

    async fn until_is(&mut self, wanted: Event) {
        let what = format!("{wanted:?}");
        self.until(&what, |event| (*event == wanted).then_some(()))
            .await;
    }

    /// Where the client's requests are taken.
    async fn socket(&mut self) -> PathBuf {
        self.until("the socket", |event| match event {
            Event::SlaveListening(socket) => Some(socket.clone()),
            _ => None,
        })
        .await
    }

    async fn suspend(self) {
        self.order.send(Order::Suspend).unwrap();
        let ended = until("the end", self.ended).await.unwrap().unwrap();
        assert_eq!(ended, Ending::Suspended);
    }
}

fn with_slave(display: &Display, command: Option<PathBuf>) -> Session {
    let mut session = Session::new(display.clone());
    session.slave = Some(Slave {
        command,
        environment: vec![("QVD_MARK".to_owned(), "given".into())],
    });
    session
}

/// An agent that takes its programs' connections for this channel at a port.
async fn agent_with(number: u16, link: &str, option: &str) -> (Agent, u16) {
    let free = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let agent = Agent::start_with(number, &format!("link={link},{option}={port}")).await;
    (agent, port)
}

/// Asks the agent for a channel; its port opens a moment after the session.
async fn ask(port: u16) -> TcpStream {
    until("the agent's port", async {
        loop {
            match TcpStream::connect(("127.0.0.1", port)).await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    })
    .await
}

async fn carried<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, sent: &[u8]) -> Vec<u8> {
    let mut back = vec![0; sent.len()];
    let (mut read, mut write) = tokio::io::split(stream);
    let both = async { tokio::join!(write.write_all(sent), read.read_exact(&mut back)) };
    let (wrote, got) = until("the bytes to come back", both).await;
    assert!(wrote.is_ok() && got.is_ok(), "{wrote:?} {got:?}");
    back
}

fn bytes(count: u32) -> Vec<u8> {
    (0..count)
        .map(|k| k.wrapping_mul(k).to_be_bytes()[1])
        .collect()
}

#[tokio::test]
async fn slave_channels_go_both_ways_at_once() {
    let xvfb = Xvfb::start(240).await;
    let display = Display::open(&xvfb.name()).await.unwrap();
    for (number, link) in [(241, "lan"), (242, "adsl")] {
        let (agent, port) = agent_with(number, link, "slave").await;
        let session = with_slave(&display, Some("/bin/cat".into()));
        let mut session = Running::start(&agent, session).await;
        let socket = session.socket().await;

        // The agent's slave gives back what comes, ours does as well.
        let mut to_agent = UnixStream::connect(&socket).await.unwrap();
        session.until_opened(Service::Slave).await;
        let mut from_agent = ask(port).await;
        let sent = bytes(40_000);
        let (there, here) = tokio::join!(
            carried(&mut to_agent, &sent),
            carried(&mut from_agent, &sent)
        );
        assert!(there == sent && here == sent, "{link}");
        // What is closed on one side is closed on the other.
        drop(to_agent);
        session.until_closed(Service::Slave).await;
        drop(from_agent);
        session.until_closed(Service::Slave).await;
        session.suspend().await;
        assert!(!socket.exists());
    }
}

#[tokio::test]
async fn a_slave_command_gets_its_variables_and_its_end_is_seen_by_the_agent() {
    let xvfb = Xvfb::start(243).await;
    let display = Display::open(&xvfb.name()).await.unwrap();
    let (agent, port) = agent_with(244, "lan", "slave").await;
    let (_program_dir, program) =
        fake_program("sleep 1000 &\necho $! $QVD_MARK $DISPLAY\nread word\necho got $word");
    let session = with_slave(&display, Some(program));
    let mut session = Running::start(&agent, session).await;
    session.socket().await;
    session.until_is(Event::Started).await;
    let mut stream = ask(port).await;
    stream.write_all(b"word\n").await.unwrap();
    let mut said = String::new();
    until("its end", stream.read_to_string(&mut said))
        .await
        .unwrap();
    let (pid, rest) = said.split_once(' ').unwrap();
    assert_eq!(rest, format!("given {}\ngot word\n", display.name()));
    assert!(is_alive(pid));
    session.suspend().await;
    // What it started does not outlive the session.
    until("its end", async {
        while is_alive(pid) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_has_no_local_end_is_refused_and_the_session_goes_on() {
    let xvfb = Xvfb::start(245).await;
    let display = Display::open(&xvfb.name()).await.unwrap();
    let (agent, port) = agent_with(246, "lan", "slave").await;
    let session = with_slave(&display, Some("/no/such/program".into()));
    let mut session = Running::start(&agent, session).await;
    let socket = session.socket().await;
    for _ in 0..20 {
        let mut stream = ask(port).await;
        let ended = until("the refusal", stream.read(&mut [0])).await;
        assert_eq!(ended.unwrap_or(0), 0);
    }
    let mut stream = UnixStream::connect(&socket).await.unwrap();
    assert_eq!(carried(&mut stream, b"still there").await, b"still there");
    session.suspend().await;
}

/// A server that reads nothing has its channel held, not the session, and what
/// was sent arrives whole once it does.
#[tokio::test]
async fn a_slow_local_end_holds_its_channel_only() {
    const LENGTH: u32 = 20_000_000;
    let xvfb = Xvfb::start(247).await;
    let display = Display::open(&xvfb.name()).await.unwrap();
    let (agent, port) = agent_with(248, "lan", "media").await;
    let dir = tempfile::tempdir().unwrap();
    let server = UnixListener::bind(dir.path().join("sound")).unwrap();
    let mut session = with_slave(&display, Some("/bin/cat".into()));
    session.media = Some(Local::Unix(dir.path().join("sound")));
    let mut session = Running::start(&agent, session).await;
    let socket = session.socket().await;

    let mut program = ask(port).await;
    let (mut sound, _) = until("the connection", server.accept()).await.unwrap();
    let sent = bytes(LENGTH);
    let copy = sent.clone();
    let writing = tokio::spawn(async move {
        program.write_all(&copy).await.unwrap();
        program.shutdown().await.unwrap();
    });
    // While that is held, others are carried.
    let mut slave = UnixStream::connect(&socket).await.unwrap();
    for _ in 0..20 {
        assert_eq!(carried(&mut slave, b"meanwhile").await, b"meanwhile");
    }
    assert!(!writing.is_finished(), "nothing holds {LENGTH} bytes");
    let mut got = Vec::new();
    until("the sound", sound.read_to_end(&mut got))
        .await
        .unwrap();
    assert!(got == sent, "{} of {LENGTH} bytes", got.len());
    until("the writer", writing).await.unwrap();
    session.suspend().await;
}

/// nxagent loses its place when more reaches it than its slave takes, which
/// nxproxy lets happen: nothing may be on its way behind such a frame.
#[tokio::test]
async fn a_slave_that_takes_no_more_holds_its_channel_only() {
    const LENGTH: u32 = 3_000_000;
    let xvfb = Xvfb::start(249).await;
    let display = Display::open(&xvfb.name()).await.unwrap();
    for (number, link) in [(250, "lan"), (251, "wan"), (252, "adsl")] {
        let agent = Agent::start_with(number, &format!("link={link}")).await;
        let mut session = Running::start(&agent, with_slave(&display, None)).await;
        let socket = session.socket().await;
        // Each slave gives back what it gets, and takes no more while that is
        // not taken from it.
        let mut full = UnixStream::connect(&socket).await.unwrap();
        let mut other = UnixStream::connect(&socket).await.unwrap();
        let sent = bytes(LENGTH);
        let (mut read, mut write) = full.split();
        let mut writing = std::pin::pin!(write.write_all(&sent));
        let meanwhile = async {
            for _ in 0..20 {
                assert_eq!(carried(&mut other, b"meanwhile").await, b"meanwhile");
            }
        };
        until("what goes on meanwhile", async {
            tokio::select! {
                biased;
                _ = &mut writing => panic!("nothing holds {LENGTH} bytes"),
                () = meanwhile => {}
            }
        })
        .await;
        let mut back = vec![0; sent.len()];
        let (wrote, got) = until("the bytes to come back", async {
            tokio::join!(writing, read.read_exact(&mut back))
        })
        .await;
        wrote.unwrap();
        got.unwrap();
        assert!(back == sent, "{link}: other bytes came back");
        session.suspend().await;
    }
}
