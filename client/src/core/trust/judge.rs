//! Every fault of a certificate, not only the first.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::ServerCertVerifier as _;
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};

use super::fault::{Fault, Finding};
use super::lists::Lists;
use super::ocsp::{Stapled, Subject};
use super::roots::Roots;
use crate::core::certificate::Facts;

/// What was shown, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    pub(crate) certificate: &'a CertificateDer<'a>,
    pub(crate) intermediates: &'a [CertificateDer<'a>],
    pub(crate) host: &'a ServerName<'a>,
    pub(crate) now: UnixTime,
    /// What the broker hands on of its issuer, if anything.
    pub(crate) ocsp: &'a [u8],
}

/// Looks for faults.
#[derive(Debug)]
pub(crate) struct Judge {
    /// None without a root: webpki has nothing to build on then, and every
    /// certificate is one of an unknown issuer.
    strict: Option<Arc<WebPkiServerVerifier>>,
    lists: Lists,
    own: Vec<CertificateDer<'static>>,
    store: Arc<RootCertStore>,
    stapled: Stapled,
    provider: Arc<CryptoProvider>,
}

impl Judge {
    pub(crate) fn new(
        roots: Roots,
        stapled: Stapled,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        let store = Arc::new(roots.store);
        let (strict, lists) = if store.is_empty() {
            (None, Lists::default())
        } else {
            let builder =
                || WebPkiServerVerifier::builder_with_provider(store.clone(), provider.clone());
            let lists = Lists::new(roots.revoked, builder);
            (Some(builder().build()?), lists)
        };
        Ok(Self {
            strict,
            lists,
            own: roots.own,
            store,
            stapled,
            provider,
        })
    }

    /// All faults; none when the certificate is good.
    pub(crate) fn faults(&self, shown: &Shown<'_>) -> Vec<Finding> {
        let Some(facts) = Facts::of(shown.certificate) else {
            return vec![Finding::new(Fault::Other, "it cannot be read")];
        };
        let Err(error) = self.strictly(shown, shown.now) else {
            // Of what was shown beside the chain that holds, nothing matters.
            let mut found = weakness(&facts);
            found.extend(self.of_revocation(shown, shown.now, true));
            return found;
        };
        let chain: Vec<_> = match is_about_name(&error) {
            true => Vec::new(),
            false => shown
                .intermediates
                .iter()
                .filter_map(|c| Facts::of(c))
                .collect(),
        };
        let mut found = Vec::new();
        found.extend(self.of_issuer(shown, &error, &facts, &chain));
        if facts.version1 {
            let words = "it is an X.509 version 1 certificate, which cannot say what it is for";
            found.push(Finding::new(Fault::Version1, words));
        }
        found.extend(dates(&facts, shown.now, "it"));
        found.extend(wrong_host(shown, &facts));
        found.extend(weakness(&facts));
        // A root is trusted for itself, not for its signature or dates.
        for facts in chain.iter().filter(|facts| !facts.self_issued) {
            let who = format!("its issuer's certificate {}", facts.details.subject);
            found.extend(dates(facts, shown.now, &who));
            found.extend(weakness(facts));
        }
        let at = match is_about_time(&error) {
            true => all_valid(&facts, &chain).unwrap_or(shown.now),
            false => shown.now,
        };
        found.extend(self.of_revocation(shown, at, is_about_name(&error)));
        if found.is_empty() {
            // Whatever has no words here: the last word is webpki's.
            found.push(Finding::new(Fault::Other, named(&error, &facts).words));
        }
        found
    }

    /// What lists say, and where they say no ill, what its issuer says now.
    /// `at` is a time at which the certificates hold.
    fn of_revocation(&self, shown: &Shown<'_>, at: UnixTime, ask_issuer: bool) -> Vec<Finding> {
        let mut found = self.lists.faults(shown, at);
        if ask_issuer && found.iter().all(|found| found.fault != Fault::Revoked) {
            found.extend(self.of_ocsp(shown));
        }
        found
    }

    /// What its issuer says of it now. Without an issuer that is trusted there
    /// is nobody to believe, and the certificate is faulty already.
    fn of_ocsp(&self, shown: &Shown<'_>) -> Option<Finding> {
        let is_own = self.own.contains(shown.certificate);
        match (self.stapled, shown.ocsp) {
            // The user vouches for it, and nobody else could revoke it.
            _ if is_own => None,
            (Stapled::Ignore, _) | (Stapled::Try, []) => None,
            (Stapled::Must, []) => {
                let words = "the broker does not hand on what its issuer says of revocation";
                Some(Finding::new(Fault::OcspError, words))
            }
            (_, response) => {
                let subject = Subject {
                    certificate: shown.certificate,
                    intermediates: shown.intermediates,
                    roots: &self.store,
                    provider: &self.provider,
                    now: shown.now,
                };
                subject.fault(response)
            }
        }
    }

    /// What webpki finds when time is no fault.
    fn of_issuer(
        &self,
        shown: &Shown<'_>,
        error: &Error,
        facts: &Facts,
        chain: &[Facts],
    ) -> Option<Finding> {
        if facts.version1 {
            // webpki does not look at such a certificate at all.
            return Some(stranger(facts));
        }
        let later;
        let error = if is_about_time(error) {
            later = self.strictly(shown, all_valid(facts, chain)?).err()?;
            &later
        } else {
            error
        };
        // Both have words of their own.
        if is_about_time(error) || is_about_name(error) {
            return None;
        }
        Some(named(error, facts))
    }

    fn strictly(&self, shown: &Shown<'_>, now: UnixTime) -> Result<(), Error> {
        let Some(strict) = &self.strict else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        let Shown {
            certificate, host, ..
        } = shown;
        match strict.verify_server_cert(certificate, shown.intermediates, host, &[], now) {
            Err(error) if is_authority(&error) && self.own.contains(certificate) => {
                // A self-signed certificate as openssl makes it by default:
                // an authority's. The user named exactly this one, and its
                // dates were checked before this fault was found.
                verify_server_name(&ParsedCertificate::try_from(*certificate)?, host)
            }
            checked => checked.map(|_| ()),
        }
    }
}

/// When the youngest of them begins to be valid.
fn all_valid(facts: &Facts, chain: &[Facts]) -> Option<UnixTime> {
    let all = std::iter::once(facts).chain(chain);
    let from = all.map(|facts| facts.from).max()?;
    let from = Duration::from_secs(from.try_into().ok()?);
    Some(UnixTime::since_unix_epoch(from))
}

fn dates(facts: &Facts, now: UnixTime, who: &str) -> Option<Finding> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let details = &facts.details;
    if now > facts.until {
        let words = format!("{who} expired on {}", details.valid_to);
        Some(Finding::new(Fault::Expired, words))
    } else if now < facts.from {
        let words = format!("{who} is not valid before {}", details.valid_from);
        Some(Finding::new(Fault::NotYetValid, words))
    } else {
        None
    }
}

fn wrong_host(shown: &Shown<'_>, facts: &Facts) -> Option<Finding> {
    let host = shown.host.to_str();
    if facts.version1 {
        // It has no other place for a host's name.
        let same = |name: &String| name.eq_ignore_ascii_case(&host);
        if facts.common_name.as_ref().is_some_and(same) {
            return None;
        }
    } else {
        let parsed = ParsedCertificate::try_from(shown.certificate).ok()?;
        verify_server_name(&parsed, shown.host).err()?;
    }
    let words = match (&facts.details.names, &facts.common_name) {
        (names, _) if !names.is_empty() => format!("it is for {}, not {host}", names.join(", ")),
        (_, Some(name)) if facts.version1 => format!("it is for {name}, not {host}"),
        _ => format!("it names no host, and so not {host}"),
    };
    Some(Finding::new(Fault::WrongHost, words))
}

fn weakness(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    let subject = &facts.details.subject;
    if let Some(weak) = &facts.weak {
        let words = format!("{subject} has {weak}, which is weak");
        found.push(Finding::new(Fault::WeakKey, words));
    }
    if let Some(digest) = facts.insecure {
        let words = format!("{subject} is signed over {digest}, which can be forged");
        found.push(Finding::new(Fault::InsecureSignature, words));
    }
    found
}

fn stranger(facts: &Facts) -> Finding {
    if facts.self_issued {
        Finding::new(Fault::SelfSigned, "it is self-signed and not trusted")
    } else {
        let words = format!("its issuer {} is not trusted", facts.details.issuer);
        Finding::new(Fault::UnknownIssuer, words)
    }
}

/// What is wrong with a certificate, in words.
fn named(error: &Error, facts: &Facts) -> Finding {
    let Error::InvalidCertificate(fault) = error else {
        return Finding::new(Fault::Other, error.to_string());
    };
    match fault {
        CertificateError::UnknownIssuer => stranger(facts),
        // Also of a root whose name is the issuer's and whose key is not.
        CertificateError::BadSignature => stranger(facts),
        _ if is_authority(error) && facts.self_issued => stranger(facts),
        _ if is_authority(error) => Finding::new(Fault::Other, "it is an authority's own"),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. } => Finding::new(
            Fault::InsecureSignature,
            "it is signed with an algorithm that is not trusted",
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            Finding::new(Fault::Other, "it is not made for servers")
        }
        other => Finding::new(Fault::Other, other.to_string()),
    }
}

/// Whether the fault is that the certificate is a certificate authority's.
fn is_authority(error: &Error) -> bool {
    // webpki's own error, which rustls has no name for.
    matches!(error, Error::InvalidCertificate(CertificateError::Other(fault))
        if fault.to_string().contains("CaUsedAsEndEntity"))
}

fn is_about_time(error: &Error) -> bool {
    use CertificateError as Fault;
    let Error::InvalidCertificate(fault) = error else {
        return false;
    };
    matches!(
        fault,
        Fault::Expired
            | Fault::ExpiredContext { .. }
            | Fault::NotValidYet
            | Fault::NotValidYetContext { .. }
    )
}

fn is_about_name(error: &Error) -> bool {
    use CertificateError as Fault;
    let Error::InvalidCertificate(fault) = error else {
        return false;
    };
    matches!(
        fault,
        Fault::NotValidForName | Fault::NotValidForNameContext { .. }
    )
}

#[cfg(test)]
mod tests;
