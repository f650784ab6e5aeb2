//! What stock ends say to each other, decoded by our own codec: sessions that
//! nobody has seen before.

use std::collections::BTreeSet;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nx_proxy::codec::Replay;
use qvd_tests::display::{Display, Options};
use qvd_tests::{Scene, nx, play, ports};
use rustix::process::Signal;

const WAIT: Duration = Duration::from_secs(120);

/// What draws: a few of every kind that x11perf knows.
const DRAWS: &str = "x11perf -repeat 1 -reps 3 -dot -rect10 -srect10 -line10 -dline10 -oddsrect10 \
                     -circle10 -fcircle10 -ellipse10 -triangle10 -trap10 -aatrap10 -complex10 -ftext -f8text \
                     -polytext -tr10itext -scroll10 -copywinwin10 -copypixwin10 -copyplane10 -putimage10 \
                     -putimagexy10 -shmput10 -aa10text -rgb10text -noop -gc -create -ucreate -map -move \
                     -popup -resize -circulate -pointer -prop";

fn decodes(name: &str, link: &'static str) {
    play(name, async |scene: &Scene| {
        // Without a window manager nxagent has the size that it likes.
        let options = Options {
            window_manager: true,
            ..Options::default()
        };
        let display = Display::start(scene, options).await?;
        let folder = scene.path("recording");
        let mut session = nx::record(scene, &display, &[link, "geometry=800x700"], &folder).await?;
        let shell = scene.installed("sh", "dash")?.args(["-c", DRAWS]);
        let mut draws = scene.start(session.agent.dress(shell))?;
        let status = draws.wait(WAIT).await?;
        assert!(status.success(), "{}", draws.log().tail());
        session.agent.process().signal(Signal::TERM)?;
        session.proxy.wait(WAIT).await?;

        let read = |name: &str| std::fs::read(folder.join(name));
        let (nx, server, x11) = (read("nx.0.t2c")?, read("x11.0.t2c")?, read("x11.0.c2t")?);
        assert!(x11.len() > 10_000, "{} bytes were drawn", x11.len());
        let mut replay = Replay::new(&server)?;
        for piece in nx.chunks(4096) {
            replay.receive(piece)?;
        }
        // nxproxy may end before it has drawn the last of what it has read.
        assert!(
            replay.x11.len() >= x11.len(),
            "{} of {} bytes",
            replay.x11.len(),
            x11.len()
        );
        // Padding differs, which is a quarter of an image.
        let differ = replay.x11.iter().zip(&x11).filter(|(a, b)| a != b).count();
        assert!(differ < x11.len() / 4, "{differ} of {}", x11.len());
        Ok(())
    });
}

#[test]
fn what_stock_ends_say_over_a_lan_is_decoded() {
    decodes("native_recorded_lan", "link=lan");
}

#[test]
fn what_stock_ends_say_over_a_modem_is_decoded() {
    decodes("native_recorded_modem", "link=modem");
}

/// Requests that no program makes in a session, and those that NX has no use
/// for: a host admitted, access control switched on, the clients of nobody
/// killed, numbers that are not given out.
const RARE: &[&[u8]] = &[
    &[109, 0, 3, 0, 0, 0, 4, 0, 192, 0, 2, 1],
    &[109, 1, 3, 0, 0, 0, 4, 0, 192, 0, 2, 1],
    &[111, 1, 1, 0],
    &[113, 0, 2, 0, 0xff, 0xff, 0xff, 0x1f],
    &[126, 0, 1, 0],
    &[126, 0, 3, 0, 1, 2, 3, 4, 5, 6, 7, 8],
    &[238, 0, 1, 0],
    &[239, 0, 2, 0, 1, 2, 3, 4],
    &[244, 0, 1, 0],
];

/// An X client of display `number`, of which the setup is done.
fn client(number: u16, cookie: &[u8]) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(ports::display_socket(number))?;
    stream.set_read_timeout(Some(WAIT))?;
    let mut setup = b"l\0\x0b\0\0\0\x12\0\x10\0\0\0MIT-MAGIC-COOKIE-1\0\0".to_vec();
    setup.extend_from_slice(cookie);
    stream.write_all(&setup)?;
    let mut head = [0; 8];
    stream.read_exact(&mut head)?;
    assert_eq!(head[0], 1, "refused");
    let words = u16::from_le_bytes([head[6], head[7]]);
    stream.read_exact(&mut vec![0; usize::from(words) * 4])?;
    Ok(stream)
}

/// Sends a request and GetInputFocus; what comes before the answer to that, and
/// it.
fn ask(stream: &mut UnixStream, request: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    stream.write_all(request)?;
    stream.write_all(&[43, 0, 1, 0])?;
    let mut messages = Vec::new();
    loop {
        let mut message = vec![0; 32];
        stream.read_exact(&mut message)?;
        let is_reply = message[0] == 1;
        if is_reply {
            let length: [u8; 4] = message[4..8].try_into().unwrap_or_default();
            let more = usize::try_from(u32::from_le_bytes(length)).unwrap_or(0) * 4;
            message.resize(32 + more, 0);
            stream.read_exact(&mut message[32..])?;
        }
        messages.push(message);
        // ListExtensions has an answer of its own.
        if is_reply && (request[0] != 99 || messages.len() > 1) {
            return Ok(messages);
        }
    }
}

fn decodes_the_rare(name: &str, link: &'static str) {
    play(name, async |scene: &Scene| {
        let display = Display::start(scene, Options::default()).await?;
        let folder = scene.path("recording");
        let mut front = nx::Front::start(scene, link).await?;
        let (mut proxy, _relays, _number) = front.record(scene, &display, &folder).await?;
        let (number, cookie) = (front.number(), display.cookie().bytes());
        tokio::task::spawn_blocking(move || -> io::Result<()> {
            let mut stream = client(number, &cookie)?;
            for request in RARE {
                ask(&mut stream, request)?;
            }
            Ok(())
        })
        .await
        .unwrap()?;
        for process in [&mut front.process, &mut proxy] {
            process.signal(Signal::TERM)?;
            process.wait(WAIT).await?;
        }

        let read = |name: &str| std::fs::read(folder.join(name));
        let (nx, server, x11) = (read("nx.0.t2c")?, read("x11.0.t2c")?, read("x11.0.c2t")?);
        let mut replay = Replay::new(&server)?;
        replay.receive(&nx)?;
        let decoded: BTreeSet<u8> = replay.trace.iter().map(|request| request.opcode).collect();
        for request in RARE {
            assert!(decoded.contains(&request[0]), "{} is missing", request[0]);
        }
        assert_eq!(replay.x11.len(), x11.len());
        // Byte 1 has no meaning in most.
        let starts: BTreeSet<usize> = replay.trace.iter().map(|r| r.offset + 1).collect();
        let differ = (0..x11.len()).filter(|at| x11[*at] != replay.x11[*at]);
        let differ: Vec<usize> = differ.filter(|at| !starts.contains(at)).collect();
        assert!(differ.is_empty(), "{differ:?}");
        Ok(())
    });
}

#[test]
fn requests_that_no_program_makes_are_decoded_as_they_are() {
    decodes_the_rare("native_recorded_rare_lan", "link=lan");
}

#[test]
fn requests_that_no_program_makes_are_decoded_as_changes() {
    decodes_the_rare("native_recorded_rare_adsl", "link=adsl");
}

/// Not among the recordings: nxproxy at the agent's side loses its place in what
/// nxproxy makes of the answer.
#[test]
fn the_x_servers_extensions_are_told_but_for_those_that_nx_cannot_carry() {
    play("native_extensions", async |scene: &Scene| {
        let display = Display::start(scene, Options::default()).await?;
        let cookie = display.cookie().bytes();
        let list = async |number: u16| {
            let cookie = cookie.clone();
            let listed = tokio::task::spawn_blocking(move || -> io::Result<Vec<u8>> {
                let mut stream = client(number, &cookie)?;
                Ok(ask(&mut stream, &[99, 0, 1, 0])?.swap_remove(0))
            });
            listed.await.unwrap()
        };
        let own = list(display.number()).await?;
        for link in ["link=lan", "link=adsl"] {
            let mut front = nx::Front::start(scene, link).await?;
            let word = format!(
                "nx/nx,connect=unix:{}:{}",
                front.socket().display(),
                front.number()
            );
            let program = display.dress(scene.built("qvd-nxproxy")?);
            let mut proxy = scene.start(program.args(["-S", &word]))?;
            front
                .process
                .expect("Session: Session started", WAIT)
                .await?;
            let mut told = list(front.number()).await?;
            let told_text = String::from_utf8_lossy(&told).into_owned();
            assert!(told_text.contains("NO--SHM"), "{link}: {told_text}");
            // With their names as they are, it is the X server's answer.
            for (altered, name) in [("NO--SHM", "MIT-SHM"), ("NO--REQUESTS", "BIG-REQUESTS")] {
                let at = told
                    .windows(altered.len())
                    .position(|w| w == altered.as_bytes());
                if let Some(at) = at {
                    told[at..at + name.len()].copy_from_slice(name.as_bytes());
                }
            }
            // The bytes behind the number and the length have no meaning.
            assert_eq!(told[..2], own[..2], "{link}");
            assert_eq!(told[4..8], own[4..8], "{link}");
            let names: usize = told[32..]
                .iter()
                .zip(&own[32..])
                .filter(|(a, b)| a != b)
                .count();
            assert!(names <= 3, "{link}: {told_text}");
            for process in [&mut front.process, &mut proxy] {
                process.signal(Signal::TERM)?;
                process.wait(WAIT).await?;
            }
        }
        Ok(())
    });
}
