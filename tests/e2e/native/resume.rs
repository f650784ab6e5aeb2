//! A session that goes from the native engine to itself and to nxproxy.

use std::time::Duration;

use nx_proxy::{Ending, Event};
use qvd_tests::display::{Display, Options};
use qvd_tests::nx::{self, Agent};
use qvd_tests::process::Process;
use qvd_tests::{Result, Scene, play};

use super::drawing::{Drawing, LAST, SIZE};
use super::session::{NativeSession, WAIT};

async fn complete(display: &Display) -> Result<()> {
    let screen = display.screen();
    screen
        .wait_for_pixels("the picture", WAIT, |screen| {
            let image = screen.screenshot()?;
            Ok(image.pixel(SIZE.0 - 5, SIZE.1 - 5) == Some(LAST) && image.colours() > 1000)
        })
        .await
}

/// Wakes the suspended agent with another link.
async fn listening(scene: &Scene, agent: &Agent, link: &str, before: usize) -> Result<()> {
    agent.set_options(scene, &[link, "geometry=640x480+0+0"])?;
    agent.hang_up()?;
    let process = agent.process();
    process
        .expect_after(before, "Waiting for connection", WAIT)
        .await?;
    Ok(())
}

/// A session with a clock in it: a suspended nxagent may look at its signals
/// only when a program of the session does something.
async fn started(scene: &Scene) -> Result<(Agent, Display, NativeSession, Process)> {
    let agent = Agent::start(scene, &["link=lan", "geometry=640x480+0+0"]).await?;
    let display = Display::start(scene, Options::default()).await?;
    let mut session = NativeSession::start(agent.socket(), &display.name());
    session.until(&Event::Started).await?;
    agent.expect_session(0, "Session started", WAIT).await?;
    let clock = agent.dress(scene.installed("xclock", "x11-apps")?);
    let clock = scene.start(clock.args(["-update", "1", "-geometry", "100x100+610+10"]))?;
    Ok((agent, display, session, clock))
}

#[test]
fn who_leaves_at_once_leaves_the_session_whole() {
    play("native_left_at_once", async |scene| {
        let (agent, display, mut session, _clock) = started(scene).await?;
        let _drawing = Drawing::on(agent.number(), agent.cookie().bytes())?;
        for round in 0..6_u64 {
            let before = agent.process().log().position();
            // Anywhere in what nxagent asks of a display that is new to it.
            tokio::time::sleep(Duration::from_millis(20 * round)).await;
            assert_eq!(session.suspend().await.unwrap(), Ending::Suspended);
            agent
                .expect_session(before, "Session suspended", WAIT)
                .await?;
            listening(scene, &agent, "link=lan", before).await?;
            session = NativeSession::start(agent.socket(), &display.name());
            session.until(&Event::Started).await?;
        }
        assert_eq!(session.suspend().await.unwrap(), Ending::Suspended);
        Ok(())
    });
}

#[test]
fn a_session_is_suspended_and_resumed_over_other_links() {
    play("native_resume", async |scene| {
        let (agent, display, mut session, _clock) = started(scene).await?;
        let drawing = Drawing::on(agent.number(), agent.cookie().bytes())?;
        complete(&display).await?;
        for link in ["link=modem", "link=lan", "link=adsl"] {
            let before = agent.process().log().position();
            assert_eq!(session.suspend().await.unwrap(), Ending::Suspended);
            agent
                .expect_session(before, "Session suspended", WAIT)
                .await?;
            display
                .screen()
                .wait_for_pixels("an empty display", WAIT, |screen| {
                    Ok(!screen.screenshot()?.is_drawn())
                })
                .await?;
            listening(scene, &agent, link, before).await?;
            session = NativeSession::start(agent.socket(), &display.name());
            session.until(&Event::Started).await?;
            agent
                .expect_session(before, "Session resumed", WAIT)
                .await?;
            drawing.again()?;
            complete(&display).await?;
        }
        // And on with nxproxy, on another display.
        let before = agent.process().log().position();
        assert_eq!(session.suspend().await.unwrap(), Ending::Suspended);
        agent
            .expect_session(before, "Session suspended", WAIT)
            .await?;
        listening(scene, &agent, "link=wan", before).await?;
        let other = Display::start(scene, Options::default()).await?;
        let _proxy = nx::start_proxy(scene, &other, agent.socket())?;
        agent
            .expect_session(before, "Session resumed", WAIT)
            .await?;
        // As every program does that is asked to: nxagent keeps no pixels.
        drawing.again()?;
        complete(&other).await?;
        other.save_screenshot(scene, "resumed.png")?;
        Ok(())
    });
}
