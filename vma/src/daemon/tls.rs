//! The certificates of the RPC port.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs as provider;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::settings::refuse_readable;

/// TLS with this certificate and key, for callers with a certificate from
/// whom `client_ca` holds, if it is given.
///
/// # Errors
/// One sentence that names the file.
pub fn server_config(
    cert: &Path,
    key: &Path,
    client_ca: Option<&Path>,
) -> Result<Arc<ServerConfig>, String> {
    let fault = |file: &Path, why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
    refuse_readable(key)?;
    let chain = certificates(cert)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| fault(key, &e))?;
    let provider = Arc::new(provider::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| fault(cert, &e))?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|e| fault(file, &e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                .build()
                .map_err(|e| fault(file, &e))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder
        .with_single_cert(chain, private)
        .map_err(|e| fault(key, &e))?;
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(all) if all.is_empty() => Err(format!("{}: no certificate in it", file.display())),
        Ok(all) => Ok(all),
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}
