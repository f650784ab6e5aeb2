//! A session and its folders over a network that is far away and loses packets.

use std::time::Duration;

use qvd_tests::fault::Cut;
use qvd_tests::play_for;
use qvd_tests::rig::{Desktop, under_openbox};

use super::carrier::{BACK, agent_says, undisturbed};
use super::networks::seen_from;
use super::stage::{CONNECTED, Stage, WAIT};
use super::wire::Wire;
use crate::shares::copies::Copies;
use crate::shares::stage::{is_mounted, until};

/// One way takes so long.
const WAY: Duration = Duration::from_millis(75);

/// So many of a thousand packets are lost.
const LOSSES: u32 = 10;

/// Bytes of a file that is copied.
const LENGTH: usize = 256 << 10;

/// What an outage is to last: nothing but silence tells of it.
const SILENCE: Duration = Duration::from_secs(8);

#[test]
fn packets_are_lost_and_the_session_is_whole() {
    play_for("carrier_losses", 5 * WAIT, async |scene| {
        let shares = scene.path("Redirected");
        let shown = shares.display().to_string();
        let busy = "xclock -update 1 & xterm -e top -d 1 &";
        let desktop = Desktop::Script(under_openbox(busy));
        let keys = [("vma.user.shares.path", shown.as_str())];
        let stage = Stage::set_with(scene, false, &desktop, &keys).await?;
        let wire = Wire::lay(scene, WAY, LOSSES).await?;
        let (front, login) = seen_from(&stage, wire.gateway)?;
        let login = login
            .with("client.file_sharing.enable", "1")
            .with("internal.client.media", "");
        let program = login.client(scene)?.args(["-g", "800x600", "--stats"]);
        let program = stage.display.dress(wire.inside(scene, program)?);
        let mut client = scene.start(program)?;
        client.expect(CONNECTED, WAIT).await?;
        stage.drawn().await?;
        let there = shares.join("home");
        until("home is mounted", || is_mounted(&there)).await?;
        let mut copies = Copies::begin(scene, scene.home().to_owned(), there, LENGTH)?;

        let log = stage.agent.daemon_log()?;
        for round in 0_u8..6 {
            let from = log.position();
            match round % 3 {
                // Nobody is told that the wire is torn.
                0 => {
                    wire.tear(true);
                    tokio::time::sleep(SILENCE).await;
                    wire.tear(false);
                }
                1 => wire.move_from(scene, 2 + round / 3, 3 + round / 3).await?,
                _ => front.cut(Cut::Reset),
            }
            agent_says(log, from, BACK).await?;
            undisturbed(&stage).await?;
            copies.go_on().await?;
        }
        assert!(copies.end().await? > 0);
        assert!(wire.losses() > 10, "{} packets were lost", wire.losses());
        stage.leave(&mut client).await?;
        Ok(wire.remove(scene).await?)
    });
}
