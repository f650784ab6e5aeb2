//! Programs that are killed while a session runs.

use qvd_rpc::SessionState;
use qvd_tests::play;
use qvd_tests::rig::{Desktop, under_openbox};
use rustix::process::{Pid, Signal, kill_process};

use super::{Stage, WAIT, end_of, leave, process_with, said};

fn kill(pid: u32) -> Result<(), Box<dyn std::error::Error>> {
    let pid = Pid::from_raw(pid.try_into()?).ok_or("no process id")?;
    Ok(kill_process(pid, Signal::KILL)?)
}

#[test]
fn nxproxy_is_killed() {
    play("chain_nxproxy_killed", async |scene| {
        let stage = Stage::set(scene).await?;
        let login = stage.login().with("client.nx.engine", "nxproxy");
        let mut client = super::connect(scene, &login, &stage.display, &stage.agent).await?;
        kill(process_with(scene, "nxproxy -S")?)?;
        let (status, sentence) = end_of(&mut client).await?;
        assert_eq!(status, 20, "{}", said(&client));
        assert!(
            sentence.contains("nxproxy was killed by signal 9"),
            "{sentence}"
        );
        stage.becomes(SessionState::Suspended).await?;
        Ok(stage.strike().await?)
    });
}

#[test]
fn the_broker_is_killed() {
    play("chain_broker_killed", async |scene| {
        let mut stage = Stage::plain(scene).await?;
        let mut client = stage.connect(scene).await?;
        let terminal = process_with(scene, "-title terminal")?;
        stage.server.process().signal(Signal::KILL)?;
        let (status, sentence) = end_of(&mut client).await?;
        assert_eq!(status, 22, "{}", said(&client));
        assert!(sentence.contains("the other side closed it"), "{sentence}");
        stage.becomes(SessionState::Suspended).await?;

        stage.server.process().wait(WAIT).await?;
        stage.server.restart(scene).await?;
        let mut client = stage.connect(scene).await?;
        assert_eq!(process_with(scene, "-title terminal")?, terminal);
        leave(&mut client, &stage.agent).await?;
        Ok(stage.strike().await?)
    });
}

#[test]
fn the_client_is_killed() {
    play("chain_client_killed", async |scene| {
        let stage = Stage::plain(scene).await?;
        let mut client = stage.connect(scene).await?;
        client.signal(Signal::KILL)?;
        client.wait(WAIT).await?;
        stage.becomes(SessionState::Suspended).await?;
        // Its nxproxy ends with it, though nobody is left to end it.
        let screen = stage.display.screen();
        let is_session = |window: &qvd_tests::display::Window| window.name == "QVD";
        screen.wait_for_no_window("QVD", WAIT, is_session).await?;
        Ok(stage.strike().await?)
    });
}

#[test]
fn the_agents_daemon_is_killed() {
    play("chain_daemon_killed", async |scene| {
        // A clock that moves each second: the desktop draws by itself.
        let clock = under_openbox("xclock -update 1 -geometry 300x300+20+20 &");
        let mut stage = Stage::with(scene, true, &Desktop::Script(clock)).await?;
        let mut client = stage.connect(scene).await?;
        stage.agent.daemon()?.signal(Signal::KILL)?;
        stage.agent.daemon()?.wait(WAIT).await?;

        // What was drawn before the kill may still be on its way.
        let screen = stage.display.screen();
        for _ in 0..3 {
            let before = screen.screenshot()?;
            let changed = |screen: &qvd_tests::display::Screen| {
                Ok(before.changed_fraction(&screen.screenshot()?) > 0.0)
            };
            screen
                .wait_for_pixels("the clock's next second", WAIT, changed)
                .await?;
        }
        assert!(client.is_running());
        stage.agent.start_daemon(scene).await?;
        stage.becomes(SessionState::Connected).await?;
        leave(&mut client, &stage.agent).await?;
        Ok(stage.strike().await?)
    });
}
