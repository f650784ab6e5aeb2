//! From the login to a desktop, and what can come between.

use std::time::Duration;

use qvd_rpc::{Call, SessionState};
use qvd_tests::display::Window;
use qvd_tests::fault::{Cut, Endpoint, FaultProxy};
use qvd_tests::rig::{Agent, Server};
use qvd_tests::{Result, Scene, play};
use rustix::process::Signal;

use super::seat::{Seat, WAIT, broker, configuration, last_button, log_in, login, stage, stop};

#[test]
fn from_login_to_the_list_to_the_desktop_and_back() {
    play("window_desktop", async |scene| {
        let (agent, server, user) = stage(scene).await?;
        let conf = login(&server, &user).replace("client.user.name = ann\n", "");
        let seat = Seat::take(scene, &conf, &[]).await?;
        seat.page("Connect").await?;
        seat.types(scene, "ann").await?;
        seat.press(scene, &["Return"]).await?;
        log_in(scene, &seat, &user.password).await?;
        let list = seat.page("Choose a machine").await?;
        seat.looks_like(scene, &list, "machines").await?;
        seat.press(scene, &["Down", "Up", "Return"]).await?;
        agent.wait_for_state(SessionState::Connected, WAIT).await?;
        let screen = seat.display.screen();
        let window = screen.wait_for_window("QVD", WAIT, is_session).await?;
        screen.wait_until_drawn(&window, WAIT).await?;
        seat.no_page().await?;
        // The user is remembered, and the password stands nowhere.
        let kept = configuration(scene);
        assert!(kept.contains("client.user.name = ann\n"), "{kept}");
        assert!(!kept.contains(&user.password));
        agent.call(Call::XStop).await?;
        let page = seat.page("Connect").await?;
        seat.looks_like(scene, &page, "ended").await?;
        seat.leave(scene).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        Ok(())
    });
}

#[test]
fn a_session_is_left_in_order_when_the_machine_ends_the_window() {
    play("window_signal", async |scene| {
        let (agent, server, user) = stage(scene).await?;
        let mut seat = Seat::take(scene, &login(&server, &user), &["--vm-id", "1"]).await?;
        log_in(scene, &seat, &user.password).await?;
        agent.wait_for_state(SessionState::Connected, WAIT).await?;
        seat.no_page().await?;
        seat.client.signal(Signal::TERM)?;
        let status = seat.client.wait(WAIT).await?;
        assert_eq!(status.code(), Some(0), "{}", seat.client.log().text());
        agent.wait_for_state(SessionState::Suspended, WAIT).await?;
        stop(&agent).await?;
        Ok(())
    });
}

fn is_session(window: &Window) -> bool {
    window.name == "QVD" && window.width > 100
}

/// What cuts connections to a broker.
fn before(server: &Server) -> Result<FaultProxy> {
    let upstream = Endpoint::local(server.address().port());
    FaultProxy::start(&Endpoint::local(0), &upstream)
}

/// Cuts the connection of a session once it is drawn, for good: the page that
/// tells of it.
async fn is_lost(seat: &Seat, agent: &Agent, front: &FaultProxy) -> Result<Window> {
    agent.wait_for_state(SessionState::Connected, WAIT).await?;
    seat.no_page().await?;
    let screen = seat.display.screen();
    let session = screen.wait_for_window("QVD", WAIT, is_session).await?;
    screen.wait_until_drawn(&session, WAIT).await?;
    front.refuse(true);
    front.cut(Cut::Reset);
    seat.page("Please wait").await
}

/// A session's connection is cut; with the whole screen, where a page without
/// the keyboard would lie beneath it.
fn is_got_back(name: &str, fullscreen: bool) {
    play(name, async |scene| {
        let (agent, server, user) = stage(scene).await?;
        let front = before(&server)?;
        let port = front.port().unwrap_or_default();
        let conf = login(&server, &user) + &format!("client.host.port = {port}\n");
        let conf = conf + &format!("client.fullscreen = {}\n", u8::from(fullscreen));
        let mut seat = Seat::take(scene, &conf, &["--vm-id", "ann"]).await?;
        log_in(scene, &seat, &user.password).await?;
        let page = is_lost(&seat, &agent, &front).await?;
        // Its seconds are others each time: for whoever looks.
        let screen = seat.display.screen();
        screen.wait_until_drawn(&page, WAIT).await?;
        let seen = screen.screenshot_of(&page)?;
        seen.save(&scene.artefact("reconnecting.png"))?;
        // It covers the session's window.
        let windows = seat.display.screen().windows()?;
        let place = |name: &str| {
            windows
                .iter()
                .position(|window| window.visible && window.name == name)
        };
        let [session, above] = [place("QVD"), place("QVD: Please wait")];
        assert!(session.is_some() && session < above, "{windows:?}");
        if !fullscreen {
            // Which has the keyboard still: what is typed is the desktop's, and
            // cancels nothing here.
            let focus = ["getwindowfocus", "getwindowname"];
            let focus = scene.installed("xdotool", "xdotool")?.args(focus);
            let mut focus = scene.start(seat.display.dress(focus).named("focus"))?;
            assert!(focus.wait(WAIT).await?.success());
            focus.expect("QVD", WAIT).await?;
            let has_it = focus.log().text();
            assert!(!has_it.contains("QVD: "), "{has_it}");
            seat.press(scene, &["Return", "space"]).await?;
            seat.page("Please wait").await?;
        }
        seat.display.save_screenshot(scene, "covered.png")?;
        // A click beside the button is nothing.
        let nowhere = (i32::from(page.width) / 2, i32::from(page.height) / 2);
        seat.click(scene, &page, nowhere).await?;
        seat.page("Please wait").await?;
        front.refuse(false);
        seat.no_page().await?;
        agent.wait_for_state(SessionState::Connected, WAIT).await?;
        if fullscreen {
            // The window manager has it back.
            stop(&agent).await?;
            seat.page("Connect").await?;
            return Ok(seat.leave(scene).await?);
        }
        seat.client.signal(Signal::TERM)?;
        let status = seat.client.wait(WAIT).await?;
        assert_eq!(status.code(), Some(0), "{}", seat.client.log().text());
        stop(&agent).await?;
        Ok(())
    });
}

#[test]
fn a_lost_session_shows_that_it_is_being_got_back() {
    is_got_back("window_reconnect", false);
}

#[test]
fn a_lost_session_on_the_whole_screen_does_so_in_front() {
    is_got_back("window_reconnect_full", true);
}

/// Clicks on the last button of a page that tells of an outage.
async fn give_up(scene: &Scene, seat: &Seat, page: &Window) -> Result<()> {
    let deadline = tokio::time::Instant::now() + WAIT;
    let mut there = seat.is_there("Connect")?;
    // The first moment's clicks are not for the page.
    while !there && tokio::time::Instant::now() < deadline {
        seat.click(scene, page, last_button(page)).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        there = seat.is_there("Connect")?;
    }
    seat.page("Connect").await.map(drop)
}

/// nxagent, which has pointer and keyboard then, is frozen: the user has no
/// other way out.
#[test]
fn a_lost_session_on_the_whole_screen_can_be_given_up() {
    play("window_give_up_full", async |scene| {
        let (agent, server, user) = stage(scene).await?;
        let front = before(&server)?;
        let port = front.port().unwrap_or_default();
        let conf = login(&server, &user) + &format!("client.host.port = {port}\n");
        let conf = conf + "client.fullscreen = 1\n";
        let seat = Seat::take(scene, &conf, &["--vm-id", "ann"]).await?;
        // Again and again: nothing of one outage is left in the next.
        for _ in 0..3 {
            log_in(scene, &seat, &user.password).await?;
            let page = is_lost(&seat, &agent, &front).await?;
            seat.display.save_screenshot(scene, "reachable.png")?;
            give_up(scene, &seat, &page).await?;
            front.refuse(false);
        }
        seat.leave(scene).await?;
        Ok(stop(&agent).await?)
    });
}

/// When the desktop is kept no longer nothing is behind the page: it is a window
/// as any other, and has the keyboard.
#[test]
fn a_session_that_is_still_tried_for_has_its_page_as_any_other() {
    play("window_tried_on_full", async |scene| {
        let (agent, server, user) = stage(scene).await?;
        let front = before(&server)?;
        let port = front.port().unwrap_or_default();
        let conf = login(&server, &user) + &format!("client.host.port = {port}\n");
        let conf = conf + "client.fullscreen = 1\nclient.carrier.grace = 5\n";
        let seat = Seat::take(scene, &conf, &["--vm-id", "ann"]).await?;
        log_in(scene, &seat, &user.password).await?;
        is_lost(&seat, &agent, &front).await?;
        let screen = seat.display.screen();
        screen.wait_for_no_window("QVD", WAIT, is_session).await?;
        let focus = ["getwindowfocus", "getwindowname"];
        let deadline = tokio::time::Instant::now() + WAIT;
        loop {
            let focus = scene.installed("xdotool", "xdotool")?.args(focus);
            let mut focus = scene.start(seat.display.dress(focus).named("focus"))?;
            focus.wait(WAIT).await?;
            let _ended = focus.log().wait_for(0, "the end", WAIT, |_| false).await;
            let has_it = focus.log().text();
            if has_it.contains("QVD: Please wait") {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{has_it}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        seat.press(scene, &["Escape"]).await?;
        seat.page("Connect").await?;
        seat.leave(scene).await?;
        Ok(stop(&agent).await?)
    });
}

#[test]
fn a_link_names_broker_user_and_machine() {
    play("window_link", async |scene| {
        let (server, user) = broker(scene, true).await?;
        let conf = login(&server, &user).replace("client.host.name = localhost\n", "");
        let link = format!("qvd://ann@localhost:{}/office", server.address().port());
        let seat = Seat::take(scene, &conf, &[&link]).await?;
        log_in(scene, &seat, &user.password).await?;
        seat.page("There is no such machine").await?;
        seat.press(scene, &["Escape"]).await?;
        seat.page("Connect").await?;
        seat.leave(scene).await?;
        // What a link says is of this time alone.
        let kept = configuration(scene);
        assert!(!kept.contains("client.host.name"), "{kept}");
        Ok(())
    });
}

#[test]
fn a_wrong_password_is_told_and_can_be_typed_again() {
    play("window_wrong", async |scene| {
        let (mut server, user) = broker(scene, true).await?;
        let seat = Seat::take(scene, &login(&server, &user), &[]).await?;
        log_in(scene, &seat, "plums").await?;
        let page = seat.page("Connect").await?;
        seat.looks_like(scene, &page, "refused").await?;
        log_in(scene, &seat, &user.password).await?;
        // He has no machine: his password was right.
        seat.page("There is no such machine").await?;
        seat.press(scene, &["Escape"]).await?;
        seat.page("Connect").await?;
        server.process().signal(Signal::TERM)?;
        server.process().wait(WAIT).await?;
        log_in(scene, &seat, &user.password).await?;
        let page = seat.page("The server does not answer").await?;
        seat.press(scene, &["Return"]).await?;
        seat.page("Connect").await?;
        drop(page);
        seat.leave(scene).await?;
        Ok(())
    });
}

#[test]
fn a_start_can_be_cancelled() {
    play("window_cancel", async |scene| {
        // A broker that says nothing: a port on which nobody reads.
        let silent = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        let port = silent.local_addr()?.port();
        let conf = format!(
            "client.host.name = localhost\nclient.host.port = {port}\n\
             client.user.name = ann\nclient.use_ssl = 0\n"
        );
        let seat = Seat::take(scene, &conf, &[]).await?;
        log_in(scene, &seat, "apples").await?;
        let page = seat.page("Please wait").await?;
        let (_asked, _) = silent.accept()?;
        drop(page);
        seat.press(scene, &["Escape"]).await?;
        seat.page("Connect").await?;
        seat.leave(scene).await?;
        Ok(())
    });
}
