//! The item in the panel while a session runs: a real watcher of items, and the
//! item's menu as a panel uses it.

use std::time::Duration;

use qvd_rpc::SessionState;
use qvd_tests::process::{Process, Program};
use qvd_tests::{Result, Scene, play};
use serde_json::Value;

use super::bus::{ask, first, session_bus, text};
use super::seat::{Seat, WAIT, log_in, login, stage, stop};

/// What panels of several desktops have take items.
const WATCHER: &str =
    "/usr/libexec/ayatana-indicator-application/ayatana-indicator-application-service";

const MENU: &str = "com.canonical.dbusmenu";

/// Starts the watcher, and waits until it is one.
async fn watch(scene: &Scene, bus: &str) -> Result<Process> {
    let watcher = scene
        .dress(Program::at(WATCHER))
        .env("DBUS_SESSION_BUS_ADDRESS", bus);
    let watcher = scene.start(watcher)?;
    until("the watcher of items", async || {
        let name = "org.kde.StatusNotifierWatcher";
        let line = [
            "call",
            "org.freedesktop.DBus",
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus",
            "NameHasOwner",
            "s",
            name,
        ];
        let owned = ask(scene, bus, &line).await?;
        Ok((first(&owned) == &Value::Bool(true)).then_some(()))
    })
    .await?;
    Ok(watcher)
}

/// Waits until `look` sees something.
async fn until<T>(what: &str, look: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    let looking = async {
        loop {
            if let Some(seen) = look().await? {
                return Ok::<_, qvd_tests::Error>(seen);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let late = |_| qvd_tests::Error::Deadline {
        what: what.into(),
        limit: WAIT,
        context: String::new(),
    };
    tokio::time::timeout(WAIT, looking).await.map_err(late)?
}

/// The items of the watcher: the bus name and the menu's path of each.
async fn items(scene: &Scene, bus: &str) -> Result<Vec<(String, String)>> {
    let line = [
        "call",
        "org.ayatana.indicator.application",
        "/org/ayatana/indicator/application/service",
        "org.ayatana.indicator.application.service",
        "GetApplications",
    ];
    let answer = ask(scene, bus, &line).await?;
    let all = first(&answer).as_array().cloned().unwrap_or_default();
    let place = |one: &Value| {
        let part = |at| text(one.get(at).unwrap_or(&Value::Null));
        (part(2), part(3))
    };
    Ok(all.iter().map(place).collect())
}

/// What a menu has: number and label of each entry.
async fn entries(
    scene: &Scene,
    bus: &str,
    (name, path): &(String, String),
) -> Result<Vec<(String, String)>> {
    // As panels do before they show it.
    let line = ["call", name, path, MENU, "AboutToShow", "i", "0"];
    ask(scene, bus, &line).await?;
    let line = [
        "--",
        "call",
        name,
        path,
        MENU,
        "GetLayout",
        "iias",
        "0",
        "-1",
        "0",
    ];
    let answer = ask(scene, bus, &line).await?;
    let mut open = vec![answer.get(1).cloned().unwrap_or_default()];
    let mut found = Vec::new();
    while let Some(node) = open.pop() {
        let number = first(&node).to_string();
        let label = node.pointer("/1/label/data").map(text);
        found.push((number, label.unwrap_or_default()));
        let below = node.get(2).and_then(Value::as_array).cloned();
        let below = below.unwrap_or_default();
        open.extend(below.iter().filter_map(|one| one.get("data").cloned()));
    }
    Ok(found)
}

/// Chooses the entry with this label.
async fn choose(scene: &Scene, bus: &str, item: &(String, String), label: &str) -> Result<()> {
    let all = entries(scene, bus, item).await?;
    let entry = all.iter().find(|(_, own)| own == label);
    assert!(entry.is_some(), "no {label} in {all:?}");
    let number = entry.map_or("", |(number, _)| number.as_str());
    let (name, path) = item;
    let line = [
        "call", name, path, MENU, "Event", "isvu", number, "clicked", "s", "", "0",
    ];
    ask(scene, bus, &line).await?;
    Ok(())
}

#[test]
fn the_panel_shows_a_session_and_ends_it() {
    play("window_tray", async |scene| {
        let (_daemon, bus) = session_bus(scene).await?;
        let mut watcher = watch(scene, &bus).await?;
        let (agent, server, user) = stage(scene).await?;
        let conf = login(&server, &user) + "client.file_sharing.enable = 0\n";
        let seat = Seat::take_on(scene, &bus, &conf, &["--vm-id", "1"]).await?;
        seat.page("Connect").await?;
        assert!(items(scene, &bus).await?.is_empty());
        log_in(scene, &seat, &user.password).await?;
        agent.wait_for_state(SessionState::Connected, WAIT).await?;
        seat.no_page().await?;

        let shown = async || {
            until("the item", async || {
                Ok(items(scene, &bus).await?.into_iter().next())
            })
            .await
        };
        let item = shown().await?;
        let labels: Vec<_> = entries(scene, &bus, &item).await?;
        let labels: Vec<_> = labels.into_iter().map(|(_, label)| label).collect();
        for label in [
            "Show the window",
            "Shared folders",
            "No folder is shared",
            "Statistics",
            "Got back after a loss: 0",
            "Disconnect",
        ] {
            assert!(labels.iter().any(|own| own == label), "{labels:?}");
        }
        choose(scene, &bus, &item, "Show the window").await?;
        seat.page("Your desktop is open").await?;
        seat.press(scene, &["Escape"]).await?;
        seat.no_page().await?;

        // Panels are started anew.
        watcher.signal(rustix::process::Signal::TERM)?;
        watcher.wait(WAIT).await?;
        let _watcher = watch(scene, &bus).await?;
        let item = shown().await?;
        choose(scene, &bus, &item, "Disconnect").await?;
        seat.page("Connect").await?;
        agent.wait_for_state(SessionState::Suspended, WAIT).await?;
        until("no item", async || {
            Ok(items(scene, &bus).await?.is_empty().then_some(()))
        })
        .await?;
        seat.leave(scene).await?;
        stop(&agent).await?;
        Ok(())
    });
}
