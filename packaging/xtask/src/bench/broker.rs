//! Our broker with VMs whose session is the load's backend, so that only the
//! tunnel is measured.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use qvd_broker::{ConnectParameters, Credentials, Dialogue, Event, Request};
use qvd_http1::RequestReader;
use qvd_rpc::{Call, MAX_CALL_BODY, Reply, SessionState, Waited};
use qvd_tests::ports::Lease;
use qvd_tests::process::Process;
use qvd_tests::rig::{Inventory, Login, Server, User, Vm};

use super::{Bench, reference};

/// VMs of the broker: each holds one tunnel at a time.
const VMS: u64 = 1100;

/// How long the broker may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

/// A running broker.
pub(crate) struct Broker {
    server: Server,
    user: User,
    entrance: SocketAddr,
    next: AtomicU64,
    /// Before a broker that takes TLS, as before the references.
    _front: Option<(Lease, Process)>,
}

impl Broker {
    /// Starts one, plain or with TLS, whose sessions are at `backend`.
    pub(crate) async fn start(bench: &Bench, backend: SocketAddr, tls: bool) -> Result<Self> {
        let agent = start_agent()?;
        let user = User::new("ann", "bench");
        let vm = |id| Vm {
            id,
            name: format!("vm{id}"),
            users: vec![user.login.clone()],
            address: Ipv4Addr::LOCALHOST.to_string(),
            rpc_port: agent.port(),
            x_port: backend.port(),
            more: String::new(),
            session_user: None,
        };
        let inventory = Inventory {
            users: vec![user.clone()],
            vms: (1..=VMS).map(vm).collect(),
        };
        let keys = [("log.level", "INFO")];
        let server = Server::start(&bench.scene, &inventory, tls, &keys).await?;
        let address = server.address();
        let (front, entrance) = if tls {
            let front = reference::front(&bench.scene, "qvd-front", address.port()).await?;
            let entrance = (Ipv4Addr::LOCALHOST, front.0.number()).into();
            (Some(front), entrance)
        } else {
            (None, address)
        };
        Ok(Self {
            server,
            user,
            entrance,
            next: AtomicU64::new(0),
            _front: front,
        })
    }

    /// The process group of what is measured.
    pub(crate) fn group(&mut self) -> u32 {
        self.server.process().pid()
    }

    /// A login of the real client's.
    pub(crate) fn login(&self) -> Login {
        Login::at(&self.server, &self.user)
    }

    /// A tunnel to the backend, by way of a VM that has none yet.
    pub(crate) fn connect(&self) -> Result<TcpStream> {
        let id = self.next.fetch_add(1, Ordering::Relaxed) % VMS + 1;
        let mut stream = TcpStream::connect(self.entrance).context("connecting to the broker")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        let credentials = Credentials::Basic {
            login: self.user.login.clone(),
            password: self.user.password.clone().into(),
        };
        let mut dialogue = Dialogue::new(Some(credentials), "bench");
        dialogue.ask(Request::Connect {
            id,
            parameters: ConnectParameters::new(),
        })?;
        stream.write_all(&dialogue.poll_transmit().unwrap_or_default())?;
        let mut chunk = [0; 1024];
        loop {
            match dialogue.poll_event()? {
                Some(Event::Connected { .. }) => return Ok(stream),
                Some(Event::Progress(_)) => {}
                Some(other) => bail!("the broker answered {other:?}"),
                None => match stream.read(&mut chunk).context("awaiting the tunnel")? {
                    0 => dialogue.receive_end(),
                    count => dialogue.receive(chunk.get(..count).unwrap_or_default()),
                },
            }
        }
    }
}

/// The agent's side of SimpleRPC for VMs that always listen. It serves until
/// the program ends.
fn start_agent() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("binding a port")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A connection that breaks is the broker's failure to report.
            std::thread::spawn(move || answer(stream));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = RequestReader::new(MAX_CALL_BODY);
    let mut chunk = [0; 1024];
    loop {
        if let Some(request) = reader.poll()? {
            let reply = match Call::from_request(&request.head)? {
                Call::XStart(_) => Reply::State(SessionState::Starting),
                Call::XWait { .. } => Reply::Waited(Waited {
                    state: SessionState::Listening,
                    reason: None,
                    carrier: None,
                }),
                Call::Ping => Reply::Alive,
                _ => Reply::State(SessionState::Listening),
            };
            let mut bytes = Vec::new();
            reply.to_response().write(&mut bytes)?;
            stream.write_all(&bytes)?;
            continue;
        }
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            count => reader.receive(chunk.get(..count).unwrap_or_default()),
        }
    }
}
