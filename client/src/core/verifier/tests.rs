use rcgen::{CertificateParams, KeyPair};

use super::super::trust::{Certificates, Errors, PinFile};
use super::*;

const HOST: &str = "broker.test";

fn faulty(key: &KeyPair) -> (Facts, Vec<Finding>) {
    let params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    let facts = Facts::of(params.self_signed(key).unwrap().der()).unwrap();
    let findings = vec![Finding {
        fault: Fault::SelfSigned,
        words: "it is self-signed".into(),
    }];
    (facts, findings)
}

fn ruler(trust: Trust, policy: Policy) -> Ruler {
    Ruler {
        host: HOST.into(),
        port: 8443,
        trust,
        policy,
        memory: Memory::default(),
        pins: Ok(Pins::default()),
    }
}

fn asking() -> Policy {
    Policy::of(Some(Errors::Ask), |_| (false, false))
}

fn locked() -> Policy {
    Policy::of(Some(Errors::Continue), |_| (false, true))
}

#[test]
fn strict_refuses_and_an_asking_policy_asks() {
    let (facts, findings) = faulty(&KeyPair::generate().unwrap());
    let rule = |policy| ruler(Trust::Strict, policy).rule(&facts, &findings);
    assert!(matches!(rule(Policy::default()), Ruling::Refused(_)));
    assert_eq!(rule(asking()), Ruling::Ask);
    let policy = Policy::of(Some(Errors::Continue), |_| (false, false));
    assert_eq!(rule(policy), Ruling::Taken { told: true });
}

#[test]
fn a_given_fingerprint_is_for_one_certificate() {
    let (one, findings) = faulty(&KeyPair::generate().unwrap());
    let (other, _) = faulty(&KeyPair::generate().unwrap());
    let pin = one.details.sha256.to_lowercase().replace(':', "");
    let pinned = ruler(Trust::Pinned(pin.clone()), Policy::default());
    assert_eq!(pinned.rule(&one, &findings), Ruling::Taken { told: false });
    assert!(matches!(pinned.rule(&other, &findings), Ruling::Refused(_)));
    let cut = ruler(Trust::Pinned(pin[..40].into()), Policy::default());
    assert!(matches!(cut.rule(&one, &findings), Ruling::Refused(_)));
}

#[test]
fn what_the_administrator_has_decided_nothing_passes_over() {
    let (facts, findings) = faulty(&KeyPair::generate().unwrap());
    let pin = Trust::Pinned(facts.details.sha256.clone());
    for trust in [Trust::Strict, Trust::DangerouslyAnything, pin] {
        let Ruling::Refused(why) = ruler(trust, locked()).rule(&facts, &findings) else {
            panic!("not refused");
        };
        assert!(why.contains("client.ssl.allow_untrusted"), "{why}");
    }
}

#[test]
fn a_kept_certificate_is_good_for_the_faults_it_had_and_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = PinFile::new(&dir.path().join("accepted_certs.json"));
    let key = KeyPair::generate().unwrap();
    let (facts, mut findings) = faulty(&key);
    let faults = BTreeSet::from([Fault::SelfSigned]);
    file.accept(HOST, 8443, &facts, &faults).unwrap();
    // Also under the strict policy: the decision was made.
    for policy in [Policy::default(), asking()] {
        let mut ruler = ruler(Trust::Strict, policy);
        ruler.pins = Ok(file.read().unwrap());
        assert_eq!(ruler.rule(&facts, &findings), Ruling::Taken { told: false });
        let (renewed, _) = faulty(&key);
        let anew = Ruling::TakenAnew(faults.clone());
        assert_eq!(ruler.rule(&renewed, &findings), anew);
        let (other, _) = faulty(&KeyPair::generate().unwrap());
        let Ruling::Refused(why) = ruler.rule(&other, &findings) else {
            panic!("another key is taken");
        };
        assert!(why.contains("another key"), "{why}");
    }
    let mut ruler = ruler(Trust::Strict, asking());
    ruler.pins = Ok(file.read().unwrap());
    findings.push(Finding {
        fault: Fault::Revoked,
        words: "its issuer has revoked it".into(),
    });
    assert_eq!(ruler.rule(&facts, &findings), Ruling::Ask);
}

/// A handshake with a server that shows the recorded version 1 certificate.
fn handshake(trust: Trust, version: &'static rustls::SupportedProtocolVersion) -> bool {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");
    let certificate = CertificateDer::from_pem_file(format!("{folder}/version1.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(format!("{folder}/version1.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = provider.key_provider.load_private_key(key).unwrap();
    let own = rustls::sign::CertifiedKey::new(vec![certificate], key);
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(own)));
    let policy = super::super::tls::TlsPolicy {
        roots: Certificates::default(),
        trust,
        ..Default::default()
    };
    let client = policy.prepare(HOST, 8443).unwrap().config;
    let name = ServerName::try_from(HOST).unwrap();
    let mut client = rustls::ClientConnection::new(client, name).unwrap();
    let mut server = rustls::ServerConnection::new(Arc::new(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets().unwrap();
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut bytes.as_slice()).unwrap();
        if client.process_new_packets().is_err() {
            return false;
        }
    }
    true
}

#[test]
fn a_version_1_certificate_can_be_pinned() {
    use rustls::pki_types::pem::PemObject as _;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/version1.pem");
    let certificate = CertificateDer::from_pem_file(file).unwrap();
    let pin = super::super::certificate::fingerprint(&certificate);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        assert!(
            handshake(Trust::Pinned(pin.clone()), version),
            "{version:?}"
        );
        assert!(!handshake(Trust::Strict, version), "{version:?}");
    }
}
