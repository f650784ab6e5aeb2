//! An administrator sees the session, by `vnc_connect` and a real x11vnc.

use std::time::Duration;

use qvd_rpc::{Call, SessionState};
use qvd_tests::rig::{Agent, Desktop};
use qvd_tests::{Outcome, Result, Scene, play};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::security::{authority, by, connect_over_tls, private};
use super::{Seat, WAIT, kill, processes, session};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: VNC\r\n";

/// A viewer that has asked for the session.
struct Viewer {
    stream: TcpStream,
    /// What was answered up to the last head.
    answer: String,
}

impl Viewer {
    async fn ask(agent: &Agent, headers: &str) -> std::io::Result<Self> {
        let mut stream = TcpStream::connect(agent.rpc()).await?;
        let request = format!("GET /vma/vnc_connect HTTP/1.1\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await?;
        Ok(Self {
            stream,
            answer: String::new(),
        })
    }

    /// The status of the final answer, or 101.
    async fn status(&mut self) -> std::result::Result<String, Box<dyn std::error::Error>> {
        loop {
            let head = timeout(WAIT, self.head()).await??;
            self.answer.push_str(&head);
            let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
            if status != "102" {
                return Ok(status);
            }
        }
    }

    async fn head(&mut self) -> std::io::Result<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await?);
        }
        Ok(String::from_utf8_lossy(&head).into_owned())
    }

    /// RFB up to the server's size; gives it, and the name.
    async fn shake_hands(&mut self) -> std::io::Result<(u16, u16)> {
        let stream = &mut self.stream;
        let mut version = [0; 12];
        stream.read_exact(&mut version).await?;
        assert!(version.starts_with(b"RFB 003."), "{version:?}");
        stream.write_all(b"RFB 003.008\n").await?;
        let count = stream.read_u8().await?;
        let mut kinds = vec![0; count.into()];
        stream.read_exact(&mut kinds).await?;
        assert!(kinds.contains(&1), "{kinds:?}");
        stream.write_all(&[1]).await?;
        assert_eq!(stream.read_u32().await?, 0);
        // Shared.
        stream.write_all(&[1]).await?;
        let size = (stream.read_u16().await?, stream.read_u16().await?);
        let mut format = [0; 16];
        stream.read_exact(&mut format).await?;
        let length = stream.read_u32().await?;
        let mut name = vec![0; usize::try_from(length).unwrap_or(0)];
        stream.read_exact(&mut name).await?;
        Ok(size)
    }

    /// One whole picture, as rows of red, green and blue.
    async fn picture(&mut self, (width, height): (u16, u16)) -> std::io::Result<Vec<[u8; 3]>> {
        let stream = &mut self.stream;
        // 32 bits a pixel, little end first, blue lowest.
        let format = [
            0, 0, 0, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0,
        ];
        stream.write_all(&format).await?;
        // Raw alone.
        stream.write_all(&[2, 0, 0, 1, 0, 0, 0, 0]).await?;
        let mut ask = vec![3, 0, 0, 0, 0, 0];
        ask.extend(width.to_be_bytes());
        ask.extend(height.to_be_bytes());
        stream.write_all(&ask).await?;
        let across = usize::from(width);
        let mut picture = vec![[0; 3]; across * usize::from(height)];
        assert_eq!(stream.read_u8().await?, 0, "an update");
        stream.read_u8().await?;
        for _ in 0..stream.read_u16().await? {
            let (x, y) = (stream.read_u16().await?, stream.read_u16().await?);
            let (w, h) = (stream.read_u16().await?, stream.read_u16().await?);
            assert_eq!(stream.read_u32().await?, 0, "raw");
            for row in y..y + h {
                for column in x..x + w {
                    let mut pixel = [0; 4];
                    stream.read_exact(&mut pixel).await?;
                    let [blue, green, red, _] = pixel;
                    let at = usize::from(row) * across + usize::from(column);
                    if let Some(to) = picture.get_mut(at) {
                        *to = [red, green, blue];
                    }
                }
            }
        }
        Ok(picture)
    }
}

fn viewers(session: &str) -> Vec<u32> {
    let all = processes(session).into_iter();
    all.filter(|(_, command)| command.contains("x11vnc"))
        .map(|(pid, _)| pid)
        .collect()
}

async fn no_viewers(session: &str) -> Outcome {
    let gone = async {
        while !viewers(session).is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    Ok(timeout(WAIT, gone).await?)
}

#[test]
fn an_administrator_sees_what_the_user_sees() {
    play("agent_vnc_sees", async |scene| {
        scene.installed("x11vnc", "x11vnc")?;
        let keys = [("vma.x11vnc.confirm.enabled", "0")];
        let seat = Seat::take(scene, &Desktop::Small, &keys).await?;
        let _client = seat.connect(scene, &[]).await?;
        let window = seat.drawn().await?;
        let name = session(&seat.agent)?;

        let mut viewer = Viewer::ask(&seat.agent, UPGRADE).await?;
        assert_eq!(viewer.status().await?, "101");
        assert!(
            viewer.answer.contains("102 Processing"),
            "{}",
            viewer.answer
        );
        let size = timeout(WAIT, viewer.shake_hands()).await??;
        assert_eq!(viewers(&name).len(), 1);
        assert_eq!(size, (window.width, window.height));

        // The clock's hand may move between the two pictures.
        let same = async {
            loop {
                let seen = viewer.picture(size).await?;
                let shown = seat.display.screen().screenshot_of(&window)?;
                let columns = (0..size.0).step_by(5);
                let points: Vec<(u16, u16)> = columns
                    .flat_map(|x| (0..size.1).step_by(5).map(move |y| (x, y)))
                    .collect();
                let at = |x: u16, y: u16| {
                    let index = usize::from(y) * usize::from(size.0) + usize::from(x);
                    seen.get(index).copied()
                };
                let equal = points
                    .iter()
                    .filter(|(x, y)| at(*x, *y) == shown.pixel(*x, *y));
                let share = equal.count() as f64 / points.len() as f64;
                if share > 0.97 && shown.colours() > 1 {
                    return Ok::<(), Box<dyn std::error::Error>>(());
                }
            }
        };
        timeout(WAIT, same).await??;

        // Its user runs it, and it ends with the connection.
        let pid = viewers(&name).first().copied().ok_or("no x11vnc")?;
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline"))?;
        assert!(command.contains("-auth"), "{command}");
        drop(viewer);
        no_viewers(&name).await?;
        seat.leave().await?;
        Ok(())
    });
}

#[test]
fn a_viewer_ends_with_the_session() {
    play("agent_vnc_ends", async |scene| {
        let keys = [("vma.x11vnc.confirm.enabled", "0")];
        let seat = Seat::take(scene, &Desktop::Small, &keys).await?;
        let client = seat.connect(scene, &[]).await?;
        let name = session(&seat.agent)?;
        // A suspended session can be seen too.
        kill(client.proxy.pid())?;
        seat.becomes(SessionState::Suspended).await?;
        let mut viewer = Viewer::ask(&seat.agent, UPGRADE).await?;
        assert_eq!(viewer.status().await?, "101");
        timeout(WAIT, viewer.shake_hands()).await??;
        assert_eq!(viewers(&name).len(), 1);
        seat.leave().await?;
        let mut rest = Vec::new();
        timeout(WAIT, viewer.stream.read_to_end(&mut rest)).await??;
        Ok(())
    });
}

/// A program that answers for the user.
fn answers(scene: &Scene, name: &str, script: &str) -> Result<String> {
    Ok(scene.script(name, script)?.display().to_string())
}

#[test]
fn the_user_is_asked_and_his_answer_counts() {
    play("agent_vnc_confirm", async |scene| {
        let asked = scene.path("asked");
        let wish = scene.path("wish");
        let script = format!(
            "echo \"$DISPLAY\" >> {}; exit $(cat {})",
            asked.display(),
            wish.display()
        );
        let command = answers(scene, "confirm", &script)?;
        let keys = [("vma.x11vnc.confirm.command", command.as_str())];
        let seat = Seat::take(scene, &Desktop::Small, &keys).await?;
        let client = seat.connect(scene, &[]).await?;
        for (status, expected) in [("1", "403"), ("0", "101")] {
            std::fs::write(&wish, status)?;
            let mut viewer = Viewer::ask(&seat.agent, UPGRADE).await?;
            assert_eq!(viewer.status().await?, expected);
        }
        let displays = std::fs::read_to_string(&asked)?;
        let display = format!(":{}", seat.agent.display());
        assert_eq!(displays.lines().collect::<Vec<_>>(), [&display, &display]);
        // Nobody is there to be asked.
        kill(client.proxy.pid())?;
        seat.becomes(SessionState::Suspended).await?;
        let mut viewer = Viewer::ask(&seat.agent, UPGRADE).await?;
        assert_eq!(viewer.status().await?, "503");
        seat.leave().await?;
        Ok(())
    });
}

#[test]
fn what_cannot_be_shown_is_refused_before_the_upgrade() {
    play("agent_vnc_refused", async |scene| {
        let keys = [
            ("command.x11vnc", "/nowhere/x11vnc"),
            ("vma.x11vnc.confirm.enabled", "0"),
        ];
        let seat = Seat::take(scene, &Desktop::Small, &keys).await?;
        let mut plain = Viewer::ask(&seat.agent, "").await?;
        assert_eq!(plain.status().await?, "426");
        let mut early = Viewer::ask(&seat.agent, UPGRADE).await?;
        assert_eq!(early.status().await?, "503");
        let _client = seat.connect(scene, &[]).await?;
        let mut viewer = Viewer::ask(&seat.agent, UPGRADE).await?;
        assert_eq!(viewer.status().await?, "503");
        assert_eq!(seat.agent.call(Call::Ping).await?, qvd_rpc::Reply::Alive);
        seat.leave().await?;
        Ok(())
    });
}

#[test]
fn a_session_is_seen_over_tls_too() {
    play("agent_vnc_tls", async |scene| {
        let (parameters, ca) = authority()?;
        let own = by(&parameters, &ca)?;
        let cert = scene.write("agent.pem", own.cert.pem())?;
        let key = private(scene, "agent-key.pem", &own.key.serialize_pem())?;
        let [cert, key] = [cert, key].map(|path| path.display().to_string());
        let mut seat = Seat::take(scene, &Desktop::Small, &[]).await?;
        let _client = seat.connect(scene, &[]).await?;
        let name = session(&seat.agent)?;
        // From here on calls are encrypted.
        let config = seat.agent.config().to_owned();
        let before = std::fs::read_to_string(&config)?;
        let more = format!(
            "vma.rpc.tls.cert_file = {cert}\nvma.rpc.tls.key_file = {key}\n\
             vma.x11vnc.confirm.enabled = 0\n"
        );
        let position = seat.agent.daemon()?.log().position();
        std::fs::write(&config, format!("{before}{more}"))?;
        let said = "vma.rpc.tls.key_file has changed";
        let daemon = seat.agent.daemon()?;
        daemon.expect_after(position, said, WAIT).await?;

        let mut stream = connect_over_tls(seat.agent.rpc(), &ca, None).await?;
        let request = format!("GET /vma/vnc_connect HTTP/1.1\r\n{UPGRADE}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let greeted = async {
            while !answer.windows(8).any(|part| part == b"RFB 003.") {
                answer.push(stream.read_u8().await?);
            }
            std::io::Result::Ok(())
        };
        timeout(WAIT, greeted).await??;
        assert!(String::from_utf8_lossy(&answer).contains("101 "));
        assert_eq!(viewers(&name).len(), 1);
        drop(stream);
        no_viewers(&name).await?;

        let position = seat.agent.daemon()?.log().position();
        std::fs::write(&config, before)?;
        let daemon = seat.agent.daemon()?;
        daemon.expect_after(position, said, WAIT).await?;
        seat.leave().await?;
        Ok(())
    });
}
