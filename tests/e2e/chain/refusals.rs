//! What cannot be: each fault has its status, its sentence and its exit status.

use qvd_rpc::SessionState;
use qvd_tests::rig::{Agent, Desktop, Inventory, Login, Server, User, Vm};
use qvd_tests::{Outcome, Scene, play, ports};

use super::raw::{UPGRADE, ask};
use super::{Stage, WAIT, ann, end_of};

/// Runs the client with these arguments and DISPLAY, and checks its end.
async fn ends(
    scene: &Scene,
    login: &Login,
    display: Option<&str>,
    arguments: &[&str],
    status: i32,
    words: &[&str],
) -> Outcome {
    let mut program = login.client(scene)?.args(arguments);
    if let Some(display) = display {
        program = program.env("DISPLAY", display);
    }
    let mut client = scene.start(program)?;
    let (code, sentence) = end_of(&mut client).await?;
    assert_eq!(code, status, "{sentence}");
    for word in words {
        assert!(sentence.contains(word), "no '{word}' in: {sentence}");
    }
    let sentences = client.log().lines();
    let is_error = |text: &str| text.starts_with("qvdclient: ") && !text.contains("warning");
    let count = sentences.iter().filter(|line| is_error(&line.text)).count();
    assert_eq!(count, 1, "{}", super::said(&client));
    assert!(!sentence.ends_with('.') && !sentence.is_empty());
    Ok(())
}

#[test]
fn logins_and_vms_that_are_not_the_users() {
    play("chain_refused_by_the_broker", async |scene| {
        let (ann, ben) = (ann(), User::new("ben", "berries"));
        let agent = Agent::configure(scene, "vm", &Desktop::Small, &[])?;
        let inventory = Inventory {
            users: vec![ann.clone(), ben.clone()],
            vms: vec![
                Vm::of(&agent, 1, "ann-desktop", &["ann"]),
                Vm::of(&agent, 2, "ben-desktop", &["ben"]),
            ],
        };
        let server = Server::start(scene, &inventory, true, &[]).await?;
        let wrong = User::new("ann", "oranges");
        assert_eq!(ask(&server, &wrong, "/qvd/list_of_vm", &[]).await?.0, 401);
        let login = Login::at(&server, &wrong);
        ends(scene, &login, None, &["-l"], 13, &["401"]).await?;

        // Another's VM is neither listed nor given.
        let (status, list) = ask(&server, &ann, "/qvd/list_of_vm", &[]).await?;
        assert_eq!(status, 200);
        assert!(list.contains("ann-desktop") && !list.contains("ben-desktop"));
        let connect = |query: &str| format!("/qvd/connect_to_vm?{query}");
        for (target, lines, expected, words) in [
            (connect("id=2"), &UPGRADE[..], 403, "VM 2"),
            (connect("id=77"), &UPGRADE[..], 404, "VM 77"),
            (connect("id=1"), &[][..], 426, "QVD/1.0"),
            (
                connect("id=1&qvd.vm.user.name=root"),
                &UPGRADE[..],
                403,
                "qvd.vm.user.name",
            ),
            (connect(""), &UPGRADE[..], 422, "id"),
            (connect("id=one"), &UPGRADE[..], 422, "id"),
            ("/qvd/no_such_thing".into(), &UPGRADE[..], 404, ""),
            ("/qvd/stop_vm?id=2".into(), &[][..], 403, "VM 2"),
        ] {
            let (status, reason) = ask(&server, &ann, &target, lines).await?;
            assert_eq!(status, expected, "{target}: {reason}");
            assert!(reason.contains(words), "{target}: {reason}");
        }
        Ok(())
    });
}

#[test]
fn an_agent_that_is_down() {
    play("chain_agent_down", async |scene| {
        let agent = Agent::configure(scene, "vm", &Desktop::Small, &[])?;
        let vm = Vm::of(&agent, 1, "ann-desktop", &["ann"]);
        let stage = Stage::around(scene, true, agent, vm).await?;
        let target = "/qvd/connect_to_vm?id=1";
        let (status, reason) = ask(&stage.server, &stage.user, target, &UPGRADE).await?;
        assert_eq!(status, 503, "{reason}");
        assert!(reason.contains("VM 1"), "{reason}");
        let name = stage.display.name();
        let words = ["VM 1", "agent", "refused"];
        ends(scene, &stage.login(), Some(&name), &[], 16, &words).await
    });
}

#[test]
fn an_image_without_nxagent() {
    play("chain_no_nxagent", async |scene| {
        let keys = [("command.nxagent", "/nowhere/nxagent")];
        let agent = Agent::start(scene, "vm", &Desktop::Small, &keys).await?;
        let vm = Vm::of(&agent, 1, "ann-desktop", &["ann"]);
        let stage = Stage::around(scene, true, agent, vm).await?;
        let target = "/qvd/connect_to_vm?id=1";
        let (status, reason) = ask(&stage.server, &stage.user, target, &UPGRADE).await?;
        assert_eq!(status, 500, "{reason}");
        assert!(reason.contains("/nowhere/nxagent"), "{reason}");
        let name = stage.display.name();
        let words = ["/nowhere/nxagent"];
        ends(scene, &stage.login(), Some(&name), &[], 16, &words).await?;
        stage.becomes(SessionState::Stopped).await?;
        Ok(())
    });
}

#[test]
fn a_machine_without_nxproxy_or_display() {
    play("chain_no_nxproxy_no_display", async |scene| {
        let stage = Stage::set(scene).await?;
        let name = stage.display.name();
        let mut login = stage.login();
        ends(scene, &login, None, &[], 21, &["DISPLAY"]).await?;
        let free = ports::display()?;
        let nowhere = format!(":{}", free.number());
        ends(scene, &login, Some(&nowhere), &[], 21, &[&nowhere]).await?;
        login = login
            .with("client.nx.engine", "nxproxy")
            .with("command.nxproxy", "/nowhere/nxproxy");
        let words = ["/nowhere/nxproxy", "install the package nxproxy"];
        ends(scene, &login, Some(&name), &[], 20, &words).await?;
        // None of these got as far as a session.
        assert_eq!(stage.agent.state().await?, SessionState::Stopped);
        Ok(())
    });
}

#[test]
fn a_broker_that_is_not_there_or_not_the_one() {
    play("chain_no_such_broker", async |scene| {
        let inventory = Inventory {
            users: vec![ann()],
            vms: vec![],
        };
        let server = Server::start(scene, &inventory, true, &[]).await?;
        let login = Login::at(&server, &ann());
        let mut other = login.clone();
        other.keys.retain(|(key, _)| key == "client.use_ssl");
        let words = ["certificate of localhost is not trusted", "--ca", "--pin"];
        ends(scene, &other, None, &["-l"], 12, &words).await?;
        let mut other = login.clone();
        other.host = "no-such-host.invalid".into();
        ends(scene, &other, None, &["-l"], 10, &["no-such-host.invalid"]).await?;
        let closed = ports::port()?;
        let mut other = login.clone();
        other.port = closed.number();
        let port = other.port.to_string();
        ends(scene, &other, None, &["-l"], 11, &["localhost", &port]).await?;
        // Trusted again, it is answered.
        let mut list = scene.start(login.client(scene)?.args(["-l", "--json"]))?;
        assert_eq!(list.wait(WAIT).await?.code(), Some(0));
        Ok(())
    });
}
