//! Connections that overtake each other: what was sent first comes last.

use std::sync::Arc;

use qvd_tests::fault::{Connection, Cut, Direction, Fault};
use qvd_tests::{Error, Outcome, Result, Scene, play, play_for};
use rustix::process::Signal;

use super::stage::{CONNECTED, LOST, Stage, WAIT, display, drawn, end_of, said, times};

/// Where in what a client sends on a plain connection its request for a session
/// begins.
async fn request(scene: &Scene, stage: &Stage) -> Result<u64> {
    let mut client = stage.connect(scene, &stage.login()).await?;
    let passed = stage.front.last_connection();
    let bytes = passed
        .map(|connection| connection.passed(Direction::ToServer).beginning)
        .unwrap_or_default();
    client.signal(Signal::INT)?;
    end_of(&mut client).await?;
    stage.becomes(qvd_rpc::SessionState::Suspended).await?;
    let wanted = b"GET /qvd/connect_to_vm";
    let at = bytes.windows(wanted.len()).position(|part| part == wanted);
    let at = at.ok_or_else(|| Error::Invalid("no request for a session".into()))?;
    Ok(u64::try_from(at).unwrap_or(u64::MAX))
}

/// From now on connections stop before byte `at` to the broker. The number of
/// the next one.
fn stop_at(stage: &Stage, at: u64) -> usize {
    stage.front.change(Direction::ToServer, |rules| {
        rules.at = Some((at, Fault::Stall));
    });
    stage.front.connections().len() + 1
}

/// Waits until a connection has come that far, has it stay there, and lets all
/// others pass.
async fn keep_back(stage: &Stage, number: usize, at: u64) -> Result<Arc<Connection>> {
    let direction = Direction::ToServer;
    let kept = stage.front.wait_for_connection(number, WAIT).await?;
    stage.front.wait_for_bytes(direction, at, WAIT).await?;
    kept.hold(direction, true);
    stage.front.change(direction, |rules| rules.at = None);
    Ok(kept)
}

/// What was kept back comes now, and its end behind it.
async fn let_come(connection: &Connection) -> Outcome {
    connection.hold(Direction::ToServer, false);
    let gone = async {
        while !connection.is_closed() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WAIT, gone)
        .await
        .map_err(|_| Error::Invalid(format!("not closed: {connection}")))?;
    Ok(())
}

#[test]
fn a_request_that_comes_after_its_client_left_takes_nobodys_session() {
    play("client_late_request", async |scene| {
        let mut stage = Stage::set(scene, false).await?;
        // Within the request: it has been sent when the byte before has come.
        let at = request(scene, &stage).await? + 20;
        let next = stop_at(&stage, at);
        let mut early = stage
            .login()
            .start_client(scene, &stage.display, &["-g", "800x600"])?;
        let kept = keep_back(&stage, next, at).await?;
        early.signal(Signal::INT)?;
        assert_eq!(end_of(&mut early).await?.0, 130);

        let other = display(scene).await?;
        let mut late = stage
            .login()
            .start_client(scene, &other, &["-g", "800x600"])?;
        late.expect(CONNECTED, WAIT).await?;
        drawn(&other).await?;
        let_come(&kept).await?;
        let server = stage.server.process();
        server.expect("given up by its client", WAIT).await?;
        assert_eq!(times(&late, LOST), 0);
        Ok(stage.leave(&mut late).await?)
    });
}

#[test]
fn an_attempt_that_stalls_is_given_up_and_may_come_late() {
    play_for("client_late_attempt", 3 * WAIT, async |scene| {
        let stage = Stage::set(scene, false).await?;
        let at = request(scene, &stage).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        let next = stop_at(&stage, at);
        stage.front.cut(Cut::Reset);
        said(&client, "(attempt 1)", 1).await?;
        let kept = keep_back(&stage, next, at).await?;
        // It is not waited for until the end of the outage.
        said(&client, "(attempt 2)", 1).await?;
        said(&client, CONNECTED, 2).await?;
        stage.becomes(qvd_rpc::SessionState::Connected).await?;
        assert!(!kept.is_closed(), "{kept}");
        let_come(&kept).await?;
        stage.becomes(qvd_rpc::SessionState::Connected).await?;
        stage.drawn().await?;
        assert_eq!(times(&client, LOST), 1);
        Ok(stage.leave(&mut client).await?)
    });
}
