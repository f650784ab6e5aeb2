//! Trusted roots, and the certificates they have revoked.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use crate::core::failure::{Code, Failure};

/// Longest file read, in bytes: lists of revocations can be long.
const MAX_FILE: u64 = 16 << 20;

/// Most files read of a folder.
const MAX_FILES: usize = 10_000;

/// Where the system's administrator keeps certificates.
const SYSTEM_FOLDER: &str = "/etc/ssl/certs";

/// How every DER certificate and list begins: a sequence.
const DER: u8 = 0x30;

/// Where trusted roots are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificates {
    /// Whether the system's roots are trusted.
    pub system: bool,
    /// Files with more roots, PEM or DER. They may hold lists of revocations
    /// as well.
    pub files: Vec<PathBuf>,
    /// Folders of such files, under hashed or any other names; one that is
    /// missing holds none.
    pub folders: Vec<PathBuf>,
}

/// Trusted roots.
#[derive(Debug)]
pub(crate) struct Roots {
    /// All of them.
    pub(crate) store: RootCertStore,
    /// Those the user named, as they are.
    pub(crate) own: Vec<CertificateDer<'static>>,
    /// Lists of revocations.
    pub(crate) revoked: Vec<CertificateRevocationListDer<'static>>,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            store: RootCertStore::empty(),
            own: Vec::new(),
            revoked: Vec::new(),
        }
    }
}

impl Certificates {
    /// Reads them.
    ///
    /// # Errors
    /// When a file that was named cannot be read or holds nothing. What is no
    /// certificate in a folder is passed over.
    pub(crate) fn read(&self) -> Result<Roots, Failure> {
        let mut roots = Roots::default();
        if self.system {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::debug!(%error, "system's certificates");
            }
            roots.store.add_parsable_certificates(found.certs);
            for file in files_of(Path::new(SYSTEM_FOLDER), is_named_as_list) {
                roots.pass_over_faults(&file);
            }
        }
        for file in &self.files {
            roots.add(file)?;
        }
        for folder in &self.folders {
            for file in files_of(folder, |_| true) {
                roots.pass_over_faults(&file);
            }
        }
        let (own, store) = (&roots.own, &mut roots.store);
        store.add_parsable_certificates(own.iter().cloned());
        Ok(roots)
    }
}

impl Roots {
    fn pass_over_faults(&mut self, file: &Path) {
        if let Err(error) = self.add(file) {
            tracing::debug!(%error, "passed over");
        }
    }

    fn add(&mut self, file: &Path) -> Result<(), Failure> {
        let fault = |why: &str| Failure::new(Code::Config, format!("{}: {why}", file.display()));
        let bytes = read(file).map_err(|e| fault(&e.to_string()))?;
        let before = self.own.len() + self.revoked.len();
        if bytes.first() == Some(&DER) {
            // Only reading tells a list from a certificate.
            if webpki_reads(&bytes) {
                self.own.push(bytes.into());
            } else {
                self.add_list(bytes, file);
            }
        } else {
            for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(&bytes) {
                match section.map_err(|e| fault(&e.to_string()))? {
                    (SectionKind::Certificate, der) => self.own.push(der.into()),
                    (SectionKind::Crl, der) => self.add_list(der, file),
                    _ => {}
                }
            }
        }
        if self.own.len() + self.revoked.len() == before {
            return Err(fault("it holds no certificate and no list of revocations"));
        }
        Ok(())
    }

    /// A list that cannot be read would have every certificate refused.
    fn add_list(&mut self, der: Vec<u8>, file: &Path) {
        use x509_parser::prelude::{CertificateRevocationList, FromDer as _};
        match CertificateRevocationList::from_der(&der) {
            Ok(([], _)) => self.revoked.push(der.into()),
            _ => tracing::debug!(file = %file.display(), "no list of revocations"),
        }
    }
}

fn webpki_reads(der: &[u8]) -> bool {
    let mut store = RootCertStore::empty();
    store.add(CertificateDer::from(der)).is_ok()
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let file = std::fs::File::open(file)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE {
        return Err(std::io::Error::other("it is too long"));
    }
    Ok(bytes)
}

/// The files of a folder, in the order of their names.
fn files_of(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let mut files: Vec<_> = paths.filter(|path| wanted(path)).take(MAX_FILES).collect();
    files.sort();
    files
}

/// `issuer.crl`, or `9d66eef0.r0` as OpenSSL looks for it.
fn is_named_as_list(file: &Path) -> bool {
    let Some(end) = file.extension().and_then(|end| end.to_str()) else {
        return false;
    };
    let hashed = |end: &str| {
        let number = end.strip_prefix('r');
        number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    end == "crl" || hashed(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> rcgen::CertifiedKey<rcgen::KeyPair> {
        rcgen::generate_simple_self_signed(["broker.test".to_owned()]).unwrap()
    }

    #[test]
    fn a_folder_of_roots_is_read_and_a_missing_one_holds_none() {
        let (plain, hashed, der) = (made(), made(), made());
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.pem"), plain.cert.pem()).unwrap();
        std::fs::write(dir.path().join("9d66eef0.0"), hashed.cert.pem()).unwrap();
        std::fs::write(dir.path().join("c.cer"), der.cert.der()).unwrap();
        std::fs::write(dir.path().join("note.txt"), "no certificate").unwrap();
        std::fs::write(dir.path().join("odd.der"), [DER, 3, 1, 2, 3]).unwrap();
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        let wanted = Certificates {
            system: false,
            files: Vec::new(),
            folders: vec![dir.path().to_owned(), "/nonexistent".into()],
        };
        let roots = wanted.read().unwrap();
        let all = [&hashed, &plain, &der].map(|one| one.cert.der().clone());
        assert_eq!(roots.own, all);
        assert_eq!(roots.store.len(), 3);
        assert_eq!(roots.revoked.len(), 0);
    }

    #[test]
    fn files_that_hold_no_certificate_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("empty.pem");
        std::fs::write(&file, "nothing").unwrap();
        for file in [file, dir.path().join("missing.pem"), dir.path().to_owned()] {
            let wanted = Certificates {
                files: vec![file.clone()],
                ..Certificates::default()
            };
            let failure = wanted.read().err().unwrap();
            assert_eq!(failure.code(), Code::Config);
            let start = format!("{}: ", file.display());
            assert!(failure.to_string().starts_with(&start), "{failure}");
        }
    }

    #[test]
    fn lists_in_the_systems_folder_are_known_by_their_names() {
        for (name, is) in [
            ("ca.crl", true),
            ("9d66eef0.r0", true),
            ("9d66eef0.r12", true),
            ("9d66eef0.0", false),
            ("a.rb", false),
            ("r", false),
        ] {
            assert_eq!(is_named_as_list(Path::new(name)), is, "{name}");
        }
    }
}
