//! A user with folders, a broker, and a VM in which they appear.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use qvd_rpc::{Call, SessionState};
use qvd_tests::display::{Display, Options, Window};
use qvd_tests::fault::{Endpoint, FaultProxy};
use qvd_tests::process::Process;
use qvd_tests::rig::{Agent, Desktop, Inventory, Login, Server, User, Vm};
use qvd_tests::{Error, Result, Scene};
use rustix::process::Signal;

/// For anything that is to happen.
pub(super) const WAIT: Duration = Duration::from_secs(60);

/// What the client says once the session is drawn.
pub(super) const CONNECTED: &str = "Connected; Ctrl-C suspends the session";

/// Everything between a user's folders and a desktop.
pub(super) struct Stage {
    pub(super) user: User,
    pub(super) display: Display,
    pub(super) agent: Agent,
    pub(super) server: Server,
    /// Between client and broker.
    pub(super) front: FaultProxy,
    /// Where the VM mounts.
    pub(super) shares: PathBuf,
}

impl Stage {
    pub(super) async fn set(scene: &Scene, keys: &[(&str, &str)]) -> Result<Self> {
        let shares = scene.path("Redirected");
        let shown = shares.display().to_string();
        let keys: Vec<_> = keys
            .iter()
            .copied()
            .chain([("vma.user.shares.path", shown.as_str())])
            .collect();
        let agent = Agent::start(scene, "vm", &Desktop::Small, &keys).await?;
        Self::around(scene, agent, shares, None).await
    }

    /// With an agent that mounts there, and sessions of this user.
    pub(super) async fn around(
        scene: &Scene,
        agent: Agent,
        shares: PathBuf,
        session_user: Option<&str>,
    ) -> Result<Self> {
        let mut vm = Vm::of(&agent, 1, "ann-desktop", &["ann"]);
        vm.session_user = session_user.map(str::to_owned);
        let user = User::new("ann", "apples and pears");
        let inventory = Inventory {
            users: vec![user.clone()],
            vms: vec![vm],
        };
        let server = Server::start(scene, &inventory, true, &[]).await?;
        let port = server.address().port();
        let options = Options {
            window_manager: true,
            ..Options::default()
        };
        Ok(Self {
            user,
            display: Display::start(scene, options).await?,
            agent,
            server,
            front: FaultProxy::start(&Endpoint::local(0), &Endpoint::local(port))?,
            shares,
        })
    }

    /// A login that shares folders and reconnects.
    pub(super) fn login(&self) -> Login {
        let mut login = Login::at(&self.server, &self.user);
        login.port = self.front.port().unwrap_or_default();
        login
            .with("client.reconnect.timeout", "180")
            .with("client.file_sharing.enable", "1")
            // What is plugged into this machine is not the test's.
            .with("internal.client.media", "")
    }

    /// A client whose session is drawn.
    pub(super) async fn connect(
        &self,
        scene: &Scene,
        login: &Login,
        arguments: &[&str],
    ) -> Result<Process> {
        let arguments: Vec<&str> = ["-g", "800x600"].iter().chain(arguments).copied().collect();
        let client = login.start_client(scene, &self.display, &arguments)?;
        client.expect(CONNECTED, WAIT).await?;
        self.becomes(SessionState::Connected).await?;
        self.drawn().await?;
        Ok(client)
    }

    pub(super) async fn becomes(&self, state: SessionState) -> Result<()> {
        self.agent.wait_for_state(state, WAIT).await
    }

    /// Waits until the folder of that name is mounted in the VM.
    pub(super) async fn mounted(&self, name: &str) -> Result<PathBuf> {
        let place = self.shares.join(name);
        until(&format!("{name} is mounted"), || is_mounted(&place)).await?;
        Ok(place)
    }

    /// Waits until the VM has nothing mounted, and no directories for it.
    pub(super) async fn bare(&self) -> Result<()> {
        until("nothing is left of the shares", || {
            !mounts().contains(&self.shares.display().to_string())
                && fs::read_dir(&self.shares).is_ok_and(|entries| entries.count() == 0)
        })
        .await
    }

    /// Waits until the session is drawn: an nxagent whose client goes while it
    /// starts or resumes may end, or come back without its window.
    async fn drawn(&self) -> Result<()> {
        let is_session = |window: &Window| window.name == "QVD" && window.width > 100;
        let screen = self.display.screen();
        let window = screen.wait_for_window("QVD", WAIT, is_session).await?;
        screen.wait_until_drawn(&window, WAIT).await
    }

    /// Ctrl-C: the client ends, the session is suspended.
    pub(super) async fn leave(&self, client: &mut Process) -> Result<()> {
        self.drawn().await?;
        client.signal(Signal::INT)?;
        let status = client.wait(WAIT).await?.code();
        assert_eq!(status, Some(0), "{}", client.log().text());
        self.becomes(SessionState::Suspended).await
    }

    /// Stops the session, so that nothing is left.
    pub(super) async fn strike(&self) -> Result<()> {
        self.agent.call(Call::XStop).await?;
        self.becomes(SessionState::Stopped).await
    }
}

pub(crate) async fn until(what: &str, done: impl Fn() -> bool) -> Result<()> {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WAIT, wait)
        .await
        .map_err(|_| Error::Invalid(format!("in vain: {what}")))
}

fn mounts() -> String {
    fs::read_to_string("/proc/mounts").unwrap_or_default()
}

pub(crate) fn is_mounted(place: &Path) -> bool {
    // As the table has it.
    let place = place.display().to_string().replace(' ', "\\040");
    mounts()
        .lines()
        .any(|line| line.split(' ').nth(1) == Some(&place))
}
