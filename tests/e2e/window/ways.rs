//! Other ways to use the window: a kiosk, the mouse alone, no window manager,
//! saved connections, no secret store.

use qvd_rpc::{Call, SessionState};
use qvd_tests::display::{Display, Options, Window};
use qvd_tests::{Outcome, Scene, play};
use rustix::process::Signal;

use super::seat::{
    Seat, WAIT, configuration, display, last_button, log_in, login, program, stage, stop,
};

async fn kiosk(scene: &Scene, window_manager: bool) -> Outcome {
    let (agent, server, user) = stage(scene).await?;
    let options = Options {
        window_manager,
        ..Options::default()
    };
    let display = Display::start(scene, options).await?;
    let conf = login(&server, &user);
    let program = program(scene, &conf)?.args(["--kiosk", "--vm-id", "1"]);
    let client = scene.start(display.dress(program))?;
    let mut seat = Seat { display, client };
    let whole = |window: &Window| {
        let place = (window.x, window.y, window.width, window.height);
        window.name == "QVD: Connect" && place == (0, 0, 1024, 768)
    };
    let screen = seat.display.screen();
    let page = screen
        .wait_for_window("the whole screen", WAIT, whole)
        .await?;
    screen.wait_until_drawn(&page, WAIT).await?;
    // No key ends it, and there are no settings.
    seat.press(scene, &["ctrl+q", "Escape", "ctrl+Tab"]).await?;
    seat.page("About").await?;
    seat.press(scene, &["ctrl+Tab"]).await?;
    log_in(scene, &seat, &user.password).await?;
    agent.wait_for_state(SessionState::Connected, WAIT).await?;
    stop(&agent).await?;
    // For the next user: nothing of this one's login is kept.
    seat.display
        .screen()
        .wait_for_window("the whole screen", WAIT, whole)
        .await?;
    assert_eq!(configuration(scene), conf);
    seat.client.signal(Signal::TERM)?;
    assert_eq!(seat.client.wait(WAIT).await?.code(), Some(0));
    Ok(())
}

#[test]
fn a_kiosk_fills_the_screen_and_has_no_way_out() {
    play("window_kiosk", async |scene| kiosk(scene, true).await);
}

#[test]
fn a_kiosk_needs_no_window_manager() {
    play("window_bare", async |scene| kiosk(scene, false).await);
}

#[test]
fn the_mouse_alone_leads_to_the_desktop() {
    play("window_mouse", async |scene| {
        let (agent, server, user) = stage(scene).await?;
        let display = display(scene).await?;
        let program =
            program(scene, &login(&server, &user))?.env("QVDPASSWORD", user.password.as_str());
        let client = scene.start(display.dress(program))?;
        let mut seat = Seat { display, client };
        let page = seat.page("Connect").await?;
        seat.click(scene, &page, last_button(&page)).await?;
        let page = seat.page("Choose a machine").await?;
        // The second, then the first of them, and the button.
        seat.click(scene, &page, (200, 205)).await?;
        seat.click(scene, &page, (200, 150)).await?;
        seat.click(scene, &page, last_button(&page)).await?;
        agent.wait_for_state(SessionState::Connected, WAIT).await?;
        seat.no_page().await?;
        seat.client.signal(Signal::TERM)?;
        assert_eq!(seat.client.wait(WAIT).await?.code(), Some(0));
        agent.wait_for_state(SessionState::Suspended, WAIT).await?;
        Ok(stop(&agent).await?)
    });
}

#[test]
fn without_a_secret_store_the_session_comes_up_all_the_same() {
    play("window_no_store", async |scene| {
        let (agent, server, user) = stage(scene).await?;
        let conf = login(&server, &user)
            + "client.show.remember_password = 1\nclient.remember_password = 1\n";
        let seat = Seat::take(scene, &conf, &["--vm-id", "1"]).await?;
        log_in(scene, &seat, &user.password).await?;
        agent.wait_for_state(SessionState::Connected, WAIT).await?;
        seat.no_page().await?;
        agent.call(Call::XStop).await?;
        seat.page("Connect").await?;
        assert!(!configuration(scene).contains(&user.password));
        let log = std::fs::read_to_string(scene.home().join(".qvd/qvd-client.log"))?;
        assert!(log.contains("password not kept"), "{log}");
        assert!(!log.contains(&user.password));
        seat.leave(scene).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        Ok(())
    });
}

#[test]
fn a_connection_is_saved_under_a_name_and_used_again() {
    play("window_profiles", async |scene| {
        let conf = "client.host.name = qvd.example.org\nclient.user.name = ann\n";
        let seat = Seat::take(scene, conf, &[]).await?;
        seat.page("Connect").await?;
        seat.press(scene, &["ctrl+Tab"]).await?;
        seat.page("Settings").await?;
        seat.press(scene, &["space"]).await?;
        // Past window size, which is not asked for, to the name.
        seat.press(scene, &["Tab"; 9]).await?;
        seat.types(scene, "Lab 2").await?;
        seat.press(scene, &["Return"]).await?;
        let file = scene.home().join(".qvd/connections/Lab 2.conf");
        let there = async {
            while !std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n')) {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(WAIT, there).await?;
        let saved = std::fs::read_to_string(&file)?;
        for line in [
            "client.fullscreen = 1\n",
            "client.host.name = qvd.example.org\n",
            "client.user.name = ann\n",
        ] {
            assert!(saved.contains(line), "{saved}");
        }
        assert_eq!(configuration(scene), conf);
        seat.leave(scene).await?;

        // It is chosen by its name, and shown as the one that is used.
        let seat = Seat::take(scene, "", &["--profile", "Lab 2"]).await?;
        let page = seat.page("Connect").await?;
        seat.looks_like(scene, &page, "profile").await?;
        seat.leave(scene).await?;

        // What is no name is refused before there is a window.
        let program = program(scene, "")?.args(["--profile", "../x"]);
        let mut wrong = scene.start(program)?;
        assert_eq!(wrong.wait(WAIT).await?.code(), Some(2));
        wrong.expect("--profile", WAIT).await?;
        Ok(())
    });
}
