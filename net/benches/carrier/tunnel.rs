//! A tunnel as the broker makes it: TLS to it, plain on to the far end.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use qvd_net::relay::{self, Meter, Side};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::ends::{Far, bind, on_a_thread};

/// The client's end, which reads as the client does.
type Secured = TlsStream<BufReader<TcpStream>>;

/// Bytes it reads at a time.
const READ: usize = 32 * 1024;

pub(super) struct Tunnel {
    plain: SocketAddr,
    carrier: SocketAddr,
    connector: TlsConnector,
}

impl Tunnel {
    /// Starts the broker's end, on a thread of its own.
    pub(super) fn start(far: &Far) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate)?;
        let client = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let (plain, carrier) = (bind()?, bind()?);
        let tunnel = Self {
            plain: plain.1,
            carrier: carrier.1,
            connector: TlsConnector::from(Arc::new(client)),
        };
        let (to_plain, to_carrier) = (far.plain, far.carrier);
        on_a_thread(async move {
            let (plain, carrier) = (
                TcpListener::from_std(plain.0)?,
                TcpListener::from_std(carrier.0)?,
            );
            loop {
                let (accepted, to) = tokio::select! {
                    accepted = plain.accept() => (accepted, to_plain),
                    accepted = carrier.accept() => (accepted, to_carrier),
                };
                tokio::spawn(pass(acceptor.clone(), accepted?.0, to));
            }
        });
        Ok(tunnel)
    }

    /// A plain connection through it.
    pub(super) async fn plain(&self) -> Result<Secured> {
        self.connect(self.plain).await
    }

    /// One for a carrier.
    pub(super) async fn carrier(&self) -> Result<Secured> {
        self.connect(self.carrier).await
    }

    async fn connect(&self, address: SocketAddr) -> Result<Secured> {
        let stream = TcpStream::connect(address).await?;
        qvd_net::socket::tune(&stream)?;
        let name = ServerName::try_from("localhost")?;
        let stream = BufReader::with_capacity(READ, stream);
        let connected = self.connector.connect(name, stream).await;
        connected.context("TLS to the tunnel")
    }
}

async fn pass(acceptor: TlsAcceptor, stream: TcpStream, to: SocketAddr) -> Result<()> {
    qvd_net::socket::tune(&stream)?;
    let (left, tls) = acceptor.accept(stream).await?.into_inner();
    let right = TcpStream::connect(to).await?;
    qvd_net::socket::tune(&right)?;
    let meter = Meter::default();
    let (left, right) = (Side::new(left), Side::new(right));
    let ended = relay::tls(tls, left, right, &meter, pending()).await;
    drop(ended);
    Ok(())
}
