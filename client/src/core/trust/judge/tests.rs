use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;

use super::*;

const HOST: &str = "broker.test";

struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    fn issue(&self, params: &CertificateParams) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.issuer).unwrap().der().clone()
    }

    fn list_of(&self, serial: u64) -> CertificateRevocationListDer<'static> {
        self.list_until(serial, 2150)
    }

    /// A list that is over on the first of February of this year.
    fn list_until(&self, serial: u64, year: i32) -> CertificateRevocationListDer<'static> {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(year, 2, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().der().clone()
    }

    fn judge(&self, lists: Vec<CertificateRevocationListDer<'static>>) -> Judge {
        judge(&[&self.certificate], lists)
    }
}

fn judge(
    own: &[&CertificateDer<'static>],
    revoked: Vec<CertificateRevocationListDer<'static>>,
) -> Judge {
    let own: Vec<_> = own.iter().map(|der| (*der).clone()).collect();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(own.iter().cloned());
    let roots = Roots {
        store,
        own,
        revoked,
    };
    Judge::new(roots, Stapled::Try, Arc::new(aws_lc_rs::default_provider())).unwrap()
}

fn params() -> CertificateParams {
    CertificateParams::new(vec![HOST.to_owned()]).unwrap()
}

fn expired() -> CertificateParams {
    let mut params = params();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
    params
}

fn self_signed(params: &CertificateParams) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().clone()
}

fn recorded(name: &str) -> CertificateDer<'static> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");
    CertificateDer::from_pem_file(format!("{folder}/{name}")).unwrap()
}

/// What was recorded is valid in 2030.
const THEN: Duration = Duration::from_secs(1_900_000_000);

fn findings(judge: &Judge, shown: &CertificateDer<'static>, host: &str) -> Vec<Finding> {
    findings_at(judge, shown, host, UnixTime::now())
}

fn findings_at(
    judge: &Judge,
    shown: &CertificateDer<'static>,
    host: &str,
    now: UnixTime,
) -> Vec<Finding> {
    let host = ServerName::try_from(host.to_owned()).unwrap();
    judge.faults(&Shown {
        certificate: shown,
        intermediates: &[],
        host: &host,
        now,
        ocsp: &[],
    })
}

fn faults(judge: &Judge, shown: &CertificateDer<'static>, host: &str) -> Vec<Fault> {
    let found = findings(judge, shown, host);
    found.iter().map(|found| found.fault).collect()
}

#[test]
fn a_good_certificate_has_no_fault() {
    let authority = Authority::new("ours");
    let judge = authority.judge(Vec::new());
    assert_eq!(faults(&judge, &authority.issue(&params()), HOST), []);
}

#[test]
fn each_fault_is_found_alone() {
    let authority = Authority::new("ours");
    let judge = authority.judge(Vec::new());
    let found = |shown: &CertificateDer<'static>, host| faults(&judge, shown, host);
    let good = authority.issue(&params());
    assert_eq!(found(&good, "other.test"), [Fault::WrongHost]);
    assert_eq!(found(&authority.issue(&expired()), HOST), [Fault::Expired]);
    let mut early = params();
    early.not_before = date_time_ymd(2150, 1, 1);
    early.not_after = date_time_ymd(2151, 1, 1);
    assert_eq!(found(&authority.issue(&early), HOST), [Fault::NotYetValid]);
    let strange = Authority::new("theirs").issue(&params());
    assert_eq!(found(&strange, HOST), [Fault::UnknownIssuer]);
    let namesake = Authority::new("ours").issue(&params());
    assert_eq!(found(&namesake, HOST), [Fault::UnknownIssuer]);
    assert_eq!(found(&self_signed(&params()), HOST), [Fault::SelfSigned]);
    let mut for_clients = params();
    for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    assert_eq!(found(&authority.issue(&for_clients), HOST), [Fault::Other]);
    let broken = CertificateDer::from(vec![0x30, 3, 1, 2, 3]);
    assert_eq!(found(&broken, HOST), [Fault::Other]);
}

#[test]
fn all_faults_are_found_and_said_in_words() {
    let theirs = Authority::new("theirs").issue(&expired());
    for judge in [
        judge(&[], Vec::new()),
        Authority::new("ours").judge(Vec::new()),
    ] {
        let found = findings(&judge, &theirs, "other.test");
        let words: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "its issuer CN=theirs is not trusted",
                "it expired on 2021-01-01",
                "it is for broker.test, not other.test"
            ]
        );
    }
}

#[test]
fn an_expired_certificate_of_a_trusted_issuer_is_not_a_strangers() {
    let authority = Authority::new("ours");
    let judge = authority.judge(Vec::new());
    assert_eq!(
        faults(&judge, &authority.issue(&expired()), "other.test"),
        [Fault::Expired, Fault::WrongHost]
    );
}

#[test]
fn revocations_are_found_also_of_what_has_expired() {
    let authority = Authority::new("ours");
    let judge = authority.judge(vec![authority.list_of(7), Authority::new("x").list_of(8)]);
    let with_serial = |mut params: CertificateParams, serial: u64| {
        params.serial_number = Some(SerialNumber::from(serial));
        authority.issue(&params)
    };
    let revoked = with_serial(params(), 7);
    assert_eq!(faults(&judge, &revoked, HOST), [Fault::Revoked]);
    assert_eq!(
        faults(&judge, &with_serial(expired(), 7), "other.test"),
        [Fault::Expired, Fault::WrongHost, Fault::Revoked]
    );
    // The list with 8 is another issuer's.
    assert_eq!(faults(&judge, &with_serial(params(), 8), HOST), []);
}

#[test]
fn an_old_list_is_a_fault_and_still_says_who_was_revoked() {
    let authority = Authority::new("ours");
    let old = |authority: &Authority| authority.list_until(7, 2026);
    let judge = authority.judge(vec![old(&authority)]);
    let good = authority.issue(&params());
    let found = findings(&judge, &good, HOST);
    assert_eq!(
        found,
        [Finding::new(
            Fault::OldRevocations,
            "its issuer's list of revocations is out of date since 2026-02-01, so whether it was revoked is not known"
        )]
    );
    assert_eq!(
        faults(&judge, &good, "other.test"),
        [Fault::WrongHost, Fault::OldRevocations]
    );
    let mut revoked = params();
    revoked.serial_number = Some(SerialNumber::from(7));
    assert_eq!(
        faults(&judge, &authority.issue(&revoked), HOST),
        [Fault::Revoked, Fault::OldRevocations]
    );
    // Of another's old list there is nothing to fear, nor of one that only has
    // the issuer's name.
    for stranger in ["theirs", "ours"] {
        let strange = Authority::new(stranger);
        let judge = authority.judge(vec![old(&strange), authority.list_of(9)]);
        assert_eq!(faults(&judge, &good, HOST), [], "{stranger}");
    }
}

#[test]
fn every_list_of_an_issuer_counts_and_a_current_one_is_enough() {
    let authority = Authority::new("ours");
    let mut revoked = params();
    revoked.serial_number = Some(SerialNumber::from(7));
    let revoked = authority.issue(&revoked);
    let good = authority.issue(&params());
    let older = authority.list_until(1, 2026);
    let newer = authority.list_of(7);
    for lists in [[older.clone(), newer.clone()], [newer, older]] {
        let judge = authority.judge(lists.to_vec());
        assert_eq!(faults(&judge, &good, HOST), []);
        assert_eq!(faults(&judge, &revoked, HOST), [Fault::Revoked]);
    }
}

#[test]
fn a_list_that_only_bears_the_issuers_name_does_not_count() {
    let authority = Authority::new("ours");
    let mut named = params();
    named.serial_number = Some(SerialNumber::from(7));
    let shown = authority.issue(&named);
    let forged = Authority::new("ours").list_of(7);
    let judge = authority.judge(vec![forged.clone()]);
    assert_eq!(faults(&judge, &shown, HOST), []);
    let judge = authority.judge(vec![forged, authority.list_of(7)]);
    assert_eq!(faults(&judge, &shown, HOST), [Fault::Revoked]);
}

#[test]
fn a_list_that_cannot_be_used_leaves_the_others_in_force() {
    let authority = Authority::new("ours");
    let odd = CertificateRevocationListDer::from(vec![0x30, 0]);
    let judge = authority.judge(vec![odd, authority.list_of(7)]);
    let mut params = params();
    params.serial_number = Some(SerialNumber::from(7));
    let revoked = authority.issue(&params);
    assert_eq!(faults(&judge, &revoked, HOST), [Fault::Revoked]);
}

#[test]
fn weakness_is_found_even_where_the_issuer_is_trusted() {
    let shown = recorded("rsa1024.pem");
    let judge = judge(&[&shown], Vec::new());
    let found = findings_at(&judge, &shown, HOST, UnixTime::since_unix_epoch(THEN));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        found[0],
        Finding::new(
            Fault::WeakKey,
            "CN=broker.test has an RSA key of 1024 bits, which is weak"
        )
    );
}

#[test]
fn old_signatures_and_old_versions_are_named() {
    let judge = judge(&[], Vec::new());
    let found = |name, host| {
        let now = UnixTime::since_unix_epoch(THEN);
        let found = findings_at(&judge, &recorded(name), host, now);
        found.iter().map(|found| found.fault).collect::<Vec<_>>()
    };
    assert_eq!(
        found("sha1.pem", HOST),
        [Fault::SelfSigned, Fault::InsecureSignature]
    );
    let v1 = "version1.pem";
    assert_eq!(found(v1, HOST), [Fault::SelfSigned, Fault::Version1]);
    assert_eq!(
        found(v1, "other.test"),
        [Fault::SelfSigned, Fault::Version1, Fault::WrongHost]
    );
}

#[test]
fn a_certificate_the_user_named_is_trusted_for_its_host_only() {
    for authority in [false, true] {
        let mut params = params();
        if authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let shown = self_signed(&params);
        let named = judge(&[&shown], Vec::new());
        assert_eq!(faults(&named, &shown, HOST), []);
        assert_eq!(faults(&named, &shown, "other.test"), [Fault::WrongHost]);
        // One like it is not the same.
        let other = self_signed(&params);
        assert_eq!(faults(&named, &other, HOST), [Fault::SelfSigned]);
    }
}

#[test]
fn what_the_broker_hands_on_of_its_issuer_counts() {
    let (ca, leaf) = (recorded("ocsp-ca.pem"), recorded("ocsp-leaf.pem"));
    let file = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");
        std::fs::read(format!("{folder}/{name}")).unwrap()
    };
    let (good, revoked) = (file("ocsp-good.der"), file("ocsp-revoked.der"));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let host = ServerName::try_from(HOST).unwrap();
    let other = ServerName::try_from("other.test").unwrap();
    let found = |stapled, ocsp: &[u8], host| {
        let mut roots = Roots::default();
        roots.store.add(ca.clone()).unwrap();
        let judge = Judge::new(roots, stapled, provider.clone()).unwrap();
        let found = judge.faults(&Shown {
            certificate: &leaf,
            intermediates: &[],
            host,
            now: UnixTime::since_unix_epoch(THEN),
            ocsp,
        });
        found.iter().map(|found| found.fault).collect::<Vec<_>>()
    };
    assert_eq!(found(Stapled::Try, &[], &host), []);
    assert_eq!(found(Stapled::Try, &good, &host), []);
    assert_eq!(found(Stapled::Try, &revoked, &host), [Fault::Revoked]);
    assert_eq!(
        found(Stapled::Try, &revoked, &other),
        [Fault::WrongHost, Fault::Revoked]
    );
    assert_eq!(found(Stapled::Ignore, &revoked, &host), []);
    assert_eq!(found(Stapled::Must, &[], &host), [Fault::OcspError]);
    assert_eq!(found(Stapled::Must, &good, &host), []);
}
