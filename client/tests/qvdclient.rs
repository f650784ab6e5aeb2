//! The built program against brokers that follow a script: what it says, and
//! the status it exits with. Whole sessions are tested end to end elsewhere.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

mod xvfb;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;

use self::xvfb::Xvfb;

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

const PASSWORD: &str = "s3cret:with-colon";

/// One VM, as the reference's broker lists it.
const LIST: &str = r#"[{"id":1,"state":"running","name":"office","blocked":0,"is_application":0}]"#;

const TWO: &str = r#"[{"id":1,"state":"running","name":"office","blocked":0,"is_application":0},{"id":2,"state":"stopped","name":"lab","blocked":0,"is_application":0}]"#;

/// A broker that gives each answer to one request, in order, and hangs up.
struct Broker {
    port: u16,
    requests: JoinHandle<Vec<String>>,
}

impl Broker {
    fn with(answers: Vec<Vec<u8>>) -> Self {
        Self::at(0, answers)
    }

    fn at(port: u16, answers: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut heads = Vec::new();
            for answer in answers {
                let Some(head) = head(&stream) else { break };
                heads.push(head);
                // The client may have left already.
                if stream.write_all(&answer).is_err() {
                    break;
                }
            }
            heads
        });
        Self { port, requests }
    }

    fn requests(self) -> Vec<String> {
        self.requests.join().unwrap()
    }
}

/// A request's head; none when the client has closed.
fn head(stream: &TcpStream) -> Option<String> {
    let mut reader = BufReader::with_capacity(1, stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap() == 0 {
            return None;
        }
    }
    Some(head)
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn list(body: &str) -> Vec<u8> {
    answer("200 OK", body)
}

/// A user with a home of her own.
struct User {
    home: TempDir,
}

impl User {
    fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn client(&self, port: u16, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qvdclient"));
        command
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &port.to_string(),
                "-u",
                "ann",
                "--no-ssl",
            ])
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.home.path())
            .env("QVDPASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        command
    }

    fn run(&self, port: u16, arguments: &[&str]) -> Output {
        output(self.client(port, arguments).spawn().unwrap())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join(".qvd/qvd-client.log")).unwrap()
    }
}

fn output(child: Child) -> Output {
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    let output = ended.recv_timeout(PATIENCE);
    output.expect("the client did not end").unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn is_about(output: &Output, status: i32, words: &str) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(status), "{text}");
    assert!(text.contains(words), "{words:?} is not in {text}");
}

#[test]
fn the_list_is_written_as_table_and_as_json() {
    let broker = Broker::with(vec![list(TWO)]);
    let output = User::new().run(broker.port, &["-l", "-q"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text,
        "ID  NAME    STATE    BLOCKED\n1   office  running  no\n2   lab     stopped  no\n"
    );
    let requests = broker.requests();
    assert!(requests[0].starts_with("GET /qvd/list_of_vm? HTTP/1.1\r\n"));
    // ann:s3cret:with-colon
    assert!(requests[0].contains("Authorization: Basic YW5uOnMzY3JldDp3aXRoLWNvbG9u\r\n"));

    let broker = Broker::with(vec![list(TWO)]);
    let output = User::new().run(broker.port, &["--list-vms", "--json"]);
    let vms: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(vms[1]["name"], "lab");
}

#[test]
fn each_refusal_has_its_status_and_keeps_the_brokers_words() {
    for (refusal, status) in [
        ("401 Unauthorized", 13),
        ("403 Forbidden", 14),
        ("404 Not Found", 15),
        ("503 Service Unavailable", 16),
        ("500 Internal Server Error", 16),
        ("408 Request Timeout", 17),
        ("426 Upgrade Required", 18),
    ] {
        let broker = Broker::with(vec![answer(refusal, "because of the test\r\n")]);
        let output = User::new().run(broker.port, &["-l"]);
        is_about(&output, status, "because of the test");
    }
}

#[test]
fn what_is_no_broker_is_told() {
    let broker = Broker::with(vec![b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()]);
    is_about(&User::new().run(broker.port, &["-l"]), 19, "does not speak");
    let broker = Broker::with(vec![list("[{]")]);
    is_about(&User::new().run(broker.port, &["-l"]), 19, "list_of_vm");
    let broker = Broker::with(vec![]);
    let output = User::new().run(broker.port, &["-l"]);
    is_about(&output, 11, "broker");
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    is_about(
        &User::new().run(port, &["-l"]),
        11,
        "cannot connect to 127.0.0.1",
    );
}

#[test]
fn what_is_missing_on_this_machine_is_told_before_the_broker_is_asked() {
    let user = User::new();
    is_about(&user.run(1, &[]), 21, "DISPLAY is not set");
    let conf = user.home.path().join("client.conf");
    let keys = "client.nx.engine = nxproxy\ncommand.nxproxy = /nonexistent/nxproxy\n";
    std::fs::write(&conf, keys).unwrap();
    let output = user.run(1, &["--config", conf.to_str().unwrap()]);
    is_about(&output, 20, "install the package nxproxy");
}

#[test]
fn which_vm_is_meant_has_to_be_clear() {
    let display = Xvfb::start(210);
    let user = User::new();
    let client = |broker: &Broker, arguments: &[&str]| {
        let mut command = user.client(broker.port, arguments);
        output(command.env("DISPLAY", display.name()).spawn().unwrap())
    };
    let broker = Broker::with(vec![list(TWO)]);
    is_about(&client(&broker, &[]), 23, "office");
    let broker = Broker::with(vec![list("[]"), list("[]")]);
    is_about(&client(&broker, &[]), 15, "no virtual machine");
    // What no VM is called may be an application.
    let broker = Broker::with(vec![list(TWO), list("[]")]);
    is_about(&client(&broker, &["--vm-id", "home"]), 15, "home");
    assert!(broker.requests()[1].starts_with("GET /qvd/list_of_applications"));

    // The beginning of a name; the broker's reason reaches the user.
    let unavailable = answer("503 Service Unavailable", "agent of VM 2 is down\r\n");
    let mut refused = b"HTTP/1.1 102 Processing\r\nX-QVD-VM-Info: Starting\r\n\r\n".to_vec();
    refused.extend(unavailable);
    let broker = Broker::with(vec![list(TWO), list("[]"), refused]);
    let output = client(&broker, &["--vm-id", "la", "-g", "640x480"]);
    is_about(&output, 16, "agent of VM 2 is down");
    assert!(stderr(&output).contains("Starting"));
    let requests = broker.requests();
    assert!(requests[2].starts_with("GET /qvd/connect_to_vm?id=2&"));
    assert!(requests[2].contains("qvd.client.geometry=640x480"));
    assert!(
        requests[2].contains("qvd.client.keyboard=pc105%2Fus"),
        "{}",
        requests[2]
    );
    // Beside it all that the display says.
    for field in ["rules=evdev", "model=pc105", "layout=us"] {
        let parameter = format!("qvd.client.xkb.{field}");
        assert!(requests[2].contains(&parameter), "{}", requests[2]);
    }
    assert!(requests[2].contains("\r\nUpgrade: QVD/1.0\r\n"));
    // One name for the session in every log.
    let (_, id) = requests[2].split_once("qvd.client.session-id=").unwrap();
    let id = id.split(['&', ' ']).next().unwrap();
    let log = user.log();
    let error = log.lines().rfind(|line| line.contains("ERROR")).unwrap();
    assert!(error.contains(id), "{log}");
    assert!(error.contains("code=\"vm-unavailable\""), "{log}");
    assert!(error.contains("agent of VM 2 is down"), "{log}");
}

#[test]
fn a_tunnel_that_closes_before_the_desktop_is_there_is_no_lost_session() {
    let display = Xvfb::start(211);
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nX-QVD-Slave-Key: K3Yk3y\r\n\r\n";
    for (engine, word) in [("native", "Opening"), ("nxproxy", "NXPROXY - Version")] {
        let broker = Broker::with(vec![list(LIST), switch.to_vec()]);
        let user = User::new();
        let mut command = user.client(broker.port, &["-d", "--nx-engine", engine]);
        let output = output(command.env("DISPLAY", display.name()).spawn().unwrap());
        is_about(&output, 16, "before the session was up");
        // In detail, and without a secret.
        let log = user.log();
        assert!(log.contains(word), "{log}");
        for secret in [PASSWORD, "YW5uOnMzY3JldDp3aXRoLWNvbG9u", "K3Yk3y"] {
            assert!(!log.contains(secret), "{log}");
        }
    }
}

#[test]
fn a_signal_before_there_is_a_session_ends_the_client() {
    // A broker that accepts, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let child = User::new().client(port, &["-l"]).spawn().unwrap();
    let (stream, _) = silent.accept().unwrap();
    assert!(head(&stream).unwrap().starts_with("GET /qvd/list_of_vm"));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    is_about(&output(child), 130, "interrupted");
}

#[test]
fn without_a_password_and_a_terminal_there_is_nobody_to_ask() {
    let user = User::new();
    let mut command = user.client(1, &["-l"]);
    let output = output(command.env_remove("QVDPASSWORD").spawn().unwrap());
    is_about(&output, 24, "--password-file");
}

#[test]
fn a_password_can_come_on_standard_input() {
    let broker = Broker::with(vec![list(LIST)]);
    let user = User::new();
    let mut command = user.client(broker.port, &["-l", "--password-file", "-"]);
    command.env_remove("QVDPASSWORD").stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
    drop(stdin);
    assert_eq!(output(child).status.code(), Some(0));
    assert!(broker.requests()[0].contains("Basic YW5uOnMzY3JldDp3aXRoLWNvbG9u\r\n"));
}

#[test]
fn secrets_of_the_command_line_are_soon_nowhere_to_be_seen() {
    for (flags, header) in [
        (["-w", PASSWORD], "Basic YW5uOnMzY3JldDp3aXRoLWNvbG9u"),
        (["--token", PASSWORD], "Bearer czNjcmV0OndpdGgtY29sb24="),
    ] {
        // A broker that accepts, and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let user = User::new();
        let mut command = user.client(port, &flags);
        command.args(["-l", "-d"]).env_remove("QVDPASSWORD");
        let child = command.spawn().unwrap();
        let (stream, _) = silent.accept().unwrap();
        let head = head(&stream).unwrap();
        assert!(head.contains(header), "{head}");
        let proc = format!("/proc/{}", child.id());
        let line = std::fs::read_to_string(format!("{proc}/cmdline")).unwrap();
        let environment = std::fs::read_to_string(format!("{proc}/environ")).unwrap();
        assert!(
            line.contains(&format!("{}\0***\0-l\0", flags[0])),
            "{line:?}"
        );
        assert!(!line.contains(PASSWORD) && !environment.contains(PASSWORD));
        let name = std::fs::read_to_string(format!("{proc}/comm")).unwrap();
        assert_eq!(name.trim(), "qvdclient");
        // Nor does a program that it starts inherit it.
        for fd in std::fs::read_dir(format!("{proc}/fd")).unwrap() {
            let fd = fd.unwrap().path();
            if std::fs::read_link(&fd)
                .unwrap()
                .starts_with("/memfd:secrets (deleted)")
            {
                assert_eq!(std::fs::read(&fd).unwrap(), b"");
            }
        }
        drop(stream);
        let output = output(child);
        assert_eq!(output.status.code(), Some(11));
        let text = stderr(&output);
        assert!(
            text.contains(&format!("given with {} for a moment", flags[0])),
            "{text}"
        );
        assert!(!text.contains(PASSWORD) && !user.log().contains(PASSWORD));
    }
}

#[test]
fn a_password_is_kept_in_the_secret_store_until_it_is_wrong() {
    let user = User::new();
    // A desktop's bus with the store unlocked, as at a log-in.
    let in_desktop = |broker: &Broker, given: Option<&str>| {
        let client = user.client(broker.port, &["-l", "--remember"]);
        let script = "printf unlock | gnome-keyring-daemon --unlock --components=secrets \
                      >/dev/null || exit 99; exec \"$@\"";
        let mut command = Command::new("dbus-run-session");
        command
            .args(["--", "sh", "-c", script, "sh"])
            .arg(client.get_program())
            .args(client.get_args())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", user.home.path())
            .env("XDG_RUNTIME_DIR", user.home.path())
            .envs(given.map(|password| ("QVDPASSWORD", password)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let child = command.spawn();
        output(child.unwrap_or_else(|e| {
            panic!("{e}; install the packages dbus, gnome-keyring, libsecret-tools")
        }))
    };
    let broker = Broker::with(vec![list(LIST)]);
    let port = broker.port;
    let output = in_desktop(&broker, Some(PASSWORD));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(!stderr(&output).contains("not kept"), "{}", stderr(&output));

    let broker = Broker::at(port, vec![list(LIST)]);
    let output = in_desktop(&broker, None);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let requests = broker.requests();
    assert!(requests[0].contains("Basic YW5uOnMzY3JldDp3aXRoLWNvbG9u\r\n"));

    let broker = Broker::at(port, vec![answer("401 Unauthorized", "changed\r\n")]);
    is_about(&in_desktop(&broker, None), 24, "--password-file");
    assert_eq!(broker.requests().len(), 1);
    let forgotten = Broker {
        port,
        requests: std::thread::spawn(Vec::new),
    };
    is_about(&in_desktop(&forgotten, None), 24, "--password-file");
}

#[test]
fn without_a_secret_store_the_client_works_and_says_so() {
    let broker = Broker::with(vec![list(LIST)]);
    let output = User::new().run(broker.port, &["-l", "--remember"]);
    is_about(&output, 0, "the password is not kept");
}

#[test]
fn usage_and_configuration_have_statuses_of_their_own() {
    let user = User::new();
    is_about(&user.run(1, &["--no-such-flag"]), 2, "--no-such-flag");
    is_about(&user.run(1, &["-x", "nx/nx,kill=1:0"]), 2, "kill");
    let conf = user.home.path().join("client.conf");
    std::fs::write(&conf, "client.link = many\n").unwrap();
    std::fs::create_dir(user.home.path().join(".qvd")).unwrap();
    let output = user.run(1, &["--config", conf.to_str().unwrap()]);
    is_about(&output, 3, "client.conf:1");
    assert!(user.log().contains("client.conf:1"), "{}", user.log());
    assert!(user.log().contains("code=\"config\""), "{}", user.log());
}
