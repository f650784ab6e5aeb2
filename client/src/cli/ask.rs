//! Questions to the user, where there is one.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use qvd_broker::{VmEntry, one_line};
use secrecy::SecretString;

use super::terminal;
use crate::core::{Code, Failure};

/// Longest password file read, in bytes.
const MAX_PASSWORD: u64 = 4096;

/// Permissions of those who are neither the file's owner nor of its group.
const OTHERS: u32 = 0o007;

/// Asks for a password, without showing it.
pub(super) async fn password(login: &str) -> Result<SecretString, Failure> {
    if !terminal::is_there() {
        return Err(Failure::new(
            Code::NoPassword,
            "no password is given, and there is no terminal to ask on: use --password-file",
        ));
    }
    let fault =
        |e: io::Error| Failure::new(Code::NoPassword, "the password could not be read").because(e);
    let hidden = terminal::Hidden::new().map_err(fault)?;
    prompt(&format!("Password of {login}: ")).map_err(fault)?;
    let line = terminal::line().await.map_err(fault)?;
    drop(hidden);
    line.map(SecretString::from)
        .ok_or_else(|| Failure::new(Code::Interrupted, "no password was given"))
}

/// Asks for a login; `None` when nothing was said.
pub(super) async fn login() -> Result<Option<String>, Failure> {
    if !terminal::is_there() {
        return Err(Failure::new(
            Code::NoPassword,
            "no login is given, and there is no terminal to ask on: use -u LOGIN",
        ));
    }
    let fault =
        |e: io::Error| Failure::new(Code::NoPassword, "the login could not be read").because(e);
    prompt("Login: ").map_err(fault)?;
    let line = terminal::line().await.map_err(fault)?.unwrap_or_default();
    let login = line.trim();
    Ok((!login.is_empty()).then(|| login.to_owned()))
}

pub(super) fn prompt(text: &str) -> io::Result<()> {
    let mut out = io::stderr().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// The first line of a file, or of standard input for `-`.
pub(super) fn password_from(file: &Path) -> Result<SecretString, Failure> {
    let name = file.display();
    let fault = |e: io::Error| Failure::new(Code::NoPassword, format!("password file {name}: {e}"));
    let mut text = String::new();
    if file == Path::new("-") {
        io::stdin()
            .lock()
            .take(MAX_PASSWORD)
            .read_line(&mut text)
            .map_err(fault)?;
    } else {
        let file = std::fs::File::open(file).map_err(fault)?;
        // Of the file that was opened, whatever is under its name by now.
        let mode = file.metadata().map_err(fault)?.mode();
        if mode & OTHERS != 0 {
            return Err(Failure::new(
                Code::NoPassword,
                format!("password file {name}: other users can read it: chmod 600 {name}"),
            ));
        }
        file.take(MAX_PASSWORD)
            .read_to_string(&mut text)
            .map_err(fault)?;
    }
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(Failure::new(
            Code::NoPassword,
            format!("password file {name}: it is empty"),
        ));
    }
    Ok(SecretString::from(line))
}

/// Has the user choose a VM.
pub(super) async fn vm(vms: &[VmEntry]) -> Result<&VmEntry, Failure> {
    if !terminal::is_there() {
        let names: Vec<_> = vms.iter().map(ToString::to_string).collect();
        return Err(Failure::new(
            Code::VmChoice,
            format!(
                "you have several virtual machines, choose one with --vm-id: {}",
                one_line(&names.join(", "))
            ),
        ));
    }
    let fault = |e: io::Error| Failure::new(Code::VmChoice, "no choice could be read").because(e);
    prompt(&menu(vms)).map_err(fault)?;
    loop {
        prompt(&format!("Which one? [1-{}] ", vms.len())).map_err(fault)?;
        let Some(line) = terminal::line().await.map_err(fault)? else {
            return Err(Failure::new(
                Code::Interrupted,
                "no virtual machine was chosen",
            ));
        };
        if let Some(vm) = chosen(&line, vms) {
            return Ok(vm);
        }
    }
}

/// Whether a VM may be started that was stopped while its session was lost;
/// not when there is nobody to ask.
pub(super) async fn may_start(vm: &VmEntry) -> bool {
    let name = one_line(&vm.name);
    let question = format!("{name} was stopped meanwhile. Start it? [y/N] ");
    if !terminal::is_there() || prompt(&question).is_err() {
        return false;
    }
    let line = terminal::line().await.ok().flatten().unwrap_or_default();
    matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

fn menu(vms: &[VmEntry]) -> String {
    let mut text = String::new();
    for (number, vm) in (1..).zip(vms) {
        // A name is the broker's: nothing in it may steer the terminal.
        let (name, state) = (one_line(&vm.name), one_line(&vm.state));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{number:>3}  {name} ({state})");
    }
    text
}

fn chosen<'a>(line: &str, vms: &'a [VmEntry]) -> Option<&'a VmEntry> {
    let number: usize = line.trim().parse().ok()?;
    vms.get(number.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_menu_cannot_steer_the_terminal_and_its_numbers_choose() {
        let vm = |id, name: &str| VmEntry {
            id,
            name: name.into(),
            state: "running".into(),
            blocked: false,
            is_application: false,
        };
        let vms = [vm(7, "office"), vm(3, "evil\u{1b}[2J\n")];
        assert_eq!(
            menu(&vms),
            "  1  office (running)\n  2  evil [2J (running)\n"
        );
        assert_eq!(chosen(" 2 ", &vms).unwrap().id, 3);
        for line in ["0", "3", "", "-1", "office", "99999999999999999999"] {
            assert!(chosen(line, &vms).is_none(), "{line}");
        }
    }

    #[test]
    fn a_password_is_the_first_line_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "s3cret with spaces \nmore\n").unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(
            password_from(&file).unwrap().expose_secret(),
            "s3cret with spaces "
        );
        std::fs::write(&file, "\n").unwrap();
        assert_eq!(password_from(&file).unwrap_err().code(), Code::NoPassword);
    }

    #[test]
    fn a_password_that_everybody_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "s3cret\n").unwrap();
        for (mode, taken) in [(0o600, true), (0o640, true), (0o644, false), (0o602, false)] {
            std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            let read = password_from(&file);
            assert_eq!(read.is_ok(), taken, "{mode:o}");
            if let Err(failure) = read {
                assert!(failure.to_string().contains("chmod 600"), "{failure}");
            }
        }
    }
}
