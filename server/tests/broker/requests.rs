use tokio::io::AsyncWriteExt;

use super::*;
use crate::peer::Peer;
use qvd_rpc::SessionState;

#[tokio::test]
async fn ping_needs_no_login_and_everything_else_does() {
    let broker = Broker::start("", "");
    let answer = broker.ask("/qvd/ping", "").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("Content-Type: text/plain\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nI am alive!\r\n"), "{answer}");
    for target in [
        "/qvd/list_of_vm?",
        "/qvd/connect_to_vm",
        "/qvd/create_auth_token",
    ] {
        let answer = broker.ask(target, "").await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(
            answer.contains("\r\nWWW-Authenticate: Basic realm=\"QVD\"\r\n"),
            "{answer}"
        );
    }
    let answer = broker.ask("/nosuch", "").await;
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
}

#[tokio::test]
async fn wrong_credentials_are_all_answered_alike() {
    let broker = Broker::start("", "");
    // alice:x, nobody:x, the bearer tok123, no base64, another scheme.
    for value in [
        "Basic YWxpY2U6eA==",
        "Basic bm9ib2R5Ong=",
        "Bearer dG9rMTIz",
    ] {
        let answer = broker
            .ask("/qvd/list_of_vm?", &format!("Authorization: {value}\r\n"))
            .await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(answer.ends_with("login or password is wrong, or the token has expired\n"));
    }
    for value in ["Basic !", "Digest abc"] {
        let answer = broker
            .ask("/qvd/list_of_vm?", &format!("Authorization: {value}\r\n"))
            .await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }
    assert_eq!(
        broker
            .inner
            .counters()
            .to_string()
            .matches("refused_logins_total=5")
            .count(),
        1
    );
}

#[tokio::test]
async fn lists_are_in_the_references_form_and_each_users_own() {
    let peer = Peer::start(true, SessionState::Listening).await;
    let vms = [
        vm(1, peer.rpc_port, 1, ""),
        vm(2, 1, 1, "blocked = true"),
        vm(3, peer.rpc_port, 1, "is_application = true"),
    ];
    let broker = Broker::start(&vms.concat(), "");
    let answer = broker.ask("/qvd/list_of_vm?", ALICE).await;
    assert!(
        answer.contains("Content-Type: application/json\r\n"),
        "{answer}"
    );
    let list = answer.split("\r\n\r\n").nth(1).unwrap();
    assert_eq!(
        list,
        r#"[{"id":1,"state":"running","name":"vm1","blocked":0,"is_application":0},{"id":2,"state":"stopped","name":"vm2","blocked":1,"is_application":0}]"#
    );
    let answer = broker.ask("/qvd/list_of_applications", ALICE).await;
    assert!(answer.contains(r#"[{"id":3,"#), "{answer}");
    let answer = broker.ask("/qvd/list_of_vm?", BOB).await;
    assert!(answer.ends_with("\r\n\r\n[]"), "{answer}");
}

#[tokio::test]
async fn a_token_stands_for_its_login() {
    let broker = Broker::start(&vm(1, 1, 1, ""), "");
    let answer = broker.ask("/qvd/create_auth_token", ALICE).await;
    let token = answer
        .split("\"auth_token\":\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert!(answer.contains("\"auth_params_id\":"), "{answer}");
    let encoded = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(token)
    };
    let bearer = format!("Authorization: Bearer {encoded}\r\n");
    let answer = broker.ask("/qvd/list_of_vm?", &bearer).await;
    assert!(answer.contains("\"name\":\"vm1\""), "{answer}");
    let answer = broker
        .ask("/qvd/authenticate_user?store_auth=1", &bearer)
        .await;
    assert!(answer.contains("{\"auth_params_id\":"), "{answer}");
    let answer = broker.ask("/qvd/authenticate_user", &bearer).await;
    assert!(answer.ends_with("\r\n\r\n{}"), "{answer}");
}

#[tokio::test]
async fn requests_that_cannot_be_served_are_refused_with_the_reason() {
    let vms = [vm(1, 1, 1, ""), vm(2, 1, 1, "blocked = true")].concat();
    let broker = Broker::start(&vms, "");
    let alice = format!("{ALICE}{UPGRADE}");
    let bob = format!("{BOB}{UPGRADE}");
    for (target, headers, status, reason) in [
        ("/qvd/connect_to_vm?id=9", &alice, 404, "there is no VM 9"),
        ("/qvd/connect_to_vm?id=1", &bob, 403, "VM 1 is not yours"),
        ("/qvd/stop_vm?id=1", &bob, 403, "VM 1 is not yours"),
        ("/qvd/connect_to_vm?id=2", &alice, 403, "VM 2 is blocked"),
        ("/qvd/connect_to_vm", &alice, 422, "parameter id is missing"),
        (
            "/qvd/connect_to_vm?id=1",
            &ALICE.to_owned(),
            426,
            "needs an upgrade to QVD/1.0",
        ),
        (
            "/qvd/connect_to_vm?id=1&evil=1",
            &alice,
            403,
            "parameter evil is not allowed",
        ),
        (
            "/qvd/connect_to_vm?id=1",
            &alice,
            503,
            "VM 1: its agent cannot be reached: ",
        ),
        (
            "/qvd/stop_vm?id=1",
            &ALICE.to_owned(),
            503,
            "VM 1: its agent cannot be reached: ",
        ),
    ] {
        let answer = broker.ask(target, headers).await;
        let last = answer.rsplit("HTTP/1.1 ").next().unwrap();
        assert!(last.starts_with(&status.to_string()), "{target}: {answer}");
        assert!(last.contains(reason), "{target}: {answer}");
    }
}

#[tokio::test]
async fn pipelined_and_split_requests_are_answered_in_order() {
    let broker = Broker::start("", "");
    let mut stream = broker.connect().await;
    let requests = format!(
        "GET /qvd/ping HTTP/1.1\r\n\r\nGET /qvd/list_of_vm? HTTP/1.1\r\n{BOB}\r\n\
         GET /nosuch HTTP/1.1\nConnection: close\n\n"
    );
    for byte in requests.as_bytes() {
        stream.write_all(&[*byte]).await.unwrap();
    }
    let answer = read_to_end(stream).await;
    let codes: Vec<_> = answer.split("HTTP/1.1 ").skip(1).map(|a| &a[..3]).collect();
    assert_eq!(codes, ["200", "200", "404"], "{answer}");
}

#[tokio::test]
async fn malformed_and_oversized_heads_are_refused_and_closed() {
    let broker = Broker::start("", "");
    let long = format!(
        "GET /qvd/ping HTTP/1.1\r\nX: {}\r\n\r\n",
        "x".repeat(70_000)
    );
    for (bytes, status) in [
        ("GET / HTTP/1.0\r\n\r\n", "505"),
        ("nonsense\r\n\r\n", "400"),
        (&long, "431"),
    ] {
        let mut stream = broker.connect().await;
        // It may close before it has read all of it.
        let _ = stream.write_all(bytes.as_bytes()).await;
        let answer = read_until(&mut stream, "\r\n\r\n").await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn the_inventory_is_read_again_and_bad_content_is_not() {
    let broker = Broker::start("", "");
    let file = broker.path("inventory.toml");
    let replace = |text: String| {
        let new = broker.path("inventory.new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &file).unwrap();
    };
    let listed = async |name: &str| {
        within(async {
            while !broker.ask("/qvd/list_of_vm?", ALICE).await.contains(name) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    };
    replace(with_users(&vm(7, 1, 1, "")));
    listed("vm7").await;
    replace("[[vm]]\nid = 1\n".into());
    replace(with_users(&[vm(7, 1, 1, ""), vm(8, 1, 1, "")].concat()));
    listed("vm8").await;
    replace("nonsense".into());
    tokio::time::sleep(Duration::from_millis(200)).await;
    listed("vm8").await;
}

#[tokio::test]
async fn counters_are_served_where_configured() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let broker = Broker::start("", &format!("l7r.metrics.port = {free}"));
    broker.ask("/qvd/ping", "").await;
    let mut stream = TcpStream::connect(("127.0.0.1", free)).await.unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let answer = read_to_end(stream).await;
    assert!(answer.contains("\nqvd_connections_total 1\n"), "{answer}");
}
