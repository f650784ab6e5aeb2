//! A window that is started once more, and what it shows of a session.

use qvd_rpc::SessionState;
use qvd_tests::{Result, Scene, play};

use super::seat::{Seat, WAIT, broker, log_in, login, program, stage};

const OPEN: &str = "Your desktop is open";

/// Starts the program again before the same display; it ends, saying so.
async fn again(
    scene: &Scene,
    seat: &Seat,
    conf: &str,
    arguments: &[&str],
    expected: &str,
) -> Result<()> {
    let program = program(scene, conf)?.args(arguments);
    let mut second = scene.start(seat.display.dress(program))?;
    let status = second.wait(WAIT).await?;
    let said = second.log().text();
    assert_eq!(status.code(), Some(0), "{said}");
    second.expect(expected, WAIT).await?;
    Ok(())
}

#[test]
fn a_link_goes_to_the_window_that_is_open() {
    play("window_again", async |scene| {
        let (server, user) = broker(scene, true).await?;
        let conf = login(&server, &user).replace("client.host.name = localhost\n", "");
        let seat = Seat::take(scene, &conf, &[]).await?;
        seat.page("Connect").await?;
        let link = format!("qvd://ann@localhost:{}/office", server.address().port());
        again(scene, &seat, &conf, &[&link], "open already").await?;
        // There is no such broker and machine but those of the link.
        log_in(scene, &seat, &user.password).await?;
        seat.page("There is no such machine").await?;
        seat.press(scene, &["Escape"]).await?;
        seat.page("Connect").await?;
        // Another connection is another window.
        let saved = scene.home().join(".qvd/connections");
        std::fs::create_dir_all(&saved)?;
        std::fs::write(saved.join("laboratory.conf"), &conf)?;
        let other = program(scene, &conf)?.args(["--profile", "laboratory"]);
        let mut other = scene.start(seat.display.dress(other))?;
        let both = |windows: &[qvd_tests::display::Window]| {
            windows.iter().filter(|w| w.name == "QVD: Connect").count() == 2
        };
        let waited = async {
            while !both(&seat.display.screen().windows()?) {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            Ok::<_, qvd_tests::Error>(())
        };
        tokio::time::timeout(WAIT, waited).await??;
        other.signal(rustix::process::Signal::TERM)?;
        assert_eq!(other.wait(WAIT).await?.code(), Some(0));
        let mut seat = seat;
        seat.client.signal(rustix::process::Signal::TERM)?;
        assert_eq!(seat.client.wait(WAIT).await?.code(), Some(0));
        Ok(())
    });
}

#[test]
fn a_session_shows_what_it_is_and_is_left_from_there() {
    play("window_running", async |scene| {
        let (agent, server, user) = stage(scene).await?;
        // The home directory of a test has a name of its own.
        let conf = login(&server, &user) + "client.file_sharing.enable = 0\n";
        let seat = Seat::take(scene, &conf, &["--vm-id", "1"]).await?;
        log_in(scene, &seat, &user.password).await?;
        agent.wait_for_state(SessionState::Connected, WAIT).await?;
        seat.no_page().await?;

        again(scene, &seat, &conf, &[], "open already").await?;
        seat.page(OPEN).await?;
        seat.press(scene, &["Escape"]).await?;
        seat.no_page().await?;

        // Another link does not end what is open.
        again(
            scene,
            &seat,
            &conf,
            &["qvd://localhost/2"],
            "another session",
        )
        .await?;
        let page = seat.page(OPEN).await?;
        seat.looks_like(scene, &page, "running").await?;
        agent.wait_for_state(SessionState::Connected, WAIT).await?;

        seat.disconnect(scene, &agent).await?;
        Ok(())
    });
}
