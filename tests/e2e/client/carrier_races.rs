//! A client of the carrier that loses its connection when it has just come up,
//! and is back before anybody has heard of it.

use std::time::Duration;

use qvd_carrier::{Config, Kind, Reason, Role};
use qvd_net::carrier::{Ended, Session};
use qvd_rpc::{Call, SessionState};
use qvd_tests::display::Display;
use qvd_tests::process::Process;
use qvd_tests::rig::{Agent, Desktop};
use qvd_tests::{Error, Outcome, Result, Scene, nx, play_for};
use tokio::net::{TcpStream, UnixListener};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::stage::{WAIT, display, drawn};

/// How often it is lost.
const ROUNDS: u32 = 60;

/// A client that does nothing between its calls.
struct Client<'a> {
    agent: &'a Agent,
    session: Session,
}

impl Client<'_> {
    /// Comes, the first time or again, and is connected.
    async fn come(&self) -> Result<JoinHandle<Ended>> {
        let token = self.session.token().map(|token| token.to_parameter());
        let mut parameters = vec![("qvd.client.carrier", "1")];
        if let Some(token) = &token {
            parameters.push(("qvd.client.carrier.resume", token));
        }
        self.agent.start_session(&parameters).await?;
        self.agent
            .wait_for_state(SessionState::Listening, WAIT)
            .await?;
        let invalid = |error: std::io::Error| Error::Invalid(error.to_string());
        let connection = TcpStream::connect(("127.0.0.1", self.agent.x_port()));
        let connection = connection.await.map_err(invalid)?;
        connection.set_nodelay(true).map_err(invalid)?;
        let mut link = self.session.link();
        let times = link.borrow().times;
        let session = self.session.clone();
        let run = tokio::spawn(async move { session.run(connection, Vec::new()).await });
        let came = timeout(WAIT, link.wait_for(|link| link.times > times)).await;
        match came {
            Ok(Ok(_)) => Ok(run),
            _ => Err(Error::Invalid("the connection does not come up".into())),
        }
    }
}

/// A session in nxproxy, whose NX goes on the carrier.
struct Drawn {
    display: Display,
    proxy: Process,
    joined: JoinHandle<()>,
}

impl Drawn {
    /// Of a client that has no connection yet.
    async fn by(
        scene: &Scene,
        client: &Client<'_>,
    ) -> std::result::Result<Self, Box<dyn std::error::Error>> {
        let display = display(scene).await?;
        let socket = scene.path("nx.sock");
        let listener = UnixListener::bind(&socket)?;
        let proxy = nx::start_proxy(scene, &display, &socket)?;
        let (local, _) = timeout(WAIT, listener.accept()).await??;
        let stream = client.session.open(Kind::Nx, b"")?;
        Ok(Self {
            display,
            proxy,
            joined: tokio::spawn(stream.join(local)),
        })
    }

    /// The client leaves it, and it is stopped.
    async fn end(self, client: &Client<'_>, run: JoinHandle<Ended>) -> Outcome {
        client.session.end(Reason::Done, "");
        timeout(WAIT, run).await??;
        timeout(WAIT, self.joined).await??;
        let agent = client.agent;
        agent.wait_for_state(SessionState::Suspended, WAIT).await?;
        agent.call(Call::XStop).await?;
        Ok(agent.wait_for_state(SessionState::Stopped, WAIT).await?)
    }

    /// It is there.
    async fn is_up(&self, agent: &Agent) -> Outcome {
        self.proxy.expect("Session: Session started", WAIT).await?;
        agent.wait_for_state(SessionState::Connected, WAIT).await?;
        drawn(&self.display).await?;
        Ok(())
    }
}

/// Comes for the first time, and is drawn.
async fn begin(
    scene: &Scene,
    client: &Client<'_>,
) -> std::result::Result<(Drawn, JoinHandle<Ended>), Box<dyn std::error::Error>> {
    let drawn = Drawn::by(scene, client).await?;
    let run = client.come().await?;
    drawn.is_up(client.agent).await?;
    Ok((drawn, run))
}

/// Comes, and is lost before NX has begun: sooner and later, until it has.
async fn falters(scene: &Scene) -> Outcome {
    let agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
    let client = Client {
        agent: &agent,
        session: Session::new(Role::Client, Config::default()),
    };
    let desktop = Drawn::by(scene, &client).await?;
    let mut before = 0;
    for round in 0..ROUNDS / 2 {
        let run = client.come().await?;
        tokio::time::sleep(Duration::from_millis(2) * round).await;
        before += u32::from(agent.state().await? == SessionState::Listening);
        run.abort();
        let _ = run.await;
    }
    assert!(before > 3, "{before} times before NX had begun");
    let run = client.come().await?;
    desktop.is_up(&agent).await?;
    let text = agent.daemon_log()?.text();
    assert!(!text.contains("Suspending session"), "{text}");
    assert_eq!(text.matches(super::carrier::BEGINS).count(), 1, "{text}");
    desktop.end(&client, run).await
}

/// Comes, and is lost again and again.
async fn relapses(scene: &Scene) -> Outcome {
    let agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
    let client = Client {
        agent: &agent,
        session: Session::new(Role::Client, Config::default()),
    };
    let (desktop, mut run) = begin(scene, &client).await?;
    for round in 0..ROUNDS {
        // As soon as it knows the next token, or a little later.
        if round % 4 == 3 {
            tokio::task::yield_now().await;
        }
        run.abort();
        let _ = run.await;
        run = client.come().await?;
    }
    super::carrier::agent_says(agent.daemon_log()?, 0, "the client is back").await?;
    agent.wait_for_state(SessionState::Connected, WAIT).await?;
    drawn(&desktop.display).await?;
    let text = agent.daemon_log()?.text();
    assert!(!text.contains("Suspending session"), "{text}");
    desktop.end(&client, run).await
}

/// Has the session taken away by a call: what its client hears.
async fn taken(scene: &Scene, call: Call) -> Outcome {
    let agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
    let client = Client {
        agent: &agent,
        session: Session::new(Role::Client, Config::default()),
    };
    let (_desktop, run) = begin(scene, &client).await?;
    agent.call(call).await?;
    let ended = timeout(WAIT, run).await??;
    let is_told = matches!(
        ended,
        Ended::Over {
            by_peer: true,
            reason: Reason::Suspended,
            ..
        }
    );
    assert!(is_told, "{ended:?}");
    agent.call(Call::XStop).await?;
    Ok(agent.wait_for_state(SessionState::Stopped, WAIT).await?)
}

#[test]
fn a_client_that_is_back_before_its_loss_is_known_has_its_session() {
    play_for("carrier_races", 3 * WAIT, async |scene| {
        relapses(scene).await
    });
}

#[test]
fn a_client_that_is_lost_before_nx_has_begun_has_its_session() {
    play_for("carrier_falters", 3 * WAIT, async |scene| {
        falters(scene).await
    });
}

#[test]
fn a_client_whose_session_is_stopped_hears_that_it_is_no_loss() {
    play_for("carrier_stopped", 2 * WAIT, async |scene| {
        taken(scene, Call::XStop).await
    });
}

#[test]
fn a_client_whose_session_is_suspended_hears_that_it_is_no_loss() {
    play_for("carrier_suspended", 2 * WAIT, async |scene| {
        taken(scene, Call::XSuspend).await
    });
}
