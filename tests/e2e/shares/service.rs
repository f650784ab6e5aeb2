//! What programs in the VM ask of the user's machine, on the session's slave
//! port: by the carrier, or through NX.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use qvd_tests::fault::Cut;
use qvd_tests::process::{Line, Process};
use qvd_tests::{Error, Outcome, Result, Scene, play, play_for, ports};

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
    answer.map_err(|e| Error::Invalid(format!("the slave port: {e}")))
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
    only_announced("shares_ports", "1");
}

#[test]
fn only_announced_ports_are_reached_through_nx() {
    only_announced("shares_ports_nx", "0");
}

/// With the carrier, or without.
fn only_announced(name: &str, carrier: &str) {
    play(name, async |scene| {
        let stage = Stage::set(scene, &[]).await?;
        let (open, other) = (echo()?, echo()?);
        let dead = ports::port()?;
        let announced = format!("{open} {}", dead.number());
        let login = stage.login().with("client.slave.tcp.ports", &announced);
        let login = login.with("client.carrier.enable", carrier);
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

/// A service of the user's that sends back what it is sent.
fn mirror() -> Result<u16> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| Error::Invalid(e.to_string()))?;
    let address = listener.local_addr();
    let address = address.map_err(|e| Error::Invalid(e.to_string()))?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    Ok(address.port())
}

/// A program of the VM's that has reached a port of the user's.
async fn reach(stage: &Stage, port: u16) -> Result<tokio::net::TcpStream> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let failed = |error: std::io::Error| Error::Invalid(error.to_string());
    let address = (Ipv4Addr::LOCALHOST, stage.agent.display() + 11000);
    let mut stream = tokio::net::TcpStream::connect(address)
        .await
        .map_err(failed)?;
    let request = format!("POST /tcp/connect/{port} HTTP/1.1\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = tokio::time::timeout(WAIT, stream.read_u8()).await;
        let byte = byte.map_err(|_| Error::Invalid("no answer".into()))?;
        head.push(byte.map_err(failed)?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    Ok(stream)
}

/// Bytes that go to a port and back.
const LENGTH: usize = 8 << 20;

/// Sends bytes to a port of the user's, and has them back.
async fn goes_round(stream: tokio::net::TcpStream, seed: u8) -> std::io::Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let bytes: Vec<u8> = (0..=250)
        .cycle()
        .take(LENGTH)
        .map(|b: u8| b ^ seed)
        .collect();
    let (mut reader, mut writer) = stream.into_split();
    let mut back = vec![0; LENGTH];
    let (sent, read) = tokio::join!(writer.write_all(&bytes), reader.read_exact(&mut back));
    sent?;
    read?;
    assert!(back == bytes, "other bytes came back");
    Ok(())
}

#[test]
fn a_connection_to_an_announced_port_survives_cut_after_cut() {
    play_for("shares_ports_cut", 4 * WAIT, async |scene| -> Outcome {
        let stage = Stage::set(scene, &[]).await?;
        let port = mirror()?;
        let login = stage.login();
        let login = login.with("client.slave.tcp.ports", &port.to_string());
        let mut client = stage.connect(scene, &login, &[]).await?;
        let log = stage.agent.daemon_log()?;
        let streams = (reach(&stage, port).await?, reach(&stage, port).await?);
        let cuts = std::cell::Cell::new(0);
        let cut = async {
            loop {
                let from = log.position();
                stage.front.cut(Cut::Reset);
                let back = |line: &Line| line.text.contains("the client is back");
                log.wait_for(from, "the client is back", WAIT, back).await?;
                cuts.set(cuts.get() + 1);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            #[expect(unreachable_code, reason = "says how it may fail")]
            Result::<()>::Ok(())
        };
        let round = async { tokio::try_join!(goes_round(streams.0, 1), goes_round(streams.1, 2)) };
        tokio::select! {
            round = round => drop(round?),
            cut = cut => cut?,
        }
        assert!(cuts.get() > 0);
        // One that begins while the client is away waits for it.
        let from = log.position();
        stage.front.refuse(true);
        stage.front.cut(Cut::Reset);
        let lost = |line: &Line| line.text.contains("the client's connection is lost");
        log.wait_for(from, "the connection is lost", WAIT, lost)
            .await?;
        let (reached, ()) = tokio::join!(reach(&stage, port), async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            stage.front.refuse(false);
        });
        goes_round(reached?, 3).await?;
        let text = log.text();
        assert!(!text.contains("Suspending session"), "{text}");
        stage.leave(&mut client).await?;
        Ok(stage.strike().await?)
    });
}

#[test]
fn a_session_asks_whatever_client_it_has() {
    play_for("shares_ports_turns", 4 * WAIT, async |scene| -> Outcome {
        let stage = Stage::set(scene, &[]).await?;
        let address = (Ipv4Addr::LOCALHOST, stage.agent.display() + 11000);
        for carrier in ["1", "0", "1"] {
            let login = stage.login().with("client.carrier.enable", carrier);
            let mut client = stage.connect(scene, &login, &[]).await?;
            let pong = get(&stage, "/ping").await?;
            assert!(pong.ends_with("Pong!\n"), "{carrier}: {pong}");
            stage.leave(&mut client).await?;
            // Without a client there is nobody to ask.
            until("the port is closed", || {
                TcpStream::connect(address).is_err()
            })
            .await?;
        }
        Ok(stage.strike().await?)
    });
}

#[test]
fn another_program_can_serve_the_session() {
    play("shares_own_command", async |scene| {
        let stage = Stage::set(scene, &[]).await?;
        let script = "read line\nprintf 'HTTP/1.1 200 OK\\r\\n\\r\\nmy own'";
        let program = scene.script("server", script)?;
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
