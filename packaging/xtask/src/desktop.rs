//! `cargo xtask desktop`: a whole QVD on loopback for the current user, and
//! its desktop in a window.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use qvd_rpc::{Call, SessionState};
use qvd_tests::Scene;
use qvd_tests::display::{Display, Options, Window};
use qvd_tests::process::{Process, find_in_path};
use qvd_tests::rig::{Agent, Desktop, Inventory, Login, Server, User, Vm, user_name};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::workspace::Metadata;
use crate::{install, run};

/// The crates whose programs are shown.
const PROGRAMS: [&str; 6] = ["-p", "qvd-vma", "-p", "qvd-server", "-p", "qvd-client"];

/// How long the desktop may take to come up. A fuller desktop on a small
/// machine needs most of it.
const UP: Duration = Duration::from_secs(90);

/// How long a client or a session may take to end.
const DOWN: Duration = Duration::from_secs(30);

/// How long the pictures of a desktop must stay the same to be finished.
const SETTLED: Duration = Duration::from_millis(700);

/// Desktops that are used when they are installed, fullest first.
const FULLER: [(&str, &str); 3] = [
    ("startxfce4", "exec startxfce4"),
    ("mate-session", "exec mate-session"),
    ("startlxde", "exec startlxde"),
];

/// How to show the desktop.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Draw on a display without a screen, write a picture of it to this PNG
    /// file once the windows are up, and end.
    #[arg(long, value_name = "FILE")]
    screenshot: Option<PathBuf>,
    /// Size of the desktop's window in pixels.
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "1024x768")]
    geometry: String,
    /// The small desktop, also where a fuller one is installed.
    #[arg(long)]
    small: bool,
    /// What draws it: native or nxproxy.
    #[arg(long, value_name = "ENGINE", default_value = "native")]
    nx_engine: String,
}

/// Installs and builds what is needed, starts everything, and shows it.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    install::run(false)?;
    run::shown(
        run::cargo()
            .args(["build", "--release", "--locked", "--bins"])
            .args(PROGRAMS),
    )?;
    let programs = Metadata::read()?.target_directory.join("release");
    let scene = Scene::new("desktop")?.with_programs(programs);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let shown = show(&scene, arguments).await;
        scene.assert_nothing_left().await?;
        shown
    })
}

async fn show(scene: &Scene, arguments: &Arguments) -> Result<()> {
    let desktop = desktop(arguments.small);
    let agent = Agent::start(scene, "vm", &desktop, &[("log.level", "INFO")]).await?;
    println!("agent on {}, display :{}", agent.rpc(), agent.display());
    let name = user_name()?;
    let user = User::new(&name, scene.mark());
    let inventory = Inventory {
        users: vec![user.clone()],
        vms: vec![Vm::of(&agent, 1, "desktop", &[&name])],
    };
    let server = Server::start(scene, &inventory, true, &[("log.level", "INFO")]).await?;
    println!("broker on {} with TLS", server.address());
    let login = Login::at(&server, &user).with("client.nx.engine", &arguments.nx_engine);

    let shown = match (&arguments.screenshot, std::env::var("DISPLAY")) {
        (None, Ok(display)) if !display.is_empty() => {
            on_display(scene, &login, &display, arguments).await
        }
        (file, _) => {
            let fallback = Path::new("desktop.png");
            let file = file.as_deref().unwrap_or(fallback);
            on_a_display_of_its_own(scene, &login, file, arguments).await
        }
    };
    agent.call(Call::XStop).await?;
    agent.wait_for_state(SessionState::Stopped, DOWN).await?;
    shown
}

/// A fuller desktop where one is installed, and else a small one.
fn desktop(small: bool) -> Desktop {
    let fuller = FULLER
        .iter()
        .find(|(program, _)| !small && find_in_path(program).is_some());
    match fuller {
        Some((program, script)) if find_in_path("dbus-run-session").is_some() => {
            println!("desktop: {program}");
            Desktop::Script(format!("exec dbus-run-session -- sh -c '{script}'"))
        }
        _ => {
            println!("desktop: openbox with a terminal and a clock");
            Desktop::Small
        }
    }
}

/// On the user's display, until the client ends or Ctrl-C.
async fn on_display(
    scene: &Scene,
    login: &Login,
    display: &str,
    arguments: &Arguments,
) -> Result<()> {
    let mut program = login
        .client(scene)?
        .args(["-g", &arguments.geometry])
        .env("DISPLAY", display);
    for name in ["XAUTHORITY", "HOME"] {
        // The user's own cookie, also where it is in its usual place.
        if let Some(value) = std::env::var_os(name) {
            program = program.env(name, value);
        }
    }
    let mut client = scene.start(program)?;
    println!("client on display {display}; close the window or press Ctrl-C to end");
    let mut interrupt = signal(SignalKind::interrupt())?;
    let log = client.log().clone();
    let mut seen = 0;
    loop {
        tokio::select! {
            _ = interrupt.recv() => {
                client.signal(Signal::INT)?;
                return ended(&mut client).await;
            }
            line = log.wait_for(seen, "a line", Duration::from_secs(3600), |_| true) => {
                if let Ok(line) = line {
                    println!("client: {}", line.text);
                    seen += 1;
                }
            }
            status = client.wait(Duration::from_secs(86400)) => {
                let status = status?;
                if !status.success() {
                    bail!("the client ended with {status}{}", client.log().tail());
                }
                return Ok(());
            }
        }
    }
}

async fn on_a_display_of_its_own(
    scene: &Scene,
    login: &Login,
    file: &Path,
    arguments: &Arguments,
) -> Result<()> {
    let options = Options {
        width: 1280,
        height: 1024,
        window_manager: true,
        ..Options::default()
    };
    let display = Display::start(scene, options).await?;
    println!("client on display {}, which has no screen", display.name());
    let mut client = login.start_client(scene, &display, &["-g", &arguments.geometry])?;
    let up = async {
        let screen = display.screen();
        let window = screen
            .wait_for_window("the session's", UP, is_session)
            .await?;
        screen.wait_until_drawn(&window, UP).await?;
        settle(&display, &window).await
    };
    let up = tokio::select! {
        up = up => up,
        status = client.wait(UP) => {
            let status = status?;
            Err(anyhow::anyhow!("the client ended with {status}{}", client.log().tail()))
        }
    };
    up?;
    display
        .screen()
        .screenshot()?
        .save(file)
        .with_context(|| format!("picture {}", file.display()))?;
    println!("picture: {}", file.display());
    client.signal(Signal::INT)?;
    ended(&mut client).await
}

fn is_session(window: &Window) -> bool {
    window.name == "QVD" && window.width > 100
}

/// Waits until nothing new is drawn for a while: the desktop is complete.
async fn settle(display: &Display, window: &Window) -> Result<()> {
    let look = || display.screen().screenshot_of(window);
    let limit = tokio::time::Instant::now() + UP;
    let mut before = look()?;
    while tokio::time::Instant::now() < limit {
        tokio::time::sleep(SETTLED).await;
        let now = look()?;
        // The hand of a clock may move.
        if now.changed_fraction(&before) < 0.001 {
            return Ok(());
        }
        before = now;
    }
    Ok(())
}

/// The client was told to end: it suspends the session and says so.
async fn ended(client: &mut Process) -> Result<()> {
    let status = client.wait(DOWN).await?;
    if !status.success() {
        bail!("the client ended with {status}{}", client.log().tail());
    }
    Ok(())
}
