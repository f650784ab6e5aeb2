//! The agent's processes, killed.

use std::time::Duration;

use qvd_rpc::{Call, SessionState};
use qvd_tests::play;
use qvd_tests::rig::{Agent, Desktop, under_openbox};
use rustix::process::Signal;

use super::{Seat, WAIT, attach, kill, nothing_left, process_with, session, waited};

#[test]
fn a_daemon_that_is_killed_is_replaced_in_every_state() {
    play("agent_daemon_killed", async |scene| {
        let mut seat = Seat::take(scene, &Desktop::Small, &[]).await?;

        // While the client is awaited: the next daemon opens the port again.
        seat.agent.start_session(&[]).await?;
        seat.becomes(SessionState::Listening).await?;
        seat.agent.daemon()?.signal(Signal::KILL)?;
        seat.agent.daemon()?.wait(WAIT).await?;
        seat.agent.start_daemon(scene).await?;
        seat.becomes(SessionState::Listening).await?;
        let client = attach(scene, &seat.agent, &seat.display)?;
        seat.becomes(SessionState::Connected).await?;
        seat.drawn().await?;

        // While it is connected: neither the client nor the desktop notices,
        // and the clock goes on.
        let name = session(&seat.agent)?;
        let terminal = process_with(&name, "xterm")?;
        seat.agent.daemon()?.signal(Signal::KILL)?;
        seat.agent.daemon()?.wait(WAIT).await?;
        seat.ticks().await?;
        seat.agent.start_daemon(scene).await?;
        assert_eq!(seat.agent.state().await?, SessionState::Connected);
        assert_eq!(process_with(&name, "xterm")?, terminal);
        seat.ticks().await?;

        // While it is suspended, without a daemon when it becomes so.
        seat.agent.daemon()?.signal(Signal::KILL)?;
        seat.agent.daemon()?.wait(WAIT).await?;
        kill(client.proxy.pid())?;
        seat.agent.start_daemon(scene).await?;
        seat.becomes(SessionState::Suspended).await?;
        seat.agent.daemon()?.signal(Signal::KILL)?;
        seat.agent.daemon()?.wait(WAIT).await?;
        seat.agent.start_daemon(scene).await?;
        assert_eq!(seat.agent.state().await?, SessionState::Suspended);
        let _client = seat.connect(scene, &[]).await?;
        assert_eq!(session(&seat.agent)?, name, "the same session all along");
        seat.leave().await?;
        Ok(())
    });
}

#[test]
fn a_daemon_that_is_killed_while_a_session_starts_leaves_nothing_half_done() {
    play("agent_daemon_killed_starting", async |scene| {
        let mut agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
        // From before the session process is told what to do until nxagent
        // listens, which takes some 30 ms.
        for delay in (0..40).step_by(4) {
            agent.start_session(&[]).await?;
            tokio::time::sleep(Duration::from_millis(delay)).await;
            agent.daemon()?.signal(Signal::KILL)?;
            agent.daemon()?.wait(WAIT).await?;
            agent.start_daemon(scene).await?;
            if agent.state().await? != SessionState::Stopped {
                agent.wait_for_state(SessionState::Listening, WAIT).await?;
                let name = session(&agent)?;
                agent.call(Call::XStop).await?;
                agent.wait_for_state(SessionState::Stopped, WAIT).await?;
                nothing_left(&agent, &name)?;
            }
        }
        Ok(())
    });
}

#[test]
fn a_daemon_that_is_killed_while_a_session_ends_is_no_hindrance() {
    play("agent_daemon_killed_stopping", async |scene| {
        let mut seat = Seat::take(scene, &Desktop::Small, &[]).await?;
        let _client = seat.connect(scene, &[]).await?;
        let name = session(&seat.agent)?;
        seat.agent.call(Call::XStop).await?;
        seat.agent.daemon()?.signal(Signal::KILL)?;
        seat.agent.daemon()?.wait(WAIT).await?;
        seat.agent.start_daemon(scene).await?;
        seat.becomes(SessionState::Stopped).await?;
        nothing_left(&seat.agent, &name)?;
        Ok(())
    });
}

#[test]
fn a_second_daemon_with_the_same_configuration_leaves_the_first_alone() {
    play("agent_second_daemon", async |scene| {
        let seat = Seat::take(scene, &Desktop::Small, &[]).await?;
        let _client = seat.connect(scene, &[]).await?;
        let mut second = scene.start(seat.agent.program(scene)?.named("second"))?;
        assert_eq!(second.wait(WAIT).await?.code(), Some(1));
        second.expect("cannot listen on 127.0.0.1:", WAIT).await?;
        assert_eq!(seat.agent.state().await?, SessionState::Connected);
        seat.ticks().await?;
        seat.leave().await?;
        Ok(())
    });
}

/// A program without the session's mark in its environment is found by the
/// session's control group, which only root can make.
#[test]
fn a_program_that_sheds_its_environment_goes_with_the_session() {
    play("agent_shed", async |scene| {
        let shed = "(setsid env -i sh -c 'exec sleep 4325 </dev/null >/dev/null 2>&1' &)";
        let shed = format!("{shed}\n{}", under_openbox("xclock &"));
        let seat = Seat::take(scene, &Desktop::Script(shed), &[]).await?;
        let _client = seat.connect(scene, &[]).await?;
        seat.drawn().await?;
        let hidden = command_lines("sleep 4325")?;
        assert_eq!(hidden.len(), 1);
        if rustix::process::geteuid().is_root() {
            kill(process_with(&session(&seat.agent)?, "qvd-vma-session")?)?;
            seat.becomes(SessionState::Stopped).await?;
        } else {
            seat.leave().await?;
        }
        assert!(command_lines("sleep 4325")?.is_empty());
        Ok(())
    });
}

/// The processes whose command line begins so, in whatever environment.
fn command_lines(text: &str) -> std::io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let number = entry.file_name().to_string_lossy().parse::<u32>();
        found.extend(number.ok().filter(|_| command.starts_with(text)));
    }
    Ok(found)
}

#[test]
fn a_session_process_that_is_killed_takes_everything_with_it() {
    play("agent_session_killed", async |scene| {
        // One program hides from its parent, its group and its terminal.
        let hidden = "(setsid sh -c 'exec sleep 4321 </dev/null >/dev/null 2>&1' &)";
        let hidden = format!("{hidden}\n{}", under_openbox("xclock &"));
        let seat = Seat::take(scene, &Desktop::Script(hidden), &[]).await?;
        let mut client = seat.connect(scene, &[]).await?;
        seat.drawn().await?;
        let name = session(&seat.agent)?;
        process_with(&name, "sleep 4321")?;
        kill(process_with(&name, "qvd-vma-session")?)?;
        seat.becomes(SessionState::Stopped).await?;
        let reason = waited(&seat.agent).await?.reason;
        assert_eq!(
            reason.as_deref(),
            Some("the session process ended unexpectedly")
        );
        nothing_left(&seat.agent, &name)?;
        client.proxy.wait(WAIT).await?;
        // And the next session is as good as any.
        let _client = seat.connect(scene, &[]).await?;
        seat.leave().await?;
        Ok(())
    });
}

#[test]
fn a_stop_ends_what_hides_and_what_ignores_signals() {
    play("agent_stop_is_thorough", async |scene| {
        let stubborn = "(setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 4322; done' &)";
        let stubborn = format!("{stubborn}\n{}", under_openbox("xclock &"));
        let seat = Seat::take(scene, &Desktop::Script(stubborn), &[]).await?;
        let _client = seat.connect(scene, &[]).await?;
        seat.drawn().await?;
        process_with(&session(&seat.agent)?, "sleep 4322")?;
        seat.leave().await?;
        Ok(())
    });
}

#[test]
fn a_session_and_its_daemon_killed_together_leave_a_clean_start() {
    play("agent_both_killed", async |scene| {
        let mut seat = Seat::take(scene, &Desktop::Small, &[]).await?;
        let _client = seat.connect(scene, &[]).await?;
        let name = session(&seat.agent)?;
        seat.agent.daemon()?.signal(Signal::KILL)?;
        seat.agent.daemon()?.wait(WAIT).await?;
        kill(process_with(&name, "qvd-vma-session")?)?;
        seat.agent.start_daemon(scene).await?;
        assert_eq!(seat.agent.state().await?, SessionState::Stopped);
        nothing_left(&seat.agent, &name)?;
        let _client = seat.connect(scene, &[]).await?;
        seat.leave().await?;
        Ok(())
    });
}

#[test]
fn an_nxagent_that_is_killed_ends_the_session_with_a_reason() {
    play("agent_nxagent_killed", async |scene| {
        let seat = Seat::take(scene, &Desktop::Small, &[]).await?;
        let mut client = seat.connect(scene, &[]).await?;
        let name = session(&seat.agent)?;
        kill(process_with(&name, "nxagent :")?)?;
        seat.becomes(SessionState::Stopped).await?;
        let reason = waited(&seat.agent).await?.reason.unwrap_or_default();
        assert!(
            reason.starts_with("nxagent was killed by signal 9"),
            "{reason}"
        );
        nothing_left(&seat.agent, &name)?;
        client.proxy.wait(WAIT).await?;
        Ok(())
    });
}
