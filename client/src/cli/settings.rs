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
mod tests {
    use clap::Parser as _;
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::core::Trust;

    fn gather(line: &str, conf: &str) -> Result<Settings, Failure> {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".qvd")).unwrap();
        std::fs::write(home.path().join(".qvd/client.conf"), conf).unwrap();
        let environment = Environment {
            home: Some(home.path().to_owned()),
            password: Some("from-env".into()),
            ..Environment::default()
        };
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        Settings::gather(arguments, &environment)
    }

    fn login_of(settings: &Settings) -> (&str, &str) {
        let password = settings.password.as_ref().unwrap();
        (settings.login.as_str(), password.expose_secret())
    }

    const LOGIN: &str = "client.host.name = broker\nclient.user.name = ann\n";

    #[test]
    fn the_command_line_wins_over_the_environment_and_that_over_files() {
        let settings = gather("qvdclient", LOGIN).unwrap();
        assert_eq!((settings.host.as_str(), settings.port), ("broker", 8443));
        assert_eq!(login_of(&settings), ("ann", "from-env"));
        let line = "qvdclient -h other -p 1 -u bob -w x -g 640x480 --link 1m";
        let settings = gather(line, LOGIN).unwrap();
        assert_eq!((settings.host.as_str(), settings.port), ("other", 1));
        assert_eq!(login_of(&settings), ("bob", "x"));
        assert_eq!(settings.parameters.geometry.as_deref(), Some("640x480"));
        assert_eq!(settings.parameters.link.as_deref(), Some("1m"));
        assert_eq!(settings.warnings.len(), 1, "the password can be seen");
    }

    /// The broker, and what is told, when the machine's file has `system`.
    fn under(system: &str, line: &str) -> (Settings, String) {
        let home = tempfile::tempdir().unwrap();
        let system_config = home.path().join("client.conf");
        std::fs::write(&system_config, system).unwrap();
        std::fs::create_dir_all(home.path().join(".config/qvd")).unwrap();
        let own = "client.force.host.name = mine\nclient.link = wan\nclient.fullscreen = 1\n";
        std::fs::write(home.path().join(".config/qvd/client.conf"), own).unwrap();
        let environment = Environment {
            home: Some(home.path().to_owned()),
            system_config,
            host: Some("env-host".into()),
            login: Some("ann".into()),
            password: Some("s3cret".into()),
            ..Environment::default()
        };
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let settings = Settings::gather(arguments, &environment).unwrap();
        let warnings = settings.warnings.join("\n");
        (settings, warnings)
    }

    #[test]
    fn arguments_for_nxproxy_want_nxproxy() {
        let arguments = "client.nxproxy.extra_args = -x\n";
        let (_, warnings) = under(arguments, "qvdclient -h flag");
        assert!(warnings.contains(UNUSED_ARGUMENTS), "{warnings}");
        let (_, warnings) = under(arguments, "qvdclient -h flag --nx-engine nxproxy");
        assert!(!warnings.contains("extra_args"), "{warnings}");
    }

    #[test]
    fn what_an_administrator_forces_cannot_be_changed() {
        let forced = "client.force.host.name = only\nclient.force.link = modem\n";
        let (settings, warnings) = under(forced, "qvdclient -h flag --link lan");
        assert_eq!(settings.host, "only");
        assert_eq!(settings.parameters.link.as_deref(), Some("modem"));
        assert!(
            settings.parameters.fullscreen,
            "the user's other keys count"
        );
        for who in [
            "QVDHOST: ",
            "-h: ",
            "--link: ",
            "qvd/client.conf:1: ",
            "qvd/client.conf:2: ",
        ] {
            let line = warnings.lines().find(|line| line.contains(who));
            assert!(line.unwrap().contains("client.conf:"), "{who}: {warnings}");
            assert!(line.unwrap().contains("cannot be changed"), "{warnings}");
        }
        let (settings, _) = under("", "qvdclient -h flag");
        assert_eq!(settings.host, "mine", "a user may bind himself");
    }

    #[test]
    fn the_configuration_is_shown_with_its_places_and_without_secrets() {
        let forced = "client.force.link = modem\n";
        let (settings, _) = under(forced, "qvdclient -p 1 --show-config -w hidden");
        let shown = &settings.shown_config;
        for (key, value, place) in [
            ("client.host.port", "1", "(-p)"),
            ("client.user.name", "ann", "(QVDLOGIN)"),
            ("client.user.password", "(not shown)", "(-w)"),
            ("client.link", "modem", "/client.conf:1)"),
            ("client.fullscreen", "1", "/qvd/client.conf:3)"),
            ("client.use_ssl", "1", "(default)"),
        ] {
            let begin = format!("{key} = {value} ");
            let line = shown.lines().find(|line| line.starts_with(&begin));
            assert!(
                line.unwrap_or(shown).ends_with(place),
                "{key}: {line:?} {shown}"
            );
        }
        assert!(!shown.contains("s3cret") && !shown.contains("hidden"));
    }

    #[test]
    fn a_configured_token_and_machine_are_taken_without_asking() {
        let conf = "client.auto_connect = 1\nclient.auto_connect.vm_id = 7\n\
                    client.auto_connect.token = t0ken\nclient.host.name = broker\n";
        let settings = gather("qvdclient", conf).unwrap();
        assert_eq!(settings.token.unwrap().expose_secret(), "t0ken");
        assert_eq!(settings.task, Task::Connect(Choice::Named("7".into())));
        let settings = gather("qvdclient -u bob -o", conf).unwrap();
        assert!(settings.token.is_none(), "bob logs in as himself");
        assert_eq!(settings.task, Task::Connect(Choice::First));
        let off = conf.replace("connect = 1", "connect = 0");
        assert_eq!(gather("qvdclient", &off).unwrap_err().code(), Code::Usage);
    }

    #[test]
    fn debugging_logs_more_and_never_less() {
        let level = |line: &str, level: &str| {
            let settings = gather(line, &format!("{LOGIN}log.level = {level}\n")).unwrap();
            settings.log_level
        };
        assert_eq!(level("qvdclient", "OFF"), LevelFilter::OFF);
        assert_eq!(level("qvdclient", "INFO"), LevelFilter::INFO);
        assert_eq!(level("qvdclient -d", "OFF"), LevelFilter::DEBUG);
        assert_eq!(level("qvdclient -d", "ALL"), LevelFilter::TRACE);
        let shown = gather("qvdclient -d", LOGIN).unwrap().shown_config;
        assert!(shown.contains("log.level = DEBUG  (-d)"), "{shown}");
    }

    #[test]
    fn a_password_that_others_can_read_is_told() {
        let settings = gather("qvdclient", &format!("{LOGIN}client.user.password = x\n"));
        let warnings = settings.unwrap().warnings.join("\n");
        assert!(
            warnings.contains("client.conf:3: other users can read"),
            "{warnings}"
        );
        assert!(
            !gather("qvdclient", LOGIN)
                .unwrap()
                .warnings
                .join("")
                .contains("other users")
        );
    }

    #[test]
    fn what_is_missing_or_faulty_is_named() {
        for (line, conf, code, words) in [
            ("qvdclient", "", Code::Usage, "no broker"),
            ("qvdclient -h b", "", Code::Usage, "no login"),
            (
                "qvdclient -g big",
                LOGIN,
                Code::Usage,
                "-g: client.geometry",
            ),
            (
                "qvdclient --link warp",
                LOGIN,
                Code::Usage,
                "--link: client.link",
            ),
            ("qvdclient --pin 1234", LOGIN, Code::Usage, "--pin"),
            (
                "qvdclient -x nx/nx,listen=1:0",
                LOGIN,
                Code::Usage,
                "listen",
            ),
            (
                "qvdclient",
                "client.host.port = many",
                Code::Config,
                "client.conf:1",
            ),
            (
                "qvdclient --config /dev/zero",
                LOGIN,
                Code::Config,
                "larger than",
            ),
            (
                "qvdclient --config /nonexistent",
                LOGIN,
                Code::Config,
                "/nonexistent",
            ),
        ] {
            let failure = gather(line, conf).err().unwrap();
            assert_eq!(failure.code(), code, "{line}: {failure}");
            assert!(failure.to_string().contains(words), "{line}: {failure}");
        }
    }

    #[test]
    fn certificates_are_checked_unless_told_otherwise() {
        let trust = |line: &str| gather(line, LOGIN).unwrap().tls.map(|tls| tls.trust);
        assert_eq!(trust("qvdclient"), Some(Trust::Strict));
        assert_eq!(trust("qvdclient -n"), Some(Trust::DangerouslyAnything));
        assert_eq!(trust("qvdclient --no-ssl"), None);
    }
}
