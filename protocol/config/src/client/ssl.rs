//! The client's keys about certificates.

use std::time::Duration;

use crate::key::Status::Supported;
use crate::read::{Reader, section};
use crate::value::HomePath;

section! {
    /// Certificates. Each `allow_…` says whether the user may decide to go on in
    /// spite of a fault; where it is off, the fault ends the connection. None
    /// of them accepts a certificate by itself.
    pub struct Ssl {
        use_cert: bool = "client.ssl.use_cert", "0", Supported,
            "Whether the client shows a certificate of its own.";
        cert_file: Option<HomePath> = "client.ssl.cert_file", "", Supported,
            "The client's certificate, PEM.";
        key_file: Option<HomePath> = "client.ssl.key_file", "", Supported,
            "The key of the client's certificate, PEM.";
        system_path: String = "path.ssl.ca.system.path", "/etc/ssl/certs", Supported,
            "The directories of the system's trusted certificates and lists of revocations, with colons between them; SYSTEM_DEFAULT is the system's own. Empty: none.";
        system_file: String = "path.ssl.ca.system.file", "", Supported,
            "A file of trusted certificates, PEM or DER. SYSTEM_DEFAULT: the system's own. Empty: none.";
        personal: HomePath = "path.ssl.ca.personal", "~/.qvd/certs", Supported,
            "The directory of the user's own trusted certificates and lists of revocations.";
        allow_untrusted: bool = "client.ssl.allow_untrusted", "0", Supported,
            "Whether the user may accept a certificate whose issuer is not trusted.";
        allow_bad_host: bool = "client.ssl.allow_bad_host", "0", Supported,
            "Whether the user may accept a certificate of another host.";
        allow_expired: bool = "client.ssl.allow_expired", "0", Supported,
            "Whether the user may accept a certificate that is no longer valid.";
        allow_not_yet_valid: bool = "client.ssl.allow_not_yet_valid", "0", Supported,
            "Whether the user may accept a certificate that is not valid yet.";
        allow_revoked: bool = "client.ssl.allow_revoked", "0", Supported,
            "Whether the user may accept a certificate that its issuer has revoked.";
        allow_insecure_sign_algo: bool = "client.ssl.allow_insecure_sign_algo", "0", Supported,
            "Whether the user may accept a certificate with a signature that can be forged.";
        allow_weak_key: bool = "client.ssl.allow_weak_key", "0", Supported,
            "Whether the user may accept a certificate with a key that can be broken.";
        allow_unknown_error: bool = "client.ssl.allow_unknown_error", "0", Supported,
            "Whether the user may accept a certificate with any other fault, also where the list of what its issuer has revoked is out of date.";
        allow_ocsp_server_failure: bool = "client.ssl.allow_ocsp_server_failure", "0", Supported,
            "Whether the user may accept a certificate whose issuer does not say if it is revoked.";
        allow_ocsp_error: bool = "client.ssl.allow_ocsp_error", "0", Supported,
            "Whether the user may accept a certificate whose issuer gives a wrong answer.";
        ocsp_mode: String = "client.ssl.ocsp_mode", "", Supported,
            "Whether an issuer's word on revocation that the broker hands on counts (SSL_OCSP_TRY_STAPLE, the default), has to be there (SSL_OCSP_MUST_STAPLE) or is not looked at (SSL_OCSP_NO_STAPLE).";
        error_timeout: Duration = "client.ssl.error_timeout", "5", Supported,
            "Seconds for which the window holds back the button that accepts a faulty certificate.";
    }
}

impl Ssl {
    /// The files of the certificate and key the client shows, if it shows one.
    #[must_use]
    pub fn client_certificate(&self) -> Option<(&HomePath, &HomePath)> {
        if self.use_cert {
            self.cert_file.as_ref().zip(self.key_file.as_ref())
        } else {
            None
        }
    }

    /// A certificate that is asked for and not there must not be left out.
    pub(super) fn check(&self, reader: &mut Reader<'_>) {
        for (file, key) in [
            (&self.cert_file, "client.ssl.cert_file"),
            (&self.key_file, "client.ssl.key_file"),
        ] {
            if self.use_cert && file.is_none() {
                reader.missing("client.ssl.use_cert", key);
            }
        }
    }
}
