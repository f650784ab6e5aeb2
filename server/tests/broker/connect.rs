use qvd_rpc::SessionState;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::peer::Peer;

/// A peer and the listener of its session, and a broker that knows them as VM 1.
async fn ready(knows_wait: bool, starts_to: SessionState) -> (Peer, TcpListener, Broker) {
    let peer = Peer::start(knows_wait, starts_to).await;
    let x = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let x_port = x.local_addr().unwrap().port();
    let broker = Broker::start(&vm(1, peer.rpc_port, x_port, ""), "");
    (peer, x, broker)
}

const CONNECT: &str = "GET /qvd/connect_to_vm?id=1&qvd.client.link=lan HTTP/1.1\r\n\
     Authorization: Basic YWxpY2U6czNjcmV0Ong=\r\nConnection: Upgrade\r\nUpgrade: QVD/1.0\r\n\r\n";

async fn joined(broker: &Broker, x: &TcpListener) -> (TcpStream, TcpStream) {
    let mut client = broker.connect().await;
    client.write_all(CONNECT.as_bytes()).await.unwrap();
    let answer = read_until(&mut client, "HTTP/1.1 101 Switching Protocols\r\n").await;
    assert!(answer.contains("Connection established"), "{answer}");
    read_until(&mut client, "\r\n\r\n").await;
    let (session, _) = within(x.accept()).await.unwrap();
    (client, session)
}

#[tokio::test]
async fn the_references_client_gets_what_the_references_broker_answers() {
    let (peer, x, broker) = ready(true, SessionState::Listening).await;
    let mut client = broker.connect().await;
    client.write_all(REFERENCE_DIALOGUE).await.unwrap();
    // The proxy's first words, sent ahead.
    client.write_all(b"NXPROXY-3.5.0-3.5.99 ").await.unwrap();
    let list = read_until(&mut client, "}]").await;
    assert!(list.starts_with("HTTP/1.1 200 OK\r\n"), "{list}");
    let (expected, _) = REFERENCE_CONNECT.split_once("X-QVD-Slave-Key: ").unwrap();
    let answer = read_until(&mut client, "X-QVD-Slave-Key: ").await;
    assert_eq!(answer, format!("{expected}X-QVD-Slave-Key: "));
    let key = read_until(&mut client, "\r\n\r\n").await;
    assert_eq!(key.trim_end().len(), 64);

    let (mut session, _) = within(x.accept()).await.unwrap();
    assert_eq!(
        read_until(&mut session, "3.5.99 ").await,
        "NXPROXY-3.5.0-3.5.99 "
    );
    session.write_all(b"answer").await.unwrap();
    assert_eq!(read_until(&mut client, "answer").await, "answer");
    client.shutdown().await.unwrap();
    assert_eq!(within(session.read(&mut [0])).await.unwrap(), 0);
    session.write_all(b"last").await.unwrap();
    drop(session);
    assert_eq!(read_to_end(client).await, "last");

    let starts = peer.starts();
    let [parameters] = starts.as_slice() else {
        panic!("{starts:?}")
    };
    assert_eq!(parameters.value("qvd.vm.user.name"), Some("alice"));
    assert_eq!(parameters.value("qvd.slave.key"), Some(key.trim_end()));
    assert_eq!(parameters.value("qvd.client.keyboard"), Some("pc105/es"));
    assert_eq!(parameters.value("id"), None);
}

#[tokio::test]
async fn an_agent_that_does_not_know_x_wait_is_polled() {
    let (peer, x, broker) = ready(false, SessionState::Starting).await;
    let state = peer.state.clone();
    tokio::spawn(async move {
        let mut seen = state.subscribe();
        seen.wait_for(|state| *state == SessionState::Starting)
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(250)).await;
        state.send_replace(SessionState::Listening);
    });
    let (mut client, mut session) = joined(&broker, &x).await;
    session.write_all(b"hello").await.unwrap();
    assert_eq!(read_until(&mut client, "hello").await, "hello");
}

#[tokio::test]
async fn a_session_that_is_in_the_way_is_waited_for_and_tried_again() {
    let (peer, x, broker) = ready(true, SessionState::Listening).await;
    peer.state.send_replace(SessionState::Connected);
    peer.failures
        .lock()
        .unwrap()
        .push("session is connected, retry later");
    let state = peer.state.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        state.send_replace(SessionState::Suspended);
    });
    joined(&broker, &x).await;
    assert_eq!(peer.starts().len(), 2);
}

#[tokio::test]
async fn a_session_that_cannot_start_is_told_in_the_agents_words() {
    let (peer, _x, broker) = ready(true, SessionState::Listening).await;
    peer.failures
        .lock()
        .unwrap()
        .push("pre-connect hook failed");
    let target = "/qvd/connect_to_vm?id=1";
    let answer = broker.ask(target, &format!("{ALICE}{UPGRADE}")).await;
    let last = answer.rsplit("HTTP/1.1 ").next().unwrap();
    assert!(last.starts_with("500 "), "{answer}");
    assert!(last.ends_with("VM 1: its session cannot be started: pre-connect hook failed\n"));
    assert!(
        broker
            .inner
            .counters()
            .to_string()
            .contains("failed_sessions_total=1")
    );
}

#[tokio::test]
async fn a_session_that_dies_or_hangs_at_start_is_told() {
    for (leads_to, status, reason) in [
        (SessionState::Stopped, "500 ", "its session ended at once"),
        (
            SessionState::Starting,
            "408 ",
            "its session is still starting",
        ),
    ] {
        let peer = Peer::start(true, leads_to).await;
        let broker = Broker::start(
            &vm(1, peer.rpc_port, 1, ""),
            "internal.l7r.timeout.listening = 1",
        );
        let answer = broker
            .ask("/qvd/connect_to_vm?id=1", &format!("{ALICE}{UPGRADE}"))
            .await;
        let last = answer.rsplit("HTTP/1.1 ").next().unwrap();
        assert!(
            last.starts_with(status) && last.contains(reason),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_later_connection_takes_the_vm_over() {
    let (_peer, x, broker) = ready(true, SessionState::Listening).await;
    let (mut first, mut first_session) = joined(&broker, &x).await;
    let (mut second, mut second_session) = joined(&broker, &x).await;
    assert_eq!(within(first.read(&mut [0])).await.unwrap(), 0);
    assert_eq!(within(first_session.read(&mut [0])).await.unwrap(), 0);
    second_session.write_all(b"yours").await.unwrap();
    assert_eq!(read_until(&mut second, "yours").await, "yours");
}

#[tokio::test]
async fn one_that_is_still_waiting_is_overtaken_too() {
    let (peer, x, broker) = ready(true, SessionState::Starting).await;
    let mut first = broker.connect().await;
    first.write_all(CONNECT.as_bytes()).await.unwrap();
    read_until(
        &mut first,
        "Waiting for X session to come up on VM 1\r\n\r\n",
    )
    .await;
    let state = peer.state.clone();
    let second = joined(&broker, &x);
    let release = async {
        let answer = read_until(&mut first, "later connection\n").await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        while peer.starts().len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        state.send_replace(SessionState::Listening);
    };
    within(async { tokio::join!(second, release) }).await;
}

#[tokio::test]
async fn a_client_that_goes_away_is_not_waited_for() {
    let (peer, _x, broker) = ready(true, SessionState::Provisioning).await;
    let mut client = broker.connect().await;
    client.write_all(CONNECT.as_bytes()).await.unwrap();
    read_until(
        &mut client,
        "Waiting for X session to come up on VM 1\r\n\r\n",
    )
    .await;
    drop(client);
    within(async {
        while !broker
            .inner
            .counters()
            .to_string()
            .contains("failed_sessions_total=1")
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(peer.starts().len(), 1);
}

#[tokio::test]
async fn stopping_says_so_when_it_is_done() {
    let (peer, _x, broker) = ready(true, SessionState::Listening).await;
    peer.state.send_replace(SessionState::Connected);
    let answer = broker.ask("/qvd/stop_vm?id=1", ALICE).await;
    assert!(
        answer.starts_with("HTTP/1.1 102 Processing\r\nX-QVD-VM-Info: "),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\nMachine stopped\r\n"), "{answer}");
}

#[tokio::test]
async fn the_end_of_the_server_ends_its_sessions() {
    let (_peer, x, broker) = ready(true, SessionState::Listening).await;
    let (mut client, mut session) = joined(&broker, &x).await;
    broker.inner.end_sessions();
    assert_eq!(within(client.read(&mut [0])).await.unwrap(), 0);
    assert_eq!(within(session.read(&mut [0])).await.unwrap(), 0);
    let mut late = broker.connect().await;
    late.write_all(CONNECT.as_bytes()).await.unwrap();
    let answer = read_until(&mut late, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}
