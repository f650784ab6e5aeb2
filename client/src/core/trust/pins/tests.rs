use std::os::unix::fs::PermissionsExt as _;

use rcgen::{CertificateParams, KeyPair};

use super::*;

fn shown(key: &KeyPair) -> Facts {
    let params = CertificateParams::new(vec!["broker.test".to_owned()]).unwrap();
    Facts::of(params.self_signed(key).unwrap().der()).unwrap()
}

fn new_file() -> (tempfile::TempDir, PinFile) {
    let dir = tempfile::tempdir().unwrap();
    let file = PinFile::new(&dir.path().join(".qvd/accepted_certs.json"));
    (dir, file)
}

fn self_signed() -> BTreeSet<Fault> {
    BTreeSet::from([Fault::SelfSigned])
}

#[test]
fn a_pin_is_for_one_host_and_port_and_its_file_is_private() {
    let (_dir, file) = new_file();
    let facts = shown(&KeyPair::generate().unwrap());
    let recall = |host: &str, port| file.read().unwrap().recall(host, port, &facts);
    assert_eq!(recall("a.test", 1), Recalled::Nothing);
    file.accept("a.test", 1, &facts, &self_signed()).unwrap();
    assert_eq!(recall("A.test", 1), Recalled::Accepted(self_signed()));
    assert_eq!(recall("a.test", 2), Recalled::Nothing);
    assert_eq!(recall("b.test", 1), Recalled::Nothing);
    let mode = std::fs::metadata(file.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // One certificate may serve several hosts.
    file.accept("b.test", 1, &facts, &self_signed()).unwrap();
    assert_eq!(recall("a.test", 1), Recalled::Accepted(self_signed()));
    assert_eq!(recall("b.test", 1), Recalled::Accepted(self_signed()));
}

#[test]
fn a_renewal_keeps_the_pin_only_with_the_same_key() {
    let (_dir, file) = new_file();
    let key = KeyPair::generate().unwrap();
    let (old, renewed) = (shown(&key), shown(&key));
    assert_ne!(old.details.sha256, renewed.details.sha256);
    let other = shown(&KeyPair::generate().unwrap());
    file.accept("a.test", 1, &old, &self_signed()).unwrap();
    let recall = |facts| file.read().unwrap().recall("a.test", 1, facts);
    assert_eq!(recall(&renewed), Recalled::AcceptedAnew(self_signed()));
    assert_eq!(recall(&other), Recalled::Changed);
    file.accept("a.test", 1, &renewed, &self_signed()).unwrap();
    assert_eq!(recall(&renewed), Recalled::Accepted(self_signed()));
    assert_eq!(file.read().unwrap().0.len(), 1, "the old one is gone");
}

#[test]
fn what_the_references_client_accepted_is_known_and_bound_when_used() {
    let (_dir, file) = new_file();
    let facts = shown(&KeyPair::generate().unwrap());
    let print = &facts.details.sha256;
    std::fs::create_dir_all(file.path().parent().unwrap()).unwrap();
    let text = serde_json::json!({
        format!("sha256${print}"): {
            "algo": "sha256", "fingerprint": print, "description": "/CN=broker",
            "errors": [18, "1001"], "odd": true,
        },
        "sha512$00": { "algo": "sha512" },
        "note": 7,
    });
    std::fs::write(file.path(), text.to_string()).unwrap();
    let recalled = file.read().unwrap().recall("a.test", 1, &facts);
    let Recalled::AcceptedAnew(faults) = recalled else {
        panic!("{recalled:?}");
    };
    assert!(faults.contains(&Fault::SelfSigned) && faults.contains(&Fault::WrongHost));
    assert!(!faults.contains(&Fault::Expired) && !faults.contains(&Fault::Revoked));
    file.accept("a.test", 1, &facts, &faults).unwrap();
    let pins = file.read().unwrap();
    assert_eq!(pins.recall("b.test", 1, &facts), Recalled::Nothing);
    let kept = pins.0.get(&format!("sha256${print}")).unwrap();
    assert_eq!(
        (kept["odd"].as_bool(), kept["errors"][0].as_u64()),
        (Some(true), Some(18))
    );
    assert!(pins.0.contains_key("sha512$00") && pins.0.contains_key("note"));
}

#[test]
fn a_file_that_cannot_be_read_is_not_written_over() {
    let (_dir, file) = new_file();
    let facts = shown(&KeyPair::generate().unwrap());
    std::fs::create_dir_all(file.path().parent().unwrap()).unwrap();
    for text in ["{\"half\": ", "[]"] {
        std::fs::write(file.path(), text).unwrap();
        assert!(file.read().is_err());
        assert!(file.accept("a.test", 1, &facts, &self_signed()).is_err());
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), text);
    }
}

#[test]
fn many_that_write_at_once_lose_nothing() {
    let (_dir, file) = new_file();
    let facts = shown(&KeyPair::generate().unwrap());
    std::thread::scope(|scope| {
        for writer in 0..4u16 {
            let (file, facts) = (&file, &facts);
            scope.spawn(move || {
                for n in 0..10 {
                    let port = writer * 100 + n;
                    file.accept("a.test", port, facts, &self_signed()).unwrap();
                }
            });
        }
    });
    let pins = file.read().unwrap();
    for port in (0..4).flat_map(|writer| (0..10).map(move |n| writer * 100 + n)) {
        let recalled = pins.recall("a.test", port, &facts);
        assert_eq!(recalled, Recalled::Accepted(self_signed()), "{port}");
    }
}
