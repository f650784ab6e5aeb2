//! The server's certificate and its TLS configuration.

mod self_signed;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::digest;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs as provider;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::Error;

pub use self::self_signed::make_self_signed;

/// The certificate in force, which can be replaced while connections live.
pub struct Certificate {
    cert_file: PathBuf,
    key_file: PathBuf,
    current: RwLock<Loaded>,
}

struct Loaded {
    acceptor: TlsAcceptor,
    fingerprint: String,
}

impl Certificate {
    /// Reads the certificate chain and its key, both PEM.
    ///
    /// # Errors
    /// [`Error::Tls`] naming the file.
    pub fn open(cert_file: &Path, key_file: &Path) -> Result<Self, Error> {
        Ok(Self {
            current: RwLock::new(load(cert_file, key_file)?),
            cert_file: cert_file.to_owned(),
            key_file: key_file.to_owned(),
        })
    }

    /// Reads the files again, for connections from now on; says whether the
    /// certificate is another.
    ///
    /// # Errors
    /// As [`open`](Self::open); the earlier certificate stays in force. While
    /// two files are being replaced one after the other this is to be
    /// expected for a moment.
    pub fn reload(&self) -> Result<bool, Error> {
        let new = load(&self.cert_file, &self.key_file)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let changed = current.fingerprint != new.fingerprint;
        *current = new;
        Ok(changed)
    }

    /// For the next connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.acceptor.clone()
    }

    /// SHA-256 of the certificate, as pairs of hex digits with colons.
    pub fn fingerprint(&self) -> String {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.fingerprint.clone()
    }
}

fn load(cert_file: &Path, key_file: &Path) -> Result<Loaded, Error> {
    let error = |file: &Path, reason: String| Error::Tls {
        file: file.to_owned(),
        reason,
    };
    let chain = CertificateDer::pem_file_iter(cert_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| error(cert_file, e.to_string()))?;
    let Some(own) = chain.first() else {
        return Err(error(cert_file, "no certificate in it".into()));
    };
    let digest = digest::digest(&digest::SHA256, own);
    let pairs: Vec<String> = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|e| error(key_file, e.to_string()))?;
    // No ALPN: clients of this protocol offer none.
    let config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| error(cert_file, e.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| error(key_file, e.to_string()))?;
    Ok(Loaded {
        acceptor: TlsAcceptor::from(Arc::new(config)),
        fingerprint: pairs.join(":"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_certificate_is_taken_and_a_bad_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (
            folder.path().join("cert.pem"),
            folder.path().join("key.pem"),
        );
        make_self_signed(&cert, &key).unwrap();
        let certificate = Certificate::open(&cert, &key).unwrap();
        let first = certificate.fingerprint();
        assert_eq!(first.len(), 32 * 3 - 1);
        assert!(!certificate.reload().unwrap());
        std::fs::write(&key, "not a key").unwrap();
        let error = certificate.reload().unwrap_err().to_string();
        assert!(error.contains("key.pem: "), "{error}");
        assert_eq!(certificate.fingerprint(), first);
        std::fs::remove_file(&key).unwrap();
        std::fs::remove_file(&cert).unwrap();
        make_self_signed(&cert, &key).unwrap();
        assert!(certificate.reload().unwrap());
        assert_ne!(certificate.fingerprint(), first);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        make_self_signed(&path("a.pem"), &path("a-key.pem")).unwrap();
        make_self_signed(&path("b.pem"), &path("b-key.pem")).unwrap();
        let error = Certificate::open(&path("a.pem"), &path("b-key.pem"))
            .err()
            .unwrap();
        assert!(error.to_string().contains("b-key.pem"), "{error}");
    }
}
