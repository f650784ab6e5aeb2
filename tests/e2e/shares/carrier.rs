//! Folders on the carrier: what is copied while connections are cut arrives
//! whole, and the folder is there all the time.

use std::cell::Cell;
use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use qvd_tests::fault::Cut;
use qvd_tests::process::Line;
use qvd_tests::{Outcome, Result, play_for};

use super::stage::{Stage, WAIT};

/// Bytes of a file that is copied while connections are cut.
const LENGTH: usize = 24 << 20;

/// Cuts at least, however fast the copies are.
const CUTS: u32 = 8;

/// Bytes that say where they are.
fn contents(seed: u64) -> Vec<u8> {
    let words = (0_u64..).map(|n| (n ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    words.flatten().take(LENGTH).collect()
}

/// Copies a file by another thread, and says so.
fn copy(from: PathBuf, to: PathBuf) -> tokio::sync::oneshot::Receiver<std::io::Result<u64>> {
    let (done, copied) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = done.send(fs::copy(from, to));
    });
    copied
}

/// Cuts the connection whenever the client is back, and counts.
async fn cut_for_ever(stage: &Stage, cuts: &Cell<u32>) -> Result<Infallible> {
    let log = stage.agent.daemon_log()?;
    loop {
        let (from, count) = (log.position(), cuts.get());
        tokio::time::sleep(Duration::from_millis(u64::from(count) * 53 % 300)).await;
        stage.front.cut(match count % 2 {
            0 => Cut::Reset,
            _ => Cut::Fin,
        });
        let back = |line: &Line| line.text.contains("the client is back");
        log.wait_for(from, "the client is back", WAIT, back).await?;
        cuts.set(count + 1);
    }
}

#[test]
fn copies_in_a_share_survive_cut_after_cut() {
    play_for("shares_carrier_cuts", 4 * WAIT, async |scene| -> Outcome {
        let stage = Stage::set(scene, &[]).await?;
        let home = scene.home();
        fs::write(home.join("down"), contents(1))?;
        let mut client = stage.connect(scene, &stage.login(), &[]).await?;
        let there = stage.mounted("home").await?;
        let up = scene.write("up", contents(2))?;
        let fetched = scene.path("fetched");

        let log = stage.agent.daemon_log()?;
        let cuts = Cell::new(0);
        let copied = async {
            for round in 0.. {
                let down = copy(there.join("down"), fetched.clone());
                let up = copy(up.clone(), there.join("up"));
                let (down, up) = tokio::try_join!(down, up)?;
                let length = u64::try_from(LENGTH)?;
                assert_eq!((down?, up?), (length, length), "round {round}");
                assert!(fs::read(&fetched)? == contents(1), "round {round}");
                assert!(fs::read(home.join("up"))? == contents(2), "round {round}");
                if round >= 1 && log.text().matches("the client is back").count() >= 8 {
                    break;
                }
            }
            Outcome::Ok(())
        };
        tokio::select! {
            copied = copied => copied?,
            cut = cut_for_ever(&stage, &cuts) => match cut? {},
        }
        assert!(cuts.get() >= CUTS, "{}", cuts.get());
        let text = log.text();
        assert!(!text.contains("Suspending session"), "{text}");
        assert_eq!(client.log().text().matches("is shared as home").count(), 1);
        stage.leave(&mut client).await?;
        stage.bare().await?;
        Ok(stage.strike().await?)
    });
}
