//! `qvd-nxproxy` in nxproxy's place, with the arguments that other programs
//! start nxproxy with.

use std::fs;

use qvd_tests::display::{Display, Options};
use qvd_tests::nx::Agent;
use qvd_tests::process::Process;
use qvd_tests::{Result, Scene, play, ports};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};

use super::session::WAIT;

/// What the agent and this end share.
const COOKIE: &str = "0123456789abcdef0123456789abcdef";

/// Starts the program; `words` follow its role.
pub(super) fn start(scene: &Scene, display: &Display, words: &[&str]) -> Result<Process> {
    let program = display.dress(scene.built("qvd-nxproxy")?);
    scene.start(program.arg("-S").args(words))
}

/// Waits until something of the session is on the display.
async fn drawn(scene: &Scene, agent: &Agent, display: &Display) -> Result<Process> {
    let clock = agent.dress(scene.installed("xclock", "x11-apps")?);
    let clock = scene.start(clock.args(["-update", "1", "-geometry", "300x300"]))?;
    let screen = display.screen();
    screen
        .wait_for_pixels("the clock", WAIT, |screen| {
            Ok(screen.screenshot()?.is_drawn())
        })
        .await?;
    Ok(clock)
}

/// Waits for the program's end with this status; what it has said.
pub(super) async fn ended(proxy: &mut Process, status: i32) -> Result<String> {
    proxy
        .expect("Session: Session terminated at '", WAIT)
        .await?;
    assert_eq!(proxy.wait(WAIT).await?.code(), Some(status));
    Ok(proxy.log().text())
}

/// Where each of `lines` begins in the log, in this order.
fn in_order(log: &str, lines: &[&str]) {
    let mut at = 0;
    for line in lines {
        let found = log[at..].find(line);
        at += found.unwrap_or_else(|| panic!("{line:?} is missing or too early in\n{log}"));
    }
}

#[test]
fn it_connects_to_an_agent_as_nxproxy_does() {
    play("native_program_connects", async |scene| {
        let cookie = format!("cookie={COOKIE}");
        let agent = Agent::start(scene, &["link=adsl", "geometry=640x480", &cookie]).await?;
        let display = Display::start(scene, Options::default()).await?;
        // As X2Go does: everything in a file, the log of its own.
        let stats = scene.path("stats");
        let options = scene.write(
            "options",
            format!(
                "nx/nx,root={},connect=unix:{},cookie={COOKIE},retry=5,stats={}:50",
                scene.home().display(),
                agent.socket().display(),
                stats.display()
            ),
        )?;
        let word = format!("nx/nx,options={}:50", options.display());
        let mut proxy = start(scene, &display, &[&word])?;
        proxy
            .expect("Info: Established X server connection.", WAIT)
            .await?;
        agent.expect_session(0, "Session started", WAIT).await?;
        let _clock = drawn(scene, &agent, &display).await?;

        proxy.signal(Signal::TERM)?;
        agent.expect_session(0, "Session suspended", WAIT).await?;
        let log = ended(&mut proxy, 0).await?;
        in_order(
            &log,
            &[
                "NXPROXY - Version 3.5.99",
                "Info: Proxy running in server mode with pid '",
                "Session: Starting session at '",
                "Info: Connecting to remote host 'unix:",
                "Info: Connected to remote proxy on FD#",
                "Info: Connection with remote proxy completed.",
                "Info: Using ADSL link parameters 1408/24/1/0.",
                "Info: Using cache parameters 4/4096KB/8192KB/8192KB.",
                "Info: Using pack method 'adaptive-7' with session ''.",
                "Info: Using ZLIB stream compression 4/4.",
                "Info: Forwarding X11 connections to display ':",
                "Session: Session started at '",
                "Info: Established X server connection.",
                "Session: Terminating session at '",
                "Session: Session terminated at '",
            ],
        );
        assert!(!log.contains(COOKIE), "{log}");
        assert!(!log.contains("Error"), "{log}");
        let stats = fs::read_to_string(stats)?;
        assert!(stats.contains("NX from the VM: "), "{stats}");
        Ok(())
    });
}

#[test]
fn it_listens_for_an_agent_that_connects() {
    play("native_program_listens", async |scene| {
        let (port, number) = (ports::port()?, ports::display()?);
        let display = Display::start(scene, Options::default()).await?;
        let words = format!(
            "nx/nx,accept=localhost,loopback=1,listen={}:8",
            port.number()
        );
        let mut proxy = start(scene, &display, &[&words])?;
        let waiting = format!(
            "Info: Waiting for connection from 'localhost' on socket 'tcp:localhost:{}'.",
            port.number()
        );
        proxy.expect(&waiting, WAIT).await?;
        let options = scene.write(
            "agent-options",
            format!(
                "nx/nx,link=lan,geometry=640x480,connect=localhost,port={}:{}\n",
                port.number(),
                number.number()
            ),
        )?;
        let agent = scene
            .installed("nxagent", "nxagent")?
            .arg(format!(":{}", number.number()))
            .args(["-ac", "-nolisten", "tcp", "-name", "QVD", "-display"])
            .arg(format!(
                "nx/nx,options={}:{}",
                options.display(),
                number.number()
            ));
        let mut agent = scene.start(agent)?;
        agent.expect("Session: Session started", WAIT).await?;
        proxy
            .expect("Info: Established X server connection.", WAIT)
            .await?;
        let clock = scene.installed("xclock", "x11-apps")?;
        let _clock = scene.start(clock.env("DISPLAY", format!(":{}", number.number())).args([
            "-update",
            "1",
            "-geometry",
            "300x300",
        ]))?;
        let screen = display.screen();
        screen
            .wait_for_pixels("the clock", WAIT, |screen| {
                Ok(screen.screenshot()?.is_drawn())
            })
            .await?;
        // The user's log-out is the end of both.
        agent.signal(Signal::TERM)?;
        agent.wait(WAIT).await?;
        let log = ended(&mut proxy, 0).await?;
        in_order(
            &log,
            &[
                "Info: Accepted connection from '127.0.0.1'.",
                "Info: Connection with remote proxy completed.",
                "Info: Not using NX delta compression.",
                "Session: Session started at '",
                "Session: Session terminated at '",
            ],
        );
        Ok(())
    });
}

#[test]
fn its_slave_connections_reach_the_agents_command() {
    play("native_program_slave", async |scene| {
        let display = Display::start(scene, Options::default()).await?;
        let agent = Agent::start_serving(scene, &["link=wan"], "/bin/cat").await?;
        let place = scene.path("slave.sock");
        let slave = format!("slave=unix:{}", place.display());
        let connect = format!("nx/nx,connect=unix:{}:40", agent.socket().display());
        let mut proxy = start(scene, &display, &[&slave, "media=4713", &connect])?;
        proxy
            .expect("Info: Listening to slave connections on port 'unix:", WAIT)
            .await?;
        proxy
            .expect("Info: Established X server connection.", WAIT)
            .await?;
        let mut stream = UnixStream::connect(&place).await?;
        let sent: Vec<u8> = (0..20_000_u32).flat_map(u32::to_be_bytes).collect();
        let mut back = vec![0; sent.len()];
        let (mut read, mut write) = stream.split();
        let both = async { tokio::join!(write.write_all(&sent), read.read_exact(&mut back)) };
        let (wrote, got) = tokio::time::timeout(WAIT, both).await.unwrap();
        wrote?;
        got?;
        assert!(back == sent, "other bytes came back");
        drop(stream);
        proxy
            .expect("Info: Closed connection to slave server.", WAIT)
            .await?;
        proxy.signal(Signal::HUP)?;
        let log = ended(&mut proxy, 0).await?;
        let accepted = "Info: Accepted new connection to slave server.";
        let media = "Info: Forwarding multimedia connections to port 'tcp:localhost:4713'.";
        assert!(log.contains(accepted) && log.contains(media), "{log}");
        Ok(())
    });
}

/// Each of these ends with one sentence and a status that is not 0.
#[test]
fn what_is_wrong_is_said_in_a_sentence() {
    play("native_program_faults", async |scene| {
        let display = Display::start(scene, Options::default()).await?;
        // Nobody listens.
        let port = ports::port()?;
        let connect = format!("connect=127.0.0.1,retry=1,port={}", port.number());
        let mut proxy = start(scene, &display, &[&connect])?;
        let log = ended(&mut proxy, 1).await?;
        let refused = format!(
            "Error: Connection to '127.0.0.1:{}' failed. Error is 111 'Connection refused'.",
            port.number()
        );
        assert!(log.contains(&refused), "{log}");

        // Somebody who does not speak NX.
        let web = TcpListener::bind("127.0.0.1:0").await?;
        let connect = format!("connect=127.0.0.1,port={}", web.local_addr()?.port());
        let mut proxy = start(scene, &display, &[&connect])?;
        let (mut peer, _) = web.accept().await?;
        peer.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await?;
        let log = ended(&mut proxy, 1).await?;
        assert!(log.contains("the other end is no NX agent"), "{log}");
        assert!(log.contains("Failure negotiating the session"), "{log}");
        assert!(!log.contains("panicked"), "{log}");

        // An agent that wants another cookie.
        let cookie = format!("cookie={COOKIE}");
        let agent = Agent::start(scene, &["link=lan", &cookie]).await?;
        let connect = format!(
            "nx/nx,connect=unix:{},cookie=other:8",
            agent.socket().display()
        );
        let mut proxy = start(scene, &display, &[&connect])?;
        let log = ended(&mut proxy, 1).await?;
        // What is known comes first, and then what scripts look for.
        in_order(
            &log,
            &[
                "Error: agent closed the connection before the session was up.",
                "invalid session authentication cookie",
            ],
        );
        Ok(())
    });
}
