//! TCP ports and display numbers, each lent to one test at a time.
//!
//! Tests run beside each other, in threads and in several processes. A lease is
//! a locked file in the directory for temporary files: the kernel gives it back
//! when the process ends, however it ends.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::Doing as _;
use crate::{Error, Result};

/// Display numbers for tests, far from what people use. `QVD_TEST_DISPLAYS`
/// (`FIRST-LAST`) names other ones.
const DISPLAYS: RangeInclusive<u16> = 300..=399;

/// TCP ports for tests: below the range from which the kernel takes the local
/// ports of outgoing connections.
const PORTS: RangeInclusive<u16> = 20_000..=29_999;

/// Distances from a display's number to the TCP ports that belong to it: the NX
/// port, X, and the channels for the slave, sound and printing.
const DISPLAY_PORTS: [u16; 5] = [4000, 6000, 11_000, 7000, 2000];

/// A number which no other test has until this is dropped.
#[derive(Debug)]
pub struct Lease {
    number: u16,
    _lock: File,
}

impl Lease {
    /// The number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// A TCP port on which nothing listens.
///
/// # Errors
///
/// [`Error::Exhausted`] when there is none.
pub fn port() -> Result<Lease> {
    // Starting elsewhere in each process saves trying what others hold.
    let length = PORTS.end() - PORTS.start() + 1;
    let offset = u16::try_from(std::process::id() % u32::from(length)).unwrap_or_default();
    let turned = (0..length).map(|step| PORTS.start() + (offset + step) % length);
    first_free("TCP port", "port", turned, &PORTS, is_free_port)
}

/// A number for an X display, be it Xvfb's or nxagent's, with the TCP ports
/// that belong to it.
///
/// # Errors
///
/// [`Error::Exhausted`] when there is none, [`Error::Invalid`] when
/// `QVD_TEST_DISPLAYS` is no range.
pub fn display() -> Result<Lease> {
    let range = match std::env::var("QVD_TEST_DISPLAYS") {
        Ok(text) => parse_range(&text)?,
        Err(_) => DISPLAYS,
    };
    first_free(
        "display number",
        "display",
        range.clone(),
        &range,
        is_free_display,
    )
}

fn first_free(
    what: &'static str,
    prefix: &str,
    numbers: impl Iterator<Item = u16>,
    range: &RangeInclusive<u16>,
    is_free: impl Fn(u16) -> bool,
) -> Result<Lease> {
    let directory = lock_directory()?;
    for number in numbers {
        let lock = open_lock(&directory.join(format!("{prefix}-{number}")))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() && is_free(number) {
            return Ok(Lease {
                number,
                _lock: lock,
            });
        }
    }
    Err(Error::Exhausted {
        what,
        first: *range.start(),
        last: *range.end(),
    })
}

fn lock_directory() -> Result<PathBuf> {
    // Users do not share it: a file of another user could not be locked.
    let user = rustix::process::geteuid().as_raw();
    let path = std::env::temp_dir().join(format!("qvd-test-locks-{user}"));
    std::fs::create_dir_all(&path).doing(|| format!("creating {}", path.display()))?;
    Ok(path)
}

fn open_lock(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    options
        .open(path)
        .doing(|| format!("opening {}", path.display()))
}

fn is_free_port(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

/// Asked with the number's lease held.
fn is_free_display(number: u16) -> bool {
    let lock = display_lock(number);
    if let Ok(text) = std::fs::read_to_string(&lock) {
        let owner = Path::new("/proc").join(text.trim());
        if owner.exists() {
            return false;
        }
        // A killed server leaves its lock behind, and nxagent minds it. It may
        // be another user's, who alone can remove it.
        if std::fs::remove_file(&lock).is_err() {
            return false;
        }
    }
    // A socket without a server behind it, in contrast, is simply replaced.
    let taken = UnixStream::connect(display_socket(number)).is_ok();
    let ports = DISPLAY_PORTS
        .iter()
        .filter_map(|distance| number.checked_add(*distance));
    !taken && ports.into_iter().all(is_free_port)
}

/// The file by which X servers keep others off their number: it holds the
/// server's process id.
pub fn display_lock(number: u16) -> PathBuf {
    PathBuf::from(format!("/tmp/.X{number}-lock"))
}

/// The Unix socket of an X display.
pub fn display_socket(number: u16) -> PathBuf {
    PathBuf::from(format!("/tmp/.X11-unix/X{number}"))
}

fn parse_range(text: &str) -> Result<RangeInclusive<u16>> {
    let parsed = text.split_once('-').and_then(|(first, last)| {
        let range = first.trim().parse().ok()?..=last.trim().parse().ok()?;
        (!range.is_empty()).then_some(range)
    });
    parsed.ok_or_else(|| {
        Error::Invalid(format!(
            "QVD_TEST_DISPLAYS is '{text}', which is not FIRST-LAST"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_lent_once() {
        let leases: Vec<_> = (0..20).map(|_| port().unwrap()).collect();
        let mut numbers: Vec<_> = leases.iter().map(Lease::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 20);
    }

    #[test]
    fn a_number_comes_back_when_the_lease_ends() {
        let range = 40_000..=40_000;
        let lend = || first_free("number", "unit-test", range.clone(), &range, |_| true);
        let lease = lend().unwrap();
        assert_eq!(
            lend().unwrap_err().to_string(),
            "no free number between 40000 and 40000"
        );
        drop(lease);
        assert_eq!(lend().unwrap().number(), 40_000);
    }

    #[test]
    fn a_port_in_use_is_not_lent() {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!is_free_port(port));
        drop(listener);
        assert!(is_free_port(port));
    }

    #[test]
    fn ranges_are_read() {
        assert_eq!(parse_range("10-20").unwrap(), 10..=20);
        for wrong in ["", "10", "20-10", "a-b", "1-99999"] {
            assert!(parse_range(wrong).is_err(), "{wrong}");
        }
    }
}
