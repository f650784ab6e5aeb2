//! Icons in the desktop's menu, one for each VM and application.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use qvd_broker::{VmEntry, one_line};

use crate::core::{Code, Failure};

/// What the names of our files begin with, so that those of VMs that are gone
/// can be told from others.
const PREFIX: &str = "qvdclient-";

/// How a client finds its broker, for the command of an icon. A password has
/// no place in it: the client asks for it.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) program: PathBuf,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
    /// Empty with a token.
    pub(super) login: String,
    /// The configuration file, when it is not the usual one.
    pub(super) config: Option<PathBuf>,
}

/// Writes an icon for each, and takes those away that this login at this
/// broker has no more. Gives the files written.
///
/// # Errors
/// What could not be written.
pub(super) fn write(
    folder: &Path,
    caller: &Caller,
    vms: &[VmEntry],
) -> Result<Vec<PathBuf>, Failure> {
    let fault = |path: &Path, error: io::Error| {
        let message = format!("{}: {error}", path.display());
        Failure::new(Code::Output, message).because(error)
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|e| fault(folder, e))?;
    let mut written = Vec::new();
    for vm in vms {
        let path = folder.join(format!("{}{}.desktop", stem(caller), vm.id));
        replace(folder, &path, &entry(caller, vm)).map_err(|e| fault(&path, e))?;
        written.push(path);
    }
    for old in fs::read_dir(folder).map_err(|e| fault(folder, e))? {
        let path = old.map_err(|e| fault(folder, e))?.path();
        if is_ours(&path, caller) && !written.contains(&path) {
            fs::remove_file(&path).map_err(|e| fault(&path, e))?;
        }
    }
    Ok(written)
}

/// `$XDG_DATA_HOME/applications`, in `~/.local/share` where the variable is
/// not set.
pub(super) fn folder(data_home: Option<&Path>, home: Option<&Path>) -> Option<PathBuf> {
    let place = data_home.filter(|path| path.is_absolute());
    let place = place.map(Path::to_owned);
    let place = place.or_else(|| Some(home?.join(".local/share")))?;
    Some(place.join("applications"))
}

/// The files of one login at one broker are told apart from all others.
fn stem(caller: &Caller) -> String {
    let plain = |text: &str| -> String {
        let hex = |b: u8| match b {
            b if b.is_ascii_alphanumeric() || b == b'.' => char::from(b).to_string(),
            b => format!("_{b:02x}"),
        };
        text.bytes().take(64).map(hex).collect()
    };
    let (host, login) = (plain(&caller.host), plain(&caller.login));
    format!("{PREFIX}{host}-{}-{login}-", caller.port)
}

fn is_ours(path: &Path, caller: &Caller) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let number = name.and_then(|name| {
        let rest = name.strip_prefix(&stem(caller))?;
        rest.strip_suffix(".desktop")
    });
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// A desktop entry, as the Desktop Entry Specification 1.5 has it. A name is
/// the broker's: it ends no line, and adds no key and no argument.
fn entry(caller: &Caller, vm: &VmEntry) -> String {
    let kind = if vm.is_application {
        "QVD application"
    } else {
        "QVD desktop"
    };
    let name = value(&one_line(&vm.name));
    let host = value(&one_line(&caller.host));
    let mut words = vec![
        caller.program.display().to_string(),
        "--host".into(),
        caller.host.clone(),
        "--port".into(),
        caller.port.to_string(),
        if caller.tls { "--ssl" } else { "--no-ssl" }.into(),
    ];
    if !caller.login.is_empty() {
        words.extend(["--username".into(), caller.login.clone()]);
    }
    if let Some(config) = &caller.config {
        words.extend(["--config".into(), config.display().to_string()]);
    }
    words.extend(["--vm-id".into(), vm.id.to_string()]);
    let command: Vec<_> = words.iter().map(|word| argument(word)).collect();
    // The password is asked for on a terminal, unless it is kept or a token
    // stands for it.
    format!(
        "[Desktop Entry]\nType=Application\nVersion=1.5\nName={name}\nComment={kind} at {host}\n\
         Exec={}\nTerminal=true\nIcon=computer\nCategories=Network;RemoteAccess;\n",
        value(&command.join(" "))
    )
}

/// An argument of `Exec`, in quotes.
fn argument(word: &str) -> String {
    let mut text = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '`' | '$' | '\\' => text.extend(['\\', c]),
            '%' => text.push_str("%%"),
            c if c.is_control() => {}
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

/// A value of type string, whose backslashes are escapes.
fn value(text: &str) -> String {
    text.replace('\\', "\\\\")
}

/// Writes beside the file and puts it in its place, so that a menu never sees
/// half of it.
fn replace(folder: &Path, path: &Path, text: &str) -> io::Result<()> {
    let beside = folder.join(format!(".{PREFIX}{}.new", std::process::id()));
    let written = (|| {
        let mut file = fs::File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller() -> Caller {
        Caller {
            program: "/usr/bin/qvdclient".into(),
            host: "broker.test".into(),
            port: 8443,
            tls: true,
            login: "ann".into(),
            config: None,
        }
    }

    fn vm(id: u64, name: &str, is_application: bool) -> VmEntry {
        VmEntry {
            id,
            name: name.into(),
            state: "running".into(),
            blocked: false,
            is_application,
        }
    }

    #[test]
    fn an_icon_connects_to_its_vm() {
        let text = entry(&caller(), &vm(7, "office", true));
        assert_eq!(
            text,
            "[Desktop Entry]\nType=Application\nVersion=1.5\nName=office\n\
             Comment=QVD application at broker.test\n\
             Exec=\"/usr/bin/qvdclient\" \"--host\" \"broker.test\" \"--port\" \"8443\" \
             \"--ssl\" \"--username\" \"ann\" \"--vm-id\" \"7\"\n\
             Terminal=true\nIcon=computer\nCategories=Network;RemoteAccess;\n"
        );
    }

    #[test]
    fn no_name_adds_a_line_or_an_argument() {
        let mut caller = caller();
        caller.login = "ann\" `id` $HOME %f \\\nExec=evil".into();
        let text = entry(&caller, &vm(1, "x\nExec=evil\\s", false));
        assert_eq!(text.lines().filter(|l| l.starts_with("Exec=")).count(), 1);
        assert!(text.contains("Name=x Exec=evil\\\\s\n"), "{text}");
        let quoted = r#""ann\\" \\`id\\` \\$HOME %%f \\\\Exec=evil""#;
        assert!(text.contains(quoted), "{text}");
    }

    #[test]
    fn icons_of_what_is_gone_go_and_those_of_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("made/applications");
        let (one, two) = (vm(1, "one", false), vm(2, "two", true));
        let written = write(&folder, &caller(), &[one.clone(), two]).unwrap();
        assert_eq!(written.len(), 2);
        let mut other = caller();
        other.login = "ben".into();
        let of_other = write(&folder, &other, &[vm(9, "nine", false)]).unwrap();
        fs::write(folder.join("editor.desktop"), "").unwrap();
        assert_eq!(write(&folder, &caller(), &[one]).unwrap(), written[..1]);
        let mut left: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        left.sort();
        let mut expected = vec![
            folder.join("editor.desktop"),
            written[0].clone(),
            of_other[0].clone(),
        ];
        expected.sort();
        assert_eq!(left, expected);
    }

    #[test]
    fn the_folder_is_that_of_the_desktop() {
        let home = Some(Path::new("/home/ann"));
        for (data, expected) in [
            (Some("/data"), "/data/applications"),
            (Some("data"), "/home/ann/.local/share/applications"),
            (None, "/home/ann/.local/share/applications"),
        ] {
            let place = folder(data.map(Path::new), home);
            assert_eq!(place, Some(expected.into()));
        }
        assert_eq!(folder(None, None), None);
    }
}
