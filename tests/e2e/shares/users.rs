//! Folders in the session of a user without privileges, mounted as he is.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use qvd_tests::rig::{Agent, Desktop};
use qvd_tests::{Outcome, Scene, play};

use super::stage::{Stage, WAIT, until};
use crate::agent::users::{MadeUser, open_to_others};

/// A VM of its own as far as mounts go: everybody may open `/dev/fuse` there,
/// as the manual has it of disk images.
const VM: &str = "set -e; mknod -m 666 \"$0/fuse\" c 10 229; \
                  mount --bind \"$0/fuse\" /dev/fuse; exec \"$@\"";

/// What a user sees and does in the VM.
struct Inside {
    daemon: String,
    user: String,
}

impl Inside {
    /// Runs a script as the user: whether it succeeded, and what it said.
    fn run(&self, script: &str) -> (bool, String) {
        let output = Command::new("nsenter")
            .args(["-t", &self.daemon, "-m", "--", "setpriv"])
            .args([
                "--reuid",
                &self.user,
                "--regid",
                &self.user,
                "--init-groups",
            ])
            .args(["--", "sh", "-c", script])
            .env("HOME", self.home())
            .current_dir("/")
            .output();
        match output {
            Ok(output) => {
                let text = [output.stdout, output.stderr].concat();
                let text = String::from_utf8_lossy(&text).trim().to_owned();
                (output.status.success(), text)
            }
            Err(error) => (false, format!("nsenter: {error}: install util-linux")),
        }
    }

    fn home(&self) -> PathBuf {
        PathBuf::from("/home").join(&self.user)
    }

    fn mounts(&self) -> String {
        fs::read_to_string(format!("/proc/{}/mounts", self.daemon)).unwrap_or_default()
    }
}

async fn mounts_as_the_user(scene: &Scene, engine: &str, kind: &str) -> Outcome {
    assert!(
        rustix::process::geteuid().is_root(),
        "only root can become another user"
    );
    let user = MadeUser::new()?;
    let keys = [("vma.share.engine", engine)];
    let mut agent = Agent::configure(scene, "vm", &Desktop::Small, &keys)?;
    open_to_others(scene)?;
    let unshare = scene.installed("unshare", "util-linux")?;
    let unshare = unshare.args(["--mount", "--propagation", "private", "--", "sh", "-c", VM]);
    agent
        .start_daemon_under(scene, unshare.arg(scene.directory()))
        .await?;
    let inside = Inside {
        daemon: agent.daemon()?.pid().to_string(),
        user: user.name.clone(),
    };
    let shares = inside.home().join("Redirected");
    let stage = Stage::around(scene, agent, shares.clone(), Some(&user.name)).await?;
    fs::write(scene.home().join("letter"), "of the client")?;
    for _ in 0..2 {
        let mut client = stage.connect(scene, &stage.login(), &[]).await?;
        client.expect("is shared as home", WAIT).await?;
        until("the folder is there", || {
            inside.run("cat ~/Redirected/home/letter") == (true, "of the client".to_owned())
        })
        .await?;
        let (done, text) = inside.run("echo of the user > ~/Redirected/home/answer");
        assert!(done, "{text}");
        assert_eq!(
            fs::read_to_string(scene.home().join("answer"))?,
            "of the user\n"
        );

        // His mount, which nobody else looks into.
        let mounts = inside.mounts();
        let point = shares.join("home").display().to_string();
        let line = mounts.lines().find(|line| line.contains(&point));
        let line = line.unwrap_or_default();
        for word in [kind, "nosuid", "nodev", &format!("user_id={}", user.uid)] {
            assert!(line.contains(word), "{word}: {line}");
        }
        assert!(!line.contains("allow_other"), "{line}");

        // File managers show what is mounted in a home, and the bookmark.
        let (_, shown) = inside.run("gio mount -l");
        assert!(shown.contains(&point), "{shown}");
        let bookmarks = "cat ~/.config/gtk-3.0/bookmarks";
        let url = format!("file://{}", shares.display());
        assert!(inside.run(bookmarks).1.contains(&url), "no bookmark");

        stage.leave(&mut client).await?;
        until("nothing is mounted", || {
            !inside.mounts().contains(&shares.display().to_string())
        })
        .await?;
        until("the directory is gone", || {
            inside.run("ls ~/Redirected") == (true, String::new())
        })
        .await?;
        until("the bookmark is gone", || {
            !inside.run(bookmarks).1.contains(&url)
        })
        .await?;
    }
    Ok(stage.strike().await?)
}

#[test]
fn the_agents_file_system_is_mounted_by_a_plain_user() {
    play("shares_user", async |scene| {
        mounts_as_the_user(scene, "qvd", "qvd:home").await
    });
}

#[test]
fn sshfs_is_mounted_by_a_plain_user() {
    play("shares_user_sshfs", async |scene| {
        scene.installed("sshfs", "sshfs")?;
        mounts_as_the_user(scene, "sshfs", "fuse.sshfs").await
    });
}
