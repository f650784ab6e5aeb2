//! A connection to the broker with TLS, and the user's decision about its
//! certificate.

use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::ask::{Answer, Question};
use super::fault::sentence;
use super::pins::PinFile;
use crate::core::dial::{Dialled, dial};
use crate::core::event::{Event, Events};
use crate::core::failure::{Code, Failure};
use crate::core::names::Names;
use crate::core::tls::{Prepared, TlsPolicy};
use crate::core::verifier::{Faulty, Ruling};

/// How long the TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(15);

/// How long writing the accepted certificate down may take: another client
/// may be writing, a home may be far away.
const WRITE: Duration = Duration::from_secs(10);

/// Bytes read of the network at a time. The TLS library asks for four
/// thousand, which would be a system call each.
const READ: usize = 32 * 1024;

/// A connection to the broker.
pub(crate) type Secured = TlsStream<BufReader<TcpStream>>;

/// Connects, and asks the user where the certificate is in doubt.
///
/// # Errors
/// When the broker is not there, or its certificate is not accepted.
pub(crate) async fn connect(
    (host, port): (&str, u16),
    names: &Names,
    policy: &TlsPolicy,
    events: Events<'_>,
) -> Result<Box<Secured>, Failure> {
    let faulty = match attempt((host, port), names, policy, events).await? {
        Attempt::Connected(stream) => return Ok(stream),
        Attempt::InDoubt(faulty) => faulty,
    };
    // Between question and answer there is no connection that could grow old.
    decide(host, port, policy, *faulty, events).await?;
    match attempt((host, port), names, policy, events).await? {
        Attempt::Connected(stream) => Ok(stream),
        // Asking for ever would wear the user out, which may be the purpose.
        Attempt::InDoubt(faulty) => Err(refused(
            host,
            &faulty,
            "it is not the one that was just accepted",
        )),
    }
}

enum Attempt {
    Connected(Box<Secured>),
    InDoubt(Box<Faulty>),
}

async fn attempt(
    (host, port): (&str, u16),
    names: &Names,
    policy: &TlsPolicy,
    events: Events<'_>,
) -> Result<Attempt, Failure> {
    // Reading the system's roots takes as long as a connection on a LAN.
    let (reader, name) = (policy.clone(), host.to_owned());
    let preparing = tokio::task::spawn_blocking(move || reader.prepare(&name, port));
    let Dialled {
        stream,
        is_remembered,
    } = dial(host, port, Some(names), events).await?;
    let address = stream.peer_addr();
    let Prepared { config, seen } = preparing
        .await
        .map_err(|e| Failure::new(Code::Internal, "certificates could not be read").because(e))??;
    let name = ServerName::try_from(host.to_owned()).map_err(|e| {
        Failure::new(Code::UnknownHost, format!("{host} is no host name")).because(e)
    })?;
    let stream = BufReader::with_capacity(READ, stream);
    let handshake = TlsConnector::from(config).connect(name, stream);
    let done = timeout(HANDSHAKE, handshake).await.map_err(|_| {
        let message = format!("{host} does not finish the TLS handshake");
        Failure::new(Code::ConnectFailed, message)
    })?;
    let is_proved = done.is_ok() && seen.faulty().is_none_or(|faulty| is_proof(&faulty.ruling));
    match address {
        Ok(address) if is_proved => names.prove(address),
        // Somebody else may be there by now, who says nothing of the broker.
        _ if is_remembered => {
            let message = format!("{host} is not where it was, and the name service says nothing");
            return Err(Failure::new(Code::ConnectFailed, message));
        }
        _ => {}
    }
    match (done, seen.faulty()) {
        (Ok(stream), None) => Ok(Attempt::Connected(Box::new(stream))),
        (Ok(stream), Some(faulty)) => {
            taken(host, port, policy, &faulty, events).await;
            Ok(Attempt::Connected(Box::new(stream)))
        }
        (Err(_), Some(faulty)) if faulty.ruling == Ruling::Ask => {
            Ok(Attempt::InDoubt(Box::new(faulty)))
        }
        (Err(error), Some(faulty)) => Err(match &faulty.ruling {
            Ruling::Refused(why) => refused(host, &faulty, why),
            // Accepted with its faults, and the handshake failed after that.
            _ => failed(host, port, &error, &sentence(&faulty.findings)),
        }
        .because(error)),
        (Err(error), None) => Err(failed(host, port, &error, "").because(error)),
    }
}

/// Whether a certificate that was taken with faults proves who has it, as it
/// was accepted as this one.
fn is_proof(ruling: &Ruling) -> bool {
    matches!(ruling, Ruling::Taken { told: false } | Ruling::TakenAnew(_))
}

/// What follows from a certificate that was taken with faults.
async fn taken(host: &str, port: u16, policy: &TlsPolicy, faulty: &Faulty, events: Events<'_>) {
    match &faulty.ruling {
        Ruling::Taken { told: true } => events(Event::CertificateAccepted {
            fault: sentence(&faulty.findings),
            certificate: faulty.facts.details.to_string(),
        }),
        Ruling::TakenAnew(faults) => {
            let details = &faulty.facts.details;
            tracing::info!(%details, "accepted before, now bound to this host");
            if let Err(why) = keep(host, port, policy, faulty, faults.clone()).await {
                tracing::warn!(%why, "the accepted certificate is not kept");
            }
        }
        _ => tracing::info!(certificate = %faulty.facts.details, "accepted before"),
    }
}

async fn decide(
    host: &str,
    port: u16,
    policy: &TlsPolicy,
    faulty: Faulty,
    events: Events<'_>,
) -> Result<(), Failure> {
    let Some(asker) = policy.asker.get() else {
        return Err(undecided(host, &faulty));
    };
    events(Event::CertificateInDoubt);
    let question = Question {
        host: host.to_owned(),
        port,
        details: faulty.facts.details.clone(),
        findings: faulty.findings.clone(),
        can_be_kept: policy.pins.is_some(),
    };
    let answer = asker.ask(&question).await.map_err(|failure| {
        if failure.code() == Code::CertificateUndecided {
            undecided(host, &faulty).because(failure)
        } else {
            failure
        }
    })?;
    match answer {
        Answer::No => {
            return Err(refused(host, &faulty, "you did not accept it"));
        }
        Answer::Once => {}
        Answer::Always => {
            let faults = faulty.findings.iter().map(|found| found.fault).collect();
            if let Err(why) = keep(host, port, policy, &faulty, faults).await {
                events(Event::CertificateNotKept(why));
            }
        }
    }
    policy.memory.accept(&question);
    Ok(())
}

/// Writes to the file of accepted certificates.
async fn keep(
    host: &str,
    port: u16,
    policy: &TlsPolicy,
    faulty: &Faulty,
    faults: std::collections::BTreeSet<super::Fault>,
) -> Result<(), String> {
    let path = policy.pins.as_ref().ok_or("there is no place for it")?;
    let (file, host, facts) = (PinFile::new(path), host.to_owned(), faulty.facts.clone());
    let writing = tokio::task::spawn_blocking(move || file.accept(&host, port, &facts, &faults));
    match timeout(WRITE, writing).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(format!("{}: {error}", path.display())),
        Ok(Err(error)) => Err(format!("{}: {error}", path.display())),
        Err(_) => Err(format!("{} is locked by another program", path.display())),
    }
}

fn not_trusted(host: &str, faulty: &Faulty) -> String {
    let (faults, details) = (sentence(&faulty.findings), &faulty.facts.details);
    format!("certificate of {host} is not trusted: {faults} ({details})")
}

fn refused(host: &str, faulty: &Faulty, why: &str) -> Failure {
    let message = format!("{}; {why}", not_trusted(host, faulty));
    Failure::new(Code::Certificate, message)
}

fn undecided(host: &str, faulty: &Faulty) -> Failure {
    let message = format!(
        "{}; there is no terminal to ask on: trust it with --ca FILE or --pin SHA256",
        not_trusted(host, faulty)
    );
    Failure::new(Code::CertificateUndecided, message)
}

fn failed(host: &str, port: u16, error: &std::io::Error, although: &str) -> Failure {
    let mut message = format!("no TLS connection to {host} port {port}: {error}");
    if !although.is_empty() {
        message.push_str(&format!(
            " (its certificate was accepted although {although})"
        ));
    }
    // A connection that breaks says nothing about certificates, and may hold
    // the next time.
    let is_tls = error
        .get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>);
    let code = if is_tls {
        Code::Certificate
    } else {
        Code::ConnectFailed
    };
    Failure::new(code, message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::core::certificate::fingerprint;
    use crate::core::tls::Trust;

    const NOWHERE: &str = "no-such-host.invalid";

    /// A server that shows a certificate, and the certificate's SHA-256.
    async fn server() -> (u16, String) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");
        let certificate = CertificateDer::from_pem_file(format!("{folder}/version1.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(format!("{folder}/version1.key")).unwrap();
        let pin = fingerprint(&certificate);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = provider.key_provider.load_private_key(key).unwrap();
        let own = rustls::sign::CertifiedKey::new(vec![certificate], key);
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(own)));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Who does not like the certificate goes.
                drop(acceptor.accept(stream).await);
            }
        });
        (port, pin)
    }

    #[tokio::test]
    async fn where_the_broker_was_it_is_or_nobody_is() {
        let (port, pin) = server().await;
        let trusting = |trust| TlsPolicy {
            trust,
            ..TlsPolicy::default()
        };
        let (pinned, strict) = (trusting(Trust::Pinned(pin)), trusting(Trust::Strict));
        let names = Names::default();
        let at = |host| (host, port);
        let connect = async |host, policy: &TlsPolicy| {
            let connected = connect(at(host), &names, policy, &mut |_| {}).await;
            connected.map(drop).map_err(|failure| failure.code())
        };
        // Who proves nothing is not remembered.
        assert!(connect("127.0.0.1", &strict).await.is_err());
        assert_eq!(connect(NOWHERE, &pinned).await, Err(Code::UnknownHost));
        assert_eq!(connect("127.0.0.1", &pinned).await, Ok(()));
        assert_eq!(connect(NOWHERE, &pinned).await, Ok(()));
        // A stranger there is a reason to look elsewhere, and not to give up.
        assert_eq!(connect(NOWHERE, &strict).await, Err(Code::ConnectFailed));
    }
}
