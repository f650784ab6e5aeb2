use std::path::{Path, PathBuf};
use std::time::Duration;

use qvd_config::value::{LogLevel, ShareEngine};
use qvd_config::{Properties, VmaConfig};
use qvd_slave::Key;
use tracing::Level;

use crate::Error;

/// The variable by which the session process names another configuration
/// file than [`CONFIG`].
const CONFIG_VARIABLE: &str = "QVD_VMA_CONFIG";

/// The variable by which it names another file with the key than
/// `<path.run>/slave.conf`.
const KEY_VARIABLE: &str = "QVD_SLAVE_KEY_FILE";

const CONFIG: &str = "/etc/qvd/vma.conf";

/// Most bytes of the file with the key.
const MAX_KEY_FILE: usize = 4096;

/// What the server needs to know.
pub(crate) struct Settings {
    pub(crate) key: Key,
    /// Where the key stands.
    pub(crate) key_file: PathBuf,
    pub(crate) home: PathBuf,
    /// The folder in which the client's folders are mounted.
    pub(crate) shares: PathBuf,
    pub(crate) engine: ShareEngine,
    pub(crate) timeout: Duration,
    pub(crate) sshfs: PathBuf,
    pub(crate) sshfs_args: Vec<String>,
    pub(crate) open_file: PathBuf,
    pub(crate) display: String,
    pub(crate) level: Level,
}

impl Settings {
    /// Reads configuration and key.
    pub(crate) fn load() -> Result<Self, Error> {
        let named = std::env::var_os(CONFIG_VARIABLE).map(PathBuf::from);
        let path = named.clone().unwrap_or_else(|| CONFIG.into());
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => {
                Vec::new()
            }
            Err(source) => return Err(Error::local(path.display().to_string())(source)),
        };
        let name = path.display().to_string();
        let config = Properties::from_sources([(name.as_str(), bytes.as_slice())])
            .and_then(|properties| VmaConfig::from_properties(&properties))
            .map_err(|errors| {
                let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
                Error::Settings(lines.join("\n"))
            })?;
        let home = std::env::var_os("HOME")
            .map(PathBuf::from)
            .filter(|home| home.is_absolute())
            .ok_or_else(|| Error::Settings("HOME is not set".into()))?;
        let key_file = std::env::var_os(KEY_VARIABLE)
            .map_or_else(|| config.process.run.join("slave.conf"), PathBuf::from);
        Ok(Self {
            key: key(&key_file)?,
            key_file,
            shares: config.user.shares_path.under(&home),
            home,
            engine: config.channel.share_engine,
            timeout: config.channel.share_timeout,
            sshfs: config.command.sshfs.as_path().to_owned(),
            sshfs_args: config.channel.sshfs_args.as_slice().to_vec(),
            open_file: config.command.open_file.as_path().to_owned(),
            display: format!(":{}", config.nx.display),
            level: level(config.log.level),
        })
    }
}

fn key(path: &Path) -> Result<Key, Error> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| {
            file.take(u64::try_from(MAX_KEY_FILE).unwrap_or(u64::MAX))
                .read_to_string(&mut text)
        })
        .map_err(Error::local(format!("the slave key, {}", path.display())))?;
    Key::new(&text).ok_or_else(|| Error::Settings(format!("{}: no slave key", path.display())))
}

fn level(level: LogLevel) -> Level {
    match level {
        LogLevel::All => Level::TRACE,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Info => Level::INFO,
        LogLevel::Warn => Level::WARN,
        _ => Level::ERROR,
    }
}
