//! What programs of the session ask of the client: connections to the session's
//! slave port, each for one request. They go as streams of the client's carrier,
//! or to nxagent where it has none.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use qvd_carrier::Kind;
use qvd_net::carrier::Session;
use qvd_net::relay::{Meter, Side, plain};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// Where the reference has nxagent listen, from the display's number on.
const FIRST_PORT: u16 = 11000;

/// Where nxagent listens here, from the display's number on.
pub(super) const FIRST_NX_PORT: u16 = 12000;

/// Most requests at a time: each is a program on the client's machine.
const MAX_REQUESTS: usize = 64;

/// How long nxagent may take to accept; its port is local.
const CONNECT: Duration = Duration::from_secs(5);

/// How long one end may stay open when the other has closed.
const LINGER: Duration = Duration::from_secs(5);

/// The client's carrier, while there is one.
pub(super) type Way = watch::Receiver<Option<Session>>;

/// The port, open as long as this is held; its connections end with it.
pub(super) struct Asks(JoinHandle<()>);

impl Asks {
    /// Opens the port of a display.
    ///
    /// # Errors
    /// When somebody else has it.
    pub(super) fn open(display: u16, way: Way) -> io::Result<Self> {
        let port = FIRST_PORT.saturating_add(display);
        // The reference's has no other address either.
        let listener = qvd_net::socket::listen(&Ipv4Addr::LOCALHOST.to_string(), port)?;
        let nx = super::nx_slave_port(display);
        Ok(Self(tokio::task::spawn_local(serve(listener, nx, way))))
    }
}

impl Drop for Asks {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn serve(listener: TcpListener, nx: u16, way: Way) {
    let mut requests = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept(), if requests.len() < MAX_REQUESTS => accepted,
            Some(_) = requests.join_next() => continue,
        };
        match accepted {
            Ok((program, _)) => {
                let carrier = way.borrow().clone();
                requests.spawn_local(async move {
                    if let Err(error) = forward(program, carrier, nx).await {
                        tracing::debug!(%error, "a request of the session's");
                    }
                });
            }
            Err(error) => {
                // Out of descriptors: others must end first.
                tracing::debug!(%error, "slave port");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn forward(program: TcpStream, carrier: Option<Session>, nx: u16) -> io::Result<()> {
    program.set_nodelay(true)?;
    if let Some(carrier) = carrier {
        carrier.open(Kind::Slave, b"")?.join(program).await;
        return Ok(());
    }
    let address = (Ipv4Addr::LOCALHOST, nx);
    let nxagent = timeout(CONNECT, TcpStream::connect(address)).await??;
    nxagent.set_nodelay(true)?;
    let meter = Meter::default();
    let alone = async {
        meter.half_closed().await;
        sleep(LINGER).await;
    };
    plain(Side::new(program), Side::new(nxagent), &meter, alone).await;
    Ok(())
}
