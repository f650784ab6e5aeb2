//! The built program against brokers with certificates of every kind: what it
//! asks, what it keeps, and the status it exits with.

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
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

const LIST: &str = r#"[{"id":1,"state":"running","name":"office","blocked":0,"is_application":0}]"#;

/// A self-signed certificate for localhost.
fn certificate(key: &KeyPair) -> CertificateDer<'static> {
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.self_signed(key).unwrap().der().clone()
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let digest = suite
        .tls13()
        .unwrap()
        .common
        .hash_provider
        .hash(certificate);
    let bytes: Vec<_> = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    bytes.concat()
}

fn config(key: &KeyPair, shown: &CertificateDer<'static>) -> ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![shown.clone()], key)
        .unwrap()
}

/// A broker that lists one VM to everybody who finishes the handshake. It ends
/// with the test.
fn broker(config: ServerConfig, listener: TcpListener) -> u16 {
    let port = listener.local_addr().unwrap().port();
    let config = Arc::new(config);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            let _ = stream.set_read_timeout(Some(PATIENCE));
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut tls = BufReader::new(StreamOwned::new(connection, stream));
            let mut line = String::new();
            while tls.read_line(&mut line).is_ok_and(|n| n > 2) {
                line.clear();
            }
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}", LIST.len());
            let _ = write!(tls.get_mut(), "{head}\r\n\r\n{LIST}");
            let _ = tls.get_mut().flush();
        }
    });
    port
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn simple_broker(key: &KeyPair, shown: &CertificateDer<'static>) -> u16 {
    broker(config(key, shown), listener())
}

/// A user with a home of her own.
struct User {
    home: TempDir,
}

impl User {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".qvd")).unwrap();
        Self { home }
    }

    fn pins(&self) -> PathBuf {
        self.home.path().join(".qvd/accepted_certs.json")
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> String {
        let file = self.home.path().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        file.to_str().unwrap().to_owned()
    }

    fn client(&self, port: u16, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qvdclient"));
        command
            .args([
                "-h",
                "localhost",
                "-p",
                &port.to_string(),
                "-u",
                "ann",
                "-l",
            ])
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.home.path())
            .env("QVDPASSWORD", "apples")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, port: u16, arguments: &[&str]) -> (i32, String) {
        ended(self.client(port, arguments).spawn().unwrap())
    }

    /// On a terminal, on which the user answers.
    fn answer(&self, port: u16, arguments: &[&str], answer: &str) -> (i32, String) {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let open = || {
            let mut options = File::options();
            options
                .read(true)
                .write(true)
                .open(name.to_str().unwrap())
                .unwrap()
        };
        let mut command = self.client(port, arguments);
        let child = command.stdin(open()).stderr(open()).spawn().unwrap();
        // Its ends of the terminal close with the child only when none is
        // left here.
        drop(command);
        let mut terminal = File::from(master);
        terminal.write_all(answer.as_bytes()).unwrap();
        let (done, shown) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = Vec::new();
            // The end of a terminal nobody holds is an error.
            let _ = terminal.read_to_end(&mut text);
            done.send(String::from_utf8_lossy(&text).into_owned())
        });
        let (status, _) = ended(child);
        (status, shown.recv_timeout(PATIENCE).unwrap())
    }
}

fn ended(child: Child) -> (i32, String) {
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    let Output { status, stderr, .. } = ended
        .recv_timeout(PATIENCE)
        .expect("the client did not end")
        .unwrap();
    let text = String::from_utf8(stderr).unwrap();
    (status.code().unwrap_or(-1), text)
}

fn is(ended: &(i32, String), status: i32, words: &[&str]) {
    assert_eq!(ended.0, status, "{}", ended.1);
    for words in words {
        assert!(ended.1.contains(words), "{words:?} is not in {}", ended.1);
    }
}

#[test]
fn by_default_an_unknown_certificate_is_refused_and_shown() {
    let key = KeyPair::generate().unwrap();
    let shown = certificate(&key);
    let port = simple_broker(&key, &shown);
    let user = User::new();
    let words = ["self-signed", "SHA-256", "--pin", "--ssl-errors=ask"];
    is(&user.run(port, &[]), 12, &words);
    // A terminal makes no difference.
    is(&user.answer(port, &[], "always\n"), 12, &words);
    assert!(!user.pins().exists());
    is(&user.run(port, &["--pin", &fingerprint(&shown)]), 0, &[]);
    is(
        &user.run(port, &["--ssl-errors=abort"]),
        12,
        &["self-signed"],
    );
    let accepted = ["accepted although it is self-signed"];
    is(&user.run(port, &["--ssl-errors=continue"]), 0, &accepted);
}

#[test]
fn without_a_terminal_a_question_has_a_status_of_its_own() {
    let key = KeyPair::generate().unwrap();
    let port = simple_broker(&key, &certificate(&key));
    let words = ["self-signed", "no terminal"];
    is(&User::new().run(port, &["--ssl-errors=ask"]), 25, &words);
}

#[test]
fn what_is_accepted_once_is_asked_again_and_always_is_for_good() {
    let key = KeyPair::generate().unwrap();
    let shown = certificate(&key);
    let port = simple_broker(&key, &shown);
    let user = User::new();
    let ask = ["--ssl-errors=ask"];
    let question = ["it is self-signed", "[a]lways", "Hosts    localhost"];
    is(
        &user.answer(port, &ask, "no\n"),
        12,
        &["you did not accept it"],
    );
    is(&user.answer(port, &ask, "once\n"), 0, &question);
    assert!(!user.pins().exists());
    is(&user.answer(port, &ask, "always\n"), 0, &question);
    let mode = std::fs::metadata(user.pins()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    is(&user.run(port, &[]), 0, &[]);
    // The same certificate at another port is not the same broker.
    let elsewhere = simple_broker(&key, &shown);
    is(&user.run(elsewhere, &[]), 12, &["self-signed"]);
}

#[test]
fn a_renewal_with_the_same_key_is_taken_and_a_changed_key_refused() {
    let user = User::new();
    let key = KeyPair::generate().unwrap();
    let listener = listener();
    let port = listener.local_addr().unwrap().port();
    let now_shown = Arc::new(std::sync::Mutex::new(config(&key, &certificate(&key))));
    let served = now_shown.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let config = Arc::new(served.lock().unwrap().clone());
            let connection = ServerConnection::new(config).unwrap();
            let mut tls = BufReader::new(StreamOwned::new(connection, stream.unwrap()));
            let mut line = String::new();
            while tls.read_line(&mut line).is_ok_and(|n| n > 2) {
                line.clear();
            }
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}", LIST.len());
            let _ = write!(tls.get_mut(), "{head}\r\n\r\n{LIST}");
            let _ = tls.get_mut().flush();
        }
    });
    is(
        &user.answer(port, &["--ssl-errors=ask"], "always\n"),
        0,
        &[],
    );
    let renewed = certificate(&key);
    *now_shown.lock().unwrap() = config(&key, &renewed);
    is(&user.run(port, &[]), 0, &[]);
    let kept = std::fs::read_to_string(user.pins()).unwrap();
    assert!(kept.contains(&fingerprint(&renewed)), "{kept}");
    let other = KeyPair::generate().unwrap();
    *now_shown.lock().unwrap() = config(&other, &certificate(&other));
    for arguments in [&[][..], &["--ssl-errors=continue"], &["--ssl-errors=ask"]] {
        let refused = user.answer(port, arguments, "always\n");
        is(&refused, 12, &["another key"]);
    }
}

#[test]
fn clients_that_write_at_once_lose_nothing() {
    const CLIENTS: usize = 6;
    let user = User::new();
    let mut entries = serde_json::Map::new();
    let mut ports = Vec::new();
    for _ in 0..CLIENTS {
        let key = KeyPair::generate().unwrap();
        let shown = certificate(&key);
        ports.push(simple_broker(&key, &shown));
        // As the reference's client writes it: bound when it is first used.
        let print = fingerprint(&shown);
        let entry = serde_json::json!({
            "algo": "sha256", "fingerprint": print, "description": "CN=broker", "errors": [18],
        });
        entries.insert(format!("sha256${print}"), entry);
    }
    std::fs::write(user.pins(), serde_json::to_string(&entries).unwrap()).unwrap();
    let started = ports
        .iter()
        .map(|port| user.client(*port, &[]).spawn().unwrap());
    let started: Vec<_> = started.collect();
    for client in started {
        is(&ended(client), 0, &[]);
    }
    let kept: serde_json::Value =
        serde_json::from_slice(&std::fs::read(user.pins()).unwrap()).unwrap();
    let bindings = kept.as_object().unwrap().values();
    let mut bound: Vec<_> = bindings
        .map(|entry| entry["bindings"][0]["port"].as_u64().unwrap())
        .collect();
    bound.sort_unstable();
    let mut expected: Vec<_> = ports.iter().map(|port| u64::from(*port)).collect();
    expected.sort_unstable();
    assert_eq!(bound, expected);
}

#[test]
fn an_answer_that_cannot_be_kept_counts_for_this_run() {
    let user = User::new();
    // Broken by somebody: it is not written over.
    std::fs::write(user.pins(), "{").unwrap();
    let key = KeyPair::generate().unwrap();
    let port = simple_broker(&key, &certificate(&key));
    is(
        &user.run(port, &[]),
        12,
        &["accepted_certs.json cannot be read"],
    );
    std::fs::remove_file(user.pins()).unwrap();
    // No lock can be had where a folder has its name.
    std::fs::create_dir(user.home.path().join(".qvd/accepted_certs.json.lock")).unwrap();
    let ended = user.answer(port, &["--ssl-errors=ask"], "always\n");
    is(&ended, 0, &["the accepted certificate is not kept"]);
}

#[test]
fn a_client_certificate_is_shown_and_a_faulty_one_is_named() {
    let ours = rcgen::generate_simple_self_signed(["ann".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(ours.cert.der().clone()).unwrap();
    let key = KeyPair::generate().unwrap();
    let shown = certificate(&key);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let key_der = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(vec![shown.clone()], key_der)
        .unwrap();
    let port = broker(config, listener());
    let user = User::new();
    let pin = fingerprint(&shown);
    let own = user.write("ann.pem", &ours.cert.pem(), 0o644);
    let pem = ours.signing_key.serialize_pem();
    let own_key = user.write("ann.key", &pem, 0o600);
    let open = user.write("open.key", &pem, 0o644);
    let other = user.write("other.key", &key.serialize_pem(), 0o600);
    let run = |certificate: &str, key: &str| {
        user.run(port, &["--pin", &pin, "-c", certificate, "-k", key])
    };
    is(&run(&own, &own_key), 0, &[]);
    is(&run(&own, "/nonexistent"), 3, &["/nonexistent"]);
    is(&run(&own, &open), 3, &["open.key", "chmod 600"]);
    is(&run(&own, &other), 3, &["other.key: it is not the key of"]);
    let (status, text) = user.run(port, &["--pin", &pin]);
    assert_ne!(status, 0, "no certificate is refused: {text}");
}

/// An authority, PEM, that has revoked this number, with a list that is over in
/// this year; and a broker with number 7 of the same authority.
fn revoking(serial: u64, until: i32) -> (String, u16) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(until, 2, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&issuer).unwrap().pem().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.serial_number = Some(SerialNumber::from(7));
    let key = KeyPair::generate().unwrap();
    let shown = params.signed_by(&key, &issuer).unwrap().der().clone();
    (authority.pem() + &list, simple_broker(&key, &shown))
}

#[test]
fn lists_of_revocations_count_and_old_ones_are_told() {
    let user = User::new();
    let run = |(authority, port): (String, u16), conf: &str, more: &[&str]| {
        let ca = user.write("ca.pem", &authority, 0o600);
        user.write(".qvd/client.conf", conf, 0o600);
        user.run(port, &[&["--ca", &ca], more].concat())
    };
    is(&run(revoking(8, 2150), "", &[]), 0, &[]);
    is(
        &run(revoking(7, 2150), "", &[]),
        12,
        &["its issuer has revoked it"],
    );
    let old = "list of revocations is out of date since 2021-02-01";
    is(&run(revoking(8, 2021), "", &[]), 12, &[old]);
    is(
        &run(revoking(7, 2021), "", &[]),
        12,
        &["its issuer has revoked it", old],
    );
    // Who may decide about it decides about nothing else.
    let allow = "client.ssl.allow_unknown_error = 1\n";
    is(&run(revoking(8, 2021), allow, &[]), 25, &[old]);
    let go_on = ["--ssl-errors=continue"];
    is(&run(revoking(8, 2021), allow, &go_on), 0, &[old]);
    is(
        &run(revoking(7, 2150), allow, &[]),
        12,
        &["its issuer has revoked it"],
    );
    // The user's own folder is read, too.
    let (authority, port) = revoking(7, 2150);
    std::fs::create_dir(user.home.path().join(".qvd/certs")).unwrap();
    user.write(".qvd/certs/company.pem", &authority, 0o600);
    is(&user.run(port, &[]), 12, &["its issuer has revoked it"]);
}
