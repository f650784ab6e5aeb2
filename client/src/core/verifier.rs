//! Whether the certificate a broker shows is taken.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, SignatureScheme};

use super::certificate::{Facts, digits};
use super::tls::Trust;
use super::trust::{Fault, Finding, Judge, Memory, Pins, Policy, Recalled, Shown, Verdict};

/// The certificate that was shown last, if it had a fault.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Option<Faulty>>);

#[derive(Debug, Clone)]
pub(super) struct Faulty {
    pub(super) facts: Facts,
    pub(super) findings: Vec<Finding>,
    pub(super) ruling: Ruling,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ruling {
    /// Taken; whether the user is told.
    Taken { told: bool },
    /// Taken, and the file of pins is to say so with these faults.
    TakenAnew(BTreeSet<Fault>),
    /// The user is to be asked.
    Ask,
    /// Refused; why, and what can be done.
    Refused(String),
}

impl Seen {
    pub(super) fn faulty(&self) -> Option<Faulty> {
        self.0.lock().ok().and_then(|faulty| faulty.clone())
    }

    fn set(&self, faulty: Faulty) {
        if let Ok(mut seen) = self.0.lock() {
            *seen = Some(faulty);
        }
    }
}

/// How a certificate with faults is ruled on.
#[derive(Debug)]
pub(super) struct Ruler {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) trust: Trust,
    pub(super) policy: Policy,
    pub(super) memory: Memory,
    /// What the file of pins held; why it could not be read.
    pub(super) pins: Result<Pins, String>,
}

impl Ruler {
    fn rule(&self, facts: &Facts, findings: &[Finding]) -> Ruling {
        if let Some(why) = self.policy.forbids(findings) {
            return Ruling::Refused(why);
        }
        match &self.trust {
            Trust::DangerouslyAnything => return Ruling::Taken { told: true },
            Trust::Pinned(pin) => {
                // A cut pin is none at all.
                if digits(pin).is_some() && digits(pin) == digits(&facts.details.sha256) {
                    return Ruling::Taken { told: false };
                }
            }
            Trust::Strict => {}
        }
        let sha256 = &facts.details.sha256;
        if self.memory.has(&self.host, self.port, sha256, findings) {
            return Ruling::Taken { told: false };
        }
        let covers = |known: &BTreeSet<Fault>| findings.iter().all(|f| known.contains(&f.fault));
        let pins = match &self.pins {
            Ok(pins) => pins,
            Err(why) => return Ruling::Refused(why.clone()),
        };
        match pins.recall(&self.host, self.port, facts) {
            Recalled::Accepted(known) if covers(&known) => return Ruling::Taken { told: false },
            Recalled::AcceptedAnew(known) if covers(&known) => return Ruling::TakenAnew(known),
            Recalled::Changed => {
                return Ruling::Refused(
                    "another certificate with another key was accepted for this host: \
                     somebody may be listening in; if it was replaced, trust it with \
                     --pin SHA256 or take the old one out of accepted_certs.json"
                        .into(),
                );
            }
            _ => {}
        }
        match self.policy.verdict(findings) {
            Verdict::Ask => Ruling::Ask,
            Verdict::Continue => Ruling::Taken { told: true },
            Verdict::Refuse(why) => Ruling::Refused(why),
        }
    }
}

#[derive(Debug)]
pub(super) struct Verifier {
    judge: Judge,
    ruler: Ruler,
    provider: Arc<CryptoProvider>,
    seen: Arc<Seen>,
}

impl Verifier {
    pub(super) fn new(
        judge: Judge,
        ruler: Ruler,
        provider: Arc<CryptoProvider>,
        seen: Arc<Seen>,
    ) -> Self {
        Self {
            judge,
            ruler,
            provider,
            seen,
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
        let findings = self.judge.faults(&Shown {
            certificate: end_entity,
            intermediates,
            host: server_name,
            now,
            ocsp: ocsp_response,
        });
        if findings.is_empty() {
            return Ok(ServerCertVerified::assertion());
        }
        let facts = Facts::of(end_entity).ok_or(CertificateError::BadEncoding)?;
        let ruling = self.ruler.rule(&facts, &findings);
        let taken = matches!(ruling, Ruling::Taken { .. } | Ruling::TakenAnew(_));
        self.seen.set(Faulty {
            facts,
            findings,
            ruling,
        });
        if taken {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        if ParsedCertificate::try_from(cert).is_err() {
            return self.verify_raw(message, cert, dss);
        }
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        if ParsedCertificate::try_from(cert).is_err() {
            let facts = Facts::of(cert).ok_or(CertificateError::BadEncoding)?;
            let key = SubjectPublicKeyInfoDer::from(facts.key);
            return rustls::crypto::verify_tls13_signature_with_raw_key(
                message, &key, dss, algorithms,
            );
        }
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl Verifier {
    /// webpki does not look at X.509 version 1 certificates, of which only
    /// the key is needed here.
    fn verify_raw(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let (identifier, key) =
            super::certificate::key(cert).ok_or(CertificateError::BadEncoding)?;
        let mapping = self.provider.signature_verification_algorithms.mapping;
        let algorithms = mapping.iter().filter(|(scheme, _)| *scheme == dss.scheme);
        let mut fitting = algorithms
            .flat_map(|(_, algorithms)| algorithms.iter())
            .filter(|algorithm| algorithm.public_key_alg_id().as_ref() == identifier)
            .peekable();
        if fitting.peek().is_none() {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        let valid = |algorithm: &&&dyn rustls::pki_types::SignatureVerificationAlgorithm| {
            algorithm
                .verify_signature(&key, message, dss.signature())
                .is_ok()
        };
        match fitting.find(valid) {
            Some(_) => Ok(HandshakeSignatureValid::assertion()),
            None => Err(CertificateError::BadSignature.into()),
        }
    }
}

#[cfg(test)]
mod tests;
