//! A VM's user with a slave channel, and a client on the other end.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use qvd_share::serve::Stopper;
use qvd_slave::Key;
use qvd_slaveclient::{Error, Offer};
use tempfile::TempDir;

#[path = "../../../tests/src/script.rs"]
mod script;
use script::write_script;

pub const KEY: &str = "SLAVEKEY0123456789";

pub struct Rig {
    directory: TempDir,
    address: SocketAddr,
    servers: Arc<Mutex<Vec<Child>>>,
}

/// A shared folder; it ends when this is dropped.
pub struct Shared {
    pub ticket: String,
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stopper.stop();
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Rig {
    /// A session whose vma.conf has these lines; `~OPENER~` is a program that
    /// writes down what it is to open.
    pub fn new(config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        fs::create_dir(&home).unwrap();
        let opener = directory.path().join("opener");
        write_script(&opener, "echo \"$1\" > \"$HOME/opened\"").unwrap();
        let config = config.replace("~OPENER~", opener.to_str().unwrap());
        fs::write(directory.path().join("vma.conf"), config).unwrap();
        fs::write(directory.path().join("slave.conf"), KEY).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let servers = Arc::<Mutex<Vec<Child>>>::default();
        let (folder, children) = (directory.path().to_owned(), Arc::clone(&servers));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let child = start(&folder, &stream.unwrap());
                children.lock().unwrap().push(child);
            }
        });
        Self {
            directory,
            address,
            servers,
        }
    }

    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    pub fn shares(&self) -> PathBuf {
        self.home().join("Redirected")
    }

    /// A new folder of the client's.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.directory.path().join("client").join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// A new connection of the slave channel.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream
    }

    pub fn share(&self, path: &Path, name: Option<&str>, read_only: bool) -> Result<Shared, Error> {
        let offer = Offer {
            path: path.to_owned(),
            name: name.map(str::to_owned),
            read_only,
        };
        let sharing = qvd_slaveclient::share(self.connect(), &Key::new(KEY).unwrap(), &offer)?;
        let ticket = String::from_utf8(sharing.ticket().to_vec()).unwrap();
        let stopper = Stopper::new();
        let ours = stopper.clone();
        let thread = thread::spawn(move || sharing.serve(&ours).unwrap());
        Ok(Shared {
            ticket,
            stopper,
            thread: Some(thread),
        })
    }

    /// Puts another file with a key in place, as the agent does when a session
    /// is resumed.
    pub fn resume(&self) {
        let next = self.directory.path().join("slave.conf.new");
        fs::write(&next, KEY).unwrap();
        fs::rename(next, self.directory.path().join("slave.conf")).unwrap();
    }

    /// OpenSSH's server on a stream, as the reference's client runs it.
    pub fn sftp_server(&self, stream: &TcpStream, folder: &Path) -> Child {
        let end = || Stdio::from(OwnedFd::from(stream.try_clone().unwrap()));
        Command::new("/usr/lib/openssh/sftp-server")
            .stdin(end())
            .stdout(end())
            .current_dir(folder)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{error}: install openssh-sftp-server, or run `cargo xtask install`")
            })
    }

    pub fn kill_servers(&self) {
        for child in &mut *self.servers.lock().unwrap() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Waits until every server has ended.
    pub fn eventually_idle(&self) {
        eventually("idle", || {
            let mut servers = self.servers.lock().unwrap();
            servers
                .iter_mut()
                .all(|child| child.try_wait().unwrap().is_some())
        });
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.kill_servers();
        let Ok(entries) = fs::read_dir(self.shares()) else {
            return;
        };
        for entry in entries.flatten() {
            qvd_share::mount::unmount(&entry.path());
        }
    }
}

fn start(folder: &Path, stream: &TcpStream) -> Child {
    let end = || Stdio::from(OwnedFd::from(stream.try_clone().unwrap()));
    Command::new(env!("CARGO_BIN_EXE_qvd-vma-slaveserver"))
        .stdin(end())
        .stdout(end())
        .env("HOME", folder.join("home"))
        .env("QVD_VMA_CONFIG", folder.join("vma.conf"))
        .env("QVD_SLAVE_KEY_FILE", folder.join("slave.conf"))
        .current_dir(folder.join("home"))
        .spawn()
        .unwrap()
}

/// Waits until something is so.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "not {what} in a minute");
        thread::park_timeout(Duration::from_millis(5));
    }
}
