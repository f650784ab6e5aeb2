//! Users, their homes, and the drive of the homes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use qvd_rpc::{Call, SessionState};
use qvd_tests::rig::Agent;
use qvd_tests::{Scene, play, play_for};
use rustix::process::Signal;

use super::vm::{Drive, Result, Vm, require_programs, run};
use super::{WAIT, processes, session, waited};

const DRIVE: u64 = 48 << 20;

/// Starts a session up to the point where its client may come.
async fn listen(agent: &Agent, properties: &[(&str, &str)]) -> Result<()> {
    agent.start_session(properties).await?;
    Ok(agent.wait_for_state(SessionState::Listening, WAIT).await?)
}

async fn stop(agent: &Agent) -> Result<()> {
    let name = session(agent)?;
    agent.call(Call::XStop).await?;
    agent.wait_for_state(SessionState::Stopped, WAIT).await?;
    Ok(super::nothing_left(agent, &name)?)
}

/// Starts a session that fails before a client could come; gives the reason.
async fn reason_of(agent: &Agent, properties: &[(&str, &str)]) -> Result<String> {
    agent.start_session(properties).await?;
    agent.wait_for_state(SessionState::Stopped, WAIT).await?;
    Ok(waited(agent).await?.reason.unwrap_or_default())
}

/// A value of all processes of the agent's session, in which they agree.
fn status_of(agent: &Agent, key: &str) -> Result<String> {
    let all = processes(&session(agent)?);
    let mut values: Vec<String> = all
        .iter()
        .filter_map(|(pid, _)| fs::read_to_string(format!("/proc/{pid}/status")).ok())
        .filter_map(|status| {
            let value = status.lines().find_map(|line| line.strip_prefix(key))?;
            Some(value.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect();
    values.dedup();
    assert_eq!(values.len(), 1, "{values:?}");
    Ok(values.remove(0))
}

#[test]
fn a_user_is_made_as_asked_and_a_second_one_beside_him() {
    play("provision_user", async |scene| {
        let vm = Vm::make(scene, "vm", "true").await?;
        let shell = [
            ("vma.user.shell", "/bin/sh"),
            ("vma.user.default.groups", "audio"),
        ];
        let mut agent = vm.agent(scene, "vm", &shell)?;
        vm.start(scene, &mut agent).await?;
        let ann = [
            ("qvd.vm.user.name", "ann"),
            ("qvd.vm.user.uid", "4321"),
            ("qvd.vm.user.gid", "4322"),
            ("qvd.vm.user.group", "people"),
            ("qvd.vm.user.groups", "audio,video"),
        ];
        listen(&agent, &ann).await?;
        assert_eq!(status_of(&agent, "Uid:")?, ["4321"; 4].join(" "));
        assert_eq!(status_of(&agent, "Gid:")?, ["4322"; 4].join(" "));
        assert_eq!(vm.ask("id", &["-Gn", "ann"])?, "people audio video");
        let home = vm.homes().join("ann");
        let entry = format!("ann:x:4321:4322::{}:/bin/sh", home.display());
        assert_eq!(vm.ask("getent", &["passwd", "ann"])?, entry);
        let folder = fs::metadata(&home)?;
        assert_eq!((folder.uid(), folder.gid()), (4321, 4322));
        assert_eq!(folder.mode() & 0o7777, 0o700);
        assert_eq!(fs::metadata(home.join(".profile"))?.uid(), 4321);
        stop(&agent).await?;

        // Taken as she is; of the groups, what is new counts in her session.
        fs::write(home.join(".profile"), "hers")?;
        let before = vm.ask("cat", &["/etc/passwd", "/etc/group", "/etc/shadow"])?;
        let again = [
            ("qvd.vm.user.name", "ann"),
            ("qvd.vm.user.groups", "audio,users,qvdnone"),
        ];
        listen(&agent, &again).await?;
        assert_eq!(
            vm.ask("cat", &["/etc/passwd", "/etc/group", "/etc/shadow"])?,
            before
        );
        assert_eq!(fs::read(home.join(".profile"))?, b"hers");
        let users = vm.ask("getent", &["group", "users"])?;
        let users = users.split(':').nth(2).unwrap_or_default().to_owned();
        let groups = status_of(&agent, "Groups:")?;
        assert!(groups.split(' ').any(|group| group == users), "{groups}");
        stop(&agent).await?;

        listen(&agent, &[("qvd.vm.user.name", "ben")]).await?;
        assert_eq!(vm.ask("id", &["-Gn", "ben"])?, "ben audio");
        assert_eq!(vm.entries("passwd", "ann")?, 1);
        stop(&agent).await?;
        Ok(())
    });
}

#[test]
fn what_cannot_be_made_is_said_and_nothing_is_left_of_it() {
    play("provision_failures", async |scene| {
        let vm = Vm::make(scene, "vm", "true").await?;
        let before = vm.ask("cat", &["/etc/passwd", "/etc/group"])?;
        let failing = scene.script(
            "failing",
            "/usr/sbin/useradd \"$@\"; echo no room >&2; exit 9",
        )?;
        let failing = failing.display().to_string();
        for (name, useradd, expected) in [
            (
                "missing",
                "/nonexistent/useradd",
                "/nonexistent/useradd is not installed",
            ),
            (
                "failing",
                failing.as_str(),
                "failed: no room (exit status 9)",
            ),
            ("mute", "/bin/false", "/bin/false failed: exit status 1"),
            (
                "liar",
                "/bin/true",
                "/bin/true has added user cat, whom the system does not know",
            ),
        ] {
            let mut agent = vm.agent(scene, name, &[("command.useradd", useradd)])?;
            vm.start(scene, &mut agent).await?;
            let reason = reason_of(&agent, &[("qvd.vm.user.name", "cat")]).await?;
            assert!(reason.contains(expected), "{reason}");
            assert_eq!(
                vm.ask("cat", &["/etc/passwd", "/etc/group"])?,
                before,
                "{name}"
            );
            assert!(!vm.homes().join("cat").exists());
            let journal = format!("provision-{}.json", agent.display());
            assert!(!agent.run_directory().join(journal).exists(), "{name}");
        }
        let mut agent = vm.agent(scene, "vm", &[])?;
        vm.start(scene, &mut agent).await?;
        vm.must("useradd", &["-M", "-u", "4500", "dan"])?;
        let before = vm.ask("cat", &["/etc/passwd", "/etc/group"])?;
        for (key, value, expected) in [
            (
                "uid",
                "4500",
                "user cat cannot be added: id 4500 belongs to dan",
            ),
            (
                "groups",
                "audio,qvdnone",
                "user cat cannot be added: no such group: qvdnone",
            ),
            ("home", "/proc/cat", "home /proc/cat cannot be made: "),
        ] {
            let key = format!("qvd.vm.user.{key}");
            let cat = [("qvd.vm.user.name", "cat"), (key.as_str(), value)];
            let reason = reason_of(&agent, &cat).await?;
            assert!(reason.starts_with(expected), "{reason}");
            assert_eq!(
                vm.ask("cat", &["/etc/passwd", "/etc/group"])?,
                before,
                "{value}"
            );
        }
        Ok(())
    });
}

#[test]
fn a_directorys_user_is_found_and_not_made() {
    play("provision_directory", async |scene| {
        let people = scene.path("people");
        fs::create_dir(&people)?;
        let home = scene.path("vm-homes").join("eve");
        let entry = format!("eve:x:5150:100:Eve:{}:/bin/sh\n", home.display());
        fs::write(people.join("passwd"), entry)?;
        fs::write(people.join("group"), "choir:x:5151:eve\n")?;
        fs::write(people.join("shadow"), "eve:*:19000:0:99999:7:::\n")?;
        let library = "ls /lib/*/libnss_extrausers.so.2 /usr/lib/libnss_extrausers.so.2";
        let mounts = format!(
            "{library} 2>/dev/null | grep -q . || {{ echo 'install the package libnss-extrausers' >&2; exit 1; }}
             sed -i 's/^\\(passwd\\|group\\|shadow\\):.*/\\1: files extrausers/' /etc/nsswitch.conf
             mount --bind '{}' /var/lib/extrausers",
            people.display()
        );
        let vm = Vm::make(scene, "vm", &mounts).await?;
        assert_eq!(vm.entries("passwd", "eve")?, 0);
        let useradd = [("command.useradd", "/bin/false")];
        let mut agent = vm.agent(scene, "vm", &useradd)?;
        vm.start(scene, &mut agent).await?;
        let eve = [("qvd.vm.user.name", "eve"), ("qvd.vm.user.groups", "audio")];
        listen(&agent, &eve).await?;
        assert_eq!(status_of(&agent, "Uid:")?, ["5150"; 4].join(" "));
        let groups = status_of(&agent, "Groups:")?;
        let audio = vm.ask("getent", &["group", "audio"])?;
        let audio = audio.split(':').nth(2).unwrap_or_default().to_owned();
        for group in ["5151", &audio] {
            assert!(groups.split(' ').any(|known| known == group), "{groups}");
        }
        assert_eq!(vm.entries("passwd", "eve")?, 0);
        // Directories know homes that no machine has yet.
        assert_eq!(fs::metadata(&home)?.uid(), 5150);
        stop(&agent).await?;
        Ok(())
    });
}

#[test]
fn an_empty_drive_becomes_the_homes_and_keeps_them() {
    play("provision_drive", async |scene| {
        require_programs(scene)?;
        let drive = Drive::empty(scene, "drive", DRIVE)?;
        let vm = Vm::make(scene, "vm", "true").await?;
        let path = drive.path();
        let mut agent = vm.agent(scene, "vm", &[("vma.user.home.drive", &path)])?;
        vm.start(scene, &mut agent).await?;
        vm.must("useradd", &["-M", "-u", "4600", "first"])?;
        listen(&agent, &[("qvd.vm.user.name", "fay")]).await?;
        let homes = vm.homes().display().to_string();
        let mounted = vm.ask("findmnt", &["-no", "SOURCE,FSTYPE,OPTIONS", &homes])?;
        assert!(mounted.starts_with(&format!("{path}p1 ext4 ")), "{mounted}");
        assert!(
            mounted.contains("nosuid") && mounted.contains("nodev"),
            "{mounted}"
        );
        let uid = vm.ask("id", &["-u", "fay"])?;
        assert_ne!(uid, "4600");
        stop(&agent).await?;

        // The VM is started again, and its image keeps nothing: the user comes
        // back with the id that the home on the drive has, and the files.
        let file = format!("{homes}/fay/kept");
        vm.must("touch", &[&file])?;
        vm.must("umount", &[&homes])?;
        vm.reset_accounts()?;
        listen(&agent, &[("qvd.vm.user.name", "fay")]).await?;
        assert_eq!(vm.ask("id", &["-u", "fay"])?, uid);
        vm.must("test", &["-e", &file])?;
        stop(&agent).await?;
        let count = vm.ask("findmnt", &["-no", "SOURCE", &homes])?;
        assert_eq!(count.lines().count(), 1, "{count}");
        Ok(())
    });
}

#[test]
fn a_drive_with_a_file_system_is_mounted_as_it_is() {
    play("provision_drive_used", async |scene| {
        require_programs(scene)?;
        let dos =
            "printf 'label: dos\\n,,L\\n' | sfdisk -q --no-tell-kernel \"$1\"; partx -u \"$1\"";
        for (name, script, source) in [
            ("whole", "mkfs.ext4 -q \"$1\"".to_owned(), ""),
            (
                "dos",
                format!("{dos}; mkfs.ext4 -q \"$1\"p1; partx -d \"$1\""),
                "p1",
            ),
            ("bare", format!("{dos}; partx -d \"$1\""), "p1"),
        ] {
            let drive = Drive::empty(scene, name, DRIVE)?;
            drive.with(&script)?;
            let vm = Vm::make(scene, &format!("{name}-vm"), "true").await?;
            let path = drive.path();
            let mut agent = vm.agent(scene, name, &[("vma.user.home.drive", &path)])?;
            vm.start(scene, &mut agent).await?;
            listen(&agent, &[("qvd.vm.user.name", "gus")]).await?;
            let homes = vm.homes().display().to_string();
            let mounted = vm.ask("findmnt", &["-no", "SOURCE", &homes])?;
            assert_eq!(mounted, format!("{path}{source}"), "{name}");
            stop(&agent).await?;
            // Mounted somewhere else, it is not mounted twice.
            vm.must("umount", &[&homes])?;
            let other = scene.path(format!("{name}-other"));
            fs::create_dir(&other)?;
            vm.must("mount", &[&mounted, &other.display().to_string()])?;
            let reason = reason_of(&agent, &[("qvd.vm.user.name", "gus")]).await?;
            assert!(reason.contains("is mounted on"), "{reason}");
        }
        Ok(())
    });
}

#[test]
fn a_drive_with_foreign_data_is_left_untouched() {
    play("provision_drive_foreign", async |scene| {
        require_programs(scene)?;
        let vm = Vm::make(scene, "vm", "true").await?;
        let dos =
            "printf 'label: dos\\n,,L\\n' | sfdisk -q --no-tell-kernel \"$1\"; partx -u \"$1\"";
        for (name, script, expected) in [
            ("swap", "mkswap \"$1\"".to_owned(), "holds swap"),
            (
                "end",
                "printf x | dd of=\"$1\" bs=1 seek=50331647 conv=notrunc".to_owned(),
                "data of an unknown kind at byte 50331647",
            ),
            (
                "text",
                "seq 100000 | dd of=\"$1\" bs=1M seek=20 oflag=seek_bytes conv=notrunc".to_owned(),
                "data of an unknown kind",
            ),
            (
                "partition",
                format!("{dos}; seq 1000 | dd of=\"$1\"p1 conv=notrunc; partx -d \"$1\""),
                "data of an unknown kind",
            ),
            (
                "none",
                "printf 'label: gpt\\n' | sfdisk -q --no-tell-kernel \"$1\"".to_owned(),
                "a partition table without partition 1",
            ),
        ] {
            let drive = Drive::empty(scene, name, DRIVE)?;
            drive.with(&script)?;
            let before = drive.sum()?;
            let path = drive.path();
            let mut agent = vm.agent(scene, name, &[("vma.user.home.drive", &path)])?;
            vm.start(scene, &mut agent).await?;
            let reason = reason_of(&agent, &[("qvd.vm.user.name", "hal")]).await?;
            assert!(reason.contains(expected), "{name}: {reason}");
            assert!(reason.contains("left untouched"), "{name}: {reason}");
            assert_eq!(drive.sum()?, before, "{name}");
            assert_eq!(vm.entries("passwd", "hal")?, 0);
        }
        // In use by somebody else, though empty.
        let drive = Drive::empty(scene, "busy", DRIVE)?;
        let path = drive.path();
        let lock = scene.start(scene.installed("flock", "util-linux")?.args([
            &path,
            "sh",
            "-c",
            "echo locked; sleep 1000",
        ]))?;
        lock.expect("locked", WAIT).await?;
        let mut agent = vm.agent(scene, "busy", &[("vma.user.home.drive", &path)])?;
        vm.start(scene, &mut agent).await?;
        let reason = reason_of(&agent, &[("qvd.vm.user.name", "hal")]).await?;
        assert!(reason.contains("being worked on"), "{reason}");
        Ok(())
    });
}

/// What the agent writes down of a drive before it writes on it.
fn journal_of(drive: &Drive) -> Result<String> {
    let number = drive.with("lsblk -dno MAJ:MIN \"$1\" | tr -d ' '")?;
    let sequence = fs::read_to_string(format!("/sys/dev/block/{number}/diskseq"));
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let device = serde_json::json!({
        "path": drive.path(),
        "number": number,
        "sequence": sequence.unwrap_or_default().trim(),
        "size": DRIVE,
        "boot": boot.trim(),
    });
    Ok(serde_json::json!([{ "making": "table", "device": device }]).to_string())
}

#[test]
fn a_table_that_was_left_half_written_is_taken_back_and_nothing_else_is() {
    play("provision_drive_half", async |scene| {
        require_programs(scene)?;
        let vm = Vm::make(scene, "vm", "true").await?;
        let table = "printf 'label: gpt\\nname=qvd-home-unfinished\\n' \
                     | sfdisk -q --no-tell-kernel \"$1\"";
        let zero = "dd if=/dev/zero of=\"$1\" conv=notrunc status=none bs=512";
        // The table's first copy is missing with its end, then both headers.
        let half = format!("{table}; {zero} seek=1 count=33; {zero} seek=98303 count=1");
        let foreign = format!("{half}; seq 9999 | dd of=\"$1\" conv=notrunc bs=1M seek=20");
        let other = "printf 'label: gpt\nname=photos\n' | sfdisk -q --no-tell-kernel \"$1\"";
        for (name, script, taken_back) in [
            ("half", half.as_str(), true),
            ("foreign", &foreign, false),
            ("other", other, false),
        ] {
            let drive = Drive::empty(scene, name, DRIVE)?;
            let path = drive.path();
            let mut agent = vm.agent(scene, name, &[("vma.user.home.drive", &path)])?;
            let journal = format!("provision-{}.json", agent.display());
            let journal = agent.run_directory().join(journal);
            fs::write(&journal, journal_of(&drive)?)?;
            drive.with(script)?;
            let before = drive.sum()?;
            vm.start(scene, &mut agent).await?;
            assert!(!journal.exists(), "{name}");
            assert_eq!(drive.sum()? != before, taken_back, "{name}");
            if name == "foreign" {
                let reason = reason_of(&agent, &[("qvd.vm.user.name", "joe")]).await?;
                assert!(reason.contains("left untouched"), "{reason}");
                assert_eq!(drive.sum()?, before);
                continue;
            }
            listen(&agent, &[("qvd.vm.user.name", "joe")]).await?;
            let homes = vm.homes().display().to_string();
            let mounted = vm.ask("findmnt", &["-no", "SOURCE", &homes])?;
            assert_eq!(mounted, format!("{path}p1"), "{name}");
            stop(&agent).await?;
            vm.must("umount", &[&homes])?;
        }
        Ok(())
    });
}

#[test]
fn a_damaged_file_system_is_not_mounted() {
    play("provision_drive_damaged", async |scene| {
        require_programs(scene)?;
        let vm = Vm::make(scene, "vm", "true").await?;
        let drive = Drive::empty(scene, "drive", DRIVE)?;
        let damage = "debugfs -w -R 'clri <2>' \"$1\"; debugfs -w -R 'ssv state 2' \"$1\"";
        drive.with(&format!("mkfs.ext4 -q \"$1\"; {damage}"))?;
        let path = drive.path();
        let mut agent = vm.agent(scene, "vm", &[("vma.user.home.drive", &path)])?;
        vm.start(scene, &mut agent).await?;
        let reason = reason_of(&agent, &[("qvd.vm.user.name", "kim")]).await?;
        let expected = format!("the file system on {path} is damaged: fsck.ext4 failed: ");
        assert!(reason.starts_with(&expected), "{reason}");
        assert_eq!(vm.entries("passwd", "kim")?, 0);
        assert!(!vm.homes().join("kim").exists());
        Ok(())
    });
}

/// The programs that provisioning runs on a new drive for a new user.
const STEPS: [&str; 9] = [
    "/usr/sbin/blkid",
    "/usr/sbin/sfdisk",
    "/usr/bin/partx",
    "/usr/sbin/wipefs",
    "/usr/sbin/mkfs.ext4",
    "/usr/sbin/fsck.ext4",
    "/usr/bin/mount",
    "/usr/sbin/groupadd",
    "/usr/sbin/useradd",
];

/// A shell command that puts something before and after each of the programs:
/// it counts them, and stops at the one that `stop` names.
fn gates(scene: &Scene) -> Result<String> {
    let gate = scene.path("gate");
    fs::create_dir(&gate)?;
    let mut mounts = String::new();
    for program in STEPS {
        let (at, name) = (gate.display(), program.replace('/', "_"));
        let real = gate.join(format!("real{name}"));
        run(std::process::Command::new("cp")
            .args(["-L", program])
            .arg(&real))?;
        let text = format!(
            "n=$(($(cat {at}/count) + 1)); echo $n >{at}/count
             pause() {{ [ \"$(cat {at}/stop)\" != \"$n $1\" ] || {{ echo $$ >{at}/pid; mv {at}/pid {at}/reached; exec sleep 4331; }}; }}
             pause before
             {} \"$@\"
             status=$?
             pause after
             exit $status",
            real.display()
        );
        let gated = scene.script(format!("gate/gated{name}"), &text)?;
        mounts.push_str(&format!("\nmount --bind '{}' {program}", gated.display()));
    }
    // Through the last gate nothing more can be mounted but by the real one.
    let real = gate.join("real_usr_bin_mount").display().to_string();
    Ok(mounts.replace("\nmount ", &format!("\n{real} ")))
}

#[test]
fn an_agent_that_is_killed_at_any_step_leaves_nothing_half_done() {
    play_for("provision_killed", 8 * WAIT, async |scene| {
        require_programs(scene)?;
        let vm = Vm::make(scene, "vm", &gates(scene)?).await?;
        let gate = |file: &str| scene.path("gate").join(file);
        let homes = vm.homes().display().to_string();
        let ida = [("qvd.vm.user.name", "ida"), ("qvd.vm.user.groups", "audio")];
        let mut steps: usize = 1;
        let mut step: usize = 0;
        while step <= 2 * steps {
            let drive = Drive::empty(scene, &format!("drive-{step}"), DRIVE)?;
            let path = drive.path();
            let keys = [("vma.user.home.drive", path.as_str())];
            let mut agent = vm.agent(scene, &format!("vm-{step}"), &keys)?;
            fs::write(gate("count"), "0")?;
            fs::write(gate("stop"), "")?;
            if step > 0 {
                let moment = if step % 2 == 1 { "before" } else { "after" };
                fs::write(gate("stop"), format!("{} {moment}", step.div_ceil(2)))?;
                vm.start(scene, &mut agent).await?;
                agent.start_session(&ida).await?;
                let program = reached(&gate("reached")).await?;
                let daemon = agent.daemon()?;
                daemon.signal(Signal::KILL)?;
                daemon.wait(WAIT).await?;
                fs::remove_file(gate("reached"))?;
                fs::write(gate("stop"), "")?;
                vm.start(scene, &mut agent).await?;
                // What the one ran does not go on beside the other.
                gone(&program).await?;
            } else {
                vm.start(scene, &mut agent).await?;
            }
            listen(&agent, &ida).await?;
            let mounted = vm.ask("findmnt", &["-no", "SOURCE", &homes])?;
            assert_eq!(mounted, format!("{path}p1"), "step {step}");
            for (file, count) in [("passwd", 1), ("shadow", 1), ("group", 1), ("gshadow", 1)] {
                assert_eq!(vm.entries(file, "ida")?, count, "step {step}: {file}");
            }
            assert_eq!(vm.ask("id", &["-Gn", "ida"])?, "ida audio", "step {step}");
            let uid = vm.ask("id", &["-u", "ida"])?;
            let owner = vm.ask("stat", &["-c", "%u %a", &format!("{homes}/ida")])?;
            assert_eq!(owner, format!("{uid} 700"), "step {step}");
            let all = vm.ask("ls", &["-A", &homes])?;
            assert_eq!(all, "ida\nlost+found", "step {step}");
            stop(&agent).await?;
            if step == 0 {
                steps = fs::read_to_string(gate("count"))?
                    .trim()
                    .parse()
                    .unwrap_or(0);
                assert!(steps >= STEPS.len(), "{steps}");
            }
            drop(agent);
            vm.must("umount", &[&homes])?;
            vm.reset_accounts()?;
            step += 1;
        }
        Ok(())
    });
}

/// Waits for the gate; gives the process that stands there.
async fn reached(gate: &std::path::Path) -> Result<String> {
    let wait = async {
        loop {
            if let Ok(pid) = fs::read_to_string(gate) {
                return pid.trim().to_owned();
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let reached = tokio::time::timeout(WAIT, wait).await;
    Ok(reached.map_err(|_| format!("{} was not reached", gate.display()))?)
}

async fn gone(pid: &str) -> Result<()> {
    let folder = std::path::Path::new("/proc").join(pid);
    let wait = async {
        while folder.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let gone = tokio::time::timeout(WAIT, wait).await;
    Ok(gone.map_err(|_| format!("process {pid} lives on"))?)
}
