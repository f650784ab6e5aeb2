//! Busy sessions whose connections are cut again and again: nothing is lost,
//! nothing comes twice, nothing grows.
//!
//! A short form here, the whole with `cargo xtask soak`.

use std::fs;
use std::time::{Duration, Instant};

use qvd_tests::fault::Cut;
use qvd_tests::process::{Log, Process};
use qvd_tests::rig::{Desktop, under_openbox};
use qvd_tests::{Outcome, Scene, play_for};

use super::carrier::{BACK, agent_says, undisturbed};
use super::stage::{Stage, WAIT};
use crate::agent::soak::{descriptors, memory, times};
use crate::agent::{process_with, session};
use crate::shares::copies::Copies;
use crate::shares::stage::{is_mounted, until};

/// After so many cuts what is open and held is what will be.
const SETTLED: usize = 10;

/// What draws all the while, beside text that scrolls.
const DRAWN: &str = "while :; do x11perf -repeat 1 -time 1 -ftext -rect100 -putimage100 \
    -copywinwin100 -getimage100 -polytext16 -create -popup; done\n";

/// Bytes of a file that is copied in a share.
const LENGTH: usize = 8 << 20;

/// The number after `name=` in the last line that has both of these.
fn number(text: &str, words: &str, name: &str) -> Option<u64> {
    let line = text.lines().rfind(|line| line.contains(words))?;
    let (_, rest) = line.split_once(&format!("{name}="))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// What the client has sent is what the agent has received, to the byte.
fn nothing_is_lost(scene: &Scene, agent: &Log, cuts: usize) -> Outcome {
    let client = fs::read_to_string(scene.home().join(".qvd/qvd-client.log"))?;
    let agent = agent.text();
    let over = "carrier is over";
    let [sent, received] = [
        number(&client, over, "sent"),
        number(&agent, over, "received"),
    ];
    assert!(sent.is_some() && sent == received, "{sent:?} {received:?}");
    let resumes = number(&agent, over, "resumes");
    assert!(resumes >= u64::try_from(cuts).ok(), "{resumes:?}");
    Ok(())
}

/// Cuts a busy session so often, at moments that differ.
async fn cut_often(scene: &Scene, engine: &str, cuts: usize) -> Outcome {
    let text = scene.write("text.sh", "while :; do ls -lR /usr/lib; done\n")?;
    let drawn = scene.write("drawn.sh", DRAWN)?;
    let busy = format!(
        "xclock -update 1 & xterm -e sh {} & sh {} &",
        text.display(),
        drawn.display()
    );
    let desktop = Desktop::Script(under_openbox(&busy));
    let shares = scene.path("Redirected");
    let shown = shares.display().to_string();
    let keys = [("log.level", "INFO"), ("vma.user.shares.path", &shown)];
    let stage = Stage::set_with(scene, true, &desktop, &keys).await?;
    let login = stage
        .login()
        .with("client.file_sharing.enable", "1")
        .with("internal.client.media", "")
        .with("client.nx.engine", engine);
    let mut client: Process = stage.connect(scene, &login).await?;
    let there = shares.join("home");
    until("home is mounted", || is_mounted(&there)).await?;
    let mut copies = Copies::begin(scene, scene.home().to_owned(), there, LENGTH)?;
    let log = stage.agent.daemon_log()?;
    let process = process_with(&session(&stage.agent)?, "qvd-vma-session")?;
    let begin = Instant::now();
    let mut settled = None;
    for cut in 0..cuts {
        let from = log.position();
        let at = Duration::from_millis(u64::try_from(cut * 37 % 400)?);
        tokio::time::sleep(at).await;
        let [front, reset] = [cut % 3 != 0, cut % 2 == 0];
        let relay = if front { &stage.front } else { &stage.nx };
        relay.cut(if reset { Cut::Reset } else { Cut::Fin });
        agent_says(log, from, BACK).await?;
        copies.go_on().await?;
        if cut == SETTLED {
            settled = Some((
                descriptors(process)?,
                memory(process)?,
                memory(client.pid())?,
            ));
        }
    }
    let rounds = copies.end().await?;
    let cut = format!(
        "{cuts} cuts in {:?}, copied {rounds} times {LENGTH} bytes each way\n",
        begin.elapsed()
    );
    std::fs::write(scene.artefact("cuts"), cut)?;
    if let Some((open, here, there)) = settled {
        assert!(
            descriptors(process)? <= open,
            "descriptors of the session process"
        );
        // What waits to be acknowledged is another amount each time.
        let (now_here, now_there) = (memory(process)?, memory(client.pid())?);
        assert!(now_here < here + 24 * 1024, "{now_here} KiB, was {here}");
        assert!(
            now_there < there + 24 * 1024,
            "{now_there} KiB, was {there}"
        );
    }
    undisturbed(&stage).await?;
    stage.leave(&mut client).await?;
    nothing_is_lost(scene, stage.agent.daemon_log()?, cuts)
}

fn busy(name: &str, engine: &'static str, cuts: usize) {
    let limit = 2 * WAIT + Duration::from_secs(2) * u32::try_from(cuts).unwrap_or(u32::MAX);
    play_for(name, limit, async |scene| {
        cut_often(scene, engine, cuts).await
    });
}

#[test]
fn a_session_in_nxproxy_is_cut_again_and_again() {
    busy("carrier_cuts_nxproxy", "nxproxy", times(30, 1000));
}

#[test]
fn a_session_in_the_native_engine_is_cut_again_and_again() {
    busy("carrier_cuts_native", "native", times(20, 1000));
}
