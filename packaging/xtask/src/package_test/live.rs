//! Packages in a machine that runs, with a session in it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use qvd_rpc::SessionState;
use qvd_tests::Scene;
use qvd_tests::display::{Display, Options};
use qvd_tests::rig::{Inventory, Login, Server, User, Vm};

use super::DESKTOP;
use super::root::Root;
use crate::image_test::machine::Machine;
use crate::image_test::{Steps, connect, suspend};
use crate::run;

/// For anything to happen.
const WAIT: Duration = Duration::from_secs(120);

/// The user of the test, whom the agent makes.
const USER: &str = "ann";

/// A line that an administrator has added to the agent's configuration.
const OWN: &str = "# The administrator's own line.";

/// Boots the root, has a session in it, and puts packages in and out.
pub(super) fn test(scene: &Scene, root: &Root, later: &Path, steps: &mut Steps) -> Result<()> {
    root.run(&format!(
        "apt-get install -y --no-install-recommends {DESKTOP}"
    ))?;
    root.take(later, ".deb", "later")?;
    let config = root.path().join("etc/qvd/vma.conf");
    let text = std::fs::read_to_string(&config)?;
    std::fs::write(&config, format!("{text}{OWN}\n"))?;
    // Something is to be seen.
    let autostart = root.path().join("etc/xdg/openbox/autostart");
    std::fs::write(autostart, "xsetroot -solid '#204060'\nxclock -update 1 &\n")?;
    root.goes_live()?;
    steps.done("systemd and a small desktop");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // Without FUSE there are sessions, and no shared folders.
        let mut machine = Machine::root(scene, root.path(), false)?;
        machine.booted().await?;
        steps.done("booted");
        let tested = session(scene, &machine, root, steps).await;
        if tested.is_err() {
            run::shown(&mut machine.inside(&["journalctl", "--no-pager", "-n", "100"])?)?;
            run::shown(&mut machine.inside(&["sh", "-c", "cat /var/log/qvd/*"])?)?;
        }
        tested?;
        off(machine).await?;
        scene.assert_nothing_left().await?;
        Ok(())
    })
}

/// Switches the container off, as its own root would.
async fn off(mut machine: Machine) -> Result<()> {
    run::shown(&mut machine.inside(&["systemctl", "poweroff"])?)?;
    let status = machine.process.wait(WAIT).await?;
    ensure!(status.success(), "the container ended with {status}");
    Ok(())
}

async fn session(scene: &Scene, machine: &Machine, root: &Root, steps: &mut Steps) -> Result<()> {
    let user = User::new(USER, scene.mark());
    let inventory = Inventory {
        users: vec![user.clone()],
        vms: vec![Vm {
            id: 1,
            name: "packages".into(),
            users: vec![USER.into()],
            address: machine.address.clone(),
            rpc_port: machine.rpc_port,
            x_port: machine.x_port,
            more: String::new(),
            session_user: Some(USER.into()),
        }],
    };
    let server = Server::start(scene, &inventory, true, &[]).await?;
    let login = Login::at(&server, &user);
    let options = Options {
        window_manager: true,
        ..Options::default()
    };
    let display = Display::start(scene, options).await?;

    let mut client = connect(scene, &login, machine, &display, 2).await?;
    steps.done("connected");
    let before = Before::of(machine)?;
    install(machine, "/later/qvd-vma_*.deb")?;
    ensure!(client.is_running(), "the client ended");
    machine.becomes(SessionState::Connected, WAIT).await?;
    before.is_adopted(machine)?;
    let text = std::fs::read_to_string(root.path().join("etc/qvd/vma.conf"))?;
    ensure!(text.contains(OWN), "the configuration was replaced");
    steps.done("upgraded beneath the session");

    suspend(client, machine).await?;
    let before = Before::of(machine)?;
    // Back to the version before, which finds the record of a later one.
    install(machine, "/root/qvd-vma_*.deb")?;
    machine.becomes(SessionState::Suspended, WAIT).await?;
    before.is_adopted(machine)?;
    let client = connect(scene, &login, machine, &display, 2).await?;
    steps.done("downgraded beneath a suspended session, and resumed");

    run::shown(&mut machine.inside(&["dpkg", "--remove", "qvd-vma"])?)?;
    let left = run::captured(&mut machine.inside(&["pgrep", "-a", "nxagent|qvd-vma"])?)?;
    let left = String::from_utf8_lossy(&left.stdout).into_owned();
    ensure!(left.trim().is_empty(), "running after the removal: {left}");
    let mut client = client;
    let status = client.wait(WAIT).await?;
    println!("  the client of a removed agent: {status}");
    run::shown(&mut machine.inside(&["dpkg", "--purge", "qvd-vma"])?)?;
    steps.done("removed beneath a session, which ended");
    Ok(())
}

/// Installs a package in the container. What it needs is there.
fn install(machine: &Machine, package: &str) -> Result<()> {
    run::shown(&mut machine.inside(&["sh", "-c", &format!("dpkg --install {package}")])?)
}

/// The processes of a session before an upgrade.
struct Before {
    daemon: String,
    nxagent: String,
}

impl Before {
    fn of(machine: &Machine) -> Result<Self> {
        Ok(Self {
            daemon: pid(machine.inside(&["pgrep", "-x", "qvd-vma"])?)?,
            nxagent: pid(machine.inside(&["pgrep", "-x", "nxagent"])?)?,
        })
    }

    /// The agent is another one, the session the same.
    fn is_adopted(&self, machine: &Machine) -> Result<()> {
        let now = Self::of(machine)?;
        ensure!(now.daemon != self.daemon, "the agent is the same process");
        ensure!(now.nxagent == self.nxagent, "nxagent is another process");
        Ok(())
    }
}

fn pid(mut command: Command) -> Result<String> {
    let output = run::captured(&mut command)?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(!said.is_empty(), "no process of that name");
    Ok(said)
}
