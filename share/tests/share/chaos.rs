//! Channels that break, peers that fall silent, readers that are killed.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use qvd_share::Channel;
use qvd_share::mount::{Options, mount};
use rustix::io::Errno;

use crate::rig::{Mounter, Rig, Sharer, eventually, is_soak, noise};

#[test]
fn a_channel_that_breaks_in_a_write_fails_it_and_the_mount_is_over() {
    for pieces in [0, 1, 3, 10, 40] {
        let rig = Rig::new(Sharer::Ours, Mounter::Ours);
        let mut file = File::create(rig.at("f")).unwrap();
        let data = noise(1, 1_000_000);
        let channel = rig.channel.try_clone().unwrap();
        let failed = thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut count = 0;
                loop {
                    if let Err(error) = file.write_all(&data) {
                        return error;
                    }
                    count += 1;
                    if count == pieces + 1 {
                        channel.shutdown(Shutdown::Both).unwrap();
                    }
                }
            });
            writer.join().unwrap()
        });
        assert_eq!(Errno::from_io_error(&failed), Some(Errno::IO), "{pieces}");
        let gone = fs::metadata(rig.at("other")).unwrap_err();
        assert_eq!(Errno::from_io_error(&gone), Some(Errno::IO));
        rig.mounted().wait();
        // What arrived is the beginning of what was written.
        let arrived = fs::read(rig.shared().join("f")).unwrap();
        for part in arrived.chunks(data.len()) {
            assert!(data.starts_with(part) || part.contains(&0), "{pieces}");
        }
    }
}

#[test]
fn everything_that_waits_fails_when_the_channel_breaks() {
    // A peer that begins the dialogue, and never answers.
    let (near, mut far) = UnixStream::pair().unwrap();
    let point = tempfile::tempdir().unwrap();
    far.write_all(&[0, 0, 0, 5, 2, 0, 0, 0, 3]).unwrap();
    let mounted = mount(
        Channel::socket(near),
        &[],
        point.path(),
        &Options::default(),
    )
    .unwrap();
    let waiting: Vec<_> = (0..8)
        .map(|n| {
            let path = point.path().join(format!("{n}"));
            thread::spawn(move || match n % 3 {
                0 => fs::metadata(path).map(|_| ()),
                1 => File::create(path).map(|_| ()),
                _ => fs::read_dir(path.parent().unwrap()).map(|_| ()),
            })
        })
        .collect();
    // They have asked.
    let mut asked = [0; 37];
    far.read_exact(&mut asked).unwrap();
    far.shutdown(Shutdown::Both).unwrap();
    for one in waiting {
        let error = one.join().unwrap().unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::IO));
    }
    mounted.wait();
}

#[test]
fn a_silent_peer_fails_what_is_asked_and_not_what_is_asked_later() {
    let (near, mut far) = UnixStream::pair().unwrap();
    let point = tempfile::tempdir().unwrap();
    far.write_all(&[0, 0, 0, 5, 2, 0, 0, 0, 3]).unwrap();
    let options = Options {
        timeout: Duration::from_millis(300),
        ..Options::default()
    };
    let mounted = mount(Channel::socket(near), &[], point.path(), &options).unwrap();
    for _ in 0..3 {
        let error = fs::metadata(point.path().join("x")).unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::IO));
    }
    // `df` neither hangs nor needs the peer.
    assert!(rustix::fs::statvfs(point.path()).is_ok());
    drop(mounted);
    assert!(fs::read_dir(point.path()).unwrap().next().is_none());
}

#[test]
fn strangers_are_no_sftp_servers() {
    for said in [
        &b"HTTP/1.1 500 Internal Server Error\r\n\r\n"[..],
        b"\0\0\0\x05\x02\0\0\0\x02",
        b"",
    ] {
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(said).unwrap();
        far.shutdown(Shutdown::Write).unwrap();
        let point = tempfile::tempdir().unwrap();
        let mounted = mount(
            Channel::socket(near),
            &[],
            point.path(),
            &Options::default(),
        );
        assert!(mounted.is_err(), "{said:?}");
    }
}

#[test]
fn killed_readers_leave_the_mount_as_it_was() {
    let rig = Rig::new(Sharer::Ours, Mounter::Ours);
    let data = noise(3, 20_000_000);
    fs::write(rig.shared().join("f"), &data).unwrap();
    let rounds = if is_soak() { 10_000 } else { 500 };
    for round in 0..rounds {
        let mut reader = Command::new("cat")
            .arg(rig.at("f"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut some = vec![0; 1 + round % 300 * 100];
        reader
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut some)
            .unwrap();
        assert!(data.starts_with(&some));
        reader.kill().unwrap();
        reader.wait().unwrap();
    }
    assert!(fs::read(rig.at("f")).unwrap() == data);
    // Nothing is asked any more, and nobody holds it open at the sharing end.
    eventually("answered", || rig.mounted().waiting() == 0);
    let path = rig.shared().join("f").canonicalize().unwrap();
    eventually("closed", || {
        let open = fs::read_dir("/proc/self/fd").unwrap();
        !open
            .flatten()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == path))
    });
}

#[test]
fn unmounting_ends_it_at_both_ends() {
    let rig = Rig::new(Sharer::Ours, Mounter::Ours);
    fs::write(rig.at("f"), b"x").unwrap();
    let open = File::open(rig.at("f")).unwrap();
    qvd_share::mount::unmount(&rig.mount());
    assert!(fs::read_dir(rig.mount()).unwrap().next().is_none());
    drop(open);
    rig.mounted().wait();
}

#[test]
fn what_is_mounted_there_since_stays() {
    let mut rig = Rig::new(Sharer::Ours, Mounter::Ours);
    let channel = rig.channel.try_clone().unwrap();
    channel.shutdown(std::net::Shutdown::Both).unwrap();
    rig.mounted().wait();
    assert!(qvd_share::mount::is_dead(&rig.mount()));
    // Who wants the place takes what is dead away, and mounts there.
    qvd_share::mount::unmount(&rig.mount());
    assert!(!qvd_share::mount::is_dead(&rig.mount()));
    let first = rig.mount_again();
    fs::write(rig.at("f"), b"x").unwrap();
    drop(first);
    assert!(rig.shared().join("f").exists());
    assert_eq!(fs::read(rig.at("f")).unwrap(), b"x");
    assert!(!qvd_share::mount::is_dead(&rig.mount()));
}

#[test]
fn many_at_once_all_get_theirs() {
    let rig = Rig::new(Sharer::Ours, Mounter::Ours);
    thread::scope(|scope| {
        for n in 0..8 {
            let rig = &rig;
            scope.spawn(move || {
                let folder = rig.at(format!("d{n}"));
                fs::create_dir(&folder).unwrap();
                for m in 0..100 {
                    let path = folder.join(format!("f{m}"));
                    let data = noise(n * 1000 + m, usize::try_from(m).unwrap() * 997);
                    fs::write(&path, &data).unwrap();
                    assert!(fs::read(&path).unwrap() == data);
                    if m % 3 == 0 {
                        fs::rename(&path, folder.join(format!("r{m}"))).unwrap();
                    } else if m % 3 == 1 {
                        fs::remove_file(&path).unwrap();
                    }
                }
                assert_eq!(fs::read_dir(&folder).unwrap().count(), 67);
            });
        }
    });
    for n in 0..8 {
        assert_eq!(
            fs::read_dir(rig.shared().join(format!("d{n}")))
                .unwrap()
                .count(),
            67
        );
    }
}

#[test]
fn a_mount_that_ends_late_leaves_the_next_one_alone() {
    let mut rig = Rig::new(Sharer::Ours, Mounter::Ours);
    fs::write(rig.at("f"), b"x").unwrap();
    let open = File::open(rig.at("f")).unwrap();
    // Somebody uses it still, and so it goes on for him.
    qvd_share::mount::unmount(&rig.mount());
    let first = rig.mount_again();
    drop(open);
    first.wait();
    for _ in 0..50 {
        assert_eq!(fs::read(rig.at("f")).unwrap(), b"x");
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    drop(first);
    assert_eq!(fs::read(rig.at("f")).unwrap(), b"x");
}
