//! Sessions again and again, and what they leave behind: nothing.
//!
//! A short form here, the whole with `cargo xtask soak`.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use qvd_rpc::{Call, SessionState};
use qvd_tests::rig::Desktop;
use qvd_tests::{Error, Result, Scene, play_for};

use super::hooks::hook;
use super::{Seat, WAIT, kill};

/// Set by `cargo xtask soak`.
const WHOLE: &str = "QVD_SOAK";

/// How often, in short and as a whole.
pub(crate) fn times(short: usize, whole: usize) -> usize {
    match std::env::var_os(WHOLE) {
        Some(_) => whole,
        None => short,
    }
}

/// What a process has open, by kind.
pub(crate) fn descriptors(pid: u32) -> Result<usize> {
    let folder = format!("/proc/{pid}/fd");
    let entries = fs::read_dir(&folder).map_err(|e| Error::Invalid(format!("{folder}: {e}")))?;
    Ok(entries.count())
}

/// Memory of a process, in KiB.
pub(crate) fn memory(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))
        .map_err(|e| Error::Invalid(e.to_string()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| Error::Invalid("no VmRSS".into()))
}

/// Everything of the machine that a session could leave: mounts in the scene's
/// folder, and files in the folders for temporary ones that name this agent's
/// display.
fn traces(scene: &Scene, display: u16) -> BTreeSet<String> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let here = scene.path("").display().to_string();
    let ours = mounts.lines().filter(|line| line.contains(&here));
    let mut traces: BTreeSet<String> = ours.map(|line| format!("mount {line}")).collect();
    for folder in ["/tmp", "/tmp/.X11-unix", "/dev/shm"] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.contains(&format!("X{display}")) || name.contains(&format!("-{display}")) {
                traces.insert(format!("{folder}/{name}"));
            }
        }
    }
    traces
}

#[test]
fn suspends_and_resumes_leave_nothing() {
    let times = times(20, 1000);
    let limit = Duration::from_secs(180 + 3 * u64::try_from(times).unwrap_or_default());
    play_for("agent_soak_suspend", limit, async |scene| {
        let log = scene.path("runs");
        let count = hook(scene, "count", &format!("echo $2 >> {}", log.display()))?;
        let keys = [
            ("vma.on_state.connected", count.as_str()),
            ("vma.on_state.suspended", &count),
            ("log.level", "INFO"),
        ];
        let mut seat = Seat::take(scene, &Desktop::Small, &keys).await?;
        let before = traces(scene, seat.agent.display());
        let begin = Instant::now();
        let mut first = None;
        for round in 0..times {
            let client = seat.connect(scene, &[]).await?;
            let daemon = seat.agent.daemon()?.pid();
            let process = super::process_with(&super::session(&seat.agent)?, "qvd-vma-session")?;
            if round == 9 {
                first = Some((descriptors(daemon)?, descriptors(process)?, memory(daemon)?));
            }
            if round + 1 == times {
                let (daemon_fds, process_fds, kib) = first.unwrap_or_default();
                assert_eq!(descriptors(process)?, process_fds, "of the session process");
                // Hooks of this very moment have a pipe each.
                assert!(descriptors(daemon)? <= daemon_fds + 4, "of the daemon");
                assert!(
                    memory(daemon)? < kib + 2048,
                    "{} KiB, was {kib}",
                    memory(daemon)?
                );
            }
            kill(client.proxy.pid())?;
            seat.becomes(SessionState::Suspended).await?;
        }
        println!("{times} suspends and resumes in {:?}", begin.elapsed());
        seat.leave().await?;
        let ran = async {
            let lines = || fs::read_to_string(&log).unwrap_or_default().lines().count();
            while lines() < 2 * times {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(WAIT, ran).await?;
        assert_eq!(traces(scene, seat.agent.display()), before);
        Ok(())
    });
}

#[test]
fn starts_and_stops_leave_nothing() {
    let times = times(10, 200);
    let limit = Duration::from_secs(180 + 3 * u64::try_from(times).unwrap_or_default());
    play_for("agent_soak_start", limit, async |scene| {
        let mut seat = Seat::take(scene, &Desktop::Small, &[("log.level", "INFO")]).await?;
        let before = traces(scene, seat.agent.display());
        let begin = Instant::now();
        let mut first = None;
        for round in 0..times {
            let _client = seat.connect(scene, &[]).await?;
            seat.leave().await?;
            let daemon = seat.agent.daemon()?.pid();
            let now = (descriptors(daemon)?, memory(daemon)?);
            let (fds, kib) = *first.get_or_insert(now);
            if round >= 5 {
                assert!(now.0 <= fds + 1, "{} descriptors, were {fds}", now.0);
                assert!(now.1 < kib + 4096, "{} KiB, were {kib}", now.1);
            }
        }
        println!("{times} starts and stops in {:?}", begin.elapsed());
        assert_eq!(traces(scene, seat.agent.display()), before);
        let state = seat.agent.call(Call::XState).await?;
        assert_eq!(state, qvd_rpc::Reply::State(SessionState::Stopped));
        Ok(())
    });
}
