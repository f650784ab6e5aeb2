//! The broker's certificate, as a user meets it on a terminal.

use std::time::Duration;

use qvd_tests::process::Process;
use qvd_tests::rig::{Inventory, Login, Server, User};
use qvd_tests::{Result, Scene, play, programs};

use crate::agent::security::private;

/// For anything that is to happen.
const WAIT: Duration = Duration::from_secs(40);

/// A broker whose certificate nobody knows, and a user of it.
async fn strangers(scene: &Scene) -> Result<(Server, Login)> {
    let user = User::new("ann", "apples and pears");
    let inventory = Inventory {
        users: vec![user.clone()],
        vms: Vec::new(),
    };
    let server = Server::start(scene, &inventory, true, &[]).await?;
    let mut login = Login::at(&server, &user);
    login
        .keys
        .retain(|(key, _)| key != "path.ssl.ca.system.file");
    Ok((server, login))
}

/// The exit status and what was said of a client that lists VMs, without a
/// terminal.
async fn list(scene: &Scene, login: &Login, arguments: &[&str]) -> Result<(i32, String)> {
    let client = login.client(scene)?.arg("-l").args(arguments);
    end_of(scene.start(client)?).await
}

/// The same on a terminal, on which the user answers.
async fn answer(
    scene: &Scene,
    login: &Login,
    arguments: &str,
    answer: &str,
) -> Result<(i32, String)> {
    // Writes its configuration.
    login.client(scene)?;
    let built = programs::built("qvdclient")?;
    let line = format!("{} -p {} -l {arguments}", built.display(), login.port);
    let input = scene.write("answer", answer)?;
    let script = scene
        .installed("script", "bsdutils")?
        .env("QVDCLIENTCONFIG", scene.path("client-ann.conf"))
        .env("QVDHOST", &login.host)
        .env("QVDLOGIN", &login.user.login)
        .env("QVDPASSWORD", &login.user.password)
        .args(["-qefc", &line, "/dev/null"])
        .input(input);
    end_of(scene.start(script)?).await
}

async fn end_of(mut program: Process) -> Result<(i32, String)> {
    let status = program.wait(WAIT).await?;
    // What it said may come a moment after its end.
    let _ended = program.log().wait_for(0, "the end", WAIT, |_| false).await;
    Ok((status.code().unwrap_or(-1), program.log().text()))
}

fn is(ended: &(i32, String), status: i32, words: &str) {
    assert_eq!(ended.0, status, "{}", ended.1);
    assert!(ended.1.contains(words), "{words:?} is not in {}", ended.1);
}

#[test]
fn an_unknown_broker_is_refused_accepted_once_and_kept() {
    play("client_tls_unknown", async |scene| {
        let (mut server, login) = strangers(scene).await?;
        is(&list(scene, &login, &[]).await?, 12, "self-signed");
        let ask = "--ssl-errors=ask";
        is(&list(scene, &login, &[ask]).await?, 25, "no terminal");
        let said = answer(scene, &login, ask, "no\n").await?;
        is(&said, 12, "you did not accept it");
        let said = answer(scene, &login, ask, "once\n").await?;
        is(&said, 0, "SHA-256");
        is(&list(scene, &login, &[]).await?, 12, "self-signed");
        let said = answer(scene, &login, ask, "always\n").await?;
        is(&said, 0, "SHA-256");
        is(&list(scene, &login, &[]).await?, 0, "");

        // The broker makes another certificate with another key.
        for name in ["l7r-cert.pem", "l7r-key.pem"] {
            std::fs::remove_file(scene.path(name)).unwrap();
        }
        server.process().signal(rustix::process::Signal::TERM)?;
        server.process().wait(WAIT).await?;
        server.restart(scene).await?;
        is(&list(scene, &login, &[]).await?, 12, "another key");
        let said = answer(scene, &login, ask, "always\n").await?;
        is(&said, 12, "another key");
        Ok(())
    });
}

#[test]
fn a_client_certificate_is_carried_along_and_a_faulty_one_ends_the_client() {
    play("client_tls_own", async |scene| {
        let (server, login) = strangers(scene).await?;
        let own = rcgen::generate_simple_self_signed(["ann".to_owned()]).unwrap();
        let other = rcgen::KeyPair::generate().unwrap();
        let certificate = scene.write("ann.pem", own.cert.pem())?;
        let key = private(scene, "ann.key", &own.signing_key.serialize_pem())?;
        let other = private(scene, "other.key", &other.serialize_pem())?;
        let [ca, certificate, key, other] =
            [server.certificate(), certificate, key, other].map(|path| path.display().to_string());
        let with = |key: &str| {
            let line = ["--ca", &ca, "-c", &certificate, "-k", key];
            line.map(str::to_owned)
        };
        for (key, status, words) in [
            (key.as_str(), 0, ""),
            (&other, 3, "it is not the key of"),
            ("/nonexistent", 3, "/nonexistent"),
        ] {
            let arguments = with(key);
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            is(&list(scene, &login, &arguments).await?, status, words);
        }
        Ok(())
    });
}
