//! The test of the way to a broker, and the archive for those who look for a
//! fault.

use qvd_tests::fault::{Cut, Direction, Fault};
use qvd_tests::rig::Login;
use qvd_tests::{Result, Scene, play};

use super::stage::{Stage, WAIT, end_of};

/// The steps' results, and the exit status.
async fn check(scene: &Scene, login: &Login) -> Result<(i32, Vec<String>)> {
    let program = login.client(scene)?.args(["check", "--json", "-q"]);
    let mut client = scene.start(program)?;
    let (status, text) = end_of(&mut client).await?;
    let steps = text.lines().find_map(|line| {
        let json = line.split_once('[').map(|(_, rest)| format!("[{rest}"))?;
        serde_json::from_str::<Vec<serde_json::Value>>(&json).ok()
    });
    let steps = steps.ok_or_else(|| qvd_tests::Error::Invalid(text.clone()))?;
    let words = steps.iter().map(|step| {
        let word = |key: &str| step[key].as_str().unwrap_or_default().to_owned();
        format!("{} {}", word("step"), word("result"))
    });
    Ok((status, words.collect()))
}

fn steps(results: [&str; 5]) -> Vec<String> {
    let names = ["name", "tcp", "tls", "ping", "login"];
    let pairs = names.into_iter().zip(results);
    pairs
        .map(|(name, result)| format!("{name} {result}"))
        .collect()
}

#[test]
fn each_step_of_the_way_is_tested() {
    play("client_check", async |scene| {
        let stage = Stage::set(scene, true).await?;
        let login = stage.login();
        let good = steps(["ok", "ok", "ok", "ok", "ok"]);
        assert_eq!(check(scene, &login).await?, (0, good));

        let mut wrong = login.clone();
        wrong.user.password = "plums".to_owned();
        let refused = steps(["ok", "ok", "ok", "ok", "failed"]);
        assert_eq!(check(scene, &wrong).await?, (13, refused));

        let mut nowhere = login.clone();
        nowhere.host = "nowhere.invalid".to_owned();
        let unknown = steps(["failed", "skipped", "skipped", "skipped", "skipped"]);
        assert_eq!(check(scene, &nowhere).await?, (10, unknown));

        let mut closed = login.clone();
        closed.port = {
            let free = std::net::TcpListener::bind("127.0.0.1:0")?;
            free.local_addr()?.port()
        };
        let failed = steps(["ok", "failed", "skipped", "skipped", "skipped"]);
        assert_eq!(check(scene, &closed).await?, (11, failed));

        stage.front.change(Direction::ToClient, |rules| {
            rules.at = Some((20, Fault::Cut(Cut::Fin)));
        });
        let broken = steps(["ok", "ok", "failed", "skipped", "skipped"]);
        assert_eq!(check(scene, &login).await?, (11, broken));
        stage
            .front
            .change(Direction::ToClient, |rules| rules.at = None);

        // For people, without a login.
        let mut nobody = login.clone();
        nobody.user.login.clear();
        let program = nobody.client(scene)?.args(["check", "localhost"]);
        let (status, text) = end_of(&mut scene.start(program)?).await?;
        assert_eq!(status, 0, "{text}");
        assert!(text.contains("ping   ok"), "{text}");
        assert!(text.contains("no login is given"), "{text}");
        Ok(())
    });
}

#[test]
fn an_archive_for_diagnosis_has_everything_but_secrets() {
    play("client_diagnose", async |scene| {
        let stage = Stage::set(scene, true).await?;
        let login = stage.login();
        let mut client = stage.connect(scene, &login).await?;
        stage.leave(&mut client).await?;
        // As another program may have written it.
        let log = scene.home().join(".qvd/qvd-client.log");
        let mut text = std::fs::read_to_string(&log)?;
        text.push_str("Authorization: Basic YW5uOnNlY3JldA==\nsaid apples and pears\n");
        std::fs::write(&log, text)?;

        let archive = scene.path("d.tar");
        let program = stage.display.dress(login.client(scene)?);
        let program = program.arg("diagnose").arg(&archive);
        let (status, text) = end_of(&mut scene.start(program)?).await?;
        assert_eq!(status, 0, "{text}");
        let folder = scene.path("unpacked");
        std::fs::create_dir(&folder)?;
        let tar = scene.installed("tar", "tar")?.arg("-xf").arg(&archive);
        let mut tar = scene.start(tar.arg("-C").arg(&folder))?;
        assert_eq!(tar.wait(WAIT).await?.code(), Some(0));
        let read =
            |name: &str| std::fs::read_to_string(folder.join("qvdclient-diagnose").join(name));
        assert!(
            read("versions.txt")?.contains("NXPROXY"),
            "{}",
            read("versions.txt")?
        );
        assert!(read("configuration.txt")?.contains("client.host.name = localhost"));
        assert!(read("environment.txt")?.contains("1024x768"));
        assert!(read("last-session.log")?.contains("Connected"));
        let all = read("client.log")?;
        assert!(all.contains("said (not shown)"), "{all}");
        for file in std::fs::read_dir(folder.join("qvdclient-diagnose"))? {
            let text = std::fs::read_to_string(file?.path())?;
            for secret in ["apples and pears", "YW5uOnNlY3JldA"] {
                assert!(!text.contains(secret), "{text}");
            }
        }
        // Nothing is overwritten.
        let program = login.client(scene)?.arg("diagnose").arg(&archive);
        let (status, text) = end_of(&mut scene.start(program)?).await?;
        assert_eq!(status, 4, "{text}");
        Ok(())
    });
}
