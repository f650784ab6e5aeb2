//! Whom the client trusts.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;

use super::failure::{Code, Failure};
use super::trust::{
    Asker, Certificates, ClientCertificate, Judge, Memory, PinFile, Pins, Policy, Stapled,
};
use super::verifier::{Ruler, Seen, Verifier};

/// What counts as the broker's certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// One that leads to a trusted root and names the host.
    #[default]
    Strict,
    /// Also the one with this SHA-256, whatever else is wrong with it.
    Pinned(String),
    /// Any at all: the connection is encrypted, but to whom is not known.
    DangerouslyAnything,
}

/// How the broker is recognised.
#[derive(Debug, Clone, Default)]
pub struct TlsPolicy {
    /// Trusted roots.
    pub roots: Certificates,
    /// What counts as the broker's certificate.
    pub trust: Trust,
    /// What becomes of a certificate with faults.
    pub policy: Policy,
    /// What is done about stapled OCSP responses.
    pub stapled: Stapled,
    /// The file of certificates that were accepted for good; none is kept
    /// where there is no file.
    pub pins: Option<PathBuf>,
    /// Who is asked.
    pub asker: Asker,
    /// What was accepted as long as this client runs.
    pub memory: Memory,
    /// The client's own certificate.
    pub client: Option<ClientCertificate>,
}

/// A configuration for rustls, and what its verifier saw.
pub(super) struct Prepared {
    pub(super) config: Arc<ClientConfig>,
    pub(super) seen: Arc<Seen>,
}

impl TlsPolicy {
    /// Reads the certificates. Takes some milliseconds, and reads files.
    pub(super) fn prepare(&self, host: &str, port: u16) -> Result<Prepared, Failure> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let seen = Arc::new(Seen::default());
        let roots = self.roots.read()?;
        let judge = Judge::new(roots, self.stapled, provider.clone())
            .map_err(|e| Failure::new(Code::Certificate, e.to_string()).because(e))?;
        let ruler = Ruler {
            host: host.to_owned(),
            port,
            trust: self.trust.clone(),
            policy: self.policy.clone(),
            memory: self.memory.clone(),
            pins: self.read_pins(),
        };
        let verifier = Verifier::new(judge, ruler, provider.clone(), seen.clone());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| Failure::new(Code::Internal, e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match &self.client {
            None => builder.with_no_client_auth(),
            Some(own) => builder.with_client_cert_resolver(own.read(&provider)?),
        };
        Ok(Prepared {
            config: Arc::new(config),
            seen,
        })
    }

    /// A file that cannot be read matters only when a certificate has faults.
    fn read_pins(&self) -> Result<Pins, String> {
        let Some(path) = &self.pins else {
            return Ok(Pins::default());
        };
        let read = PinFile::new(path).read();
        read.map_err(|e| format!("{} cannot be read: {e}", path.display()))
    }
}
