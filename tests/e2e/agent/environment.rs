//! What a session's programs are started with.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::path::Path;

use qvd_rpc::{Call, SessionState};
use qvd_tests::play;
use qvd_tests::rig::Agent;

use super::vm::{Result, Vm};
use super::{Seat, WAIT, process_with, session, user_display, waited};

const ANN: [(&str, &str); 3] = [
    ("qvd.vm.user.name", "ann"),
    ("qvd.vm.user.uid", "4321"),
    ("qvd.vm.user.groups", "audio"),
];

/// The environment of the session's process whose command line has a text.
fn environment(agent: &Agent, command: &str) -> Result<BTreeMap<String, String>> {
    let pid = process_with(&session(agent)?, command)?;
    let bytes = fs::read(format!("/proc/{pid}/environ"))?;
    let text = String::from_utf8(bytes)?;
    let variables = text.split('\0').filter_map(|v| v.split_once('='));
    Ok(variables
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .collect())
}

fn value<'v>(variables: &'v BTreeMap<String, String>, name: &str) -> &'v str {
    variables.get(name).map_or("", String::as_str)
}

/// Makes ann, with a home in which there is a file of variables.
fn make_ann(vm: &Vm, file: &str) -> Result<()> {
    let home = vm.homes().join("ann");
    let path = home.display().to_string();
    vm.must("useradd", &["-M", "-u", "4321", "-d", &path, "ann"])?;
    fs::create_dir_all(&home)?;
    fs::write(home.join(".qvd_environment"), file)?;
    chown(&home, Some(4321), Some(4321))?;
    Ok(())
}

#[test]
fn files_of_the_system_and_of_the_user_make_the_environment() {
    play("environment_files", async |scene| {
        let vm = Vm::make(scene, "vm", "true").await?;
        fs::write(
            vm.etc().join("locale.conf"),
            "LANG=fr_FR.UTF-8\nLC_TIME=fr_FR.UTF-8\n",
        )?;
        fs::write(vm.etc().join("default/locale"), "LANG=\"de_DE.UTF-8\"\n")?;
        fs::write(
            vm.etc().join("environment"),
            "SITE=here\nexport LC_PAPER='de_DE' # A4\n",
        )?;
        make_ann(
            &vm,
            "SITE=home\nfaulty line\nEDITOR=vi\nHOME=/\nLD_DEBUG_OUTPUT=/tmp/x\n",
        )?;
        let keys = [
            ("vma.default.lang", "es_ES.UTF-8"),
            ("vma.user.umask", "0027"),
        ];
        let mut agent = vm.agent(scene, "vm", &keys)?;
        vm.start(scene, &mut agent).await?;
        let display = user_display(scene).await?;
        let seat = Seat { display, agent };
        let client = seat.connect(scene, &ANN).await?;
        seat.drawn().await?;
        let desktop = environment(&seat.agent, "openbox")?;
        let home = vm.homes().join("ann").display().to_string();
        let runtime = seat.agent.run_directory();
        let runtime = runtime.join(format!("session-{}/runtime", seat.agent.display()));
        for (name, expected) in [
            ("LANG", "de_DE.UTF-8"),
            ("LC_TIME", "fr_FR.UTF-8"),
            ("LC_PAPER", "de_DE"),
            ("SITE", "home"),
            ("EDITOR", "vi"),
            ("HOME", &home),
            ("USER", "ann"),
            ("LOGNAME", "ann"),
            (
                "PATH",
                "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games",
            ),
            ("XDG_RUNTIME_DIR", &runtime.display().to_string()),
            ("DISPLAY", &format!(":{}", seat.agent.display())),
        ] {
            assert_eq!(value(&desktop, name), expected, "{name}");
        }
        let folder = fs::metadata(&runtime)?;
        assert_eq!((folder.uid(), folder.mode() & 0o7777), (4321, 0o700));
        let nxagent = environment(&seat.agent, "nxagent")?;
        assert_eq!(value(&nxagent, "SITE"), "here");
        assert!(!nxagent.contains_key("LD_DEBUG_OUTPUT"));
        let pid = process_with(&session(&seat.agent)?, "openbox")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        assert!(status.contains("Umask:\t0027"), "{status}");
        let log = seat.agent.daemon_log()?.text();
        assert!(log.contains(".qvd_environment:2: not NAME=value"), "{log}");
        assert!(log.contains("HOME cannot be changed"), "{log}");
        assert!(!log.contains("faulty line"), "{log}");
        // What is mounted in there, and nobody serves any more.
        let mounted = runtime.join("mounted place");
        fs::create_dir(&mounted)?;
        vm.must(
            "mount",
            &["-t", "tmpfs", "tmpfs", &mounted.display().to_string()],
        )?;
        seat.leave().await?;
        assert!(!runtime.exists());
        drop(client);
        Ok(())
    });
}

#[test]
fn a_users_file_cannot_stop_his_session_nor_show_what_is_not_his() {
    play("environment_hostile", async |scene| {
        let vm = Vm::make(scene, "vm", "true").await?;
        make_ann(&vm, "")?;
        let file = vm.homes().join("ann/.qvd_environment");
        let secret = vm.homes().join("secret");
        fs::write(&secret, "SECRET=1\n")?;
        fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        let mut agent = vm.agent(scene, "vm", &[])?;
        vm.start(scene, &mut agent).await?;
        for kind in ["pipe", "link", "endless"] {
            let _ = fs::remove_file(&file);
            match kind {
                "pipe" => vm.must("mkfifo", &[&file.display().to_string()])?,
                "link" => symlink(&secret, &file)?,
                _ => symlink("/dev/zero", &file)?,
            }
            agent.start_session(&ANN).await?;
            agent.wait_for_state(SessionState::Listening, WAIT).await?;
            let nxagent = environment(&agent, "nxagent")?;
            assert!(!nxagent.contains_key("SECRET"), "{kind}");
            agent.call(Call::XStop).await?;
            agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        }
        let log = agent.daemon_log()?.text();
        assert!(log.contains("Permission denied"), "{log}");
        assert_eq!(log.matches("not a file").count(), 2, "{log}");
        Ok(())
    });
}

#[test]
fn systemd_and_pam_give_a_session_what_a_login_gives() {
    play("environment_systemd", async |scene| {
        let vm = Vm::with_systemd(scene, "vm").await?;
        fs::write(vm.etc().join("environment"), "SITE=here\n")?;
        let limits = vm.etc().join("security/limits.d/test.conf");
        fs::write(limits, "ann hard nofile 777\n")?;
        make_ann(&vm, "EDITOR=vi\n")?;
        let mut agent = vm.agent(scene, "vm", &[("vma.default.lang", "qq_QQ.UTF-8")])?;
        vm.start(scene, &mut agent).await?;
        let display = user_display(scene).await?;
        let seat = Seat { display, agent };
        let client = seat.connect(scene, &ANN).await?;
        seat.drawn().await?;

        let name = session(&seat.agent)?;
        let desktop = environment(&seat.agent, "openbox")?;
        for (name, expected) in [
            ("XDG_RUNTIME_DIR", "/run/user/4321"),
            ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/4321/bus"),
            ("XDG_SESSION_TYPE", "x11"),
            ("SITE", "here"),
            ("EDITOR", "vi"),
            ("USER", "ann"),
        ] {
            assert_eq!(value(&desktop, name), expected, "{name}");
        }
        assert!(!desktop.contains_key("INVOCATION_ID"));
        let login = value(&desktop, "XDG_SESSION_ID").to_owned();
        let shown = vm.ask(
            "loginctl",
            &["show-session", &login, "-p", "Name", "--value"],
        )?;
        assert_eq!(shown, "ann");
        let pid = process_with(&name, "openbox")?;
        let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
        let files = limits
            .lines()
            .find(|line| line.starts_with("Max open files"));
        assert!(
            files.is_some_and(|line| line.contains(" 777 ")),
            "{files:?}"
        );
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let audio = vm.ask("getent", &["group", "audio"])?;
        let audio = audio.split(':').nth(2).unwrap_or("none").to_owned();
        let groups = status.lines().find(|line| line.starts_with("Groups:"));
        let groups = groups.unwrap_or_default();
        assert!(groups.split_whitespace().any(|g| g == audio), "{groups}");
        let ignored = status.lines().find(|line| line.starts_with("SigIgn:"));
        let ignored = ignored.and_then(|line| u64::from_str_radix(line[7..].trim(), 16).ok());
        assert_eq!(
            ignored.map(|set| set & (1 << 12)),
            Some(0),
            "SIGPIPE is ignored"
        );
        let bus = [
            "-u",
            "ann",
            "env",
            "XDG_RUNTIME_DIR=/run/user/4321",
            "busctl",
            "--user",
            "list",
        ];
        vm.must("runuser", &bus)?;

        // A new daemon finds the session, and the desktop has not noticed.
        let mut seat = seat;
        super::kill(process_id(&format!(
            "daemon --config {}",
            seat.agent.config().display()
        ))?)?;
        seat.agent.daemon()?.wait(WAIT).await?;
        vm.start(scene, &mut seat.agent).await?;
        seat.becomes(SessionState::Connected).await?;
        assert_eq!(process_with(&name, "openbox")?, pid);

        seat.leave().await?;
        drop(client);
        let units = vm.ask(
            "systemctl",
            &["list-units", "--all", "--plain", "qvd-session-*"],
        )?;
        assert!(!units.contains("qvd-session"), "{units}");
        gone(&vm, &login).await?;

        // The whole session ends with its process, whatever ended that.
        let client = seat.connect(scene, &ANN).await?;
        seat.drawn().await?;
        let name = session(&seat.agent)?;
        super::kill(process_with(&name, "qvd-vma-session")?)?;
        seat.becomes(SessionState::Stopped).await?;
        super::nothing_left(&seat.agent, &name)?;
        drop(client);

        // PAM has the last word on who may have a session.
        fs::write(vm.etc().join("nologin"), "closed\n")?;
        seat.agent.start_session(&ANN).await?;
        seat.becomes(SessionState::Stopped).await?;
        let reason = waited(&seat.agent).await?.reason.unwrap_or_default();
        assert_eq!(reason, "PAM refuses a session to user ann");
        Ok(())
    });
}

/// The process with this command line; of a VM, as this machine numbers it.
fn process_id(command: &str) -> Result<u32> {
    for entry in fs::read_dir("/proc")?.flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let own = Path::new(line.split(' ').next().unwrap_or_default());
        if own.ends_with("qvd-vma") && line.contains(command) {
            return Ok(entry.file_name().to_string_lossy().parse()?);
        }
    }
    Err(format!("no process runs {command}").into())
}

/// Waits until logind has closed a session.
async fn gone(vm: &Vm, login: &str) -> Result<()> {
    let closed = async {
        while vm
            .ask("loginctl", &["list-sessions", "--no-legend"])
            .is_ok_and(|list| list.split_whitespace().next() == Some(login))
        {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let closed = tokio::time::timeout(WAIT, closed).await;
    let status = || {
        vm.ask("loginctl", &["session-status", login])
            .unwrap_or_default()
    };
    Ok(closed.map_err(|_| format!("a session of logind lives on: {}", status()))?)
}
