//! Sound, printers and folders of the user's machine in a native session.

use std::fs;

use qvd_rpc::{Call, SessionState};
use qvd_tests::display::{Display, Options};
use qvd_tests::play;
use qvd_tests::rig::{Agent, Desktop, Inventory, Login, Server, User, Vm};
use rustix::process::Signal;

use super::session::WAIT;
use crate::agent::channels::{answer, cups_at, pulseaudio_with};

/// A real PulseAudio and a real CUPS, both at sockets: no port of the machine
/// is open for them.
#[test]
fn sound_and_printers_are_those_of_the_user() {
    play("native_devices", async |scene| {
        let (sound, letters) = (scene.path("pulse.sock"), scene.path("cups.sock"));
        let module = format!("unix socket={} auth-anonymous=1", sound.display());
        let _sounds = pulseaudio_with(scene, &module, "loudspeaker")?;
        let _prints = cups_at(scene, &letters.display().to_string())?;
        let (heard, told) = (scene.path("sinks"), scene.path("printers"));
        scene.installed("pactl", "pulseaudio-utils")?;
        scene.installed("lpstat", "cups-client")?;
        // A sound of some length, so that more than a greeting is carried.
        let desktop = Desktop::Script(format!(
            "until pactl list short sinks > {0}.new 2>&1 \
             && head -c 400000 /dev/zero | pacat --raw; do sleep 0.2; done; mv {0}.new {0}\n\
             until lpstat -p letters > {1}.new 2>&1; do sleep 0.2; done; mv {1}.new {1}\n\
             exec sleep 100000",
            heard.display(),
            told.display()
        ));
        let keys = [("vma.audio.enable", "1"), ("vma.printing.enable", "1")];
        let agent = Agent::start(scene, "vm", &desktop, &keys).await?;
        let user = User::new("ann", "apples and pears");
        let inventory = Inventory {
            users: vec![user.clone()],
            vms: vec![Vm::of(&agent, 1, "ann-desktop", &["ann"])],
        };
        let server = Server::start(scene, &inventory, true, &[]).await?;
        let display = Display::start(scene, Options::default()).await?;
        let login = Login::at(&server, &user)
            .with("client.audio.enable", "1")
            .with("client.nx.engine", "native");
        let client = login.client(scene)?.arg("--stats");
        let client = client
            .env("PULSE_SERVER", &sound)
            .env("CUPS_SERVER", &letters);
        let mut client = scene.start(display.dress(client))?;
        let sinks = answer(&heard).await?;
        assert!(sinks.contains("loudspeaker"), "{sinks}");
        let printers = answer(&told).await?;
        assert!(printers.contains("printer letters is idle"), "{printers}");
        client.signal(Signal::INT)?;
        client.expect("channel media: ", WAIT).await?;
        assert_eq!(client.wait(WAIT).await?.code(), Some(0));
        agent.call(Call::XStop).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        let log = fs::read_to_string(scene.home().join(".qvd/qvd-client.log"))?;
        assert!(!log.contains("panicked"), "{log}");
        Ok(())
    });
}
