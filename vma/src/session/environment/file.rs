//! Files of variables, in the grammar of PAM's `/etc/environment`.
//!
//! One `NAME=value` a line, `export` before it allowed. A value may be quoted
//! with `"` or `'`; nothing in it is expanded. `#` begins a comment at the
//! start of a line, and after a space outside quotes. A backslash at a line's
//! end joins the next line.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Longest file that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Most variables of a file.
const MAX_VARIABLES: usize = 256;

/// Longest value, in bytes. With as many as a file may have it still fits into
/// what a program can be started with.
const MAX_VALUE: usize = 4096;

/// What a file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Variables {
    /// Names and values, in the file's order.
    pub set: Vec<(String, String)>,
    /// Lines that are not understood, and why. Never a value: it may be a
    /// secret.
    pub faults: Vec<(usize, &'static str)>,
}

/// Reads a file; one that is not there says nothing.
///
/// # Errors
/// As of the file system; also for what is no file, or longer than is read.
pub fn read(path: &Path) -> io::Result<Variables> {
    // A pipe of that name must not stop the session.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Variables::default()),
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("longer than {MAX_BYTES} bytes")));
    }
    Ok(parse(&bytes))
}

fn parse(bytes: &[u8]) -> Variables {
    let mut variables = Variables::default();
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines().enumerate();
    while let Some((number, first)) = lines.next() {
        let mut line = first.to_owned();
        while line.ends_with('\\') {
            line.pop();
            match lines.next() {
                Some((_, next)) => line.push_str(next),
                None => break,
            }
        }
        match variable(&line) {
            Ok(None) => {}
            Ok(Some(_)) if variables.set.len() >= MAX_VARIABLES => {
                variables.faults.push((number + 1, "too many variables"));
                break;
            }
            Ok(Some(variable)) => variables.set.push(variable),
            Err(fault) => variables.faults.push((number + 1, fault)),
        }
    }
    variables
}

fn variable(line: &str) -> Result<Option<(String, String)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let exported = line.strip_prefix("export").map(str::trim_start);
    let line = match exported {
        Some(rest) if rest.len() + "export".len() < line.len() => rest,
        _ => line,
    };
    let (name, value) = line.split_once('=').ok_or("not NAME=value")?;
    if !is_name(name) {
        return Err("not the name of a variable");
    }
    let value = unquoted(value)?;
    if value.len() > MAX_VALUE {
        return Err("value too long");
    }
    if value.contains(['\0', '\u{fffd}']) {
        return Err("value is no text");
    }
    Ok(Some((name.to_owned(), value.to_owned())))
}

fn is_name(name: &str) -> bool {
    (1..=256).contains(&name.len())
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn unquoted(value: &str) -> Result<&str, &'static str> {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            let (inner, after) = rest.split_once(quote).ok_or("quote is not closed")?;
            let after = after.trim_start();
            return match after.is_empty() || after.starts_with('#') {
                true => Ok(inner),
                false => Err("text after the quote"),
            };
        }
    }
    let end = value.find(" #").or_else(|| value.find("\t#"));
    Ok(value
        .get(..end.unwrap_or(value.len()))
        .unwrap_or(value)
        .trim_end())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(text: &str) -> Vec<(String, String)> {
        let variables = parse(text.as_bytes());
        assert_eq!(variables.faults, [], "{text}");
        variables.set
    }

    #[test]
    fn what_pam_takes_is_taken() {
        let text = "# comment\n\n  \nLANG=es_ES.UTF-8\nexport EDITOR=vi # the best\n\
                    export\tA=1\nB=\"two words\"  # said\nC='it''\nD=\nE=a#b\nexportF=x\n\
                    PATH=/bin:\\\n/usr/bin\nG=\"#\"\n";
        let text = text.replace("C='it''\n", "C='$HOME'\n");
        let found = set(&text);
        let expected = [
            ("LANG", "es_ES.UTF-8"),
            ("EDITOR", "vi"),
            ("A", "1"),
            ("B", "two words"),
            ("C", "$HOME"),
            ("D", ""),
            ("E", "a#b"),
            ("exportF", "x"),
            ("PATH", "/bin:/usr/bin"),
            ("G", "#"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn lines_that_are_not_understood_are_skipped_and_named() {
        let long = format!("L={}\n", "x".repeat(MAX_VALUE + 1));
        let text = format!("A=1\nwhat is this\n1B=x\nC D=x\nE=\"open\nF=\"a\"b\n=x\n{long}G=2\n");
        let found = parse(text.as_bytes());
        let names: Vec<&str> = found.set.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["A", "G"]);
        let lines: Vec<usize> = found.faults.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(parse(b"A=\xff\nB=1\n").faults, [(1, "value is no text")]);
        let many: String = (0..=MAX_VARIABLES).map(|n| format!("V{n}=x\n")).collect();
        let many = parse(many.as_bytes());
        assert_eq!((many.set.len(), many.faults.len()), (MAX_VARIABLES, 1));
    }

    #[test]
    fn only_a_file_of_a_sane_length_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("environment");
        assert_eq!(read(&path).unwrap(), Variables::default());
        std::fs::write(&path, "A=1").unwrap();
        assert_eq!(read(&path).unwrap().set.len(), 1);
        std::fs::write(&path, "#".repeat(70_000)).unwrap();
        assert!(read(&path).is_err());
        assert!(read(folder.path()).is_err());
        assert!(read(Path::new("/dev/zero")).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_set_can_be_given_to_a_program(text in "[ -~\n\\\\\"']{0,200}") {
            for (name, value) in parse(text.as_bytes()).set {
                prop_assert!(is_name(&name));
                prop_assert!(!value.contains(['\n', '\0']));
            }
        }
    }
}
