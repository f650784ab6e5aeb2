//! The native engine in the client, with broker and agent.

use std::path::Path;

use qvd_rpc::SessionState;
use qvd_tests::display::{Display, Options};
use qvd_tests::process::Process;
use qvd_tests::rig::{Agent, Desktop, Inventory, Login, Server, User, Vm};
use qvd_tests::{Result, Scene, play};
use rustix::process::Signal;

use super::session::WAIT;

const CONNECTED: &str = "Connected; Ctrl-C suspends the session";

async fn connected(
    scene: &Scene,
    login: &Login,
    display: &Display,
    agent: &Agent,
) -> Result<Process> {
    let arguments = ["-g", "800x600", "--nx-engine", "native"];
    let client = login.start_client(scene, display, &arguments)?;
    client.expect(CONNECTED, WAIT).await?;
    agent.wait_for_state(SessionState::Connected, WAIT).await?;
    let is_session =
        |window: &qvd_tests::display::Window| window.name == "QVD" && window.width > 100;
    let screen = display.screen();
    let window = screen.wait_for_window("QVD", WAIT, is_session).await?;
    screen.wait_until_drawn(&window, WAIT).await?;
    Ok(client)
}

/// A client on a machine that has no nxproxy, over every link; a display that
/// knows nothing but its cookie.
#[test]
fn a_desktop_is_drawn_without_nxproxy_and_resumed_over_other_links() {
    play("native_chain", async |scene| {
        let agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
        let user = User::new("ann", "apples and pears");
        let inventory = Inventory {
            users: vec![user.clone()],
            vms: vec![Vm::of(&agent, 1, "ann-desktop", &["ann"])],
        };
        let server = Server::start(scene, &inventory, true, &[]).await?;
        let options = Options {
            window_manager: true,
            local_user: false,
            ..Options::default()
        };
        let display = Display::start(scene, options).await?;
        let login = Login::at(&server, &user).with("command.nxproxy", "/nowhere/nxproxy");
        for link in ["lan", "modem", "adsl", "wan"] {
            let login = login.clone().with("client.link", link);
            let mut client = connected(scene, &login, &display, &agent).await?;
            assert!(!runs_nxproxy(scene), "{link}");
            display.save_screenshot(scene, &format!("{link}.png"))?;
            client.signal(Signal::INT)?;
            assert_eq!(client.wait(WAIT).await?.code(), Some(0));
            client.expect("Session suspended", WAIT).await?;
            agent.wait_for_state(SessionState::Suspended, WAIT).await?;
        }
        let mut client = connected(scene, &login, &display, &agent).await?;
        agent.call(qvd_rpc::Call::XStop).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        assert_eq!(client.wait(WAIT).await?.code(), Some(0));
        client.expect("Session closed", WAIT).await?;
        Ok(())
    });
}

/// Whether one runs that this test started.
fn runs_nxproxy(scene: &Scene) -> bool {
    let processes = qvd_tests::process::marked(scene.mark());
    processes
        .iter()
        .any(|process| process.command.contains("nxproxy -S"))
}

#[test]
fn an_engine_that_is_unknown_is_refused() {
    play("native_unknown_engine", async |scene| {
        let program = scene.built("qvdclient")?;
        let program = program
            .env("QVDCLIENTCONFIG", Path::new("/dev/null"))
            .args(["-h", "localhost", "-u", "ann", "--nx-engine", "libxcomp"]);
        let mut client = scene.start(program)?;
        assert!(!client.wait(WAIT).await?.success());
        client.expect("native or nxproxy", WAIT).await?;
        Ok(())
    });
}
