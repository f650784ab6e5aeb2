//! A VM's own account files and mounts, in a mount namespace of its own: what
//! an agent with all privileges does there, the machine of the test does not
//! see.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use qvd_tests::process::{Process, Program};
use qvd_tests::rig::{Agent, Desktop};
use qvd_tests::{Error, Scene};

use super::WAIT;

/// What a test ends with: it fails with any error.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Ids of its own for the users of each VM. The VMs of tests that run at the
/// same time share the machine's processes, and userdel refuses a user whose id
/// some process has.
fn own_range_of_ids(login_defs: &Path) -> Result<()> {
    static NEXT: AtomicU32 = AtomicU32::new(10_000);
    let first = NEXT.fetch_add(100, Ordering::Relaxed);
    let text = fs::read_to_string(login_defs)?;
    let line = |line: &str| match line.split_whitespace().next() {
        Some(key @ ("UID_MIN" | "GID_MIN")) => format!("{key} {first}\n"),
        _ => format!("{line}\n"),
    };
    fs::write(login_defs, text.lines().map(line).collect::<String>())?;
    Ok(())
}

/// Keeps the namespaces, in which `/etc` is the VM's own.
pub struct Vm {
    /// Ends everything in the VM when it ends.
    _holder: Process,
    inside: Namespaces,
    etc: PathBuf,
    homes: PathBuf,
    /// The control group of a VM with systemd.
    group: Option<PathBuf>,
}

impl Vm {
    /// Makes a VM; `mounts` are more shell commands that set it up.
    pub async fn make(scene: &Scene, name: &str, mounts: &str) -> Result<Self> {
        let (etc, homes) = Self::folders(scene, name)?;
        let script = format!(
            "mount --bind '{}' /etc && {{ {mounts}\n}} && echo ready && exec sleep infinity",
            etc.display()
        );
        let unshare = scene.installed("unshare", "util-linux")?.named("namespace");
        let holder = scene.start(
            unshare
                .args(["--mount", "--propagation", "private", "sh", "-ec"])
                .arg(script),
        )?;
        holder.expect("ready", WAIT).await?;
        Ok(Self {
            inside: Namespaces(vec![format!("--mount=/proc/{}/ns/mnt", holder.pid())]),
            _holder: holder,
            etc,
            homes,
            group: None,
        })
    }

    /// Makes a VM whose init is systemd, with logind and D-Bus and nothing
    /// else of what this machine would start.
    pub async fn with_systemd(scene: &Scene, name: &str) -> Result<Self> {
        for (program, package) in [("systemd-run", "systemd"), ("dbus-daemon", "dbus-daemon")] {
            let _: Program = scene.installed(program, package)?;
        }
        let (etc, homes) = Self::folders(scene, name)?;
        for pam in ["libpam-systemd", "dbus-user-session"] {
            run(Command::new("dpkg-query").args(["--show", pam]))?;
        }
        let service = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/pam/qvd-vma.debian");
        fs::copy(service, etc.join("pam.d/qvd-vma"))?;
        let unified = Path::new("/sys/fs/cgroup/unified");
        let root = if unified.is_dir() {
            unified
        } else {
            Path::new("/sys/fs/cgroup")
        };
        let group = root.join(scene.mark());
        fs::create_dir(&group)?;
        // What sysinit.target has is for a machine: it would clear /tmp.
        let inside = format!(
            "mount -t proc proc /proc
             mount --bind '{}' /etc
             umount -R /sys/fs/cgroup
             mount -t cgroup2 cgroup2 /sys/fs/cgroup
             mount -t tmpfs -o mode=755 tmpfs /run
             mount -t tmpfs tmpfs /usr/lib/systemd/system/sysinit.target.wants
             rm -rf /etc/systemd/system/*.wants
             mkdir -p /run/systemd/system /run/lock /run/dbus
             printf '[Unit]\nRequires=dbus.socket\nWants=systemd-logind.service\nAfter=dbus.socket systemd-logind.service\n' \
                 >/run/systemd/system/qvd-test.target
             exec env container=test /usr/lib/systemd/systemd --system --unit=qvd-test.target \
                 --log-target=console --show-status=no",
            etc.display()
        );
        let inside = scene.write(format!("{name}-init"), inside)?;
        let script = format!(
            "echo $$ >'{}/cgroup.procs'; exec unshare --mount --propagation private --pid --fork \
             --kill-child --cgroup --ipc --uts sh -e '{}'",
            group.display(),
            inside.display()
        );
        let shell = scene.installed("sh", "dash")?.named("systemd");
        let holder = scene.start(shell.args(["-ec"]).arg(script))?;
        let children = format!("/proc/{0}/task/{0}/children", holder.pid());
        let up = async {
            loop {
                let init = fs::read_to_string(&children).unwrap_or_default();
                if let Ok(init) = init.trim().parse::<u32>() {
                    let kinds = [
                        "mount=mnt",
                        "pid=pid",
                        "cgroup=cgroup",
                        "ipc=ipc",
                        "uts=uts",
                    ];
                    let path = |kind: &str| kind.replace('=', &format!("=/proc/{init}/ns/"));
                    let all = kinds.map(|kind| format!("--{}", path(kind)));
                    let inside = Namespaces(all.into());
                    let state = inside.output("systemctl", &["is-active", "qvd-test.target"]);
                    if state.is_ok_and(|state| state.status.success()) {
                        return inside;
                    }
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        let inside = tokio::time::timeout(WAIT, up).await;
        let said = || Error::Invalid(format!("no systemd:\n{}", holder.log().tail()));
        let inside = inside.map_err(|_| said())?;
        Ok(Self {
            _holder: holder,
            inside,
            etc,
            homes,
            group: Some(group),
        })
    }

    /// The VM's own folders.
    fn folders(scene: &Scene, name: &str) -> Result<(PathBuf, PathBuf)> {
        assert!(
            rustix::process::geteuid().is_root(),
            "users can be added and drives mounted by root alone: run the tests as root"
        );
        let etc = scene.path(format!("{name}-etc"));
        run(Command::new("cp").args(["-a", "/etc"]).arg(&etc))?;
        own_range_of_ids(&etc.join("login.defs"))?;
        // Another user passes through the test's folder, as through `/run/qvd`.
        fs::set_permissions(scene.directory(), fs::Permissions::from_mode(0o711))?;
        Ok((etc, scene.path(format!("{name}-homes"))))
    }

    /// An agent for this VM, not yet started.
    pub fn agent(&self, scene: &Scene, name: &str, keys: &[(&str, &str)]) -> Result<Agent> {
        let homes = self.homes.display().to_string();
        let mut all = vec![
            ("vma.user.home.path", homes.as_str()),
            ("command.groupadd", "/usr/sbin/groupadd"),
            ("command.useradd", "/usr/sbin/useradd"),
        ];
        all.extend(keys);
        Ok(Agent::configure(scene, name, &Desktop::Small, &all)?)
    }

    /// Starts the agent's daemon in the VM.
    pub async fn start(&self, scene: &Scene, agent: &mut Agent) -> Result<()> {
        let nsenter = scene.installed("nsenter", "util-linux")?;
        agent
            .start_daemon_under(scene, nsenter.args(&self.inside.0).arg("--"))
            .await?;
        Ok(())
    }

    /// Runs a program in the VM.
    pub fn ask(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self.output(program, arguments)?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Runs a program in the VM, which must succeed.
    pub fn must(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let output = self.output(program, arguments)?;
        if output.status.success() {
            return Ok(());
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(Error::Invalid(format!("{program} {arguments:?}: {errors}")).into())
    }

    fn output(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        self.inside.output(program, arguments)
    }

    /// The VM's own `/etc`.
    pub fn etc(&self) -> &Path {
        &self.etc
    }

    /// The folder of the homes.
    pub fn homes(&self) -> &Path {
        &self.homes
    }

    /// Lines of one of the VM's account files that begin with this name.
    pub fn entries(&self, file: &str, name: &str) -> Result<usize> {
        let text = fs::read_to_string(self.etc.join(file))?;
        let start = format!("{name}:");
        Ok(text.lines().filter(|line| line.starts_with(&start)).count())
    }

    /// The VM as it was when it was made, but for its drives: as after a start
    /// with an image that keeps nothing.
    pub fn reset_accounts(&self) -> Result<()> {
        for file in ["passwd", "shadow", "group", "gshadow", "subuid", "subgid"] {
            fs::copy(Path::new("/etc").join(file), self.etc.join(file))?;
        }
        Ok(())
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let Some(group) = &self.group else { return };
        // With its first process all others die; then the groups can go.
        let _ = fs::write(group.join("cgroup.kill"), "1");
        let empty = "for n in $(seq 100); do \
                     find \"$1\" -depth -type d -exec rmdir {} + 2>/dev/null; \
                     [ -e \"$1\" ] || exit 0; sleep 0.05; done";
        let _ = Command::new("sh")
            .args(["-c", empty, "sh"])
            .arg(group)
            .output();
    }
}

/// How nsenter is told to enter a VM.
struct Namespaces(Vec<String>);

impl Namespaces {
    fn output(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new("nsenter");
        command.args(&self.0).arg("--").arg(program);
        Ok(command.args(arguments).output()?)
    }
}

/// Runs a program, which must succeed.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(Error::Invalid(format!("{command:?}: {errors}")).into())
}

/// A drive over a file; gone with the test.
pub struct Drive {
    device: PathBuf,
}

impl Drive {
    /// An empty drive.
    pub fn empty(scene: &Scene, name: &str, size: u64) -> Result<Self> {
        let file = scene.path(name);
        fs::File::create(&file)?.set_len(size)?;
        let mut losetup = Command::new("losetup");
        losetup.args(["--find", "--show"]).arg(file);
        Ok(Self {
            device: run(&mut losetup)?.into(),
        })
    }

    /// Its file below `/dev`.
    pub fn path(&self) -> String {
        self.device.display().to_string()
    }

    /// A sum over all that it holds.
    pub fn sum(&self) -> Result<String> {
        run(Command::new("sha256sum").arg(&self.device))
    }

    /// Runs a program on it.
    pub fn with(&self, script: &str) -> Result<String> {
        let mut shell = Command::new("sh");
        run(shell.args(["-ec", script, "sh"]).arg(&self.device))
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        let forget = ["-c", "partx --delete \"$1\"; losetup --detach \"$1\"", "sh"];
        let mut shell = Command::new("sh");
        let _ = shell.args(forget).arg(&self.device).output();
    }
}

/// `nsenter` and the rest of what a VM is made of.
pub fn require_programs(scene: &Scene) -> Result<()> {
    for (name, package) in [
        ("losetup", "mount"),
        ("sfdisk", "fdisk"),
        ("partx", "util-linux"),
        ("mkfs.ext4", "e2fsprogs"),
        ("useradd", "passwd"),
    ] {
        let _: Program = scene.installed(name, package)?;
    }
    Ok(())
}
