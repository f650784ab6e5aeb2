//! The client from its start to the session's window, beside nxagent and
//! nxproxy alone.

use std::time::{Duration, Instant};

use anyhow::Result;
use qvd_rpc::{Call, SessionState};
use qvd_tests::display::{Display, Options, Window};
use qvd_tests::nx;
use qvd_tests::rig::{Agent, Desktop, Inventory, Login, Server, User, Vm, user_name};
use rustix::process::Signal;

use super::Bench;
use super::figure::{Aim, Figure};

/// For anything that is to happen.
const WAIT: Duration = Duration::from_secs(40);

/// Measures a first connect and a resume, through a broker with TLS.
pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let scene = &bench.scene;
    let agent = Agent::start(scene, "vm", &Desktop::Small, &[("log.level", "WARN")]).await?;
    let user = User::new(&user_name()?, "bench");
    let vms = vec![Vm::of(&agent, 1, "desktop", &[&user.login])];
    let inventory = Inventory {
        users: vec![user.clone()],
        vms,
    };
    let server = Server::start(scene, &inventory, true, &[("log.level", "WARN")]).await?;
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
    Ok(vec![
        Figure::new("client", "start to first window", "s", first)
            .aim(Aim::AtMost(0.45))
            .beside("nxagent+nxproxy", alone.clone()),
        Figure::new("client", "start to first window, resumed", "s", resumed)
            .beside("nxagent+nxproxy", alone),
    ])
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
