//! `qvd-slaveclient` and `qvdclient --file` beside a running session.

use std::fs;
use std::path::Path;

use qvd_tests::process::{Process, Program};
use qvd_tests::{Result, Scene, play};
use rustix::process::Signal;

use super::stage::{Stage, WAIT, is_mounted, until};

/// The keys of a VM that writes down, in `opened`, what it opens.
fn opener(scene: &Scene) -> Result<String> {
    let opened = scene.path("opened");
    let script = format!("cat \"$1\" >> {}", opened.display());
    Ok(scene.script("opener", &script)?.display().to_string())
}

fn slaveclient(scene: &Scene, arguments: &[&str]) -> Result<Program> {
    Ok(scene.built("qvd-slaveclient")?.args(arguments))
}

/// Runs it to its end: its status and what it said.
async fn run(scene: &Scene, arguments: &[&str]) -> Result<(i32, String)> {
    let mut program = scene.start(slaveclient(scene, arguments)?)?;
    let status = program.wait(WAIT).await?.code().unwrap_or(-1);
    let _ended = program.log().wait_for(0, "the end", WAIT, |_| false).await;
    Ok((status, program.log().text()))
}

async fn interrupt(program: &mut Process) -> Result<i32> {
    program.signal(Signal::INT)?;
    Ok(program.wait(WAIT).await?.code().unwrap_or(-1))
}

#[test]
fn folders_go_both_ways_by_hand() {
    play("shares_by_hand", async |scene| {
        let opener = opener(scene)?;
        let stage = Stage::set(scene, &[("command.open_file", &opener)]).await?;
        let login = stage.login().with("client.file_sharing.enable", "0");
        let mut client = stage.connect(scene, &login, &[]).await?;
        let docs = scene.path("docs");
        fs::create_dir(&docs)?;
        fs::write(docs.join("letter"), "dear reader")?;
        let docs = docs.display().to_string();

        let mut shared = scene.start(slaveclient(scene, &["share", &docs])?)?;
        shared.expect("is shared as docs", WAIT).await?;
        let there = stage.mounted("docs").await?;
        assert_eq!(fs::read_to_string(there.join("letter"))?, "dear reader");
        let (status, list) = run(scene, &["list"]).await?;
        assert_eq!(status, 0);
        assert!(
            list.contains("docs") && list.contains("ann-desktop"),
            "{list}"
        );
        let (status, sessions) = run(scene, &["sessions"]).await?;
        assert!(
            status == 0 && sessions.contains("ann-desktop"),
            "{sessions}"
        );

        // What is shared is opened where it is, other things for themselves.
        let (status, text) = run(scene, &["open", &format!("{docs}/letter")]).await?;
        assert_eq!(status, 0, "{text}");
        let opened = scene.path("opened");
        until("it is opened", || {
            fs::read_to_string(&opened).is_ok_and(|text| text == "dear reader")
        })
        .await?;

        // The session's folders, here.
        let (own, point) = (scene.path("own"), scene.path("point"));
        fs::create_dir(&own)?;
        fs::create_dir(&point)?;
        fs::write(own.join("f"), "of the VM")?;
        let (own, shown) = (own.display().to_string(), point.display().to_string());
        let mut mounted = scene.start(slaveclient(scene, &["mount", &own, &shown])?)?;
        mounted.expect("is mounted on", WAIT).await?;
        assert_eq!(fs::read_to_string(point.join("f"))?, "of the VM");
        fs::write(point.join("g"), "of the client")?;
        assert_eq!(
            fs::read_to_string(Path::new(&own).join("g"))?,
            "of the client"
        );
        assert_eq!(interrupt(&mut mounted).await?, 0);
        assert!(!is_mounted(&point));

        let (status, text) = run(scene, &["unshare", "docs"]).await?;
        assert_eq!(status, 0, "{text}");
        assert_eq!(shared.wait(WAIT).await?.code(), Some(0));
        stage.bare().await?;
        stage.leave(&mut client).await?;
        Ok(stage.strike().await?)
    });
}

#[test]
fn a_share_by_hand_is_back_after_a_cut() {
    play("shares_by_hand_cut", async |scene| {
        let stage = Stage::set(scene, &[("vma.carrier.enable", "0")]).await?;
        let login = stage.login().with("client.file_sharing.enable", "0");
        let mut client = stage.connect(scene, &login, &[]).await?;
        let docs = scene.path("docs");
        fs::create_dir(&docs)?;
        fs::write(docs.join("letter"), "dear reader")?;
        let mut shared =
            scene.start(slaveclient(scene, &["share", docs.to_str().unwrap_or("")])?)?;
        let there = stage.mounted("docs").await?;
        stage.front.cut(qvd_tests::fault::Cut::Reset);
        shared.expect("shared again", WAIT).await?;
        until("the folder is back", || {
            fs::read_to_string(there.join("letter")).is_ok_and(|text| text == "dear reader")
        })
        .await?;
        // With the client it ends.
        stage.leave(&mut client).await?;
        assert_eq!(shared.wait(WAIT).await?.code(), Some(0));
        stage.bare().await?;
        Ok(stage.strike().await?)
    });
}

#[test]
fn a_file_is_opened_with_the_session() {
    play("shares_file", async |scene| {
        let opener = opener(scene)?;
        let stage = Stage::set(scene, &[("command.open_file", &opener)]).await?;
        let (inside, outside) = (scene.home().join("a letter"), scene.path("note"));
        fs::write(&inside, "from home\n")?;
        fs::write(&outside, "from elsewhere\n")?;
        let opened = scene.path("opened");
        for (file, text) in [
            (&inside, "from home\n"),
            (&outside, "from home\nfrom elsewhere\n"),
        ] {
            let file = file.display().to_string();
            let mut client = stage
                .connect(scene, &stage.login(), &["--file", &file])
                .await?;
            client.expect("was opened in the session", WAIT).await?;
            until("it is opened", || {
                fs::read_to_string(&opened).is_ok_and(|all| all == text)
            })
            .await?;
            stage.leave(&mut client).await?;
            stage.bare().await?;
        }
        Ok(stage.strike().await?)
    });
}
