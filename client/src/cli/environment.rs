use std::path::PathBuf;

use qvd_config::Program;

/// The variables the client reads, taken once, so that tests need none.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// The configuration of the whole machine.
    pub system_config: PathBuf,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub config_home: Option<PathBuf>,
    /// `XDG_DATA_HOME`.
    pub data_home: Option<PathBuf>,
    /// `TZ`.
    pub timezone: Option<String>,
    /// `DISPLAY`.
    pub display: Option<String>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime: Option<PathBuf>,
    /// `PULSE_RUNTIME_PATH`.
    pub pulse_runtime: Option<PathBuf>,
    /// `PULSE_SERVER`.
    pub pulse_server: Option<String>,
    /// `CUPS_SERVER`.
    pub cups_server: Option<String>,
    /// `QVDHOST`.
    pub host: Option<String>,
    /// `QVDPORT`.
    pub port: Option<String>,
    /// `QVDLOGIN`.
    pub login: Option<String>,
    /// `QVDPASSWORD`.
    pub password: Option<secrecy::SecretString>,
    /// `QVDBEARERTOKEN`.
    pub token: Option<secrecy::SecretString>,
    /// `QVDSSLERRORS`.
    pub ssl_errors: Option<String>,
    /// `QVDCLIENTCONFIG`.
    pub config: Option<PathBuf>,
    /// `QVD_DEBUG` is set.
    pub debug: bool,
    /// `QVD_DEBUG_FILE`.
    pub debug_file: Option<PathBuf>,
}

impl Environment {
    /// The environment of this process. An empty variable counts as none.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
        Self {
            system_config: Program::Client.file().into(),
            home: text("HOME").map(Into::into),
            config_home: text("XDG_CONFIG_HOME").map(Into::into),
            data_home: text("XDG_DATA_HOME").map(Into::into),
            timezone: text("TZ"),
            display: text("DISPLAY"),
            runtime: text("XDG_RUNTIME_DIR").map(Into::into),
            pulse_runtime: text("PULSE_RUNTIME_PATH").map(Into::into),
            pulse_server: text("PULSE_SERVER"),
            cups_server: text("CUPS_SERVER"),
            host: text("QVDHOST"),
            port: text("QVDPORT"),
            login: text("QVDLOGIN"),
            password: text("QVDPASSWORD").map(Into::into),
            token: text("QVDBEARERTOKEN").map(Into::into),
            ssl_errors: text("QVDSSLERRORS"),
            config: text("QVDCLIENTCONFIG").map(Into::into),
            debug: text("QVD_DEBUG").is_some(),
            debug_file: text("QVD_DEBUG_FILE").map(Into::into),
        }
    }
}
