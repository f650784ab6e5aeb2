//! What is asked without awaiting the answer before: answers are held back
//! until the mount has asked what it shall ask in the same round trip. One that
//! waited for them would wait in vain, and fail.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use qvd_sftp::{Frames, Request};
use qvd_share::Channel;
use qvd_share::mount::{Mounted, Options, mount};
use qvd_share::serve::Folder;
use tempfile::TempDir;

use crate::rig::noise;

/// Requests by name, in the order they were asked.
#[derive(Default)]
struct Asked {
    names: Vec<&'static str>,
    /// Answers are held back from this request on, until that one is asked.
    hold: Option<(&'static str, &'static str)>,
    held: bool,
    over: bool,
}

/// A mount whose answers can be held back.
struct Held {
    directory: TempDir,
    asked: Arc<(Mutex<Asked>, Condvar)>,
    mounted: Option<Mounted>,
    ends: Vec<UnixStream>,
}

impl Held {
    fn new(fill: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (shared, point) = (
            directory.path().join("shared"),
            directory.path().join("mount"),
        );
        fs::create_dir(&shared).unwrap();
        fs::create_dir(&point).unwrap();
        fill(&shared);
        let (near, near_relay) = UnixStream::pair().unwrap();
        let (far_relay, far) = UnixStream::pair().unwrap();
        let share = Folder::new(&shared).open().unwrap();
        thread::spawn(move || share.serve(Channel::socket(far), &[]));
        let asked = Arc::new((Mutex::new(Asked::default()), Condvar::new()));
        let ends = vec![
            near_relay.try_clone().unwrap(),
            far_relay.try_clone().unwrap(),
        ];
        let up = (
            near_relay.try_clone().unwrap(),
            far_relay.try_clone().unwrap(),
        );
        let told = Arc::clone(&asked);
        thread::spawn(move || requests(up.0, up.1, &told));
        let told = Arc::clone(&asked);
        thread::spawn(move || answers(far_relay, near_relay, &told));
        let options = Options {
            timeout: Duration::from_secs(20),
            ..Options::default()
        };
        let mounted = mount(Channel::socket(near), &[], &point, &options).unwrap();
        Self {
            directory,
            asked,
            mounted: Some(mounted),
            ends,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join("mount").join(name)
    }

    fn shared(&self, name: &str) -> PathBuf {
        self.directory.path().join("shared").join(name)
    }

    /// From `first` on, nothing is answered before `last` is asked.
    fn hold(&self, first: &'static str, last: &'static str) {
        let mut asked = self.asked.0.lock().unwrap();
        asked.names.clear();
        asked.hold = Some((first, last));
    }

    /// How often each of these was asked since `hold`.
    fn count(&self, name: &str) -> usize {
        let asked = self.asked.0.lock().unwrap();
        assert!(!asked.held, "answers are held back still");
        asked.names.iter().filter(|one| **one == name).count()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.asked.0.lock().unwrap().over = true;
        self.asked.1.notify_all();
        for end in &self.ends {
            let _ = end.shutdown(Shutdown::Both);
        }
        self.mounted = None;
    }
}

fn requests(mut from: UnixStream, mut to: UnixStream, asked: &(Mutex<Asked>, Condvar)) {
    let mut frames = Frames::new();
    let mut buffer = vec![0; 65536];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        frames.receive(&buffer[..count]).unwrap();
        let mut state = asked.0.lock().unwrap();
        while let Some(packet) = frames.poll() {
            let Ok((_, request)) = Request::read(&packet) else {
                continue;
            };
            let name = name(&request);
            state.names.push(name);
            match state.hold {
                Some((first, _)) if first == name && !state.held => state.held = true,
                Some((_, last)) if last == name && state.held => {
                    state.held = false;
                    state.hold = None;
                    asked.1.notify_all();
                }
                _ => {}
            }
        }
        drop(state);
        if to.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

fn answers(mut from: UnixStream, mut to: UnixStream, asked: &(Mutex<Asked>, Condvar)) {
    let mut buffer = vec![0; 65536];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let state = asked.0.lock().unwrap();
        let waits = |state: &mut Asked| state.held && !state.over;
        drop(asked.1.wait_while(state, waits).unwrap());
        if to.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

fn name(request: &Request<'_>) -> &'static str {
    match request {
        Request::OpenAs { .. } => "open",
        Request::OpendirAs { .. } => "opendir",
        Request::Read { .. } => "read",
        Request::Readdir { .. } => "readdir",
        Request::Write { .. } => "write",
        Request::Fstat { .. } => "fstat",
        Request::Lstat { .. } => "lstat",
        Request::Close { .. } => "close",
        _ => "other",
    }
}

#[test]
fn a_file_is_made_written_and_looked_at_in_one_round_trip() {
    let held = Held::new(|_| {});
    fs::create_dir(held.at("new")).unwrap();
    for n in 0..20 {
        let path = format!("new/{n}");
        held.hold("open", "fstat");
        fs::write(held.at(&path), path.as_bytes()).unwrap();
        assert_eq!((held.count("write"), held.count("lstat")), (1, 0), "{n}");
        assert_eq!(fs::read(held.shared(&path)).unwrap(), path.as_bytes());
    }
    assert_eq!(fs::read_dir(held.at("new")).unwrap().count(), 20);
}

#[test]
fn a_file_is_opened_and_read_in_one_round_trip() {
    let data = noise(5, 50_000);
    let held = Held::new(|shared| fs::write(shared.join("f"), noise(5, 50_000)).unwrap());
    assert_eq!(fs::metadata(held.at("f")).unwrap().len(), 50_000);
    held.hold("open", "read");
    assert!(fs::read(held.at("f")).unwrap() == data);
    assert_eq!(held.count("read"), 1);
}

#[test]
fn a_folder_is_opened_and_listed_in_one_round_trip() {
    let held = Held::new(|shared| {
        for n in 0..3000 {
            fs::write(shared.join(format!("{n:04}")), b"").unwrap();
        }
    });
    held.hold("opendir", "readdir");
    assert_eq!(fs::read_dir(held.at("")).unwrap().count(), 3000);
    // What was asked for at once was enough.
    assert_eq!(held.count("readdir"), 16);
}

#[test]
fn what_cannot_be_made_is_told_by_close() {
    let held = Held::new(|_| {});
    fs::create_dir(held.at("new")).unwrap();
    fs::remove_dir(held.shared("new")).unwrap();
    let error = fs::File::create(held.at("new/f")).and_then(|file| {
        // Closing, where failures are told.
        rustix::fs::fsync(&file).map_err(Into::into)
    });
    assert_eq!(error.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    assert!(!held.at("new/f").exists());
    // An exclusive one is awaited, and for one alone.
    fs::create_dir(held.shared("new")).unwrap();
    fs::create_dir(held.at("other")).unwrap();
    fs::write(held.shared("other/lock"), b"taken").unwrap();
    let lock = fs::File::create_new(held.at("other/lock"));
    assert_eq!(lock.unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
}
