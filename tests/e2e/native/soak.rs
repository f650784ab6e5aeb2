//! What draws a great deal, drawn by the native engine: the session stays, and
//! nothing grows.
//!
//! A short form here, an hour with `cargo xtask soak`.

use std::time::{Duration, Instant};

use qvd_tests::display::{Display, Options};
use qvd_tests::nx::Agent;
use qvd_tests::{Outcome, Scene, play_for};
use rustix::process::Signal;

use super::session::WAIT;
use crate::agent::soak::{descriptors, memory, times};

/// What x11perf draws in one round, and how often each.
const DRAWN: &[(&str, u32)] = &[
    ("-dot", 20_000),
    ("-rect500", 60),
    ("-srect100", 500),
    ("-line100", 20_000),
    ("-dline100", 2000),
    ("-wline100", 200),
    ("-circle100", 500),
    ("-fcircle100", 500),
    ("-triangle100", 500),
    ("-complex100", 500),
    ("-ftext", 2000),
    ("-polytext16", 2000),
    ("-aa10text", 2000),
    ("-rgb24text", 1000),
    ("-scroll500", 60),
    ("-copywinpix500", 60),
    ("-copypixwin500", 60),
    ("-copyplane500", 30),
    ("-putimage500", 10),
    ("-putimagexy500", 4),
    ("-getimage100", 50),
    ("-gc", 2000),
    ("-prop", 500),
    ("-create", 20),
    ("-ucreate", 20),
    ("-map", 20),
    ("-popup", 50),
    ("-move", 100),
    ("-resize", 100),
    ("-circulate", 200),
];

/// One round, drawn to the last pixel.
async fn round(scene: &Scene, agent: &Agent) -> Outcome {
    for (test, repetitions) in DRAWN {
        let program = agent.dress(scene.installed("x11perf", "x11-apps")?);
        let repetitions = repetitions.to_string();
        let words = ["-repeat", "1", "-time", "1", "-reps", &repetitions, test];
        let mut x11perf = scene.start(program.args(words))?;
        let status = x11perf.wait(WAIT).await?;
        assert_eq!(status.code(), Some(0), "{test}: {}", x11perf.log().text());
    }
    Ok(())
}

/// Draws for so long, at least one round.
fn busy(link: &'static str, long: Duration) {
    let name = format!("native_soak_{link}");
    play_for(&name, long + 6 * WAIT, async |scene| {
        let display = Display::start(
            scene,
            Options {
                width: 1600,
                height: 1200,
                ..Options::default()
            },
        )
        .await?;
        let link = format!("link={link}");
        let agent = Agent::start(scene, &[&link]).await?;
        let word = format!("nx/nx,connect=unix:{}:50", agent.socket().display());
        let proxy = display.dress(scene.built("qvd-nxproxy")?);
        let mut proxy = scene.start(proxy.args(["-S", &word]))?;
        agent.expect_session(0, "Session started", WAIT).await?;
        let begin = Instant::now();
        let mut rounds = 1;
        round(scene, &agent).await?;
        let before = (descriptors(proxy.pid())?, memory(proxy.pid())?);
        while begin.elapsed() < long {
            round(scene, &agent).await?;
            rounds += 1;
            // nxagent draws on without a display.
            let said = proxy.log().text();
            assert!(proxy.is_running(), "it has ended: {said}");
        }
        let after = (descriptors(proxy.pid())?, memory(proxy.pid())?);
        let said = format!(
            "{rounds} rounds in {:?}: {before:?}, {after:?}\n",
            begin.elapsed()
        );
        std::fs::write(scene.artefact("rounds"), &said)?;
        assert!(after.0 <= before.0, "descriptors: {said}");
        // The stores of what was sent are full when they are.
        assert!(after.1 < before.1 + 16 * 1024, "memory in KiB: {said}");
        proxy.signal(Signal::TERM)?;
        agent.expect_session(0, "Session suspended", WAIT).await?;
        assert_eq!(proxy.wait(WAIT).await?.code(), Some(0));
        Ok(())
    });
}

fn minutes(whole: usize) -> Duration {
    Duration::from_secs(u64::try_from(times(0, whole)).unwrap() * 60)
}

#[test]
fn a_fast_link_is_drawn_over_for_long() {
    busy("lan", minutes(20));
}

#[test]
fn a_slow_link_is_drawn_over_for_long() {
    busy("adsl", minutes(40));
}
