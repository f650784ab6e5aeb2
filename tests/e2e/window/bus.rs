//! A session bus of a test's own, and questions to what is on it.

use qvd_tests::process::{Line, Process};
use qvd_tests::{Error, Result, Scene};
use serde_json::Value;

use super::seat::WAIT;

/// A session bus, and its address.
pub(super) async fn session_bus(scene: &Scene) -> Result<(Process, String)> {
    let socket = format!("unix:path={}", scene.path("bus").display());
    let daemon = scene
        .installed("dbus-daemon", "dbus-daemon")?
        .args(["--session", "--nofork", "--print-address", "--address"])
        .arg(&socket);
    let daemon = scene.start(daemon)?;
    daemon.expect("unix:path=", WAIT).await?;
    Ok((daemon, socket))
}

/// Asks on a bus; the answer's data.
pub(super) async fn ask(scene: &Scene, address: &str, line: &[&str]) -> Result<Value> {
    let busctl = scene
        .installed("busctl", "systemd")?
        .args([&format!("--address={address}"), "--json=short"])
        .args(line);
    let mut running = scene.start(busctl)?;
    let status = running.wait(WAIT).await?;
    if !status.success() {
        return Ok(Value::Null);
    }
    // What it wrote may come after its end; a method may have nothing to say.
    let is_json = |line: &Line| line.text.starts_with('{');
    let line = running.log().wait_for(0, "an answer", WAIT, is_json).await;
    let answer = match line {
        Ok(line) => serde_json::from_str::<Value>(&line.text).ok(),
        Err(Error::Ended { .. }) => None,
        Err(error) => return Err(error),
    };
    let data = answer.and_then(|answer| answer.get("data").cloned());
    Ok(data.unwrap_or_default())
}

/// The first of an answer's values.
pub(super) fn first(values: &Value) -> &Value {
    values.get(0).unwrap_or(&Value::Null)
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
