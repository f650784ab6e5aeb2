//! Questions to the user, where there is one.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use qvd_broker::VmEntry;
use secrecy::SecretString;

use crate::core::{Code, Failure};

/// Longest password file read, in bytes.
const MAX_PASSWORD: u64 = 4096;

/// Asks for a password, without showing it.
pub(super) fn password(login: &str) -> Result<SecretString, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new(
            Code::NoPassword,
            "no password is given, and there is no terminal to ask on: use --password-file",
        ));
    }
    rpassword::prompt_password(format!("Password of {login}: "))
        .map(SecretString::from)
        .map_err(|e| Failure::new(Code::NoPassword, "the password could not be read").because(e))
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
pub(super) fn vm(vms: &[VmEntry]) -> Result<&VmEntry, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let names: Vec<_> = vms
            .iter()
            .map(|vm| format!("{} ({})", vm.name, vm.id))
            .collect();
        return Err(Failure::new(
            Code::VmChoice,
            format!(
                "you have several virtual machines, choose one with --vm-id: {}",
                names.join(", ")
            ),
        ));
    }
    let fault = |e: io::Error| Failure::new(Code::VmChoice, "no choice could be read").because(e);
    let mut out = io::stderr().lock();
    for (at, vm) in vms.iter().enumerate() {
        writeln!(out, "{:>3}  {} ({})", at + 1, vm.name, vm.state).map_err(fault)?;
    }
    loop {
        write!(out, "Which one? [1-{}] ", vms.len()).map_err(fault)?;
        out.flush().map_err(fault)?;
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line).map_err(fault)? == 0 {
            return Err(Failure::new(
                Code::Interrupted,
                "no virtual machine was chosen",
            ));
        }
        let chosen = line
            .trim()
            .parse::<usize>()
            .ok()
            .and_then(|n| n.checked_sub(1));
        if let Some(vm) = chosen.and_then(|at| vms.get(at)) {
            return Ok(vm);
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_password_is_the_first_line_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "s3cret with spaces \nmore\n").unwrap();
        assert_eq!(
            password_from(&file).unwrap().expose_secret(),
            "s3cret with spaces "
        );
        std::fs::write(&file, "\n").unwrap();
        assert_eq!(password_from(&file).unwrap_err().code(), Code::NoPassword);
    }
}
