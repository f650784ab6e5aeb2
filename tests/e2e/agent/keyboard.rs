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
fn a_session_has_the_clients_keyboard_in_full_and_its_density() {
    play("agent_seat", async |scene| {
        let seat = Seat::take(scene, &Desktop::Small, &[]).await?;
        let first = [
            ("qvd.client.keyboard", "pc105/es"),
            ("qvd.client.xkb.rules", "evdev"),
            ("qvd.client.xkb.model", "pc105"),
            ("qvd.client.xkb.layout", "es,gr"),
            ("qvd.client.xkb.variant", ",polytonic"),
            ("qvd.client.xkb.options", "grp:shifts_toggle"),
            ("qvd.client.dpi", "144"),
        ];
        let client = seat.connect(scene, &first).await?;
        answers(
            scene,
            &seat,
            "setxkbmap",
            "x11-xkb-utils",
            &["-query"],
            "es,gr",
        )
        .await?;
        answers(
            scene,
            &seat,
            "setxkbmap",
            "x11-xkb-utils",
            &["-query"],
            "shifts_toggle",
        )
        .await?;
        answers(scene, &seat, "xdpyinfo", "x11-utils", &[], "144x144 dots").await?;
        answers(
            scene,
            &seat,
            "xrdb",
            "x11-xserver-utils",
            &["-query"],
            "144",
        )
        .await?;

        kill(client.proxy.pid())?;
        seat.becomes(SessionState::Suspended).await?;
        let second = [
            ("qvd.client.keyboard", "pc105/de"),
            ("qvd.client.xkb.layout", "de"),
            ("qvd.client.dpi", "96"),
        ];
        let _client = seat.connect(scene, &second).await?;
        answers(scene, &seat, "xrdb", "x11-xserver-utils", &["-query"], "96").await?;
        answers(
            scene,
            &seat,
            "setxkbmap",
            "x11-xkb-utils",
            &["-query"],
            "de",
        )
        .await?;
        let said = ask(scene, &seat, "setxkbmap", "x11-xkb-utils", &["-query"]).await?;
        assert!(!said.contains("shifts_toggle"), "{said}");
        seat.leave().await?;
        Ok(())
    });
}

/// Waits until a program on the session's display says this.
async fn answers(
    scene: &Scene,
    seat: &Seat,
    program: &str,
    package: &str,
    arguments: &[&str],
    expected: &str,
) -> Result<()> {
    let mut last = String::new();
    let said = async {
        loop {
            last = ask(scene, seat, program, package, arguments).await?;
            if last.contains(expected) {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let said = tokio::time::timeout(WAIT, said).await;
    said.unwrap_or_else(|_| Err(Error::Invalid(format!("{program} says {last}"))))
}

async fn ask(
    scene: &Scene,
    seat: &Seat,
    program: &str,
    package: &str,
    arguments: &[&str],
) -> Result<String> {
    let display = format!(":{}", seat.agent.display());
    let folder = format!("session-{}", seat.agent.display());
    let authority = seat.agent.run_directory().join(folder).join("Xauthority");
    let program = scene.installed(program, package)?;
    let program = program.env("XAUTHORITY", authority).env("DISPLAY", display);
    let mut asked = scene.start(program.args(arguments))?;
    asked.wait(WAIT).await?;
    Ok(asked.log().text())
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
