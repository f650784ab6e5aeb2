//! nxagent and nxproxy as Debian ships them, with the relay between: the ground
//! on which the tests of this project's own programs stand.

use std::time::Duration;

use qvd_tests::display::{Display, Options, Window};
use qvd_tests::fault::{Cut, Direction, Endpoint, FaultProxy};
use qvd_tests::nx::{self, Agent};
use qvd_tests::process::Process;
use qvd_tests::{Result, Scene, play};

const WAIT: Duration = Duration::from_secs(30);

/// A session on a display, its connection passing through the relay.
struct Session {
    display: Display,
    agent: Agent,
    relay: FaultProxy,
    proxy: Process,
    window: Window,
    _clock: Process,
}

impl Session {
    async fn start(scene: &Scene) -> Result<Self> {
        let options = Options {
            window_manager: true,
            ..Options::default()
        };
        let display = Display::start(scene, options).await?;
        let agent = Agent::start(scene, &["link=lan", "geometry=800x600"]).await?;
        let (front, back) = (scene.path("relay.sock"), Endpoint::unix(agent.socket()));
        let relay = FaultProxy::start(&Endpoint::unix(&front), &back)?;
        let proxy = nx::start_proxy(scene, &display, &front)?;
        agent.expect_session(0, "Session started", WAIT).await?;
        // nxagent may leave its first requests, the one to show its window
        // among them, unsent while no program in the session does anything.
        let clock = agent.dress(scene.installed("xclock", "x11-apps")?);
        let clock = clock.args(["-update", "1", "-geometry", "300x300"]);
        let clock = scene.start(clock)?;
        let window = display
            .screen()
            .wait_for_window("QVD", WAIT, is_session)
            .await?;
        Ok(Self {
            display,
            agent,
            relay,
            proxy,
            window,
            _clock: clock,
        })
    }
}

fn is_session(window: &Window) -> bool {
    window.name == "QVD" && window.width > 100
}

#[test]
fn a_session_is_drawn_and_a_cut_suspends_it() {
    play("a_session_is_drawn_and_a_cut_suspends_it", async |scene| {
        let mut session = Session::start(scene).await?;
        assert_eq!((session.window.width, session.window.height), (800, 600));
        session
            .display
            .screen()
            .wait_until_drawn(&session.window, WAIT)
            .await?;
        session.display.save_screenshot(scene, "session.png")?;

        let connection = session
            .relay
            .last_connection()
            .ok_or("nothing passed the relay")?;
        let first = connection.passed(Direction::ToServer).beginning;
        assert!(first.starts_with(b"NXPROXY-"), "the proxy speaks first");

        let before = session.agent.process().log().position();
        session.relay.cut(Cut::Fin);
        session
            .agent
            .expect_session(before, "Session suspended", WAIT)
            .await?;
        session.proxy.wait(WAIT).await?;
        Ok(())
    });
}

#[test]
fn a_suspended_session_resumes_on_another_display() {
    play(
        "a_suspended_session_resumes_on_another_display",
        async |scene| {
            let mut session = Session::start(scene).await?;
            let before = session.agent.process().log().position();
            session.relay.cut(Cut::Reset);
            session
                .agent
                .expect_session(before, "Session suspended", WAIT)
                .await?;
            session.proxy.wait(WAIT).await?;

            let options = Options {
                width: 1280,
                window_manager: true,
                ..Options::default()
            };
            let other = Display::start(scene, options).await?;
            session.agent.hang_up()?;
            let listening =
                session
                    .agent
                    .process()
                    .expect_after(before, "Waiting for connection", WAIT);
            listening.await?;
            let _proxy = nx::start_proxy(scene, &other, session.agent.socket())?;
            session
                .agent
                .expect_session(before, "Session resumed", WAIT)
                .await?;
            let window = other
                .screen()
                .wait_for_window("QVD", WAIT, is_session)
                .await?;
            assert!(window.visible);
            Ok(())
        },
    );
}
