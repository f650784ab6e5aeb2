//! The environment of a session's programs.
//!
//! Whatever comes later wins:
//!
//! 1. the agent's: `PATH`, and `LANG` of `vma.default.lang`;
//! 2. `/etc/locale.conf`, `/etc/default/locale`, `/etc/environment`;
//! 3. what PAM says, where systemd starts the session (`XDG_RUNTIME_DIR`,
//!    `XDG_SESSION_ID`, whatever the modules of the PAM service set);
//! 4. `~/.qvd_environment`, for the X session and what it starts, nxagent not
//!    among it: a fault in there leaves a desktop on which to mend it;
//! 5. what makes the session what it is, and no file may change: [`FIXED`].
//!
//! All of it is read by the session process, with its user's rights and no
//! more, and given to programs that run with these: nothing of it, neither
//! `LD_PRELOAD` nor `PATH`, reaches a program of the daemon.
//!
//! Where PAM gives no `XDG_RUNTIME_DIR`, it is `/run/user/UID` if that is the
//! user's alone, and otherwise made in the session's folder, with which it
//! goes. A D-Bus session is then started by the X session, as Debian's
//! `/etc/X11/Xsession` does it.

mod file;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::control::Launch;
use crate::procs::MARK;

/// The search path of a session that is given no other.
pub const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games";

/// Files of the system's administrator.
const SYSTEM: [&str; 3] = [
    "/etc/locale.conf",
    "/etc/default/locale",
    "/etc/environment",
];

/// The user's own file, in his home.
const PERSONAL: &str = ".qvd_environment";

/// What no file changes.
const FIXED: [&str; 10] = [
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "DISPLAY",
    "XAUTHORITY",
    "NX_CLIENT",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    MARK,
];

/// What systemd tells a service of itself, and not its programs.
const SERVICE: [&str; 10] = [
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "SYSTEMD_EXEC_PID",
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "MAINPID",
    "MANAGERPID",
    "MEMORY_PRESSURE_WATCH",
    crate::log::VARIABLE,
];

/// Variables by name.
type Variables = BTreeMap<String, String>;

/// The environment of one session.
#[derive(Debug, Default)]
pub struct Environment {
    system: Variables,
    personal: Variables,
    fixed: Variables,
}

impl Environment {
    /// Reads everything. With the user's rights.
    pub fn read(launch: &Launch) -> Self {
        let user = &launch.user;
        let mut system: Variables = own(launch).into_iter().collect();
        for path in SYSTEM {
            system.extend(read(Path::new(path)));
        }
        let given: Variables = if launch.pam {
            given(launch, std::env::vars_os())
        } else {
            Variables::new()
        };
        let runtime = given.get("XDG_RUNTIME_DIR").map(PathBuf::from);
        let bus = given.get("DBUS_SESSION_BUS_ADDRESS").cloned();
        system.extend(given);
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut fixed: Variables = [
            ("HOME", text(&user.home)),
            ("USER", user.name.clone()),
            ("LOGNAME", user.name.clone()),
            ("SHELL", text(&user.shell)),
            (MARK, launch.session.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if let Some(runtime) = runtime.or_else(|| runtime_folder(launch)) {
            if let Some(bus) = bus.or_else(|| bus_in(&runtime)) {
                fixed.insert("DBUS_SESSION_BUS_ADDRESS".into(), bus);
            }
            fixed.insert("XDG_RUNTIME_DIR".into(), text(&runtime));
        }
        Self {
            system,
            personal: read(&user.home.join(PERSONAL)),
            fixed,
        }
    }

    /// For nxagent and what the agent itself runs in the session.
    pub fn system(&self) -> impl Iterator<Item = (&String, &String)> {
        self.system.iter().chain(&self.fixed)
    }

    /// For the X session and all that it starts.
    pub fn desktop(&self) -> impl Iterator<Item = (&String, &String)> {
        self.system.iter().chain(&self.personal).chain(&self.fixed)
    }
}

/// What the agent itself says.
pub fn own(launch: &Launch) -> Vec<(String, String)> {
    let mut variables = vec![("PATH".to_owned(), PATH.to_owned())];
    variables.extend(launch.environment.iter().cloned());
    variables
}

/// What this process was started with, by systemd and PAM: without what the
/// agent has said itself, over which the files win.
fn given(
    launch: &Launch,
    variables: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
) -> Variables {
    let own = own(launch);
    variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| !SERVICE.contains(&name.as_str()))
        .filter(|variable| !own.contains(variable))
        .collect()
}

fn read(path: &Path) -> Variables {
    let found = match file::read(path) {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "not read");
            return Variables::new();
        }
    };
    for (line, fault) in &found.faults {
        tracing::warn!("{}:{line}: {fault}", path.display());
    }
    let changeable = |(name, _): &(String, String)| {
        let fixed = FIXED.contains(&name.as_str());
        if fixed {
            tracing::warn!("{}: {name} cannot be changed", path.display());
        }
        !fixed
    };
    found.set.into_iter().filter(changeable).collect()
}

fn runtime_folder(launch: &Launch) -> Option<PathBuf> {
    let folder = PathBuf::from(format!("/run/user/{}", launch.user.uid));
    if is_private(&folder, launch.user.uid) {
        return Some(folder);
    }
    let folder = super::paths::runtime(&launch.dir);
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if !is_private(&folder, launch.user.uid) => {
            tracing::warn!(folder = %folder.display(), %error, "no XDG_RUNTIME_DIR");
            None
        }
        _ => Some(folder),
    }
}

/// Whether a folder is this user's, and nobody else's business.
fn is_private(folder: &Path, uid: u32) -> bool {
    fs::symlink_metadata(folder)
        .is_ok_and(|found| found.is_dir() && found.uid() == uid && found.mode() & 0o077 == 0)
}

/// The address of the bus that the user's own systemd has.
fn bus_in(runtime: &Path) -> Option<String> {
    let socket = runtime.join("bus");
    let found = fs::metadata(&socket).ok()?;
    found
        .file_type()
        .is_socket()
        .then(|| format!("unix:path={}", socket.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::control::User;

    fn launch(dir: &Path, pam: bool) -> Launch {
        Launch {
            session: "0123".into(),
            name: None,
            user: User {
                name: "ann".into(),
                uid: rustix::process::geteuid().as_raw(),
                gid: rustix::process::getegid().as_raw(),
                known: Vec::new(),
                groups: Vec::new(),
                home: dir.to_owned(),
                shell: "/bin/zsh".into(),
            },
            display: 100,
            dir: dir.to_owned(),
            options: String::new(),
            nxagent: "nxagent".into(),
            nxagent_args: Vec::new(),
            x_session: Vec::new(),
            environment: vec![("LANG".into(), "qq_QQ.UTF-8".into())],
            umask: 0o022,
            cgroup: None,
            slave: None,
            pam,
            seat: crate::control::Seat::default(),
            carrier: crate::control::Carrier::default(),
        }
    }

    #[test]
    fn the_users_file_wins_over_the_systems_but_not_over_what_is_fixed() {
        let folder = tempfile::tempdir().unwrap();
        let personal = "LANG=es_ES.UTF-8\nEDITOR=vi\nHOME=/tmp\nQVD_SESSION=x\nLD_PRELOAD=/a.so\n";
        fs::write(folder.path().join(PERSONAL), personal).unwrap();
        let environment = Environment::read(&launch(folder.path(), false));
        let desktop: BTreeMap<_, _> = environment.desktop().collect();
        let value = |name: &str| desktop.get(&name.to_owned()).map(|value| value.as_str());
        assert_eq!(value("LANG"), Some("es_ES.UTF-8"));
        assert_eq!(value("EDITOR"), Some("vi"));
        assert_eq!(value("HOME"), folder.path().to_str());
        assert_eq!(value(MARK), Some("0123"));
        assert_eq!(value("SHELL"), Some("/bin/zsh"));
        let system: BTreeMap<_, _> = environment.system().collect();
        for name in ["EDITOR", "LD_PRELOAD"] {
            assert!(!system.contains_key(&name.to_owned()), "{name}");
        }
    }

    #[test]
    fn a_runtime_folder_is_made_where_there_is_none_and_taken_if_it_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let launch = launch(folder.path(), false);
        let environment = Environment::read(&launch);
        let runtime = PathBuf::from(&environment.fixed["XDG_RUNTIME_DIR"]);
        assert!(is_private(&runtime, launch.user.uid));
        assert!(!is_private(&runtime, launch.user.uid + 1));
        fs::set_permissions(&runtime, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(!is_private(&runtime, launch.user.uid));
        assert!(!is_private(Path::new("/nonexistent"), 0));
    }

    #[test]
    fn of_what_systemd_gives_only_pams_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let launch = launch(folder.path(), true);
        let given = given(
            &launch,
            [
                ("PATH", PATH),
                ("LANG", "qq_QQ.UTF-8"),
                ("XDG_RUNTIME_DIR", "/run/user/4242"),
                ("INVOCATION_ID", "1"),
                ("KRB5CCNAME", "FILE:/tmp/x"),
            ]
            .into_iter()
            .map(|(name, value)| (name.into(), value.into())),
        );
        let names: Vec<&str> = given.keys().map(String::as_str).collect();
        assert_eq!(names, ["KRB5CCNAME", "XDG_RUNTIME_DIR"]);
    }
}
