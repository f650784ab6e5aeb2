//! Who may call, over what, and what the agent's processes may do.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use qvd_rpc::{Call, SessionState};
use qvd_tests::rig::{Agent, Desktop};
use qvd_tests::{Result, Scene, play};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::WAIT;
use super::users::{MadeUser, open_to_others};

type Fallible<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Makes a call with a key, and gives the status of the answer.
pub async fn ask(address: SocketAddr, method: &str, key: Option<&str>) -> Fallible<String> {
    let shown = key.map(|key| format!("Authorization: Bearer {key}\r\n"));
    let head = format!(
        "GET /vma/{method} HTTP/1.1\r\nConnection: close\r\n{}\r\n",
        shown.unwrap_or_default()
    );
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    timeout(WAIT, stream.read_to_string(&mut answer)).await??;
    Ok(answer.split(' ').nth(1).unwrap_or_default().to_owned())
}

pub fn private(scene: &Scene, name: &str, text: &str) -> Result<PathBuf> {
    let path = scene.write(name, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
        .map_err(|e| qvd_tests::Error::Invalid(e.to_string()))?;
    Ok(path)
}

#[test]
fn calls_need_the_key_where_there_is_one() {
    play("agent_rpc_key", async |scene| {
        let key = private(scene, "key", "0123456789abcdef\n")?;
        let key = key.display().to_string();
        let keys = [
            ("vma.rpc.key_file", key.as_str()),
            ("vma.rpc.methods", "ping,x_state"),
        ];
        let agent = Agent::start(scene, "vm", &Desktop::Small, &keys).await?;
        let right = Some("0123456789abcdef");
        for (method, shown, expected) in [
            ("ping", None, "401"),
            ("ping", Some("0123456789abcdeF"), "401"),
            ("ping", right, "200"),
            ("x_state", right, "200"),
            ("poweroff", right, "403"),
            ("vnc_connect", right, "403"),
            ("poweroff", None, "401"),
        ] {
            let status = ask(agent.rpc(), method, shown).await?;
            assert_eq!(status, expected, "{method} {shown:?}");
        }
        Ok(())
    });
}

/// A set of capabilities of a process, as the kernel writes them.
fn capabilities(pid: u32, set: &str) -> Fallible<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(set));
    Ok(u64::from_str_radix(line.ok_or("no such set")?.trim(), 16)?)
}

#[test]
fn the_daemon_has_the_capabilities_it_needs_and_no_others() {
    play("agent_capabilities", async |scene| {
        let mut agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
        let daemon = capabilities(agent.daemon()?.pid(), "CapEff:")?;
        // CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID, NET_BIND_SERVICE,
        // SYS_PTRACE, by the kernel's numbers.
        let kept: u64 = [0, 1, 3, 5, 6, 7, 10, 19]
            .map(|bit| 1u64 << bit)
            .iter()
            .sum();
        assert_eq!(daemon & !kept, 0, "{daemon:x}");
        Ok(())
    });
}

#[test]
fn an_agent_may_be_told_to_run_as_a_user_and_serves_him() {
    play("agent_as_user", async |scene| {
        // Only root can become another user.
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let user = MadeUser::new()?;
        let run = scene.path("made/run");
        let place = run.display().to_string();
        let keys = [
            ("vma.as_user", user.name.as_str()),
            ("path.run", place.as_str()),
            ("vma.rpc.allow", "127.0.0.1"),
        ];
        let mut agent = Agent::configure(scene, "vm", &Desktop::Small, &keys)?;
        open_to_others(scene)?;
        agent.start_daemon(scene).await?;
        let pid = agent.daemon()?.pid();
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        let ids: Vec<&str> = ids.unwrap_or_default().split_whitespace().collect();
        assert_eq!(ids, [user.uid.as_str(); 4]);
        assert_eq!(capabilities(pid, "CapPrm:")?, 0);
        // Nobody else, and least of all root.
        agent.start_session(&[]).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        let reason = super::waited(&agent).await?.reason.unwrap_or_default();
        assert!(reason.contains("without privileges"), "{reason}");
        let own = [("qvd.vm.user.name", user.name.as_str())];
        agent.start_session(&own).await?;
        agent.wait_for_state(SessionState::Listening, WAIT).await?;
        agent.call(Call::XStop).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        Ok(())
    });
}

/// A certificate and its key, of a certificate authority or by one.
pub struct Identity {
    pub cert: rcgen::Certificate,
    pub key: rcgen::KeyPair,
}

pub fn authority() -> Fallible<(rcgen::CertificateParams, Identity)> {
    let mut parameters = rcgen::CertificateParams::new(vec![])?;
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate()?;
    let cert = parameters.self_signed(&key)?;
    Ok((parameters, Identity { cert, key }))
}

pub fn by(parameters: &rcgen::CertificateParams, authority: &Identity) -> Fallible<Identity> {
    let issuer = rcgen::Issuer::from_params(parameters, &authority.key);
    let key = rcgen::KeyPair::generate()?;
    let cert =
        rcgen::CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, &issuer)?;
    Ok(Identity { cert, key })
}

/// A connection over TLS with this certificate, if any.
pub async fn connect_over_tls(
    address: SocketAddr,
    trusted: &Identity,
    shown: Option<&Identity>,
) -> Fallible<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.cert.der().clone())?;
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let config = match shown {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let key = rustls_pki_types::PrivatePkcs8KeyDer::from(own.key.serialize_der());
            builder.with_client_auth_cert(vec![own.cert.der().clone()], key.into())?
        }
    };
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = TcpStream::connect(address).await?;
    Ok(timeout(WAIT, connector.connect("localhost".try_into()?, stream)).await??)
}

/// A call over TLS; the answer.
async fn ask_over_tls(
    address: SocketAddr,
    trusted: &Identity,
    shown: Option<&Identity>,
) -> Fallible<String> {
    let mut stream = connect_over_tls(address, trusted, shown).await?;
    let head = b"GET /vma/ping HTTP/1.1\r\nConnection: close\r\n\r\n";
    stream.write_all(head).await?;
    let mut answer = vec![0; 512];
    let length = timeout(WAIT, stream.read(&mut answer)).await??;
    answer.truncate(length);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn callers_need_a_certificate_where_it_is_asked_for() {
    play("agent_rpc_tls", async |scene| {
        let (parameters, ca) = authority()?;
        let agents = by(&parameters, &ca)?;
        let brokers = by(&parameters, &ca)?;
        let (_, strange) = authority()?;
        let cert = scene.write("agent.pem", agents.cert.pem())?;
        let key = private(scene, "agent-key.pem", &agents.key.serialize_pem())?;
        let root = scene.write("ca.pem", ca.cert.pem())?;
        let [cert, key, root] = [cert, key, root].map(|path| path.display().to_string());
        let keys = [
            ("vma.rpc.tls.cert_file", cert.as_str()),
            ("vma.rpc.tls.key_file", key.as_str()),
            ("vma.rpc.tls.client_ca_file", root.as_str()),
        ];
        let agent = Agent::start(scene, "vm", &Desktop::Small, &keys).await?;
        let answer = ask_over_tls(agent.rpc(), &ca, Some(&brokers)).await?;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        for shown in [None, Some(&strange)] {
            let answer = ask_over_tls(agent.rpc(), &ca, shown).await;
            assert!(!answer.is_ok_and(|text| text.contains("200")));
        }
        // Without TLS there is no answer at all.
        let plain = ask(agent.rpc(), "ping", None).await;
        assert!(!plain.is_ok_and(|status| status == "200"));
        Ok(())
    });
}
