//! The log: rotated by logrotate, taken by rsyslog, on a full disk, and
//! without a secret.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use qvd_rpc::{Call, Reply, SessionState};
use qvd_tests::process::{Process, Program};
use qvd_tests::rig::{Agent, Desktop};
use qvd_tests::{Outcome, Scene, play};

use super::{Seat, WAIT, kill, log_name};

/// Waits until a file has this text.
async fn says(file: &Path, text: &str) -> Outcome {
    let wait = async {
        while !fs::read_to_string(file).unwrap_or_default().contains(text) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(WAIT, wait).await.is_err() {
        let now = fs::read_to_string(file).unwrap_or_default();
        return Err(format!("{} does not say '{text}': {now}", file.display()).into());
    }
    Ok(())
}

/// Starts an agent whose log is elsewhere than where the rig looks.
async fn start(
    scene: &Scene,
    keys: &[(&str, &str)],
    log: &Path,
) -> std::result::Result<(Agent, Process), Box<dyn std::error::Error>> {
    let agent = Agent::configure(scene, "vm", &Desktop::Small, keys)?;
    let daemon = scene.start(agent.program(scene)?)?;
    says(log, "listening on").await?;
    Ok((agent, daemon))
}

async fn rotate(scene: &Scene, log: &Path, how: &str) -> Outcome {
    let text = format!("{} {{\n  rotate 3\n  {how}\n}}\n", log.display());
    let config = scene.write("logrotate.conf", text)?;
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644))?;
    // It refuses folders that others may write to.
    if let Some(folder) = log.parent() {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    }
    let program = Program::installed("logrotate", "logrotate")
        .or_else(|_| Ok::<_, qvd_tests::Error>(Program::at("/usr/sbin/logrotate")))?;
    let state = scene.path("logrotate.state");
    let program = scene.dress(program).args(["--force", "--state"]);
    let mut rotation = scene.start(program.arg(&state).arg(&config))?;
    let status = rotation.wait(WAIT).await?;
    assert!(status.success(), "{}", rotation.log().text());
    Ok(())
}

#[test]
fn the_log_goes_on_in_the_next_file_after_rotation() {
    play("agent_log_rotation", async |scene| {
        let folder = scene.path("logs");
        fs::create_dir(&folder)?;
        let log = folder.join("qvd.log");
        let file = log.display().to_string();
        let keys = [("log.filename", file.as_str())];
        let (agent, _daemon) = start(scene, &keys, &log).await?;
        let display = super::user_display(scene).await?;
        let client = super::connect(scene, &agent, &display, &[]).await?;
        let name = log_name(&agent)?;

        // With a next file made by logrotate, and without.
        for (number, how) in ["create 0640", "nocreate"].iter().enumerate() {
            rotate(scene, &log, how).await?;
            says(&log, "the log file was opened again").await?;
            agent.call(Call::Expire).await?;
            says(&log, "has expired").await?;
            // What the session process says comes to the new file, too.
            if number == 0 {
                kill(client.proxy.pid())?;
                agent.wait_for_state(SessionState::Suspended, WAIT).await?;
                says(&log, "Session: Session suspended").await?;
                says(&log, "client's connection is over").await?;
            }
        }
        let all = fs::read_to_string(folder.join("qvd.log.2"))?;
        assert!(all.contains("listening on"), "{all}");
        agent.call(Call::XStop).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        let text = fs::read_to_string(folder.join("qvd.log.1"))?;
        for line in text.lines().filter(|line| line.contains("Session: ")) {
            assert!(line.contains(&format!("session={name}")), "{line}");
        }
        let mode = fs::metadata(&log)?.permissions().mode();
        assert_eq!(mode & 0o007, 0, "others may read the log");
        Ok(())
    });
}

#[test]
fn the_manuals_lines_send_the_log_to_syslog() {
    play("agent_log_syslog", async |scene| {
        let socket = scene.path("dev-log");
        let messages = scene.path("messages");
        let config = scene.write(
            "rsyslog.conf",
            format!(
                "global(workDirectory=\"{}\")\n\
                 module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
                 input(type=\"imuxsock\" Socket=\"{}\")\n\
                 template(name=\"t\" type=\"string\" \
                 string=\"%syslogfacility-text%.%syslogseverity-text% %syslogtag% %msg%\\n\")\n\
                 *.* action(type=\"omfile\" file=\"{}\" template=\"t\")\n",
                scene.directory().display(),
                socket.display(),
                messages.display()
            ),
        )?;
        let program = Program::installed("rsyslogd", "rsyslog")
            .or_else(|_| Ok::<_, qvd_tests::Error>(Program::at("/usr/sbin/rsyslogd")))?;
        let pid = scene.path("rsyslog.pid");
        let program = scene.dress(program).args(["-n", "-i"]).arg(&pid);
        let _syslog = scene.start(program.arg("-f").arg(&config))?;
        let there = async {
            while !socket.exists() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(WAIT, there).await?;

        let path = socket.display().to_string();
        let keys = [
            ("log4perl.appender.SYSLOG", "Log::Dispatch::Syslog"),
            (
                "log4perl.appender.SYSLOG.layout",
                "Log::Log4perl::Layout::PatternLayout",
            ),
            (
                "log4perl.appender.SYSLOG.layout.ConversionPattern",
                "%d %P %F %L %c - %m%n",
            ),
            ("log4perl.rootLogger", "DEBUG, SYSLOG"),
            ("log4perl.appender.SYSLOG.facility", "local3"),
            ("log4perl.appender.SYSLOG.socket.path", path.as_str()),
        ];
        let (agent, _daemon) = start(scene, &keys, &messages).await?;
        agent.start_session(&[]).await?;
        agent.wait_for_state(SessionState::Listening, WAIT).await?;
        let name = log_name(&agent)?;
        says(&messages, &format!("session={name} session is listening")).await?;
        // Of the session process.
        says(&messages, "nxagent - session=").await?;
        agent.call(Call::XStop).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        let text = fs::read_to_string(&messages)?;
        let line = text.lines().find(|line| line.contains("listening on"));
        let line = line.ok_or("no line")?;
        assert!(line.starts_with("local3.info qvd-vma["), "{line}");
        assert!(line.contains("vma/src/daemon/mod.rs"), "{line}");
        Ok(())
    });
}

#[test]
fn a_full_disk_under_the_log_hinders_nothing() {
    play("agent_log_full", async |scene| {
        let keys = [("log.filename", "/dev/full"), ("log.level", "ALL")];
        let agent = Agent::configure(scene, "vm", &Desktop::Small, &keys)?;
        let _daemon = scene.start(agent.program(scene)?)?;
        let answered = async {
            while agent.call(Call::Ping).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(WAIT, answered).await?;
        let display = super::user_display(scene).await?;
        let _client = super::connect(scene, &agent, &display, &[]).await?;
        assert_eq!(agent.call(Call::Ping).await?, Reply::Alive);
        agent.call(Call::XStop).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        Ok(())
    });
}

/// The files of a folder and those below it, with their contents.
fn texts_below(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) -> Outcome {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            texts_below(&entry.path(), found)?;
        } else if kind.is_file() {
            found.push((entry.path().display().to_string(), fs::read(entry.path())?));
        }
    }
    Ok(())
}

fn holds(text: &[u8], secret: &[u8]) -> bool {
    text.windows(secret.len()).any(|part| part == secret)
}

#[test]
fn no_log_has_a_secret_though_everything_is_logged() {
    play("agent_log_secrets", async |scene| {
        let key = "a-key-of-callers-0815";
        let keys = scene.write("key", format!("{key}\n"))?;
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o600))?;
        let keys = keys.display().to_string();
        let settings = [("log.level", "ALL")];
        let mut seat = Seat::take(scene, &Desktop::Small, &settings).await?;
        let properties = [
            (
                "qvd.slave.key",
                "slavekeyslavekeyslavekeyslavekey0123456789",
            ),
            ("auth_token", "token-of-the-user-4711"),
            ("qvd.vm.user.password", "password-of-the-user-4711"),
            ("custom.pin", "pin-of-the-user-4711"),
        ];
        let _client = seat.connect(scene, &properties).await?;
        let authority = seat
            .agent
            .run_directory()
            .join(format!("session-{}/Xauthority", seat.agent.display()));
        let authority = fs::read(authority)?;
        let cookie = authority.split_at(authority.len() - 16).1.to_vec();
        let hexadecimal: String = cookie.iter().map(|b| format!("{b:02x}")).collect();

        // A caller who must show a key, does not, and does.
        let config = seat.agent.config().to_owned();
        let text = fs::read_to_string(&config)?;
        let position = seat.agent.daemon()?.log().position();
        fs::write(&config, format!("{text}vma.rpc.key_file = {keys}\n"))?;
        let daemon = seat.agent.daemon()?;
        daemon
            .expect_after(position, "vma.rpc.key_file has changed", WAIT)
            .await?;
        assert!(seat.agent.call(Call::Ping).await.is_err());
        for shown in [key, "a-key-that-is-wrong"] {
            super::security::ask(seat.agent.rpc(), "x_state", Some(shown)).await?;
        }
        let position = seat.agent.daemon()?.log().position();
        fs::write(&config, text)?;
        let daemon = seat.agent.daemon()?;
        daemon
            .expect_after(position, "vma.rpc.key_file has changed", WAIT)
            .await?;
        seat.leave().await?;

        let mut places = Vec::new();
        texts_below(scene.directory(), &mut places)?;
        places.retain(|(path, _)| path.ends_with(".log"));
        let log = seat.agent.daemon()?.log();
        places.push(("the agent".into(), log.text().into_bytes()));
        assert!(log.text().contains(" DEBUG "), "not everything was logged");
        let mut secrets: Vec<&[u8]> = properties.iter().map(|(_, v)| v.as_bytes()).collect();
        let wrong: &[u8] = b"a-key-that-is-wrong";
        secrets.extend([key.as_bytes(), wrong, &cookie, hexadecimal.as_bytes()]);
        for (place, text) in &places {
            for secret in &secrets {
                let shown = String::from_utf8_lossy(secret);
                assert!(!holds(text, secret), "{place} has {shown}");
            }
        }
        Ok(())
    });
}

#[test]
fn the_journal_gets_lines_with_their_session() {
    play("agent_log_journal", async |scene| {
        // A journal of its own needs a /run of its own.
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let journal = scene.path("journal");
        fs::create_dir(&journal)?;
        let keys = [("log.journal", "1")];
        let agent = Agent::configure(scene, "vm", &Desktop::Small, &keys)?;
        let vma = qvd_tests::programs::built("qvd-vma")?;
        let script = format!(
            "set -e; mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/journal /run/log/journal\n\
             mount --bind '{}' /run/log/journal\n\
             setpriv --pdeathsig KILL /lib/systemd/systemd-journald &\n\
             until [ -S /run/systemd/journal/socket ]; do sleep 0.05; done\n\
             exec '{}' daemon --config '{}'\n",
            journal.display(),
            vma.display(),
            agent.config().display()
        );
        let program = scene.installed("unshare", "util-linux")?.named("vm");
        let _daemon = scene.start(program.args(["-m", "sh", "-c", &script]))?;
        let answered = async {
            while agent.call(Call::Ping).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(WAIT, answered).await?;
        agent.start_session(&[]).await?;
        agent.wait_for_state(SessionState::Listening, WAIT).await?;
        let name = log_name(&agent)?;
        agent.call(Call::XStop).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;

        let reader = scene.installed("journalctl", "systemd")?;
        let session = format!("QVD_SESSION={name}");
        let words = ["-o", "json", "--no-pager", "--directory"];
        let mut reader = scene.start(reader.args(words).arg(&journal).arg(&session))?;
        reader.wait(WAIT).await?;
        let _ = reader.log().wait_for(0, "the end", WAIT, |_| false).await;
        let mut processes = std::collections::BTreeSet::new();
        let mut listening = false;
        for line in reader.log().lines() {
            let entry: serde_json::Value = serde_json::from_str(&line.text)?;
            assert_eq!(entry["SYSLOG_IDENTIFIER"], "qvd-vma");
            assert!(entry["PRIORITY"].is_string(), "{entry}");
            let message = entry["MESSAGE"].as_str().unwrap_or_default();
            listening |= message.starts_with("session is listening");
            processes.insert(entry["_PID"].to_string());
        }
        assert!(listening, "{}", reader.log().text());
        assert_eq!(processes.len(), 2, "daemon and session process");
        Ok(())
    });
}
