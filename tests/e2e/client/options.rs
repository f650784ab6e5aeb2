//! Which VM, what of it, and on which display.

use qvd_rpc::{Call, SessionState};
use qvd_tests::display::{Display, Options};
use qvd_tests::process::Process;
use qvd_tests::rig::{Agent, Desktop, Inventory, Login, Server, User, Vm};
use qvd_tests::{Outcome, Result, Scene, play};
use rustix::process::Signal;

use super::stage::{CONNECTED, Stage, WAIT, display, drawn, end_of};

#[test]
fn an_application_is_opened_by_the_beginning_of_its_name() {
    play("client_application", async |scene| {
        let agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
        let (server, user) = desktop_and_application(scene, &agent).await?;
        let display = display(scene).await?;
        let login = Login::at(&server, &user);
        for name in ["off", "office", "2"] {
            let mut client = login.start_client(scene, &display, &["--vm-id", name])?;
            client.expect("Session acquired for VM_ID: 2", WAIT).await?;
            client.expect(CONNECTED, WAIT).await?;
            client.signal(Signal::INT)?;
            assert_eq!(end_of(&mut client).await?.0, 0);
        }
        // Without a name the only VM is meant, and no application.
        let mut client = login.start_client(scene, &display, &[])?;
        client.expect("Session acquired for VM_ID: 1", WAIT).await?;
        client.expect(CONNECTED, WAIT).await?;
        client.signal(Signal::INT)?;
        assert_eq!(end_of(&mut client).await?.0, 0);
        strike(&agent).await
    });
}

async fn desktop_and_application(scene: &Scene, agent: &Agent) -> Result<(Server, User)> {
    let user = User::new("ann", "apples and pears");
    let mut office = Vm::of(agent, 2, "office", &["ann"]);
    office.more = "is_application = true".to_owned();
    let inventory = Inventory {
        users: vec![user.clone()],
        vms: vec![Vm::of(agent, 1, "ann-desktop", &["ann"]), office],
    };
    let server = Server::start(scene, &inventory, true, &[]).await?;
    Ok((server, user))
}

async fn strike(agent: &Agent) -> Outcome {
    agent.call(Call::XStop).await?;
    Ok(agent.wait_for_state(SessionState::Stopped, WAIT).await?)
}

#[test]
fn icons_are_made_for_desktops_and_applications_and_go_with_them() {
    play("client_icons", async |scene| {
        let agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
        let (server, user) = desktop_and_application(scene, &agent).await?;
        let login = Login::at(&server, &user);
        let data = scene.path("data");
        let make = async || -> Result<(i32, String)> {
            let program = login.client(scene)?.env("XDG_DATA_HOME", &data);
            end_of(&mut scene.start(program.args(["--create-icons", "-q"]))?).await
        };
        let (status, text) = make().await?;
        assert_eq!(status, 0, "{text}");
        let icons = || -> std::io::Result<Vec<String>> {
            let mut texts = Vec::new();
            for file in std::fs::read_dir(data.join("applications"))? {
                texts.push(std::fs::read_to_string(file?.path())?);
            }
            texts.sort();
            Ok(texts)
        };
        let [desktop, office] = icons()?.try_into().map_err(|_| "not two icons")?;
        let desktop: &str = &desktop;
        assert!(desktop.contains("Name=ann-desktop\n"), "{desktop}");
        assert!(desktop.contains(r#""--vm-id" "1""#), "{desktop}");
        assert!(office.contains("Comment=QVD application at"), "{office}");
        assert!(!desktop.contains("apples"), "{desktop}");

        let only = Inventory {
            users: vec![user.clone()],
            vms: vec![Vm::of(&agent, 1, "ann-desktop", &["ann"])],
        };
        server.replace_inventory(scene, &only).await?;
        let (status, text) = make().await?;
        assert_eq!(status, 0, "{text}");
        assert_eq!(icons()?.len(), 1);
        Ok(())
    });
}

#[test]
fn a_vm_can_be_stopped_first() {
    play("client_kill_vm", async |scene| {
        let mut stage = Stage::set(scene, true).await?;
        let mut first = stage.connect(scene, &stage.login()).await?;
        first.signal(Signal::INT)?;
        assert_eq!(end_of(&mut first).await?.0, 0);
        stage.becomes(SessionState::Suspended).await?;
        let arguments = ["--kill-vm", "-g", "800x600"];
        let mut client = stage
            .login()
            .start_client(scene, &stage.display, &arguments)?;
        client.expect(CONNECTED, WAIT).await?;
        stage.server.process().expect("stop_vm", WAIT).await?;
        stage.drawn().await?;
        Ok(stage.leave(&mut client).await?)
    });
}

#[test]
fn a_file_that_cannot_be_opened_is_told_of_before_anything_is_started() {
    play("client_file", async |scene| {
        let stage = Stage::set(scene, true).await?;
        let off = stage.login().with("client.slave.enable", "0");
        for (login, file, word) in [
            (stage.login(), "a.odt", "a.odt: No such file"),
            (off, "/etc/hosts", "client.slave.enable off"),
        ] {
            let mut client = login.start_client(scene, &stage.display, &["--file", file])?;
            let (status, text) = end_of(&mut client).await?;
            assert_eq!(status, 2, "{text}");
            assert!(text.contains(word), "{text}");
        }
        assert_eq!(stage.agent.state().await?, SessionState::Stopped);
        Ok(())
    });
}

/// A display whose cookie is filed under a name that the machine no longer
/// has, and which admits nobody without it.
async fn renamed(scene: &Scene, name: &str) -> Result<(Display, std::path::PathBuf)> {
    let options = Options {
        window_manager: true,
        local_user: false,
        ..Options::default()
    };
    let display = Display::start(scene, options).await?;
    let file = scene.path(format!("authority-{name}"));
    display
        .cookie()
        .write_authority_as(&file, name, display.number())?;
    Ok((display, file))
}

#[test]
fn a_display_is_opened_under_the_name_the_machine_had() {
    play("client_display_renamed", async |scene| {
        let stage = Stage::set(scene, true).await?;
        for (filed, variable) in [
            ("had-another-name", Some("had-another-name")),
            ("localhost", None),
        ] {
            let (display, file) = renamed(scene, filed).await?;
            let program = stage.login().client(scene)?.args(["-g", "800x600"]);
            let mut program = program
                .env("DISPLAY", display.name())
                .env("XAUTHORITY", &file);
            if let Some(name) = variable {
                program = program.env("XAUTHLOCALHOSTNAME", name);
            }
            let mut client = scene.start(program)?;
            client.expect(CONNECTED, WAIT).await?;
            drawn(&display).await?;
            client.signal(Signal::INT)?;
            assert_eq!(end_of(&mut client).await?.0, 0);
            stage.becomes(SessionState::Suspended).await?;
        }
        Ok(stage.strike().await?)
    });
}

#[test]
fn a_display_that_refuses_or_goes_away_is_told() {
    play("client_display_refused", async |scene| {
        let stage = Stage::set(scene, true).await?;
        let ends = async |client: &mut Process, words: &str| -> Outcome {
            let (status, text) = end_of(client).await?;
            assert_eq!(status, 21, "{text}");
            assert!(text.contains(words), "{text}");
            Ok(())
        };
        let login = stage.login();
        let mut client = scene.start(login.client(scene)?.env("DISPLAY", ":299"))?;
        ends(&mut client, "display :299 cannot be opened").await?;

        let options = Options {
            local_user: false,
            ..Options::default()
        };
        let closed = Display::start(scene, options).await?;
        let program = login.client(scene)?.env("DISPLAY", closed.name());
        let mut client = scene.start(program.env("XAUTHORITY", "/nonexistent"))?;
        ends(&mut client, "access refused").await?;

        let going = display(scene).await?;
        let mut client = login.start_client(scene, &going, &["-g", "800x600"])?;
        client.expect(CONNECTED, WAIT).await?;
        drawn(&going).await?;
        going.server().signal(Signal::KILL)?;
        let (status, text) = end_of(&mut client).await?;
        // Whatever nxproxy makes of it, it is the display, or nxproxy's end.
        assert_eq!(status, 21, "{text}");
        stage.becomes(SessionState::Suspended).await?;
        Ok(stage.strike().await?)
    });
}

#[test]
fn two_sessions_of_one_user_are_drawn_side_by_side() {
    play("client_two_sessions", async |scene| {
        let user = User::new("ann", "apples and pears");
        let one = Agent::start(scene, "vm1", &Desktop::Small, &[]).await?;
        let two = Agent::start(scene, "vm2", &Desktop::Small, &[]).await?;
        let inventory = Inventory {
            users: vec![user.clone()],
            vms: vec![
                Vm::of(&one, 1, "office", &["ann"]),
                Vm::of(&two, 2, "lab", &["ann"]),
            ],
        };
        let server = Server::start(scene, &inventory, true, &[]).await?;
        let display = display(scene).await?;
        let login = Login::at(&server, &user);
        let mut clients = Vec::new();
        for name in ["office", "lab"] {
            let client = login.start_client(scene, &display, &["--vm-id", name])?;
            client.expect(CONNECTED, WAIT).await?;
            clients.push(client);
        }
        for agent in [&one, &two] {
            agent.wait_for_state(SessionState::Connected, WAIT).await?;
        }
        for client in &mut clients {
            client.signal(Signal::INT)?;
            assert_eq!(end_of(client).await?.0, 0);
        }
        strike(&one).await?;
        strike(&two).await
    });
}
