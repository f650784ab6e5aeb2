//! A broker that answers with the bytes of the reference's, and knows of nothing
//! that came after it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use qvd_http1::RequestReader;
use qvd_rpc::{Call, Parameters, Reply, SessionState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::super::agent::call_at;
use super::super::user_name;
use crate::background::Background;
use crate::error::Doing as _;
use crate::{Error, Result};

/// What the reference's broker answered to `connect_to_vm`: its five lines of
/// progress and the 101, as recorded.
const ANSWERS: &[u8] =
    include_bytes!("../../../../protocol/recordings/broker-connect.responses.http");

/// The key in the recorded 101.
const SLAVE_KEY: &str = "MWtHOVjuoyn8zG63bZD2lz1Ec5nZfWjzSG4AN2S1LsyDiTEUh0AhRu9Ctq83jfSs";

/// Between two looks at the session's state. The reference takes a second.
const POLL: Duration = Duration::from_millis(100);

/// How often a session is tried: for as long as the reference does.
const TRIES: u32 = 200;

/// A running one, in the clear, of one VM. Dropped, it ends with all its
/// connections.
#[derive(Debug)]
pub struct ReferenceBroker {
    port: u16,
    _background: Background,
}

/// What its connections have in common.
struct Shared {
    rpc: SocketAddr,
    x_port: u16,
    user: String,
    /// Ends the tunnel there is: who comes later takes the VM over.
    tunnel: Mutex<Option<oneshot::Sender<()>>>,
}

impl ReferenceBroker {
    /// A broker for the VM of an agent that is called at `rpc` and takes clients
    /// at `x_port`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(rpc: SocketAddr, x_port: u16) -> Result<Self> {
        let shared = Arc::new(Shared {
            rpc,
            x_port,
            user: user_name()?,
            tunnel: Mutex::default(),
        });
        let doing = || "listening as a broker".into();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing(doing)?;
        listener.set_nonblocking(true).doing(doing)?;
        let port = listener.local_addr().doing(doing)?.port();
        let runtime = Background::runtime()?;
        let background = Background::start("reference-broker", runtime, async |stopped| {
            tokio::select! {
                () = accept(listener, shared) => {}
                _ = stopped => {}
            }
        })?;
        Ok(Self {
            port,
            _background: background,
        })
    }

    /// Its port on this machine.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // Whoever is refused sees the connection close.
            let _ = converse(stream, &shared).await;
        });
    }
}

async fn converse(mut stream: TcpStream, shared: &Shared) -> Result<()> {
    let doing = || "talking to a client".to_owned();
    let mut reader = RequestReader::new(0);
    let mut chunk = [0; 4096];
    loop {
        let invalid = |error: qvd_http1::Error| Error::Invalid(error.to_string());
        let Some(request) = reader.poll().map_err(invalid)? else {
            let count = stream.read(&mut chunk).await.doing(doing)?;
            if count == 0 {
                return Ok(());
            }
            reader.receive(chunk.get(..count).unwrap_or_default());
            continue;
        };
        if request.head.path() != b"/qvd/connect_to_vm" {
            let list =
                r#"[{"id":1,"state":"running","name":"testvm","blocked":0,"is_application":0}]"#;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
            let answer = format!("{head}Content-Length: {}\r\n\r\n{list}", list.len());
            stream.write_all(answer.as_bytes()).await.doing(doing)?;
            continue;
        }
        let query = qvd_http1::query::parse(request.head.query()).map_err(invalid)?;
        let mut parameters = Parameters::new();
        for (key, value) in query.iter().filter(|(key, _)| *key != "id") {
            parameters.set(key.as_str(), value.as_str());
        }
        parameters.set("qvd.vm.user.name", shared.user.as_str());
        parameters.set("qvd.slave.key", SLAVE_KEY);
        return connect(stream, shared, parameters).await;
    }
}

/// Takes the VM over, has its session started, and becomes a tunnel.
async fn connect(mut stream: TcpStream, shared: &Shared, parameters: Parameters) -> Result<()> {
    let doing = || "joining a client with its VM".to_owned();
    let (end, ended) = oneshot::channel();
    let earlier = shared
        .tunnel
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .replace(end);
    drop(earlier);
    let mut answers = Answers(ANSWERS);
    stream.write_all(answers.next(2)).await.doing(doing)?;
    let call = Call::XStart(parameters);
    for tried in 0.. {
        match call_at(shared.rpc, call.clone()).await? {
            Reply::State(_) => break,
            _ if tried < TRIES => tokio::time::sleep(POLL).await,
            other => return Err(Error::Invalid(format!("{other:?}"))),
        }
    }
    stream.write_all(answers.next(1)).await.doing(doing)?;
    while call_at(shared.rpc, Call::XState).await? != Reply::State(SessionState::Listening) {
        tokio::time::sleep(POLL).await;
    }
    stream.write_all(answers.next(1)).await.doing(doing)?;
    // The reference's agent says so when nxagent begins, a moment before it
    // listens.
    let mut tried = 0;
    let mut vm = loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, shared.x_port)).await {
            Err(_) if tried < TRIES => tokio::time::sleep(POLL).await,
            connected => break connected.doing(doing)?,
        }
        tried += 1;
    };
    // The last line and the 101 come in one.
    stream.write_all(answers.next(2)).await.doing(doing)?;
    tokio::select! {
        _ = copy_bidirectional(&mut stream, &mut vm) => {}
        _ = ended => {}
    }
    Ok(())
}

/// What is left of the recorded answers.
struct Answers(&'static [u8]);

impl Answers {
    /// The next `count` heads.
    fn next(&mut self, count: usize) -> &'static [u8] {
        let ends = self.0.windows(4).enumerate();
        let mut ends = ends.filter(|(_, four)| *four == b"\r\n\r\n");
        let end = ends.nth(count - 1).map_or(self.0.len(), |(at, _)| at + 4);
        let (now, later) = self.0.split_at(end);
        self.0 = later;
        now
    }
}
