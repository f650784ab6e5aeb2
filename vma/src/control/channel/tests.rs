use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::super::*;
use super::*;

fn pair() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
}

#[tokio::test]
async fn a_descriptor_travels_with_its_message() {
    let (a, b) = pair();
    let (a, b) = (Channel::new(a).unwrap(), Channel::new(b).unwrap());
    let (read, write) = rustix::pipe::pipe().unwrap();
    a.send(&Command::Suspend, None).await.unwrap();
    let serve = Command::Serve {
        greeted: true,
        port: 7,
    };
    a.send(&serve, Some(write.as_fd())).await.unwrap();
    drop((a, write));
    let first = b.receive::<Command>().await.unwrap().unwrap();
    assert!(matches!(first, (Command::Suspend, None)));
    let (message, fd) = b.receive::<Command>().await.unwrap().unwrap();
    assert!(matches!(
        message,
        Command::Serve {
            greeted: true,
            port: 7
        }
    ));
    rustix::io::write(fd.unwrap(), b"here").unwrap();
    let mut buf = [0; 8];
    assert_eq!(rustix::io::read(&read, &mut buf).unwrap(), 4);
    assert!(b.receive::<Command>().await.unwrap().is_none());
}

#[tokio::test]
async fn messages_of_another_version_are_skipped_and_garbage_is_an_error() {
    let (a, b) = pair();
    let b = Channel::new(b).unwrap();
    for bytes in [
        &b"{\"do\":\"dance\",\"with\":1}"[..],
        b"{\"do\":\"suspend\",\"gently\":true}",
        b"{\"do\":\"serve\"}",
        b"{",
    ] {
        send_packet(a.as_fd(), bytes, None).unwrap();
    }
    assert!(matches!(
        b.receive().await.unwrap(),
        Some((Command::Unknown, None))
    ));
    assert!(matches!(
        b.receive().await.unwrap(),
        Some((Command::Suspend, None))
    ));
    assert!(matches!(
        b.receive().await.unwrap(),
        Some((
            Command::Serve {
                greeted: false,
                port: 0
            },
            None
        ))
    ));
    assert!(b.receive::<Command>().await.is_err());
}
