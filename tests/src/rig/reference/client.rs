//! A client that says to a broker what the reference's was recorded to say, and
//! has nxproxy draw.

use std::time::Duration;

use qvd_http1::{ResponseEvent, ResponseReader, Status};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpStream, UnixListener};
use tokio::task::JoinHandle;

use crate::display::Display;
use crate::error::Doing as _;
use crate::process::Process;
use crate::{Error, Result, Scene, nx};

use super::super::User;

/// What it said; the first of them with another password.
const REQUESTS: &str = include_str!("../../../../protocol/recordings/client.requests.http");

/// The header of those that were let in.
const LOGIN: &str = "Authorization: Basic YWxpY2U6czNjcmV0\r\n";

/// The longest answer: a list of one VM.
const ANSWER: usize = 64 * 1024;

/// How long an answer may take, and the desktop.
const WAIT: Duration = Duration::from_secs(40);

/// A running one. Dropped, its connection ends.
#[derive(Debug)]
pub struct ReferenceClient {
    /// nxproxy.
    pub proxy: Process,
    tunnel: JoinHandle<()>,
}

impl ReferenceClient {
    /// Who it logs in as.
    #[must_use]
    pub fn user() -> User {
        User::new("alice", "s3cret")
    }

    /// Asks the broker at this port of this machine, in the clear, for the VMs
    /// and then for the first, and waits until its desktop is there.
    ///
    /// # Errors
    ///
    /// When the broker refuses, nxproxy is missing, or the desktop does not
    /// come.
    pub async fn connect(scene: &Scene, display: &Display, port: u16) -> Result<Self> {
        let joined = tokio::time::timeout(WAIT, join(port, recorded()));
        let (mut tunnel, rest) = joined
            .await
            .map_err(|_| Error::Invalid("the broker does not answer".into()))??;
        let doing = || "joining nxproxy with the broker".to_owned();
        let own = tunnel.local_addr().doing(doing)?.port();
        let socket = scene.path(format!("reference-{own}.sock"));
        let listener = UnixListener::bind(&socket).doing(doing)?;
        let proxy = nx::start_proxy(scene, display, &socket)?;
        let (mut local, _) = tokio::time::timeout(WAIT, listener.accept())
            .await
            .map_err(|_| Error::Invalid("nxproxy does not connect".into()))?
            .doing(doing)?;
        local.write_all(&rest).await.doing(doing)?;
        let tunnel = tokio::spawn(async move {
            // Either end may break it.
            let _ = copy_bidirectional(&mut local, &mut tunnel).await;
        });
        proxy.expect("Session: Session started", WAIT).await?;
        Ok(Self { proxy, tunnel })
    }

    /// Ends as when the user does: the session is suspended.
    ///
    /// # Errors
    ///
    /// When nxproxy does not end.
    pub async fn leave(mut self) -> Result<()> {
        self.proxy.signal(Signal::TERM)?;
        self.proxy.wait(WAIT).await?;
        Ok(())
    }
}

impl Drop for ReferenceClient {
    fn drop(&mut self) {
        self.tunnel.abort();
    }
}

/// What the recorded client says.
fn recorded() -> impl Iterator<Item = String> {
    let requests = REQUESTS.split_inclusive("\r\n\r\n");
    let requests = requests.filter(|request| request.contains(LOGIN));
    requests.take(2).map(str::to_owned)
}

/// Connects as the recorded client does, with these parameters beside its own:
/// the tunnel, and what came after the 101.
///
/// # Errors
///
/// When the broker at this port of this machine refuses.
pub async fn tunnel_with(port: u16, parameters: &str) -> Result<(TcpStream, Vec<u8>)> {
    let with = |request: String| {
        request.replace("connect_to_vm?", &format!("connect_to_vm?{parameters}&"))
    };
    let joined = tokio::time::timeout(WAIT, join(port, recorded().map(with)));
    joined
        .await
        .map_err(|_| Error::Invalid("the broker does not answer".into()))?
}

/// The dialogue, up to the tunnel.
async fn join(port: u16, requests: impl Iterator<Item = String>) -> Result<(TcpStream, Vec<u8>)> {
    let doing = || "talking to a broker".to_owned();
    let invalid = |error: qvd_http1::Error| Error::Invalid(error.to_string());
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.doing(doing)?;
    let mut reader = ResponseReader::new(ANSWER);
    for request in requests {
        stream.write_all(request.as_bytes()).await.doing(doing)?;
        loop {
            match reader.poll().map_err(invalid)? {
                Some(ResponseEvent::Interim(_)) => {}
                Some(ResponseEvent::Response(response)) if response.head.status == Status::OK => {
                    break;
                }
                Some(ResponseEvent::Response(response)) => {
                    return Err(Error::Invalid(format!("the broker refuses: {response:?}")));
                }
                Some(ResponseEvent::Upgraded(_)) => return Ok((stream, reader.take_rest())),
                None => {
                    let mut chunk = [0; 4096];
                    match stream.read(&mut chunk).await.doing(doing)? {
                        0 => reader.receive_end(),
                        count => reader.receive(chunk.get(..count).unwrap_or_default()),
                    }
                }
            }
        }
    }
    Err(Error::Invalid("no tunnel".into()))
}
