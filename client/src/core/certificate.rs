//! What a certificate says of itself. Nothing here is checked: a person reads
//! it, who has to decide whether the certificate is the broker's.

use std::fmt::{self, Write as _};

use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use x509_parser::asn1_rs::Any;
use x509_parser::prelude::{ASN1Time, FromDer as _, GeneralName, X509Certificate, X509Version};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Longest name shown, in characters.
const MAX_NAME: usize = 100;

/// Most host names shown.
const MAX_NAMES: usize = 10;

/// RSA keys below are weak, in bits.
const MIN_RSA: usize = 2048;

/// Keys on elliptic curves below are weak, in bits.
const MIN_EC: usize = 224;

/// Object ids of the parts of a name that people know.
const NAMES: &[(&str, &str)] = &[("2.5.4.3", "CN"), ("2.5.4.10", "O"), ("2.5.4.11", "OU")];

/// Object ids of signatures over digests for which collisions can be had.
const INSECURE: &[(&str, &str)] = &[
    ("1.2.840.113549.1.1.2", "MD2"),
    ("1.2.840.113549.1.1.3", "MD4"),
    ("1.2.840.113549.1.1.4", "MD5"),
    ("1.2.840.113549.1.1.5", "SHA-1"),
    ("1.3.14.3.2.29", "SHA-1"),
    ("1.2.840.10040.4.3", "SHA-1"),
    ("1.2.840.10045.4.1", "SHA-1"),
];

/// A certificate for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// Whose it is.
    pub subject: String,
    /// Who vouches for it.
    pub issuer: String,
    /// The day from which it is valid, `YYYY-MM-DD`.
    pub valid_from: String,
    /// The day until which it is valid, `YYYY-MM-DD`.
    pub valid_to: String,
    /// The hosts it is for, as far as it names any.
    pub names: Vec<String>,
    /// Its SHA-256, in hex with colons.
    pub sha256: String,
}

impl fmt::Display for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, issued by {}, valid {} to {}, SHA-256 {}",
            self.subject, self.issuer, self.valid_from, self.valid_to, self.sha256
        )
    }
}

/// A certificate for the rest of the client.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) details: Details,
    /// Seconds since 1970.
    pub(super) from: i64,
    /// Seconds since 1970.
    pub(super) until: i64,
    pub(super) version1: bool,
    /// Subject and issuer are the same.
    pub(super) self_issued: bool,
    pub(super) common_name: Option<String>,
    /// The digest under its signature, if that is an insecure one.
    pub(super) insecure: Option<&'static str>,
    /// What is weak about its key.
    pub(super) weak: Option<String>,
    /// Its public key with algorithm, in DER.
    pub(super) key: Vec<u8>,
}

impl Facts {
    /// `None` when it cannot be read.
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let validity = certificate.validity();
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.iter().flat_map(|names| &names.value.general_names);
        let algorithm = certificate.signature_algorithm.algorithm.to_id_string();
        let insecure = INSECURE.iter().find(|(id, _)| *id == algorithm);
        let common_name = certificate.subject().iter_common_name().next().map(value);
        Some(Self {
            details: Details {
                subject: name(certificate.subject()),
                issuer: name(certificate.issuer()),
                valid_from: date(&validity.not_before),
                valid_to: date(&validity.not_after),
                names: names.filter_map(host).take(MAX_NAMES).collect(),
                sha256: fingerprint(der),
            },
            from: validity.not_before.timestamp(),
            until: validity.not_after.timestamp(),
            version1: certificate.version() == X509Version::V1,
            self_issued: certificate.subject().as_raw() == certificate.issuer().as_raw(),
            common_name,
            insecure: insecure.map(|(_, digest)| *digest),
            weak: weakness(&certificate),
            key: certificate.public_key().raw.to_vec(),
        })
    }
}

/// The inner part of the public key's algorithm identifier, and the key.
pub(super) fn key(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let info = certificate.public_key();
    // SEQUENCE { SEQUENCE algorithm, BIT STRING key }
    let (_, whole) = Any::from_der(info.raw).ok()?;
    let (_, algorithm) = Any::from_der(whole.data).ok()?;
    Some((
        algorithm.data.to_vec(),
        info.subject_public_key.data.to_vec(),
    ))
}

/// SHA-256 of a certificate, in hex with colons.
#[must_use]
pub(crate) fn fingerprint(certificate: &[u8]) -> String {
    // rustls carries the digest along with its cipher suites.
    let digest = TLS13_AES_128_GCM_SHA256
        .tls13()
        .map(|suite| suite.common.hash_provider.hash(certificate));
    let mut text = String::with_capacity(32 * 3);
    for byte in digest.iter().flat_map(AsRef::as_ref) {
        if !text.is_empty() {
            text.push(':');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02X}");
    }
    text
}

/// The 64 digits of a fingerprint, whatever its case and separators; `None`
/// for what is none.
pub(crate) fn digits(fingerprint: &str) -> Option<String> {
    let hex = fingerprint.chars().filter(char::is_ascii_hexdigit);
    let hex: String = hex.map(|c| c.to_ascii_lowercase()).collect();
    (hex.len() == 64).then_some(hex)
}

fn weakness(certificate: &X509Certificate<'_>) -> Option<String> {
    let (kind, least, bits) = match certificate.public_key().parsed().ok()? {
        PublicKey::RSA(key) => ("RSA", MIN_RSA, key.key_size()),
        PublicKey::EC(key) => ("EC", MIN_EC, key.key_size()),
        PublicKey::DSA(_) => return Some("a DSA key".into()),
        _ => return None,
    };
    (bits < least).then(|| format!("an {kind} key of {bits} bits"))
}

/// A distinguished name: the parts people know.
fn name(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    for attribute in name.iter_attributes() {
        let id = attribute.attr_type().to_id_string();
        let Some((_, key)) = NAMES.iter().find(|(known, _)| *known == id) else {
            continue;
        };
        let comma = if text.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}{key}={}", value(attribute));
    }
    if text.is_empty() {
        "no name".to_owned()
    } else {
        text
    }
}

fn value(attribute: &AttributeTypeAndValue<'_>) -> String {
    match attribute.as_str() {
        Ok(text) => shown(text),
        Err(_) => shown(&String::from_utf8_lossy(attribute.as_slice())),
    }
}

/// Nothing in it may steer the terminal or flood it.
fn shown(text: &str) -> String {
    qvd_broker::one_line(text).chars().take(MAX_NAME).collect()
}

fn host(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(shown(name)),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(|b| std::net::IpAddr::from(b).to_string());
            let sixteen = <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from);
            four.or_else(|_| sixteen.map(|ip| ip.to_string())).ok()
        }
        _ => None,
    }
}

fn date(time: &ASN1Time) -> String {
    time.to_datetime().date().to_string()
}

/// The day of a time in seconds since 1970; of what no calendar has, the
/// number.
pub(crate) fn date_of(seconds: i64) -> String {
    let time = ASN1Time::from_timestamp(seconds);
    time.map_or_else(|_| seconds.to_string(), |time| date(&time))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(name: &str) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["broker.test".into()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "ES");
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Desks");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2026, 1, 2);
        params.not_after = date_time_ymd(2052, 3, 4);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    fn summary(der: &[u8]) -> Option<String> {
        Facts::of(der).map(|facts| facts.details.to_string())
    }

    #[test]
    fn a_fingerprint_is_the_same_in_any_writing_and_none_when_cut() {
        let print = fingerprint(b"anything");
        let plain = print.to_lowercase().replace(':', "");
        assert_eq!(digits(&print), Some(plain.clone()));
        assert_eq!(digits(&plain), Some(plain.clone()));
        assert_eq!(digits(&plain[..40]), None);
    }

    #[test]
    fn names_and_dates_are_read() {
        let der = certificate("broker");
        assert_eq!(
            summary(&der).unwrap(),
            format!(
                "O=Desks, CN=broker, issued by O=Desks, CN=broker, \
                 valid 2026-01-02 to 2052-03-04, SHA-256 {}",
                fingerprint(&der)
            )
        );
        assert_eq!(fingerprint(&der).len(), 32 * 3 - 1);
        let facts = Facts::of(&der).unwrap();
        assert_eq!(facts.details.names, ["broker.test"]);
        assert!(facts.self_issued && !facts.version1);
        assert_eq!((facts.insecure, facts.weak), (None, None));
    }

    #[test]
    fn a_name_cannot_steer_the_terminal_or_flood_it() {
        let text = summary(&certificate(&format!("a\u{1b}[2J{}", "x".repeat(500)))).unwrap();
        assert!(!text.contains('\u{1b}'));
        assert!(text.len() < 5 * MAX_NAME, "{text}");
    }

    #[test]
    fn what_is_cut_off_is_not_read() {
        let whole = certificate("broker");
        for length in 0..whole.len() {
            assert_eq!(summary(&whole[..length]), None, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(
            at in 0usize..400,
            bytes in proptest::collection::vec(any::<u8>(), 0..8),
            noise in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut damaged = certificate("broker");
            for (place, byte) in damaged.iter_mut().skip(at).zip(bytes) {
                *place = byte;
            }
            let _ = summary(&damaged);
            let _ = summary(&noise);
        }
    }
}
