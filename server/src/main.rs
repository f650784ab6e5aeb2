//! The QVD broker (L7R).

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program"
)]

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use qvd_config::{Program, ServerConfig};
use qvd_server::cli::{Arguments, Command};
use qvd_server::serve::{Server, announce};
use qvd_server::{Error, auth, inventory, log, settings, tls};
use secrecy::SecretString;

/// Exit status of a faulty configuration, as in sysexits.h (EX_CONFIG).
const EX_CONFIG: u8 = 78;

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve {
            config,
            self_signed,
        } => with_config(&config, |mut loaded| {
            loaded.config.ssl.self_signed |= self_signed;
            log::init(&loaded.config)?;
            for warning in &loaded.warnings {
                tracing::warn!("{warning}");
            }
            serve(&loaded.config)
        }),
        Command::HashPassword => report(hash_password()),
        Command::CheckConfig { sample: true, .. } => {
            let mut out = io::stdout().lock();
            for line in qvd_config::sample(Program::Server) {
                // Who reads no further has read enough.
                if writeln!(out, "{line}").is_err() {
                    break;
                }
            }
            ExitCode::SUCCESS
        }
        Command::CheckConfig { file, .. } => with_config(&file, |loaded| {
            for warning in &loaded.warnings {
                println!("warning: {warning}");
            }
            check(&loaded.config)?;
            println!("{}: good", file.display());
            Ok(())
        }),
    }
}

fn serve(config: &ServerConfig) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::System {
            doing: "cannot start threads",
            source,
        })?;
    runtime.block_on(async {
        let server = Server::new(config)?;
        let pid_file = config
            .l7r
            .pid_file
            .as_deref()
            .map(PidFile::write)
            .transpose()?;
        announce(&server)?;
        server.run().await?;
        drop(pid_file);
        Ok(())
    })
}

/// Everything that `serve` would read, without serving.
fn check(config: &ServerConfig) -> Result<(), Error> {
    inventory::FileInventory::open(&config.l7r.inventory)?;
    let (cert, key) = (&config.ssl.cert_file, &config.ssl.key_file);
    let to_be_made = config.ssl.self_signed && !cert.exists() && !key.exists();
    if config.l7r.use_ssl && !to_be_made {
        tls::Certificate::open(cert, key)?;
    }
    Ok(())
}

fn hash_password() -> Result<(), Error> {
    let failed = |source| Error::System {
        doing: "cannot read the password",
        source,
    };
    let password = if io::stdin().is_terminal() {
        let first = rpassword::prompt_password("Password: ").map_err(failed)?;
        let again = rpassword::prompt_password("Again: ").map_err(failed)?;
        if first != again {
            return Err(Error::Hash("the two differ".into()));
        }
        first
    } else {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map_err(failed)?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    println!("{}", auth::hash(&SecretString::from(password))?.as_str());
    Ok(())
}

/// The file with the number of this process, removed at its end.
struct PidFile<'a>(&'a Path);

impl<'a> PidFile<'a> {
    fn write(file: &'a Path) -> Result<Self, Error> {
        let error = |source| Error::File {
            doing: "write",
            file: file.to_owned(),
            source,
        };
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(error)?;
        }
        std::fs::write(file, format!("{}\n", std::process::id())).map_err(error)?;
        Ok(Self(file))
    }
}

impl Drop for PidFile<'_> {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = std::fs::remove_file(self.0);
    }
}

fn with_config(path: &Path, run: impl FnOnce(settings::Loaded) -> Result<(), Error>) -> ExitCode {
    match settings::load(path) {
        Ok(loaded) => report(run(loaded)),
        Err(fault) => {
            for line in &fault.0 {
                eprintln!("qvd-server: {line}");
            }
            ExitCode::from(EX_CONFIG)
        }
    }
}

fn report(outcome: Result<(), Error>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Also where the log is a file, the one who started it is told.
            tracing::error!(code = error.code(), "{error}");
            eprintln!("qvd-server: {error} [{}]", error.code());
            ExitCode::from(error.exit_status())
        }
    }
}
