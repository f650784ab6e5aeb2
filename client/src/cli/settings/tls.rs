//! Whom the client trusts, from command line and configuration.

use clap::ValueEnum as _;
use qvd_config::ClientConfig;

use super::{in_home, usage};
use crate::cli::arguments::{Arguments, SslErrors};
use crate::cli::environment::Environment;
use crate::core::{Certificates, ClientCertificate, Failure, TlsPolicy, Trust};

pub(super) fn policy(
    arguments: &Arguments,
    config: &ClientConfig,
    environment: &Environment,
) -> Result<Option<TlsPolicy>, Failure> {
    if !config.login.use_ssl {
        return Ok(None);
    }
    let trust = match &arguments.pin {
        _ if arguments.insecure => Trust::DangerouslyAnything,
        Some(pin) if pin.chars().filter(char::is_ascii_hexdigit).count() == 64 => {
            Trust::Pinned(pin.clone())
        }
        Some(_) => return Err(usage("--pin needs a SHA-256 fingerprint, 64 hex digits")),
        None => Trust::Strict,
    };
    let mut files = arguments.ca.clone();
    files.extend(config.ssl.system_file.clone());
    let folders = in_home(Some(&config.ssl.personal), environment)
        .into_iter()
        .collect();
    let client = match (&arguments.client_cert, &arguments.client_key) {
        (Some(certificate), Some(key)) => Some(ClientCertificate {
            certificate: certificate.clone(),
            key: key.clone(),
        }),
        _ if config.ssl.use_cert => {
            let certificate = in_home(config.ssl.cert_file.as_ref(), environment);
            let key = in_home(config.ssl.key_file.as_ref(), environment);
            certificate
                .zip(key)
                .map(|(certificate, key)| ClientCertificate { certificate, key })
        }
        _ => None,
    };
    let roots = Certificates {
        system: true,
        files,
        folders,
    };
    Ok(Some(TlsPolicy {
        roots,
        trust,
        client,
    }))
}

pub(super) fn ssl_errors(
    arguments: &Arguments,
    environment: &Environment,
) -> Result<Option<SslErrors>, Failure> {
    match (arguments.ssl_errors, &environment.ssl_errors) {
        (Some(what), _) => Ok(Some(what)),
        (None, Some(text)) => SslErrors::from_str(text, true).map(Some).map_err(|_| {
            usage(format!(
                "QVDSSLERRORS is {text}, and not ask, continue or abort"
            ))
        }),
        (None, None) => Ok(None),
    }
}
