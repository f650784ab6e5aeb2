//! How an agent is called: over TCP as the reference's are, or with a key and
//! over TLS as the inventory says.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs as provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use secrecy::SecretString;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What a VM's agent asks of its callers. Files are read for each connection,
/// so that one that is replaced counts at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Way {
    /// The file with the agent's key (its `vma.rpc.key`).
    pub key_file: Option<PathBuf>,
    /// TLS.
    pub tls: Option<Tls>,
}

/// TLS with an agent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Who vouches for the agent's certificate, PEM.
    pub ca: PathBuf,
    /// The certificate this server shows, PEM, and its key.
    pub cert: Option<PathBuf>,
    /// See [`Self::cert`].
    pub key: Option<PathBuf>,
    /// The name in the agent's certificate, if that is not its address.
    pub name: Option<String>,
}

/// A connection, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Way {
    /// The key to be shown, if there is one.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn key(&self) -> io::Result<Option<SecretString>> {
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path).map_err(|e| of(path, e))?;
            Ok(text.trim_end_matches(['\n', '\r']).into())
        };
        self.key_file.as_ref().map(read).transpose()
    }

    /// Makes a connection what the agent expects.
    ///
    /// # Errors
    /// When a file cannot be used, or agent and server do not trust each other.
    pub async fn enter(&self, stream: TcpStream, address: &str) -> io::Result<Box<dyn Stream>> {
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = tls.name.as_deref().unwrap_or(address).to_owned();
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::new(tls.config()?));
        Ok(Box::new(connector.connect(name, stream).await?))
    }
}

impl Tls {
    fn config(&self) -> io::Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca)? {
            roots.add(certificate).map_err(|e| of(&self.ca, e))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots);
        match (&self.cert, &self.key) {
            (Some(cert), Some(file)) => {
                let key = PrivateKeyDer::from_pem_file(file).map_err(|e| of(file, e))?;
                builder
                    .with_client_auth_cert(certificates(cert)?, key)
                    .map_err(|e| of(cert, e))
            }
            _ => Ok(builder.with_no_client_auth()),
        }
    }
}

fn certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| of(file, e))
}

/// An error that names its file.
fn of(file: &Path, error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", file.display()))
}
