//! The hooks of `hooks-examples/`, as they are, with real sessions, disks and
//! a real directory of users.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use qvd_rpc::{Call, Reply, SessionState};
use qvd_tests::rig::{Agent, Desktop};
use qvd_tests::{Error, Result, Scene, play};

use super::hooks::hook;
use super::{Seat, WAIT, session, waited};

/// The folder of the examples.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../hooks-examples")
}

/// A copy of an example, changed as an administrator would. It belongs to who
/// runs the test, as a hook must.
fn example(scene: &Scene, name: &str, changes: &[(&str, &str)]) -> Result<String> {
    let path = folder().join(name);
    let mut text = fs::read_to_string(&path)
        .map_err(|e| Error::Invalid(format!("{}: {e}", path.display())))?;
    for (from, to) in changes {
        assert!(text.contains(from), "{name} has no {from}");
        text = text.replace(from, to);
    }
    let script = text.strip_prefix("#!/bin/sh\n").unwrap_or(&text);
    hook(scene, name, script)
}

/// Runs a program of the system; what it said when it failed is the error.
fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|e| Error::Invalid(format!("{program}: {e}")))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        let said = text(&output.stderr);
        Err(Error::Invalid(format!("{program} {arguments:?}: {said}")))
    }
}

async fn until(what: &str, done: impl Fn() -> bool) -> Result<()> {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WAIT, wait)
        .await
        .map_err(|_| Error::Invalid(format!("in vain: {what}")))
}

fn log(scene: &Scene) -> String {
    fs::read_to_string(scene.path("qvd-hooks.log")).unwrap_or_default()
}

/// Starts a session; gives the reason why it ended.
async fn refusal(agent: &Agent, properties: &[(&str, &str)]) -> Result<String> {
    agent.start_session(properties).await?;
    agent.wait_for_state(SessionState::Stopped, WAIT).await?;
    Ok(waited(agent).await?.reason.unwrap_or_default())
}

/// Command lines of running programs of this name, with a display's number
/// in their environment.
fn on_display(program: &str, display: u16) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let name = fs::read_to_string(entry.path().join("comm")).ok()?;
            let environment = fs::read(entry.path().join("environ")).ok()?;
            let variable = format!("DISPLAY=:{display}");
            let there = environment
                .split(|b| *b == 0)
                .any(|v| v == variable.as_bytes());
            (name.trim() == program && there).then_some(pid)
        })
        .collect()
}

/// Clicks into the session's window of this title, at the lower left, where
/// the first button is.
async fn click_first_button(seat: &Seat, title: &str) -> Result<()> {
    let display = format!(":{}", seat.agent.display());
    let folder = format!("session-{}", seat.agent.display());
    let authority = seat.agent.run_directory().join(folder).join("Xauthority");
    let xdotool = |arguments: &[&str]| -> Result<String> {
        let output = Command::new("xdotool")
            .args(arguments)
            .env("DISPLAY", &display)
            .env("XAUTHORITY", &authority)
            .output()
            .map_err(|e| Error::Invalid(format!("xdotool: {e}")))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let search = ["search", "--onlyvisible", "--name", title];
    until(title, || xdotool(&search).is_ok_and(|id| !id.is_empty())).await?;
    let id = xdotool(&search)?;
    let id = id.lines().next().unwrap_or_default();
    let geometry = xdotool(&["getwindowgeometry", "--shell", id])?;
    let height = geometry
        .lines()
        .find_map(|line| line.strip_prefix("HEIGHT=")?.parse::<u32>().ok())
        .ok_or_else(|| Error::Invalid(geometry.clone()))?;
    let y = height.saturating_sub(16).to_string();
    xdotool(&["mousemove", "--window", id, "40", &y, "click", "1"])?;
    Ok(())
}

#[test]
fn they_are_clean_scripts_of_the_posix_shell() {
    let mut scripts: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_none())
        .map(|path| path.display().to_string())
        .collect();
    scripts.sort();
    assert!(scripts.len() >= 9, "{scripts:?}");
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    let mut arguments = vec!["--shell=sh"];
    for script in &scripts {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(script).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script} is not executable");
        let name = script.rsplit('/').next().unwrap();
        assert!(readme.contains(name), "README.md is silent about {name}");
        arguments.push(script);
    }
    run("shellcheck", &arguments).expect("install the package shellcheck");
}

#[test]
fn parameters_are_logged_and_a_property_is_printed_or_missed() {
    play("agent_example_properties", async |scene| {
        let log_parameters = example(scene, "log-parameters", &[])?;
        let print = example(scene, "print-property", &[])?;
        let keys = [
            ("vma.on_action.pre-connect", log_parameters.as_str()),
            ("vma.on_action.connect", &print),
        ];
        let agent = Agent::start(scene, "vm", &Desktop::Small, &keys).await?;
        let reason = refusal(&agent, &[]).await?;
        assert!(
            reason.ends_with(
                "this desktop has no property custom.department, ask your administrator"
            ),
            "{reason}"
        );
        agent
            .start_session(&[("custom.department", "research")])
            .await?;
        agent.wait_for_state(SessionState::Listening, WAIT).await?;
        let log = log(scene);
        assert!(log.contains(": qvd.client.geometry = 800x600\n"), "{log}");
        assert!(log.contains(": custom.department is research\n"), "{log}");
        agent.call(Call::XStop).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        Ok(())
    });
}

/// A user that is gone after the test, whoever made it.
struct Gone(String);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = Command::new("userdel").args(["-r", &self.0]).output();
    }
}

/// A directory of users, on a port of its own.
async fn directory(scene: &Scene, user: &str) -> Result<(qvd_tests::process::Process, String)> {
    let place = scene.path("ldap");
    fs::create_dir(&place).map_err(|e| Error::Invalid(e.to_string()))?;
    let shown = place.display();
    let config = format!(
        "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n\
         include /etc/ldap/schema/nis.schema\nmoduleload back_mdb\npidfile {shown}/pid\n\
         database mdb\nsuffix dc=example,dc=org\ndirectory {shown}\n\
         rootdn cn=admin,dc=example,dc=org\n"
    );
    let config = scene.write("slapd.conf", config)?;
    let people = format!(
        "dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\n\
         dc: example\no: example\n\n\
         dn: ou=people,dc=example,dc=org\nobjectClass: organizationalUnit\nou: people\n\n\
         dn: uid={user},ou=people,dc=example,dc=org\nobjectClass: account\n\
         objectClass: posixAccount\ncn: A User\nuid: {user}\nuidNumber: 61234\n\
         gidNumber: 61235\nhomeDirectory: /home/{user}\nloginShell: /bin/sh\n"
    );
    let people = scene.write("people.ldif", people)?;
    let (config, people) = (config.display().to_string(), people.display().to_string());
    run("/usr/sbin/slapadd", &["-f", &config, "-l", &people])?;
    let port = qvd_tests::ports::port()?;
    let uri = format!("ldap://127.0.0.1:{}", port.number());
    let server = scene.installed("slapd", "slapd")?;
    let server = scene.start(server.args(["-d", "0", "-f", &config, "-h", &uri]))?;
    let answers = || run("ldapsearch", &["-x", "-H", &uri, "-b", "", "-s", "base"]).is_ok();
    until("an answer of slapd", answers).await?;
    Ok((server, uri))
}

#[test]
fn a_user_is_made_as_the_directory_says_and_set_up() {
    play("agent_example_ldap", async |scene| {
        let name = format!("qvdldap{}", std::process::id());
        let (server, uri) = directory(scene, &name).await?;
        let add = example(scene, "add_user-ldap", &[])?;
        let after = example(scene, "after_add_user", &[])?;
        scene.write("ldap.conf", format!("LDAP_URI={uri}\nLDAP_SECONDS=3\n"))?;
        let homes = scene.path("homes");
        fs::create_dir(&homes)?;
        fs::set_permissions(
            scene.directory(),
            std::os::unix::fs::PermissionsExt::from_mode(0o711),
        )?;
        let homes = homes.display().to_string();
        let keys = [
            ("vma.on_provisioning.add_user", add.as_str()),
            ("vma.on_provisioning.after_add_user", &after),
            ("vma.user.home.path", &homes),
        ];
        let agent = Agent::start(scene, "vm", &Desktop::Small, &keys).await?;
        let _gone = Gone(name.clone());
        let reason = refusal(&agent, &[("qvd.vm.user.name", "qvdnobody")]).await?;
        assert!(
            reason.ends_with("the directory has no uidNumber for qvdnobody"),
            "{reason}"
        );
        agent.start_session(&[("qvd.vm.user.name", &name)]).await?;
        agent.wait_for_state(SessionState::Listening, WAIT).await?;
        assert_eq!(run("id", &["-u", &name])?.trim(), "61234");
        assert_eq!(run("id", &["-g", &name])?.trim(), "61235");
        let home = Path::new(&homes).join(&name);
        assert!(home.join("Documents").is_dir());
        assert!(home.join(".config/qvd-welcome").is_file());
        agent.call(Call::XStop).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        drop(_gone);
        let _ = Command::new("groupdel").arg("qvd-61235").output();
        // The directory is away.
        server.stop(WAIT).await?;
        let reason = refusal(&agent, &[("qvd.vm.user.name", &name)]).await?;
        let expected = "the directory of users does not answer, try again later";
        assert!(reason.ends_with(expected), "{reason}");
        Ok(())
    });
}

/// A disk with a file system of this label, gone after the test.
struct Disk(String);

impl Disk {
    fn new(scene: &Scene, label: &str) -> Result<Self> {
        let image = scene.write("disk", vec![0; 16 * 1024 * 1024])?;
        let image = image.display().to_string();
        run("mkfs.ext4", &["-q", "-L", label, &image])?;
        let device = run("losetup", &["--find", "--show", &image])?;
        Ok(Self(device.trim().to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
        let _ = Command::new("losetup").args(["--detach", &self.0]).output();
    }
}

#[test]
fn homes_are_mounted_from_a_disk_and_servers_that_are_none_are_refused() {
    play("agent_example_homes", async |scene| {
        let label = format!("qvd{}", std::process::id());
        let disk = Disk::new(scene, &label)?;
        let homes = scene.path("homes");
        let mount = example(scene, "mount_home-disk", &[])?;
        let shown = homes.display().to_string();
        let keys = [
            ("vma.on_provisioning.mount_home", mount.as_str()),
            ("vma.on_provisioning.add_user", "/bin/true"),
            ("vma.user.home.path", &shown),
        ];
        let agent = Agent::start(scene, "vm", &Desktop::Small, &keys).await?;
        let user = ("qvd.vm.user.name", "qvdnobody");
        let reason = refusal(&agent, &[user]).await?;
        assert!(
            reason.ends_with("no disk has the label qvd-home"),
            "{reason}"
        );
        let labelled = [user, ("custom.home.label", &label)];
        // It is mounted; that there is no such user is another matter.
        assert_eq!(refusal(&agent, &labelled).await?, "no such user: qvdnobody");
        let mounts = fs::read_to_string("/proc/mounts")?;
        assert!(
            mounts.contains(&format!("{} {shown} ext4", disk.0)),
            "{mounts}"
        );
        refusal(&agent, &labelled).await?;
        assert!(log(scene).contains("is mounted already"));
        drop(disk);

        let mount = example(scene, "mount_home-nfs", &[])?;
        let keys = [
            ("vma.on_provisioning.mount_home", mount.as_str()),
            ("vma.user.home.path", &shown),
        ];
        let agent = Agent::start(scene, "nfs", &Desktop::Small, &keys).await?;
        for export in ["-o suid x:/y", "server:/a b", "x:/../y"] {
            let reason = refusal(&agent, &[user, ("custom.home.export", export)]).await?;
            let expected = "the property custom.home.export is not SERVER:/FOLDER";
            assert!(reason.ends_with(expected), "{reason}");
        }
        let nobody = [user, ("custom.home.export", "127.0.0.1:/export")];
        let reason = refusal(&agent, &nobody).await?;
        let expected = "your files on 127.0.0.1 cannot be reached, try again later";
        assert!(reason.ends_with(expected), "{reason}");
        Ok(())
    });
}

#[test]
fn the_screen_is_locked_on_suspend() {
    play("agent_example_lock", async |scene| {
        let lock = example(scene, "suspend-lock", &[])?;
        let keys = [("vma.on_action.suspend", lock.as_str())];
        let seat = Seat::take(scene, &Desktop::Small, &keys).await?;
        let client = seat.connect(scene, &[]).await?;
        let window = seat.drawn().await?;
        let open = seat.display.screen().screenshot_of(&window)?;
        super::kill(client.proxy.pid())?;
        seat.becomes(SessionState::Suspended).await?;
        let display = seat.agent.display();
        until("i3lock", || !on_display("i3lock", display).is_empty()).await?;
        let _client = seat.connect(scene, &[]).await?;
        // Another window than before, whatever its number. What it shows is of
        // one colour, so nothing tells that it is drawn.
        let screen = seat.display.screen();
        let window = screen
            .wait_for_window("QVD", WAIT, super::is_session)
            .await?;
        let covered = |screen: &qvd_tests::display::Screen| {
            let now = screen.screenshot_of(&window)?;
            Ok(now.dominance() > 0.9 && now.changed_fraction(&open) > 0.1)
        };
        let locked = "a locked screen";
        seat.display
            .screen()
            .wait_for_pixels(locked, WAIT, covered)
            .await?;
        seat.display.save_screenshot(scene, "locked")?;
        seat.leave().await?;
        until("its end", || on_display("i3lock", display).is_empty()).await?;
        Ok(())
    });
}

#[test]
fn the_user_is_warned_before_the_machine_is_switched_off() {
    play("agent_example_poweroff", async |scene| {
        let off = scene.path("off");
        let poweroff = hook(scene, "off-command", &format!("touch {}", off.display()))?;
        let warn = example(scene, "poweroff-warning", &[])?;
        let keys = [
            ("vma.on_action.poweroff", warn.as_str()),
            ("command.poweroff", &poweroff),
        ];
        let seat = Seat::take(scene, &Desktop::Small, &keys).await?;
        let _client = seat.connect(scene, &[]).await?;
        seat.drawn().await?;
        let (called, clicked) = tokio::join!(
            seat.agent.call(Call::Poweroff),
            click_first_button(&seat, "Switching off")
        );
        clicked?;
        assert_eq!(called?, Reply::Nothing);
        until("the end", || off.exists()).await?;
        assert!(log(scene).contains("hook=poweroff"));
        seat.leave().await?;
        fs::remove_file(&off)?;
        // Nobody is there.
        assert_eq!(seat.agent.call(Call::Poweroff).await?, Reply::Nothing);
        until("the end", || off.exists()).await?;
        assert!(log(scene).contains("nobody to warn"));
        Ok(())
    });
}

#[test]
fn the_user_is_asked_once_to_restart_an_expired_machine() {
    play("agent_example_expire", async |scene| {
        let again = scene.path("again");
        let restart = hook(scene, "restart", &format!("touch {}", again.display()))?;
        let set = format!("RESTART={restart}");
        let lock = scene.path("lock").display().to_string();
        let changes = [
            ("RESTART=reboot", set.as_str()),
            ("/run/qvd-expire.lock", &lock),
        ];
        let ask = example(scene, "expire-ask", &changes)?;
        let keys = [("vma.on_action.expire", ask.as_str())];
        let seat = Seat::take(scene, &Desktop::Small, &keys).await?;
        let _client = seat.connect(scene, &[]).await?;
        seat.drawn().await?;
        let display = seat.agent.display();
        assert_eq!(seat.agent.call(Call::Expire).await?, Reply::Nothing);
        let dialogs = || on_display("xmessage", display);
        until("the dialog", || dialogs().len() == 1).await?;
        // The hourly call.
        assert_eq!(seat.agent.call(Call::Expire).await?, Reply::Nothing);
        let daemon = seat.agent.daemon_log()?;
        let said = "hook expire is not run: the last one has not ended yet";
        daemon
            .wait_for(0, said, WAIT, |line| line.text.contains(said))
            .await?;
        assert_eq!(dialogs().len(), 1);
        assert!(!again.exists());
        click_first_button(&seat, "A new version of this desktop").await?;
        until("the restart", || again.exists()).await?;
        assert!(dialogs().is_empty());
        assert!(
            !session(&seat.agent)?.is_empty(),
            "the session is not touched"
        );
        seat.leave().await?;
        fs::remove_file(&again)?;
        assert_eq!(seat.agent.call(Call::Expire).await?, Reply::Nothing);
        until("the restart", || again.exists()).await?;
        Ok(())
    });
}
