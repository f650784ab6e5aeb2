//! A session from its start to its end.

use qvd_rpc::{Call, Reply, SessionState};
use qvd_tests::play;
use qvd_tests::rig::{Agent, Desktop};

use super::{Seat, WAIT, connect, is_session, process_with, session, user_display};

#[test]
fn a_desktop_is_drawn_suspended_resumed_as_it_was_and_stopped() {
    play("agent_life", async |scene| {
        let seat = Seat::take(scene, &Desktop::Small, &[]).await?;
        assert_eq!(seat.agent.state().await?, SessionState::Stopped);
        let mut client = seat.connect(scene, &[]).await?;
        let window = seat.drawn().await?;
        assert_eq!((window.width, window.height), (800, 600));
        seat.display.save_screenshot(scene, "connected.png")?;
        let name = session(&seat.agent)?;
        let terminal = process_with(&name, "xterm")?;

        // The reference's word for a suspend that is carried out.
        let reply = seat.agent.call(Call::XSuspend).await?;
        assert_eq!(reply, Reply::State(SessionState::Starting));
        seat.becomes(SessionState::Suspended).await?;
        client.proxy.wait(WAIT).await?;

        // Another link and size: the options are read anew.
        let properties = [
            ("qvd.client.geometry", "640x480"),
            ("qvd.client.link", "adsl"),
        ];
        let _client = seat.connect(scene, &properties).await?;
        let screen = seat.display.screen();
        let window = screen.wait_for_window("QVD", WAIT, is_session).await?;
        screen.wait_until_drawn(&window, WAIT).await?;
        assert_eq!(process_with(&name, "xterm")?, terminal, "the same desktop");
        seat.display.save_screenshot(scene, "resumed.png")?;
        seat.leave().await?;
        Ok(())
    });
}

#[test]
fn a_client_that_is_killed_leaves_a_suspended_session() {
    play("agent_client_killed", async |scene| {
        let seat = Seat::take(scene, &Desktop::Small, &[]).await?;
        let client = seat.connect(scene, &[]).await?;
        seat.drawn().await?;
        let name = session(&seat.agent)?;
        let terminal = process_with(&name, "xterm")?;
        super::kill(client.proxy.pid())?;
        seat.becomes(SessionState::Suspended).await?;
        let _again = seat.connect(scene, &[]).await?;
        seat.drawn().await?;
        seat.ticks().await?;
        assert_eq!(process_with(&name, "xterm")?, terminal, "the same desktop");
        seat.leave().await?;
        Ok(())
    });
}

#[test]
fn a_user_who_logs_out_ends_the_session() {
    play("agent_logout", async |scene| {
        let desktop = Desktop::Script("exec xterm -title leaving -e sleep 3".into());
        let seat = Seat::take(scene, &desktop, &[]).await?;
        let mut client = seat.connect(scene, &[]).await?;
        let name = session(&seat.agent)?;
        seat.becomes(SessionState::Stopped).await?;
        assert_eq!(super::waited(&seat.agent).await?.reason, None);
        client.proxy.wait(WAIT).await?;
        super::nothing_left(&seat.agent, &name)?;
        Ok(())
    });
}

#[test]
fn a_contending_start_suspends_and_the_next_one_resumes() {
    play("agent_contention", async |scene| {
        let seat = Seat::take(scene, &Desktop::Small, &[]).await?;
        let _client = seat.connect(scene, &[]).await?;
        let refused = seat.agent.start_session(&[]).await.unwrap_err().to_string();
        assert!(refused.contains("retry later"), "{refused}");
        seat.becomes(SessionState::Suspended).await?;

        let other = [("qvd.vm.user.name", "nobody")];
        let refused = seat
            .agent
            .start_session(&other)
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains("is suspended in this VM"), "{refused}");

        let _client = seat.connect(scene, &[]).await?;
        seat.leave().await?;
        Ok(())
    });
}

#[test]
fn two_agents_with_their_displays_run_side_by_side() {
    play("agent_side_by_side", async |scene| {
        let one = Agent::start(scene, "one", &Desktop::Small, &[]).await?;
        let two = Agent::start(scene, "two", &Desktop::Small, &[]).await?;
        let (left, right) = (user_display(scene).await?, user_display(scene).await?);
        let _left = connect(scene, &one, &left, &[]).await?;
        let _right = connect(scene, &two, &right, &[]).await?;
        for (agent, display) in [(&one, &left), (&two, &right)] {
            let screen = display.screen();
            let window = screen.wait_for_window("QVD", WAIT, is_session).await?;
            screen.wait_until_drawn(&window, WAIT).await?;
            agent.call(Call::XStop).await?;
            agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        }
        Ok(())
    });
}

#[test]
fn a_closed_window_suspends_the_session() {
    play("agent_window_closed", async |scene| {
        let seat = Seat::take(scene, &Desktop::Small, &[]).await?;
        let _client = seat.connect(scene, &[]).await?;
        seat.drawn().await?;
        let close = seat.display.dress(scene.installed("wmctrl", "wmctrl")?);
        let mut close = scene.start(close.args(["-F", "-c", "QVD"]))?;
        close.wait(WAIT).await?;
        seat.becomes(SessionState::Suspended).await?;
        let _again = seat.connect(scene, &[]).await?;
        seat.drawn().await?;
        seat.leave().await?;
        Ok(())
    });
}
