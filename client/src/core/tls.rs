//! Whom the client trusts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::failure::{Code, Failure};
use super::verifier::{Roots, Seen, Verifier};

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

/// The client's own certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM file with the certificate and its chain.
    pub certificate: PathBuf,
    /// PEM file with its key.
    pub key: PathBuf,
}

/// Where trusted roots are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificates {
    /// Whether the system's roots are trusted.
    pub system: bool,
    /// PEM files with more roots.
    pub files: Vec<PathBuf>,
    /// Folders of such files; one that is missing holds none.
    pub folders: Vec<PathBuf>,
}

/// How the broker is recognised.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsPolicy {
    /// Trusted roots.
    pub roots: Certificates,
    /// What counts as the broker's certificate.
    pub trust: Trust,
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
    pub(super) fn prepare(&self) -> Result<Prepared, Failure> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let seen = Arc::new(Seen::default());
        let roots = self.read_roots()?;
        let verifier = Verifier::new(roots, self.trust.clone(), provider.clone(), seen.clone())
            .map_err(|e| Failure::new(Code::Certificate, e.to_string()).because(e))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| Failure::new(Code::Internal, e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match &self.client {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let (chain, key) = own.read()?;
                builder.with_client_auth_cert(chain, key).map_err(|e| {
                    let file = own.certificate.display();
                    Failure::new(Code::Config, format!("client certificate {file}: {e}"))
                })?
            }
        };
        Ok(Prepared {
            config: Arc::new(config),
            seen,
        })
    }

    fn read_roots(&self) -> Result<Roots, Failure> {
        let mut roots = Roots::default();
        if self.trust == Trust::DangerouslyAnything {
            return Ok(roots);
        }
        if self.roots.system {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::debug!(%error, "system's certificates");
            }
            roots.store.add_parsable_certificates(found.certs);
        }
        for file in &self.roots.files {
            roots.own.extend(read_certificates(file)?);
        }
        for folder in &self.roots.folders {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            for entry in entries {
                match read_certificates(&entry.path()) {
                    Ok(certificates) => roots.own.extend(certificates),
                    Err(error) => tracing::debug!(%error, "passed over"),
                }
            }
        }
        roots
            .store
            .add_parsable_certificates(roots.own.iter().cloned());
        Ok(roots)
    }
}

impl ClientCertificate {
    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Failure> {
        let chain = read_certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|e| unreadable(&self.key, &e))?;
        Ok((chain, key))
    }
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|e| unreadable(file, &e))?;
    if certificates.is_empty() {
        let message = format!("{} holds no certificate", file.display());
        return Err(Failure::new(Code::Config, message));
    }
    Ok(certificates)
}

fn unreadable(file: &Path, error: &rustls::pki_types::pem::Error) -> Failure {
    use rustls::pki_types::pem::Error as Pem;
    let why = match error {
        Pem::Io(e) => e.to_string(),
        Pem::NoItemsFound => "it holds none of what is looked for".to_owned(),
        other => other.to_string(),
    };
    Failure::new(Code::Config, format!("{}: {why}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy_with(file: PathBuf) -> TlsPolicy {
        TlsPolicy {
            roots: Certificates {
                system: false,
                files: vec![file],
                folders: vec![],
            },
            ..TlsPolicy::default()
        }
    }

    #[test]
    fn a_folder_of_roots_is_read_and_a_missing_one_holds_none() {
        let made = rcgen::generate_simple_self_signed(["broker.test".to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(dir.path().join("note.txt"), "no certificate").unwrap();
        let mut policy = TlsPolicy::default();
        policy.roots.folders = vec![dir.path().to_owned(), "/nonexistent".into()];
        let roots = policy.read_roots().unwrap();
        assert_eq!(roots.own, [made.cert.der().clone()]);
        assert_eq!(roots.store.len(), 1);
    }

    #[test]
    fn nothing_is_read_where_anything_is_accepted() {
        let mut policy = policy_with("/nonexistent".into());
        policy.trust = Trust::DangerouslyAnything;
        policy.prepare().unwrap();
    }

    #[test]
    fn files_that_hold_no_certificate_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("empty.pem");
        std::fs::write(&file, "nothing").unwrap();
        for file in [file, dir.path().join("missing.pem")] {
            let failure = policy_with(file.clone()).prepare().err().unwrap();
            assert_eq!(failure.code(), Code::Config);
            assert!(
                failure.to_string().starts_with(&file.display().to_string()),
                "{failure}"
            );
        }
    }
}
