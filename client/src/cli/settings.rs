//! Command line, environment and configuration files, put together.

mod files;
mod servers;
mod session;
mod shares;
mod tls;

use std::path::PathBuf;
use std::time::Duration;

use nx_proxy::{Local, NxOptions};
use qvd_broker::{ClientParameters, Credentials, SESSION_ID};
use qvd_config::value::NxEngine;
use qvd_config::{ClientConfig, Program};
use secrecy::SecretString;
use tracing_subscriber::filter::LevelFilter;

use self::files::Files;
use super::arguments::{Arguments, Command};
use super::environment::Environment;
use super::{ask, icons, log};
use crate::core::{
    Carrier, CarrierStatistics, Choice, Code, Failure, Names, Slave, Target, TlsPolicy,
};

const NO_BROKER: &str = "no broker is named: use -h HOST, QVDHOST or client.host.name";

const NO_LOGIN: &str = "no login is given: use -u LOGIN, QVDLOGIN or client.user.name";

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Write the list of VMs.
    ListVms,
    /// Write the list of applications.
    ListApplications,
    /// Make an icon for each VM and application.
    CreateIcons,
    /// Test the way to the broker.
    Check,
    /// Write an archive for those who look for a fault; into this file.
    Diagnose(Option<PathBuf>),
    /// Write the configuration.
    ShowConfig,
    /// Connect to a VM.
    Connect(Choice),
}

/// Everything one run of the client needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The broker's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is recognised; `None` for a connection in the clear.
    pub tls: Option<TlsPolicy>,
    /// Who asks; empty with a token, and where none is needed.
    pub login: String,
    /// The password; `None` when the user has to be asked.
    pub password: Option<SecretString>,
    /// The token that stands for login and password.
    pub token: Option<SecretString>,
    /// Whether the password is kept in the desktop's secret store.
    pub remember: bool,
    /// Variables of the user's environment shared with the broker.
    pub shared: Vec<(String, SecretString)>,
    /// What is to be done.
    pub task: Task,
    /// The run's name in the logs of client, broker and agent.
    pub session_id: String,
    /// What the client says of itself.
    pub parameters: ClientParameters,
    /// Whether the VM is stopped before it is connected to.
    pub kill_vm: bool,
    /// The slave channel, on which folders are shared, where it is wanted.
    pub slave: Option<Slave>,
    /// Whether a session is followed by the next login.
    pub kiosk: bool,
    /// Whether there is one session and no attempt to get it back.
    pub once: bool,
    /// How long it is tried to get a lost session back; zero for not at all.
    pub reconnect: Duration,
    /// How the carrier is spoken, where it is.
    pub carrier: Option<Carrier>,
    /// Dots per inch of the session; the display's where there is none.
    pub dpi: Option<u16>,
    /// NX options for this end.
    pub nx_options: NxOptions,
    /// Where the session's sound is played, if it is.
    pub sound: Option<Local>,
    /// Where the session prints, if it may.
    pub printers: Option<Local>,
    /// Whether it is told what a session has carried.
    pub stats: bool,
    /// What draws the session.
    pub engine: NxEngine,
    /// nxproxy.
    pub nxproxy: PathBuf,
    /// More arguments for it.
    pub nxproxy_args: Vec<String>,
    /// Where nxproxy keeps what it may use again.
    pub cache: Option<PathBuf>,
    /// The configuration file, where one is named.
    pub config: Option<PathBuf>,
    /// Where the desktop's menu looks for the user's icons.
    pub icons: Option<PathBuf>,
    /// The display on which the session is shown.
    pub display: Option<String>,
    /// Whether lists are JSON.
    pub json: bool,
    /// Whether a list has a head line.
    pub header: bool,
    /// Whether progress is not told.
    pub quiet: bool,
    /// The log's file; standard error where there is none, as
    /// `log.filename` says.
    pub log_file: Option<PathBuf>,
    /// How much is logged.
    pub log_level: LevelFilter,
    /// The configuration as lines for the user, without secrets.
    pub shown_config: String,
    /// Every key of the configuration, for what the rest does not say.
    pub keys: ClientConfig,
    /// What the user should know before anything happens.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Puts everything together.
    ///
    /// # Errors
    /// When the command line, the environment or a file is faulty.
    pub fn gather(mut arguments: Arguments, environment: &Environment) -> Result<Self, Failure> {
        let Files {
            config,
            properties,
            mut warnings,
        } = files::read(&arguments, environment)?;
        let task = task(&arguments, &config);
        // Only with a broker there is somebody to log in to.
        let needs_broker =
            !matches!(task, Task::Diagnose(_) | Task::ShowConfig) && !arguments.incomplete;
        let host = match &config.login.host {
            Some(host) => host.to_string(),
            None if needs_broker => return Err(usage(NO_BROKER)),
            None => String::new(),
        };
        let reconnect = if arguments.once && !arguments.kiosk {
            Duration::ZERO
        } else {
            Duration::from_secs(config.session.reconnect.number().into())
        };
        let tls = tls::policy(&arguments, &config, &properties, environment)?;
        if tls.is_none() && needs_broker {
            warnings.push("the connection is not encrypted".into());
        }
        let nx = &config.nx;
        if nx.engine == NxEngine::Native && !nx.nxproxy_args.as_slice().is_empty() {
            warnings.push(UNUSED_ARGUMENTS.into());
        }
        let token = token(&mut arguments, &config, environment, &mut warnings);
        // The test of the way logs in where it can.
        let login_needed =
            needs_broker && task != Task::Check && token.is_none() && !arguments.kiosk;
        let login = match &config.login.user {
            Some(login) => login.clone(),
            None if login_needed => return Err(usage(NO_LOGIN)),
            None => String::new(),
        };
        let password = password(&mut arguments, &config, &mut warnings)?;
        let nx_options = match &arguments.nx_options {
            Some(text) => NxOptions::parse(text).map_err(|e| usage(e.to_string()))?,
            None => NxOptions::default(),
        };
        let slave = shares::channel(
            arguments.file.take(),
            &config,
            &properties,
            environment,
            &mut warnings,
        )?;
        let sound = match config.channel.audio.then(|| servers::sound(environment)) {
            Some(Ok(server)) => Some(server),
            Some(Err(warning)) => {
                warnings.push(warning);
                None
            }
            None => None,
        };
        let printers = config
            .channel
            .printing
            .then(|| servers::printers(environment));
        let printers = printers.flatten();
        let session_id = session::new_id()?;
        let log_file = in_home(config.log.filename.as_ref(), environment);
        let log_level = match &config.log.filename {
            Some(name) if log_file.is_none() => {
                warnings.push(format!("HOME is not set: no log in {name}"));
                LevelFilter::OFF
            }
            _ => log::level(config.log.level),
        };
        Ok(Self {
            host,
            port: config.login.port.get(),
            tls,
            login,
            password,
            token,
            remember: config.window.remember_password,
            shared: shared(&config),
            task,
            kill_vm: arguments.kill_vm,
            slave,
            kiosk: arguments.kiosk,
            once: arguments.once,
            reconnect,
            carrier: config.session.carrier.then(|| Carrier {
                grace: if reconnect.is_zero() {
                    Duration::ZERO
                } else {
                    Duration::from_secs(config.session.carrier_grace.number().into())
                },
                keepalive: Duration::from_secs(config.session.carrier_keepalive.number().into()),
                statistics: CarrierStatistics::default(),
            }),
            dpi: arguments.dpi,
            parameters: ClientParameters {
                audio: sound.is_some(),
                audio_compression: config.channel.audio_compression,
                printing: printers.is_some(),
                ..session::parameters(&arguments, &config, environment, &session_id)?
            },
            session_id,
            nx_options,
            sound,
            printers,
            nxproxy_args: config.nx.nxproxy_args.as_slice().to_vec(),
            stats: arguments.stats,
            engine: config.nx.engine,
            nxproxy: config.nx.nxproxy.as_path().to_owned(),
            cache: environment
                .home
                .as_ref()
                .map(|home| home.join(".qvd/cache")),
            config: arguments.config.clone().or(environment.config.clone()),
            icons: icons::folder(
                environment.data_home.as_deref(),
                environment.home.as_deref(),
            ),
            display: environment.display.clone(),
            json: arguments.json,
            header: !arguments.no_header,
            quiet: arguments.quiet,
            log_file,
            log_level,
            shown_config: properties
                .settings(Program::Client)
                .iter()
                .map(|setting| format!("{setting}\n"))
                .collect(),
            keys: config,
            warnings,
        })
    }
}

impl Settings {
    /// Another name in the logs, for another session of the same run.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn rename(&mut self) -> Result<(), Failure> {
        self.session_id = session::new_id()?;
        // Of a name that clients may send.
        let _ = self.parameters.more.set(SESSION_ID, &*self.session_id);
        Ok(())
    }

    /// Where the broker is and who asks, once the password is known.
    #[must_use]
    pub fn target(&self, credentials: Credentials) -> Target {
        Target {
            host: self.host.clone(),
            port: self.port,
            tls: self.tls.clone(),
            credentials,
            environment: self.shared.clone(),
            names: Names::default(),
        }
    }
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Code::Usage, message)
}

fn task(arguments: &Arguments, config: &ClientConfig) -> Task {
    let auto_connect = config.login.auto_connect_vm_id;
    let auto_connect = auto_connect.filter(|_| config.login.auto_connect);
    if arguments.show_config {
        Task::ShowConfig
    } else if let Some(command) = &arguments.command {
        match command {
            Command::Check { .. } => Task::Check,
            Command::Diagnose { archive } => Task::Diagnose(archive.clone()),
        }
    } else if arguments.create_icons {
        Task::CreateIcons
    } else if arguments.list_vms {
        Task::ListVms
    } else if arguments.list_apps {
        Task::ListApplications
    } else if let Some(name) = &arguments.vm_id {
        Task::Connect(Choice::Named(name.clone()))
    } else if arguments.first {
        Task::Connect(Choice::First)
    } else if let Some(id) = auto_connect {
        Task::Connect(Choice::Named(id.to_string()))
    } else {
        Task::Connect(Choice::Only)
    }
}

/// What an administrator may have set when nxproxy drew all sessions.
const UNUSED_ARGUMENTS: &str =
    "client.nxproxy.extra_args is without effect but with client.nx.engine = nxproxy";

/// The warning of a secret on the command line.
fn seen(arguments: &Arguments, what: &str, better: &str) -> String {
    match arguments.secrets_fd {
        Some(_) => {
            format!("every user of this machine could see {what} for a moment: better use {better}")
        }
        None => format!("every user of this machine can see {what}: better use {better}"),
    }
}

fn token(
    arguments: &mut Arguments,
    config: &ClientConfig,
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Option<SecretString> {
    if arguments.token.is_some() {
        warnings.push(seen(
            arguments,
            "the token given with --token",
            "QVDBEARERTOKEN",
        ));
    }
    // Who says as whom to log in does not want the configuration's token.
    let named = arguments.username.is_some() || environment.login.is_some();
    let configured = config.login.auto_connect_token.as_ref();
    let configured = configured.filter(|_| config.login.auto_connect && !named);
    let given = arguments.token.take().or_else(|| environment.token.clone());
    given.or_else(|| configured.cloned())
}

fn password(
    arguments: &mut Arguments,
    config: &ClientConfig,
    warnings: &mut Vec<String>,
) -> Result<Option<SecretString>, Failure> {
    if let Some(password) = arguments.password.take() {
        warnings.push(seen(
            arguments,
            "the password given with -w",
            "--password-file",
        ));
        return Ok(Some(password));
    }
    if let Some(file) = &arguments.password_file {
        return ask::password_from(file).map(Some);
    }
    Ok(config.login.password.clone())
}

/// The variables of the environment that the broker's plugins want to see.
fn shared(config: &ClientConfig) -> Vec<(String, SecretString)> {
    if !config.login.auth_env_share {
        return Vec::new();
    }
    let names = config.login.auth_env_share_list.as_slice();
    names
        .iter()
        .map(ToString::to_string)
        .filter_map(|name| Some((name.clone(), std::env::var(&name).ok()?.into())))
        .collect()
}

/// A file of the user's; none without a home, unless it lies elsewhere.
fn in_home(
    path: Option<&qvd_config::value::HomePath>,
    environment: &Environment,
) -> Option<PathBuf> {
    let home = environment.home.clone().unwrap_or_default();
    Some(path?.under(&home)).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests;
