//! `cargo xtask image-test`: images booted, and sessions in them.

mod faults;
pub(crate) mod machine;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use qvd_rpc::{Call, Reply, SessionState};
use qvd_tests::Scene;
use qvd_tests::display::{Display, Options, Window};
use qvd_tests::process::Process;
use qvd_tests::rig::{Inventory, Login, Server, User, Vm};
use rustix::process::Signal;

use self::machine::{Homes, Machine};
use crate::image::{self, Kind};
use crate::workspace::{self, Metadata};
use crate::{install, run};

/// For anything in a machine that may be emulated.
const WAIT: Duration = Duration::from_secs(240);

/// Colours of the images' desktop once its panel, the last to come, is drawn.
const DESKTOP: usize = 21;

/// The user of the test, whom the agent makes in the machine.
const USER: &str = "ann";

/// What to test.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only this kind of image.
    kind: Option<Kind>,
    /// Boot, ping, one session, switch off: nothing more.
    #[arg(long)]
    short: bool,
    /// Test this image, made before with the test's own hooks, again.
    #[arg(long, value_name = "FILE", requires = "kind")]
    image: Option<PathBuf>,
}

/// Makes the images and tests them.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    install::run(false)?;
    install::machines()?;
    run::shown(
        run::cargo()
            .args(["build", "--release", "--locked", "--bins"])
            .args([
                "-p",
                "qvd-server",
                "-p",
                "qvd-client",
                "-p",
                "qvd-slaveclient",
            ]),
    )?;
    let target = Metadata::read()?.target_directory;
    let kinds = match arguments.kind {
        Some(kind) => vec![kind],
        None if arguments.short => vec![Kind::Kvm],
        None => vec![Kind::Kvm, Kind::Lxc],
    };
    for kind in kinds {
        let scene =
            Scene::new(&format!("image-{}", kind.name()))?.with_programs(target.join("release"));
        let image = match &arguments.image {
            Some(image) => image.clone(),
            None => make(kind, &scene, &target)?,
        };
        if !arguments.short && kind == Kind::Lxc {
            faults::test(&scene, &target)?;
            println!("  without network or room nothing is made and nothing left");
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let tested = test(kind, &scene, &image, arguments.short).await;
            let clean = scene.assert_nothing_left().await;
            tested.with_context(|| format!("the {} image", kind.name()))?;
            clean.map_err(anyhow::Error::from)
        })?;
        println!("the {} image is good", kind.name());
    }
    Ok(())
}

/// An image with the test's hooks.
fn make(kind: Kind, scene: &Scene, target: &Path) -> Result<PathBuf> {
    let config = scene.write(
        "vma.conf",
        "log.level = INFO\n\
         vma.on_action.connect = /etc/qvd/hooks/print-property\n\
         vma.on_state.connected = /etc/qvd/hooks/tell-share\n\
         vma.hook.timeout.connected = 300\n\
         vma.on_action.expire = /etc/qvd/hooks/expire-ask\n\
         vma.on_action.poweroff = /etc/qvd/hooks/report\n",
    )?;
    let out = target.join("images").join(format!("test-{}", kind.file()));
    let mut arguments = image::Arguments::plain(kind, out).with_config(config);
    let root = workspace::root();
    let (examples, own) = ("hooks-examples", "packaging/xtask/src/image_test/hooks");
    for (folder, hook) in [
        (examples, "print-property"),
        (examples, "expire-ask"),
        (own, "tell-share"),
        (own, "report"),
    ] {
        arguments = arguments.with_hook(root.join(folder).join(hook));
    }
    image::make(&arguments)
}

/// Says what was done, and how long it took.
pub(crate) struct Steps(Instant);

impl Steps {
    pub(crate) fn begin() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn done(&mut self, what: &str) {
        println!("  {what}: {:.1} s", self.0.elapsed().as_secs_f64());
        self.0 = Instant::now();
    }
}

async fn test(kind: Kind, scene: &Scene, image: &Path, short: bool) -> Result<()> {
    let mut steps = Steps::begin();
    let mut machine = match kind {
        Kind::Kvm => Machine::virtual_machine(scene, image, Homes::Empty)?,
        Kind::Lxc => Machine::container(scene, image)?,
        Kind::Oci => bail!("the oci image is the lxc image in another wrapping: test that one"),
    };
    machine.booted().await?;
    steps.done("booted, the agent answers");

    let (user, server) = broker(scene, &machine).await?;
    let docs = scene.path("docs");
    std::fs::create_dir(&docs)?;
    std::fs::write(docs.join("note"), scene.mark())?;
    let login = Login::at(&server, &user)
        .with("client.slave.enable", "1")
        .with("client.file_sharing.enable", "1")
        .with("client.share.1.path", &docs.display().to_string())
        .with("client.share.1.name", "docs");
    let display = display(scene).await?;

    let client = connect(scene, &login, &machine, &display, DESKTOP).await?;
    steps.done("connected, the desktop is drawn");
    if !short {
        let told = format!("qvd-test: share: {}", scene.mark());
        let line = machine.process.expect("qvd-test: ", WAIT).await?;
        ensure!(line.text.contains(&told), "of the share: {}", line.text);
        steps.done("a shared folder is read");
        let line = machine.process.expect("qvd-test: home: ", WAIT).await?;
        ensure!(line.text.contains("home: new"), "{}", line.text);
        suspend(client, &machine).await?;
        steps.done("suspended");
        let client = connect(scene, &login, &machine, &display, DESKTOP).await?;
        steps.done("resumed");
        expire(scene, &machine, &display).await?;
        steps.done("expired, the user is asked");
        suspend(client, &machine).await?;
        steps.done("suspended");
    } else {
        suspend(client, &machine).await?;
        steps.done("suspended");
    }

    off(&mut machine).await?;
    steps.done("switched off");
    judge(kind, &machine, Homes::Empty)?;
    drop(machine);
    if kind == Kind::Kvm && !short {
        for (homes, says) in [(Homes::Kept, "kept"), (Homes::Missing, "new")] {
            again(scene, image, homes, says, &display).await?;
            steps.done(&format!(
                "booted with the homes' drive {homes:?}, connected, off"
            ));
        }
    }
    Ok(())
}

/// Another boot, to see what a user finds in his home.
async fn again(
    scene: &Scene,
    image: &Path,
    homes: Homes,
    says: &str,
    display: &Display,
) -> Result<()> {
    let mut machine = Machine::virtual_machine(scene, image, homes)?;
    machine.booted().await?;
    let (user, server) = broker(scene, &machine).await?;
    let login = Login::at(&server, &user)
        .with("client.slave.enable", "1")
        .with("client.file_sharing.enable", "1")
        .with(
            "client.share.1.path",
            &scene.path("docs").display().to_string(),
        )
        .with("client.share.1.name", "docs");
    let client = connect(scene, &login, &machine, display, DESKTOP).await?;
    let line = machine.process.expect("qvd-test: home: ", WAIT).await?;
    ensure!(
        line.text.contains(&format!("home: {says}")),
        "with the drive {homes:?}: {}",
        line.text
    );
    suspend(client, &machine).await?;
    off(&mut machine).await?;
    judge(Kind::Kvm, &machine, homes)
}

/// A broker with this machine and its user.
async fn broker(scene: &Scene, machine: &Machine) -> Result<(User, Server)> {
    let user = User::new(USER, scene.mark());
    let inventory = Inventory {
        users: vec![user.clone()],
        vms: vec![Vm {
            id: 1,
            name: "image".into(),
            users: vec![USER.into()],
            address: machine.address.clone(),
            rpc_port: machine.rpc_port,
            x_port: machine.x_port,
            more: "properties.\"custom.department\" = \"sales\"".into(),
            session_user: Some(USER.into()),
        }],
    };
    let server = Server::start(scene, &inventory, true, &[]).await?;
    Ok((user, server))
}

async fn display(scene: &Scene) -> Result<Display> {
    let options = Options {
        window_manager: true,
        ..Options::default()
    };
    Ok(Display::start(scene, options).await?)
}

/// Switches the machine off as the broker's administrator does.
async fn off(machine: &mut Machine) -> Result<()> {
    machine.call(Call::Poweroff).await?;
    machine
        .process
        .expect("qvd-test: end of report", WAIT)
        .await?;
    let status = machine.process.wait(WAIT).await?;
    ensure!(status.success(), "the machine ended with {status}");
    Ok(())
}

/// A client with a desktop, which is there when so many colours are to be seen.
pub(crate) async fn connect(
    scene: &Scene,
    login: &Login,
    machine: &Machine,
    display: &Display,
    colours: usize,
) -> Result<Process> {
    let mut client = login.start_client(scene, display, &["-g", "800x600"])?;
    let up = async {
        let screen = display.screen();
        let window = screen.wait_for_window("QVD", WAIT, is_session).await?;
        screen.wait_until_drawn(&window, WAIT).await?;
        machine.becomes(SessionState::Connected, WAIT).await?;
        let drawn = |screen: &qvd_tests::display::Screen| {
            Ok(screen.screenshot_of(&window)?.colours() >= colours)
        };
        screen.wait_for_pixels("the desktop", WAIT, drawn).await?;
        display.save_screenshot(scene, "desktop.png")?;
        anyhow::Ok(())
    };
    tokio::select! {
        up = up => up.with_context(|| client.log().tail())?,
        status = client.wait(WAIT) => {
            bail!("the client ended with {}{}", status?, client.log().tail());
        }
    }
    Ok(client)
}

fn is_session(window: &Window) -> bool {
    window.name == "QVD" && window.width > 100
}

/// The user closes the client, which suspends the session.
pub(crate) async fn suspend(mut client: Process, machine: &Machine) -> Result<()> {
    client.signal(Signal::INT)?;
    let status = client.wait(WAIT).await?;
    ensure!(
        status.success(),
        "the client ended with {status}{}",
        client.log().tail()
    );
    machine.becomes(SessionState::Suspended, WAIT).await
}

/// The image expires; the user sees the example's dialog and answers "Later".
async fn expire(scene: &Scene, machine: &Machine, display: &Display) -> Result<()> {
    let screen = display.screen();
    let before = screen.screenshot()?;
    let reply = machine.call(Call::Expire).await?;
    ensure!(
        !matches!(reply, Reply::Failure(_)),
        "expire is answered with {reply:?}"
    );
    // The dialog is some 100 pixels high over the whole desktop.
    screen
        .wait_for_pixels("the dialog", WAIT, |screen| {
            Ok(screen.screenshot()?.changed_fraction(&before) > 0.02)
        })
        .await?;
    display.save_screenshot(scene, "expired.png")?;
    let press = scene
        .installed("xdotool", "xdotool")?
        .args(["key", "Return"]);
    let mut press = scene.start(display.dress(press))?;
    press.wait(WAIT).await?;
    screen
        .wait_for_pixels("the dialog's end", WAIT, |screen| {
            Ok(screen.screenshot()?.changed_fraction(&before) < 0.02)
        })
        .await?;
    Ok(())
}

/// What the machine said of itself before it was off.
fn judge(kind: Kind, machine: &Machine, drive: Homes) -> Result<()> {
    let text = machine.process.log().text();
    let lines = |kind: &str| -> Vec<&str> {
        let mark = format!("qvd-test: {kind}: ");
        let lines = text.lines();
        lines
            .filter_map(|line| Some(line.split_once(&mark)?.1.trim_end()))
            .collect()
    };
    for line in lines("analyze") {
        println!("  {line}");
    }
    let hooks = lines("hooks");
    ensure!(
        hooks
            .iter()
            .any(|line| line.contains("custom.department is sales")),
        "the hook did not print the property: {hooks:#?}"
    );
    for log in ["log", "journal"] {
        let bad = lines(log);
        ensure!(bad.is_empty(), "the {log} has errors: {bad:#?}");
    }
    if kind == Kind::Kvm {
        let homes = lines("homes");
        let is_there = homes.iter().any(|line| line.starts_with("/dev/vdb"));
        ensure!(
            is_there == (drive != Homes::Missing),
            "with the drive {drive:?} the homes are on: {homes:?}"
        );
    }
    Ok(())
}
