//! A kiosk on its terminal, against a broker that follows a script.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker that refuses every login, and gives the heads of the requests.
fn refusing() -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heads, received) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::with_capacity(1, stream.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head).unwrap() == 0 {
                    break;
                }
            }
            let _ = stream.write_all(
                b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
            if heads.send(head).is_err() {
                return;
            }
        }
    });
    (port, received)
}

/// A client on a terminal of its own.
struct Kiosk {
    client: Child,
    terminal: File,
    shown: Receiver<Vec<u8>>,
    text: String,
    /// How much of the text was waited for.
    seen: usize,
}

impl Kiosk {
    fn start(port: u16, display: &str, home: &std::path::Path) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let open = || {
            let mut options = File::options();
            let options = options.read(true).write(true);
            options.open(name.to_str().unwrap()).unwrap()
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_qvdclient"));
        command
            .args(["-h", "127.0.0.1", "--no-ssl", "--kiosk", "-p"])
            .arg(port.to_string())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", home)
            .env("DISPLAY", display)
            .env("QVDLOGIN", "ann")
            .env("QVDPASSWORD", "apples")
            .stdin(open())
            .stdout(Stdio::null())
            .stderr(open());
        let client = command.spawn().unwrap();
        drop(command);
        let terminal = File::from(master);
        let mut reader = terminal.try_clone().unwrap();
        let (send, shown) = mpsc::channel();
        std::thread::spawn(move || {
            let mut chunk = [0; 1024];
            while let Ok(length @ 1..) = reader.read(&mut chunk) {
                if send.send(chunk[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            client,
            terminal,
            shown,
            text: String::new(),
            seen: 0,
        }
    }

    /// Waits until these words are shown after those waited for before.
    fn shows(&mut self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.text[self.seen..].find(words) {
                self.seen += at + words.len();
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left) {
                Ok(bytes) => self.text.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no {words:?} in {}", self.text)
                }
            }
        }
    }

    fn types(&mut self, text: &str) {
        self.terminal.write_all(text.as_bytes()).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.client), signal).unwrap();
    }
}

impl Drop for Kiosk {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

#[test]
fn a_refused_login_is_asked_for_anew_and_no_key_ends_the_kiosk() {
    let display = Xvfb::start();
    let home = tempfile::tempdir().unwrap();
    let (port, heads) = refusing();
    let mut kiosk = Kiosk::start(port, &display.name, home.path());
    let head = || heads.recv_timeout(PATIENCE).unwrap();
    // ann:apples
    assert!(head().contains("Basic YW5uOmFwcGxlcw=="));
    kiosk.shows("Unauthorized");
    kiosk.shows("Login: ");
    // Ctrl-C, Ctrl-Z and Ctrl-\ where they are no keys of the terminal's own.
    for signal in [Signal::INT, Signal::TSTP, Signal::QUIT] {
        kiosk.signal(signal);
    }
    // The end of input ends nothing, either.
    kiosk.types("\u{4}");
    kiosk.shows("Login: ");
    kiosk.types("bob\n");
    kiosk.shows("Password of bob: ");
    kiosk.types("pears\n");
    // bob:pears, and never again what was refused
    assert!(head().contains("Basic Ym9iOnBlYXJz"));
    kiosk.shows("Unauthorized");
    kiosk.shows("Login: ");
    assert!(!kiosk.text.contains("pears"), "{}", kiosk.text);
    kiosk.signal(Signal::TERM);
    assert_eq!(kiosk.client.wait().unwrap().code(), Some(0));
    assert!(heads.try_recv().is_err(), "a login without anybody");
}

/// An X server on a number of its own choice.
struct Xvfb {
    process: Child,
    name: String,
}

impl Xvfb {
    fn start() -> Self {
        let mut process = Command::new("Xvfb")
            .args(["-nolisten", "tcp", "-displayfd", "1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("Xvfb: {e}; install the package xvfb"));
        let mut line = String::new();
        let mut ready = BufReader::new(process.stdout.take().unwrap());
        ready.read_line(&mut line).unwrap();
        let name = format!(":{}", line.trim());
        Self { process, name }
    }
}

impl Drop for Xvfb {
    fn drop(&mut self) {
        // In order, so that it takes its files away.
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
    }
}
