//! Takes secrets off the command line, which every user of the machine can
//! read: the program puts them into memory without a name and starts itself
//! again with stars in their place.
//!
//! For the moment until then they can be seen; that is why there are better
//! ways, and a warning.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;

use rustix::fs::{MemfdFlags, memfd_create};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::arguments::Arguments;

/// The options whose values are secrets.
const SECRET: [&str; 2] = ["password", "token"];

/// Says to the program's second self where the secrets are.
const FD: &str = "--secrets-fd=";

/// What stands in the place of a secret.
const STARS: &[u8] = b"***";

/// Longest text of secrets, in bytes. The system's limit for one argument is
/// beyond it.
const MAX_SECRETS: u64 = 256 * 1024;

#[derive(Default, Serialize, Deserialize)]
struct Secrets {
    password: Option<String>,
    token: Option<String>,
}

/// Starts the program again when there are secrets in `line`, and does not
/// return then.
///
/// # Errors
/// When that cannot be done; the secrets stay where they are.
pub(super) fn restart(line: &[OsString], definition: &clap::Command) -> io::Result<()> {
    let Some((mut kept, secrets)) = split(line, definition) else {
        return Ok(());
    };
    let mut memory = File::from(memfd_create("secrets", MemfdFlags::empty())?);
    memory.write_all(&serde_json::to_vec(&secrets)?)?;
    let name = kept.remove(0);
    // The name of /proc/self/exe would be the program's in lists of processes.
    let program = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    Err(std::process::Command::new(program)
        .arg0(name)
        .arg(format!("{FD}{}", memory.as_raw_fd()))
        .args(kept)
        .exec())
}

/// Puts the secrets back into the arguments of the program's second self.
///
/// # Errors
/// When they cannot be read.
pub(super) fn restore(arguments: &mut Arguments) -> io::Result<()> {
    let Some(fd) = arguments.secrets_fd else {
        return Ok(());
    };
    let mut memory = File::options()
        .read(true)
        .write(true)
        .open(format!("/proc/self/fd/{fd}"))?;
    let mut text = Vec::new();
    (&mut memory).take(MAX_SECRETS).read_to_end(&mut text)?;
    // Programs that are started inherit it, and shall find nothing.
    memory.set_len(0)?;
    let secrets: Secrets = serde_json::from_slice(&text)?;
    let put = |place: &mut Option<SecretString>, secret: Option<String>| {
        if let Some(secret) = secret
            && place.is_some()
        {
            *place = Some(secret.into());
        }
    };
    put(&mut arguments.password, secrets.password);
    put(&mut arguments.token, secrets.token);
    Ok(())
}

/// The command line with stars for secrets, and these; `None` when it has none
/// or is the second self's.
fn split(line: &[OsString], definition: &clap::Command) -> Option<(Vec<OsString>, Secrets)> {
    let mut kept = line.to_vec();
    let mut secrets = Secrets::default();
    let mut rest = kept.iter_mut().skip(1);
    while let Some(argument) = rest.next() {
        let bytes = argument.as_bytes();
        if bytes == b"--" || bytes.starts_with(FD.as_bytes()) {
            break;
        }
        let Some((option, value)) = valued(bytes, definition) else {
            continue;
        };
        // Where the value begins in its argument; in the next where it is not
        // in this.
        let (place, begin) = match value {
            Some(begin) => (argument, begin),
            None => (rest.next()?, 0),
        };
        if let Some(name) = SECRET.into_iter().find(|name| option.get_id() == name) {
            let mut bytes = place.as_bytes().to_vec();
            let secret = bytes.split_off(begin);
            bytes.extend_from_slice(STARS);
            // What is no text is refused when the line is read.
            let secret = String::from_utf8(secret).ok()?;
            match name {
                "password" => secrets.password = Some(secret),
                _ => secrets.token = Some(secret),
            }
            *place = OsString::from_vec(bytes);
        }
    }
    let found = secrets.password.is_some() || secrets.token.is_some();
    found.then_some((kept, secrets))
}

/// The option in an argument that takes a value, and where in the argument the
/// value begins if it does.
fn valued<'d>(
    argument: &[u8],
    definition: &'d clap::Command,
) -> Option<(&'d clap::Arg, Option<usize>)> {
    if let Some(long) = argument.strip_prefix(b"--") {
        let end = long.iter().position(|&b| b == b'=');
        let name = OsStr::from_bytes(long.get(..end.unwrap_or(long.len()))?);
        let option = definition
            .get_arguments()
            .find(|option| option.get_long().is_some_and(|long| name == long))?;
        return takes_value(option).then_some((option, end.map(|end| end + 3)));
    }
    let letters = argument.strip_prefix(b"-")?;
    for (index, letter) in letters.iter().enumerate() {
        let option = definition
            .get_arguments()
            .find(|option| option.get_short() == Some(char::from(*letter)))?;
        if takes_value(option) {
            // Behind the dash and this letter, and a `=` there may be.
            let value = match letters.get(index + 1) {
                None => None,
                Some(b'=') => Some(index + 3),
                Some(_) => Some(index + 2),
            };
            return Some((option, value));
        }
    }
    None
}

fn takes_value(option: &clap::Arg) -> bool {
    option.get_action().takes_values()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::command;

    fn parts(line: &str) -> Option<(String, Secrets)> {
        let line: Vec<OsString> = line.split(' ').map(Into::into).collect();
        let (kept, secrets) = split(&line, &command())?;
        let kept: Vec<_> = kept.iter().map(|part| part.to_str().unwrap()).collect();
        Some((kept.join(" "), secrets))
    }

    #[test]
    fn every_way_to_write_a_secret_is_found() {
        for (line, kept) in [
            ("q -u ann -w s3 -l", "q -u ann -w *** -l"),
            ("q -ws3 -l", "q -w*** -l"),
            ("q -w=s3 -l", "q -w=*** -l"),
            ("q -dlws3", "q -dlw***"),
            ("q -dlw s3", "q -dlw ***"),
            ("q --password s3", "q --password ***"),
            ("q --password=s3 -u s3", "q --password=*** -u s3"),
            ("q check host -w s3", "q check host -w ***"),
            ("q -u -w -w s3", "q -u -w -w ***"),
        ] {
            let (text, secrets) = parts(line).unwrap();
            assert_eq!(text, kept);
            assert_eq!(secrets.password.as_deref(), Some("s3"), "{line}");
        }
        let (text, secrets) = parts("q --token t --json").unwrap();
        assert_eq!(text, "q --token *** --json");
        assert_eq!(secrets.token.as_deref(), Some("t"));
    }

    #[test]
    fn a_line_without_secrets_is_left_alone() {
        for line in [
            "q",
            "q -l",
            "q -u -w",
            "q -h w -x w",
            "q -w",
            "q --password-file f",
            "q -- -w s3",
            "q --secrets-fd=3 -w ***",
            "q --no-such-option -w",
        ] {
            assert!(parts(line).is_none(), "{line}");
        }
    }

    #[test]
    fn whatever_stands_on_the_line_is_read_without_panic() {
        use proptest::prelude::*;
        let definition = command();
        let argument = proptest::collection::vec(any::<u8>(), 0..6);
        let line = proptest::collection::vec(
            (
                prop_oneof![Just("-"), Just("--"), Just("-w"), Just("")],
                argument,
            ),
            0..6,
        );
        proptest!(|(line in line)| {
            let line: Vec<OsString> = line
                .into_iter()
                .map(|(begin, rest)| {
                    OsString::from_vec([begin.as_bytes(), &rest].concat())
                })
                .collect();
            if let Some((kept, _)) = split(&line, &definition) {
                prop_assert_eq!(kept.len(), line.len());
            }
        });
    }
}
