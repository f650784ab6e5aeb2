//! What a session carries, through all the programs that are between: the
//! agent's session process, the broker, TLS and the client, with the carrier
//! and without.
//!
//! Only nxagent and nxproxy are replaced, by ends that pass bulk: the real ones
//! would take all of the processor for what they say to each other.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use qvd_rpc::{Call, SessionState};
use qvd_tests::display::{Display, Options};
use qvd_tests::process::Process;
use qvd_tests::rig::{Agent, Desktop, Inventory, Login, Server, User, Vm, user_name};
use rustix::process::Signal;
use tokio::time::timeout;

use super::super::carry::{GREETING, end_program};
use super::super::figure::{Aim, Figure};
use super::super::load::{self, Way};
use super::super::{Bench, usage};
use super::GROUP;

/// Bytes of one measurement.
const BYTES: u64 = 400_000_000;

/// Bytes that pass before anything is measured.
const WARM_UP: u64 = 100_000_000;

/// For anything that is to happen.
const WAIT: Duration = Duration::from_secs(40);

/// A VM whose agent has this program in nxagent's place.
struct Place {
    agent: Agent,
    /// Where nxagent's end comes to be told what to do.
    listener: tokio::net::UnixListener,
}

/// A session between two ends of this program.
struct Carried {
    agent: Agent,
    client: Process,
    /// Process id of the broker.
    broker: u32,
    /// What nxagent's end is told, and what it answers.
    control: UnixStream,
    /// Whether it has the carrier.
    carrier: bool,
}

/// What passed in one way: megabytes a second, and processor seconds a gigabyte
/// of all three programs.
#[derive(Default)]
struct Passed {
    speed: Vec<f64>,
    cost: Vec<f64>,
}

/// Measures both ways, with and without, in another order each time.
pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let scene = &bench.scene;
    let display = Display::start(scene, Options::default()).await?;
    let plain = Place::set(bench, "bulk-plain", false).await?;
    let carried = Place::set(bench, "bulk-carried", true).await?;
    let user = User::new(&user_name()?, "bench");
    let inventory = Inventory {
        users: vec![user.clone()],
        vms: vec![
            Vm::of(&plain.agent, 1, "plain", &[&user.login]),
            Vm::of(&carried.agent, 2, "carried", &[&user.login]),
        ],
    };
    let mut server = Server::start(scene, &inventory, true, &[("log.level", "INFO")]).await?;
    let login = Login::at(&server, &user)
        .with("client.nx.engine", "nxproxy")
        .with("command.nxproxy", &end_program(bench)?)
        .with("client.slave.enable", "0")
        .with("internal.client.media", "");
    let start = |vm| login.start_client(scene, &display, &["-q", "--vm-id", vm]);
    let broker = server.process().pid();
    let mut sessions = [
        plain.up(start("1")?, broker, false).await?,
        carried.up(start("2")?, broker, true).await?,
    ];
    let mut found: [[Passed; 2]; 2] = Default::default();
    for run in 0..=bench.runs {
        let mut turns: Vec<_> = sessions.iter_mut().zip(&mut found).collect();
        if run % 2 == 1 {
            turns.reverse();
        }
        for (session, ways) in turns {
            for (way, passed) in [Way::Up, Way::Down].into_iter().zip(ways) {
                let bytes = if run == 0 { WARM_UP } else { BYTES };
                let (speed, cost) = session.pass(way, bytes)?;
                if run > 0 {
                    passed.speed.push(speed);
                    passed.cost.push(cost);
                }
            }
        }
    }
    for session in sessions {
        session.leave().await?;
    }
    let [plain, carried] = found;
    let mut figures = Vec::new();
    for ((way, plain), own) in ["up", "down"].into_iter().zip(plain).zip(carried) {
        let pairs = own.speed.iter().zip(&plain.speed);
        let part = pairs.map(|(own, plain)| own / plain).collect();
        figures.extend([
            Figure::new(GROUP, format!("a whole session, {way}"), "MB/s", own.speed)
                .beside("without", plain.speed),
            Figure::new(GROUP, format!("a whole session, {way}: part"), "×", part)
                .aim(Aim::AtLeast(0.9)),
            Figure::new(GROUP, format!("its programs, {way}"), "CPU s/GB", own.cost)
                .beside("without", plain.cost),
        ]);
    }
    Ok(figures)
}

impl Place {
    async fn set(bench: &Bench, name: &str, carrier: bool) -> Result<Self> {
        let scene = &bench.scene;
        let place = scene.path(format!("{name}-bulk.sock"));
        let listener = tokio::net::UnixListener::bind(&place)?;
        let own = std::env::current_exe().context("finding this program")?;
        let script = format!(
            "exec '{}' nx-agent-end '{}' \"$@\"",
            own.display(),
            place.display()
        );
        let nxagent = scene.script(format!("{name}-nxagent"), &script)?;
        let nxagent = nxagent.display().to_string();
        let keys = [
            ("command.nxagent", nxagent.as_str()),
            ("vma.carrier.enable", if carrier { "1" } else { "0" }),
            ("log.level", "INFO"),
        ];
        let desktop = Desktop::Script("exec sleep 3600".to_owned());
        let agent = Agent::start(scene, name, &desktop, &keys).await?;
        Ok(Self { agent, listener })
    }

    /// The session of a client that was started.
    async fn up(self, client: Process, broker: u32, carrier: bool) -> Result<Carried> {
        let (control, _) = timeout(WAIT, self.listener.accept())
            .await
            .with_context(|| format!("nxagent's end does not come: {}", client.log().text()))??;
        let control = control.into_std()?;
        control.set_nonblocking(false)?;
        control.set_read_timeout(Some(WAIT))?;
        let connected = SessionState::Connected;
        self.agent.wait_for_state(connected, WAIT).await?;
        Ok(Carried {
            agent: self.agent,
            client,
            broker,
            control,
            carrier,
        })
    }
}

impl Carried {
    /// Passes bytes, as [`Passed`] counts them. [`Way`] is the client's.
    fn pass(&mut self, way: Way, bytes: u64) -> Result<(f64, f64)> {
        let pids = [
            self.client.pid(),
            self.broker,
            session_process(&self.agent)?,
        ];
        let spent = || -> Result<Duration> {
            let times: Result<Vec<_>> = pids.into_iter().map(usage::processor_time_of).collect();
            Ok(times?.into_iter().sum())
        };
        let before = spent()?;
        let order = format!("{} {bytes}\n", if way == Way::Up { "up" } else { "down" });
        self.control.write_all(order.as_bytes())?;
        let mut answer = [0; 8];
        self.control
            .read_exact(&mut answer)
            .with_context(|| format!("nxagent's end says nothing: {}", self.client.log().text()))?;
        let seconds = Duration::from_nanos(u64::from_be_bytes(answer)).as_secs_f64();
        let spent = spent()?.saturating_sub(before).as_secs_f64();
        let bytes = bytes as f64;
        Ok((bytes / 1e6 / seconds, spent / (bytes / 1e9)))
    }

    async fn leave(mut self) -> Result<()> {
        self.client.signal(Signal::INT)?;
        self.client.wait(WAIT).await?;
        self.agent.call(Call::XStop).await?;
        let stopped = SessionState::Stopped;
        self.agent.wait_for_state(stopped, WAIT).await?;
        // Else two of a kind would have been compared.
        let log = self.agent.daemon_log()?.text();
        let was_carried = log.contains("client's carrier is over");
        ensure!(was_carried == self.carrier, "carrier or not: {log}");
        Ok(())
    }
}

/// The session process of an agent, which has written down its number.
pub(super) fn session_process(agent: &Agent) -> Result<u32> {
    let name = format!("session-{}.json", agent.display());
    let record = fs::read(agent.run_directory().join(name))?;
    let record: serde_json::Value = serde_json::from_slice(&record)?;
    let pid = record.get("pid").and_then(serde_json::Value::as_u64);
    Ok(u32::try_from(pid.context("a record without a process")?)?)
}

/// In nxagent's place: takes a client as its options say, in its words, and
/// then passes what it is told at the socket `control`.
pub(crate) fn run_agent_end(control: &Path, arguments: &[String]) -> Result<()> {
    let place = socket_of(arguments)?;
    let listener = UnixListener::bind(&place)?;
    let place = place.display();
    println!("Info: Waiting for connection from this host on socket 'unix:{place}'.");
    let (mut stream, _) = listener.accept()?;
    stream.read_exact(&mut [0; GREETING.len()])?;
    println!("Session: Starting session at 'now'.");
    println!("Session: Session started at 'now'.");
    let mut control = BufReader::new(UnixStream::connect(control)?);
    let mut order = String::new();
    while control.read_line(&mut order)? > 0 {
        let (way, bytes) = order.trim_end().split_once(' ').context("no order")?;
        // The other end takes this one for the client's.
        let way = match way {
            "up" => Way::Down,
            _ => Way::Up,
        };
        let took = load::transfer_over(&mut stream, way, bytes.parse()?)?;
        let took = u64::try_from(took.as_nanos())?;
        control.get_mut().write_all(&took.to_be_bytes())?;
        order.clear();
    }
    Ok(())
}

/// Where nxagent is to listen, from the file of options it is given.
fn socket_of(arguments: &[String]) -> Result<PathBuf> {
    let options = arguments
        .iter()
        .find_map(|word| word.strip_prefix("nx/nx,options="))
        .context("no file of options")?;
    let (file, _) = options.rsplit_once(':').context("no display")?;
    let text = fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
    let (_, rest) = text.split_once("listen=unix:").context("no socket")?;
    let place = rest.split([',', ':']).next().unwrap_or_default();
    ensure!(!place.is_empty(), "a socket without a name");
    Ok(place.into())
}
