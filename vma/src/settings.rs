//! The agent's configuration files, and what the daemon makes of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use std::os::unix::fs::PermissionsExt as _;

use qvd_config::value::CallKey;
use qvd_config::{Program, Properties, Setting, VmaConfig};

use crate::machine::Timeouts;
use crate::parameters::Defaults;

/// Where the configuration is, unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/qvd/vma.conf";

/// What is wrong with a configuration: one line a fault.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigFault(pub Vec<String>);

/// A configuration that was read, and the warnings it gave.
#[derive(Debug)]
pub struct Loaded {
    /// The values.
    pub config: VmaConfig,
    /// One line each, with file and line number.
    pub warnings: Vec<String>,
    /// Every key with its value and where that was set; no secret.
    pub settings: Vec<Setting>,
}

/// Reads a configuration file.
///
/// # Errors
/// Everything that is wrong with it, with file, line and key.
pub fn load(path: &Path) -> Result<Loaded, ConfigFault> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|e| ConfigFault(vec![format!("{name}: {e}")]))?;
    let faults = |errors: Vec<qvd_config::ConfigError>| {
        ConfigFault(errors.iter().map(ToString::to_string).collect())
    };
    let properties =
        Properties::from_sources([(name.as_str(), bytes.as_slice())]).map_err(faults)?;
    let config = VmaConfig::from_properties(&properties).map_err(faults)?;
    private_key(path, &properties)?;
    let warnings = properties
        .warnings(Program::Vma)
        .iter()
        .map(ToString::to_string)
        .collect();
    let settings = properties.settings(Program::Vma);
    Ok(Loaded {
        config,
        warnings,
        settings,
    })
}

/// A secret must not stand where everybody can read it, nor in two places.
fn private_key(path: &Path, properties: &Properties) -> Result<(), ConfigFault> {
    let Some(at) = properties.origin("vma.rpc.key") else {
        return Ok(());
    };
    let fault = |why: &str| Err(ConfigFault(vec![format!("{at}: vma.rpc.key: {why}")]));
    if properties.origin("vma.rpc.key_file").is_some() {
        return fault("vma.rpc.key_file is set too");
    }
    if is_readable_by_all(path) {
        return fault("everybody can read the file: use vma.rpc.key_file, or chmod o-r it");
    }
    Ok(())
}

fn is_readable_by_all(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o004 != 0)
}

/// Whether a file that holds a secret is kept from others.
///
/// # Errors
/// One sentence when everybody can read it.
pub fn refuse_readable(path: &Path) -> Result<(), String> {
    if is_readable_by_all(path) {
        return Err(format!("{}: everybody can read it", path.display()));
    }
    Ok(())
}

/// The secret that callers show, if they must show one.
///
/// # Errors
/// One sentence when the file that holds it cannot be read or used.
pub fn call_key(config: &VmaConfig) -> Result<Option<CallKey>, String> {
    let Some(path) = &config.rpc.key_file else {
        return Ok(config.rpc.key.clone());
    };
    refuse_readable(path)?;
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| format!("{name}: {e}"))?;
    let key = text.trim_end_matches(['\n', '\r']).parse();
    key.map(Some).map_err(|e| format!("{name}: {e}"))
}

/// The times the session's machine keeps.
#[must_use]
pub fn timeouts(config: &VmaConfig) -> Timeouts {
    // A client that is lost meanwhile is awaited like any.
    let grace = match config.carrier.enable {
        true => Duration::from_secs(config.carrier.grace.number().into()),
        false => Duration::ZERO,
    };
    Timeouts {
        initiating: config.nx.initiating,
        listening: config.nx.listening,
        beginning: config.nx.beginning,
        carried: config.nx.beginning.max(grace),
        suspending: config.nx.suspending,
        stopping: config.nx.stopping,
    }
}

/// What a start falls back on.
#[must_use]
pub fn defaults(config: &VmaConfig) -> Defaults {
    Defaults {
        keyboard: config.default.keyboard.to_string(),
        link: config.default.link.to_string(),
        tolerancechecks: config.nx.tolerance_checks.to_string(),
        audio: config.channel.audio,
        printing: config.channel.printing,
        slave: config.channel.slave && config.channel.slave_command.is_some(),
        display: config.nx.display.number(),
    }
}

/// The files of a session in `path.run`, named after its display so that
/// agents with different displays can share the folder.
#[derive(Debug, Clone)]
pub struct SessionPaths {
    /// Number of the session's display.
    pub display: u16,
    /// Folder of the session's user: sockets, options, X authority.
    pub dir: PathBuf,
    /// The session process's control socket; the daemon's.
    pub control: PathBuf,
    /// Which session runs, for the next daemon; the daemon's.
    pub record: PathBuf,
    /// The daemon's own control socket.
    pub agent: PathBuf,
}

impl SessionPaths {
    /// The files of this agent's session.
    #[must_use]
    pub fn new(config: &VmaConfig) -> Self {
        let display = config.nx.display.number();
        let file = |suffix: &str| {
            config
                .process
                .run
                .join(format!("session-{display}{suffix}"))
        };
        Self {
            display,
            dir: file(""),
            control: file(".sock"),
            record: file(".json"),
            agent: config.process.run.join(format!("agent-{display}.sock")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};

    use super::*;

    #[test]
    fn a_secret_is_taken_from_private_files_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vma.conf");
        let keys = dir.path().join("key");
        let put = |path: &Path, text: &str, mode: u32| {
            write(path, text).unwrap();
            set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        let exposed = |text: &str, mode: u32| -> Result<String, String> {
            put(&path, text, mode);
            let loaded = load(&path).map_err(|fault| fault.to_string())?;
            let key = call_key(&loaded.config)?;
            Ok(key.map(|key| key.expose().to_owned()).unwrap_or_default())
        };
        let own = "\nvma.rpc.key = 0123456789abcdef\n";
        assert_eq!(exposed(own, 0o640).unwrap(), "0123456789abcdef");
        let fault = exposed(own, 0o644).unwrap_err();
        assert!(
            fault.contains("vma.conf:2: vma.rpc.key: everybody"),
            "{fault}"
        );

        let other = format!("vma.rpc.key_file = {}\n", keys.display());
        put(&keys, "fedcba9876543210\n", 0o600);
        assert_eq!(exposed(&other, 0o644).unwrap(), "fedcba9876543210");
        put(&keys, "fedcba9876543210\n", 0o604);
        assert!(exposed(&other, 0o644).is_err());
        put(&keys, "too short\n", 0o600);
        let fault = exposed(&other, 0o644).unwrap_err();
        assert!(fault.contains("expected 16 to 256"), "{fault}");
        assert!(!fault.contains("too short"), "{fault}");
        assert!(exposed(&format!("{own}{other}"), 0o600).is_err());
    }
}
