//! Sound and printers of the user's machine in the session, and more arguments
//! for nxproxy.

use qvd_tests::play;
use rustix::process::Signal;

use super::stage::{CONNECTED, Stage, WAIT, end_of};
use crate::agent::channels::{answer, asking, cups_at, pulseaudio_with};

#[test]
fn the_sessions_sound_is_played_by_the_users_server() {
    play("client_sound", async |scene| {
        let socket = scene.path("pulse.sock");
        let module = format!("unix socket={} auth-anonymous=1", socket.display());
        let _server = pulseaudio_with(scene, &module, "loudspeaker")?;
        let heard = scene.path("sinks");
        scene.installed("pactl", "pulseaudio-utils")?;
        let desktop = asking("pactl list short sinks", &heard);
        let keys = [("vma.audio.enable", "1")];
        let stage = Stage::set_with(scene, true, &desktop, &keys).await?;
        let login = stage.login().with("client.audio.enable", "1");
        let client = login.client(scene)?.env("PULSE_SERVER", &socket);
        let mut client = scene.start(stage.display.dress(client))?;
        client.expect(CONNECTED, WAIT).await?;
        let sinks = answer(&heard).await?;
        assert!(sinks.contains("loudspeaker"), "{sinks}");
        stage.leave(&mut client).await?;
        Ok(())
    });
}

#[test]
fn without_a_sound_server_the_session_is_silent_and_the_user_told() {
    play("client_silence", async |scene| {
        let stage = Stage::set(scene, true).await?;
        let login = stage.login().with("client.audio.enable", "1");
        let program = login
            .client(scene)?
            .env("XDG_RUNTIME_DIR", scene.path("none"));
        let mut client = scene.start(stage.display.dress(program))?;
        client
            .expect(
                "no sound: neither PulseAudio nor PipeWire runs for you",
                WAIT,
            )
            .await?;
        client.expect(CONNECTED, WAIT).await?;
        stage.drawn().await?;
        stage.leave(&mut client).await?;
        Ok(())
    });
}

#[test]
fn the_users_printers_are_printers_of_the_session() {
    play("client_printers", async |scene| {
        let socket = scene.path("cups.sock");
        let _server = cups_at(scene, &socket.display().to_string())?;
        let told = scene.path("printers");
        scene.installed("lpstat", "cups-client")?;
        let desktop = asking("lpstat -p letters", &told);
        let keys = [("vma.printing.enable", "1")];
        let stage = Stage::set_with(scene, true, &desktop, &keys).await?;
        let client = stage.login().client(scene)?.env("CUPS_SERVER", &socket);
        let mut client = scene.start(stage.display.dress(client))?;
        client.expect(CONNECTED, WAIT).await?;
        let printers = answer(&told).await?;
        assert!(printers.contains("printer letters is idle"), "{printers}");
        stage.leave(&mut client).await?;
        Ok(())
    });
}

#[test]
fn arguments_of_the_users_reach_nxproxy() {
    play("client_nxproxy_arguments", async |scene| {
        let stage = Stage::set(scene, true).await?;
        // It says what it does not know, and ends.
        let login = stage
            .login()
            .with("client.nx.engine", "nxproxy")
            .with("client.nxproxy.extra_args", "-colour blue");
        let mut client = login.start_client(scene, &stage.display, &["--once"])?;
        let (status, said) = end_of(&mut client).await?;
        assert_ne!(status, 0, "{said}");
        let log = std::fs::read_to_string(scene.home().join(".qvd/qvd-client.log"))?;
        assert!(
            said.contains("-colour") || log.contains("-colour"),
            "{said}\n{log}"
        );
        stage.strike().await?;
        client.signal(Signal::KILL).ok();
        Ok(())
    });
}
