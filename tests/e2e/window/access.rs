//! What a screen reader finds in the window: real AT-SPI on buses of its own.

use std::time::Duration;

use qvd_tests::process::Process;
use qvd_tests::{Result, Scene, play};
use serde_json::Value;

use super::bus::{ask, first, session_bus, text};
use super::seat::{Seat, WAIT, display, program};

const LAUNCHER: &str = "/usr/libexec/at-spi-bus-launcher";

/// Where the root of all accessible programs is.
const REGISTRY: (&str, &str) = ("org.a11y.atspi.Registry", "/org/a11y/atspi/accessible/root");

const ACCESSIBLE: &str = "org.a11y.atspi.Accessible";

/// Numbers of roles: `AtspiRole` of AT-SPI.
pub(super) const CHECK_BOX: &str = "7";
pub(super) const COMBO_BOX: &str = "11";
pub(super) const TAB: &str = "37";
const PASSWORD: &str = "40";
pub(super) const BUTTON: &str = "43";
const ENTRY: &str = "79";

/// Deepest and widest tree that is walked.
const MAX_NODES: usize = 400;

async fn children(
    scene: &Scene,
    bus: &str,
    (name, path): (&str, &str),
) -> Result<Vec<(String, String)>> {
    let line = ["call", name, path, ACCESSIBLE, "GetChildren"];
    let all = ask(scene, bus, &line).await?;
    let all = first(&all).as_array().cloned().unwrap_or_default();
    Ok(all
        .iter()
        .map(|one| (text(first(one)), text(one.get(1).unwrap_or(&Value::Null))))
        .collect())
}

/// What is on the bus: where it is, its role and its name.
type Node = ((String, String), String, String);

/// All nodes of all programs on the bus.
async fn nodes(scene: &Scene, bus: &str) -> Result<Vec<Node>> {
    let mut open = children(scene, bus, REGISTRY).await?;
    let mut found = Vec::new();
    while let Some((name, path)) = open.pop() {
        if found.len() > MAX_NODES {
            break;
        }
        let line = ["call", &name, &path, ACCESSIBLE, "GetRole"];
        let role = ask(scene, bus, &line).await?;
        let line = ["get-property", &name, &path, ACCESSIBLE, "Name"];
        let title = ask(scene, bus, &line).await?;
        open.extend(children(scene, bus, (&name, &path)).await?);
        found.push(((name, path), first(&role).to_string(), text(&title)));
    }
    Ok(found)
}

/// The same as a reader tells it: roles and names.
pub(super) async fn tree(scene: &Scene, bus: &str) -> Result<Vec<(String, String)>> {
    let nodes = nodes(scene, bus).await?.into_iter();
    Ok(nodes.map(|(_, role, title)| (role, title)).collect())
}

/// What of a window has a role that is wanted: its name, and its place in the
/// window: left, top, width and height in pixels.
pub(super) async fn places(
    scene: &Scene,
    bus: &str,
    roles: &[&str],
) -> Result<Vec<(String, [i64; 4])>> {
    let mut found = Vec::new();
    for ((name, path), role, title) in nodes(scene, bus).await? {
        if !roles.contains(&role.as_str()) {
            continue;
        }
        let component = "org.a11y.atspi.Component";
        let line = ["call", &name, &path, component, "GetExtents", "u", "1"];
        let place = ask(scene, bus, &line).await?;
        let part = |at| first(&place).get(at).and_then(Value::as_i64);
        found.push((title, [0, 1, 2, 3].map(|at| part(at).unwrap_or(-1))));
    }
    Ok(found)
}

/// A session bus, and what makes programs accessible on it; the address of
/// either bus.
pub(super) async fn buses(scene: &Scene) -> Result<(Process, Process, String, String)> {
    let (daemon, socket) = session_bus(scene).await?;
    let launcher = scene
        .dress(qvd_tests::process::Program::at(LAUNCHER))
        .arg("--launch-immediately")
        .env("DBUS_SESSION_BUS_ADDRESS", &socket);
    let launcher = scene.start(launcher)?;
    let looking = async {
        loop {
            let line = [
                "call",
                "org.a11y.Bus",
                "/org/a11y/bus",
                "org.a11y.Bus",
                "GetAddress",
            ];
            let answer = ask(scene, &socket, &line).await?;
            if let Some(address) = first(&answer)
                .as_str()
                .filter(|address| !address.is_empty())
            {
                return Ok::<_, qvd_tests::Error>(address.to_owned());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let missing = |_| qvd_tests::Error::Deadline {
        what: "the bus of accessibility".into(),
        limit: WAIT,
        context: String::new(),
    };
    let bus = tokio::time::timeout(WAIT, looking)
        .await
        .map_err(missing)??;
    for property in ["IsEnabled", "ScreenReaderEnabled"] {
        let line = [
            "set-property",
            "org.a11y.Bus",
            "/org/a11y/bus",
            "org.a11y.Status",
            property,
            "b",
            "true",
        ];
        ask(scene, &socket, &line).await?;
    }
    Ok((daemon, launcher, socket, bus))
}

#[test]
fn a_screen_reader_finds_every_field_by_role_and_name() {
    play("window_access", async |scene| {
        let (_daemon, _launcher, socket, bus) = buses(scene).await?;
        let display = display(scene).await?;
        let client = program(scene, "client.show.remember_password = 1\n")?
            .env("DBUS_SESSION_BUS_ADDRESS", &socket);
        let client = scene.start(display.dress(client))?;
        let seat = Seat { display, client };
        seat.page("Connect").await?;
        let wanted = [
            (ENTRY, "User"),
            (PASSWORD, "Password"),
            (ENTRY, "Server"),
            (COMBO_BOX, "Connection type"),
            (CHECK_BOX, "Remember the user"),
            (CHECK_BOX, "Remember the password"),
            (BUTTON, "Connect"),
            (BUTTON, "Show the password"),
            (TAB, "Settings"),
        ];
        let mut last = Vec::new();
        let looking = async {
            loop {
                last = tree(scene, &bus).await?;
                let has =
                    |(role, name): &(&str, &str)| last.iter().any(|(r, n)| r == role && n == name);
                if wanted.iter().all(has) {
                    return Ok::<_, qvd_tests::Error>(());
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let found = tokio::time::timeout(WAIT, looking).await;
        assert!(found.is_ok(), "{last:#?}");
        found??;
        seat.leave(scene).await?;
        Ok(())
    });
}
