//! Sessions that cannot be started.

use qvd_rpc::SessionState;
use qvd_tests::play;
use qvd_tests::rig::{Agent, Desktop, unknown_user};

use super::{Seat, WAIT, waited};

/// Starts a session that fails before a client could come; gives the reason.
async fn reason_of(agent: &Agent) -> qvd_tests::Result<String> {
    agent.start_session(&[]).await?;
    agent.wait_for_state(SessionState::Stopped, WAIT).await?;
    Ok(waited(agent).await?.reason.unwrap_or_default())
}

#[test]
fn a_missing_nxagent_is_named_with_its_package() {
    play("agent_nxagent_missing", async |scene| {
        let keys = [("command.nxagent", "/nonexistent/nxagent")];
        let agent = Agent::start(scene, "vm", &Desktop::Small, &keys).await?;
        let reason = reason_of(&agent).await?;
        let expected = "/nonexistent/nxagent is not installed: install the package nxagent";
        assert_eq!(reason, expected);
        // The agent is none the worse for it.
        assert_eq!(reason_of(&agent).await?, expected);
        Ok(())
    });
}

#[test]
fn an_nxagent_that_dies_at_its_start_is_reported() {
    play("agent_nxagent_dies", async |scene| {
        let keys = [("command.nxagent.args.extra", "-no-such-option")];
        let agent = Agent::start(scene, "vm", &Desktop::Small, &keys).await?;
        let reason = reason_of(&agent).await?;
        assert!(reason.starts_with("nxagent exited with status"), "{reason}");
        Ok(())
    });
}

#[test]
fn a_missing_or_failing_x_session_is_reported() {
    play("agent_x_session_fails", async |scene| {
        let keys = [("command.x-session", "/nonexistent/Xsession")];
        let seat = Seat::take(scene, &Desktop::Small, &keys).await?;
        seat.agent.start_session(&[]).await?;
        seat.becomes(SessionState::Listening).await?;
        let _client = super::attach(scene, &seat.agent, &seat.display)?;
        seat.becomes(SessionState::Stopped).await?;
        let reason = waited(&seat.agent).await?.reason.unwrap_or_default();
        assert!(
            reason.starts_with("/nonexistent/Xsession is not installed"),
            "{reason}"
        );

        let failing = Desktop::Script("exit 7".into());
        let agent = Agent::start(scene, "failing", &failing, &[]).await?;
        agent.start_session(&[]).await?;
        agent.wait_for_state(SessionState::Listening, WAIT).await?;
        let _client = super::attach(scene, &agent, &seat.display)?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        let reason = waited(&agent).await?.reason;
        assert_eq!(
            reason.as_deref(),
            Some("the X session exited with status 7")
        );
        Ok(())
    });
}

#[test]
fn a_client_that_does_not_come_is_not_waited_for() {
    play("agent_no_client", async |scene| {
        let keys = [("internal.nxagent.timeout.listening", "1")];
        let seat = Seat::take(scene, &Desktop::Small, &keys).await?;
        assert_eq!(
            reason_of(&seat.agent).await?,
            "no client connected within 1 s"
        );
        // A resume that nobody comes for is taken back, and the desktop kept.
        let client = seat.connect(scene, &[]).await?;
        super::kill(client.proxy.pid())?;
        seat.becomes(SessionState::Suspended).await?;
        seat.agent.start_session(&[]).await?;
        seat.becomes(SessionState::Listening).await?;
        seat.becomes(SessionState::Suspended).await?;
        let reason = waited(&seat.agent).await?.reason;
        assert_eq!(reason.as_deref(), Some("no client connected within 1 s"));
        let _client = seat.connect(scene, &[]).await?;
        seat.leave().await?;
        Ok(())
    });
}

#[test]
fn users_that_are_not_there_and_parameters_that_smuggle_are_refused_by_name() {
    play("agent_parameters", async |scene| {
        let agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
        agent
            .start_session(&[("qvd.vm.user.name", "no-such-user")])
            .await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        let reason = waited(&agent).await?.reason;
        assert_eq!(reason, Some(unknown_user("no-such-user")));
        for (key, value) in [
            ("qvd.client.geometry", "800x600,listen=tcp:*:99"),
            ("qvd.client.keyboard", "pc105/es:1"),
            ("qvd.client.link", "lan,accept=0.0.0.0"),
            ("qvd.client.nxagent.extra_args", "listen=tcp"),
            ("qvd.vm.user.name", "../root"),
        ] {
            let refused = agent
                .start_session(&[(key, value)])
                .await
                .unwrap_err()
                .to_string();
            assert!(refused.contains(key), "{key}={value}: {refused}");
            assert_eq!(agent.state().await?, SessionState::Stopped);
        }
        // Longer than nxagent's options may be, though each of them is good.
        let many = "pack=0,".repeat(300);
        let long = [("qvd.client.nxagent.extra_args", many.as_str())];
        let refused = agent.start_session(&long).await.unwrap_err().to_string();
        assert!(refused.contains("longer than 1024 bytes"), "{refused}");
        assert_eq!(agent.state().await?, SessionState::Stopped);
        // Empty is as good as missing: there are defaults.
        let empty = [
            ("qvd.vm.user.name", ""),
            ("qvd.client.geometry", ""),
            ("qvd.client.keyboard", ""),
            ("qvd.client.link", ""),
        ];
        agent.start_session(&empty).await?;
        agent.wait_for_state(SessionState::Listening, WAIT).await?;
        agent.call(qvd_rpc::Call::XStop).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        Ok(())
    });
}

#[test]
fn a_port_in_use_ends_the_start_and_is_named() {
    play("agent_port_in_use", async |scene| {
        let agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
        let _taken = std::net::TcpListener::bind(("127.0.0.1", agent.x_port()))?;
        let reason = reason_of(&agent).await?;
        let port = format!("NX port 127.0.0.1:{} cannot be opened", agent.x_port());
        assert!(reason.starts_with(&port), "{reason}");
        Ok(())
    });
}

#[test]
fn a_resume_that_is_refused_leaves_the_session_suspended() {
    play("agent_resume_refused", async |scene| {
        let seat = Seat::take(scene, &Desktop::Small, &[]).await?;
        let client = seat.connect(scene, &[]).await?;
        super::kill(client.proxy.pid())?;
        seat.becomes(SessionState::Suspended).await?;
        let many = "pack=0,".repeat(300);
        for (key, value) in [
            ("qvd.client.nxagent.extra_args", many.as_str()),
            ("qvd.client.keyboard", "pc105/es,accept=0.0.0.0"),
        ] {
            assert!(seat.agent.start_session(&[(key, value)]).await.is_err());
            assert_eq!(seat.agent.state().await?, SessionState::Suspended);
        }
        let _client = seat.connect(scene, &[]).await?;
        seat.leave().await?;
        Ok(())
    });
}
