//! Other users of the machine, and clients that are none.

use std::io::Write as _;
use std::net::TcpStream;

use qvd_rpc::{Call, Reply, SessionState};
use qvd_tests::process::Process;
use qvd_tests::rig::{Agent, Desktop};
use qvd_tests::{Result, Scene, play};
use rustix::process::Signal;

use super::{Seat, WAIT, attach, kill, nothing_left, process_with, session, waited};

/// A shell script run by a user who is neither root nor the agent's.
fn as_nobody(scene: &Scene, script: &str) -> Result<Process> {
    let program = scene.installed("setpriv", "util-linux")?.named("stranger");
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    scene.start(program.args(nobody).args(["--", "bash", "-c", script]))
}

/// Only root can become another user. Without it there is nobody to be
/// refused, and every other test shows that the own user is served.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn other_users_of_the_machine_may_not_call_the_agent() {
    play("agent_strangers_call", async |scene| {
        if !is_root() {
            return Ok(());
        }
        let flag = scene.path("switched-off");
        let script = format!("echo off > {}", flag.display());
        let command = scene.script("poweroff", &script)?;
        let command = command.display().to_string();
        let keys = [("command.poweroff", command.as_str())];
        let mut agent = Agent::start(scene, "vm", &Desktop::Small, &keys).await?;
        let port = agent.rpc().port();
        let asks = |method: &str| {
            format!(
                "exec 3<>/dev/tcp/127.0.0.1/{port}; \
                 printf 'GET /vma/{method} HTTP/1.1\\r\\n\\r\\n' >&3"
            )
        };
        let mut curious = as_nobody(scene, &format!("{}; cat <&3", asks("ping")))?;
        curious.wait(WAIT).await?;
        assert!(!curious.log().text().contains("HTTP/1.1"), "was answered");

        // One who has closed again before he is accepted belongs to nobody.
        let daemon = agent.daemon()?;
        daemon.signal(Signal::STOP)?;
        let mut fleeting = as_nobody(scene, &asks("poweroff"))?;
        fleeting.wait(WAIT).await?;
        let before = daemon.log().position();
        daemon.signal(Signal::CONT)?;
        daemon
            .expect_after(before, "refused on the RPC port", WAIT)
            .await?;
        assert_eq!(agent.call(Call::Ping).await?, Reply::Alive);
        assert!(!flag.exists(), "a stranger switched the machine off");
        Ok(())
    });
}

#[test]
fn other_users_of_the_machine_may_not_take_the_nx_port() {
    play("agent_strangers_nx", async |scene| {
        if !is_root() {
            return Ok(());
        }
        let seat = Seat::take(scene, &Desktop::Small, &[]).await?;
        seat.agent.start_session(&[]).await?;
        seat.becomes(SessionState::Listening).await?;
        let port = seat.agent.x_port();
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; echo NXPROXY- >&3; cat <&3");
        let mut thief = as_nobody(scene, &script)?;
        thief.wait(WAIT).await?;
        assert_eq!(seat.agent.state().await?, SessionState::Listening);
        let _client = attach(scene, &seat.agent, &seat.display)?;
        seat.becomes(SessionState::Connected).await?;
        seat.drawn().await?;
        seat.leave().await?;
        Ok(())
    });
}

/// What may connect to the NX port without being a client.
fn strays() -> [(&'static str, &'static [u8]); 3] {
    [
        ("has nothing to say", b""),
        ("speaks HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("speaks garbage", &[0xff; 4096]),
    ]
}

fn stray(agent: &Agent, bytes: &[u8]) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", agent.x_port()))?;
    stream.write_all(bytes)?;
    // It may have been thrown out already.
    let _ = stream.shutdown(std::net::Shutdown::Write);
    Ok(stream)
}

#[test]
fn who_is_no_client_takes_the_port_neither_from_a_start_nor_from_a_resume() {
    play("agent_strays", async |scene| {
        let seat = Seat::take(scene, &Desktop::Small, &[]).await?;
        let mut terminal = None;
        for _ in ["start", "resume"] {
            seat.agent.start_session(&[]).await?;
            seat.becomes(SessionState::Listening).await?;
            let mut strays: Vec<_> = strays()
                .iter()
                .map(|(_, bytes)| stray(&seat.agent, bytes))
                .collect::<std::io::Result<_>>()?;
            // One that stays and says nothing, as a scanner of ports does.
            strays.push(TcpStream::connect(("127.0.0.1", seat.agent.x_port()))?);
            let client = attach(scene, &seat.agent, &seat.display)?;
            seat.becomes(SessionState::Connected).await?;
            seat.drawn().await?;
            assert_eq!(waited(&seat.agent).await?.reason, None);
            let name = session(&seat.agent)?;
            let now = process_with(&name, "xterm")?;
            assert_eq!(*terminal.get_or_insert(now), now);
            kill(client.proxy.pid())?;
            seat.becomes(SessionState::Suspended).await?;
        }
        seat.leave().await?;
        Ok(())
    });
}

/// What greets as a client does, and is none.
const IMPOSTOR: &[u8] = b"NXPROXY-no such thing\xff\xff\xff\xff";

#[test]
fn an_impostor_does_not_take_a_suspended_desktop_away() {
    play("agent_stray_resume", async |scene| {
        let seat = Seat::take(scene, &Desktop::Small, &[]).await?;
        let client = seat.connect(scene, &[]).await?;
        let name = session(&seat.agent)?;
        seat.drawn().await?;
        let terminal = process_with(&name, "xterm")?;
        kill(client.proxy.pid())?;
        seat.becomes(SessionState::Suspended).await?;
        seat.agent.start_session(&[]).await?;
        seat.becomes(SessionState::Listening).await?;
        let stray = stray(&seat.agent, IMPOSTOR)?;
        seat.becomes(SessionState::Suspended).await?;
        drop(stray);
        let reason = waited(&seat.agent).await?.reason;
        assert_eq!(
            reason.as_deref(),
            Some("the client's connection failed before the session was resumed")
        );
        let _client = seat.connect(scene, &[]).await?;
        seat.drawn().await?;
        assert_eq!(process_with(&name, "xterm")?, terminal);
        seat.leave().await?;
        Ok(())
    });
}

#[test]
fn an_impostor_ends_a_start_with_a_reason() {
    play("agent_stray_start", async |scene| {
        let agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
        agent.start_session(&[]).await?;
        agent.wait_for_state(SessionState::Listening, WAIT).await?;
        let name = session(&agent)?;
        let _stray = stray(&agent, IMPOSTOR)?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        let reason = waited(&agent).await?.reason.unwrap_or_default();
        assert!(
            reason.starts_with("nxagent exited with status 1: "),
            "{reason}"
        );
        assert!(!reason.contains("nx/nx"), "{reason}");
        nothing_left(&agent, &name)?;
        Ok(())
    });
}

#[test]
fn a_client_that_says_nothing_is_not_waited_for() {
    play("agent_silent_client", async |scene| {
        let keys = [("internal.nxagent.timeout.listening", "1")];
        let seat = Seat::take(scene, &Desktop::Small, &keys).await?;
        seat.agent.start_session(&[]).await?;
        seat.becomes(SessionState::Listening).await?;
        let silent = TcpStream::connect(("127.0.0.1", seat.agent.x_port()))?;
        seat.becomes(SessionState::Stopped).await?;
        let reason = waited(&seat.agent).await?.reason;
        assert_eq!(reason.as_deref(), Some("no client connected within 1 s"));
        drop(silent);

        let client = seat.connect(scene, &[]).await?;
        kill(client.proxy.pid())?;
        seat.becomes(SessionState::Suspended).await?;
        seat.agent.start_session(&[]).await?;
        seat.becomes(SessionState::Listening).await?;
        let _silent = TcpStream::connect(("127.0.0.1", seat.agent.x_port()))?;
        seat.becomes(SessionState::Suspended).await?;
        let _client = seat.connect(scene, &[]).await?;
        seat.leave().await?;
        Ok(())
    });
}
