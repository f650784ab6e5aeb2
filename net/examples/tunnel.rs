//! A bare relay, to measure it by itself: `tunnel LISTEN TARGET [CERT KEY]`.
//!
//! Accepts on LISTEN and joins each connection with one to TARGET; with a
//! certificate and key (PEM files) it expects TLS.

use std::error::Error;
use std::future::pending;
use std::sync::Arc;

use qvd_net::relay::{Meter, Side, plain, tls};
use qvd_net::socket;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (listen, target, files) = match arguments.as_slice() {
        [listen, target] => (listen, target, None),
        [listen, target, cert, key] => (listen, target, Some((cert, key))),
        _ => return Err("usage: tunnel LISTEN TARGET [CERT KEY]".into()),
    };
    let acceptor = match files {
        None => None,
        Some((cert, key)) => {
            let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<Vec<_>, _>>()?;
            let config = rustls::ServerConfig::builder()
                .with_no_client_auth()
                .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
            Some(TlsAcceptor::from(Arc::new(config)))
        }
    };
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (client, _) = listener.accept().await?;
        let (acceptor, target) = (acceptor.clone(), target.clone());
        tokio::spawn(async move {
            if let Err(error) = join(client, acceptor, &target).await {
                tracing::warn!(%error);
            }
        });
    }
}

async fn join(
    client: TcpStream,
    acceptor: Option<TlsAcceptor>,
    target: &str,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let far = TcpStream::connect(target).await?;
    socket::tune(&client)?;
    socket::tune(&far)?;
    match acceptor {
        None => {
            tokio::spawn(async move {
                plain(
                    Side::new(client),
                    Side::new(far),
                    &Meter::default(),
                    pending(),
                )
                .await
            });
        }
        Some(acceptor) => {
            let (client, connection) = acceptor.accept(client).await?.into_inner();
            tokio::spawn(async move {
                tls(
                    connection,
                    Side::new(client),
                    Side::new(far),
                    &Meter::default(),
                    pending(),
                )
                .await
            });
        }
    }
    Ok(())
}
