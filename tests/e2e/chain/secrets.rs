//! No secret is written where others look.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use qvd_broker::Credentials;
use qvd_tests::{Outcome, Result, Scene, play, process};

use super::raw::{Raw, UPGRADE, ask, head};
use super::{Stage, leave, strike};

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

fn command_lines(scene: &Scene) -> Vec<(String, Vec<u8>)> {
    let all = process::marked(scene.mark()).into_iter();
    all.map(|one| (format!("process {}", one.pid), one.command.into_bytes()))
        .collect()
}

fn holds(text: &[u8], secret: &str) -> bool {
    text.windows(secret.len())
        .any(|part| part.eq_ignore_ascii_case(secret.as_bytes()))
}

fn assert_none(places: &[(String, Vec<u8>)], secrets: &[(String, String)]) {
    for (place, text) in places {
        for (what, secret) in secrets {
            assert!(!holds(text, secret), "{place} has the {what}");
        }
    }
}

/// Files that do have a secret are readable to their user alone. There is one:
/// the search finds what is to be found.
fn assert_private(files: &[(String, Vec<u8>)], secrets: &[(String, String)]) -> Outcome {
    let mut found = 0;
    for (path, text) in files {
        for (what, _) in secrets.iter().filter(|(_, secret)| holds(text, secret)) {
            let mode = fs::metadata(path)?.permissions().mode();
            assert_eq!(mode & 0o077, 0, "{path} has the {what}");
            found += 1;
        }
    }
    assert!(found > 0, "no secret anywhere");
    Ok(())
}

/// The cookies of the session's display, in hexadecimal digits as programs
/// would write them.
async fn cookies(scene: &Scene, stage: &Stage) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut files = Vec::new();
    texts_below(scene.directory(), &mut files)
        .map_err(|error| qvd_tests::Error::Invalid(error.to_string()))?;
    let is_authority = |path: &str| path.to_lowercase().contains("authority");
    let user_display = stage.display.authority().display().to_string();
    for (path, _) in &files {
        if is_authority(path) && *path != user_display {
            let list = scene.installed("xauth", "xauth")?;
            let mut list = scene.start(list.args(["-f", path, "list"]))?;
            list.wait(super::WAIT).await?;
            let line = list
                .log()
                .wait_for(0, "a cookie", super::WAIT, |_| true)
                .await?;
            found.extend(line.text.split_whitespace().last().map(str::to_owned));
        }
    }
    Ok(found)
}

#[test]
fn no_log_and_no_command_line_has_a_secret() {
    play("chain_no_secrets", async |scene| {
        let mut stage = Stage::set(scene).await?;
        let (status, token) =
            ask(&stage.server, &stage.user, "/qvd/create_auth_token", &[]).await?;
        assert_eq!(status, 200);
        let token = token.split('"').max_by_key(|part| part.len());
        let token = token.ok_or("no token")?.to_owned();
        assert!(token.len() >= 16, "{token}");

        // A session by hand, which learns its slave key.
        let mut raw = Raw::open(&stage.server).await?;
        let target = "/qvd/connect_to_vm?id=1&custom.pin=hidden-pin-4711";
        raw.send(&head(&stage.user, target, &UPGRADE)?).await?;
        let joined = raw.joined().await?;
        let key = joined.headers.text(qvd_broker::SLAVE_KEY_HEADER);
        let key = key.ok_or("no slave key")?.to_owned();
        let mut secrets = vec![
            ("password".to_owned(), stage.user.password.clone()),
            ("token".to_owned(), token),
            ("slave key".to_owned(), key),
            ("parameter".to_owned(), "hidden-pin-4711".to_owned()),
        ];
        let basic = Credentials::Basic {
            login: stage.user.login.clone(),
            password: stage.user.password.clone().into(),
        };
        let basic = basic.to_header()?.replace("Basic ", "");
        secrets.push(("login header".to_owned(), basic));
        for cookie in cookies(scene, &stage).await? {
            secrets.push(("cookie".to_owned(), cookie));
        }
        assert!(secrets.iter().any(|(what, _)| what == "cookie"));
        assert_none(&command_lines(scene), &secrets);

        // The same session with a client, which takes it over.
        strike(&stage.agent).await?;
        drop(raw);
        let login = stage.login();
        let program = login.client(scene)?.args(["-d", "-g", "800x600"]);
        let mut client = scene.start(stage.display.dress(program))?;
        client.expect(super::CONNECTED, super::WAIT).await?;
        stage.drawn().await?;
        for cookie in cookies(scene, &stage).await? {
            secrets.push(("cookie".to_owned(), cookie));
        }
        assert_none(&command_lines(scene), &secrets);
        leave(&mut client, &stage.agent).await?;
        stage.strike().await?;

        let mut places = Vec::new();
        texts_below(scene.directory(), &mut places)?;
        assert_private(&places, &secrets)?;
        places.retain(|(path, _)| path.ends_with(".log") || path.contains("nxagent"));
        for program in [&*stage.server.process(), &*stage.agent.daemon()?, &client] {
            let log = program.log();
            places.push((log.name().to_owned(), log.text().into_bytes()));
        }
        assert!(places.iter().any(|(path, _)| path.ends_with(".log")));
        assert_none(&places, &secrets);
        Ok(())
    });
}
