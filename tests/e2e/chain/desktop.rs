//! A user's whole way: login, list, desktop, leaving, coming back.

use qvd_rpc::SessionState;
use qvd_tests::display::{Region, Screen, Window};
use qvd_tests::fault::{Direction, Endpoint, FaultProxy, Split};
use qvd_tests::rig::{Agent, Desktop, Inventory, Login, Server, User, Vm};
use qvd_tests::{Result, play};

use super::{Stage, WAIT, ann, connect, display, end_of, leave, process_with, raw, said, strike};

#[test]
fn a_user_lists_connects_leaves_resumes_and_stops() {
    play("chain_a_desktop_from_login_to_stop", async |scene| {
        let stage = Stage::set(scene).await?;
        let mut list = scene.start(stage.login().client(scene)?.arg("-l"))?;
        list.expect("ID  NAME         STATE    BLOCKED", WAIT)
            .await?;
        list.expect("1   ann-desktop  running  no", WAIT).await?;
        assert_eq!(list.wait(WAIT).await?.code(), Some(0));
        let mut list = scene.start(stage.login().client(scene)?.args(["-l", "--json"]))?;
        list.expect("\"name\":", WAIT).await?;
        assert_eq!(list.wait(WAIT).await?.code(), Some(0), "{}", said(&list));

        let mut client = stage.connect(scene).await?;
        let window = stage.drawn().await?;
        assert_eq!((window.width, window.height), (800, 600));
        let terminal = process_with(scene, "-title terminal")?;
        whole(&stage, &window).await?;
        stage.display.save_screenshot(scene, "desktop.png")?;
        leave(&mut client, &stage.agent).await?;

        let mut client = stage.connect(scene).await?;
        let window = stage.drawn().await?;
        whole(&stage, &window).await?;
        stage.display.save_screenshot(scene, "resumed.png")?;
        assert_eq!(process_with(scene, "-title terminal")?, terminal);

        raw::stop_vm(&stage.server, &stage.user, 1).await?;
        assert_eq!(stage.agent.state().await?, SessionState::Stopped);
        assert_eq!(
            client.wait(WAIT).await?.code(),
            Some(0),
            "{}",
            said(&client)
        );
        client.expect("Session closed", WAIT).await?;
        Ok(())
    });
}

/// Waits until the terminal's prompt and the clock's face are drawn.
async fn whole(stage: &Stage, window: &Window) -> Result<()> {
    let is_there = |screen: &Screen| {
        let now = screen.screenshot_of(window)?;
        Ok(!now.crop(CLOCK).is_uniform() && !now.crop(PROMPT).is_uniform())
    };
    let screen = stage.display.screen();
    screen
        .wait_for_pixels("the whole desktop", WAIT, is_there)
        .await
}

/// Where the clock's middle is, in the session's window.
const CLOCK: Region = Region {
    x: 660,
    y: 60,
    width: 80,
    height: 120,
};

/// Where the terminal's first line is, in the session's window.
const PROMPT: Region = Region {
    x: 44,
    y: 82,
    width: 120,
    height: 14,
};

#[test]
fn a_later_client_takes_the_desktop_over() {
    play("chain_a_later_client_takes_over", async |scene| {
        let stage = Stage::set(scene).await?;
        let mut first = stage.connect(scene).await?;
        let terminal = process_with(scene, "-title terminal")?;

        let other = display(scene).await?;
        let login = stage.login();
        let mut second = login.start_client(scene, &other, &["-g", "800x600"])?;
        let (status, sentence) = end_of(&mut first).await?;
        assert_eq!(status, 22, "{sentence}");
        assert!(sentence.contains("the other side closed it"), "{sentence}");
        second.expect(super::CONNECTED, WAIT).await?;
        super::drawn(&other).await?;
        assert_eq!(process_with(scene, "-title terminal")?, terminal);
        stage.becomes(SessionState::Connected).await?;
        leave(&mut second, &stage.agent).await?;
        Ok(stage.strike().await?)
    });
}

#[test]
fn two_users_work_beside_each_other() {
    play("chain_two_users_beside_each_other", async |scene| {
        let (ann, ben) = (ann(), User::new("ben", "berries"));
        let one = Agent::start(scene, "vm1", &Desktop::Small, &[]).await?;
        let two = Agent::start(scene, "vm2", &Desktop::Small, &[]).await?;
        let inventory = Inventory {
            users: vec![ann.clone(), ben.clone()],
            vms: vec![
                Vm::of(&one, 1, "ann-desktop", &["ann"]),
                Vm::of(&two, 2, "ben-desktop", &["ben"]),
            ],
        };
        let server = Server::start(scene, &inventory, true, &[]).await?;
        let (left, right) = (display(scene).await?, display(scene).await?);
        let (ann, ben) = (Login::at(&server, &ann), Login::at(&server, &ben));
        let (first, second) = tokio::join!(
            connect(scene, &ann, &left, &one),
            connect(scene, &ben, &right, &two)
        );
        let (mut first, mut second) = (first?, second?);

        leave(&mut first, &one).await?;
        assert!(second.is_running());
        assert_eq!(two.state().await?, SessionState::Connected);
        leave(&mut second, &two).await?;
        strike(&one).await?;
        Ok(strike(&two).await?)
    });
}

#[test]
fn a_session_works_when_each_byte_comes_alone() {
    play("chain_each_byte_alone", async |scene| {
        let agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
        let relay = |port| FaultProxy::start(&Endpoint::local(0), &Endpoint::local(port));
        let (calls, nx) = (relay(agent.rpc().port())?, relay(agent.x_port())?);
        let mut vm = Vm::of(&agent, 1, "ann-desktop", &["ann"]);
        vm.rpc_port = calls.port().ok_or("no port")?;
        vm.x_port = nx.port().ok_or("no port")?;
        let stage = Stage::around(scene, true, agent, vm).await?;
        let front = relay(stage.server.address().port())?;
        for relay in [&calls, &nx, &front] {
            for direction in [Direction::ToServer, Direction::ToClient] {
                relay.change(direction, |rules| rules.split = Split::EveryByte);
            }
        }
        let mut login = stage.login();
        login.port = front.port().ok_or("no port")?;
        let mut client = connect(scene, &login, &stage.display, &stage.agent).await?;
        let passed = nx.last_connection().ok_or("nothing passed")?;
        let passed = passed.passed(Direction::ToClient);
        assert_eq!(passed.bytes, passed.writes);
        leave(&mut client, &stage.agent).await?;
        Ok(stage.strike().await?)
    });
}
