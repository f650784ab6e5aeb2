//! The agent with a stock nxproxy as its client.

use std::time::Duration;

use qvd_rpc::{Call, SessionState};
use qvd_tests::display::{Display, Options, Window};
use qvd_tests::fault::{Endpoint, FaultProxy};
use qvd_tests::rig::{Agent, Desktop};
use qvd_tests::{nx, play};

const WAIT: Duration = Duration::from_secs(30);

fn is_session(window: &Window) -> bool {
    window.name == "QVD" && window.width > 100
}

#[test]
fn a_session_starts_is_drawn_and_stops() {
    play("a_session_starts_is_drawn_and_stops", async |scene| {
        let options = Options {
            window_manager: true,
            ..Options::default()
        };
        let display = Display::start(scene, options).await?;
        let agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
        assert_eq!(agent.state().await?, SessionState::Stopped);
        assert_eq!(agent.start_session(&[]).await?, SessionState::Starting);
        agent.wait_for_state(SessionState::Listening, WAIT).await?;

        let front = scene.path("relay.sock");
        let back = Endpoint::local(agent.x_port());
        let relay = FaultProxy::start(&Endpoint::unix(&front), &back)?;
        let mut proxy = nx::start_proxy(scene, &display, &front)?;
        agent.wait_for_state(SessionState::Connected, WAIT).await?;
        let screen = display.screen();
        let window = screen.wait_for_window("QVD", WAIT, is_session).await?;
        screen.wait_until_drawn(&window, WAIT).await?;
        assert_eq!((window.width, window.height), (800, 600));
        display.save_screenshot(scene, "session.png")?;

        agent.call(Call::XStop).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        relay.wait_until_closed(WAIT).await?;
        proxy.wait(WAIT).await?;
        drop((agent, display));
        scene.assert_nothing_left().await?;
        Ok(())
    });
}
