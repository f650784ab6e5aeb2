//! A machine that does nothing else.

use qvd_rpc::{Call, SessionState};
use qvd_tests::play;
use rustix::process::Signal;

use super::stage::{CONNECTED, Stage, end_of, said};

#[test]
fn a_kiosk_logs_in_again_whatever_ends_the_session() {
    play("client_kiosk", async |scene| {
        let stage = Stage::set(scene, true).await?;
        let login = stage.login();
        let mut client =
            login.start_client(scene, &stage.display, &["--kiosk", "-g", "800x600"])?;
        said(&client, CONNECTED, 1).await?;
        stage.becomes(SessionState::Connected).await?;
        stage.drawn().await?;
        // The user logs out.
        stage.agent.call(Call::XStop).await?;
        said(&client, "Session closed", 1).await?;
        said(&client, CONNECTED, 2).await?;
        stage.becomes(SessionState::Connected).await?;
        // The user leaves, and presses what else there is.
        for signal in [Signal::TSTP, Signal::QUIT, Signal::INT] {
            client.signal(signal)?;
        }
        said(&client, "Session suspended", 1).await?;
        said(&client, CONNECTED, 3).await?;
        stage.becomes(SessionState::Connected).await?;
        client.signal(Signal::TERM)?;
        let (status, text) = end_of(&mut client).await?;
        assert_eq!(status, 0, "{text}");
        stage.becomes(SessionState::Suspended).await?;

        // Each session has a name of its own.
        let log = std::fs::read_to_string(scene.home().join(".qvd/qvd-client.log"))?;
        assert!(log.contains("Connected"), "{log}");
        Ok(stage.strike().await?)
    });
}

#[test]
fn a_kiosk_goes_on_after_a_failure_and_ends_after_a_refused_login() {
    play("client_kiosk_refused", async |scene| {
        let stage = Stage::set(scene, true).await?;
        let login = stage.login();
        stage.front.refuse(true);
        let mut client = login.start_client(scene, &stage.display, &["--kiosk"])?;
        said(&client, "qvdclient: ", 1).await?;
        let mut changed = stage.user.clone();
        changed.password = "plums".to_owned();
        stage.replace_user(scene, &changed).await?;
        stage.front.refuse(false);
        // There is nobody who could be asked, and the same login is not tried
        // again.
        let (status, text) = end_of(&mut client).await?;
        assert_eq!(status, 13, "{text}");
        assert_eq!(text.matches("Logging in").count(), 1, "{text}");
        Ok(())
    });
}

#[test]
fn a_kiosk_for_one_session_ends_after_it() {
    play("client_kiosk_once", async |scene| {
        let stage = Stage::set(scene, true).await?;
        let arguments = ["--kiosk", "--once", "-g", "800x600"];
        let mut client = stage
            .login()
            .start_client(scene, &stage.display, &arguments)?;
        said(&client, CONNECTED, 1).await?;
        stage.becomes(SessionState::Connected).await?;
        stage.agent.call(Call::XStop).await?;
        let (status, text) = end_of(&mut client).await?;
        assert_eq!(status, 0, "{text}");
        Ok(stage.becomes(SessionState::Stopped).await?)
    });
}
