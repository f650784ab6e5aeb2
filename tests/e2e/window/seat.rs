//! A user before the window: a display with a window manager, keys and mouse.

use std::path::PathBuf;
use std::time::Duration;

use qvd_rpc::{Call, SessionState};
use qvd_tests::display::{Display, Image, Options, Region, Window};
use qvd_tests::process::{Process, Program};
use qvd_tests::rig::{Agent, Desktop, Inventory, Server, User, Vm};
use qvd_tests::{Result, Scene};

/// For anything that is to happen.
pub(super) const WAIT: Duration = Duration::from_secs(60);

/// Where pictures of the pages go when somebody wants them.
const PICTURES: &str = "QVD_SCREENSHOTS";

/// A square of so many pixels counts as one when pictures are compared, so
/// that another machine's fonts are no difference.
const SQUARE: u16 = 24;

/// How much the mean of a square may differ, of 255.
const SQUARE_TOLERANCE: i32 = 28;

/// The part of all squares that may differ more.
const PART_TOLERANCE: f64 = 0.08;

/// A display, and the window on it.
pub(super) struct Seat {
    pub(super) display: Display,
    pub(super) client: Process,
}

/// The middle of a page's last button.
pub(super) fn last_button(page: &Window) -> (i32, i32) {
    (i32::from(page.width) - 64, i32::from(page.height) - 28)
}

impl Seat {
    /// Opens the window; `conf` is the user's `client.conf`.
    pub(super) async fn take(scene: &Scene, conf: &str, arguments: &[&str]) -> Result<Self> {
        let display = display(scene).await?;
        let program = program(scene, conf)?.args(arguments);
        let client = scene.start(display.dress(program))?;
        Ok(Self { display, client })
    }

    /// As [`Seat::take`], with this session bus.
    pub(super) async fn take_on(
        scene: &Scene,
        bus: &str,
        conf: &str,
        arguments: &[&str],
    ) -> Result<Self> {
        let display = display(scene).await?;
        let program = program(scene, conf)?.env("DBUS_SESSION_BUS_ADDRESS", bus);
        let client = scene.start(display.dress(program.args(arguments)))?;
        Ok(Self { display, client })
    }

    /// Waits for the page with this title, drawn.
    pub(super) async fn page(&self, title: &str) -> Result<Window> {
        let title = format!("QVD: {title}");
        let screen = self.display.screen();
        let is_page = |window: &Window| window.name == title && window.width > 100;
        let window = screen.wait_for_window(&title, WAIT, is_page).await?;
        screen.wait_until_drawn(&window, WAIT).await?;
        Ok(window)
    }

    /// Whether this page is to be seen.
    pub(super) fn is_there(&self, title: &str) -> Result<bool> {
        let title = format!("QVD: {title}");
        let windows = self.display.screen().windows()?;
        let is_page = |window: &Window| window.visible && window.name == title;
        Ok(windows.iter().any(is_page))
    }

    /// Waits until no page is to be seen.
    pub(super) async fn no_page(&self) -> Result<()> {
        let is_page = |window: &Window| window.name.starts_with("QVD: ");
        let screen = self.display.screen();
        screen.wait_for_no_window("QVD: …", WAIT, is_page).await
    }

    /// Types a text.
    pub(super) async fn types(&self, scene: &Scene, text: &str) -> Result<()> {
        self.xdotool(scene, &["type", "--delay", "20", "--", text])
            .await
    }

    /// Presses keys, one after the other.
    pub(super) async fn press(&self, scene: &Scene, keys: &[&str]) -> Result<()> {
        let mut line = vec!["key", "--delay", "40", "--"];
        line.extend(keys);
        self.xdotool(scene, &line).await
    }

    /// Clicks on a place of a page.
    pub(super) async fn click(&self, scene: &Scene, on: &Window, at: (i32, i32)) -> Result<()> {
        let (x, y) = ((on.x + at.0).to_string(), (on.y + at.1).to_string());
        self.xdotool(scene, &["mousemove", &x, &y, "click", "1"])
            .await
    }

    /// Uses keyboard, mouse and windows otherwise.
    pub(super) async fn xdotool(&self, scene: &Scene, line: &[&str]) -> Result<()> {
        let program = scene.installed("xdotool", "xdotool")?.args(line);
        let mut running = scene.start(self.display.dress(program))?;
        let status = running.wait(WAIT).await?;
        assert!(
            status.success(),
            "xdotool {line:?}: {}",
            running.log().text()
        );
        Ok(())
    }

    /// Ends the window as a user closes it.
    pub(super) async fn leave(mut self, scene: &Scene) -> Result<()> {
        self.press(scene, &["ctrl+q"]).await?;
        let status = self.client.wait(WAIT).await?;
        assert_eq!(status.code(), Some(0), "{}", self.client.log().text());
        Ok(())
    }

    /// Leaves the session by its page, then the window; the session is stopped.
    pub(super) async fn disconnect(self, scene: &Scene, agent: &Agent) -> Result<()> {
        self.press(scene, &["shift+Tab", "Return"]).await?;
        self.page("Connect").await?;
        agent.wait_for_state(SessionState::Suspended, WAIT).await?;
        self.leave(scene).await?;
        stop(agent).await
    }

    /// Waits until the page is as the stored picture of that name shows it, as
    /// far as another machine's fonts let it be.
    pub(super) async fn looks_like(&self, scene: &Scene, on: &Window, name: &str) -> Result<()> {
        // The pointer's shape and a field's blinking bar are small beside it.
        let file = format!("{name}.png");
        let stored = stored(&file);
        let expected = Image::load(&stored);
        let screen = self.display.screen();
        let waited = match &expected {
            Ok(expected) => {
                let what = format!("a page that looks like {}", stored.display());
                let near = |screen: &qvd_tests::display::Screen| {
                    Ok(is_near(&screen.screenshot_of(on)?, expected))
                };
                screen.wait_for_pixels(&what, WAIT, near).await
            }
            Err(_) => screen.wait_until_drawn(on, WAIT).await,
        };
        let seen = screen.screenshot_of(on)?;
        seen.save(&scene.artefact(&file))?;
        if let Some(folder) = std::env::var_os(PICTURES) {
            // Whoever wants new pictures looks at them himself.
            return seen.save(&PathBuf::from(folder).join(&file));
        }
        waited?;
        expected.map(|_| ())
    }
}

/// Whether two pictures show the same, whatever their fonts.
fn is_near(seen: &Image, expected: &Image) -> bool {
    if (seen.width(), seen.height()) != (expected.width(), expected.height()) {
        return false;
    }
    let (mut all, mut odd) = (0_u32, 0_u32);
    for y in (0..seen.height()).step_by(SQUARE.into()) {
        for x in (0..seen.width()).step_by(SQUARE.into()) {
            let square = Region {
                x,
                y,
                width: SQUARE,
                height: SQUARE,
            };
            let (a, b) = (seen.crop(square).mean(), expected.crop(square).mean());
            let differs = a
                .iter()
                .zip(b)
                .any(|(a, b)| (i32::from(*a) - i32::from(b)).abs() > SQUARE_TOLERANCE);
            all += 1;
            odd += u32::from(differs);
        }
    }
    f64::from(odd) <= f64::from(all) * PART_TOLERANCE
}

/// Where the stored picture is.
fn stored(file: &str) -> PathBuf {
    let own = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    own.join("../docs/window").join(file)
}

/// A display with a window manager.
pub(super) async fn display(scene: &Scene) -> Result<Display> {
    let options = Options {
        window_manager: true,
        ..Options::default()
    };
    Display::start(scene, options).await
}

/// The window's program, with the user's configuration where it belongs.
pub(super) fn program(scene: &Scene, conf: &str) -> Result<Program> {
    let folder = scene.home().join(".qvd");
    let io = |source| qvd_tests::Error::Io {
        what: "writing client.conf".into(),
        source,
    };
    std::fs::create_dir_all(&folder).map_err(io)?;
    std::fs::write(folder.join("client.conf"), conf).map_err(io)?;
    Ok(scene
        .built("qvd-client")?
        // The library of the toolkit asks no service of this machine.
        .env("DBUS_SESSION_BUS_ADDRESS", "disabled:")
        .env("LANG", "C.UTF-8")
        .env("LC_ALL", "C.UTF-8"))
}

/// The configuration of the user as the tests left it.
pub(super) fn configuration(scene: &Scene) -> String {
    // What is not there has nothing in it.
    std::fs::read_to_string(scene.home().join(".qvd/client.conf")).unwrap_or_default()
}

/// A broker without a VM, and a user of it.
pub(super) async fn broker(scene: &Scene, tls: bool) -> Result<(Server, User)> {
    let user = User::new("ann", "apples and pears");
    let inventory = Inventory {
        users: vec![user.clone()],
        vms: Vec::new(),
    };
    let server = Server::start(scene, &inventory, tls, &[]).await?;
    Ok((server, user))
}

/// A VM and a broker, and a user who has it under two names.
pub(super) async fn stage(scene: &Scene) -> Result<(Agent, Server, User)> {
    let agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
    let user = User::new("ann", "apples and pears");
    let inventory = Inventory {
        users: vec![user.clone()],
        vms: vec![
            Vm::of(&agent, 1, "ann-desktop", &["ann"]),
            Vm::of(&agent, 2, "laboratory", &["ann"]),
        ],
    };
    let server = Server::start(scene, &inventory, true, &[]).await?;
    Ok((agent, server, user))
}

/// Stops the VM's session.
pub(super) async fn stop(agent: &Agent) -> Result<()> {
    agent.call(Call::XStop).await?;
    agent.wait_for_state(SessionState::Stopped, WAIT).await
}

/// Types the password on the login page.
pub(super) async fn log_in(scene: &Scene, seat: &Seat, password: &str) -> Result<()> {
    seat.page("Connect").await?;
    seat.types(scene, password).await?;
    seat.press(scene, &["Return"]).await
}

/// Lines that name the broker and the user.
pub(super) fn login(server: &Server, user: &User) -> String {
    let mut lines = format!(
        "# mine\nclient.host.name = localhost\nclient.host.port = {}\nclient.user.name = {}\n\
         client.use_ssl = {}\nclient.reconnect.timeout = 60\n",
        server.address().port(),
        user.login,
        u8::from(server.uses_tls()),
    );
    if server.uses_tls() {
        let certificate = server.certificate().display().to_string();
        lines.push_str(&format!("path.ssl.ca.system.file = {certificate}\n"));
    }
    lines
}
