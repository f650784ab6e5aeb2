//! Media that are plugged in and out while a session runs.

use std::fs;
use std::path::Path;
use std::process::Command;

use qvd_tests::play;

use super::stage::{Stage, WAIT, is_mounted, until};

/// A medium: a file system of its own, taken out when this is dropped.
struct Medium<'a>(&'a Path);

impl<'a> Medium<'a> {
    fn plug(place: &'a Path) -> std::io::Result<Self> {
        fs::create_dir_all(place)?;
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "stick"]).arg(place).status()?;
        assert!(mounted.success(), "mounting needs root");
        Ok(Self(place))
    }
}

impl Drop for Medium<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn media_are_in_the_session_while_they_are_plugged_in() {
    play("shares_media", async |scene| {
        let stage = Stage::set(scene, &[]).await?;
        let root = scene.path("media");
        let (one, two) = (root.join("ann/My stick"), root.join("bob/My stick"));
        let first = Medium::plug(&one)?;
        fs::write(one.join("photo"), "of one")?;
        let login = stage
            .login()
            .with("internal.client.media", &root.display().to_string())
            .with("client.file_sharing.home", "0");
        let mut client = stage.connect(scene, &login, &[]).await?;
        let there = stage.mounted("My stick").await?;
        assert_eq!(fs::read_to_string(there.join("photo"))?, "of one");

        // Another one comes, of the same name.
        let second = Medium::plug(&two)?;
        fs::write(two.join("photo"), "of two")?;
        client.expect("is shared as My stick-2", WAIT).await?;
        let other = stage.mounted("My stick-2").await?;
        fs::write(other.join("letter"), "from the session")?;
        assert_eq!(fs::read_to_string(two.join("letter"))?, "from the session");

        // It goes, and the first one stays.
        drop(second);
        client
            .expect("bob/My stick is no longer shared", WAIT)
            .await?;
        until("the end of the second", || !other.exists()).await?;
        assert_eq!(fs::read_to_string(there.join("photo"))?, "of one");

        // It comes back.
        let second = Medium::plug(&two)?;
        let other = stage.mounted("My stick-2").await?;
        assert!(!other.join("letter").exists());
        drop((first, second));
        until("the end of both", || {
            !is_mounted(&there) && !there.exists() && !other.exists()
        })
        .await?;
        stage.leave(&mut client).await?;
        stage.bare().await?;
        Ok(stage.strike().await?)
    });
}
