//! The client from its start to the session's window, beside nxagent and
//! nxproxy alone.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use qvd_rpc::{Call, SessionState};
use qvd_tests::display::{Display, Options, Window};
use qvd_tests::fault::{Cut, Endpoint, FaultProxy};
use qvd_tests::nx;
use qvd_tests::process::Process;
use qvd_tests::rig::{Agent, Desktop, Inventory, Login, Server, User, Vm, user_name};
use rustix::process::Signal;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::figure::{Aim, Figure};
use super::{Bench, carry, usage};

/// For anything that is to happen.
const WAIT: Duration = Duration::from_secs(40);

/// Measures a first connect and a resume, through a broker with TLS, what the
/// client costs meanwhile, and how soon a broken connection is made good.
pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let scene = &bench.scene;
    let agent = Agent::start(scene, "vm", &Desktop::Small, &[("log.level", "INFO")]).await?;
    let user = User::new(&user_name()?, "bench");
    let vms = vec![Vm::of(&agent, 1, "desktop", &[&user.login])];
    let inventory = Inventory {
        users: vec![user.clone()],
        vms,
    };
    let server = Server::start(scene, &inventory, true, &[("log.level", "INFO")]).await?;
    let login = Login::at(&server, &user);
    let options = Options {
        window_manager: true,
        ..Options::default()
    };
    let display = Display::start(scene, options).await?;
    let (mut first, mut resumed, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        for times in [&mut first, &mut resumed] {
            let start = Instant::now();
            let mut client = login.start_client(scene, &display, &["-q"])?;
            window(&display).await?;
            times.push(start.elapsed().as_secs_f64());
            agent.wait_for_state(SessionState::Connected, WAIT).await?;
            client.signal(Signal::INT)?;
            client.wait(WAIT).await?;
            agent.wait_for_state(SessionState::Suspended, WAIT).await?;
        }
        agent.call(Call::XStop).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        alone.push(stock(bench, &display).await?);
    }
    let memory = memory(&login, bench, &display, &agent).await?;
    let back = back(&server, &user, bench, &display, &agent).await?;
    let mut figures = vec![
        Figure::new(
            "client",
            "start to request on the wire",
            "ms",
            requests(bench, &user, false).await?,
        )
        .aim(Aim::AtMost(15.0)),
        Figure::new(
            "client",
            "start to first byte of TLS on the wire",
            "ms",
            requests(bench, &user, true).await?,
        ),
        memory,
        back,
        Figure::new("client", "start to first window", "s", first)
            .aim(Aim::AtMost(0.45))
            .beside("nxagent+nxproxy", alone.clone()),
        Figure::new("client", "start to first window, resumed", "s", resumed)
            .beside("nxagent+nxproxy", alone),
    ];
    figures.extend(carry::measure(bench, &display).await?);
    Ok(figures)
}

/// From the client's start to its first bytes at the broker.
async fn requests(bench: &Bench, user: &User, tls: bool) -> Result<Vec<f64>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let login = Login {
        host: Ipv4Addr::LOCALHOST.to_string(),
        port: listener.local_addr()?.port(),
        user: user.clone(),
        keys: vec![("client.use_ssl".into(), u8::from(tls).to_string())],
    };
    let mut times = Vec::new();
    for _ in 0..bench.runs {
        let program = login.client(&bench.scene)?.args(["-l", "-q"]);
        let start = Instant::now();
        let mut client = bench.scene.start(program)?;
        let (mut stream, _) = timeout(WAIT, listener.accept()).await??;
        let mut first = [0; 3];
        timeout(WAIT, stream.read_exact(&mut first)).await??;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        ensure!(tls || first == *b"GET", "the client sent {first:?}");
        drop(stream);
        client.wait(WAIT).await?;
    }
    Ok(times)
}

/// The client's memory while a session runs, without nxproxy's and with it.
async fn memory(login: &Login, bench: &Bench, display: &Display, agent: &Agent) -> Result<Figure> {
    let mut alone = Vec::new();
    let mut both = Vec::new();
    for _ in 0..bench.runs {
        let mut client = login.start_client(&bench.scene, display, &["-q"])?;
        window(display).await?;
        agent.wait_for_state(SessionState::Connected, WAIT).await?;
        alone.push(usage::memory_of(client.pid())?.pss / 1024.0);
        let children = processes(client.pid())?;
        let mut all = usage::memory_of(client.pid())?.pss;
        for child in children {
            all += usage::memory_of(child)?.pss;
        }
        both.push(all / 1024.0);
        leave(&mut client, agent).await?;
    }
    agent.call(Call::XStop).await?;
    agent.wait_for_state(SessionState::Stopped, WAIT).await?;
    Ok(
        Figure::new("client", "memory during a session", "MiB PSS", alone)
            .aim(Aim::AtMost(12.0))
            .beside("with nxproxy", both),
    )
}

fn processes(parent: u32) -> Result<Vec<u32>> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let text = std::fs::read_to_string(&path).with_context(|| path)?;
    Ok(text
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect())
}

/// From a connection that breaks to the desktop back in its window.
async fn back(
    server: &Server,
    user: &User,
    bench: &Bench,
    display: &Display,
    agent: &Agent,
) -> Result<Figure> {
    let upstream = Endpoint::local(server.address().port());
    let relay = FaultProxy::start(&Endpoint::local(0), &upstream)?;
    // With the carrier the window would stay.
    let login = Login::at(server, user).with("client.carrier.enable", "0");
    let mut login = login.with("client.reconnect.timeout", "180");
    login.port = relay.port().context("a relay without a port")?;
    let mut times = Vec::new();
    for _ in 0..bench.runs {
        let mut client = login.start_client(&bench.scene, display, &["-q"])?;
        window(display).await?;
        agent.wait_for_state(SessionState::Connected, WAIT).await?;
        let start = Instant::now();
        relay.cut(Cut::Reset);
        let screen = display.screen();
        screen
            .wait_for_no_window("the lost session's", WAIT, is_session)
            .await?;
        window(display).await?;
        times.push(start.elapsed().as_secs_f64());
        agent.wait_for_state(SessionState::Connected, WAIT).await?;
        leave(&mut client, agent).await?;
    }
    agent.call(Call::XStop).await?;
    agent.wait_for_state(SessionState::Stopped, WAIT).await?;
    Ok(Figure::new("client", "connection lost to desktop back", "s", times).aim(Aim::AtMost(1.0)))
}

async fn leave(client: &mut Process, agent: &Agent) -> Result<()> {
    client.signal(Signal::INT)?;
    client.wait(WAIT).await?;
    Ok(agent.wait_for_state(SessionState::Suspended, WAIT).await?)
}

/// nxagent and nxproxy without anything of ours.
async fn stock(bench: &Bench, display: &Display) -> Result<f64> {
    let start = Instant::now();
    let options = ["link=local", "geometry=1024x768"];
    let mut agent = nx::Agent::start(&bench.scene, &options).await?;
    let socket = agent.socket().to_owned();
    let mut proxy = nx::start_proxy(&bench.scene, display, &socket)?;
    window(display).await?;
    let time = start.elapsed().as_secs_f64();
    agent.process().signal(Signal::TERM)?;
    agent.process_mut().wait(WAIT).await?;
    proxy.wait(WAIT).await?;
    let screen = display.screen();
    screen
        .wait_for_no_window("the session's", WAIT, is_session)
        .await?;
    Ok(time)
}

async fn window(display: &Display) -> Result<Window> {
    Ok(display
        .screen()
        .wait_for_window("the session's", WAIT, is_session)
        .await?)
}

fn is_session(window: &Window) -> bool {
    window.name == "QVD" && window.width > 100
}
