//! What `qvd-nxproxy` makes of its words beside the session itself: files,
//! signals, sockets, exit statuses.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use qvd_tests::display::{Display, Options};
use qvd_tests::nx::Agent;
use qvd_tests::{play, ports};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use super::program::{ended, start};
use super::session::WAIT;

/// Names of files lie in the session's folder, which is made; no session is
/// lost for one that cannot be written to.
#[test]
fn files_lie_in_the_sessions_folder() {
    play("native_program_files", async |scene| {
        let display = Display::start(scene, Options::default()).await?;
        let nobody = ports::port()?;
        let root = scene.path("roots/nx");
        let connect = format!("connect=127.0.0.1,retry=1,port={}", nobody.number());
        for (root, folder) in [
            (Some(&root), root.join("S-50")),
            (None, scene.home().join(".nx/S-50")),
        ] {
            let root = root.map_or_else(String::new, |root| format!(",root={}", root.display()));
            let words = format!("nx/nx,{connect}{root},errors=faults,session=log:50");
            let mut proxy = start(scene, &display, &[&words])?;
            assert_eq!(proxy.wait(WAIT).await?.code(), Some(1));
            let mode = fs::metadata(&folder)?.permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
            for file in ["faults", "log"] {
                let text = fs::read_to_string(folder.join(file))?;
                assert!(text.contains("Error: Connection to"), "{file}: {text}");
            }
        }
        let words = format!("nx/nx,{connect},errors=/nowhere/e,session=/nowhere/s:50");
        let mut proxy = start(scene, &display, &[&words])?;
        let log = ended(&mut proxy, 1).await?;
        for file in ["/nowhere/e", "/nowhere/s"] {
            let warning = format!("Warning: Cannot write to the file '{file}': No such file");
            assert!(log.contains(&warning), "{log}");
        }
        assert!(log.contains("Error: Connection to"), "{log}");
        Ok(())
    });
}

/// A signal ends no program that has not begun its session, and its socket goes
/// with it; one that a killed program left is replaced.
#[test]
fn it_waits_through_signals_and_clears_its_socket_away() {
    play("native_program_signals", async |scene| {
        let display = Display::start(scene, Options::default()).await?;
        let (socket, slave) = (scene.path("nx.sock"), scene.path("slave.sock"));
        let words = format!(
            "nx/nx,listen=unix:{},slave=unix:{}:50",
            socket.display(),
            slave.display()
        );
        let waiting = "Info: Waiting for connection from any host on socket 'unix:";
        let mut killed = start(scene, &display, &[&words])?;
        killed.expect(waiting, WAIT).await?;
        killed.signal(Signal::KILL)?;
        killed.wait(WAIT).await?;
        assert!(socket.exists() && slave.exists());

        let mut proxy = start(scene, &display, &[&words])?;
        proxy.expect(waiting, WAIT).await?;
        for socket in [&socket, &slave] {
            let mode = fs::metadata(socket)?.permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        // It is in use now.
        let mut other = start(scene, &display, &[&words])?;
        let log = ended(&mut other, 1).await?;
        assert!(log.contains("Address already in use"), "{log}");

        proxy.signal(Signal::USR1)?;
        proxy.signal(Signal::USR2)?;
        proxy.signal(Signal::TERM)?;
        ended(&mut proxy, 0).await?;
        assert!(!socket.exists() && !slave.exists());

        // Nobody but the agent is to find the one it waited at.
        let mut proxy = start(scene, &display, &[&words])?;
        proxy.expect(waiting, WAIT).await?;
        let mut peer = UnixStream::connect(&socket).await?;
        proxy
            .expect("Info: Accepted connection from this host.", WAIT)
            .await?;
        assert!(!socket.exists());
        peer.write_all(b"NXPROXY-1.5.0 ").await?;
        let log = ended(&mut proxy, 1).await?;
        assert!(log.contains("NX 1.5.0, which is too old"), "{log}");
        Ok(())
    });
}

/// An agent that takes the connection and says nothing is given up, and the
/// connection with it.
#[test]
fn an_agent_that_says_nothing_is_given_up() {
    play("native_program_silence", async |scene| {
        let display = Display::start(scene, Options::default()).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let words = format!("nx/nx,connect=127.0.0.1,port={port}:50");
        let mut proxy = start(scene, &display, &[&words])?;
        let (mut agent, _) = listener.accept().await?;
        let log = ended(&mut proxy, 1).await?;
        let reason = "session could not be negotiated: nothing was heard of the agent for 30 s";
        assert!(log.contains(reason), "{log}");
        let mut said = Vec::new();
        agent.read_to_end(&mut said).await?;
        assert!(said.starts_with(b"NXPROXY-3.5."), "{said:?}");
        Ok(())
    });
}

/// Servers that do not answer, and those that were not set.
#[test]
fn channels_without_a_server_are_told() {
    play("native_program_channels", async |scene| {
        let (cups, http, closed) = (ports::port()?, ports::port()?, ports::port()?);
        let options = [
            "link=lan".to_owned(),
            format!("cups={}", cups.number()),
            format!("http={}", http.number()),
        ];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let agent = Agent::start(scene, &options).await?;
        let display = Display::start(scene, Options::default()).await?;
        let words = format!(
            "nx/nx,connect=unix:{},cups={},stats=/nowhere/stats:50",
            agent.socket().display(),
            closed.number()
        );
        let mut proxy = start(scene, &display, &[&words])?;
        agent.expect_session(0, "Session started", WAIT).await?;
        for port in [&cups, &http] {
            let mut program = TcpStream::connect(("127.0.0.1", port.number())).await?;
            program.write_all(b"hello").await?;
            let mut answer = Vec::new();
            let read = program.read_to_end(&mut answer);
            tokio::time::timeout(WAIT, read).await.unwrap()?;
            assert!(answer.is_empty());
        }
        proxy.signal(Signal::USR1)?;
        let stats = "Warning: Statistics cannot be written to '/nowhere/stats': No such file";
        proxy.expect(stats, WAIT).await?;
        proxy.signal(Signal::TERM)?;
        let log = ended(&mut proxy, 0).await?;
        let refused = format!(
            "Warning: Connection to CUPS server 'localhost:{}' failed with error 'Connection refused'.",
            closed.number()
        );
        assert!(log.contains(&refused), "{log}");
        let unset = "Warning: Refusing attempted connection to HTTP server.";
        assert!(log.contains(unset), "{log}");
        assert!(!log.contains("Closed connection to"), "{log}");
        Ok(())
    });
}

/// Connections to a port of this machine reach the agent's font server, whose
/// part a program plays that gives back what it gets.
#[test]
fn a_font_server_of_the_agents_machine_is_reached() {
    play("native_program_font", async |scene| {
        let fonts = TcpListener::bind("127.0.0.1:0").await?;
        let theirs = format!("font={}", fonts.local_addr()?.port());
        let agent = Agent::start(scene, &["link=adsl", &theirs]).await?;
        let display = Display::start(scene, Options::default()).await?;
        let ours = ports::port()?;
        let words = format!(
            "nx/nx,connect=unix:{},font={}:50",
            agent.socket().display(),
            ours.number()
        );
        let mut proxy = start(scene, &display, &[&words])?;
        proxy
            .expect("Info: Established X server connection.", WAIT)
            .await?;
        let mut asking = TcpStream::connect(("127.0.0.1", ours.number())).await?;
        let sent: Vec<u8> = (0..20_000_u32).flat_map(u32::to_be_bytes).collect();
        let mut back = vec![0; sent.len()];
        let (mut read, mut write) = asking.split();
        let served = async {
            let (mut server, _) = fonts.accept().await?;
            let (mut from, mut to) = server.split();
            tokio::io::copy(&mut from, &mut to).await
        };
        let asked = async {
            let (wrote, got) = tokio::join!(write.write_all(&sent), read.read_exact(&mut back));
            wrote.and(got)
        };
        let both = async {
            tokio::select! {
                served = served => panic!("the server's end came first: {served:?}"),
                asked = asked => asked,
            }
        };
        tokio::time::timeout(WAIT, both).await.unwrap()?;
        assert!(back == sent, "other bytes came back");
        drop(asking);
        proxy
            .expect("Info: Closed connection to font server.", WAIT)
            .await?;
        proxy.signal(Signal::TERM)?;
        let log = ended(&mut proxy, 0).await?;
        for words in [
            format!(
                "Info: Listening to font server connections on port '{}'.",
                ours.number()
            ),
            "Info: Accepted new connection to font server.".to_owned(),
        ] {
            assert!(log.contains(&words), "{log}");
        }
        Ok(())
    });
}

/// Wrong words have a status of their own, and what was to end with the session
/// ends.
#[test]
fn wrong_words_are_told_by_the_exit_status() {
    play("native_program_words", async |scene| {
        let display = Display::start(scene, Options::default()).await?;
        let empty = scene.write("empty", "\n")?;
        let empty = format!("nx/nx,options={}:40", empty.display());
        for (words, part) in [
            (&["localhost:x"][..], "'x' is no port"),
            (&["port=99999", "localhost:40"], "'99999' is no port"),
            (&["nx/nx,options=/nowhere/at/all:40"], "/nowhere/at/all"),
            (&[&empty], "empty': "),
            (&["media=1", "localhost:40"], "No port specified"),
        ] {
            let sleep = scene.installed("sleep", "coreutils")?;
            let mut helper = scene.start(sleep.arg("1000"))?;
            let kill = format!("kill={}", helper.pid());
            let words: Vec<&str> = [kill.as_str()].into_iter().chain(words.to_vec()).collect();
            let mut proxy = start(scene, &display, &words)?;
            proxy.expect(part, WAIT).await?;
            assert_eq!(proxy.wait(WAIT).await?.code(), Some(64), "{words:?}");
            helper.wait(WAIT).await?;
        }
        Ok(())
    });
}
