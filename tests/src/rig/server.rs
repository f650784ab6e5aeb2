//! The broker with users and VMs.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::agent::Agent;
use super::{properties, user_name};
use crate::ports::{self, Lease};
use crate::process::Process;
use crate::{Error, Result, Scene};

/// How long the broker may take to listen, and hashing a password.
const START: Duration = Duration::from_secs(20);

/// A user of the broker.
#[derive(Clone, Debug)]
pub struct User {
    /// Login name.
    pub login: String,
    /// Password, in the clear: the rig has the broker hash it.
    pub password: String,
}

impl User {
    /// A user.
    pub fn new(login: &str, password: &str) -> Self {
        Self {
            login: login.into(),
            password: password.into(),
        }
    }
}

/// A VM as the broker knows it.
#[derive(Clone, Debug)]
pub struct Vm {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Logins of those who may use it.
    pub users: Vec<String>,
    /// Where its agent is.
    pub address: String,
    /// The agent's port for calls.
    pub rpc_port: u16,
    /// The agent's port for the client's connection.
    pub x_port: u16,
    /// More lines of its table, TOML.
    pub more: String,
    /// Whom its sessions run as; the user who runs the tests where nobody is
    /// named.
    pub session_user: Option<String>,
}

impl Vm {
    /// The VM of an agent, for these users.
    pub fn of(agent: &Agent, id: u64, name: &str, users: &[&str]) -> Self {
        Self::at(agent.rpc().port(), agent.x_port(), id, name, users)
    }

    /// The VM whose agent is called at one port of this machine and takes
    /// clients at another.
    pub fn at(rpc_port: u16, x_port: u16, id: u64, name: &str, users: &[&str]) -> Self {
        Self {
            id,
            name: name.into(),
            users: users.iter().map(|user| (*user).to_owned()).collect(),
            address: Ipv4Addr::LOCALHOST.to_string(),
            rpc_port,
            x_port,
            more: String::new(),
            session_user: None,
        }
    }
}

/// Users and VMs.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The users.
    pub users: Vec<User>,
    /// The VMs.
    pub vms: Vec<Vm>,
}

/// A running broker.
#[derive(Debug)]
pub struct Server {
    process: Process,
    inventory: PathBuf,
    config: PathBuf,
    port: Lease,
    tls: bool,
}

impl Server {
    /// Starts a broker on loopback, with TLS and a certificate it makes itself,
    /// or plain. `keys` are added to its configuration.
    ///
    /// # Errors
    ///
    /// When it is not built or does not listen.
    pub async fn start(
        scene: &Scene,
        inventory: &Inventory,
        tls: bool,
        keys: &[(&str, &str)],
    ) -> Result<Self> {
        let port = ports::port()?;
        let file = scene.path("inventory.toml");
        write_inventory(scene, &file, inventory).await?;
        let path = |name: &str| scene.path(name).display().to_string();
        let written = [
            ("path.run", path("l7r-run")),
            ("log.filename", String::new()),
            ("log.level", "DEBUG".into()),
            ("l7r.pid_file", String::new()),
            ("l7r.address", Ipv4Addr::LOCALHOST.to_string()),
            ("l7r.port", port.number().to_string()),
            ("l7r.use_ssl", u8::from(tls).to_string()),
            ("l7r.ssl.self_signed", "1".into()),
            ("l7r.ssl.cert_file", path("l7r-cert.pem")),
            ("l7r.ssl.key_file", path("l7r-key.pem")),
            ("l7r.inventory", file.display().to_string()),
        ];
        let extra = keys.iter().map(|(key, value)| (*key, (*value).to_owned()));
        let config = scene.write("l7r.conf", properties(written.into_iter().chain(extra)))?;
        let process = serve(scene, &config).await?;
        Ok(Self {
            process,
            inventory: file,
            config,
            port,
            tls,
        })
    }

    /// Starts it again, after it was killed.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub async fn restart(&mut self, scene: &Scene) -> Result<()> {
        self.process = serve(scene, &self.config).await?;
        Ok(())
    }

    /// Replaces users and VMs while it runs.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub async fn replace_inventory(&self, scene: &Scene, inventory: &Inventory) -> Result<()> {
        write_inventory(scene, &self.inventory, inventory).await
    }

    /// The program.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.number()).into()
    }

    /// Whether clients have to speak TLS.
    pub fn uses_tls(&self) -> bool {
        self.tls
    }

    /// The certificate it made.
    pub fn certificate(&self) -> PathBuf {
        self.config.with_file_name("l7r-cert.pem")
    }
}

async fn serve(scene: &Scene, config: &Path) -> Result<Process> {
    let program = scene
        .built("qvd-server")?
        .args(["serve", "--config"])
        .arg(config);
    let process = scene.start(program)?;
    process.expect("listening on", START).await?;
    Ok(process)
}

/// Writes the file anew and puts it in place at once, as the broker reads it
/// when it changes.
async fn write_inventory(scene: &Scene, path: &Path, inventory: &Inventory) -> Result<()> {
    let mut text = String::new();
    // An agent that is not root serves the user it runs as, and one that is
    // would make another: so every session is that user's.
    let own = user_name()?;
    for user in &inventory.users {
        let hash = hash_password(scene, &user.password).await?;
        let login = quoted(&user.login);
        text.push_str(&format!(
            "[[user]]\nlogin = {login}\npassword = {}\n\n",
            quoted(&hash)
        ));
    }
    for vm in &inventory.vms {
        let session_user = quoted(vm.session_user.as_ref().unwrap_or(&own));
        let users = vm
            .users
            .iter()
            .map(|user| quoted(user))
            .collect::<Vec<_>>()
            .join(", ");
        text.push_str(&format!(
            "[[vm]]\nid = {}\nname = {}\nusers = [{users}]\naddress = {}\n\
             rpc_port = {}\nx_port = {}\n{}\n\
             properties.\"qvd.vm.user.name\" = {session_user}\n\n",
            vm.id,
            quoted(&vm.name),
            quoted(&vm.address),
            vm.rpc_port,
            vm.x_port,
            vm.more,
        ));
    }
    let new = scene.write("inventory.new", text)?;
    std::fs::rename(&new, path).map_err(|source| Error::Io {
        what: format!("writing {}", path.display()),
        source,
    })
}

/// The hash the broker itself makes of a password.
async fn hash_password(scene: &Scene, password: &str) -> Result<String> {
    let input = scene.write("password", format!("{password}\n"))?;
    let program = scene
        .built("qvd-server")?
        .arg("hash-password")
        .input(&input);
    let process = scene.start(program)?;
    let is_hash = |text: &str| text.starts_with("$argon2");
    let line = process
        .log()
        .wait_for(0, "a password's hash", START, |line| is_hash(&line.text))
        .await?;
    Ok(line.text)
}

/// A TOML string.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
