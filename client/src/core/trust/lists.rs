//! Lists of revocations that the user's or the system's folders hold.
//!
//! webpki goes by the first list with an issuer's name, and finds every
//! certificate faulty when that list is not signed by the issuer. Here each list
//! counts for itself: a newer one beside an older one, and none that only bears
//! an issuer's name.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier as _;
use rustls::client::{ServerCertVerifierBuilder, WebPkiServerVerifier};
use rustls::pki_types::{CertificateRevocationListDer, UnixTime};
use rustls::{CertificateError, Error};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

use super::fault::{Fault, Finding};
use super::judge::Shown;
use crate::core::certificate::date_of;

/// Lists of revocations.
#[derive(Debug, Default)]
pub(super) struct Lists(Vec<List>);

#[derive(Debug)]
struct List {
    /// The issuer's name, DER.
    issuer: Vec<u8>,
    /// The time by which there is another list, in seconds since 1970.
    until: i64,
    /// Knows this list only.
    verifier: Arc<WebPkiServerVerifier>,
}

impl Lists {
    /// Those that can be used; `builder` begins a verifier with the roots.
    pub(super) fn new(
        lists: Vec<CertificateRevocationListDer<'static>>,
        builder: impl Fn() -> ServerCertVerifierBuilder,
    ) -> Self {
        let usable = |der: CertificateRevocationListDer<'static>| {
            let (_, list) = CertificateRevocationList::from_der(&der).ok()?;
            let issuer = list.issuer().as_raw().to_owned();
            let until = list.next_update()?.timestamp();
            // It is one issuer's: certificates of others are not in doubt for
            // being in no list.
            let builder = builder().allow_unknown_revocation_status();
            let verifier = builder.with_crls([der]).build();
            let verifier = verifier
                .map_err(|error| {
                    tracing::warn!(%error, "a list of revocations cannot be used");
                })
                .ok()?;
            Some(List {
                issuer,
                until,
                verifier,
            })
        };
        Self(lists.into_iter().filter_map(usable).collect())
    }

    /// Whether a list says that a certificate was revoked, and whether all
    /// lists of an issuer are out of date. `at` is a time at which the
    /// certificates hold; lists are held against the present.
    pub(super) fn faults(&self, shown: &Shown<'_>, at: UnixTime) -> Vec<Finding> {
        let certificates = std::iter::once(shown.certificate).chain(shown.intermediates);
        let issuers: Vec<_> = certificates
            .filter_map(|der| {
                let (_, certificate) = X509Certificate::from_der(der).ok()?;
                Some(certificate.issuer().as_raw().to_owned())
            })
            .collect();
        // The end of each issuer's list that ends last.
        let mut ends = BTreeMap::<&[u8], i64>::new();
        let mut is_revoked = false;
        for list in self.0.iter().filter(|list| issuers.contains(&list.issuer)) {
            match list.verdict(shown, at) {
                Verdict::OfAnother => continue,
                Verdict::Revoked => is_revoked = true,
                Verdict::Clean => {}
            }
            let end = ends.entry(&list.issuer).or_insert(list.until);
            *end = list.until.max(*end);
        }
        let mut found = Vec::new();
        if is_revoked {
            // An old list is as good for that as a new one.
            found.push(Finding::new(Fault::Revoked, "its issuer has revoked it"));
        }
        let now = i64::try_from(shown.now.as_secs()).unwrap_or(i64::MAX);
        if let Some(end) = ends.into_values().find(|end| *end < now) {
            let words = format!(
                "its issuer's list of revocations is out of date since {}, \
                 so whether it was revoked is not known",
                date_of(end)
            );
            found.push(Finding::new(Fault::OldRevocations, words));
        }
        found
    }
}

enum Verdict {
    /// It is not signed by who issued what is shown.
    OfAnother,
    /// It has the certificate, or one above it.
    Revoked,
    /// It has neither.
    Clean,
}

impl List {
    fn verdict(&self, shown: &Shown<'_>, at: UnixTime) -> Verdict {
        let Shown {
            certificate, host, ..
        } = shown;
        let intermediates = shown.intermediates;
        let checked = self
            .verifier
            .verify_server_cert(certificate, intermediates, host, &[], at);
        match checked {
            Err(Error::InvalidCertificate(CertificateError::Revoked)) => Verdict::Revoked,
            Ok(_) => Verdict::Clean,
            // Names are compared once everything else holds.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Verdict::Clean,
            Err(error) => {
                tracing::debug!(%error, "a list of revocations does not count");
                Verdict::OfAnother
            }
        }
    }
}
