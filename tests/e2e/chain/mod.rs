//! The whole chain: client, broker and agent with real nxagent, nxproxy and
//! displays.

mod cuts;
mod desktop;
mod guarded;
mod heads;
mod hooks;
mod inventory;
mod programs_fail;
mod raw;
mod refusals;
mod secrets;

use std::time::Duration;

use qvd_rpc::{Call, SessionState};
use qvd_tests::display::{Display, Options, Window};
use qvd_tests::process::{self, Process};
use qvd_tests::rig::{Agent, Desktop, Inventory, Login, Server, User, Vm};
use qvd_tests::{Result, Scene};
use rustix::process::Signal;

/// For anything that is to happen.
const WAIT: Duration = Duration::from_secs(40);

/// An agent without the carrier, as the reference's are: a connection that is
/// lost is a session that is suspended.
const PLAIN: [(&str, &str); 1] = [("vma.carrier.enable", "0")];

/// What the client says once the session is drawn.
const CONNECTED: &str = "Connected; Ctrl-C suspends the session";

/// A user at a display, a broker, and an agent whose VM is the user's only one.
struct Stage {
    user: User,
    display: Display,
    agent: Agent,
    server: Server,
}

impl Stage {
    /// With a broker that speaks TLS.
    async fn set(scene: &Scene) -> Result<Self> {
        Self::with(scene, true, &Desktop::Small).await
    }

    /// With an agent that does not speak the carrier.
    async fn plain(scene: &Scene) -> Result<Self> {
        let agent = Agent::start(scene, "vm", &Desktop::Small, &PLAIN).await?;
        let vm = Vm::of(&agent, 1, "ann-desktop", &["ann"]);
        Self::around(scene, true, agent, vm).await
    }

    async fn with(scene: &Scene, tls: bool, desktop: &Desktop) -> Result<Self> {
        let agent = Agent::start(scene, "vm", desktop, &[]).await?;
        let vm = Vm::of(&agent, 1, "ann-desktop", &["ann"]);
        Self::around(scene, tls, agent, vm).await
    }

    async fn around(scene: &Scene, tls: bool, agent: Agent, vm: Vm) -> Result<Self> {
        let user = ann();
        let inventory = Inventory {
            users: vec![user.clone()],
            vms: vec![vm],
        };
        let server = Server::start(scene, &inventory, tls, &[]).await?;
        Ok(Self {
            user,
            display: display(scene).await?,
            agent,
            server,
        })
    }

    fn login(&self) -> Login {
        Login::at(&self.server, &self.user)
    }

    /// A client of the user whose session is drawn on the display.
    async fn connect(&self, scene: &Scene) -> Result<Process> {
        connect(scene, &self.login(), &self.display, &self.agent).await
    }

    /// Waits until the desktop is drawn on the user's display.
    async fn drawn(&self) -> Result<Window> {
        drawn(&self.display).await
    }

    async fn becomes(&self, state: SessionState) -> Result<()> {
        self.agent.wait_for_state(state, WAIT).await
    }

    /// Stops the session, so that nothing is left.
    async fn strike(&self) -> Result<()> {
        strike(&self.agent).await
    }
}

fn ann() -> User {
    User::new("ann", "apples and pears")
}

async fn display(scene: &Scene) -> Result<Display> {
    let options = Options {
        window_manager: true,
        ..Options::default()
    };
    Display::start(scene, options).await
}

async fn connect(
    scene: &Scene,
    login: &Login,
    display: &Display,
    agent: &Agent,
) -> Result<Process> {
    let client = login.start_client(scene, display, &["-g", "800x600"])?;
    client.expect(CONNECTED, WAIT).await?;
    agent.wait_for_state(SessionState::Connected, WAIT).await?;
    drawn(display).await?;
    Ok(client)
}

async fn drawn(display: &Display) -> Result<Window> {
    let is_session = |window: &Window| window.name == "QVD" && window.width > 100;
    let screen = display.screen();
    let window = screen.wait_for_window("QVD", WAIT, is_session).await?;
    screen.wait_until_drawn(&window, WAIT).await?;
    Ok(window)
}

/// Ctrl-C, after which the client is to end in order and the session to be
/// suspended.
async fn leave(client: &mut Process, agent: &Agent) -> Result<()> {
    client.signal(Signal::INT)?;
    assert_eq!(client.wait(WAIT).await?.code(), Some(0), "{}", said(client));
    client.expect("Session suspended", WAIT).await?;
    agent.wait_for_state(SessionState::Suspended, WAIT).await
}

async fn strike(agent: &Agent) -> Result<()> {
    agent.call(Call::XStop).await?;
    agent.wait_for_state(SessionState::Stopped, WAIT).await
}

/// Waits for the client's end: the exit status and its last sentence.
async fn end_of(client: &mut Process) -> Result<(i32, String)> {
    let status = client.wait(WAIT).await?;
    // The status may be there before the last line was read.
    let is_last = |line: &process::Line| {
        line.text.starts_with("qvdclient: ") && !line.text.starts_with("qvdclient: warning: ")
    };
    let log = client.log();
    let sentence = match log.wait_for(0, "a last sentence", WAIT, is_last).await {
        Ok(_) => log.lines().into_iter().rfind(is_last).map(|line| line.text),
        Err(_) => None,
    };
    let sentence = sentence.unwrap_or_default().replace("qvdclient: ", "");
    Ok((status.code().unwrap_or(-1), sentence))
}

fn said(program: &Process) -> String {
    program.log().text()
}

/// The process of the test whose command line has this text.
fn process_with(scene: &Scene, text: &str) -> Result<u32> {
    let all = process::marked(scene.mark());
    let found = all.iter().find(|one| one.command.contains(text));
    found.map(|one| one.pid).ok_or_else(|| {
        qvd_tests::Error::Invalid(format!("no process has '{text}' in its command line"))
    })
}
