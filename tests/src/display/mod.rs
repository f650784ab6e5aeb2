//! X displays on demand: an Xvfb of its own for each test, with a window
//! manager if wanted, and eyes to see what is on it.

mod cookie;
mod image;
mod screen;
mod stream;
mod tree;
mod window;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::cookie::Cookie;
pub use self::image::{Image, Region};
pub use self::screen::Screen;
pub use self::window::Window;
use crate::ports::{self, Lease};
use crate::process::{Process, Program};
use crate::{Error, Result, Scene};

/// How long Xvfb or the window manager may take to start.
const START: Duration = Duration::from_secs(20);

/// What openbox says once it manages windows.
const MANAGED: &str = "windows-are-managed";

/// What a display is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// Whether openbox manages the windows. nxagent honours a geometry only
    /// where there is a window manager.
    pub window_manager: bool,
    /// Whether programs of this user may draw without the cookie, as Debian's
    /// X sessions allow it. Stock nxproxy does not present the display's cookie
    /// when it has no `cookie` option.
    pub local_user: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            width: 1024,
            height: 768,
            window_manager: false,
            local_user: true,
        }
    }
}

/// A running X display. Dropping it ends the server and the window manager.
#[derive(Debug)]
pub struct Display {
    screen: Screen,
    _window_manager: Option<Process>,
    server: Process,
    cookie: Cookie,
    authority: PathBuf,
    number: Lease,
}

impl Display {
    /// Starts a display and waits until it can be used.
    ///
    /// # Errors
    ///
    /// When Xvfb or openbox is missing or does not start.
    pub async fn start(scene: &Scene, options: Options) -> Result<Self> {
        let number = ports::display()?;
        let name = format!(":{}", number.number());
        let cookie = Cookie::random()?;
        let authority = scene.path(format!("authority-{}", number.number()));
        cookie.write_authority(&authority, number.number())?;

        let size = format!("{}x{}x24", options.width, options.height);
        let server = scene
            .installed("Xvfb", "xvfb")?
            .named(format!("Xvfb{}", number.number()))
            // It writes the number on its standard output once it serves.
            .args([
                &name,
                "-displayfd",
                "1",
                "-screen",
                "0",
                &size,
                "-nolisten",
                "tcp",
            ])
            .args(["-noreset", "-auth"])
            .arg(&authority);
        let server = scene.start(server)?;
        let ready = number.number().to_string();
        server
            .log()
            .wait_for(0, "its display number", START, |line| line.text == ready)
            .await?;

        let mut screen = Screen::open(number.number(), Some(&cookie))?;
        screen.keep_failure_picture(scene.artefact(format!("failure-{}.png", number.number())));
        if options.local_user {
            screen.admit_local_user()?;
        }
        let mut display = Self {
            screen,
            _window_manager: None,
            server,
            cookie,
            authority,
            number,
        };
        if options.window_manager {
            // openbox names itself on the root window long before it reads
            // events, and a window shown between the two can stay unmanaged for
            // ever. What it is told to start runs when it is really up.
            let started = format!("echo {MANAGED}");
            let program = scene.installed("openbox", "openbox")?;
            let program = display.dress(program.args(["--sm-disable", "--startup", &started]));
            let window_manager = scene.start(program)?;
            window_manager.expect(MANAGED, START).await?;
            display._window_manager = Some(window_manager);
            display.screen.wait_for_window_manager(START).await?;
        }
        Ok(display)
    }

    /// The value for `DISPLAY`.
    pub fn name(&self) -> String {
        format!(":{}", self.number.number())
    }

    /// The display's number.
    pub fn number(&self) -> u16 {
        self.number.number()
    }

    /// The value for `XAUTHORITY`.
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// The display's secret.
    pub fn cookie(&self) -> &Cookie {
        &self.cookie
    }

    /// The view of its windows and pixels.
    pub fn screen(&self) -> &Screen {
        &self.screen
    }

    /// The X server's process.
    pub fn server(&self) -> &Process {
        &self.server
    }

    /// Gives a program the variables to draw here.
    pub fn dress(&self, program: Program) -> Program {
        program
            .env("DISPLAY", self.name())
            .env("XAUTHORITY", &self.authority)
    }

    /// Writes a picture of the whole display into the test's artefacts.
    ///
    /// # Errors
    ///
    /// When it cannot be taken or written.
    pub fn save_screenshot(&self, scene: &Scene, name: &str) -> Result<Image> {
        let image = self.screen.screenshot()?;
        image.save(&scene.artefact(name))?;
        Ok(image)
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        // Xvfb is killed, which leaves its socket behind.
        let _gone = std::fs::remove_file(ports::display_socket(self.number()));
    }
}

/// Where X servers put their sockets: it must be there before nxagent starts,
/// and only root may make it in the way the servers want it.
///
/// # Errors
///
/// When it is not there and cannot be made.
pub fn ensure_socket_directory() -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    let path = Path::new("/tmp/.X11-unix");
    if path.is_dir() {
        return Ok(());
    }
    let made = std::fs::DirBuilder::new()
        .mode(0o1777)
        .create(path)
        .and_then(|()| {
            // The process's umask took away what others need.
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o1777))
        });
    match made {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(Error::Io {
            what: "creating /tmp/.X11-unix".into(),
            source: error,
        }),
        _ => Ok(()),
    }
}
