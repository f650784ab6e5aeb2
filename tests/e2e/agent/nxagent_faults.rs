//! An nxagent that misbehaves: the session ends within its limits, with a
//! reason, and clean.

use std::process::Command;
use std::time::Duration;

use qvd_rpc::{Call, Reply, SessionState};
use qvd_tests::play;
use qvd_tests::process::find_in_path;
use qvd_tests::rig::{Agent, Desktop};
use rustix::process::{Pid, Signal, kill_process};

use super::hooks::hook;
use super::{Seat, WAIT, nothing_left, process_with, session, waited};

/// Shorter limits than an administrator would set, in seconds.
const SHORT: [(&str, &str); 4] = [
    ("internal.nxagent.timeout.initiating", "2"),
    ("internal.nxagent.timeout.listening", "5"),
    ("internal.nxagent.timeout.suspending", "3"),
    ("internal.nxagent.timeout.stopping", "3"),
];

#[test]
fn garbage_in_its_output_changes_nothing() {
    play("agent_nxagent_garbage", async |scene| {
        let real = find_in_path("nxagent").ok_or("install the package nxagent")?;
        let script = format!(
            "head -c 3000000 /dev/urandom\nprintf '\\nSession: Session terminated\\nSession: \
             at\\nInfo: Waiting\\n'\nhead -c 100000 /dev/zero >&2\nexec {} \"$@\"",
            real.display()
        );
        let garbled = hook(scene, "garbled", &script)?;
        let keys = [("command.nxagent", garbled.as_str())];
        let seat = Seat::take(scene, &Desktop::Small, &keys).await?;
        let client = seat.connect(scene, &[]).await?;
        seat.drawn().await?;
        super::kill(client.proxy.pid())?;
        seat.becomes(SessionState::Suspended).await?;
        seat.leave().await?;
        Ok(())
    });
}

#[test]
fn one_that_never_listens_is_given_up_though_it_ignores_every_signal() {
    play("agent_nxagent_silent", async |scene| {
        let silent = hook(
            scene,
            "silent",
            "trap '' TERM HUP INT\nwhile :; do sleep 1; done",
        )?;
        let mut keys = vec![("command.nxagent", silent.as_str())];
        keys.extend(SHORT);
        let agent = Agent::start(scene, "vm", &Desktop::Small, &keys).await?;
        agent.start_session(&[]).await?;
        agent.wait_for_state(SessionState::Starting, WAIT).await?;
        let name = session(&agent)?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        let reason = waited(&agent).await?.reason;
        assert_eq!(reason.as_deref(), Some("nxagent did not listen within 2 s"));
        nothing_left(&agent, &name)?;
        Ok(())
    });
}

#[test]
fn one_that_stops_answering_is_ended_when_it_is_to_suspend() {
    play("agent_nxagent_frozen", async |scene| {
        for call in [Call::XSuspend, Call::XStop] {
            let seat = Seat::take(scene, &Desktop::Small, &SHORT).await?;
            let _client = seat.connect(scene, &[]).await?;
            let name = session(&seat.agent)?;
            let pid = process_with(&name, "nxagent :")?;
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            kill_process(pid.ok_or("no nxagent")?, Signal::STOP)?;
            let stop = matches!(call, Call::XStop);
            seat.agent.call(call).await?;
            seat.becomes(SessionState::Stopped).await?;
            let reason = waited(&seat.agent).await?.reason;
            let expected = if stop {
                "the session did not end within 3 s and was killed"
            } else {
                "nxagent did not suspend within 3 s"
            };
            assert_eq!(reason.as_deref(), Some(expected));
            nothing_left(&seat.agent, &name)?;
        }
        Ok(())
    });
}

#[test]
fn one_that_hangs_as_its_client_is_lost_does_not_hold_the_vm_for_ever() {
    play("agent_nxagent_hung", async |scene| {
        let seat = Seat::take(scene, &Desktop::Small, &[]).await?;
        let client = seat.connect(scene, &[]).await?;
        let name = session(&seat.agent)?;
        let pid = process_with(&name, "nxagent :")?;
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        kill_process(pid.ok_or("no nxagent")?, Signal::STOP)?;
        super::kill(client.proxy.pid())?;
        // 30 s until it is given up, and what a polite end takes.
        seat.agent
            .wait_for_state(SessionState::Stopped, 2 * WAIT)
            .await?;
        let reason = waited(&seat.agent).await?.reason;
        assert_eq!(
            reason.as_deref(),
            Some("nxagent hangs since it lost its client")
        );
        nothing_left(&seat.agent, &name)?;
        Ok(())
    });
}

#[test]
fn of_two_starts_at_once_one_is_taken() {
    play("agent_two_starts", async |scene| {
        let agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
        for _ in 0..5 {
            let (one, two) = tokio::join!(agent.start_session(&[]), agent.start_session(&[]));
            assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1);
            let refused = one.and(two).unwrap_err().to_string();
            assert!(refused.contains("retry later"), "{refused}");
            agent.wait_for_state(SessionState::Listening, WAIT).await?;
            agent.call(Call::XStop).await?;
            agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        }
        Ok(())
    });
}

/// A file system of a few pages.
struct Tiny(String);

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l", &self.0]).status();
    }
}

#[test]
fn a_full_disk_under_the_run_path_refuses_a_start_and_keeps_a_session() {
    play("agent_run_path_full", async |scene| {
        let run = scene.path("vm-run");
        let hold = hook(scene, "state", "exit 0")?;
        let keys = [("vma.on_state.connected", hold.as_str())];
        std::fs::create_dir_all(&run)?;
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k,mode=755", "tmpfs"])
            .arg(&run)
            .status()?;
        assert!(mount.success(), "mounting needs root");
        let tiny = Tiny(run.display().to_string());
        let mut seat = Seat::take(scene, &Desktop::Small, &keys).await?;
        let filler = run.join("filler");
        let fill = || std::fs::write(&filler, vec![1; 1024 * 1024]).is_err();
        assert!(fill());
        seat.agent.start_session(&[]).await?;
        seat.becomes(SessionState::Stopped).await?;
        let reason = waited(&seat.agent).await?.reason.unwrap_or_default();
        assert!(reason.contains("No space left on device"), "{reason}");
        std::fs::remove_file(&filler)?;
        let client = seat.connect(scene, &[]).await?;
        assert!(fill());
        super::kill(client.proxy.pid())?;
        seat.becomes(SessionState::Suspended).await?;
        assert_eq!(seat.agent.call(Call::Ping).await?, Reply::Alive);
        seat.agent.call(Call::XStop).await?;
        seat.becomes(SessionState::Stopped).await?;
        seat.agent.daemon()?.signal(Signal::TERM)?;
        seat.agent.daemon()?.wait(WAIT).await?;
        drop(tiny);
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok(())
    });
}
