//! Certificates the user has accepted for good, in a file that the reference's
//! client reads as well.
//!
//! The file is one JSON object. The key of an entry is `sha256$` and the
//! certificate's SHA-256; `algo`, `fingerprint`, `description` and `errors`,
//! OpenSSL's numbers of the accepted faults, are the reference's. `bindings`
//! are ours: for which host and port it was accepted, which faults it had
//! then, and the SHA-256 of its public key. An entry without them, as the
//! reference writes it, is for any host until it is first used, and bound
//! then. What is not known is kept.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::fault::Fault;
use crate::core::certificate::{Facts, digits, fingerprint};

/// Longest file read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The file of accepted certificates.
#[derive(Debug, Clone)]
pub(crate) struct PinFile(PathBuf);

/// What the file held when it was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pins(Map<String, Value>);

/// What a pin says of a certificate that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Recalled {
    /// Nothing is known of this host.
    Nothing,
    /// It was accepted with these faults.
    Accepted(BTreeSet<Fault>),
    /// The same, and the file is to be told: it was renewed with the same
    /// key, or the reference's client accepted it.
    AcceptedAnew(BTreeSet<Fault>),
    /// Another key was accepted for this host.
    Changed,
}

#[derive(Debug, Deserialize, Serialize)]
struct Entry {
    #[serde(default)]
    algo: String,
    #[serde(default)]
    fingerprint: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    errors: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    bindings: Vec<Binding>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
struct Binding {
    host: String,
    port: u16,
    /// SHA-256 of the public key, hex digits.
    public_key: String,
    faults: Vec<String>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

impl Binding {
    fn is_of(&self, host: &str, port: u16) -> bool {
        self.port == port && self.host.eq_ignore_ascii_case(host)
    }

    fn faults(&self) -> BTreeSet<Fault> {
        self.faults
            .iter()
            .filter_map(|word| Fault::named(word))
            .collect()
    }
}

impl Entry {
    /// The faults the reference's client was told to pass over.
    fn passed_over(&self) -> BTreeSet<Fault> {
        let numbers = self.errors.iter().filter_map(|number| match number {
            Value::Number(number) => number.as_u64(),
            // Perl may write a number as text.
            Value::String(text) => text.parse().ok(),
            _ => None,
        });
        let numbers: BTreeSet<_> = numbers.collect();
        let is_passed = |fault: &Fault| fault.numbers().iter().any(|n| numbers.contains(n));
        let mut faults: BTreeSet<_> = Fault::ALL.into_iter().filter(is_passed).collect();
        // OpenSSL knows no fault in version 1, nor do we in what signs itself
        // as long as it is not trusted: both are the fault of its issuer.
        if faults.contains(&Fault::SelfSigned) || faults.contains(&Fault::UnknownIssuer) {
            faults.extend([Fault::SelfSigned, Fault::UnknownIssuer, Fault::Version1]);
        }
        faults
    }
}

impl Pins {
    fn entries(&self) -> impl Iterator<Item = (&String, Entry)> {
        // What is no entry is somebody else's.
        let read = |value: &Value| serde_json::from_value(value.clone()).ok();
        self.0
            .iter()
            .filter_map(move |(key, value)| Some((key, read(value)?)))
    }

    pub(crate) fn recall(&self, host: &str, port: u16, facts: &Facts) -> Recalled {
        let shown = digits(&facts.details.sha256);
        let key = digits(&fingerprint(&facts.key));
        let mut recalled = Recalled::Nothing;
        for (name, entry) in self.entries() {
            let same = shown.is_some() && certificate_of(name) == shown;
            if same && entry.bindings.is_empty() && recalled == Recalled::Nothing {
                recalled = Recalled::AcceptedAnew(entry.passed_over());
            }
            for binding in entry.bindings.iter().filter(|b| b.is_of(host, port)) {
                let same_key = key.is_some() && digits(&binding.public_key) == key;
                match (same, same_key) {
                    (true, true) => return Recalled::Accepted(binding.faults()),
                    (_, true) => recalled = Recalled::AcceptedAnew(binding.faults()),
                    (_, false) if !matches!(recalled, Recalled::AcceptedAnew(_)) => {
                        recalled = Recalled::Changed;
                    }
                    _ => {}
                }
            }
        }
        recalled
    }

    /// From now on this certificate is the one of this host.
    fn bind(&mut self, host: &str, port: u16, facts: &Facts, faults: &BTreeSet<Fault>) {
        let mut emptied = Vec::new();
        let mut changed = Vec::new();
        for (name, mut entry) in self.entries() {
            let before = entry.bindings.len();
            entry.bindings.retain(|binding| !binding.is_of(host, port));
            if entry.bindings.len() == before {
                continue;
            }
            if entry.bindings.is_empty() {
                // Left without a host it would be good for any.
                emptied.push(name.clone());
            } else {
                changed.push((name.clone(), entry));
            }
        }
        for name in emptied {
            self.0.remove(&name);
        }
        for (name, entry) in changed {
            self.put(name, &entry);
        }
        let shown = digits(&facts.details.sha256).unwrap_or_default();
        let known = self
            .entries()
            .find(|(name, _)| certificate_of(name).as_ref() == Some(&shown))
            .map(|(name, entry)| (name.clone(), entry));
        let (name, mut entry) = known.unwrap_or_else(|| {
            let entry = Entry {
                algo: "sha256".into(),
                fingerprint: shown.clone(),
                description: facts.details.subject.clone(),
                errors: Vec::new(),
                bindings: Vec::new(),
                more: Map::new(),
            };
            (format!("sha256${shown}"), entry)
        });
        for number in faults.iter().filter_map(|fault| fault.numbers().first()) {
            let number = Value::from(*number);
            if !entry.errors.contains(&number) {
                entry.errors.push(number);
            }
        }
        entry.bindings.push(Binding {
            host: host.to_owned(),
            port,
            public_key: digits(&fingerprint(&facts.key)).unwrap_or_default(),
            faults: faults
                .iter()
                .map(|fault| fault.as_str().to_owned())
                .collect(),
            more: Map::new(),
        });
        self.put(name, &entry);
    }

    fn put(&mut self, name: String, entry: &Entry) {
        // Text, numbers and lists always have a form in JSON.
        if let Ok(value) = serde_json::to_value(entry) {
            self.0.insert(name, value);
        }
    }
}

/// The certificate of an entry's key, `sha256$AB:CD…`.
fn certificate_of(name: &str) -> Option<String> {
    digits(name.strip_prefix("sha256$")?)
}

impl PinFile {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    #[cfg(test)]
    fn path(&self) -> &Path {
        &self.0
    }

    /// A file that is missing holds nothing.
    pub(crate) fn read(&self) -> io::Result<Pins> {
        let mut text = String::new();
        match File::open(&self.0) {
            Ok(file) => file.take(MAX_FILE + 1).read_to_string(&mut text)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Pins::default()),
            Err(e) => return Err(e),
        };
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_FILE {
            return Err(io::Error::other("it is too long"));
        }
        if text.trim().is_empty() {
            return Ok(Pins::default());
        }
        Ok(Pins(serde_json::from_str(&text)?))
    }

    /// Accepts a certificate for good. Waits for another client that is
    /// writing; nothing of what that one wrote is lost.
    pub(crate) fn accept(
        &self,
        host: &str,
        port: u16,
        facts: &Facts,
        faults: &BTreeSet<Fault>,
    ) -> io::Result<()> {
        let folder = self.0.parent().unwrap_or(Path::new("."));
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        // The lock is a file of its own, as the other is replaced. It ends
        // with its descriptor.
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.0.with_extension("json.lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let mut pins = self.read()?;
        pins.bind(host, port, facts, faults);
        // Of mode 0600.
        let mut new = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&mut new, &pins.0)?;
        new.write_all(b"\n")?;
        new.as_file().sync_all()?;
        new.persist(&self.0).map_err(|e| e.error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
