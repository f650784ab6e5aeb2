//! The servers of this machine that a session's sound and printing lead to.

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use nx_proxy::Local;

use crate::cli::environment::Environment;

/// PulseAudio's socket in its folder; PipeWire has one of the same name.
const PULSE: &str = "native";

/// Where CUPS takes its clients' connections.
const CUPS: [&str; 2] = ["/run/cups/cups.sock", "/var/run/cups/cups.sock"];

/// CUPS's port, where a server is named without one.
const IPP: u16 = 631;

/// The sound server: of `PULSE_SERVER`, else the one whose socket is in
/// `PULSE_RUNTIME_PATH` or `XDG_RUNTIME_DIR/pulse`.
///
/// # Errors
/// A sentence for the user when there is none that can be used.
pub(super) fn sound(environment: &Environment) -> Result<Local, String> {
    if let Some(server) = &environment.pulse_server {
        return named(server, None).ok_or_else(|| {
            format!("no sound: PULSE_SERVER={server} is no server of this machine")
        });
    }
    let folders = [
        environment.pulse_runtime.clone(),
        environment.runtime.as_ref().map(|dir| dir.join("pulse")),
    ];
    let sockets = folders.into_iter().flatten().map(|dir| dir.join(PULSE));
    sockets
        .filter(|path| is_socket(path))
        .find_map(|path| usable(&path))
        .ok_or_else(|| "no sound: neither PulseAudio nor PipeWire runs for you".into())
}

/// The CUPS server: of `CUPS_SERVER`, else the machine's.
pub(super) fn printers(environment: &Environment) -> Option<Local> {
    match &environment.cups_server {
        Some(server) => named(server, Some(IPP)),
        None => CUPS
            .iter()
            .map(Path::new)
            .find(|path| is_socket(path))
            .and_then(usable),
    }
}

/// A server by the name that PulseAudio's and CUPS's libraries understand, if
/// it is on this machine: `/path`, `unix:/path`, `localhost`, `tcp:localhost:4713`,
/// `localhost:631/version=1.1`.
fn named(server: &str, port: Option<u16>) -> Option<Local> {
    let server = server.split_whitespace().next()?;
    let path = server.strip_prefix("unix:").unwrap_or(server);
    if path.starts_with('/') {
        return usable(Path::new(path));
    }
    let place = server.strip_prefix("tcp:").unwrap_or(server);
    let place = place.split_once('/').map_or(place, |(place, _)| place);
    let (host, number) = match place.rsplit_once(':') {
        Some((host, number)) => (host, number.parse().ok()),
        None => (place, port),
    };
    if !matches!(host, "localhost" | "127.0.0.1") {
        return None;
    }
    number.filter(|number| *number != 0).map(Local::Port)
}

/// A socket whose name can stand in an engine's options.
fn usable(path: &Path) -> Option<Local> {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/._-+@".contains(b);
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes
        .iter()
        .all(plain)
        .then(|| Local::Unix(PathBuf::from(path)))
}

fn is_socket(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn servers_of_this_machine_are_understood_and_others_are_not() {
        let port = |n| Some(Local::Port(n));
        let unix = |path: &str| Some(Local::Unix(path.into()));
        for (text, expected) in [
            (
                "/run/user/1000/pulse/native",
                unix("/run/user/1000/pulse/native"),
            ),
            ("unix:/tmp/p", unix("/tmp/p")),
            ("tcp:localhost:4713", port(4713)),
            ("127.0.0.1:4713", port(4713)),
            ("localhost", port(631)),
            ("localhost:8631/version=1.1", port(8631)),
            ("tcp:localhost:4713 unix:/x", port(4713)),
            ("printers.example.org", None),
            ("localhost:0", None),
            ("localhost:99999", None),
            ("/tmp/a,slave=1", None),
            ("/tmp/a:b", None),
            ("", None),
        ] {
            assert_eq!(named(text, Some(IPP)), expected, "{text}");
        }
    }

    #[test]
    fn the_users_sound_server_is_found_by_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        let mut environment = Environment {
            runtime: Some(folder.path().into()),
            ..Environment::default()
        };
        assert!(sound(&environment).unwrap_err().contains("PipeWire"));
        let pulse = folder.path().join("pulse");
        std::fs::create_dir(&pulse).unwrap();
        let socket = pulse.join("native");
        std::fs::write(&socket, "a file").unwrap();
        assert!(sound(&environment).is_err());
        std::fs::remove_file(&socket).unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        assert_eq!(sound(&environment), Ok(Local::Unix(socket)));
        environment.pulse_server = Some("tcp:far.example.org:1".into());
        assert!(sound(&environment).unwrap_err().contains("PULSE_SERVER"));
    }
}
