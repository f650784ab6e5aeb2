//! Homes that nothing can be written into.

use qvd_rpc::SessionState;
use qvd_tests::{Outcome, Scene, play};
use rustix::process::Signal;

use super::stage::{CONNECTED, Stage, WAIT, end_of};

/// A session of a user with this home, which has the client say `words`.
async fn at_home(scene: &Scene, stage: &Stage, home: &str, words: &str) -> Outcome {
    let program = stage.login().client(scene)?.args(["-g", "800x600"]);
    let program = stage.display.dress(program).env("HOME", home);
    let mut client = scene.start(program)?;
    client.expect(CONNECTED, WAIT).await?;
    stage.becomes(SessionState::Connected).await?;
    stage.drawn().await?;
    client.signal(Signal::INT)?;
    let (status, text) = end_of(&mut client).await?;
    assert_eq!(status, 0, "{text}");
    assert!(text.contains(words), "{words:?} is not in {text}");
    // No log between what is told.
    assert!(!text.contains("INFO"), "{text}");
    Ok(stage.becomes(SessionState::Suspended).await?)
}

#[test]
fn a_session_needs_no_home() {
    play("client_home", async |scene| {
        let stage = Stage::set(scene, true).await?;
        // Not even root writes there.
        at_home(scene, &stage, "/proc/self", "no log in /proc/self/").await?;
        at_home(scene, &stage, "/dev/null/ann", "no log in /dev/null/ann/").await?;
        // An empty variable is none.
        at_home(scene, &stage, "", "HOME is not set: no log in ~/.qvd/").await?;
        Ok(stage.strike().await?)
    });
}
