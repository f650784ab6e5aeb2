//! What of this machine is in the session: folders, ports, printers, and the
//! file that it opens.

use std::path::{Path, PathBuf};

use qvd_config::{ClientConfig, Origin, Properties};
use qvd_slaveclient::Offer;
use qvd_slaveclient::service::{Gate, Printers};

use crate::cli::environment::Environment;
use crate::core::{Code, Failure, Shared, Slave};

/// The client's own program behind `client.slave.command`.
const PROGRAM: &str = "qvd-client-slaveserver";

/// Where it is looked for, after the folder of the client itself.
const PLACES: [&str; 3] = ["/usr/bin", "/usr/lib/qvd/bin", "/usr/local/bin"];

/// The word of `client.slave.printers` for every printer.
const ALL: &str = "ALL";

const SSHFS: &str = "client.sshfs.extra_args";

/// Options of sshfs that only ask for what is so anyway.
const SO_ANYWAY: [&str; 2] = ["atomic_o_trunc", "idmap=user"];

/// The slave channel; `None` where there is to be none.
pub(super) fn channel(
    file: Option<PathBuf>,
    config: &ClientConfig,
    properties: &Properties,
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Result<Option<Slave>, Failure> {
    let share = &config.share;
    if !share.slave {
        return match file {
            Some(_) => Err(super::usage(format!(
                "--file needs the slave channel, and {} has client.slave.enable off",
                place(properties, "client.slave.enable"),
            ))),
            None => Ok(None),
        };
    }
    let open = file.map(|file| found(&file)).transpose()?;
    let Some(home) = &environment.home else {
        warnings.push("HOME is not set: no folders are shared".into());
        return Ok(None);
    };
    let gate = Gate {
        ports: share.ports.clone(),
        printers: match share.printers.iter().any(|name| name == ALL) {
            true => Printers::All,
            false => Printers::Only(share.printers.clone()),
        },
    };
    let command = match &share.slave_command {
        Some(command) => Some(command.as_path().to_owned()),
        None => find(PROGRAM),
    };
    if command.is_none() && gate != Gate::default() {
        warnings.push(format!(
            "{PROGRAM} is not installed: the session reaches no port and no printer of this machine"
        ));
    }
    let read_only = sshfs(share.sshfs_args.as_slice(), properties, warnings);
    let shared = match share.file_sharing {
        true => folders(config, home, read_only),
        false => Shared::default(),
    };
    Ok(Some(Slave {
        base: home.join(".qvd"),
        command,
        gate,
        shared,
        open,
    }))
}

fn folders(config: &ClientConfig, home: &Path, read_only: bool) -> Shared {
    let share = &config.share;
    let own = share.home.then(|| Offer {
        path: home.to_owned(),
        name: None,
        read_only,
    });
    let more = share.folders.as_slice().iter().map(|folder| Offer {
        path: folder.path.under(home),
        name: folder.name.clone(),
        read_only: folder.read_only || read_only,
    });
    let mut folders: Vec<Offer> = Vec::new();
    for folder in own.into_iter().chain(more) {
        // The later says more of the same folder.
        folders.retain(|one| one.path != folder.path);
        folders.push(folder);
    }
    Shared {
        folders,
        media: share.media.iter().map(PathBuf::from).collect(),
        read_only,
    }
}

/// The file as the session is to find it, whatever links lead to it.
fn found(file: &Path) -> Result<PathBuf, Failure> {
    let real = file.canonicalize().and_then(|real| {
        std::fs::File::open(&real)?;
        Ok(real)
    });
    real.map_err(|error| {
        let message = format!("--file: {}: {error}", file.display());
        Failure::new(Code::Usage, message).because(error)
    })
}

/// Says which arguments mean nothing here; whether shares are read only.
fn sshfs(arguments: &[String], properties: &Properties, warnings: &mut Vec<String>) -> bool {
    let mut read_only = false;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let options = match word.strip_prefix("-o") {
            Some("") => words.next().map_or("", String::as_str),
            Some(options) => options,
            None => word,
        };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            if option == "ro" && word.starts_with("-o") {
                read_only = true;
            } else if !SO_ANYWAY.contains(&option) {
                warnings.push(format!(
                    "{}: {SSHFS}: {option} means nothing here: the session mounts the folders, \
                     with its own vma.sshfs.extra_args where it uses sshfs",
                    place(properties, SSHFS),
                ));
            }
        }
    }
    read_only
}

fn place(properties: &Properties, key: &str) -> String {
    let at = properties.origin(key).unwrap_or(&Origin::Default);
    at.to_string()
}

fn find(program: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent);
    let places = beside.into_iter().chain(PLACES.map(Path::new));
    places
        .map(|place| place.join(program))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, file: Option<&str>) -> (Result<Option<Slave>, Failure>, String) {
        let properties = Properties::from_sources([("client.conf", text.as_bytes())]).unwrap();
        let config = ClientConfig::from_properties(&properties).unwrap();
        let environment = Environment {
            home: Some("/home/ann".into()),
            ..Environment::default()
        };
        let mut warnings = Vec::new();
        let file = file.map(PathBuf::from);
        let slave = channel(file, &config, &properties, &environment, &mut warnings);
        (slave, warnings.join("\n"))
    }

    fn slave(text: &str) -> (Slave, String) {
        let (slave, warnings) = read(text, None);
        (slave.unwrap().unwrap(), warnings)
    }

    #[test]
    fn the_home_and_media_are_shared_unless_somebody_says_otherwise() {
        let (all, warnings) = slave("");
        assert_eq!(warnings, "");
        assert_eq!(all.base, Path::new("/home/ann/.qvd"));
        assert_eq!(all.shared.folders[0].path, Path::new("/home/ann"));
        assert_eq!(
            all.shared.media,
            ["/media", "/run/media"].map(PathBuf::from)
        );
        assert_eq!(all.gate, Gate::default());
        let (none, _) = slave("client.file_sharing.enable = 0\nclient.share.1.path = /srv\n");
        assert!(none.shared.folders.is_empty() && none.shared.media.is_empty());
        let (own, _) = slave("client.file_sharing.home = 0\nclient.share.1.path = /srv\n");
        assert_eq!(own.shared.folders.len(), 1);
        assert!(read("client.slave.enable = 0\n", None).0.unwrap().is_none());
    }

    #[test]
    fn a_folder_that_is_named_twice_is_shared_once() {
        let (all, _) = slave("client.share.1.path = /home/ann\nclient.share.1.read_only = 1\n");
        assert_eq!(all.shared.folders.len(), 1);
        assert!(all.shared.folders[0].read_only);
    }

    #[test]
    fn arguments_of_sshfs_count_or_are_named_with_their_line() {
        let manual = "client.sshfs.extra_args=-o atomic_o_trunc -o idmap=user\n";
        let (all, warnings) = slave(manual);
        assert_eq!(warnings, "");
        assert!(!all.shared.folders[0].read_only);
        let (all, warnings) = slave("\nclient.sshfs.extra_args = -oro,allow_other -C\n");
        assert!(all.shared.folders[0].read_only && all.shared.read_only);
        let lines: Vec<_> = warnings.lines().collect();
        assert_eq!(lines.len(), 2, "{warnings}");
        assert!(lines[0].starts_with("client.conf:2: "), "{warnings}");
        assert!(lines[0].contains("allow_other means nothing"), "{warnings}");
        assert!(lines[1].contains("-C means nothing"), "{warnings}");
    }

    #[test]
    fn what_is_announced_is_behind_the_gate() {
        let (all, _) = slave("client.slave.tcp.ports = 5432, 8080\nclient.slave.printers = a b\n");
        assert_eq!(all.gate.ports.len(), 2);
        let names = ["a", "b"].map(str::to_owned).to_vec();
        assert_eq!(all.gate.printers, Printers::Only(names));
        let (all, _) = slave("client.slave.printers = ALL\n");
        assert_eq!(all.gate.printers, Printers::All);
    }

    #[test]
    fn a_file_needs_the_channel_and_to_be_there() {
        let (refused, _) = read("client.slave.enable = 0\n", Some("/etc/hosts"));
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::Usage);
        assert!(refused.to_string().contains("client.conf:1"), "{refused}");
        let (missing, _) = read("", Some("/nonexistent"));
        assert!(missing.unwrap_err().to_string().contains("/nonexistent"));
        let (there, _) = read("", Some("/etc/../etc/passwd"));
        let open = there.unwrap().unwrap().open;
        assert_eq!(open.as_deref(), Some(Path::new("/etc/passwd")));
    }
}
