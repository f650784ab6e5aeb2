//! The client's own certificate.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as Pem, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::sync::Arc;

use crate::core::failure::{Code, Failure};

/// Bits of a mode that let others than owner and group at a file.
const OTHERS: u32 = 0o007;

/// How an encrypted key in PEM begins: PKCS #8, or as OpenSSL once did it.
const ENCRYPTED: [&str; 2] = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"];

/// The client's own certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM file with the certificate and its chain.
    pub certificate: PathBuf,
    /// PEM file with its key.
    pub key: PathBuf,
}

impl ClientCertificate {
    /// Reads both files and checks that they belong together.
    ///
    /// # Errors
    /// When one cannot be read or used, or the key lies open to everybody.
    pub(crate) fn read(
        &self,
        provider: &CryptoProvider,
    ) -> Result<Arc<dyn ResolvesClientCert>, Failure> {
        let file = &self.certificate;
        let chain: Vec<_> = CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect)
            .map_err(|e| certificate_fault(file, pem_words(&e)))?;
        if chain.is_empty() {
            return Err(certificate_fault(file, "it holds no certificate"));
        }
        let key = read_key(&self.key)?;
        let certified = CertifiedKey::from_der(chain, key, provider).map_err(|e| match e {
            rustls::Error::InconsistentKeys(_) => key_fault(
                &self.key,
                format!("it is not the key of {}", file.display()),
            ),
            other => key_fault(&self.key, other),
        })?;
        Ok(Arc::new(SingleCertAndKey::from(certified)))
    }
}

fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, Failure> {
    let mode = std::fs::metadata(file)
        .map_err(|e| key_fault(file, e))?
        .mode();
    if mode & OTHERS != 0 {
        let why = format!(
            "everybody on this machine has access to it (mode {:o}): chmod 600 it",
            mode & 0o777
        );
        return Err(key_fault(file, why));
    }
    PrivateKeyDer::from_pem_file(file).map_err(|error| match error {
        Pem::NoItemsFound if is_encrypted(file) => {
            key_fault(file, "it is encrypted: write it without a passphrase")
        }
        other => key_fault(file, pem_words(&other)),
    })
}

fn is_encrypted(file: &Path) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    ENCRYPTED.iter().any(|mark| text.contains(mark))
}

fn pem_words(error: &Pem) -> String {
    match error {
        Pem::Io(e) => e.to_string(),
        Pem::NoItemsFound => "it holds none in PEM".to_owned(),
        other => other.to_string(),
    }
}

fn certificate_fault(file: &Path, why: impl std::fmt::Display) -> Failure {
    let message = format!("client certificate {}: {why}", file.display());
    Failure::new(Code::Config, message)
}

fn key_fault(file: &Path, why: impl std::fmt::Display) -> Failure {
    let message = format!("key of the client certificate {}: {why}", file.display());
    Failure::new(Code::Config, message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use rustls::crypto::aws_lc_rs;

    use super::*;

    fn write(dir: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        let file = dir.join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn what_is_wrong_with_certificate_or_key_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let made = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (ann, bob) = (made("ann"), made("bob"));
        let certificate = write(dir, "ann.pem", &ann.cert.pem(), 0o644);
        let pem = ann.signing_key.serialize_pem();
        let key = write(dir, "ann.key", &pem, 0o600);
        let others = write(dir, "bob.key", &bob.signing_key.serialize_pem(), 0o600);
        let open = write(dir, "open.key", &pem, 0o644);
        let empty = write(dir, "empty.pem", "", 0o600);
        let text =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let locked = write(dir, "locked.key", text, 0o600);
        let missing = dir.join("missing");
        let provider = aws_lc_rs::default_provider();
        let read = |certificate: &Path, key: &Path| {
            let own = ClientCertificate {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
            };
            own.read(&provider).map(|_| ())
        };
        read(&certificate, &key).unwrap();
        for (certificate, key, words) in [
            (&missing, &key, "client certificate"),
            (&empty, &key, "it holds no certificate"),
            (&certificate, &missing, "No such file"),
            (&certificate, &others, "it is not the key of"),
            (&certificate, &open, "mode 644"),
            (&certificate, &empty, "it holds none in PEM"),
            (&certificate, &locked, "it is encrypted"),
        ] {
            let failure = read(certificate, key).unwrap_err();
            assert_eq!(failure.code(), Code::Config);
            assert!(failure.to_string().contains(words), "{failure}");
        }
    }
}
