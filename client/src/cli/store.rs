//! The desktop's secret store, which keeps a password for the next time.
//!
//! It is spoken to by `secret-tool`, the desktop's own program for that: the
//! libraries for it would bring a D-Bus stack into every run of the client, or
//! need a C library, for what few use and only at log-in. The password goes
//! through pipes.

use std::io::{self, ErrorKind};
use std::process::{Output, Stdio};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use super::settings::Settings;

const SECRET_TOOL: &str = "secret-tool";

/// How long the store may take. A store that is locked asks the user for its
/// own password meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);

/// The place of one login's password.
#[derive(Debug, Clone)]
pub struct Store {
    login: String,
    host: String,
    port: String,
}

impl Store {
    /// `None` where passwords are not to be kept.
    #[must_use]
    pub fn of(settings: &Settings) -> Option<Self> {
        settings.remember.then(|| Self {
            login: settings.login.clone(),
            host: settings.host.clone(),
            port: settings.port.to_string(),
        })
    }

    /// The password that was kept, if one was and there is a store.
    pub async fn look_up(&self) -> Option<SecretString> {
        match self.run(&["lookup"], None).await {
            Ok(output) if output.status.success() && !output.stdout.is_empty() => {
                String::from_utf8(output.stdout).ok().map(Into::into)
            }
            Ok(_) => None,
            Err(error) => {
                tracing::info!("no password from the secret store: {error}");
                None
            }
        }
    }

    /// Keeps a password.
    ///
    /// # Errors
    /// When there is no store, or it does not take it.
    pub async fn keep(&self, password: &SecretString) -> io::Result<()> {
        let label = format!("--label=QVD: {} at {}", self.login, self.host);
        let output = self.run(&["store", &label], Some(password)).await?;
        succeeded(&output)
    }

    /// Forgets a password that is not right any more.
    pub async fn forget(&self) {
        if let Err(error) = self.run(&["clear"], None).await {
            tracing::info!("the secret store keeps the password: {error}");
        }
    }

    async fn run(&self, verb: &[&str], input: Option<&SecretString>) -> io::Result<Output> {
        let mut child = Command::new(SECRET_TOOL)
            .args(verb)
            // A login may look like an option.
            .args(["--", "service", "qvdclient", "user", &self.login])
            .args(["host", &self.host, "port", &self.port])
            .env_remove("QVDPASSWORD")
            .env_remove("QVDBEARERTOKEN")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the client, which ends this then.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| match e.kind() {
                ErrorKind::NotFound => {
                    let words = "secret-tool is missing: install the package libsecret-tools";
                    io::Error::new(ErrorKind::NotFound, words)
                }
                _ => e,
            })?;
        let stdin = child.stdin.take();
        let work = async {
            if let (Some(mut stdin), Some(input)) = (stdin, input) {
                stdin.write_all(input.expose_secret().as_bytes()).await?;
            }
            child.wait_with_output().await
        };
        timeout(PATIENCE, work)
            .await
            .unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    }
}

fn succeeded(output: &Output) -> io::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(qvd_broker::one_line(said.trim())))
}
