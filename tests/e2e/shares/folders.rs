//! What the client shares by itself, and for how long.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use qvd_tests::fault::Cut;
use qvd_tests::play;

use super::stage::{CONNECTED, Stage, WAIT, until};

#[test]
fn the_home_and_a_folder_are_in_the_session_and_again_after_a_resume() {
    play("shares_home", async |scene| {
        let stage = Stage::set(scene, &[]).await?;
        let papers = scene.path("papers");
        fs::create_dir(&papers)?;
        fs::write(papers.join("one"), "a paper")?;
        fs::write(scene.home().join("letter"), "of the client")?;
        let login = stage
            .login()
            .with("client.share.1.path", &papers.display().to_string())
            .with("client.share.1.name", "Papers of Ann")
            .with("client.share.1.read_only", "1");
        for round in 0..2 {
            let mut client = stage.connect(scene, &login, &[]).await?;
            client.expect("is shared as home", WAIT).await?;
            let there = stage.mounted("home").await?;
            assert_eq!(fs::read_to_string(there.join("letter"))?, "of the client");
            let answer = format!("answer-{round}");
            fs::write(there.join(&answer), "of the VM")?;
            let here = fs::read_to_string(scene.home().join(&answer))?;
            assert_eq!(here, "of the VM");

            client
                .expect("is shared as Papers of Ann, read only", WAIT)
                .await?;
            let there = stage.mounted("Papers of Ann").await?;
            assert_eq!(fs::read_to_string(there.join("one"))?, "a paper");
            assert!(fs::write(there.join("one"), "changed").is_err());
            assert!(fs::remove_file(there.join("one")).is_err());
            assert_eq!(fs::read_to_string(papers.join("one"))?, "a paper");

            // It is written down for other programs, for the user alone.
            let qvd = scene.home().join(".qvd");
            for file in ["slave-port", "slave-key", "sessions/ann-desktop/slave-key"] {
                let mode = fs::metadata(qvd.join(file))?.permissions().mode();
                assert_eq!(mode & 0o777, 0o600, "{file}");
            }
            stage.leave(&mut client).await?;
            assert!(!qvd.join("slave-port").exists() && !qvd.join("slave-key").exists());
            assert_eq!(fs::read_dir(qvd.join("sessions"))?.count(), 0);
            for machine in fs::read_dir(qvd.join("shares"))? {
                assert_eq!(fs::read_dir(machine?.path())?.count(), 0);
            }
            stage.bare().await?;
        }
        Ok(stage.strike().await?)
    });
}

#[test]
fn folders_are_back_after_a_cut() {
    play("shares_cut", async |scene| {
        let stage = Stage::set(scene, &[("vma.carrier.enable", "0")]).await?;
        fs::write(scene.home().join("letter"), "of the client")?;
        let mut client = stage.connect(scene, &stage.login(), &[]).await?;
        let there = stage.mounted("home").await?;
        let key = scene.home().join(".qvd/slave-key");
        let first = fs::read_to_string(&key)?;
        stage.front.cut(Cut::Reset);
        client.expect("The connection was lost", WAIT).await?;
        until("the session is back", || {
            client.log().text().matches(CONNECTED).count() == 2
        })
        .await?;
        until("the folder is back", || {
            fs::read_to_string(there.join("letter")).is_ok_and(|text| text == "of the client")
        })
        .await?;
        assert_ne!(fs::read_to_string(&key)?, first, "another key");
        let text = client.log().text();
        assert!(!text.contains("home-2"), "{text}");
        stage.leave(&mut client).await?;
        stage.bare().await?;
        Ok(stage.strike().await?)
    });
}

#[test]
fn nothing_is_shared_where_it_is_off() {
    play("shares_off", async |scene| {
        let stage = Stage::set(scene, &[]).await?;
        for key in ["client.slave.enable", "client.file_sharing.enable"] {
            let login = stage.login().with(key, "0");
            let mut client = stage.connect(scene, &login, &[]).await?;
            let is_open = scene.home().join(".qvd/slave-port").exists();
            assert_eq!(is_open, key == "client.file_sharing.enable");
            stage.leave(&mut client).await?;
            let text = client.log().text();
            assert!(!text.contains("shared"), "{text}");
            assert!(!stage.shares.exists());
        }
        Ok(stage.strike().await?)
    });
}

#[test]
fn a_vm_that_takes_no_folders_is_told_of_once() {
    play("shares_refused", async |scene| {
        let stage = Stage::set(scene, &[("vma.slave.enable", "0")]).await?;
        let login = stage.login().with(
            "client.share.1.path",
            &scene.directory().display().to_string(),
        );
        let mut client = stage.connect(scene, &login, &[]).await?;
        client.expect("takes no folders", WAIT).await?;
        stage.leave(&mut client).await?;
        let text = client.log().text();
        assert_eq!(text.matches("takes no folders").count(), 1, "{text}");
        Ok(stage.strike().await?)
    });
}
