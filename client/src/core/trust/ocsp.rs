//! What a certificate's issuer says of it, as the broker hands it on (a
//! stapled OCSP response, RFC 6960).

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use der::{Decode as _, Encode as _};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspResponse, OcspResponseStatus,
    SingleResponse,
};
use x509_parser::asn1_rs::Any;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::fault::{Fault, Finding};

/// The kind of response there is: `id-pkix-ocsp-basic`.
const BASIC: &str = "1.3.6.1.5.5.7.48.1.1";

/// `id-sha1` and `id-sha256`, as which certificates are named.
const SHA_1: &str = "1.3.14.3.2.26";
const SHA_256: &str = "2.16.840.1.101.3.4.2.1";

/// How far clocks may be apart.
const SKEW: Duration = Duration::from_secs(300);

/// How long a response without an end of its own is good.
const WITHOUT_END: Duration = Duration::from_secs(24 * 3600);

/// What is done about stapled responses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stapled {
    /// One that is offered counts.
    #[default]
    Try,
    /// One has to be offered.
    Must,
    /// None is looked at.
    Ignore,
}

impl Stapled {
    /// Reads `client.ssl.ocsp_mode`: flags of the reference's TLS library,
    /// joined by `|`. `None` for what is not known.
    #[must_use]
    pub fn from_flags(text: &str) -> Option<Self> {
        let mut mode = Self::default();
        for flag in text
            .split('|')
            .map(str::trim)
            .filter(|flag| !flag.is_empty())
        {
            mode = match flag {
                "SSL_OCSP_TRY_STAPLE" => mode,
                "SSL_OCSP_MUST_STAPLE" => Self::Must,
                "SSL_OCSP_NO_STAPLE" => Self::Ignore,
                _ => return None,
            };
        }
        Some(mode)
    }
}

/// A certificate whose chain holds, and what is needed to check on it.
pub(super) struct Subject<'a> {
    pub(super) certificate: &'a CertificateDer<'a>,
    pub(super) intermediates: &'a [CertificateDer<'a>],
    pub(super) roots: &'a RootCertStore,
    pub(super) provider: &'a Arc<CryptoProvider>,
    pub(super) now: UnixTime,
}

/// A public key: the inner part of its algorithm's identifier, and its bits.
struct Key {
    algorithm: Vec<u8>,
    bits: Vec<u8>,
}

impl Subject<'_> {
    /// What is wrong according to a response; nothing when all is well.
    pub(super) fn fault(&self, response: &[u8]) -> Option<Finding> {
        let odd = |why: &str| {
            let words = format!("what its issuer says of revocation cannot be used: {why}");
            Some(Finding::new(Fault::OcspError, words))
        };
        let Ok(outer) = OcspResponse::from_der(response) else {
            return odd("it cannot be read");
        };
        if outer.response_status != OcspResponseStatus::Successful {
            let status = outer.response_status;
            let words =
                format!("its issuer's server does not say whether it is revoked: {status:?}");
            return Some(Finding::new(Fault::OcspFailure, words));
        }
        let basic = outer
            .response_bytes
            .filter(|b| b.response_type.to_string() == BASIC);
        let Some(basic) = basic else {
            return odd("it is of an unknown kind");
        };
        let bytes = basic.response.as_bytes();
        let Ok(response) = BasicOcspResponse::from_der(bytes) else {
            return odd("it cannot be read");
        };
        let Some(issuer) = self.issuer() else {
            return odd("the issuer is not known");
        };
        if !self.is_signed(bytes, &response, &issuer) {
            return odd("it is not the issuer's");
        }
        let all = &response.tbs_response_data.responses;
        let Some(single) = all.iter().find(|one| self.is_about(&one.cert_id, &issuer)) else {
            return odd("it is about another certificate");
        };
        match single.cert_status {
            CertStatus::Revoked(_) => {
                Some(Finding::new(Fault::Revoked, "its issuer has revoked it"))
            }
            _ if !self.is_of_now(single) => odd("it is too old"),
            CertStatus::Good(_) => None,
            CertStatus::Unknown(_) => odd("the issuer does not know the certificate"),
        }
    }

    /// The key that signed the certificate.
    fn issuer(&self) -> Option<Key> {
        let (_, leaf) = X509Certificate::from_der(self.certificate).ok()?;
        let name = leaf.issuer().as_raw();
        let mut keys = Vec::new();
        for der in self.intermediates {
            let Ok((_, above)) = X509Certificate::from_der(der) else {
                continue;
            };
            if above.subject().as_raw() == name {
                keys.extend(key_of(above.public_key()));
            }
        }
        for anchor in &self.roots.roots {
            // Both are kept without their outermost tag.
            if sequence(anchor.subject.as_ref()) == name {
                let key = sequence(anchor.subject_public_key_info.as_ref());
                let key = SubjectPublicKeyInfo::from_der(&key);
                keys.extend(key.ok().and_then(|(_, key)| key_of(&key)));
            }
        }
        keys.into_iter().find(|key| self.signed(&leaf, key))
    }

    fn signed(&self, certificate: &X509Certificate<'_>, by: &Key) -> bool {
        let Some(whole) = algorithm_of(certificate) else {
            return false;
        };
        let signature = &certificate.signature_value.data;
        let message = certificate.tbs_certificate.as_ref();
        self.verifies(by, &whole, message, signature)
    }

    fn verifies(&self, key: &Key, algorithm: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let all = self.provider.signature_verification_algorithms.all;
        all.iter().any(|one| {
            one.public_key_alg_id().as_ref() == key.algorithm
                && one.signature_alg_id().as_ref() == algorithm
                && one.verify_signature(&key.bits, message, signature).is_ok()
        })
    }

    /// By the issuer, or by somebody to whom it gave a certificate for that.
    fn is_signed(&self, bytes: &[u8], response: &BasicOcspResponse, issuer: &Key) -> bool {
        let (Some(message), Some(algorithm), Some(signature)) = (
            first_element(bytes),
            response.signature_algorithm.to_der().ok(),
            response.signature.as_bytes(),
        ) else {
            return false;
        };
        let Some(algorithm) = inner(&algorithm) else {
            return false;
        };
        if self.verifies(issuer, &algorithm, &message, signature) {
            return true;
        }
        let delegates = response.certs.iter().flatten();
        delegates.filter_map(|one| one.to_der().ok()).any(|der| {
            let Ok((_, delegate)) = X509Certificate::from_der(&der) else {
                return false;
            };
            let usage = delegate.extended_key_usage().ok().flatten();
            usage.is_some_and(|usage| usage.value.ocsp_signing)
                && self.is_valid(&delegate)
                && self.signed(&delegate, issuer)
                && key_of(delegate.public_key())
                    .is_some_and(|key| self.verifies(&key, &algorithm, &message, signature))
        })
    }

    fn is_valid(&self, certificate: &X509Certificate<'_>) -> bool {
        let now = i64::try_from(self.now.as_secs()).unwrap_or(i64::MAX);
        let validity = certificate.validity();
        (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now)
    }

    fn is_about(&self, id: &CertId, issuer: &Key) -> bool {
        let Ok((_, leaf)) = X509Certificate::from_der(self.certificate) else {
            return false;
        };
        let algorithm = match id.hash_algorithm.oid.to_string().as_str() {
            SHA_1 => &SHA1_FOR_LEGACY_USE_ONLY,
            SHA_256 => &SHA256,
            _ => return false,
        };
        let is = |said: &[u8], of: &[u8]| said == digest(algorithm, of).as_ref();
        id.serial_number.as_bytes() == leaf.raw_serial()
            && is(id.issuer_name_hash.as_bytes(), leaf.issuer().as_raw())
            && is(id.issuer_key_hash.as_bytes(), &issuer.bits)
    }

    fn is_of_now(&self, single: &SingleResponse) -> bool {
        let now = Duration::from_secs(self.now.as_secs());
        let at = |time: &OcspGeneralizedTime| time.0.to_unix_duration();
        let from = at(&single.this_update);
        let until = match &single.next_update {
            Some(time) => at(time),
            None => from.saturating_add(WITHOUT_END),
        };
        from.saturating_sub(SKEW) <= now && now <= until.saturating_add(SKEW)
    }
}

/// What a `SEQUENCE` encloses, without its tag and length.
fn inner(der: &[u8]) -> Option<Vec<u8>> {
    Any::from_der(der).ok().map(|(_, any)| any.data.to_vec())
}

/// The first element in a `SEQUENCE`, as it is.
fn first_element(der: &[u8]) -> Option<Vec<u8>> {
    let content = inner(der)?;
    let (rest, _) = Any::from_der(&content).ok()?;
    let length = content.len().checked_sub(rest.len())?;
    content.get(..length).map(<[u8]>::to_vec)
}

/// Puts the tag and length of a `SEQUENCE` before its content.
fn sequence(content: &[u8]) -> Vec<u8> {
    let any = der::asn1::AnyRef::new(der::Tag::Sequence, content);
    any.and_then(|any| any.to_der()).unwrap_or_default()
}

fn key_of(info: &SubjectPublicKeyInfo<'_>) -> Option<Key> {
    Some(Key {
        algorithm: inner(&first_element(info.raw)?)?,
        bits: info.subject_public_key.data.to_vec(),
    })
}

/// The inner part of the identifier of a certificate's signature algorithm,
/// which follows the part that is signed.
fn algorithm_of(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    let content = inner(certificate.as_raw())?;
    let (rest, _) = Any::from_der(&content).ok()?;
    inner(rest)
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");

    /// What was recorded is good in 2030.
    const THEN: Duration = Duration::from_secs(1_900_000_000);

    fn fault_of(response: &[u8]) -> Option<Fault> {
        let read = |name: &str| CertificateDer::from_pem_file(format!("{DATA}/{name}")).unwrap();
        let (ca, leaf) = (read("ocsp-ca.pem"), read("ocsp-leaf.pem"));
        let mut roots = RootCertStore::empty();
        roots.add(ca).unwrap();
        let subject = Subject {
            certificate: &leaf,
            intermediates: &[],
            roots: &roots,
            provider: &Arc::new(aws_lc_rs::default_provider()),
            now: UnixTime::since_unix_epoch(THEN),
        };
        subject.fault(response).map(|found| found.fault)
    }

    fn recorded(name: &str) -> Vec<u8> {
        std::fs::read(format!("{DATA}/{name}")).unwrap()
    }

    #[test]
    fn what_openssl_says_is_understood() {
        for (name, fault) in [
            ("ocsp-good.der", None),
            ("ocsp-delegated.der", None),
            ("ocsp-revoked.der", Some(Fault::Revoked)),
            ("ocsp-delegated-revoked.der", Some(Fault::Revoked)),
            ("ocsp-unknown.der", Some(Fault::OcspError)),
            // Over, and by somebody whose certificate is for other things.
            ("ocsp-old.der", Some(Fault::OcspError)),
            ("ocsp-impostor.der", Some(Fault::OcspError)),
        ] {
            assert_eq!(fault_of(&recorded(name)), fault, "{name}");
        }
    }

    #[test]
    fn a_server_that_fails_is_told_from_a_bad_response() {
        // OCSPResponse { tryLater }
        assert_eq!(fault_of(&[0x30, 3, 0x0a, 1, 3]), Some(Fault::OcspFailure));
        assert_eq!(fault_of(b"nonsense"), Some(Fault::OcspError));
    }

    #[test]
    fn no_changed_byte_makes_a_response_a_good_one() {
        let good = recorded("ocsp-good.der");
        let outer = OcspResponse::from_der(&good).unwrap();
        let signed = outer.response_bytes.unwrap();
        let signed = first_element(signed.response.as_bytes()).unwrap();
        let from = good.windows(signed.len()).position(|w| w == signed);
        // The certificates after the signature are signed by nobody.
        for at in 0..from.unwrap() + signed.len() {
            let mut damaged = good.clone();
            damaged[at] ^= 1;
            assert!(fault_of(&damaged).is_some(), "byte {at}");
        }
        for length in 0..good.len() {
            assert!(fault_of(&good[..length]).is_some(), "{length} bytes");
        }
    }

    #[test]
    fn modes_are_the_references_flags() {
        for (text, mode) in [
            ("", Some(Stapled::Try)),
            ("SSL_OCSP_TRY_STAPLE", Some(Stapled::Try)),
            (
                "SSL_OCSP_TRY_STAPLE | SSL_OCSP_MUST_STAPLE",
                Some(Stapled::Must),
            ),
            ("SSL_OCSP_NO_STAPLE", Some(Stapled::Ignore)),
            ("SSL_OCSP_FULL_CHAIN", None),
            ("on", None),
        ] {
            assert_eq!(Stapled::from_flags(text), mode, "{text}");
        }
    }
}
