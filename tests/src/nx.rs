//! nxagent and nxproxy, run without the programs of this workspace: what the
//! tests of the harness need, and a plain reference for measurements.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::display::{Cookie, Display, Screen, ensure_socket_directory};
use crate::ports::{self, Lease};
use crate::process::{Line, Process, Program};
use crate::record::Recorder;
use crate::{Result, Scene};

/// How long nxagent may take to listen.
const START: Duration = Duration::from_secs(20);

/// A running nxagent, the X server of a session, which waits for its client on
/// a Unix socket.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    cookie: Cookie,
    authority: PathBuf,
    socket: PathBuf,
    number: Lease,
}

impl Agent {
    /// Starts nxagent with these options beside the ones that it needs, each as
    /// `key=value`, and waits until it listens for the client.
    ///
    /// # Errors
    ///
    /// When it is missing or does not start.
    pub async fn start(scene: &Scene, options: &[&str]) -> Result<Self> {
        Self::start_as(scene, options, None).await
    }

    /// As [`Agent::start`], with a command for each slave channel of the
    /// client's.
    ///
    /// # Errors
    ///
    /// As of [`Agent::start`].
    pub async fn start_serving(scene: &Scene, options: &[&str], slave: &str) -> Result<Self> {
        Self::start_as(scene, options, Some(slave)).await
    }

    async fn start_as(scene: &Scene, options: &[&str], slave: Option<&str>) -> Result<Self> {
        ensure_socket_directory()?;
        let number = ports::display()?;
        let name = format!(":{}", number.number());
        let cookie = Cookie::random()?;
        let authority = scene.path(format!("authority-{}", number.number()));
        cookie.write_authority(&authority, number.number())?;
        let socket = scene.path(format!("nx-{}.sock", number.number()));
        let file = write_options(scene, options, &socket, number.number())?;

        let mut program = scene.installed("nxagent", "nxagent")?;
        if let Some(slave) = slave {
            program = program.env("NX_SLAVE_CMD", slave);
        }
        let program = program
            .arg(&name)
            .arg("-auth")
            .arg(&authority)
            .args(["-nolisten", "tcp", "-name", "QVD", "-display"])
            .arg(format!("nx/nx,options={}{name}", file.display()));
        let process = scene.start(program)?;
        let agent = Self {
            process,
            cookie,
            authority,
            socket,
            number,
        };
        agent
            .process
            .expect("Waiting for connection", START)
            .await?;
        Ok(agent)
    }

    /// The program.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The program, to wait for its end.
    pub fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The Unix socket on which it listens for a client.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its display's number.
    pub fn number(&self) -> u16 {
        self.number.number()
    }

    /// Changes the options, which it reads again when it is resumed.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub fn set_options(&self, scene: &Scene, options: &[&str]) -> Result<()> {
        write_options(scene, options, &self.socket, self.number()).map(drop)
    }

    /// What it admits clients of the session by.
    pub fn cookie(&self) -> &Cookie {
        &self.cookie
    }

    /// Gives a program the variables to draw in the session.
    pub fn dress(&self, program: Program) -> Program {
        program
            .env("DISPLAY", format!(":{}", self.number()))
            .env("XAUTHORITY", &self.authority)
    }

    /// The view of the session's own windows and pixels.
    ///
    /// # Errors
    ///
    /// When it does not answer, as while it is suspended.
    pub fn screen(&self) -> Result<Screen> {
        Screen::open(self.number(), Some(&self.cookie))
    }

    /// Waits for `Session: <words>` written at or after `position`.
    ///
    /// # Errors
    ///
    /// As [`crate::process::Log::wait_for`].
    pub async fn expect_session(
        &self,
        position: usize,
        words: &str,
        within: Duration,
    ) -> Result<Line> {
        let text = format!("Session: {words}");
        self.process.expect_after(position, &text, within).await
    }

    /// Sends the signal which suspends a started session, or wakes a suspended
    /// one.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn hang_up(&self) -> Result<()> {
        self.process.signal(Signal::HUP)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It is killed, which leaves these behind.
        let _gone = std::fs::remove_file(ports::display_socket(self.number()));
        let _gone = std::fs::remove_file(ports::display_lock(self.number()));
    }
}

fn write_options(scene: &Scene, options: &[&str], socket: &Path, number: u16) -> Result<PathBuf> {
    let options: String = options.iter().map(|option| format!(",{option}")).collect();
    let options = format!("nx/nx,listen=unix:{}{options}:{number}\n", socket.display());
    scene.write(format!("options-{number}"), options)
}

/// Starts nxproxy, the client's end of a session, connecting to a Unix socket
/// and drawing on `display`.
///
/// # Errors
///
/// When it is missing.
pub fn start_proxy(scene: &Scene, display: &Display, socket: &Path) -> Result<Process> {
    start_proxy_with(scene, display, socket, &[])
}

/// As [`start_proxy`], with these options, each as `key=value`.
///
/// # Errors
///
/// When it is missing.
pub fn start_proxy_with(
    scene: &Scene,
    display: &Display,
    socket: &Path,
    options: &[&str],
) -> Result<Process> {
    let options: String = options.iter().map(|option| format!(",{option}")).collect();
    // The number only names the directory of the session's files: two in one
    // home need two numbers.
    let session = format!(
        "nx/nx,connect=unix:{}{options}:{}",
        socket.display(),
        display.number()
    );
    let program = scene
        .installed("nxproxy", "nxproxy")?
        .args(["-S", &session]);
    scene.start(display.dress(program))
}

/// A session of which everything is recorded: NX between the two ends, and X11
/// between nxproxy and the X server.
#[derive(Debug)]
pub struct Recorded {
    /// The session's end of programs.
    pub agent: Agent,
    /// The end on the display.
    pub proxy: Process,
    _relays: [Recorder; 2],
    _number: Lease,
}

/// Starts a session on `display` with these options of nxagent, and records it
/// into `folder`.
///
/// # Errors
///
/// When a program is missing or does not start.
pub async fn record(
    scene: &Scene,
    display: &Display,
    options: &[&str],
    folder: &Path,
) -> Result<Recorded> {
    let began = Instant::now();
    let agent = Agent::start(scene, options).await?;
    let socket = agent.socket();
    let (proxy, relays, own) = start_recorded(scene, display, socket, folder, began)?;
    agent.expect_session(0, "Session started", START).await?;
    Ok(Recorded {
        agent,
        proxy,
        _relays: relays,
        _number: own,
    })
}

/// Starts nxproxy on `display`, connecting to `socket`, with a recorder on
/// either side of it.
fn start_recorded(
    scene: &Scene,
    display: &Display,
    socket: &Path,
    folder: &Path,
    began: Instant,
) -> Result<(Process, [Recorder; 2], Lease)> {
    // nxproxy draws on a display which is the recorder.
    let number = ports::display()?;
    let front = scene.path(format!("record-{}.sock", number.number()));
    let nx = Recorder::start(&front, socket, folder, "nx", began)?;
    let server = ports::display_socket(display.number());
    let shown = ports::display_socket(number.number());
    let x11 = Recorder::start(&shown, &server, folder, "x11", began)?;
    let authority = scene.path(format!("record-{}.authority", number.number()));
    display
        .cookie()
        .write_authority(&authority, number.number())?;
    let session = format!("nx/nx,connect=unix:{}:{}", front.display(), number.number());
    let program = scene
        .installed("nxproxy", "nxproxy")?
        .args(["-S", &session])
        .env("DISPLAY", format!(":{}", number.number()))
        .env("XAUTHORITY", &authority);
    Ok((scene.start(program)?, [nx, x11], number))
}

/// nxproxy in nxagent's place: X clients of its display say what nxagent never
/// would.
#[derive(Debug)]
pub struct Front {
    /// The program.
    pub process: Process,
    socket: PathBuf,
    number: Lease,
}

impl Front {
    /// Starts it with these options, each as `key=value`, and waits until it
    /// listens for the other end.
    ///
    /// # Errors
    ///
    /// When it is missing or does not start.
    pub async fn start(scene: &Scene, options: &str) -> Result<Self> {
        let number = ports::display()?;
        // Of a program that was killed; the number is lent to nobody else.
        let _gone = std::fs::remove_file(ports::display_socket(number.number()));
        let socket = scene.path(format!("front-{}.sock", number.number()));
        let options = format!(
            "nx/nx,{options},listen=unix:{}:{}",
            socket.display(),
            number.number()
        );
        let program = scene
            .installed("nxproxy", "nxproxy")?
            .env("NX_CLIENT", "/bin/true")
            .args(["-C", &options]);
        let process = scene.start(program)?;
        process.expect("Waiting for connection", START).await?;
        Ok(Self {
            process,
            socket,
            number,
        })
    }

    /// The Unix socket on which it listens for the other end.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its display's number.
    pub fn number(&self) -> u16 {
        self.number.number()
    }

    /// Starts nxproxy on `display` as its other end, and records both
    /// connections of that one into `folder` as long as they are held.
    ///
    /// # Errors
    ///
    /// When it is missing or does not start.
    pub async fn record(
        &self,
        scene: &Scene,
        display: &Display,
        folder: &Path,
    ) -> Result<(Process, [Recorder; 2], Lease)> {
        let began = Instant::now();
        let recorded = start_recorded(scene, display, &self.socket, folder, began)?;
        for process in [&self.process, &recorded.0] {
            process.expect("Session: Session started", START).await?;
        }
        Ok(recorded)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // nxproxy leaves it.
        let _gone = std::fs::remove_file(ports::display_socket(self.number()));
    }
}
