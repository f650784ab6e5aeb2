//! The built program and what brokers may say of VMs: none, a thousand, a
//! blocked one, what is no list at all, what never ends.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker that gives this one answer, and the request's head that it got.
fn broker(answer: impl FnOnce(&mut TcpStream) + Send + 'static) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heads, received) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut reader = BufReader::with_capacity(1, stream.try_clone().unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap() == 0 {
                return;
            }
        }
        // Not every test looks at it.
        let _ = heads.send(head);
        answer(&mut stream);
    });
    (port, received)
}

fn list(body: String) -> (u16, mpsc::Receiver<String>) {
    broker(move |stream| {
        let length = body.len();
        // The client may have heard enough before the end.
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
    })
}

fn client(port: u16, arguments: &[&str], conf: &str) -> Output {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".qvd")).unwrap();
    std::fs::write(home.path().join(".qvd/client.conf"), conf).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_qvdclient"))
        .args(["-h", "127.0.0.1", "-u", "ann", "--no-ssl", "-q", "-p"])
        .arg(port.to_string())
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", home.path())
        .env("QVDPASSWORD", "apples")
        .env("MYCITY", "Málaga")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    let output = ended.recv_timeout(PATIENCE);
    output.expect("the client did not end").unwrap()
}

fn rows(output: &Output) -> Vec<String> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn fails(output: &Output, status: i32, words: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{text}");
    assert!(text.contains(words), "{words:?} is not in {text}");
}

fn vm(id: usize, more: &str) -> String {
    format!(
        r#"{{"id":{id},"state":"running","name":"vm-{id}","blocked":0,"is_application":0{more}}}"#
    )
}

#[test]
fn lists_of_none_one_and_a_thousand() {
    for count in [0, 1, 1000] {
        let vms: Vec<_> = (1..=count).map(|id| vm(id, "")).collect();
        let (port, _) = list(format!("[{}]", vms.join(",")));
        let output = client(port, &["-l", "--no-header"], "");
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(rows(&output).len(), count);
    }
}

#[test]
fn a_blocked_vm_and_unknown_fields_are_shown_as_they_are() {
    let more = r#","colour":"red","nested":{"a":[1,2]}"#;
    let blocked = vm(2, more).replace(r#""blocked":0"#, r#""blocked":1"#);
    let (port, _) = list(format!("[{},{blocked}]", vm(1, more)));
    let output = client(port, &["-l", "--no-header"], "");
    assert_eq!(
        rows(&output),
        ["1  vm-1  running  no", "2  vm-2  running  yes"]
    );
}

#[test]
fn what_is_no_list_is_told() {
    for body in ["", "[{", "null", "{}", "[1]", r#"[{"name":"x"}]"#, "<html>"] {
        let (port, _) = list(body.to_owned());
        fails(&client(port, &["-l"], ""), 19, "list_of_vm");
    }
}

#[test]
fn a_list_of_50_megabytes_is_not_read() {
    let (port, _) = list(format!("[{}]", " ".repeat(50 << 20)));
    fails(&client(port, &["-l"], ""), 19, "does not speak");
    // Without a length it is cut off, too.
    let (port, _) = broker(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[");
        let megabyte = vec![b' '; 1 << 20];
        for _ in 0..50 {
            if stream.write_all(&megabyte).is_err() {
                return;
            }
        }
    });
    fails(&client(port, &["-l"], ""), 19, "does not speak");
}

#[test]
fn a_head_that_never_ends_is_not_read() {
    let (port, _) = broker(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX-Long: ");
        let megabyte = vec![b'x'; 1 << 20];
        for _ in 0..50 {
            if stream.write_all(&megabyte).is_err() {
                return;
            }
        }
    });
    fails(&client(port, &["-l"], ""), 19, "does not speak");
}

#[test]
fn an_answer_that_breaks_off_is_a_broken_connection() {
    let (port, _) = broker(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{");
    });
    fails(&client(port, &["-l"], ""), 11, "within an answer");
}

#[test]
fn variables_of_the_environment_are_shared_when_asked_for() {
    let conf = "client.auth_env_share.enable = 1\nclient.auth_env_share.list.0 = MYCITY\n\
                client.auth_env_share.list.1 = NOT_SET\n";
    let (port, heads) = list("[]".into());
    assert_eq!(client(port, &["-l"], conf).status.code(), Some(0));
    let head = heads.recv_timeout(PATIENCE).unwrap();
    // hex of MYCITY, base64 of Málaga
    assert!(
        head.contains("Auth-4d5943495459: TcOhbGFnYQ==\r\n"),
        "{head}"
    );
    assert_eq!(head.matches("Auth-").count(), 1, "{head}");

    let (port, heads) = list("[]".into());
    let off = conf.replace("= 1\n", "= 0\n");
    assert_eq!(client(port, &["-l"], &off).status.code(), Some(0));
    assert!(!heads.recv_timeout(PATIENCE).unwrap().contains("Auth-4d"));
}

#[test]
fn a_token_of_the_configuration_logs_in_where_it_may() {
    let conf = "client.auto_connect = 1\nclient.auto_connect.token = t0ken\n";
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("client.conf");
    std::fs::write(&file, conf).unwrap();
    let (port, heads) = list("[]".into());
    let output = Command::new(env!("CARGO_BIN_EXE_qvdclient"))
        .args(["-h", "127.0.0.1", "--no-ssl", "-q", "-l", "-p"])
        .arg(port.to_string())
        .arg("--config")
        .arg(&file)
        .env_clear()
        .env("HOME", home.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let head = heads.recv_timeout(PATIENCE).unwrap();
    assert!(
        head.contains("Authorization: Bearer dDBrZW4=\r\n"),
        "{head}"
    );
}
