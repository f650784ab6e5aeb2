//! An archive for those who look for a fault: versions, configuration, logs
//! and the last session's trace, without secrets.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nx_proxy::Display;
use secrecy::ExposeSecret as _;
use tokio::process::Command;
use tokio::time::timeout;

use super::settings::Settings;
use crate::core::{Code, Failure};

/// The folder in the archive.
const FOLDER: &str = "qvdclient-diagnose";

/// Most of a log that is taken, in bytes: its end.
const MAX_LOG: u64 = 4 << 20;

/// For a program to say its version.
const ANSWER: Duration = Duration::from_secs(5);

/// Most of what a program says of its version, in characters.
const MAX_VERSION: usize = 400;

/// What stands in place of a secret.
const HIDDEN: &str = "(not shown)";

/// The words before what only those concerned may know, in small letters. The
/// log has none of these; it may be one that another program wrote.
const BEFORE_SECRETS: [&str; 7] = [
    "basic ",
    "bearer ",
    "x-qvd-slave-key: ",
    "slave_key=",
    "password=",
    "password = ",
    "token=",
];

/// Shorter secrets would be found in every second word.
const MIN_SECRET: usize = 4;

/// Variables that say something of the user's display and language.
const VARIABLES: [&str; 14] = [
    "DISPLAY",
    "XAUTHORITY",
    "XAUTHLOCALHOSTNAME",
    "XDG_SESSION_TYPE",
    "XDG_CURRENT_DESKTOP",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "WAYLAND_DISPLAY",
    "LANG",
    "LC_ALL",
    "TZ",
    "PATH",
    "QVDCLIENTCONFIG",
    "QVD_DEBUG_FILE",
];

/// Writes the archive, which only the user can read, and gives its name.
///
/// # Errors
/// When it cannot be written. What cannot be found out is told in it.
pub(super) async fn write(settings: &Settings, file: Option<&Path>) -> Result<PathBuf, Failure> {
    let path = match file {
        Some(file) => file.to_owned(),
        None => PathBuf::from(format!("{FOLDER}-{}.tar", now())),
    };
    let redact = Redact::of(settings);
    let log = log(settings.log_file.as_deref());
    let session = log.as_deref().map(last_session).unwrap_or_default();
    let parts = [
        ("versions.txt", versions(settings).await),
        ("configuration.txt", configuration(settings)),
        ("environment.txt", environment(settings).await),
        ("client.log", log.unwrap_or_else(|why| why.to_string())),
        ("last-session.log", session),
    ];
    let fault = |error: io::Error| {
        let message = format!("{}: {error}", path.display());
        Failure::new(Code::Output, message).because(error)
    };
    let mut archive = tar::Builder::new(create(&path).map_err(fault)?);
    for (name, text) in parts {
        append(&mut archive, name, &redact.text(&text)).map_err(fault)?;
    }
    let mut file = archive.into_inner().map_err(fault)?;
    file.flush().and_then(|()| file.sync_all()).map_err(fault)?;
    Ok(path)
}

/// Nothing is overwritten: it might be anything.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn append(archive: &mut tar::Builder<File>, name: &str, text: &str) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(u64::try_from(text.len()).unwrap_or(u64::MAX));
    header.set_mode(0o600);
    header.set_mtime(now());
    archive.append_data(&mut header, format!("{FOLDER}/{name}"), text.as_bytes())
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// The end of the log.
fn log(file: Option<&Path>) -> io::Result<String> {
    let Some(file) = file else {
        return Ok("the log goes to standard error\n".into());
    };
    let name =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
    let mut log = File::open(file).map_err(name)?;
    let length = log.metadata().map_err(name)?.len();
    log.seek(SeekFrom::Start(length.saturating_sub(MAX_LOG)))
        .map_err(name)?;
    let mut bytes = Vec::new();
    log.take(MAX_LOG).read_to_end(&mut bytes).map_err(name)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The lines of the last session that began to be opened, by its name in the
/// log.
fn last_session(log: &str) -> String {
    let name = |line: &str| {
        let (_, rest) = line.split_once("session{id=\"")?;
        rest.split_once('"').map(|(id, _)| id.to_owned())
    };
    let is_one = |line: &&str| line.contains("Opening") || line.contains("Connecting");
    let last = log.lines().rev().filter(is_one).find_map(name);
    let Some(id) = last else {
        return "the log has no session\n".into();
    };
    let lines = log.lines().filter(|line| name(line).as_ref() == Some(&id));
    lines.fold(String::new(), |text, line| text + line + "\n")
}

async fn versions(settings: &Settings) -> String {
    let system = rustix::system::uname();
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let release = release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    let mut text = format!(
        "qvdclient {}\nsystem {}\nkernel {} {} {}\n",
        env!("CARGO_PKG_VERSION"),
        release.unwrap_or("unknown").trim_matches('"'),
        system.sysname().to_string_lossy(),
        system.release().to_string_lossy(),
        system.machine().to_string_lossy(),
    );
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "engine {}\n{} {}",
        settings.engine.as_str(),
        settings.nxproxy.display(),
        version_of(&settings.nxproxy).await
    );
    text
}

/// What a program says of its version.
async fn version_of(program: &Path) -> String {
    let mut command = Command::new(program);
    command
        .arg("-v")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .env("NX_CLIENT", "/bin/true");
    let said = match timeout(ANSWER, command.output()).await {
        Ok(Ok(said)) => said,
        Ok(Err(error)) => return error.to_string(),
        Err(_) => return "does not say its version".into(),
    };
    let bytes = [said.stdout, said.stderr].concat();
    let text = String::from_utf8_lossy(&bytes);
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").chars().take(MAX_VERSION).collect()
}

fn configuration(settings: &Settings) -> String {
    let mut text = settings.shown_config.clone();
    for warning in &settings.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    text
}

async fn environment(settings: &Settings) -> String {
    let mut text = String::new();
    for name in VARIABLES {
        let value = std::env::var_os(name);
        let value = value.map_or("(not set)".into(), |v| v.to_string_lossy().into_owned());
        let _ = writeln!(text, "{name}: {value}");
    }
    let Some(name) = &settings.display else {
        return text;
    };
    let _ = match Display::open(name).await {
        Ok(display) => {
            let keyboard: Vec<_> = display
                .keyboard()
                .map(|keyboard| keyboard.xkb().collect())
                .unwrap_or_default();
            let screen = display.screen();
            writeln!(text, "display {name}: {screen}, keyboard {keyboard:?}")
        }
        Err(error) => writeln!(text, "{error}"),
    };
    text
}

/// Takes secrets out of texts.
struct Redact {
    /// Those that are known.
    known: Vec<String>,
}

impl Redact {
    fn of(settings: &Settings) -> Self {
        let known = [&settings.password, &settings.token];
        let shared = settings.shared.iter().map(|(_, value)| value);
        let known = known.into_iter().flatten().chain(shared);
        let known = known.map(|secret| secret.expose_secret().to_owned());
        Self {
            known: known.filter(|secret| secret.len() >= MIN_SECRET).collect(),
        }
    }

    fn text(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for line in text.lines() {
            let mut line = line.to_owned();
            for secret in &self.known {
                line = line.replace(secret, HIDDEN);
            }
            out.push_str(&redacted(&line));
            out.push('\n');
        }
        out
    }
}

/// The line without what follows words that come before secrets.
fn redacted(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    loop {
        // Of ASCII letters alone, which keeps every place the same.
        let small = rest.to_ascii_lowercase();
        let found = BEFORE_SECRETS
            .iter()
            .filter_map(|word| Some((small.find(word)?, word.len())))
            .min();
        let Some((at, length)) = found else {
            out.push_str(rest);
            return out;
        };
        let (before, secret) = rest.split_at_checked(at + length).unwrap_or((rest, ""));
        out.push_str(before);
        if secret.starts_with(HIDDEN) {
            rest = secret;
            continue;
        }
        let end = secret
            .find([' ', '"', ',', ';', '&', '}'])
            .unwrap_or(secret.len());
        if end > 0 {
            out.push_str(HIDDEN);
        }
        rest = secret.get(end..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_whatever_they_are_called() {
        let redact = Redact {
            known: vec!["apples and pears".into()],
        };
        for (line, expected) in [
            ("said apples and pears twice", "said (not shown) twice"),
            (
                "Authorization: Basic YW5uOnA= and more",
                "Authorization: Basic (not shown) and more",
            ),
            (
                "authorization: bearer abc",
                "authorization: bearer (not shown)",
            ),
            (
                "password=one&token=two&id=3",
                "password=(not shown)&token=(not shown)&id=3",
            ),
            (
                "client.user.password = (not shown)  (-w)",
                "client.user.password = (not shown)  (-w)",
            ),
            (
                "Ünï X-QVD-Slave-Key: K3y",
                "Ünï X-QVD-Slave-Key: (not shown)",
            ),
            ("basic ", "basic "),
        ] {
            assert_eq!(redact.text(line).trim_end_matches('\n'), expected);
        }
    }

    #[test]
    fn the_last_session_is_told_from_the_others() {
        let log = "1 session{id=\"aaaa\"}: Opening\n\
                   2 session{id=\"bbbb\"}: Opening\n\
                   3 session{id=\"aaaa\"}: Leaving\n\
                   4 session{id=\"bbbb\"}: lost\n\
                   5 session{id=\"cccc\"}: nothing\n";
        let lines: Vec<_> = last_session(log)
            .lines()
            .map(|l| l[..1].to_owned())
            .collect();
        assert_eq!(lines, ["2", "4"]);
        assert_eq!(last_session("x\n"), "the log has no session\n");
    }

    #[test]
    fn nothing_is_overwritten_and_nobody_else_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        let mode = create(&path).unwrap().metadata().unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        let again = create(&path).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    }
}
