//! Command line, environment and configuration files, put together.

use std::path::{Path, PathBuf};

use clap::ValueEnum as _;
use nx_proxy::NxOptions;
use qvd_broker::{ClientParameters, Credentials};
use qvd_config::value::{Geometry, Keyboard, Link};
use qvd_config::{ClientConfig, ConfigError, Program, Properties};
use secrecy::SecretString;
use tracing_subscriber::filter::LevelFilter;

use super::arguments::{Arguments, Command, SslErrors};
use super::environment::Environment;
use super::{ask, log};
use crate::core::{
    Certificates, Choice, ClientCertificate, Code, Failure, Target, TlsPolicy, Trust,
};

/// The configuration of the whole machine.
const SYSTEM_CONFIG: &str = "/etc/qvd/client.conf";

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
#[derive(Debug)]
pub struct Settings {
    /// The broker's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is recognised; `None` for a connection in the clear.
    pub tls: Option<TlsPolicy>,
    /// What is to be done about a certificate that is not trusted; `None` when
    /// nobody said.
    pub ssl_errors: Option<SslErrors>,
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
    /// What the client says of itself.
    pub parameters: ClientParameters,
    /// Whether the VM is stopped before it is connected to.
    pub kill_vm: bool,
    /// File of the user's machine that the session opens.
    pub file: Option<PathBuf>,
    /// Whether a session is followed by the next login.
    pub kiosk: bool,
    /// Whether there is one session and no attempt to get it back.
    pub once: bool,
    /// Dots per inch of the session; the display's where there is none.
    pub dpi: Option<u16>,
    /// Options for nxproxy.
    pub nx_options: NxOptions,
    /// nxproxy.
    pub nxproxy: PathBuf,
    /// Where nxproxy keeps what it may use again.
    pub cache: Option<PathBuf>,
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
    /// What the user should know before anything happens.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Puts everything together.
    ///
    /// # Errors
    /// When the command line, the environment or a file is faulty.
    pub fn gather(mut arguments: Arguments, environment: &Environment) -> Result<Self, Failure> {
        let (config, mut warnings) = read_config(&arguments, environment)?;
        let task = task(&arguments);
        // Only with a broker there is somebody to log in to.
        let needs_broker = !matches!(task, Task::Diagnose(_) | Task::ShowConfig);
        let token = arguments.token.take().or_else(|| environment.token.clone());
        let host = config.login.force_host.as_ref().map(ToString::to_string);
        let host = host
            .or_else(|| match &mut arguments.command {
                Some(Command::Check { broker }) => broker.take(),
                _ => None,
            })
            .or_else(|| arguments.host.take())
            .or_else(|| environment.host.clone())
            .or_else(|| config.login.host.as_ref().map(ToString::to_string))
            .or_else(|| (!needs_broker).then(String::new))
            .ok_or_else(|| usage("no broker is named: use -h HOST, QVDHOST or client.host.name"))?;
        let port = match (arguments.port, &environment.port) {
            (Some(port), _) => port,
            (None, Some(port)) => port
                .parse()
                .map_err(|_| usage(format!("QVDPORT is no port: {port}")))?,
            (None, None) => config.login.port.get(),
        };
        let tls = tls(&arguments, &config, environment)?;
        if tls.is_none() {
            warnings.push("the connection is not encrypted".into());
        }
        // The test of the way logs in where it can.
        let login_needed = needs_broker && task != Task::Check && token.is_none();
        let login = match login(&mut arguments, &config, environment) {
            Some(login) => login,
            None if login_needed => return Err(usage(NO_LOGIN)),
            None => String::new(),
        };
        let password = password(&mut arguments, &config, environment, &mut warnings)?;
        let nx_options = match &arguments.nx_options {
            Some(text) => NxOptions::parse(text).map_err(|e| usage(e.to_string()))?,
            None => NxOptions::default(),
        };
        let debug = arguments.debug || environment.debug;
        let log_file = environment.debug_file.clone();
        let log_file = log_file.or_else(|| in_home(config.log.filename.as_ref(), environment));
        Ok(Self {
            host,
            port,
            tls,
            ssl_errors: ssl_errors(&arguments, environment)?,
            login,
            password,
            token,
            remember: arguments.remember || config.window.remember_password,
            shared: shared(&config),
            task,
            kill_vm: arguments.kill_vm,
            file: arguments.file.take(),
            kiosk: arguments.kiosk,
            once: arguments.once,
            dpi: arguments.dpi,
            parameters: parameters(&arguments, &config)?,
            nx_options,
            nxproxy: config.nx.nxproxy.as_path().to_owned(),
            cache: environment
                .home
                .as_ref()
                .map(|home| home.join(".qvd/cache")),
            display: environment.display.clone(),
            json: arguments.json,
            header: !arguments.no_header,
            quiet: arguments.quiet,
            log_file,
            log_level: log::level(config.log.level, debug),
            warnings,
        })
    }
}

impl Settings {
    /// Where the broker is and who asks, once the password is known.
    pub(super) fn target(&self, credentials: Credentials) -> Target {
        Target {
            host: self.host.clone(),
            port: self.port,
            tls: self.tls.clone(),
            credentials,
            environment: self.shared.clone(),
        }
    }
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Code::Usage, message)
}

fn task(arguments: &Arguments) -> Task {
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
    } else {
        Task::Connect(Choice::Only)
    }
}

/// `/etc/qvd/client.conf`, then the user's; later values replace earlier ones.
fn read_config(
    arguments: &Arguments,
    environment: &Environment,
) -> Result<(ClientConfig, Vec<String>), Failure> {
    let named = arguments.config.as_ref().or(environment.config.as_ref());
    let own = environment
        .home
        .as_ref()
        .map(|home| home.join(".qvd/client.conf"));
    let mut sources = Vec::new();
    read_source(Path::new(SYSTEM_CONFIG), false, &mut sources)?;
    match (named, &own) {
        (Some(file), _) => read_source(file, true, &mut sources)?,
        (None, Some(file)) => read_source(file, false, &mut sources)?,
        (None, None) => {}
    }
    let sources = sources
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
    let properties = Properties::from_sources(sources).map_err(|e| faulty(&e))?;
    let config = ClientConfig::from_properties(&properties).map_err(|e| faulty(&e))?;
    let warnings = properties
        .warnings(Program::Client)
        .iter()
        .map(ToString::to_string)
        .collect();
    Ok((config, warnings))
}

fn read_source(
    file: &Path,
    required: bool,
    sources: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), Failure> {
    let name = file.display().to_string();
    match std::fs::read(file) {
        Ok(bytes) => sources.push((name, bytes)),
        Err(e) if !required && e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(Failure::new(Code::Config, format!("{name}: {e}"))),
    }
    Ok(())
}

fn faulty(errors: &[ConfigError]) -> Failure {
    let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    Failure::new(Code::Config, lines.join("\n"))
}

fn in_home(
    path: Option<&qvd_config::value::HomePath>,
    environment: &Environment,
) -> Option<PathBuf> {
    Some(path?.under(environment.home.as_ref()?))
}

fn tls(
    arguments: &Arguments,
    config: &ClientConfig,
    environment: &Environment,
) -> Result<Option<TlsPolicy>, Failure> {
    let wanted = if arguments.no_ssl {
        false
    } else {
        arguments.ssl || config.login.use_ssl
    };
    if !wanted {
        return Ok(None);
    }
    let trust = match &arguments.pin {
        _ if arguments.insecure => Trust::DangerouslyAnything,
        Some(pin) if pin.chars().filter(char::is_ascii_hexdigit).count() == 64 => {
            Trust::Pinned(pin.clone())
        }
        Some(_) => return Err(usage("--pin needs a SHA-256 fingerprint, 64 hex digits")),
        None => Trust::Strict,
    };
    let mut files = arguments.ca.clone();
    files.extend(config.ssl.system_file.clone());
    let folders = in_home(Some(&config.ssl.personal), environment)
        .into_iter()
        .collect();
    let client = match (&arguments.client_cert, &arguments.client_key) {
        (Some(certificate), Some(key)) => Some(ClientCertificate {
            certificate: certificate.clone(),
            key: key.clone(),
        }),
        _ if config.ssl.use_cert => {
            let certificate = in_home(config.ssl.cert_file.as_ref(), environment);
            let key = in_home(config.ssl.key_file.as_ref(), environment);
            certificate
                .zip(key)
                .map(|(certificate, key)| ClientCertificate { certificate, key })
        }
        _ => None,
    };
    let roots = Certificates {
        system: true,
        files,
        folders,
    };
    Ok(Some(TlsPolicy {
        roots,
        trust,
        client,
    }))
}

fn login(
    arguments: &mut Arguments,
    config: &ClientConfig,
    environment: &Environment,
) -> Option<String> {
    arguments
        .username
        .take()
        .or_else(|| environment.login.clone())
        .or_else(|| config.login.user.clone())
}

fn ssl_errors(
    arguments: &Arguments,
    environment: &Environment,
) -> Result<Option<SslErrors>, Failure> {
    match (arguments.ssl_errors, &environment.ssl_errors) {
        (Some(what), _) => Ok(Some(what)),
        (None, Some(text)) => SslErrors::from_str(text, true).map(Some).map_err(|_| {
            usage(format!(
                "QVDSSLERRORS is {text}, and not ask, continue or abort"
            ))
        }),
        (None, None) => Ok(None),
    }
}

fn password(
    arguments: &mut Arguments,
    config: &ClientConfig,
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Result<Option<SecretString>, Failure> {
    if let Some(password) = arguments.password.take() {
        // An argument cannot be overwritten safely, only not be given.
        warnings.push("every user of this machine can see a password given with -w".into());
        return Ok(Some(password));
    }
    if let Some(file) = &arguments.password_file {
        return ask::password_from(file).map(Some);
    }
    let password = environment.password.as_ref();
    Ok(password.or(config.login.password.as_ref()).cloned())
}

fn parameters(arguments: &Arguments, config: &ClientConfig) -> Result<ClientParameters, Failure> {
    let session = &config.session;
    let parse = |name: &str, text: &str, form: &str| usage(format!("{name} {text} is not {form}"));
    let link = match (&session.force_link, &arguments.link) {
        (Some(link), _) => link.to_string(),
        (None, Some(text)) => {
            let form = "modem, isdn, adsl, wan, lan, local or a bandwidth such as 1m";
            text.parse::<Link>()
                .map_err(|_| parse("--link", text, form))?
                .to_string()
        }
        (None, None) => session.link.to_string(),
    };
    let geometry = match &arguments.geometry {
        Some(text) => Some(
            text.parse::<Geometry>()
                .map_err(|_| parse("-g", text, "WIDTHxHEIGHT"))?,
        ),
        None => session.geometry,
    };
    let keyboard = match &arguments.keyboard {
        Some(text) => {
            let keyboard = text.parse::<Keyboard>();
            Some(
                keyboard
                    .map_err(|_| parse("--keyboard", text, "MODEL/LAYOUT"))?
                    .to_string(),
            )
        }
        None => None,
    };
    Ok(ClientParameters {
        keyboard,
        link: Some(link),
        geometry: geometry.map(|g| g.to_string()),
        fullscreen: arguments.fullscreen || session.fullscreen,
        nxagent_extra_args: Some(bare_options(&session.nxagent_args)),
        timezone: timezone(),
        ..ClientParameters::default()
    })
}

/// `nx/nx,cache=16384:0`, as the manual writes it, without what surrounds the
/// options.
fn bare_options(text: &str) -> String {
    let text = text.trim();
    let text = text.strip_prefix("nx/nx").unwrap_or(text);
    let text = match text.rsplit_once(':') {
        Some((options, display)) if display.bytes().all(|b| b.is_ascii_digit()) => options,
        _ => text,
    };
    text.trim_matches(',').to_owned()
}

/// The machine's time zone, in the form `Europe/Madrid`.
fn timezone() -> Option<String> {
    let link = std::fs::read_link("/etc/localtime").ok()?;
    let (_, zone) = link.to_str()?.split_once("zoneinfo/")?;
    Some(zone.to_owned())
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use secrecy::ExposeSecret as _;

    use super::*;

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

    #[test]
    fn what_an_administrator_forces_cannot_be_changed() {
        let forced = "client.force.host.name = only\nclient.force.link = modem\n";
        let line = "qvdclient -h other --link lan";
        let settings = gather(line, &format!("{LOGIN}{forced}")).unwrap();
        assert_eq!(settings.host, "only");
        assert_eq!(settings.parameters.link.as_deref(), Some("modem"));
    }

    #[test]
    fn what_is_missing_or_faulty_is_named() {
        for (line, conf, code, words) in [
            ("qvdclient", "", Code::Usage, "no broker"),
            ("qvdclient -h b", "", Code::Usage, "no login"),
            ("qvdclient -g big", LOGIN, Code::Usage, "-g big"),
            ("qvdclient --link warp", LOGIN, Code::Usage, "--link warp"),
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

    #[test]
    fn extra_options_lose_what_surrounds_them() {
        assert_eq!(
            bare_options("nx/nx,cache=16384,pack=0:0"),
            "cache=16384,pack=0"
        );
        assert_eq!(bare_options("cache=16384"), "cache=16384");
        assert_eq!(bare_options(""), "");
    }
}
