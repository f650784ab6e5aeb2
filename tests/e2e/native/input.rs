//! Keyboard and pointer of the user's display arrive in the session, and
//! programs of every day are drawn.

use std::time::Duration;

use nx_proxy::Event;
use qvd_tests::display::{Display, Options, Window};
use qvd_tests::nx::Agent;
use qvd_tests::process::Process;
use qvd_tests::{Result, Scene, play};

use super::session::{NativeSession, WAIT};

/// A session with a window manager around it.
struct Stage {
    display: Display,
    agent: Agent,
    session: NativeSession,
}

impl Stage {
    async fn set(scene: &Scene, link: &str) -> Result<Self> {
        let options = Options {
            window_manager: true,
            ..Options::default()
        };
        let display = Display::start(scene, options).await?;
        let agent = Agent::start(scene, &[link, "geometry=800x600"]).await?;
        let mut session = NativeSession::start(agent.socket(), &display.name());
        session.until(&Event::Started).await?;
        agent.expect_session(0, "Session started", WAIT).await?;
        Ok(Self {
            display,
            agent,
            session,
        })
    }

    /// A program of the session.
    fn run(&self, scene: &Scene, name: &str, package: &str, arguments: &[&str]) -> Result<Process> {
        let program = self.agent.dress(scene.installed(name, package)?);
        scene.start(program.args(arguments))
    }

    async fn window(&self) -> Result<Window> {
        let is_session = |window: &Window| window.name == "QVD" && window.width > 100;
        let screen = self.display.screen();
        let window = screen.wait_for_window("QVD", WAIT, is_session).await?;
        screen.wait_until_drawn(&window, WAIT).await?;
        Ok(window)
    }

    /// The user's hands.
    async fn does(&self, scene: &Scene, arguments: &[&str]) -> Result<()> {
        let xdotool = self.display.dress(scene.installed("xdotool", "xdotool")?);
        let mut xdotool = scene.start(xdotool.args(arguments))?;
        assert!(xdotool.wait(WAIT).await?.success());
        Ok(())
    }
}

async fn typed_and_pointed(scene: &Scene, link: &str) -> Result<()> {
    let stage = Stage::set(scene, link).await?;
    let xev = stage.run(scene, "xev", "x11-utils", &["-geometry", "700x500+0+0"])?;
    let window = stage.window().await?;
    let (x, y) = (window.x + 200, window.y + 150);
    let (x, y) = (x.to_string(), y.to_string());
    stage
        .does(scene, &["mousemove", &x, &y, "click", "1"])
        .await?;
    xev.expect("ButtonPress event", WAIT).await?;
    stage
        .does(scene, &["mousemove_relative", "7", "11"])
        .await?;
    xev.expect("MotionNotify event", WAIT).await?;
    stage.does(scene, &["type", "hello"]).await?;
    for letter in ["h)", "e)", "l)", "o)"] {
        xev.expect(
            &format!("keysym 0x{:x}, {letter}", letter.as_bytes()[0]),
            WAIT,
        )
        .await?;
    }
    stage.does(scene, &["click", "4"]).await?;
    xev.expect("button 4", WAIT).await?;
    assert!(stage.session.suspend().await.is_ok());
    Ok(())
}

#[test]
fn keyboard_and_pointer_arrive() {
    play("native_input", async |scene| {
        for link in ["link=lan", "link=modem"] {
            typed_and_pointed(scene, link).await?;
        }
        Ok(())
    });
}

#[test]
fn programs_of_every_day_are_drawn() {
    play("native_programs", async |scene| {
        let stage = Stage::set(scene, "link=adsl").await?;
        let script = "for k in 1 2 3 4 5 6 7 8; do echo line $k of a terminal; done; cat";
        let terminal = ["-geometry", "60x20+10+10", "-e", "sh", "-c", script];
        let _xterm = stage.run(scene, "xterm", "xterm", &terminal)?;
        let _eyes = stage.run(scene, "xeyes", "x11-apps", &["-geometry", "200x150+450+10"])?;
        let _clock = stage.run(
            scene,
            "xclock",
            "x11-apps",
            &["-geometry", "200x200+450+250"],
        )?;
        let window = stage.window().await?;
        for name in ["xterm", "xeyes", "xclock"] {
            let inner = stage.agent.screen()?;
            inner.wait_for_window(name, WAIT, |w| w.is(name)).await?;
        }
        let screen = stage.display.screen();
        screen
            .wait_for_pixels("three programs", WAIT, |screen| {
                Ok(screen.screenshot_of(&window)?.dominance() < 0.7)
            })
            .await?;
        // The eyes follow the pointer, so that the picture changes.
        let (x, y) = ((window.x + 500).to_string(), (window.y + 20).to_string());
        let before = screen.screenshot_of(&window)?;
        stage.does(scene, &["mousemove", &x, &y]).await?;
        screen
            .wait_for_pixels("the eyes to follow", Duration::from_secs(20), |screen| {
                Ok(screen.screenshot_of(&window)?.changed_fraction(&before) > 0.0005)
            })
            .await?;
        stage.display.save_screenshot(scene, "programs.png")?;
        assert!(stage.session.suspend().await.is_ok());
        Ok(())
    });
}
