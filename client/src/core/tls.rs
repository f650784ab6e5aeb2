//! Whom the client trusts.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::failure::{Code, Failure};

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

/// The fault of the certificate that was shown last, if it had one.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Option<Fault>>);

#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) words: String,
    pub(super) fingerprint: String,
}

impl Seen {
    pub(super) fn fault(&self) -> Option<Fault> {
        self.0.lock().ok().and_then(|fault| fault.clone())
    }

    fn set(&self, fault: Fault) {
        if let Ok(mut seen) = self.0.lock() {
            *seen = Some(fault);
        }
    }
}

impl TlsPolicy {
    /// Reads the certificates. Takes some milliseconds, and reads files.
    pub(super) fn prepare(&self) -> Result<Prepared, Failure> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let seen = Arc::new(Seen::default());
        let roots = self.read_roots()?;
        // Without a root webpki has nothing to build on; every certificate is
        // then one of an unknown issuer.
        let strict = match roots.is_empty() {
            true => None,
            false => Some(
                WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone())
                    .build()
                    .map_err(|e| Failure::new(Code::Certificate, e.to_string()))?,
            ),
        };
        let trust = self.trust.clone();
        let verifier = Verifier {
            strict,
            trust,
            provider: provider.clone(),
            seen: seen.clone(),
        };
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

    fn read_roots(&self) -> Result<RootCertStore, Failure> {
        let mut store = RootCertStore::empty();
        if self.trust == Trust::DangerouslyAnything {
            return Ok(store);
        }
        if self.roots.system {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::debug!(%error, "system's certificates");
            }
            store.add_parsable_certificates(found.certs);
        }
        for file in &self.roots.files {
            store.add_parsable_certificates(read_certificates(file)?);
        }
        for folder in &self.roots.folders {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            for entry in entries {
                match read_certificates(&entry.path()) {
                    Ok(certificates) => {
                        store.add_parsable_certificates(certificates);
                    }
                    Err(error) => tracing::debug!(%error, "passed over"),
                }
            }
        }
        Ok(store)
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

/// SHA-256 of a certificate, in hex with colons.
#[must_use]
pub fn fingerprint(certificate: &[u8]) -> String {
    let digest = aws_lc_rs_sha256(certificate);
    let mut text = String::with_capacity(digest.len() * 3);
    for byte in digest {
        if !text.is_empty() {
            text.push(':');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02X}");
    }
    text
}

/// rustls carries the digest along with its cipher suites.
fn aws_lc_rs_sha256(bytes: &[u8]) -> Vec<u8> {
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    suite
        .tls13()
        .map(|suite| suite.common.hash_provider.hash(bytes).as_ref().to_vec())
        .unwrap_or_default()
}

/// Two fingerprints are the same whatever their case and separators.
fn same_fingerprint(a: &str, b: &str) -> bool {
    let digits = |text: &str| {
        let hex = text.chars().filter(char::is_ascii_hexdigit);
        hex.map(|c| c.to_ascii_uppercase()).collect::<String>()
    };
    let (a, b) = (digits(a), digits(b));
    a.len() == 64 && a == b
}

#[derive(Debug)]
struct Verifier {
    strict: Option<Arc<WebPkiServerVerifier>>,
    trust: Trust,
    provider: Arc<CryptoProvider>,
    seen: Arc<Seen>,
}

impl Verifier {
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<(), Error> {
        match &self.strict {
            None => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
            Some(strict) => strict
                .verify_server_cert(end_entity, intermediates, name, ocsp, now)
                .map(|_| ()),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Err(error) = self.check(end_entity, intermediates, server_name, ocsp_response, now)
        else {
            return Ok(ServerCertVerified::assertion());
        };
        let fingerprint = fingerprint(end_entity);
        match &self.trust {
            Trust::Pinned(pin) if same_fingerprint(pin, &fingerprint) => {
                return Ok(ServerCertVerified::assertion());
            }
            Trust::DangerouslyAnything => {
                let words = describe(&error);
                self.seen.set(Fault { words, fingerprint });
                return Ok(ServerCertVerified::assertion());
            }
            Trust::Strict | Trust::Pinned(_) => {}
        }
        self.seen.set(Fault {
            words: describe(&error),
            fingerprint,
        });
        Err(error)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// What is wrong with a certificate, in words.
fn describe(error: &Error) -> String {
    let Error::InvalidCertificate(fault) = error else {
        return error.to_string();
    };
    match fault {
        CertificateError::UnknownIssuer => "its issuer is not trusted".into(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is another host's".into()
        }
        CertificateError::Revoked => "its issuer has revoked it".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Made {
        der: CertificateDer<'static>,
        dir: tempfile::TempDir,
    }

    fn made(name: &str) -> Made {
        let certified = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("cert.pem"), certified.cert.pem()).unwrap();
        Made {
            der: certified.cert.der().clone(),
            dir,
        }
    }

    fn verify(policy: &TlsPolicy, made: &Made, name: &str) -> (bool, Option<Fault>) {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = policy.read_roots().unwrap();
        let strict = (!roots.is_empty()).then(|| {
            WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone())
                .build()
                .unwrap()
        });
        let seen = Arc::new(Seen::default());
        let trust = policy.trust.clone();
        let verifier = Verifier {
            strict,
            trust,
            provider,
            seen: seen.clone(),
        };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let now = UnixTime::now();
        let ok = verifier
            .verify_server_cert(&made.der, &[], &name, &[], now)
            .is_ok();
        (ok, seen.fault())
    }

    fn policy(trust: Trust, files: Vec<PathBuf>) -> TlsPolicy {
        let roots = Certificates {
            system: false,
            files,
            folders: vec![],
        };
        TlsPolicy {
            roots,
            trust,
            client: None,
        }
    }

    #[test]
    fn an_unknown_certificate_is_refused_and_its_fault_and_fingerprint_are_told() {
        let made = made("broker.test");
        let (ok, fault) = verify(&policy(Trust::Strict, vec![]), &made, "broker.test");
        assert!(!ok);
        let fault = fault.unwrap();
        assert_eq!(fault.words, "its issuer is not trusted");
        assert_eq!(fault.fingerprint, fingerprint(&made.der));
        assert_eq!(fault.fingerprint.len(), 32 * 3 - 1);
    }

    #[test]
    fn a_root_of_the_users_own_is_trusted_for_its_name_only() {
        let made = made("broker.test");
        let file = made.dir.path().join("cert.pem");
        let policy = policy(Trust::Strict, vec![file]);
        assert!(verify(&policy, &made, "broker.test").0);
        let (ok, fault) = verify(&policy, &made, "other.test");
        assert!(!ok);
        assert_eq!(fault.unwrap().words, "it is another host's");
    }

    #[test]
    fn a_folder_of_roots_is_read_and_a_missing_one_holds_none() {
        let made = made("broker.test");
        let mut policy = policy(Trust::Strict, vec![]);
        policy.roots.folders = vec![made.dir.path().to_owned(), "/nonexistent".into()];
        assert!(verify(&policy, &made, "broker.test").0);
    }

    #[test]
    fn a_pin_is_for_one_certificate() {
        let (one, other) = (made("broker.test"), made("broker.test"));
        let pin = fingerprint(&one.der).to_lowercase().replace(':', "");
        let policy = policy(Trust::Pinned(pin), vec![]);
        assert!(verify(&policy, &one, "broker.test").0);
        assert!(!verify(&policy, &other, "broker.test").0);
        assert!(!same_fingerprint("", ""));
    }

    #[test]
    fn anything_is_accepted_only_when_asked_for_and_the_fault_is_told() {
        let made = made("broker.test");
        let (ok, fault) = verify(&policy(Trust::DangerouslyAnything, vec![]), &made, "x.test");
        assert!(ok && fault.is_some());
    }

    #[test]
    fn files_that_hold_no_certificate_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("empty.pem");
        std::fs::write(&file, "nothing").unwrap();
        for file in [file, dir.path().join("missing.pem")] {
            let failure = policy(Trust::Strict, vec![file.clone()])
                .prepare()
                .err()
                .unwrap();
            assert_eq!(failure.code(), Code::Config);
            assert!(
                failure.to_string().starts_with(&file.display().to_string()),
                "{failure}"
            );
        }
    }
}
