//! `qvd-slaveclient` as a user runs it, without a session and with a peer that
//! is none. What it does with one is tested over whole sessions.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use qvd_slaveclient::{About, Key, Record};
use tempfile::TempDir;

struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".qvd")).unwrap();
        Self(home)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The status, and what it said.
    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_qvd-slaveclient"))
            .args(arguments)
            .env("HOME", self.0.path())
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        (output.status.code().unwrap_or(-1), text)
    }

    /// A session whose VM answers so.
    fn session(&self, vm: &str, answer: &'static str) -> Record {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        let about = About {
            vm: vm.to_owned(),
            broker: "broker.example.org".to_owned(),
            pid: std::process::id(),
        };
        let record = Record::new(&self.path(".qvd"), about).unwrap();
        record
            .write(port, &Key::new("KEYKEYKEY").unwrap(), None)
            .unwrap();
        record
    }
}

#[test]
fn bad_input_is_refused_in_words() {
    let home = Home::new();
    for arguments in [
        &[][..],
        &["share"],
        &["brew", "tea"],
        &["share", "/tmp", "--name", "a/b"],
        &["share", "/tmp", "--name", ".hidden"],
        &["share", "/tmp", "--name", ""],
        &["mount", "only-one"],
        &["list", "extra"],
    ] {
        let (status, text) = home.run(arguments);
        assert_eq!(status, 2, "{arguments:?}: {text}");
    }
    for help in ["--help", "--version"] {
        assert_eq!(home.run(&[help]).0, 0);
    }
    let (_, help) = home.run(&["--help"]);
    for (status, meaning) in qvd_slaveclient::STATUSES {
        assert!(help.contains(&format!("{status}  {meaning}")), "{help}");
    }
}

#[test]
fn without_a_session_nothing_is_shared() {
    let home = Home::new();
    for arguments in [
        &["share", "/tmp"][..],
        &["mount", "docs", "."],
        &["open", "/etc/hosts"],
        &["--session", "office", "share", "/tmp"],
    ] {
        let (status, text) = home.run(arguments);
        assert_eq!(status, 3, "{arguments:?}: {text}");
        assert!(text.contains("no session is running"), "{text}");
    }
    assert_eq!(home.run(&["list"]), (0, String::new()));
    assert_eq!(home.run(&["list", "--json"]), (0, "[]\n".into()));
    assert_eq!(home.run(&["sessions"]), (0, String::new()));
    let (status, text) = home.run(&["unshare", "docs"]);
    assert_eq!(
        (status, text.as_str()),
        (6, "qvd-slaveclient: docs is not shared\n")
    );
}

#[test]
fn of_several_sessions_one_is_chosen_by_its_name() {
    let home = Home::new();
    let refused = "HTTP/1.1 403 Forbidden\r\nContent-Length: 16\r\n\r\nthe key is wrong";
    let used = "HTTP/1.1 409 Conflict\r\nContent-Length: 6\r\n\r\nin use";
    let (_one, _two) = (home.session("office", refused), home.session("lab", used));
    let (status, text) = home.run(&["share", "/tmp"]);
    assert_eq!(status, 3, "{text}");
    assert!(text.contains("--session: lab, office"), "{text}");
    let (status, text) = home.run(&["--session", "office", "share", "/tmp"]);
    assert_eq!(status, 4, "{text}");
    assert!(!text.contains("KEYKEYKEY"), "{text}");
    let (status, text) = home.run(&["share", "/tmp", "--session", "lab"]);
    assert_eq!(status, 5, "{text}");
    assert!(text.contains("--name"), "{text}");
    let (status, text) = home.run(&["--session", "none", "share", "/tmp"]);
    assert_eq!(status, 3, "{text}");
    assert!(text.contains("running: lab, office"), "{text}");
    let (_, sessions) = home.run(&["sessions"]);
    assert_eq!(
        sessions,
        "lab\tlab\tbroker.example.org\noffice\toffice\tbroker.example.org\n"
    );
    let (_, json) = home.run(&["sessions", "--json"]);
    assert!(json.contains("\"vm\": \"office\""), "{json}");
}

#[test]
fn what_is_not_there_and_what_is_in_the_way_is_named() {
    let home = Home::new();
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 14\r\n\r\nno such folder";
    let _session = home.session("office", missing);
    let file = home.path("file");
    fs::write(&file, "x").unwrap();
    let empty = home.path("empty");
    fs::create_dir(&empty).unwrap();
    let shown = |path: &Path| path.display().to_string();
    for (arguments, word) in [
        (vec!["share", "/nonexistent"], "/nonexistent".to_owned()),
        (vec!["share", "file"], "file".to_owned()),
        (vec!["open", "nothing"], "nothing".to_owned()),
        (
            vec!["mount", "docs", "file"],
            "file: not a folder".to_owned(),
        ),
        (vec!["mount", "docs", "."], "not an empty folder".to_owned()),
        (vec!["mount", "docs", "nowhere"], "nowhere".to_owned()),
        (
            vec!["mount", "docs", &shown(&empty)],
            "no such folder".to_owned(),
        ),
    ] {
        let (status, text) = home.run(&arguments);
        assert_eq!(status, 6, "{arguments:?}: {text}");
        assert!(text.contains(&word), "{arguments:?}: {text}");
    }
}

#[test]
fn a_vm_that_says_nothing_or_nonsense_is_told_of() {
    for answer in ["", "nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Le"] {
        let home = Home::new();
        let _session = home.session("office", answer);
        let (status, text) = home.run(&["share", "/tmp"]);
        assert_eq!(status, 7, "{answer:?}: {text}");
    }
    // An answer that is no upgrade.
    let home = Home::new();
    let answer = "HTTP/1.1 501 Not Implemented\r\nContent-Length: 2\r\n\r\nno";
    let _session = home.session("office", answer);
    let (status, text) = home.run(&["share", "/tmp"]);
    assert_eq!(status, 4, "{text}");
}

#[test]
fn files_that_cannot_be_read_as_a_session_are_none() {
    let home = Home::new();
    for (port, key) in [
        ("", "KEYKEY"),
        ("70000", "KEYKEY"),
        ("x", "KEYKEY"),
        ("1", ""),
    ] {
        fs::write(home.path(".qvd/slave-port"), port).unwrap();
        fs::write(home.path(".qvd/slave-key"), key).unwrap();
        assert_eq!(home.run(&["share", "/tmp"]).0, 3, "{port:?} {key:?}");
    }
    let sessions = home.path(".qvd/sessions");
    fs::create_dir_all(sessions.join("odd")).unwrap();
    fs::set_permissions(&sessions, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(sessions.join("odd/slave-port"), [0xff; 10]).unwrap();
    fs::write(sessions.join("file"), "x").unwrap();
    assert_eq!(home.run(&["share", "/tmp"]).0, 3);
}
