//! The agent, as it runs in a VM, and the calls a broker makes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use qvd_http1::{ResponseEvent, ResponseReader};
use qvd_rpc::{Call, MAX_REPLY, Parameters, Reply, SessionState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{properties, user_name};
use crate::display::ensure_socket_directory;
use crate::error::Doing as _;
use crate::ports::{self, Lease};
use crate::process::{Log, Process, Program};
use crate::{Error, Result, Scene};

/// How long the daemon may take to listen, and to answer a call.
const ANSWER: Duration = Duration::from_secs(20);

/// What the user's session runs.
#[derive(Clone, Debug)]
pub enum Desktop {
    /// A window manager, a terminal and a clock.
    Small,
    /// This shell script.
    Script(String),
}

impl Desktop {
    fn script(&self) -> String {
        match self {
            Self::Small => under_openbox(
                "xclock -update 1 -geometry 160x160-20+20 & \
                 xterm -geometry 60x16+40+60 -title terminal &",
            ),
            Self::Script(text) => text.clone(),
        }
    }
}

/// A line of shell script which becomes openbox and has it start `programs`,
/// shell too, without a quote in it.
///
/// openbox starts them when it is up: a window shown while it is starting can
/// stay unmanaged, and so invisible, for ever.
pub fn under_openbox(programs: &str) -> String {
    format!("exec openbox --sm-disable --startup \"sh -c '{programs}'\"")
}

/// An agent of its own: display, ports, directories. Dropping it kills the
/// daemon; its session goes with the test's scene, unless it was stopped.
#[derive(Debug)]
pub struct Agent {
    name: String,
    daemon: Option<Process>,
    config: PathBuf,
    run: PathBuf,
    port: Lease,
    display: Lease,
}

impl Agent {
    /// Configures an agent and starts its daemon. `keys` are added to its
    /// configuration and win over what the rig writes.
    ///
    /// # Errors
    ///
    /// When it is not built or does not listen.
    pub async fn start(
        scene: &Scene,
        name: &str,
        desktop: &Desktop,
        keys: &[(&str, &str)],
    ) -> Result<Self> {
        let mut agent = Self::configure(scene, name, desktop, keys)?;
        agent.start_daemon(scene).await?;
        Ok(agent)
    }

    /// Configures an agent without starting it: a VM whose agent is down.
    ///
    /// # Errors
    ///
    /// When its files cannot be written.
    pub fn configure(
        scene: &Scene,
        name: &str,
        desktop: &Desktop,
        keys: &[(&str, &str)],
    ) -> Result<Self> {
        ensure_socket_directory()?;
        let (port, display) = (ports::port()?, ports::display()?);
        let run = scene.path(format!("{name}-run"));
        std::fs::create_dir_all(&run).doing(|| format!("creating {}", run.display()))?;
        let session = scene.script(format!("{name}-session"), &desktop.script())?;
        let written = [
            ("path.run", run.display().to_string()),
            ("path.log", scene.directory().display().to_string()),
            ("log.filename", String::new()),
            ("log.level", "DEBUG".into()),
            ("vma.pid_file", String::new()),
            ("vma.rpc.address", Ipv4Addr::LOCALHOST.to_string()),
            ("vma.rpc.port", port.number().to_string()),
            ("vma.user.default.name", user_name()?),
            // No test changes the machine that it runs on.
            ("vma.user.home.drive", String::new()),
            ("command.groupadd", "/nonexistent/groupadd".into()),
            // Not the disk of who runs the tests.
            ("vma.user.home.drive", String::new()),
            ("internal.nxagent.display", display.number().to_string()),
            ("command.x-session", session.display().to_string()),
        ];
        let extra = keys.iter().map(|(key, value)| (*key, (*value).to_owned()));
        let config = scene.write(
            format!("{name}.conf"),
            properties(written.into_iter().chain(extra)),
        )?;
        Ok(Self {
            name: name.into(),
            daemon: None,
            config,
            run,
            port,
            display,
        })
    }

    /// Starts the daemon, or another one after it has ended, and waits until it
    /// listens.
    ///
    /// # Errors
    ///
    /// When it is not built or does not listen.
    pub async fn start_daemon(&mut self, scene: &Scene) -> Result<()> {
        let daemon = scene.start(self.program(scene)?)?;
        daemon.expect("listening on", ANSWER).await?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Starts the daemon as another user; for tests that run as root.
    ///
    /// # Errors
    ///
    /// As [`Self::start_daemon`].
    pub async fn start_daemon_as(&mut self, scene: &Scene, user: &str) -> Result<()> {
        let setpriv = scene.installed("setpriv", "util-linux")?;
        let wrapper = setpriv.args(["--reuid", user, "--regid", user, "--init-groups", "--"]);
        self.start_daemon_under(scene, wrapper).await
    }

    /// Starts the daemon by a program that becomes the one that its further
    /// arguments name.
    ///
    /// # Errors
    ///
    /// As [`Self::start_daemon`].
    pub async fn start_daemon_under(&mut self, scene: &Scene, wrapper: Program) -> Result<()> {
        let daemon = scene.start(
            wrapper
                .named(self.name.clone())
                .arg(crate::programs::built("qvd-vma")?)
                .args(["daemon", "--config"])
                .arg(&self.config),
        )?;
        daemon.expect("listening on", ANSWER).await?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// The daemon, to be started by the caller.
    ///
    /// # Errors
    ///
    /// When it is not built.
    pub fn program(&self, scene: &Scene) -> Result<Program> {
        let program = scene.built("qvd-vma")?.named(self.name.clone());
        Ok(program.args(["daemon", "--config"]).arg(&self.config))
    }

    /// The daemon.
    ///
    /// # Errors
    ///
    /// When none was started.
    pub fn daemon(&mut self) -> Result<&mut Process> {
        let name = &self.name;
        self.daemon
            .as_mut()
            .ok_or_else(|| Error::Invalid(format!("the daemon of {name} was not started")))
    }

    /// What the daemon and the session's programs said.
    ///
    /// # Errors
    ///
    /// When none was started.
    pub fn daemon_log(&self) -> Result<&Log> {
        let daemon = self.daemon.as_ref().map(Process::log);
        daemon.ok_or_else(|| Error::Invalid(format!("the daemon of {} was not started", self.name)))
    }

    /// Where it answers calls.
    pub fn rpc(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.number()).into()
    }

    /// The X display of its session.
    pub fn display(&self) -> u16 {
        self.display.number()
    }

    /// The port on which its session takes the client.
    pub fn x_port(&self) -> u16 {
        self.display().saturating_add(4000)
    }

    /// Its configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Its directory of sockets and records (`path.run`).
    pub fn run_directory(&self) -> &Path {
        &self.run
    }

    /// Makes a call as a broker does, on a connection of its own.
    ///
    /// # Errors
    ///
    /// When there is no answer, or none of SimpleRPC.
    pub async fn call(&self, call: Call) -> Result<Reply> {
        let what = format!("an answer of {} to {}", self.name, call.method());
        // x_wait answers late on purpose.
        let limit = ANSWER + qvd_rpc::MAX_WAIT;
        match tokio::time::timeout(limit, call_at(self.rpc(), call)).await {
            Ok(reply) => reply,
            Err(_) => Err(Error::Deadline {
                what,
                limit,
                context: String::new(),
            }),
        }
    }

    /// The state of its session.
    ///
    /// # Errors
    ///
    /// As [`Self::call`].
    pub async fn state(&self) -> Result<SessionState> {
        match self.call(Call::XState).await? {
            Reply::State(state) => Ok(state),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks for a session with these properties beside the needed ones.
    ///
    /// # Errors
    ///
    /// As [`Self::call`], and with the agent's reason when it refuses.
    pub async fn start_session(&self, properties: &[(&str, &str)]) -> Result<SessionState> {
        let mut parameters = Parameters::new();
        parameters.set("qvd.vm.user.name", user_name()?);
        parameters.set("qvd.client.geometry", "800x600");
        parameters.set("qvd.client.link", "lan");
        for (key, value) in properties {
            parameters.set(*key, *value);
        }
        match self.call(Call::XStart(parameters)).await? {
            Reply::State(state) => Ok(state),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits until its session is in this state.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] with the state it is in.
    pub async fn wait_for_state(&self, wanted: SessionState, within: Duration) -> Result<()> {
        let start = std::time::Instant::now();
        let mut seen = None;
        loop {
            let timeout = within.saturating_sub(start.elapsed());
            let call = Call::XWait { seen, timeout };
            let state = match self.call(call).await? {
                Reply::Waited(waited) => waited.state,
                other => return Err(unexpected(&other)),
            };
            if state == wanted {
                return Ok(());
            }
            if start.elapsed() >= within {
                return Err(Error::Deadline {
                    what: format!("the session of {}: {}", self.name, wanted.as_str()),
                    limit: within,
                    context: format!("; it is {}", state.as_str()),
                });
            }
            seen = Some(state);
        }
    }
}

/// Makes a call to the agent at an address, on a connection of its own.
///
/// # Errors
///
/// When there is no answer, or none of SimpleRPC.
pub async fn call_at(address: SocketAddr, call: Call) -> Result<Reply> {
    let doing = || format!("calling {} at {address}", call.method());
    let mut stream = TcpStream::connect(address).await.doing(doing)?;
    let mut request = Vec::new();
    let head = call.to_request().header("Connection", "close");
    head.write(&mut request)
        .map_err(|error| Error::Invalid(error.to_string()))?;
    stream.write_all(&request).await.doing(doing)?;
    let mut reader = ResponseReader::new(MAX_REPLY);
    loop {
        match reader
            .poll()
            .map_err(|error| Error::Invalid(error.to_string()))?
        {
            Some(ResponseEvent::Response(response)) => {
                return Reply::from_response(&response)
                    .map_err(|error| Error::Invalid(error.to_string()));
            }
            Some(_) => {}
            None => {
                let mut chunk = [0; 4096];
                match stream.read(&mut chunk).await.doing(doing)? {
                    0 => reader.receive_end(),
                    count => reader.receive(chunk.get(..count).unwrap_or_default()),
                }
            }
        }
    }
}

fn unexpected(reply: &Reply) -> Error {
    Error::Invalid(match reply {
        Reply::Failure(reason) => format!("the agent refused: {reason}"),
        other => format!("unexpected answer {other:?}"),
    })
}
