//! What a broker may answer to the question for VMs, from none to far too much,
//! and what else the user's machine may lack.

use std::path::Path;

use qvd_tests::process::Process;
use qvd_tests::rig::{Login, User};
use qvd_tests::{Error, Result, Scene, play};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::stage::{CONNECTED, Stage, WAIT, end_of};

/// A broker that gives every request this answer.
async fn answering(body: Vec<u8>) -> Result<(u16, JoinHandle<()>)> {
    let fault = |error: std::io::Error| Error::Invalid(error.to_string());
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(fault)?;
    let port = listener.local_addr().map_err(fault)?.port();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 8192];
            let _ = stream.read(&mut head).await;
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&body).await;
        }
    });
    Ok((port, task))
}

/// The client's list of these VMs: its exit status and what it said.
async fn listed(scene: &Scene, body: impl Into<Vec<u8>>, option: &str) -> Result<(i32, String)> {
    let (port, broker) = answering(body.into()).await?;
    let login = Login {
        host: "localhost".into(),
        port,
        user: User::new("ann", "apples and pears"),
        keys: vec![("client.use_ssl".into(), "0".into())],
    };
    let mut client = scene.start(login.client(scene)?.args(["-q", option]))?;
    let ended = end_of(&mut client).await;
    broker.abort();
    ended
}

fn vm(id: usize, more: &str) -> String {
    format!(
        "{{\"id\":{id},\"state\":\"running\",\"name\":\"vm{id}\",\"blocked\":0,\
         \"is_application\":0{more}}}"
    )
}

fn array(vms: impl Iterator<Item = String>) -> String {
    format!("[{}]", vms.collect::<Vec<_>>().join(","))
}

#[test]
fn lists_of_none_one_and_a_thousand() {
    play("client_lists_long", async |scene| {
        let (status, text) = listed(scene, "[]", "-l").await?;
        assert_eq!(status, 0, "{text}");
        let more = ",\"colour\":\"blue\",\"of\":{\"the\":[1,2]}";
        let (status, text) = listed(scene, array([vm(7, more)].into_iter()), "-l").await?;
        assert_eq!(status, 0, "{text}");
        assert!(text.contains("vm7"), "{text}");
        let body = array((1..=1000).map(|id| vm(id, "")));
        let (status, text) = listed(scene, body, "-l").await?;
        assert_eq!(status, 0, "{text}");
        assert_eq!(
            text.lines().filter(|line| line.contains("running")).count(),
            1000
        );
        Ok(())
    });
}

#[test]
fn answers_that_are_no_list() {
    play("client_lists_bad", async |scene| {
        let long = vec![b' '; 50_000_000];
        for (body, words) in [
            (b"[{\"id\":1,".to_vec(), "list"),
            (b"{\"id\":1}".to_vec(), "list"),
            (b"[{\"name\":\"x\"}]".to_vec(), "list"),
            (b"\xff\xfe".to_vec(), "list"),
            (b"[".repeat(100_000), "list"),
            (long, "over the limit of"),
        ] {
            let shown = String::from_utf8_lossy(&body[..body.len().min(20)]).into_owned();
            let (status, text) = listed(scene, body, "-l").await?;
            assert!(status > 1 && status < 128, "{shown}: {status} {text}");
            assert!(text.contains(words), "{shown}: {text}");
            let said = text.lines().filter(|line| line.contains("qvdclient: "));
            let faults = said.filter(|line| !line.contains("warning: ")).count();
            assert_eq!(faults, 1, "{shown}: {text}");
        }
        Ok(())
    });
}

#[test]
fn a_display_that_vanishes_ends_the_client_in_words() {
    play("client_display_vanishes", async |scene| {
        let stage = Stage::set(scene, true).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        stage.display.server().signal(Signal::KILL)?;
        let (status, text) = end_of(&mut client).await?;
        assert!(status > 0 && status < 128, "{status}: {text}");
        assert!(text.contains("display"), "{text}");
        Ok(stage.strike().await?)
    });
}

#[test]
fn a_home_that_cannot_be_written_or_is_missing_costs_no_session() {
    play("client_home", async |scene| {
        let stage = Stage::set(scene, true).await?;
        for home in ["/proc", "/dev/null/home"] {
            let mut client = at_home(scene, &stage, Path::new(home))?;
            client.expect(CONNECTED, WAIT).await?;
            stage.drawn().await?;
            client.signal(Signal::INT)?;
            let (status, text) = end_of(&mut client).await?;
            assert_eq!(status, 0, "{home}: {text}");
            stage.becomes(qvd_rpc::SessionState::Suspended).await?;
        }
        Ok(stage.strike().await?)
    });
}

fn at_home(scene: &Scene, stage: &Stage, home: &Path) -> Result<Process> {
    // Root may write everywhere but where the kernel has none of it.
    let program = stage.login().client(scene)?.args(["-g", "800x600"]);
    scene.start(stage.display.dress(program).env("HOME", home))
}
