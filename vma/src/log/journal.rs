//! systemd's journal, by its native protocol: a datagram of fields.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::record::Record;

/// Where the journal listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// Longest value of a field, in bytes: a datagram must fit a socket's buffer.
const MAX_VALUE: usize = 32 * 1024;

/// Whether standard error is the journal, as systemd says by `JOURNAL_STREAM`.
#[must_use]
pub fn is_stderr() -> bool {
    let Ok(told) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    // A descriptor's link in /proc leads to the socket itself.
    std::fs::metadata("/proc/self/fd/2")
        .is_ok_and(|meta| told == format!("{}:{}", meta.dev(), meta.ino()))
}

/// Sends a record.
///
/// # Errors
/// When there is no journal, or it does not take the record at once.
pub fn send(socket: &UnixDatagram, record: &Record) -> io::Result<()> {
    socket.send_to(&datagram(record), Path::new(SOCKET))?;
    Ok(())
}

fn datagram(record: &Record) -> Vec<u8> {
    let mut out = Vec::new();
    field(&mut out, "MESSAGE", &message(record));
    field(&mut out, "PRIORITY", &record.severity().to_string());
    field(&mut out, "SYSLOG_IDENTIFIER", super::IDENT);
    field(&mut out, "QVD_TARGET", record.target);
    if let Some(session) = &record.session {
        field(&mut out, "QVD_SESSION", session);
    }
    if let Some((file, line)) = record.place {
        field(&mut out, "CODE_FILE", file);
        field(&mut out, "CODE_LINE", &line.to_string());
    }
    for (name, value) in &record.fields {
        let name = name.to_ascii_uppercase();
        let fits = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if fits && name != "SESSION" {
            field(&mut out, &format!("QVD_{name}"), value.trim_matches('"'));
        }
    }
    out
}

/// The sentence and its fields; the session has a field of its own.
fn message(record: &Record) -> String {
    let mut text = record.message.clone();
    for (name, value) in &record.fields {
        text.push_str(&format!(" {name}={value}"));
    }
    text
}

/// A field: `NAME=value`, or with its length in front where it has line ends.
fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    let value = value.as_bytes();
    let value = value.get(..MAX_VALUE).unwrap_or(value);
    out.extend(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend(u64::try_from(value.len()).unwrap_or(0).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_as_the_journal_reads_it() {
        let mut expected = b"MESSAGE\n".to_vec();
        let message = b"cannot\nbe done user=\"ann\"";
        expected.extend(25u64.to_le_bytes());
        expected.extend(message);
        expected.extend(
            b"\nPRIORITY=4\nSYSLOG_IDENTIFIER=qvd-vma\nQVD_TARGET=qvd_vma::daemon\n\
              QVD_SESSION=ab12\nCODE_FILE=src/daemon/core.rs\nCODE_LINE=12\nQVD_USER=ann\n",
        );
        let record = super::super::record::tests::example();
        assert_eq!(datagram(&record), expected);
    }

    #[test]
    fn standard_error_of_a_test_is_not_the_journal() {
        assert!(!is_stderr());
    }
}
