//! What can be wrong with a certificate.

use std::fmt;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// No trusted root stands behind it.
    UnknownIssuer,
    /// It vouches for itself.
    SelfSigned,
    /// It is an X.509 version 1 certificate, which cannot say what it is for.
    Version1,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It is another host's.
    WrongHost,
    /// Its issuer has revoked it.
    Revoked,
    /// Its key can be guessed.
    WeakKey,
    /// It is signed in a way that can be forged.
    InsecureSignature,
    /// The list of what its issuer has revoked is out of date.
    OldRevocations,
    /// The server of its issuer that tells of revocations has failed.
    OcspFailure,
    /// What its issuer's server tells of revocations cannot be relied on.
    OcspError,
    /// Anything else.
    Other,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::UnknownIssuer,
        Self::SelfSigned,
        Self::Version1,
        Self::Expired,
        Self::NotYetValid,
        Self::WrongHost,
        Self::Revoked,
        Self::WeakKey,
        Self::InsecureSignature,
        Self::OldRevocations,
        Self::OcspFailure,
        Self::OcspError,
        Self::Other,
    ];

    /// Its word in files. It does not change.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownIssuer => "unknown-issuer",
            Self::SelfSigned => "self-signed",
            Self::Version1 => "version-1",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::WrongHost => "wrong-host",
            Self::Revoked => "revoked",
            Self::WeakKey => "weak-key",
            Self::InsecureSignature => "insecure-signature",
            Self::OldRevocations => "old-revocations",
            Self::OcspFailure => "ocsp-failure",
            Self::OcspError => "ocsp-error",
            Self::Other => "other",
        }
    }

    /// The fault with this word.
    pub(super) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.as_str() == word)
    }

    /// The configuration's key that says whether a user may pass over it.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::UnknownIssuer | Self::SelfSigned | Self::Version1 => "client.ssl.allow_untrusted",
            Self::Expired => "client.ssl.allow_expired",
            Self::NotYetValid => "client.ssl.allow_not_yet_valid",
            Self::WrongHost => "client.ssl.allow_bad_host",
            Self::Revoked => "client.ssl.allow_revoked",
            Self::WeakKey => "client.ssl.allow_weak_key",
            Self::InsecureSignature => "client.ssl.allow_insecure_sign_algo",
            Self::OcspFailure => "client.ssl.allow_ocsp_server_failure",
            Self::OcspError => "client.ssl.allow_ocsp_error",
            // The reference's client knows no key of its own for it.
            Self::OldRevocations | Self::Other => "client.ssl.allow_unknown_error",
        }
    }

    /// The numbers of the reference's client, OpenSSL's `X509_V_ERR_…` below
    /// 1000 and its own above. The first is the one written.
    pub(super) fn numbers(self) -> &'static [u64] {
        match self {
            Self::UnknownIssuer => &[20, 2, 19, 21],
            Self::SelfSigned => &[18],
            // OpenSSL finds no fault with version 1 as such.
            Self::Version1 => &[],
            Self::Expired => &[10],
            Self::NotYetValid => &[9],
            Self::WrongHost => &[1001, 62],
            Self::Revoked => &[23, 2001],
            Self::InsecureSignature => &[1002, 68],
            Self::WeakKey => &[1003, 66, 67],
            Self::OldRevocations => &[12],
            Self::OcspFailure => &[2101, 2100],
            Self::OcspError => &[2200, 2102, 2103, 2104, 2105],
            Self::Other => &[1],
        }
    }
}

/// A fault of one certificate, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its kind.
    pub fault: Fault,
    /// A sentence about the certificate without its subject: `it expired on
    /// 2026-01-01`.
    pub words: String,
}

impl Finding {
    pub(crate) fn new(fault: Fault, words: impl Into<String>) -> Self {
        Self {
            fault,
            words: words.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// All of them in one sentence.
pub(crate) fn sentence(findings: &[Finding]) -> String {
    let words: Vec<_> = findings.iter().map(ToString::to_string).collect();
    words.join(", and ")
}
