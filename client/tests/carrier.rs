//! The built program against agents that offer the carrier and then say what
//! they should not: it ends, with a sentence and a status.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

mod xvfb;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use self::xvfb::Xvfb;

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

const LIST: &str = r#"[{"id":1,"state":"running","name":"office","blocked":0,"is_application":0}]"#;

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nX-QVD-Slave-Key: K3Yk3yK3Yk3y\r\n\
                      X-QVD-Carrier: 1\r\n\r\n";

/// What every hello begins with (PROTOCOL.md of the carrier, §2).
const MAGIC: [u8; 8] = [0x89, b'Q', b'V', b'D', 0x0d, 0x0a, 0x1a, 0x0a];

/// Bytes of the client's hello.
const HELLO: usize = 36;

fn greeting(lowest: u8, highest: u8, offer: u8) -> Vec<u8> {
    [&MAGIC[..], &[lowest, highest, b'A', offer]].concat()
}

fn verdict(status: u8) -> Vec<u8> {
    let token = if status < 2 { 7 } else { 0 };
    [&[b'V', status][..], &[token; 16], &[0; 8]].concat()
}

fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let (stream, length) = (stream.to_be_bytes(), length.to_be_bytes());
    [&[kind][..], &stream, &length, payload].concat()
}

fn open(stream: u32, credit: u32) -> Vec<u8> {
    frame(1, stream, &[&[3][..], &credit.to_be_bytes()].concat())
}

/// What the agent says at once, and what when it has the client's hello;
/// `None`: it closes.
struct Agent {
    what: &'static str,
    /// What the user is told, among others.
    says: &'static str,
    first: Vec<u8>,
    then: Option<Vec<u8>>,
}

fn agents() -> Vec<Agent> {
    let new = || greeting(1, 1, 0);
    let agent = |what, says, first, then| Agent {
        what,
        says,
        first,
        then,
    };
    let acknowledgement = [&(1_u64 << 50).to_be_bytes()[..], &[0; 4]].concat();
    let session = |frames: Vec<Vec<u8>>| Some([verdict(0), frames.concat()].concat());
    let opens = || (1..=10_000).map(|number| open(number * 2, 1000)).collect();
    vec![
        agent(
            "another version",
            "no common version",
            greeting(9, 9, 0),
            Some(Vec::new()),
        ),
        agent(
            "no versions",
            "no NX agent",
            greeting(5, 1, 0),
            Some(Vec::new()),
        ),
        agent("half a greeting", "", new()[..9].to_vec(), None),
        agent("an unknown offer", "", greeting(1, 1, 7), Some(Vec::new())),
        agent("no verdict", "", new(), None),
        agent(
            "a refusal",
            "position that cannot be resumed from",
            new(),
            Some(verdict(3)),
        ),
        agent("an unknown verdict", "", new(), Some(verdict(99))),
        agent(
            "no verdict but words",
            "",
            new(),
            Some(b"HTTP/1.1 200 OK\r\n\r\n hello there".to_vec()),
        ),
        agent("a session resumed that is new", "", new(), Some(verdict(1))),
        agent(
            "an unknown frame",
            "unknown type 127",
            new(),
            session(vec![frame(0x7f, 1, b"")]),
        ),
        agent(
            "data beyond credit",
            "",
            new(),
            session(vec![frame(4, 1, b"x")]),
        ),
        agent(
            "data of no stream",
            "wrong stream",
            new(),
            session(vec![frame(4, 9, b"x")]),
        ),
        agent(
            "a huge window",
            "wrong payload",
            new(),
            session(vec![open(2, u32::MAX)]),
        ),
        agent("streams without end", "", new(), session(opens())),
        agent(
            "a stream of the client's",
            "",
            new(),
            session(vec![open(1, 1)]),
        ),
        agent(
            "an acknowledgement of what was not sent",
            "position",
            new(),
            session(vec![frame(0x13, 0, &acknowledgement)]),
        ),
        agent(
            "an error",
            "red  and more",
            new(),
            session(vec![frame(8, 0, b"\x05\x1b[31mred\x07\nand more")]),
        ),
        agent(
            "no desktop",
            "nothing ]0;x  there",
            new(),
            session(vec![frame(3, 1, b"\x06nothing\x1b]0;x\x07 there\n")]),
        ),
    ]
}

/// A broker and an agent of one client.
fn serve(listener: &TcpListener, agent: &Agent) {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::with_capacity(1, stream.try_clone().unwrap());
    let mut head = || {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
    };
    head();
    let list = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{LIST}",
        LIST.len()
    );
    stream.write_all(list.as_bytes()).unwrap();
    head();
    stream.write_all(SWITCH.as_bytes()).unwrap();
    stream.write_all(&agent.first).unwrap();
    if let Some(then) = &agent.then {
        // The client may have left already, or leave in the middle.
        let _ = stream.read_exact(&mut [0; HELLO]);
        let _ = stream.write_all(then);
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

fn output(child: Child) -> Output {
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    let output = ended.recv_timeout(PATIENCE);
    output.expect("the client did not end").unwrap()
}

#[test]
fn an_agent_that_breaks_the_rules_is_left_with_a_sentence() {
    let display = Xvfb::start(217);
    for agent in agents() {
        let home = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_qvdclient"));
        command
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "-u",
                "ann",
                "--no-ssl",
                "--once",
            ])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", home.path())
            .env("QVDPASSWORD", "secret")
            .env("DISPLAY", display.name())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let client = command.spawn().unwrap();
        let output = std::thread::scope(|scope| {
            scope.spawn(|| serve(&listener, &agent));
            output(client)
        });
        let text = String::from_utf8(output.stderr).unwrap();
        let what = agent.what;
        let status = output.status.code().unwrap();
        // Closed before the session was up, not understood, or lost.
        assert!([16, 20, 22].contains(&status), "{what}: {status}: {text}");
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("qvdclient: "), "{what}: {text}");
        assert!(last.contains(agent.says), "{what}: {text}");
        assert!(
            !text.contains("panicked") && !text.contains('\x1b'),
            "{what}: {text}"
        );
    }
}
