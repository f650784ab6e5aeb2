//! The keyboard of a session.

use qvd_rpc::SessionState;
use qvd_tests::rig::Desktop;
use qvd_tests::{Error, Result, Scene, play};

use super::{Seat, WAIT, kill};

/// Looks for a word in the keymap of the session's display.
async fn keymap_has(scene: &Scene, seat: &Seat, word: &str) -> Result<()> {
    let display = format!(":{}", seat.agent.display());
    let folder = format!("session-{}", seat.agent.display());
    let authority = seat.agent.run_directory().join(folder).join("Xauthority");
    let program = scene.installed("xkbcomp", "x11-xkb-utils")?;
    let program = program.env("XAUTHORITY", authority);
    let mut program = scene.start(program.args(["-xkb", &display, "-"]))?;
    program.expect(word, WAIT).await?;
    program.wait(WAIT).await?;
    // nxagent repeats the compiler's complaints in its log.
    let said = seat.agent.daemon_log()?.text();
    if said.contains("xkbcomp") {
        return Err(Error::Invalid(said));
    }
    Ok(())
}

#[test]
fn a_session_has_the_clients_keyboard() {
    play("agent_keyboard", async |scene| {
        let seat = Seat::take(scene, &Desktop::Small, &[]).await?;
        let spanish = [("qvd.client.keyboard", "pc105/es")];
        let client = seat.connect(scene, &spanish).await?;
        keymap_has(scene, &seat, "ntilde").await?;

        // A client elsewhere has another one.
        kill(client.proxy.pid())?;
        seat.becomes(SessionState::Suspended).await?;
        let german = [("qvd.client.keyboard", "pc105/de")];
        let _client = seat.connect(scene, &german).await?;
        keymap_has(scene, &seat, "udiaeresis").await?;
        seat.leave().await?;
        Ok(())
    });
}

#[test]
fn a_client_that_names_no_keyboard_has_one_that_exists() {
    play("agent_keyboard_default", async |scene| {
        let seat = Seat::take(scene, &Desktop::Small, &[]).await?;
        let _client = seat.connect(scene, &[]).await?;
        keymap_has(scene, &seat, "\"pc+us").await?;
        seat.leave().await?;
        Ok(())
    });
}
