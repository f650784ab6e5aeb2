//! A user, a broker and a VM, with a relay on each side of the broker.

use std::time::Duration;

use qvd_rpc::{Call, SessionState};
use qvd_tests::display::{Display, Options, Window};
use qvd_tests::fault::{Endpoint, FaultProxy};
use qvd_tests::process::{Line, Process};
use qvd_tests::rig::{Agent, Desktop, Inventory, Login, Server, User, Vm};
use qvd_tests::{Result, Scene};
use rustix::process::Signal;

/// For anything that is to happen.
pub(super) const WAIT: Duration = Duration::from_secs(60);

/// What the client says once the session is drawn.
pub(super) const CONNECTED: &str = "Connected; Ctrl-C suspends the session";

/// What it says first when the session's connection has broken.
pub(super) const LOST: &str = " was lost (";

/// Everything between a user and a desktop.
pub(super) struct Stage {
    pub(super) user: User,
    pub(super) display: Display,
    pub(super) agent: Agent,
    pub(super) server: Server,
    /// Between client and broker.
    pub(super) front: FaultProxy,
    /// Between broker and nxagent.
    pub(super) nx: FaultProxy,
    /// Between broker and agent, for its calls.
    pub(super) calls: FaultProxy,
    vm: Vm,
}

impl Stage {
    pub(super) async fn set(scene: &Scene, tls: bool) -> Result<Self> {
        Self::set_with(scene, tls, &Desktop::Small, &[]).await
    }

    /// With this desktop, and these keys of the agent's.
    pub(super) async fn set_with(
        scene: &Scene,
        tls: bool,
        desktop: &Desktop,
        keys: &[(&str, &str)],
    ) -> Result<Self> {
        let agent = Agent::start(scene, "vm", desktop, keys).await?;
        let nx = relay(agent.x_port())?;
        let calls = relay(agent.rpc().port())?;
        let mut vm = Vm::of(&agent, 1, "ann-desktop", &["ann"]);
        vm.x_port = nx.port().unwrap_or_default();
        vm.rpc_port = calls.port().unwrap_or_default();
        let user = User::new("ann", "apples and pears");
        let inventory = inventory(&user, vec![vm.clone()]);
        let server = Server::start(scene, &inventory, tls, &[]).await?;
        let front = relay(server.address().port())?;
        Ok(Self {
            user,
            display: display(scene).await?,
            agent,
            server,
            front,
            nx,
            calls,
            vm,
        })
    }

    /// A login through the relay, that reconnects.
    pub(super) fn login(&self) -> Login {
        let mut login = Login::at(&self.server, &self.user);
        login.port = self.front.port().unwrap_or_default();
        login.with("client.reconnect.timeout", "180")
    }

    /// A client whose session is drawn.
    pub(super) async fn connect(&self, scene: &Scene, login: &Login) -> Result<Process> {
        let client = login.start_client(scene, &self.display, &["-g", "800x600"])?;
        client.expect(CONNECTED, WAIT).await?;
        self.becomes(SessionState::Connected).await?;
        self.drawn().await?;
        Ok(client)
    }

    pub(super) async fn drawn(&self) -> Result<Window> {
        drawn(&self.display).await
    }

    pub(super) async fn becomes(&self, state: SessionState) -> Result<()> {
        self.agent.wait_for_state(state, WAIT).await
    }

    /// Replaces the broker's users and VMs: `change` has the only VM.
    pub(super) async fn replace(&self, scene: &Scene, change: impl Fn(&mut Vm)) -> Result<()> {
        let mut vm = self.vm.clone();
        change(&mut vm);
        let inventory = inventory(&self.user, vec![vm]);
        self.server.replace_inventory(scene, &inventory).await
    }

    /// Replaces the broker's only user.
    pub(super) async fn replace_user(&self, scene: &Scene, user: &User) -> Result<()> {
        let inventory = inventory(user, vec![self.vm.clone()]);
        self.server.replace_inventory(scene, &inventory).await
    }

    /// Ctrl-C, and the end of it all.
    pub(super) async fn leave(&self, client: &mut Process) -> Result<()> {
        client.signal(Signal::INT)?;
        let status = client.wait(WAIT).await?.code();
        assert_eq!(status, Some(0), "{}", client.log().text());
        self.becomes(SessionState::Suspended).await?;
        self.strike().await
    }

    /// Stops the session, so that nothing is left.
    pub(super) async fn strike(&self) -> Result<()> {
        self.agent.call(Call::XStop).await?;
        self.becomes(SessionState::Stopped).await
    }
}

pub(super) fn inventory(user: &User, vms: Vec<Vm>) -> Inventory {
    Inventory {
        users: vec![user.clone()],
        vms,
    }
}

pub(super) fn relay(port: u16) -> Result<FaultProxy> {
    FaultProxy::start(&Endpoint::local(0), &Endpoint::local(port))
}

pub(super) async fn display(scene: &Scene) -> Result<Display> {
    let options = Options {
        window_manager: true,
        ..Options::default()
    };
    Display::start(scene, options).await
}

pub(super) async fn drawn(display: &Display) -> Result<Window> {
    let is_session = |window: &Window| window.name == "QVD" && window.width > 100;
    let screen = display.screen();
    let window = screen.wait_for_window("QVD", WAIT, is_session).await?;
    screen.wait_until_drawn(&window, WAIT).await?;
    Ok(window)
}

/// How often a line with this text is there.
pub(super) fn times(client: &Process, text: &str) -> usize {
    let lines = client.log().lines();
    lines.iter().filter(|line| line.text.contains(text)).count()
}

/// Waits until a line with this text is there so often.
pub(super) async fn said(client: &Process, text: &str, often: usize) -> Result<()> {
    let log = client.log();
    let seen = std::cell::Cell::new(0);
    let is_last = |line: &Line| {
        if line.text.contains(text) {
            seen.set(seen.get() + 1);
        }
        seen.get() >= often
    };
    log.wait_for(0, text, WAIT, is_last).await?;
    Ok(())
}

/// Waits for the client's end: its status and all that it said.
pub(super) async fn end_of(client: &mut Process) -> Result<(i32, String)> {
    let status = client.wait(WAIT).await?.code().unwrap_or(-1);
    // What it said may come a moment after its end.
    let _ended = client.log().wait_for(0, "the end", WAIT, |_| false).await;
    Ok((status, client.log().text()))
}
