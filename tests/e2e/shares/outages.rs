//! An outage of the carrier is a pause for folders too: what waits for the
//! other end goes on when that is back, however long its own patience is.

use std::fs;
use std::path::Path;
use std::time::Duration;

use qvd_tests::fault::Cut;
use qvd_tests::process::{Line, Process};
use qvd_tests::{Outcome, Result, Scene, play_for};
use rustix::process::Signal;

use super::copies::{self, copy, is_done};
use super::stage::{Stage, WAIT, is_mounted, until};

/// How long a mount of these tests waits for an answer, and how much longer
/// than that outages are.
const PATIENCE: &str = "3";
const OUTAGE: Duration = Duration::from_secs(12);

/// Bytes of a file that is copied.
const LENGTH: usize = 24 << 20;

/// Its bytes.
fn contents(seed: u64) -> Vec<u8> {
    copies::contents(seed, LENGTH)
}

/// Waits until a copy is under way.
async fn begun(to: &Path) -> Result<()> {
    until("a copy is under way", || {
        fs::metadata(to).is_ok_and(|file| file.len() > 1 << 20)
    })
    .await
}

/// Loses the connection, for as long as nothing else is said.
async fn lose(stage: &Stage) -> Outcome {
    let log = stage.agent.daemon_log()?;
    let from = log.position();
    stage.front.refuse(true);
    stage.front.cut(Cut::Reset);
    let lost = |line: &Line| line.text.contains("the client's connection is lost");
    log.wait_for(from, "the connection is lost", WAIT, lost)
        .await?;
    Ok(())
}

async fn regain(stage: &Stage) -> Outcome {
    let log = stage.agent.daemon_log()?;
    let from = log.position();
    stage.front.refuse(false);
    let back = |line: &Line| line.text.contains("the client is back");
    log.wait_for(from, "the client is back", WAIT, back).await?;
    Ok(())
}

/// What looks at a folder without going into it is answered, outage or not.
async fn is_looked_at(scene: &Scene, folder: &Path) -> Outcome {
    let above = folder.parent().unwrap_or(folder);
    for (program, argument) in [("df", folder), ("stat", folder), ("ls", above)] {
        let program = scene.installed(program, "coreutils")?.arg(argument);
        let mut program = scene.start(program)?;
        let status = program.wait(WAIT).await?;
        assert!(status.success(), "{}", program.log().text());
    }
    Ok(())
}

fn cat(scene: &Scene, file: &Path) -> Result<Process> {
    scene.start(scene.installed("cat", "coreutils")?.arg(file))
}

#[test]
fn copies_in_a_share_go_on_after_an_outage_that_is_longer_than_their_patience() {
    play_for("shares_outage", 4 * WAIT, async |scene| -> Outcome {
        let keys = [("vma.share.timeout", PATIENCE)];
        let stage = Stage::set(scene, &keys).await?;
        let home = scene.home();
        fs::write(home.join("down"), contents(1))?;
        fs::write(home.join("small"), "small")?;
        let mut client = stage.connect(scene, &stage.login(), &[]).await?;
        let there = stage.mounted("home").await?;
        let up = scene.write("up", contents(2))?;
        let fetched = scene.path("fetched");

        let first = copy(scene, &there.join("down"), &fetched)?;
        let second = copy(scene, &up, &there.join("up"))?;
        begun(&fetched).await?;
        begun(&home.join("up")).await?;
        lose(&stage).await?;
        // Begun in the outage.
        let third = cat(scene, &there.join("small"))?;
        is_looked_at(scene, &there).await?;
        tokio::time::sleep(OUTAGE).await;
        is_looked_at(scene, &there).await?;
        regain(&stage).await?;
        for copy in [first, second, third] {
            is_done(copy).await?;
        }
        assert!(fs::read(&fetched)? == contents(1));
        assert!(fs::read(home.join("up"))? == contents(2));
        let text = stage.agent.daemon_log()?.text();
        assert!(!text.contains("does not answer"), "{text}");
        assert!(!text.contains("Suspending session"), "{text}");
        stage.leave(&mut client).await?;
        stage.bare().await?;
        Ok(stage.strike().await?)
    });
}

#[test]
fn whoever_waits_in_an_outage_can_be_killed() {
    play_for("shares_outage_killed", 4 * WAIT, async |scene| -> Outcome {
        let stage = Stage::set(scene, &[]).await?;
        let home = scene.home();
        for name in ["one", "two"] {
            fs::write(home.join(name), name)?;
        }
        let mut client = stage.connect(scene, &stage.login(), &[]).await?;
        let there = stage.mounted("home").await?;
        lose(&stage).await?;
        let mut killed = cat(scene, &there.join("one"))?;
        let mut ended = cat(scene, &there.join("two"))?;
        // A process that has nothing left to do but to close what it wrote.
        let words = "echo words > \"$0\"; echo written; exec sleep 1000";
        let made = there.join("made");
        let shell = scene.installed("sh", "dash")?;
        let mut closing = scene.start(shell.args(["-c", words]).arg(&made))?;
        // All wait by now, or will.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(killed.is_running() && ended.is_running());
        killed.signal(Signal::KILL)?;
        // Not INT: who runs in the background of a script may ignore that.
        ended.signal(Signal::TERM)?;
        closing.signal(Signal::KILL)?;
        for process in [&mut killed, &mut ended, &mut closing] {
            let status = process.wait(WAIT).await?;
            assert!(!status.success());
        }
        assert_eq!(
            stage.agent.daemon_log()?.text().matches("is back").count(),
            0
        );
        regain(&stage).await?;
        // Nobody else has noticed anything.
        assert_eq!(fs::read(there.join("one"))?, b"one");
        stage.leave(&mut client).await?;
        stage.bare().await?;
        Ok(stage.strike().await?)
    });
}

#[test]
fn copies_fail_at_once_when_the_session_is_given_up() {
    play_for("shares_outage_grace", 4 * WAIT, async |scene| -> Outcome {
        // Nothing but the end of the grace can have them fail.
        let keys = [("vma.carrier.grace", "5"), ("vma.share.timeout", "600")];
        let stage = Stage::set(scene, &keys).await?;
        fs::write(scene.home().join("down"), contents(1))?;
        let mut client = stage.connect(scene, &stage.login(), &[]).await?;
        let there = stage.mounted("home").await?;
        let fetched = scene.path("fetched");
        let mut copied = copy(scene, &there.join("down"), &fetched)?;
        begun(&fetched).await?;
        lose(&stage).await?;
        assert!(!copied.wait(WAIT).await?.success());
        // Of who waits; of who asks once more, the kernel says that nobody is
        // there.
        let is_told = |line: &Line| {
            let told = ["Input/output error", "Transport endpoint is not connected"];
            told.iter().any(|words| line.text.contains(words))
        };
        copied.log().wait_for(0, "an error", WAIT, is_told).await?;
        until("the mount is gone", || !is_mounted(&there)).await?;
        stage.bare().await?;
        stage.becomes(qvd_rpc::SessionState::Suspended).await?;
        client.signal(Signal::INT)?;
        client.wait(WAIT).await?;
        Ok(stage.strike().await?)
    });
}

#[test]
fn a_mount_of_the_sessions_folder_waits_for_it_too() {
    play_for("shares_outage_here", 4 * WAIT, async |scene| -> Outcome {
        let stage = Stage::set(scene, &[]).await?;
        let login = stage.login().with("client.file_sharing.enable", "0");
        let mut client = stage.connect(scene, &login, &[]).await?;
        let (own, point) = (scene.path("own"), scene.path("point"));
        fs::create_dir(&own)?;
        fs::create_dir(&point)?;
        fs::write(own.join("down"), contents(3))?;
        let shown = [own.display().to_string(), point.display().to_string()];
        let program = scene.built("qvd-slaveclient")?.arg("mount").args(shown);
        let mut mount = scene.start(program)?;
        mount.expect("is mounted on", WAIT).await?;

        let fetched = scene.path("fetched");
        let copied = copy(scene, &point.join("down"), &fetched)?;
        begun(&fetched).await?;
        lose(&stage).await?;
        // Longer than such a mount waits for an answer, 30 s.
        tokio::time::sleep(Duration::from_secs(35)).await;
        is_looked_at(scene, &point).await?;
        regain(&stage).await?;
        is_done(copied).await?;
        assert!(fs::read(&fetched)? == contents(3));
        mount.signal(Signal::INT)?;
        assert_eq!(mount.wait(WAIT).await?.code(), Some(0));
        stage.leave(&mut client).await?;
        Ok(stage.strike().await?)
    });
}
