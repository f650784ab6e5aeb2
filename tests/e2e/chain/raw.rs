//! A client of the broker that says exactly what a test wants said.

use std::sync::Arc;

use qvd_broker::{Credentials, Dialogue, Event, Request};
use qvd_http1::{Response, ResponseEvent, ResponseHead, ResponseReader};
use qvd_tests::rig::{Server, User};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::WAIT;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

pub(super) struct Raw {
    stream: Box<dyn Stream>,
    reader: ResponseReader,
}

impl Raw {
    /// Connects, with TLS where the broker wants it.
    pub(super) async fn open(server: &Server) -> Outcome<Self> {
        let plain = TcpStream::connect(server.address()).await?;
        plain.set_nodelay(true)?;
        let stream: Box<dyn Stream> = if server.uses_tls() {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(server.certificate())?)?;
            let config =
                ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                    .with_safe_default_protocol_versions()?
                    .with_root_certificates(roots)
                    .with_no_client_auth();
            let name = ServerName::try_from("localhost")?;
            Box::new(
                TlsConnector::from(Arc::new(config))
                    .connect(name, plain)
                    .await?,
            )
        } else {
            Box::new(plain)
        };
        Ok(Self {
            stream,
            reader: ResponseReader::new(qvd_broker::MAX_REPLY),
        })
    }

    /// Sends these bytes at once: over TLS in one record.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// The next final answer.
    pub(super) async fn answer(&mut self) -> Outcome<Response> {
        loop {
            match self.event().await? {
                ResponseEvent::Response(response) => return Ok(response),
                ResponseEvent::Interim(_) => {}
                ResponseEvent::Upgraded(_) => return Err("an upgrade".into()),
            }
        }
    }

    /// Waits for the 101; the tunnel's first bytes are read after it.
    pub(super) async fn joined(&mut self) -> Outcome<ResponseHead> {
        loop {
            match self.event().await? {
                ResponseEvent::Upgraded(head) => return Ok(head),
                ResponseEvent::Interim(_) => {}
                ResponseEvent::Response(response) => {
                    return Err(format!("refused: {response:?}").into());
                }
            }
        }
    }

    /// What comes through the tunnel, until it `has_enough`.
    pub(super) async fn through(&mut self, has_enough: impl Fn(&[u8]) -> bool) -> Outcome<Vec<u8>> {
        let mut bytes = self.reader.take_rest();
        while !has_enough(&bytes) {
            match self.read().await? {
                chunk if chunk.is_empty() => {
                    return Err(format!("the tunnel ended after {bytes:?}").into());
                }
                chunk => bytes.extend(chunk),
            }
        }
        Ok(bytes)
    }

    /// Waits for the end of the stream.
    pub(super) async fn ended(&mut self) -> Outcome<()> {
        // A reset is an end as well.
        while !self.read().await.unwrap_or_default().is_empty() {}
        Ok(())
    }

    async fn event(&mut self) -> Outcome<ResponseEvent> {
        loop {
            if let Some(event) = self.reader.poll()? {
                return Ok(event);
            }
            match self.read().await? {
                chunk if chunk.is_empty() => self.reader.receive_end(),
                chunk => self.reader.receive(&chunk),
            }
        }
    }

    async fn read(&mut self) -> Outcome<Vec<u8>> {
        let mut chunk = vec![0; 16 * 1024];
        let length = timeout(WAIT, self.stream.read(&mut chunk)).await??;
        chunk.truncate(length);
        Ok(chunk)
    }
}

/// A head as the client writes it, with these lines between.
pub(super) fn head(user: &User, target: &str, lines: &[&str]) -> Outcome<Vec<u8>> {
    let authorization = credentials(user).to_header()?;
    let mut head = format!("GET {target} HTTP/1.1\r\nAuthorization: {authorization}\r\n");
    for line in lines {
        head.push_str(&format!("{line}\r\n"));
    }
    Ok((head + "\r\n").into_bytes())
}

/// What asks for the connection to become the tunnel.
pub(super) const UPGRADE: [&str; 2] = ["Connection: Upgrade", "Upgrade: QVD/1.0"];

/// The answer to one request on a connection of its own: status and body.
pub(super) async fn ask(
    server: &Server,
    user: &User,
    target: &str,
    lines: &[&str],
) -> Outcome<(u16, String)> {
    let mut raw = Raw::open(server).await?;
    raw.send(&head(user, target, lines)?).await?;
    let response = raw.answer().await?;
    let body = String::from_utf8(response.body)?;
    Ok((response.head.status.code(), body))
}

/// Stops a VM, as the user's client would.
pub(super) async fn stop_vm(server: &Server, user: &User, id: u64) -> Outcome<()> {
    let mut raw = Raw::open(server).await?;
    let mut dialogue = Dialogue::new(Some(credentials(user)), "test");
    dialogue.ask(Request::StopVm { id })?;
    raw.send(&dialogue.poll_transmit().unwrap_or_default())
        .await?;
    loop {
        match dialogue.poll_event()? {
            Some(Event::Stopped(_)) => return Ok(()),
            Some(Event::Progress(_)) => {}
            Some(other) => return Err(format!("not stopped: {other:?}").into()),
            None => match raw.read().await? {
                chunk if chunk.is_empty() => dialogue.receive_end(),
                chunk => dialogue.receive(&chunk),
            },
        }
    }
}

fn credentials(user: &User) -> Credentials {
    Credentials::Basic {
        login: user.login.clone(),
        password: user.password.clone().into(),
    }
}
