//! The configuration's sources, each overriding those before it: the machine's
//! file, the user's files, the environment, the command line.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use qvd_config::limits::MAX_FILE;
use qvd_config::value::LogLevel;
use qvd_config::{ClientConfig, ConfigError, Origin, Program, Properties};
use secrecy::ExposeSecret;

use crate::cli::arguments::{Arguments, Command};
use crate::cli::environment::Environment;
use crate::core::{Code, Failure};

/// What an administrator decides with these in the machine's file, nobody
/// changes.
const LOCKED: [&str; 2] = ["client.force.", "client.ssl.allow_"];

/// What is forced, and by what.
const FORCED: [(&str, &str); 2] = [
    ("client.host.name", "client.force.host.name"),
    ("client.link", "client.force.link"),
];

const PASSWORD: &str = "client.user.password";

/// The merged configuration.
pub(super) struct Files {
    pub(super) config: ClientConfig,
    pub(super) properties: Properties,
    pub(super) warnings: Vec<String>,
}

/// Reads every source there is.
pub(super) fn read(arguments: &Arguments, environment: &Environment) -> Result<Files, Failure> {
    let mut properties = Properties::new();
    let mut errors = Vec::new();
    let mut warnings = Vec::new();
    let mut add =
        |properties: &mut Properties, file: &Path, required: bool| -> Result<(), Failure> {
            let Some(bytes) = contents(file, required)? else {
                return Ok(());
            };
            let name = file.display().to_string();
            if let Err(more) = properties.add(&name, &bytes) {
                errors.extend(more);
            }
            warnings.extend(exposed(properties, file, &name));
            Ok(())
        };
    add(&mut properties, &environment.system_config, false)?;
    properties.lock(|key| LOCKED.iter().any(|locked| key.starts_with(locked)));
    force(&mut properties);
    for (file, required) in own_files(arguments, environment) {
        add(&mut properties, &file, required)?;
    }
    // A user may also bind himself.
    force(&mut properties);
    environment_sets(&mut properties, environment);
    arguments_set(&mut properties, arguments);
    if !errors.is_empty() {
        return Err(faulty(&errors));
    }
    let mut config = ClientConfig::from_properties(&properties).map_err(|e| faulty(&e))?;
    let debug = match (arguments.debug, environment.debug) {
        (true, _) => Some("-d"),
        (false, true) => Some("QVD_DEBUG"),
        (false, false) => None,
    };
    if let Some(by) = debug
        && !matches!(config.log.level, LogLevel::Debug | LogLevel::All)
    {
        properties.set("log.level", "DEBUG", by);
        config.log.level = LogLevel::Debug;
    }
    let odd = properties.warnings(Program::Client);
    warnings.extend(odd.iter().map(ToString::to_string));
    Ok(Files {
        config,
        properties,
        warnings,
    })
}

/// The files after the machine's, and whether each has to be there.
fn own_files(arguments: &Arguments, environment: &Environment) -> Vec<(PathBuf, bool)> {
    let named = arguments.config.as_ref().or(environment.config.as_ref());
    if let Some(file) = named {
        return vec![(file.clone(), true)];
    }
    let home = environment.home.as_ref();
    // A relative path in XDG_CONFIG_HOME counts as none: XDG base directories.
    let place = environment.config_home.clone().filter(|p| p.is_absolute());
    let place = place.or_else(|| Some(home?.join(".config")));
    let files = [
        home.map(|home| home.join(".qvd/client.conf")),
        place.map(|place| place.join("qvd/client.conf")),
    ];
    files.into_iter().flatten().map(|f| (f, false)).collect()
}

fn contents(file: &Path, required: bool) -> Result<Option<Vec<u8>>, Failure> {
    let mut bytes = Vec::new();
    // One byte more than is taken, so that a larger file is told as such.
    let limit = u64::try_from(MAX_FILE)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let read = File::open(file).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(Some(bytes)),
        Err(e) if !required && is_absence(e.kind()) => Ok(None),
        Err(e) => Err(Failure::new(
            Code::Config,
            format!("{}: {e}", file.display()),
        )),
    }
}

fn is_absence(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// A password in a file that others can read is worth a word.
fn exposed(properties: &Properties, file: &Path, name: &str) -> Option<String> {
    let Some(at @ Origin::Line { file: place, .. }) = properties.origin(PASSWORD) else {
        return None;
    };
    let mode = std::fs::metadata(file).ok()?.mode();
    (**place == *name && mode & 0o077 != 0)
        .then(|| format!("{at}: other users can read this password: chmod 600 {name}"))
}

fn force(properties: &mut Properties) {
    for (key, by) in FORCED {
        properties.force(key, by);
    }
}

fn environment_sets(properties: &mut Properties, environment: &Environment) {
    let mut set = |key: &str, value: Option<&str>, by: &str| {
        if let Some(value) = value {
            properties.set(key, value, by);
        }
    };
    set("client.host.name", environment.host.as_deref(), "QVDHOST");
    set("client.host.port", environment.port.as_deref(), "QVDPORT");
    set("client.user.name", environment.login.as_deref(), "QVDLOGIN");
    let password = environment
        .password
        .as_ref()
        .map(ExposeSecret::expose_secret);
    set(PASSWORD, password, "QVDPASSWORD");
    let file = environment.debug_file.as_deref().map(absolute);
    set("log.filename", file.as_deref(), "QVD_DEBUG_FILE");
}

fn arguments_set(properties: &mut Properties, arguments: &Arguments) {
    let mut set = |key: &str, value: Option<&str>, by: &str| {
        if let Some(value) = value {
            properties.set(key, value, by);
        }
    };
    set("client.host.name", arguments.host.as_deref(), "-h");
    if let Some(Command::Check { broker }) = &arguments.command {
        set("client.host.name", broker.as_deref(), "check");
    }
    let port = arguments.port.map(|port| port.to_string());
    set("client.host.port", port.as_deref(), "-p");
    set("client.use_ssl", arguments.ssl.then_some("1"), "--ssl");
    set(
        "client.use_ssl",
        arguments.no_ssl.then_some("0"),
        "--no-ssl",
    );
    set("client.user.name", arguments.username.as_deref(), "-u");
    let password = arguments.password.as_ref().map(ExposeSecret::expose_secret);
    set(PASSWORD, password, "-w");
    set("client.geometry", arguments.geometry.as_deref(), "-g");
    set(
        "client.fullscreen",
        arguments.fullscreen.then_some("1"),
        "-f",
    );
    set("client.link", arguments.link.as_deref(), "--link");
    let engine = arguments.nx_engine.as_deref();
    set("client.nx.engine", engine, "--nx-engine");
    let remember = arguments.remember.then_some("1");
    set("client.remember_password", remember, "--remember");
    let certificate = arguments.client_cert.as_deref().map(absolute);
    let key = arguments.client_key.as_deref().map(absolute);
    set(
        "client.ssl.use_cert",
        certificate.as_ref().map(|_| "1"),
        "-c",
    );
    set("client.ssl.cert_file", certificate.as_deref(), "-c");
    set("client.ssl.key_file", key.as_deref(), "-k");
}

/// A path of the command line is relative to the working directory, one of the
/// configuration to the user's home.
fn absolute(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.display().to_string()
}

fn faulty(errors: &[ConfigError]) -> Failure {
    let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    let given = |error: &ConfigError| matches!(error.at(), Some(Origin::Given { .. }));
    let code = if errors.iter().all(given) {
        Code::Usage
    } else {
        Code::Config
    };
    Failure::new(code, lines.join("\n"))
}
