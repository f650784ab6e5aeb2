use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::timeout;

use super::*;

#[path = "../../../tests/src/script.rs"]
mod script;
use script::write_script;

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

async fn until<T>(event: impl Future<Output = T>) -> T {
    timeout(PATIENCE, event).await.unwrap()
}

/// A program with these commands.
fn program(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("slave");
    write_script(&path, script).unwrap();
    path
}

async fn read_all(end: &mut LocalEnd) -> String {
    let mut text = String::new();
    until(end.read_to_string(&mut text)).await.unwrap();
    text
}

/// Whether a process runs and is no zombie.
fn is_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().starts_with(" Z"))
}

async fn gone(pid: &str) {
    until(async {
        while is_alive(pid) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_slave_command_has_one_socket_for_both_its_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = program(
        folder.path(),
        "readlink /proc/$$/fd/0 /proc/$$/fd/1\nls /proc/$$/fd | sort -n | tail -n 1\ncat",
    );
    let channels = Channels::new().with_slave_command(path);
    let mut end = channels.open(Service::Slave).await.unwrap();
    end.write_all(b"to the end\n").await.unwrap();
    end.shutdown().await.unwrap();
    let said = read_all(&mut end).await;
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 4, "{said}");
    assert!(
        lines[0].starts_with("socket:") && lines[0] == lines[1],
        "{said}"
    );
    // 2, or what the shell reads its script from.
    assert!(["2", "10", "255"].contains(&lines[2]), "{said}");
    assert_eq!(lines[3], "to the end");
}

#[tokio::test]
async fn large_amounts_come_back_as_they_went() {
    let channels = Channels::new().with_slave_command("/bin/cat".into());
    let mut end = channels.open(Service::Slave).await.unwrap();
    let sent: Vec<u8> = (0..3_000_000_u32)
        .map(|k| k.wrapping_mul(k).to_be_bytes()[1])
        .collect();
    let (mut read, mut write) = tokio::io::split(&mut end);
    let mut got = Vec::new();
    let wrote = async {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let (_, count) = until(async { tokio::join!(wrote, read.read_to_end(&mut got)) }).await;
    assert_eq!(count.unwrap(), sent.len());
    assert!(got == sent);
}

/// What a command wrote before it exited comes, and then the end, though
/// another process still holds its output.
#[tokio::test]
async fn the_end_of_a_command_is_the_end_of_its_channel() {
    let folder = tempfile::tempdir().unwrap();
    let path = program(
        folder.path(),
        "sleep 1000 &\necho $!\nhead -c 100000 /dev/zero\nexit 3",
    );
    for _ in 0..3 {
        let channels = Channels::new().with_slave_command(path.clone());
        let mut end = channels.open(Service::Slave).await.unwrap();
        let said = read_all(&mut end).await;
        let (pid, rest) = said.split_once('\n').unwrap();
        assert_eq!(rest.len(), 100_000);
        assert!(
            is_alive(pid),
            "what a command left goes on as long as the session"
        );
        drop(end);
        channels.end().await;
        gone(pid).await;
    }
}

#[tokio::test]
async fn commands_that_do_not_listen_are_ended_with_their_session() {
    let folder = tempfile::tempdir().unwrap();
    let path = program(
        folder.path(),
        "trap '' TERM\nsh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' &\n\
         echo $$\nwhile :; do sleep 1; done",
    );
    for politely in [true, false] {
        let channels = Channels::new().with_slave_command(path.clone());
        let mut pids = Vec::new();
        let mut ends = Vec::new();
        for _ in 0..2 {
            let end = channels.open(Service::Slave).await.unwrap();
            let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(end));
            for _ in 0..2 {
                pids.push(until(lines.next_line()).await.unwrap().unwrap());
            }
            ends.push(lines);
        }
        assert!(pids.iter().all(|pid| is_alive(pid)));
        if politely {
            channels.end().await;
        }
        drop(channels);
        for pid in pids {
            gone(&pid).await;
        }
    }
}

/// The first command of a session leads its group, also when it is long gone.
#[tokio::test]
async fn commands_of_one_session_are_one_group() {
    let folder = tempfile::tempdir().unwrap();
    let path = program(folder.path(), "cut -d' ' -f5 /proc/$$/stat");
    let channels = Channels::new().with_slave_command(path);
    let mut groups = Vec::new();
    for _ in 0..3 {
        let mut end = channels.open(Service::Slave).await.unwrap();
        groups.push(read_all(&mut end).await);
    }
    assert!(!groups[0].is_empty());
    assert!(groups.iter().all(|group| *group == groups[0]), "{groups:?}");
}

#[tokio::test]
async fn a_command_gets_the_variables_that_were_set_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = program(folder.path(), "exec /usr/bin/env");
    let variables = vec![("QVD_SLAVE".to_owned(), OsString::from("yes"))];
    let channels = Channels::new().with_slave_command_in(path, variables);
    let said = read_all(&mut channels.open(Service::Slave).await.unwrap()).await;
    assert!(said.contains("QVD_SLAVE=yes"), "{said}");
    assert!(!said.contains("CARGO"), "{said}");
}

#[tokio::test]
async fn a_command_that_is_not_there_is_refused_by_its_name() {
    let channels = Channels::new().with_slave_command("/no/such/slave".into());
    let error = channels
        .open(Service::Slave)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("/no/such/slave"), "{error}");
    for service in [Service::Slave, Service::Cups, Service::Media] {
        let refused = Channels::new().open(service).await.err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
    }
}

#[tokio::test]
async fn a_handler_is_given_the_channel_itself() {
    let (give, mut given) = tokio::sync::mpsc::unbounded_channel();
    let channels = Channels::new().with_slave_handler(Arc::new(move |end| drop(give.send(end))));
    let mut ours = channels.open(Service::Slave).await.unwrap();
    let mut theirs = given.recv().await.unwrap();
    ours.write_all(b"ask").await.unwrap();
    ours.shutdown().await.unwrap();
    assert_eq!(read_all(&mut theirs).await, "ask");
}

#[tokio::test]
async fn servers_are_connected_to_when_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("server");
    let tcp = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = tcp.local_addr().unwrap().port();
    let channels = Channels::new()
        .with(Service::Media, Target::Unix(socket.clone()))
        .with(Service::Smb, Target::port(port));
    // Not before there is a server.
    assert!(channels.open(Service::Media).await.is_err());
    let unix = UnixListener::bind(&socket).unwrap();
    let mut sound = channels.open(Service::Media).await.unwrap();
    let (mut served, _) = until(unix.accept()).await.unwrap();
    sound.write_all(b"x").await.unwrap();
    assert_eq!(until(served.read_u8()).await.unwrap(), b'x');
    let _share = channels.open(Service::Smb).await.unwrap();
    until(tcp.accept()).await.unwrap();
}

#[tokio::test]
async fn connections_to_the_listener_become_slave_channels() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("slave");
    let channels = Channels::new().with_listener(Listener::unix(&socket).unwrap());
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Asked anew, none is lost.
    assert!(timeout(Duration::ZERO, channels.accept()).await.is_err());
    let mut asking = UnixStream::connect(&socket).await.unwrap();
    let (service, mut end) = until(channels.accept()).await;
    assert_eq!(service, Service::Slave);
    asking.write_all(b"x").await.unwrap();
    assert_eq!(until(end.read_u8()).await.unwrap(), b'x');
    assert!(Listener::unix(&socket).is_err(), "it is taken");
    drop(channels);
    assert!(!socket.exists());

    let listener = Listener::port(0).await.unwrap();
    let port = listener.number().unwrap();
    assert_eq!(listener.to_string(), format!("tcp:localhost:{port}"));
    let channels = Channels::new().with_font_listener(listener);
    let _asking = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (service, _end) = until(channels.accept()).await;
    assert_eq!(service, Service::Font);
    let taken = Listener::port(port).await.unwrap_err().to_string();
    assert!(taken.contains(&port.to_string()), "{taken}");
}
