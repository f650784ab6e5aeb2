//! Shared folders over the slave channel of a real session.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use qvd_rpc::SessionState;
use qvd_tests::fault::{Endpoint, FaultProxy};
use qvd_tests::process::Process;
use qvd_tests::rig::Desktop;
use qvd_tests::{Error, Result, Scene, nx, play, ports};

use super::{Client, Seat, WAIT};

const KEY: &str = "K0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZa";
const OTHER_KEY: &str = "L0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZa";

async fn until(what: &str, done: impl Fn() -> bool) -> Result<()> {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WAIT, wait)
        .await
        .map_err(|_| Error::Invalid(format!("in vain: {what}")))
}

/// Connects a client that has the slave channel on this port, and writes the
/// port and the key down as a client does.
async fn connect(scene: &Scene, seat: &Seat, key: &str, round: u32) -> Result<(Client, PathBuf)> {
    let lease = ports::port()?;
    let properties = [("qvd.slave.key", key)];
    seat.agent.start_session(&properties).await?;
    seat.becomes(SessionState::Listening).await?;
    let front = scene.path(format!("slave-way-{round}.sock"));
    let way = FaultProxy::start(
        &Endpoint::unix(&front),
        &Endpoint::local(seat.agent.x_port()),
    )?;
    let option = format!("slave={}", lease.number());
    let proxy = nx::start_proxy_with(scene, &seat.display, &front, &[&option])?;
    seat.becomes(SessionState::Connected).await?;
    let folder = scene.path(format!("client-{round}"));
    fs::create_dir_all(&folder).map_err(|e| Error::Invalid(e.to_string()))?;
    let write = |name: &str, text: &str| {
        fs::write(folder.join(name), text).map_err(|e| Error::Invalid(e.to_string()))
    };
    write("slave-port", &lease.number().to_string())?;
    write("slave-key", key)?;
    let client = Client { proxy, _way: way };
    Ok((client, folder))
}

fn share(scene: &Scene, client: &Path, folder: &Path) -> Result<Process> {
    let program = scene.built("qvd-slaveclient")?;
    let program = program
        .args(["--folder".as_ref(), client.as_os_str(), "share".as_ref()])
        .arg(folder)
        .args(["--name", "docs"]);
    scene.start(program)
}

fn is_mounted(place: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let place = place.display().to_string();
    mounts
        .lines()
        .any(|line| line.split(' ').nth(1) == Some(&place))
}

#[test]
fn a_folder_of_the_client_is_in_the_session_until_the_client_goes() {
    play("agent_shares", async |scene| {
        let shares = scene.path("Redirected");
        let shown = shares.display().to_string();
        let keys = [("vma.user.shares.path", shown.as_str())];
        let seat = Seat::take(scene, &Desktop::Small, &keys).await?;
        let docs = scene.path("documents");
        fs::create_dir(&docs)?;
        fs::write(docs.join("letter.txt"), "dear reader")?;

        let (client, place) = connect(scene, &seat, KEY, 1).await?;
        let mut shared = share(scene, &place, &docs)?;
        let inside = shares.join("docs");
        until("the share", || inside.join("letter.txt").exists()).await?;
        assert_eq!(
            fs::read_to_string(inside.join("letter.txt"))?,
            "dear reader"
        );
        fs::write(inside.join("answer.txt"), "dear writer")?;
        assert_eq!(fs::read_to_string(docs.join("answer.txt"))?, "dear writer");

        // The client goes: nothing is left of the mount.
        super::kill(client.proxy.pid())?;
        seat.becomes(SessionState::Suspended).await?;
        until("the end of the mount", || {
            !is_mounted(&inside) && !inside.exists()
        })
        .await?;
        shared.wait(WAIT).await?;

        // The next one has a key of its own, and the old one is worth nothing.
        let (_client, place) = connect(scene, &seat, OTHER_KEY, 2).await?;
        fs::write(place.join("slave-key"), KEY)?;
        let mut refused = share(scene, &place, &docs)?;
        assert_eq!(refused.wait(WAIT).await?.code(), Some(4));
        fs::write(place.join("slave-key"), OTHER_KEY)?;
        let _shared = share(scene, &place, &docs)?;
        until("the share", || inside.join("answer.txt").exists()).await?;

        seat.leave().await?;
        until("the end of the mount", || {
            !is_mounted(&inside) && !inside.exists()
        })
        .await?;
        Ok(())
    });
}
