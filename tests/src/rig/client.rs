//! The client on a user's display.

use super::server::{Server, User};
use crate::display::Display;
use crate::process::{Process, Program};
use crate::{Result, Scene};

/// What draws the sessions of all tests, where it is not the default:
/// `native` or `nxproxy`.
pub const ENGINE_VARIABLE: &str = "QVD_TEST_NX_ENGINE";

/// What a client needs to know to log in.
#[derive(Clone, Debug)]
pub struct Login {
    /// The broker's host.
    pub host: String,
    /// The broker's port.
    pub port: u16,
    /// Who logs in.
    pub user: User,
    /// The key file's lines: `client.conf`.
    pub keys: Vec<(String, String)>,
}

impl Login {
    /// A login at this broker, which trusts the certificate it made.
    pub fn at(server: &Server, user: &User) -> Self {
        let mut keys = vec![
            (
                "client.use_ssl".to_owned(),
                u8::from(server.uses_tls()).to_string(),
            ),
            // Only the tests of shared folders have the user's home in the VM.
            ("client.file_sharing.enable".to_owned(), "0".to_owned()),
            // A test of how sessions end is to see the first end.
            ("client.reconnect.timeout".to_owned(), "0".to_owned()),
        ];
        // The same tests with the engine that is not the default.
        if let Ok(engine) = std::env::var(ENGINE_VARIABLE) {
            keys.push(("client.nx.engine".into(), engine));
        }
        if server.uses_tls() {
            let certificate = server.certificate().display().to_string();
            keys.push(("path.ssl.ca.system.file".into(), certificate));
        }
        Self {
            host: "localhost".into(),
            port: server.address().port(),
            user: user.clone(),
            keys,
        }
    }
}

impl Login {
    /// The same login with another value of a key.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.keys.retain(|(name, _)| name != key);
        self.keys.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The client's program with this login, to which arguments can be added.
    /// The password goes by the environment, as a user would keep it off the
    /// command line.
    ///
    /// # Errors
    ///
    /// When it is not built.
    pub fn client(&self, scene: &Scene) -> Result<Program> {
        let keys = self
            .keys
            .iter()
            .map(|(key, value)| (key.as_str(), value.clone()));
        let file = format!("client-{}.conf", self.user.login);
        let config = scene.write(file, super::properties(keys))?;
        let program = scene
            .built("qvdclient")?
            .named(format!("qvdclient-{}", self.user.login));
        Ok(program
            .env("QVDCLIENTCONFIG", config)
            .env("QVDHOST", &self.host)
            .env("QVDLOGIN", &self.user.login)
            .env("QVDPASSWORD", &self.user.password)
            .args(["-p", &self.port.to_string()]))
    }

    /// Starts a client which draws on `display`.
    ///
    /// # Errors
    ///
    /// When it is not built.
    pub fn start_client(
        &self,
        scene: &Scene,
        display: &Display,
        arguments: &[&str],
    ) -> Result<Process> {
        scene.start(display.dress(self.client(scene)?.args(arguments)))
    }
}
