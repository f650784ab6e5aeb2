//! Command line, configuration and exit statuses.

use std::time::Duration;

use qvd_rpc::{Call, SessionState};
use qvd_tests::display::{Display, Options};
use qvd_tests::process::Process;
use qvd_tests::rig::{Agent, Desktop, Inventory, Login, Server, User, Vm};
use qvd_tests::{Result, Scene, play};
use rustix::process::Signal;

/// For anything that is to happen.
const WAIT: Duration = Duration::from_secs(40);

/// A broker that speaks TLS, with a VM and an application of ann's.
async fn broker(scene: &Scene, agent: &Agent) -> Result<(User, Server)> {
    let user = User::new("ann", "apples and pears");
    let mut office = Vm::of(agent, 2, "office", &["ann"]);
    office.more = "is_application = true".to_owned();
    let inventory = Inventory {
        users: vec![user.clone()],
        vms: vec![Vm::of(agent, 1, "ann-desktop", &["ann"]), office],
    };
    let server = Server::start(scene, &inventory, true, &[]).await?;
    Ok((user, server))
}

/// A client's exit status and all that it wrote.
async fn run(scene: &Scene, login: &Login, arguments: &[&str]) -> Result<(i32, String)> {
    let mut client = scene.start(login.client(scene)?.args(arguments))?;
    let status = client.wait(WAIT).await?;
    Ok((status.code().unwrap_or(-1), whole(&client).await))
}

/// All that a program wrote that has ended, which may be there before it was
/// read.
async fn whole(program: &Process) -> String {
    let _ = program.log().wait_for(0, "the end", WAIT, |_| false).await;
    text(program)
}

fn text(program: &Process) -> String {
    program.log().text()
}

#[test]
fn lists_for_people_and_for_programs() {
    play("client_lists", async |scene| {
        let agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
        let (user, server) = broker(scene, &agent).await?;
        let login = Login::at(&server, &user);
        let (status, text) = run(scene, &login, &["--list-vms", "-q"]).await?;
        assert_eq!(status, 0, "{text}");
        assert!(text.contains("ID  NAME         STATE"), "{text}");
        assert!(text.contains("1   ann-desktop  running  no"), "{text}");
        assert!(!text.contains("office"), "{text}");
        let (status, text) = run(scene, &login, &["--list-apps", "-q", "--no-header"]).await?;
        assert_eq!(status, 0, "{text}");
        assert!(text.contains("2  office  running  no"), "{text}");
        assert!(
            !text.contains("NAME") && !text.contains("ann-desktop"),
            "{text}"
        );
        let (status, text) = run(scene, &login, &["-l", "-q", "--json"]).await?;
        assert_eq!(status, 0, "{text}");
        assert!(text.contains("\"name\": \"ann-desktop\""), "{text}");

        let mut wrong = login.clone();
        wrong.user.password = "pears".to_owned();
        let (status, text) = run(scene, &wrong, &["-l", "--json"]).await?;
        assert_eq!(status, 13, "{text}");
        assert!(text.contains("\"code\":\"login-refused\""), "{text}");
        Ok(())
    });
}

#[test]
fn the_configuration_is_shown_without_a_broker() {
    play("client_show_config", async |scene| {
        let login = Login {
            host: "nowhere.invalid".to_owned(),
            port: 1,
            user: User::new("ann", "apples and pears"),
            keys: vec![("client.link".into(), "adsl".into())],
        };
        let arguments = ["--show-config", "-g", "800x600"];
        let (status, text) = run(scene, &login, &arguments).await?;
        assert_eq!(status, 0, "{text}");
        for line in [
            "client.host.name = nowhere.invalid  (QVDHOST)",
            "client.host.port = 1  (-p)",
            "client.user.password = (not shown)  (QVDPASSWORD)",
            "client.geometry = 800x600  (-g)",
            "client-ann.conf:1)",
            "client.fullscreen = 0  (default)",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains(&login.user.password), "{text}");
        Ok(())
    });
}

#[test]
fn long_options_open_a_session_that_has_one_name_in_every_log() {
    play("client_long_options", async |scene| {
        let agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
        let (user, mut server) = broker(scene, &agent).await?;
        let options = Options {
            window_manager: true,
            ..Options::default()
        };
        let display = Display::start(scene, options).await?;
        let login = Login::at(&server, &user);
        let program = login.client(scene)?.args([
            "--username",
            "ann",
            "--password",
            &user.password,
            "--ssl",
            "--vm-id",
            "ann",
            "--geometry",
            "800x600",
            "--link",
            "lan",
        ]);
        let mut client = scene.start(display.dress(program))?;
        client.expect("Connected; Ctrl-C suspends", WAIT).await?;
        agent.wait_for_state(SessionState::Connected, WAIT).await?;
        for one in qvd_tests::process::marked(scene.mark()) {
            assert!(!one.command.contains(&user.password), "{}", one.command);
        }
        client.signal(Signal::INT)?;
        assert_eq!(
            client.wait(WAIT).await?.code(),
            Some(0),
            "{}",
            text(&client)
        );
        agent.wait_for_state(SessionState::Suspended, WAIT).await?;

        let log = std::fs::read_to_string(scene.home().join(".qvd/qvd-client.log"))?;
        let (_, id) = log
            .split_once("session{id=\"")
            .ok_or("no session in the log")?;
        let id = id.split('"').next().ok_or("no id")?.to_owned();
        for words in ["session asked for", "session connected", "session ended"] {
            let line = server.process().expect(words, WAIT).await?;
            assert!(line.text.contains(&id), "{id}: {}", line.text);
        }
        agent.call(Call::XStop).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        let agents = agent.daemon_log()?.text();
        assert!(agents.contains(&id), "{id}: {agents}");
        assert!(!log.contains(&user.password));
        Ok(())
    });
}

#[test]
fn what_the_machines_file_forces_no_user_changes() {
    play("client_forced", async |scene| {
        let forced = "client.force.host.name = only.invalid\nclient.ssl.allow_expired = 0\n";
        std::fs::create_dir_all(scene.path("etc/qvd"))?;
        scene.write("etc/qvd/client.conf", forced)?;
        let own = "client.force.host.name = mine\nclient.ssl.allow_expired = 1\n";
        std::fs::create_dir_all(scene.home().join(".qvd"))?;
        scene.write(scene.home().join(".qvd/client.conf"), own)?;
        // The client sees this folder as the machine's /etc.
        let script = "mount --bind \"$1\" /etc && shift && exec \"$@\"";
        let unshare = scene.installed("unshare", "util-linux")?;
        let program = unshare
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                script,
                "sh",
            ])
            .arg(scene.path("etc"))
            .arg(qvd_tests::programs::built("qvdclient")?)
            .args(["--show-config", "-h", "flag.invalid"])
            .env("QVDHOST", "variable.invalid");
        let mut client = scene.start(program)?;
        assert_eq!(
            client.wait(WAIT).await?.code(),
            Some(0),
            "{}",
            text(&client)
        );
        let text = whole(&client).await;
        let system = "/etc/qvd/client.conf";
        for line in [
            format!("client.host.name = only.invalid  ({system}:1)"),
            format!("client.ssl.allow_expired = 0  ({system}:2)"),
        ] {
            assert!(text.contains(&line), "{line}: {text}");
        }
        let refused = "ignored, the value set at /etc/qvd/client.conf:";
        for who in [
            "QVDHOST: client.host.name: ",
            "-h: client.host.name: ",
            ".qvd/client.conf:1: client.force.host.name: ",
            ".qvd/client.conf:2: client.ssl.allow_expired: ",
        ] {
            assert!(text.contains(&format!("{who}{refused}")), "{who}: {text}");
        }
        Ok(())
    });
}
