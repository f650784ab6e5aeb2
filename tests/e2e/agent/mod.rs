//! The agent with a stock nxproxy as its client.

mod calls;
pub mod channels;
mod cycles;
mod deaths;
mod environment;
mod examples;
mod failures;
mod flood;
pub(crate) mod hooks;
mod hooks_fail;
mod keyboard;
mod life;
mod logging;
mod nxagent_faults;
mod programs;
mod provisioning;
mod reload;
pub mod security;
mod shares;
pub(crate) mod soak;
mod strangers;
pub mod users;
mod vm;
mod vnc;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use qvd_rpc::{Call, Reply, SessionState, Waited};
use qvd_tests::display::{Display, Options, Screen, Window};
use qvd_tests::fault::{Endpoint, FaultProxy};
use qvd_tests::process::Process;
use qvd_tests::rig::{Agent, Desktop};
use qvd_tests::{Error, Result, Scene, nx};

/// For anything that is to happen.
const WAIT: Duration = Duration::from_secs(40);

/// What nxagent needs after it has said that it is connected: it asks for its
/// window's attributes, and one that loses its client before the answer spins
/// for ever (seen).
const SETTLE: Duration = Duration::from_millis(100);

/// An agent and a user's display.
struct Seat {
    display: Display,
    agent: Agent,
}

/// nxproxy with its way to the agent's NX port.
struct Client {
    proxy: Process,
    _way: FaultProxy,
}

impl Seat {
    async fn take(scene: &Scene, desktop: &Desktop, keys: &[(&str, &str)]) -> Result<Self> {
        let agent = Agent::start(scene, "vm", desktop, keys).await?;
        Ok(Self {
            display: user_display(scene).await?,
            agent,
        })
    }

    /// Starts or resumes the session and connects a client to it.
    async fn connect(&self, scene: &Scene, properties: &[(&str, &str)]) -> Result<Client> {
        connect(scene, &self.agent, &self.display, properties).await
    }

    async fn becomes(&self, state: SessionState) -> Result<()> {
        self.agent.wait_for_state(state, WAIT).await
    }

    /// Waits until the session's window is there and drawn.
    async fn drawn(&self) -> Result<Window> {
        let screen = self.display.screen();
        let window = screen.wait_for_window("QVD", WAIT, is_session).await?;
        screen.wait_until_drawn(&window, WAIT).await?;
        Ok(window)
    }

    /// Waits until what the user sees changes once more: the clock's hand.
    async fn ticks(&self) -> Result<()> {
        let screen = self.display.screen();
        let before = screen.screenshot()?;
        let changed = |screen: &Screen| Ok(screen.screenshot()?.changed_fraction(&before) > 0.0);
        screen
            .wait_for_pixels("a tick of the clock", WAIT, changed)
            .await
    }

    /// Stops the session and looks for what it left.
    async fn leave(&self) -> Result<()> {
        let session = session(&self.agent)?;
        self.agent.call(Call::XStop).await?;
        self.becomes(SessionState::Stopped).await?;
        // Hooks that nobody waits for begin and end a moment later.
        let gone = async {
            while nothing_left(&self.agent, &session).is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(WAIT, gone).await {
            Ok(()) => Ok(()),
            Err(_) => nothing_left(&self.agent, &session),
        }
    }
}

async fn user_display(scene: &Scene) -> Result<Display> {
    let options = Options {
        window_manager: true,
        ..Options::default()
    };
    Display::start(scene, options).await
}

async fn connect(
    scene: &Scene,
    agent: &Agent,
    display: &Display,
    properties: &[(&str, &str)],
) -> Result<Client> {
    agent.start_session(properties).await?;
    agent.wait_for_state(SessionState::Listening, WAIT).await?;
    let client = attach(scene, agent, display)?;
    agent.wait_for_state(SessionState::Connected, WAIT).await?;
    tokio::time::sleep(SETTLE).await;
    Ok(client)
}

/// nxproxy on the NX port that is open now.
fn attach(scene: &Scene, agent: &Agent, display: &Display) -> Result<Client> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let front = scene.path(format!("way-{number}.sock"));
    let way = FaultProxy::start(&Endpoint::unix(&front), &Endpoint::local(agent.x_port()))?;
    Ok(Client {
        proxy: nx::start_proxy(scene, display, &front)?,
        _way: way,
    })
}

fn is_session(window: &Window) -> bool {
    window.name == "QVD" && window.width > 100
}

/// The state, and why the last start failed.
async fn waited(agent: &Agent) -> Result<Waited> {
    match agent
        .call(Call::XWait {
            seen: None,
            timeout: Duration::ZERO,
        })
        .await?
    {
        Reply::Waited(waited) => Ok(waited),
        other => Err(Error::Invalid(format!("unexpected answer {other:?}"))),
    }
}

/// The mark that all processes of the agent's session carry.
pub(crate) fn session(agent: &Agent) -> Result<String> {
    recorded(agent, "session")
}

/// What logs call the agent's session.
fn log_name(agent: &Agent) -> Result<String> {
    recorded(agent, "name")
}

fn recorded(agent: &Agent, field: &str) -> Result<String> {
    let record = record(agent);
    let text = fs::read_to_string(&record)
        .map_err(|e| Error::Invalid(format!("{}: {e}", record.display())))?;
    let value: serde_json::Value = serde_json::from_str(&text)
        .map_err(|e| Error::Invalid(format!("{}: {e}", record.display())))?;
    let name = value.get(field).and_then(serde_json::Value::as_str);
    name.map(str::to_owned)
        .ok_or_else(|| Error::Invalid(format!("no {field} in {text}")))
}

fn record(agent: &Agent) -> PathBuf {
    agent
        .run_directory()
        .join(format!("session-{}.json", agent.display()))
}

/// Processes of a session: number and command line.
fn processes(session: &str) -> Vec<(u32, String)> {
    let mark = format!("QVD_SESSION={session}");
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let environment = fs::read(entry.path().join("environ")).ok()?;
            if !environment
                .split(|b| *b == 0)
                .any(|variable| variable == mark.as_bytes())
            {
                return None;
            }
            let command = fs::read(entry.path().join("cmdline")).ok()?;
            Some((pid, String::from_utf8_lossy(&command).replace('\0', " ")))
        })
        .collect()
}

/// The process of a session whose command line has this text.
pub(crate) fn process_with(session: &str, text: &str) -> Result<u32> {
    let all = processes(session);
    let found = all.iter().find(|(_, command)| command.contains(text));
    found.map(|(pid, _)| *pid).ok_or_else(|| {
        Error::Invalid(format!(
            "no process of the session has '{text}' among {all:?}"
        ))
    })
}

/// What is in the agent's run folder beside the daemon's own socket.
fn files(agent: &Agent) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(agent.run_directory()).into_iter().flatten();
    let names = entries.flatten().map(|entry| entry.file_name());
    names
        .filter(|name| !name.to_string_lossy().starts_with("agent-"))
        .collect()
}

/// A stopped session leaves no process, no file, no X socket and no control
/// group.
fn nothing_left(agent: &Agent, session: &str) -> Result<()> {
    let left = processes(session);
    let files = files(agent);
    let display = agent.display();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = own.lines().find_map(|line| line.strip_prefix("0::"));
    let group = format!("{}/qvd-session-{session}", group.unwrap_or_default());
    let places = [
        format!("/tmp/.X11-unix/X{display}"),
        format!("/tmp/.X{display}-lock"),
        format!("/sys/fs/cgroup{group}"),
        format!("/sys/fs/cgroup/unified{group}"),
    ];
    let there = |place: &String| fs::exists(place).unwrap_or(true);
    let places: Vec<_> = places.into_iter().filter(there).collect();
    if left.is_empty() && files.is_empty() && places.is_empty() {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "left behind: {left:?}, {files:?}, {places:?}"
    )))
}

fn kill(pid: u32) -> Result<()> {
    use rustix::process::{Pid, Signal, kill_process};
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let killed = pid.map(|pid| kill_process(pid, Signal::KILL));
    match killed {
        Some(Ok(())) => Ok(()),
        _ => Err(Error::Invalid("the process to kill is not there".into())),
    }
}
