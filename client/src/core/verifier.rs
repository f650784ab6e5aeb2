//! Whether the certificate a broker shows is the broker's.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::certificate;
use super::tls::Trust;

/// Trusted roots.
#[derive(Debug)]
pub(super) struct Roots {
    /// All of them.
    pub(super) store: RootCertStore,
    /// Those the user named, as they are.
    pub(super) own: Vec<CertificateDer<'static>>,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            store: RootCertStore::empty(),
            own: Vec::new(),
        }
    }
}

/// The fault of the certificate that was shown last, if it had one.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Option<Fault>>);

#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) words: String,
    /// The certificate's own words on itself and its fingerprint.
    pub(super) certificate: String,
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
pub(super) struct Verifier {
    strict: Option<Arc<WebPkiServerVerifier>>,
    own: Vec<CertificateDer<'static>>,
    trust: Trust,
    provider: Arc<CryptoProvider>,
    seen: Arc<Seen>,
}

impl Verifier {
    pub(super) fn new(
        roots: Roots,
        trust: Trust,
        provider: Arc<CryptoProvider>,
        seen: Arc<Seen>,
    ) -> Result<Self, VerifierBuilderError> {
        // Without a root webpki has nothing to build on; every certificate is
        // then one of an unknown issuer.
        let strict = if roots.store.is_empty() {
            None
        } else {
            let store = Arc::new(roots.store);
            let builder = WebPkiServerVerifier::builder_with_provider(store, provider.clone());
            Some(builder.build()?)
        };
        Ok(Self {
            strict,
            own: roots.own,
            trust,
            provider,
            seen,
        })
    }

    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<(), Error> {
        let Some(strict) = &self.strict else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        match strict.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Err(error) if is_authority(&error) && self.own.contains(end_entity) => {
                // A self-signed certificate as openssl makes it by default:
                // an authority's. The user named exactly this one, and its
                // dates were checked before this fault was found.
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)
            }
            checked => checked.map(|_| ()),
        }
    }
}

/// Whether the fault is that the certificate is a certificate authority's.
fn is_authority(error: &Error) -> bool {
    // webpki's own error, which rustls has no name for.
    matches!(error, Error::InvalidCertificate(CertificateError::Other(fault))
        if fault.to_string().contains("CaUsedAsEndEntity"))
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
        if let Trust::Pinned(pin) = &self.trust
            && same_fingerprint(pin, &fingerprint)
        {
            return Ok(ServerCertVerified::assertion());
        }
        self.seen.set(Fault {
            words: describe(&error),
            certificate: match certificate::summary(end_entity) {
                Some(summary) => format!("{summary}, SHA-256 {fingerprint}"),
                None => format!("SHA-256 {fingerprint}"),
            },
        });
        match self.trust {
            Trust::DangerouslyAnything => Ok(ServerCertVerified::assertion()),
            Trust::Strict | Trust::Pinned(_) => Err(error),
        }
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
        _ if is_authority(error) => "it is an authority's own and not trusted".into(),
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

    fn made(name: &str, authority: bool) -> CertificateDer<'static> {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        if authority {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    /// Whether the certificate is accepted when the user trusts `own`, and
    /// what was wrong with it.
    fn verify(
        trust: Trust,
        own: &[&CertificateDer<'static>],
        shown: &CertificateDer<'static>,
        name: &str,
    ) -> (bool, Option<Fault>) {
        let own: Vec<_> = own.iter().map(|der| (*der).clone()).collect();
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(own.iter().cloned());
        let roots = Roots { store, own };
        let seen = Arc::new(Seen::default());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Verifier::new(roots, trust, provider, seen.clone()).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let now = UnixTime::now();
        let ok = verifier
            .verify_server_cert(shown, &[], &name, &[], now)
            .is_ok();
        (ok, seen.fault())
    }

    #[test]
    fn an_unknown_certificate_is_refused_and_its_fault_and_fingerprint_are_told() {
        for authority in [false, true] {
            let shown = made("broker.test", authority);
            let (ok, fault) = verify(Trust::Strict, &[], &shown, "broker.test");
            assert!(!ok);
            let fault = fault.unwrap();
            assert_eq!(fault.words, "its issuer is not trusted");
            assert!(
                fault.certificate.ends_with(&fingerprint(&shown)),
                "{fault:?}"
            );
            assert_eq!(fingerprint(&shown).len(), 32 * 3 - 1);
        }
    }

    #[test]
    fn a_certificate_the_user_named_is_trusted_for_its_host_only() {
        for authority in [false, true] {
            let shown = made("broker.test", authority);
            assert!(verify(Trust::Strict, &[&shown], &shown, "broker.test").0);
            let (ok, fault) = verify(Trust::Strict, &[&shown], &shown, "other.test");
            assert!(!ok);
            assert_eq!(fault.unwrap().words, "it is another host's");
        }
    }

    #[test]
    fn an_authority_that_was_not_named_is_refused() {
        let (named, shown) = (made("broker.test", true), made("broker.test", true));
        let (ok, fault) = verify(Trust::Strict, &[&named], &shown, "broker.test");
        assert!(!ok);
        assert_eq!(
            fault.unwrap().words,
            "it is an authority's own and not trusted"
        );
    }

    #[test]
    fn a_pin_is_for_one_certificate() {
        let (one, other) = (made("broker.test", false), made("broker.test", false));
        let pin = fingerprint(&one).to_lowercase().replace(':', "");
        assert!(verify(Trust::Pinned(pin.clone()), &[], &one, "any.test").0);
        assert!(!verify(Trust::Pinned(pin.clone()), &[], &other, "any.test").0);
        // A cut pin is none at all.
        let cut = pin.chars().take(40).collect();
        assert!(!verify(Trust::Pinned(cut), &[], &one, "any.test").0);
    }

    #[test]
    fn anything_is_accepted_only_when_asked_for_and_the_fault_is_told() {
        let shown = made("broker.test", false);
        let (ok, fault) = verify(Trust::DangerouslyAnything, &[], &shown, "x.test");
        assert!(ok && fault.is_some());
    }
}
