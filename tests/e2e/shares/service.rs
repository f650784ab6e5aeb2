//! What programs in the VM ask of the user's machine, on nxagent's own port.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use qvd_tests::process::Process;
use qvd_tests::{Error, Result, Scene, play, ports};

use super::stage::{Stage, WAIT, until};

/// A request as a program in the VM makes it, and all of the answer.
async fn ask(stage: &Stage, request: String) -> Result<String> {
    let port = stage.agent.display() + 11000;
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(WAIT))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        // An end in the middle is told by what is missing.
        let _ = stream.read_to_string(&mut answer);
        Ok::<_, std::io::Error>(answer)
    });
    let answer = answer.await.map_err(|e| Error::Invalid(e.to_string()))?;
    answer.map_err(|e| Error::Invalid(format!("nxagent's slave port: {e}")))
}

async fn get(stage: &Stage, path: &str) -> Result<String> {
    ask(stage, format!("GET {path} HTTP/1.1\r\n\r\n")).await
}

async fn post(stage: &Stage, path: &str, body: &str) -> Result<String> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
    ask(stage, head + body).await
}

/// A service of the user's that says what it was told.
fn echo() -> Result<u16> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| Error::Invalid(e.to_string()))?;
    let port = listener
        .local_addr()
        .map_err(|e| Error::Invalid(e.to_string()))?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut line = [0; 6];
            if stream.read_exact(&mut line).is_ok() {
                let _ = stream.write_all(&[b"said ", line.as_slice()].concat());
            }
        }
    });
    Ok(port.port())
}

#[test]
fn only_announced_ports_are_reached_from_the_session() {
    play("shares_ports", async |scene| {
        let stage = Stage::set(scene, &[]).await?;
        let (open, other) = (echo()?, echo()?);
        let dead = ports::port()?;
        let announced = format!("{open} {}", dead.number());
        let login = stage.login().with("client.slave.tcp.ports", &announced);
        let mut client = stage.connect(scene, &login, &[]).await?;

        let pong = get(&stage, "/ping").await?;
        assert!(
            pong.starts_with("HTTP/1.1 200 ") && pong.ends_with("Pong!\n"),
            "{pong}"
        );
        assert!(get(&stage, "/version").await?.starts_with("HTTP/1.1 200 "));
        let said = ask(
            &stage,
            format!("POST /tcp/connect/{open} HTTP/1.1\r\n\r\nhello\n"),
        )
        .await?;
        assert!(
            said.starts_with("HTTP/1.1 101 ") && said.ends_with("said hello\n"),
            "{said}"
        );

        let (open, dead, other) = (
            open.to_string(),
            dead.number().to_string(),
            other.to_string(),
        );
        for (path, status) in [
            (format!("/tcp/portcheck/{open}"), "200"),
            (format!("/tcp/portcheck/{dead}"), "503"),
            (format!("/tcp/portcheck/{other}"), "403"),
            ("/tcp/portcheck/22".to_owned(), "403"),
            ("/tcp/portcheck/0".to_owned(), "400"),
            ("/tcp/portcheck/+80".to_owned(), "400"),
            ("/usbip/shared_devices".to_owned(), "403"),
            ("/shares//etc".to_owned(), "404"),
            ("/../ping".to_owned(), "404"),
        ] {
            let answer = get(&stage, &path).await?;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{path}: {answer}"
            );
        }
        for (path, status) in [
            (format!("/tcp/connect/{dead}"), "503"),
            (format!("/tcp/connect/{other}"), "403"),
            ("/printer/letters/printjob".to_owned(), "403"),
            ("/printer/-o/printjob".to_owned(), "400"),
            ("/usbip/connect".to_owned(), "403"),
        ] {
            let answer = post(&stage, &path, "x").await?;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{path}: {answer}"
            );
        }
        let none = get(&stage, "/printer").await?;
        assert!(none.ends_with(r#"{"Printers":[]}"#), "{none}");
        let answer = ask(&stage, "nonsense\r\n\r\n".into()).await?;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        stage.leave(&mut client).await?;
        Ok(stage.strike().await?)
    });
}

#[test]
fn another_program_can_serve_the_session() {
    play("shares_own_command", async |scene| {
        let stage = Stage::set(scene, &[]).await?;
        let script = "#!/bin/sh\nread line\nprintf 'HTTP/1.1 200 OK\\r\\n\\r\\nmy own'\n";
        let program = scene.write("server", script)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        let command = program.display().to_string();
        let login = stage.login().with("client.slave.command", &command);
        let mut client = stage.connect(scene, &login, &[]).await?;
        let answer = get(&stage, "/ping").await?;
        assert!(answer.ends_with("my own"), "{answer}");
        stage.leave(&mut client).await?;
        Ok(stage.strike().await?)
    });
}

/// A CUPS with two printers, on this port, that keeps the jobs.
fn cups(scene: &Scene, port: u16) -> Result<Process> {
    let root = scene.path("cups");
    let make = |folder: &str| {
        fs::create_dir_all(root.join(folder)).map_err(|e| Error::Invalid(e.to_string()))
    };
    for folder in ["spool", "cache", "state", "root", "log"] {
        make(folder)?;
    }
    let shown = root.display();
    let config = scene.write(
        "cups/root/cupsd.conf",
        format!(
            "Listen 127.0.0.1:{port}\nBrowsing Off\nWebInterface No\nPreserveJobFiles Yes\n\
             DefaultAuthType None\n\
             <Location />\nOrder allow,deny\nAllow all\n</Location>\n\
             <Policy default>\n<Limit All>\nOrder allow,deny\nAllow all\n</Limit>\n</Policy>\n"
        ),
    )?;
    let files = scene.write(
        "cups/root/cups-files.conf",
        format!(
            "ServerRoot {shown}/root\nRequestRoot {shown}/spool\nCacheDir {shown}/cache\n\
             StateDir {shown}/state\nAccessLog {shown}/log/access\nErrorLog {shown}/log/error\n\
             PageLog {shown}/log/page\nFileDevice Yes\n"
        ),
    )?;
    let printer = |name: &str| {
        format!(
            "<Printer {name}>\nInfo The {name}\nDeviceURI file:///dev/null\nState Idle\n\
             Accepting Yes\nShared No\n</Printer>\n"
        )
    };
    let printers = printer("letters") + &printer("checks");
    scene.write("cups/root/printers.conf", printers)?;
    let program = scene.installed("cupsd", "cups-daemon")?;
    let program = program.arg("-f").arg("-c").arg(config);
    scene.start(program.arg("-s").arg(files))
}

#[test]
fn a_job_of_the_session_is_printed_by_the_users_cups() {
    play("shares_printing", async |scene| {
        let port = ports::port()?;
        let _server = cups(scene, port.number())?;
        scene.installed("lp", "cups-client")?;
        scene.installed("lpstat", "cups-client")?;
        let stage = Stage::set(scene, &[]).await?;
        let login = stage
            .login()
            .with("client.slave.printers", "letters nothing");
        let program = login.client(scene)?.args(["-g", "800x600"]);
        let program = program.env("CUPS_SERVER", format!("127.0.0.1:{}", port.number()));
        let mut client = scene.start(stage.display.dress(program))?;
        client.expect("is shared as home", WAIT).await?;

        // cupsd may still be starting.
        let deadline = std::time::Instant::now() + WAIT;
        let list = loop {
            let list = get(&stage, "/printer").await?;
            if list.contains("letters") || std::time::Instant::now() > deadline {
                break list;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert!(list.starts_with("HTTP/1.1 200 "), "{list}");
        assert!(
            list.contains(r#"{"qvd_id":"letters","name":"The letters","color":"#),
            "{list}"
        );
        assert!(!list.contains("checks"), "{list}");

        // More than a piece, and all of it.
        let job = "dear reader\n".repeat(20_000);
        let answer = post(&stage, "/printer/letters/printjob", &job).await?;
        assert!(answer.starts_with("HTTP/1.1 102 "), "{answer}");
        assert!(answer.contains("\r\n\r\nHTTP/1.1 200 "), "{answer}");
        // As CUPS has kept it.
        let out = scene.path("cups/spool/d00001-001");
        until("the job is printed", || {
            fs::read_to_string(&out).is_ok_and(|text| text == job)
        })
        .await?;

        for (printer, status) in [("checks", "403"), ("nothing", "503"), ("a%2fb", "400")] {
            let answer = post(&stage, &format!("/printer/{printer}/printjob"), "x").await?;
            let last = answer.rsplit("HTTP/1.1 ").next().unwrap_or_default();
            assert!(last.starts_with(status), "{printer}: {answer}");
        }
        stage.leave(&mut client).await?;
        Ok(stage.strike().await?)
    });
}
