//! Whom the client trusts, from command line and configuration.

use std::path::{Path, PathBuf};

use clap::ValueEnum as _;
use qvd_config::{ClientConfig, Properties};

use super::{in_home, usage};
use crate::cli::arguments::{Arguments, SslErrors};
use crate::cli::certificate::Terminal;
use crate::cli::environment::Environment;
use crate::core::{
    Asker, Certificates, ClientCertificate, Code, Errors, Failure, Fault, Memory, Policy, Stapled,
    TlsPolicy, Trust,
};

/// Where the system's roots are unless the configuration says otherwise.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs";

/// The reference's word for them.
const SYSTEM_DEFAULT: &str = "SYSTEM_DEFAULT";

pub(super) fn policy(
    arguments: &Arguments,
    config: &ClientConfig,
    properties: &Properties,
    environment: &Environment,
) -> Result<Option<TlsPolicy>, Failure> {
    if !config.login.use_ssl {
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
    let client = match (&arguments.client_cert, &arguments.client_key) {
        (Some(certificate), Some(key)) => Some(ClientCertificate {
            certificate: certificate.clone(),
            key: key.clone(),
        }),
        _ if config.ssl.use_cert => {
            let certificate = in_home(config.ssl.cert_file.as_ref(), environment);
            let key = in_home(config.ssl.key_file.as_ref(), environment);
            let both = certificate.zip(key);
            let (certificate, key) = both
                .ok_or_else(|| usage("HOME is not set, and the client's certificate is there"))?;
            Some(ClientCertificate { certificate, key })
        }
        _ => None,
    };
    let roots = roots(arguments, config, environment)?;
    Ok(Some(TlsPolicy {
        roots,
        trust,
        policy: decisions(arguments, config, properties, environment)?,
        stapled: stapled(config)?,
        pins: environment
            .home
            .as_ref()
            .map(|home| home.join(".qvd/accepted_certs.json")),
        asker: Asker::new(Terminal),
        memory: Memory::default(),
        client,
    }))
}

/// The reference's client takes several folders, with colons between them,
/// and a word for the system's own.
fn roots(
    arguments: &Arguments,
    config: &ClientConfig,
    environment: &Environment,
) -> Result<Certificates, Failure> {
    let is_systems = |path: &Path| {
        [SYSTEM_ROOTS, SYSTEM_DEFAULT]
            .map(Path::new)
            .contains(&path)
    };
    let mut roots = Certificates {
        system: false,
        files: arguments.ca.clone(),
        folders: Vec::new(),
    };
    roots
        .folders
        .extend(in_home(Some(&config.ssl.personal), environment));
    for folder in std::env::split_paths(&config.ssl.system_path) {
        if is_systems(&folder) {
            roots.system = true;
        } else if folder != Path::new("") {
            let folder = absolute("path.ssl.ca.system.path", folder)?;
            roots.folders.push(folder);
        }
    }
    let file = Path::new(&config.ssl.system_file);
    if is_systems(file) {
        roots.system = true;
    } else if file != Path::new("") {
        let file = absolute("path.ssl.ca.system.file", file.to_owned())?;
        roots.files.push(file);
    }
    Ok(roots)
}

fn absolute(key: &str, path: PathBuf) -> Result<PathBuf, Failure> {
    if path.is_absolute() {
        return Ok(path);
    }
    let message = format!("{key} is no absolute path: {}", path.display());
    Err(Failure::new(Code::Config, message))
}

fn stapled(config: &ClientConfig) -> Result<Stapled, Failure> {
    let text = &config.ssl.ocsp_mode;
    Stapled::from_flags(text).ok_or_else(|| {
        let message = format!(
            "client.ssl.ocsp_mode is {text}: only SSL_OCSP_TRY_STAPLE, SSL_OCSP_MUST_STAPLE and \
             SSL_OCSP_NO_STAPLE are supported"
        );
        Failure::new(Code::Config, message)
    })
}

/// Which faults of a certificate may be passed over.
fn decisions(
    arguments: &Arguments,
    config: &ClientConfig,
    properties: &Properties,
    environment: &Environment,
) -> Result<Policy, Failure> {
    let errors = ssl_errors(arguments, environment)?.map(|errors| match errors {
        SslErrors::Ask => Errors::Ask,
        SslErrors::Continue => Errors::Continue,
        SslErrors::Abort => Errors::Abort,
    });
    let ssl = &config.ssl;
    Ok(Policy::of(errors, |fault| {
        let allowed = match fault {
            Fault::UnknownIssuer | Fault::SelfSigned | Fault::Version1 => ssl.allow_untrusted,
            Fault::Expired => ssl.allow_expired,
            Fault::NotYetValid => ssl.allow_not_yet_valid,
            Fault::WrongHost => ssl.allow_bad_host,
            Fault::Revoked => ssl.allow_revoked,
            Fault::WeakKey => ssl.allow_weak_key,
            Fault::InsecureSignature => ssl.allow_insecure_sign_algo,
            Fault::OcspFailure => ssl.allow_ocsp_server_failure,
            Fault::OcspError => ssl.allow_ocsp_error,
            Fault::OldRevocations | Fault::Other => ssl.allow_unknown_error,
        };
        (allowed, properties.is_locked(fault.key()))
    }))
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::settings::Settings;
    use crate::core::Code;

    /// The policy with these keys in the machine's file and in the user's.
    fn policy(machine: &str, user: &str, line: &str) -> Result<TlsPolicy, Failure> {
        let home = tempfile::tempdir().unwrap();
        let system_config = home.path().join("client.conf");
        std::fs::write(&system_config, machine).unwrap();
        std::fs::create_dir(home.path().join(".qvd")).unwrap();
        std::fs::write(home.path().join(".qvd/client.conf"), user).unwrap();
        let environment = Environment {
            home: Some(home.path().to_owned()),
            system_config,
            host: Some("broker".into()),
            login: Some("ann".into()),
            ..Environment::default()
        };
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        Settings::gather(arguments, &environment).map(|settings| settings.tls.unwrap())
    }

    #[test]
    fn what_may_be_passed_over_is_said_by_files_and_the_command_line() {
        let allows = |machine: &str, user: &str, line: &str, fault| {
            let policy = policy(machine, user, line).unwrap().policy;
            policy.allow.contains(&fault)
        };
        let (yes, no) = (
            "client.ssl.allow_expired = 1\n",
            "client.ssl.allow_expired = 0\n",
        );
        let (plain, asking) = ("qvdclient", "qvdclient --ssl-errors=ask");
        for (machine, user, line, allowed) in [
            ("", "", plain, false),
            ("", "", asking, true),
            ("", yes, plain, true),
            (yes, "", plain, true),
            (no, "", asking, false),
            (no, yes, asking, false),
        ] {
            let is = allows(machine, user, line, Fault::Expired);
            assert_eq!(is, allowed, "{machine:?} {user:?} {line}");
        }
        assert!(!allows(yes, "", plain, Fault::Revoked));
    }

    #[test]
    fn another_folder_of_roots_is_instead_of_the_systems() {
        let roots = |user: &str| policy("", user, "qvdclient").unwrap().roots;
        assert!(roots("").system);
        let ours = roots("path.ssl.ca.system.path = /srv/roots\n");
        assert!(!ours.system);
        assert!(ours.folders.contains(&"/srv/roots".into()));
        let both = roots("path.ssl.ca.system.path = SYSTEM_DEFAULT:/srv/roots\n");
        assert!(both.system && both.folders.contains(&"/srv/roots".into()));
        let none = roots("path.ssl.ca.system.path =\n");
        assert!(!none.system && none.files.is_empty());
        let file = roots("path.ssl.ca.system.file = SYSTEM_DEFAULT\n");
        assert!(file.system && file.files.is_empty());
        let odd = policy("", "path.ssl.ca.system.path = roots\n", "qvdclient");
        assert_eq!(odd.unwrap_err().code(), Code::Config);
    }

    #[test]
    fn stapling_is_as_the_key_says() {
        let stapled = |mode: &str| {
            let line = format!("client.ssl.ocsp_mode = {mode}\n");
            policy("", &line, "qvdclient").map(|policy| policy.stapled)
        };
        assert_eq!(stapled("SSL_OCSP_MUST_STAPLE").unwrap(), Stapled::Must);
        let failure = stapled("SSL_OCSP_FULL_CHAIN").unwrap_err();
        assert_eq!(failure.code(), Code::Config);
        assert!(failure.to_string().contains("client.ssl.ocsp_mode"));
    }
}
