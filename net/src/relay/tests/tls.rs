use std::future::pending;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::*;
use crate::relay::{Place, Side, tls};

type Client = client::TlsStream<TcpStream>;

async fn handshake(
    version: &'static SupportedProtocolVersion,
) -> (Client, server::TlsStream<TcpStream>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let server = ServerConfig::builder_with_protocol_versions(&[version])
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (near, far) = tcp_pair().await;
    let name = ServerName::try_from("localhost").unwrap();
    let (client, server) = tokio::join!(
        TlsConnector::from(Arc::new(client)).connect(name, near),
        TlsAcceptor::from(Arc::new(server)).accept(far)
    );
    (client.unwrap(), server.unwrap())
}

async fn joined(version: &'static SupportedProtocolVersion) -> (Client, TcpStream, Running) {
    let (client, server) = handshake(version).await;
    let (right, right_inner) = tcp_pair().await;
    let running = Running::start(|meter| async move {
        let (tcp, connection) = server.into_inner();
        tls(
            connection,
            Side::new(tcp),
            Side::new(right_inner),
            meter,
            pending(),
        )
        .await
    });
    (client, right, running)
}

#[tokio::test]
async fn large_transfers_both_ways_at_once_arrive_unchanged() {
    const TOTAL: usize = 24 * 1024 * 1024;
    for version in rustls::ALL_VERSIONS {
        let (left, right, running) = joined(version).await;
        let (left_read, left_write) = tokio::io::split(left);
        let (right_read, right_write) = right.into_split();
        let forth = tokio::spawn(write_sequence(left_write, 1, TOTAL));
        let back = tokio::spawn(write_sequence(right_write, 2, TOTAL + 1));
        let arrive = tokio::spawn(expect_sequence(right_read, 1, TOTAL));
        expect_sequence(left_read, 2, TOTAL + 1).await;
        within(async { tokio::try_join!(forth, back, arrive) })
            .await
            .unwrap();
        let (ended, up, down) = running.ended().await;
        assert!(matches!(ended, Ended::Closed), "{ended}");
        assert_eq!((up, down), (TOTAL as u64, TOTAL as u64 + 1));
    }
}

#[tokio::test]
async fn the_client_may_end_first_and_still_be_answered() {
    let (mut left, mut right, running) = joined(&rustls::version::TLS13).await;
    left.write_all(b"last words").await.unwrap();
    left.shutdown().await.unwrap();
    let mut heard = String::new();
    within(right.read_to_string(&mut heard)).await.unwrap();
    assert_eq!(heard, "last words");
    right.write_all(b"still here").await.unwrap();
    drop(right);
    let mut answer = String::new();
    within(left.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "still here");
    assert!(matches!(running.ended().await.0, Ended::Closed));
}

#[tokio::test]
async fn the_vm_may_end_first_and_the_client_is_told_by_close_notify() {
    let (mut left, mut right, running) = joined(&rustls::version::TLS13).await;
    right.write_all(b"last words").await.unwrap();
    right.shutdown().await.unwrap();
    let mut heard = String::new();
    // An end without close_notify would be an error here.
    within(left.read_to_string(&mut heard)).await.unwrap();
    assert_eq!(heard, "last words");
    left.write_all(b"still here").await.unwrap();
    left.shutdown().await.unwrap();
    let mut answer = String::new();
    within(right.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "still here");
    assert!(matches!(running.ended().await.0, Ended::Closed));
}

#[tokio::test]
async fn a_connection_cut_without_close_notify_ends_the_direction() {
    let (left, mut right, running) = joined(&rustls::version::TLS13).await;
    let (mut tcp, _) = left.into_inner();
    tcp.shutdown().await.unwrap();
    assert_eq!(within(right.read(&mut [0])).await.unwrap(), 0);
    drop(right);
    assert!(matches!(running.ended().await.0, Ended::Closed));
}

#[tokio::test]
async fn what_was_sent_before_the_relay_began_is_not_lost() {
    let (mut client, mut server) = handshake(&rustls::version::TLS13).await;
    // Three records in the socket; the HTTP side reads part of the first.
    for part in ["head|early", " in the connection", " in the socket"] {
        client.write_all(part.as_bytes()).await.unwrap();
        client.flush().await.unwrap();
    }
    let mut head = [0; 5];
    within(server.read_exact(&mut head)).await.unwrap();
    assert_eq!(&head, b"head|");
    let mut early = [0; 2];
    within(server.read_exact(&mut early)).await.unwrap();
    let (mut right, right_inner) = tcp_pair().await;
    let running = Running::start(|meter| async move {
        let (tcp, connection) = server.into_inner();
        let left = Side::new(tcp).with_early(early);
        let right = Side::new(right_inner).with_early(*b"greeting");
        tls(connection, left, right, meter, pending()).await
    });
    let mut greeting = [0; 8];
    within(client.read_exact(&mut greeting)).await.unwrap();
    assert_eq!(&greeting, b"greeting");
    client.shutdown().await.unwrap();
    let mut heard = String::new();
    within(right.read_to_string(&mut heard)).await.unwrap();
    assert_eq!(heard, "early in the connection in the socket");
    drop(right);
    assert!(matches!(running.ended().await.0, Ended::Closed));
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_vm() {
    let (left, mut right, running) = joined(&rustls::version::TLS13).await;
    let taken = within(write_until_stuck(&mut right, 5)).await;
    assert!(taken < HELD, "{taken} bytes are held somewhere");
    right.shutdown().await.unwrap();
    let (read, mut write) = tokio::io::split(left);
    within(expect_sequence(read, 5, taken)).await;
    write.shutdown().await.unwrap();
    assert!(matches!(running.ended().await.0, Ended::Closed));
}

#[tokio::test]
async fn a_vm_that_does_not_read_stops_the_client() {
    let (mut left, right, running) = joined(&rustls::version::TLS13).await;
    let taken = within(write_until_stuck(&mut left, 6)).await;
    assert!(taken < HELD, "{taken} bytes are held somewhere");
    let shutdown = tokio::spawn(async move {
        left.shutdown().await.unwrap();
        left
    });
    let (right_read, right_write) = right.into_split();
    within(expect_sequence(right_read, 6, taken)).await;
    let _left = within(shutdown).await.unwrap();
    drop(right_write);
    assert!(matches!(running.ended().await.0, Ended::Closed));
}

#[tokio::test]
async fn a_key_update_of_the_client_does_not_disturb() {
    let (mut left, mut right, running) = joined(&rustls::version::TLS13).await;
    left.get_mut().1.refresh_traffic_keys().unwrap();
    left.write_all(b"new keys").await.unwrap();
    left.flush().await.unwrap();
    let mut heard = [0; 8];
    within(right.read_exact(&mut heard)).await.unwrap();
    right.write_all(&heard).await.unwrap();
    let mut back = [0; 8];
    within(left.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"new keys");
    drop((left, right));
    running.ended().await;
}

#[tokio::test]
async fn bytes_that_are_no_record_end_both_and_name_the_client() {
    let (left, mut right, running) = joined(&rustls::version::TLS13).await;
    let (mut tcp, _) = left.into_inner();
    tcp.write_all(&[0x55; 64]).await.unwrap();
    match running.ended().await.0 {
        Ended::Failed { side, source } => {
            assert_eq!(side, Place::Left);
            assert_eq!(source.kind(), std::io::ErrorKind::InvalidData);
        }
        other => panic!("ended otherwise: {other}"),
    }
    assert_eq!(within(right.read(&mut [0])).await.unwrap(), 0);
}

#[tokio::test]
async fn cancelling_tells_the_client() {
    let (mut left, server) = handshake(&rustls::version::TLS13).await;
    let (mut right, right_inner) = tcp_pair().await;
    let (cancel, cancelled) = oneshot::channel::<()>();
    let running = Running::start(|meter| async move {
        let (tcp, connection) = server.into_inner();
        let cancelled = async { drop(cancelled.await) };
        tls(
            connection,
            Side::new(tcp),
            Side::new(right_inner),
            meter,
            cancelled,
        )
        .await
    });
    left.write_all(b"x").await.unwrap();
    left.flush().await.unwrap();
    assert_eq!(within(right.read_u8()).await.unwrap(), b'x');
    cancel.send(()).unwrap();
    assert!(matches!(running.ended().await.0, Ended::Cancelled));
    assert_eq!(within(left.read(&mut [0])).await.unwrap(), 0);
    assert_eq!(within(right.read(&mut [0])).await.unwrap(), 0);
}

#[tokio::test]
async fn a_relay_that_is_the_client_serves_as_well() {
    let (client, mut server) = handshake(&rustls::version::TLS13).await;
    let (mut right, right_inner) = tcp_pair().await;
    let running = Running::start(|meter| async move {
        let (tcp, connection) = client.into_inner();
        tls(
            connection,
            Side::new(tcp),
            Side::new(right_inner),
            meter,
            pending(),
        )
        .await
    });
    right.write_all(b"up").await.unwrap();
    let mut heard = [0; 2];
    within(server.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"up");
    server.shutdown().await.unwrap();
    assert_eq!(within(right.read(&mut [0])).await.unwrap(), 0);
    drop((server, right));
    running.ended().await;
}
