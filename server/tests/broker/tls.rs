use std::sync::Arc;

use qvd_rpc::SessionState;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::peer::Peer;

/// Connects, trusting the certificate that is in the broker's file now.
async fn connect(broker: &Broker) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(broker.path("cert.pem")).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, broker.connect().await);
    within(stream).await.unwrap()
}

#[tokio::test]
async fn a_session_over_tls_with_a_certificate_made_for_it() {
    let peer = Peer::start(true, SessionState::Listening).await;
    let x = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let vms = vm(1, peer.rpc_port, x.local_addr().unwrap().port(), "");
    let broker = Broker::start(&vms, "l7r.use_ssl = 1");
    let mut client = connect(&broker).await;
    client.write_all(REFERENCE_DIALOGUE).await.unwrap();
    client.write_all(b"early").await.unwrap();
    client.flush().await.unwrap();
    read_until(&mut client, "X-QVD-Slave-Key: ").await;
    read_until(&mut client, "\r\n\r\n").await;
    let (mut session, _) = within(x.accept()).await.unwrap();
    assert_eq!(read_until(&mut session, "early").await, "early");
    session.write_all(b"late").await.unwrap();
    drop(session);
    // Ends with a close_notify, or this would be an error.
    assert_eq!(read_to_end(client).await, "late");
}

#[tokio::test]
async fn a_replaced_certificate_serves_the_next_connection() {
    let broker = Broker::start("", "l7r.use_ssl = 1");
    connect(&broker).await;
    let (cert, key) = (broker.path("new-cert.pem"), broker.path("new-key.pem"));
    qvd_server::tls::make_self_signed(&cert, &key).unwrap();
    let new = CertificateDer::from_pem_file(&cert).unwrap();
    std::fs::rename(&key, broker.path("key.pem")).unwrap();
    std::fs::rename(&cert, broker.path("cert.pem")).unwrap();
    within(async {
        loop {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let mut roots = RootCertStore::empty();
            roots.add(new.clone()).unwrap();
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            let name = ServerName::try_from("localhost").unwrap();
            let stream = broker.connect().await;
            if TlsConnector::from(Arc::new(config))
                .connect(name, stream)
                .await
                .is_ok()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
