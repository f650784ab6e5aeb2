//! Either end killed, stopped and woken again, in the middle of work.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::Shutdown;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use rustix::process::{Pid, Signal, kill_process};

use crate::rig::{Mounter, Rig, Sharer, eventually, is_soak, noise};

/// How often an end is killed, and in the long form of the tests.
const KILLS: usize = 12;
const MANY_KILLS: usize = 500;

fn kills() -> usize {
    if is_soak() { MANY_KILLS } else { KILLS }
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Whether a file of a folder is held open by a process.
fn holds(process: &str, folder: &Path) -> bool {
    let folder = folder.canonicalize().unwrap();
    let open = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    open.flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .any(|target| target.starts_with(&folder) && target.is_file())
}

/// Whether what arrived is what was written, as far as it arrived: pieces that
/// were under way may be missing, and no byte is another.
fn is_part(arrived: &[u8], written: &[u8]) -> bool {
    arrived.len() <= written.len()
        && arrived
            .iter()
            .zip(written)
            .all(|(here, there)| here == there || *here == 0)
}

#[test]
fn a_sharing_end_that_is_killed_in_a_write_fails_it() {
    let data = noise(21, 40_000_000);
    for kill in 0..kills() {
        let rig = Rig::new(Sharer::OpenSsh, Mounter::Ours);
        let file = File::create(rig.at("f")).unwrap();
        let after = usize::from(noise(u64::try_from(kill).unwrap(), 1)[0]) % 40;
        let pid = rig.sharer();
        let mut failed = None;
        for (n, piece) in data.chunks(1_000_000).enumerate() {
            if n == after {
                signal(pid, Signal::KILL);
            }
            let at = u64::try_from(n * 1_000_000).unwrap();
            if let Err(error) = file.write_all_at(piece, at) {
                failed = Some(error);
                break;
            }
        }
        // At the latest it is told when it is asked for.
        let failed = failed.or_else(|| file.sync_all().err()).unwrap();
        assert_eq!(Errno::from_io_error(&failed), Some(Errno::IO), "{after}");
        rig.mounted().wait();
        assert_eq!(rig.mounted().waiting(), 0);
        let arrived = fs::read(rig.shared().join("f")).unwrap();
        assert!(is_part(&arrived, &data), "{after}");
    }
}

#[test]
fn a_mounting_end_that_is_killed_in_a_write_leaves_nothing_open() {
    let data = noise(22, 30_000_000);
    for kill in 0..kills() {
        let rig = Rig::new(Sharer::Ours, Mounter::Sshfs);
        let after = usize::from(noise(u64::try_from(kill).unwrap(), 1)[0]) % 30;
        let pid = rig.mounter();
        let mut file = File::create(rig.at("f")).unwrap();
        for (n, piece) in data.chunks(1_000_000).enumerate() {
            if n == after {
                signal(pid, Signal::KILL);
            }
            if file.write_all(piece).is_err() {
                break;
            }
        }
        drop(file);
        // This process has a descriptor of the channel too, and closes it.
        rig.channel.shutdown(Shutdown::Both).unwrap();
        eventually("closed", || !holds("self", &rig.shared()));
        let arrived = fs::read(rig.shared().join("f")).unwrap();
        assert!(is_part(&arrived, &data), "{after}");
    }
}

#[test]
fn a_machine_that_sleeps_under_load_goes_on_where_it_was() {
    let rig = Rig::new(Sharer::OpenSsh, Mounter::Ours);
    let pid = rig.sharer();
    let (done, is_done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let sleeper = scope.spawn(move || {
            let mut naps = 0;
            loop {
                signal(pid, Signal::STOP);
                let over = is_done.recv_timeout(Duration::from_millis(100));
                signal(pid, Signal::CONT);
                naps += 1;
                if over != Err(mpsc::RecvTimeoutError::Timeout) {
                    return naps;
                }
                let over = is_done.recv_timeout(Duration::from_millis(50));
                if over != Err(mpsc::RecvTimeoutError::Timeout) {
                    return naps;
                }
            }
        });
        let workers: Vec<_> = (0..4_u64)
            .map(|n| {
                let rig = &rig;
                scope.spawn(move || {
                    for m in 0..30 {
                        let data = noise(n * 100 + m, 300_000);
                        let path = rig.at(format!("{n}-{m}"));
                        fs::write(&path, &data).unwrap();
                        assert!(fs::read(&path).unwrap() == data);
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        drop(done);
        assert!(sleeper.join().unwrap() > 0);
    });
    for n in 0..4_u64 {
        for m in 0..30 {
            let there = fs::read(rig.shared().join(format!("{n}-{m}"))).unwrap();
            assert!(there == noise(n * 100 + m, 300_000), "{n}-{m}");
        }
    }
}

#[test]
fn df_and_a_look_at_the_mount_do_not_hang_with_the_sharing_end() {
    // No time would ever pass for what is asked.
    let hour = Duration::from_secs(3600);
    let rig = Rig::with(Sharer::OpenSsh, Mounter::Ours, hour, |_| {});
    let before = rustix::fs::statvfs(rig.mount()).unwrap();
    signal(rig.sharer(), Signal::STOP);
    let (tell, told) = mpsc::channel();
    let mount = rig.mount();
    let looker = thread::spawn(move || {
        for _ in 0..3 {
            let space = rustix::fs::statvfs(&mount).unwrap();
            let is_dir = fs::metadata(&mount).unwrap().is_dir();
            tell.send((space.f_blocks, is_dir)).unwrap();
        }
    });
    for _ in 0..3 {
        let (blocks, is_dir) = told.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!((blocks, is_dir), (before.f_blocks, true));
    }
    signal(rig.sharer(), Signal::CONT);
    looker.join().unwrap();
    eventually("answered", || rig.mounted().waiting() == 0);
}

#[test]
fn df_does_not_wait_for_room_in_a_full_channel() {
    let hour = Duration::from_secs(3600);
    let rig = Rig::with(Sharer::OpenSsh, Mounter::Ours, hour, |_| {});
    assert!(rustix::fs::statvfs(rig.mount()).is_ok());
    eventually("at rest", || rig.mounted().waiting() == 0);
    // Nobody waits for the answer to this any more.
    thread::park_timeout(Duration::from_millis(1500));
    signal(rig.sharer(), Signal::STOP);
    while send(&rig.channel, &[0; 4096], SendFlags::DONTWAIT).is_ok() {}
    // This waits for room, and for an hour.
    let path = rig.at("f");
    let waits = thread::spawn(move || fs::metadata(path).map(|_| ()));
    eventually("asked", || rig.mounted().waiting() > 0);
    thread::park_timeout(Duration::from_millis(200));
    let (tell, told) = mpsc::channel();
    let mount = rig.mount();
    let looker = thread::spawn(move || tell.send(rustix::fs::statvfs(mount).is_ok()));
    let space = told.recv_timeout(Duration::from_secs(20));
    rig.channel.shutdown(Shutdown::Both).unwrap();
    assert!(waits.join().unwrap().is_err());
    looker.join().unwrap().unwrap();
    assert_eq!(space, Ok(true));
}
