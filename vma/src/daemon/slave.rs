//! What the session's slave server is to know.
//!
//! It runs as the user and may not read the agent's configuration, which can
//! hold a key of callers: it gets a file with the few keys that are its own.

use std::path::{Path, PathBuf};

use qvd_config::{Document, VmaConfig};

use crate::control::{Hidden, Slave};
use crate::parameters::SessionSpec;

/// Where a program of a name is looked for, after the folder of our own.
const PLACES: [&str; 4] = ["/usr/bin", "/usr/local/bin", "/usr/lib/qvd", "/usr/sbin"];

/// The slave channel of a session; `None` where it is off, where the broker
/// gave no key, or where the program is missing.
pub fn of(config: &VmaConfig, spec: &SessionSpec) -> Option<Slave> {
    let key = spec.slave_key.clone()?;
    if !config.channel.slave {
        return None;
    }
    let command = config.channel.slave_command.as_ref()?;
    let Some(program) = find(command.as_path()) else {
        let name = command.as_path().display();
        tracing::warn!("{name} is not installed: no folders can be shared");
        return None;
    };
    Some(Slave {
        program,
        config: file(config),
        key,
    })
}

fn find(command: &Path) -> Option<PathBuf> {
    if command.is_absolute() {
        return command.is_file().then(|| command.to_owned());
    }
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent);
    let places = beside.into_iter().chain(PLACES.map(Path::new));
    places
        .map(|place| place.join(command))
        .find(|path| path.is_file())
}

/// The keys that the slave server reads, with the values in force.
fn file(config: &VmaConfig) -> Hidden {
    let (channel, command) = (&config.channel, &config.command);
    let engine = format!("{:?}", channel.share_engine).to_ascii_lowercase();
    let arguments = channel.sshfs_args.as_slice().iter().map(|word| {
        if word.contains([' ', '\t', '\'']) {
            format!("\"{word}\"")
        } else {
            word.clone()
        }
    });
    let keys = [
        ("vma.user.shares.path", config.user.shares_path.to_string()),
        ("vma.share.engine", engine),
        (
            "vma.share.timeout",
            format!("{:.3}", channel.share_timeout.as_secs_f64()),
        ),
        (
            "vma.sshfs.extra_args",
            arguments.collect::<Vec<_>>().join(" "),
        ),
        (
            "command.sshfs",
            command.sshfs.as_path().display().to_string(),
        ),
        (
            "command.open_file",
            command.open_file.as_path().display().to_string(),
        ),
        ("log.level", config.log.level.to_string()),
        ("internal.nxagent.display", config.nx.display.to_string()),
    ];
    let mut document = Document::empty("slave server");
    for (key, value) in keys {
        if let Err(error) = document.set(key, &value) {
            tracing::warn!("slave server: {error}");
        }
    }
    Hidden::from(document.render())
}

#[cfg(test)]
mod tests {
    use qvd_config::Properties;

    use super::*;

    #[test]
    fn the_slave_server_reads_what_was_configured() {
        let text = "vma.user.shares.path = ~/My Shares\nvma.share.engine = sshfs\n\
                    vma.share.timeout = 2.5\nvma.sshfs.extra_args = -o \"a b\"\n\
                    vma.rpc.key = 0123456789abcdef0123456789abcdef\n";
        let read = |text: &str| {
            let properties = Properties::from_sources([("vma.conf", text.as_bytes())]).unwrap();
            VmaConfig::from_properties(&properties).unwrap()
        };
        let config = read(text);
        let file = file(&config);
        assert!(!file.expose().contains("0123456789abcdef"));
        let again = read(file.expose());
        let of = |config: &VmaConfig| {
            (
                config.user.shares_path.to_string(),
                config.channel.share_engine,
                config.channel.share_timeout,
                config.channel.sshfs_args.clone(),
            )
        };
        assert_eq!(of(&again), of(&config));
    }
}
