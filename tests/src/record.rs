//! Records what passes between two programs, in the form of `nx-proxy`'s
//! recordings.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use crate::Result;
use crate::error::Doing as _;

/// Bytes read at once.
const PIECE: usize = 64 * 1024;

/// What a recorder knows of each of its connections.
#[derive(Debug)]
struct Place {
    folder: PathBuf,
    name: String,
    to: PathBuf,
    /// One clock for all recorders of a session.
    began: Instant,
}

/// A relay between Unix sockets that writes down what passes: of connection
/// `n` the files `<name>.<n>.c2t` (from who connects), `.t2c` (from whom it is
/// connected to) and `.idx`, a line for each read: time in nanoseconds,
/// direction (`>` or `<`), offset and length. It works until the process ends.
#[derive(Debug)]
pub struct Recorder {
    socket: PathBuf,
}

impl Recorder {
    /// Listens on `socket`, and connects whoever comes to `to`.
    ///
    /// # Errors
    ///
    /// When the socket or the folder cannot be made.
    pub fn start(
        socket: &Path,
        to: &Path,
        folder: &Path,
        name: &str,
        began: Instant,
    ) -> Result<Self> {
        fs::create_dir_all(folder).doing(|| format!("making {}", folder.display()))?;
        let listener =
            UnixListener::bind(socket).doing(|| format!("listening on {}", socket.display()))?;
        let place = Arc::new(Place {
            folder: folder.to_owned(),
            name: name.to_owned(),
            to: to.to_owned(),
            began,
        });
        thread::spawn(move || {
            for (number, near) in listener.incoming().flatten().enumerate() {
                // Who is not recorded is not served: it would be missing.
                let _ = connect(&place, number, near);
            }
        });
        Ok(Self {
            socket: socket.to_owned(),
        })
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.socket);
    }
}

fn connect(place: &Arc<Place>, number: usize, near: UnixStream) -> io::Result<()> {
    let far = UnixStream::connect(&place.to)?;
    let file = |kind: &str| {
        let name = format!("{}.{number}.{kind}", place.name);
        File::create(place.folder.join(name))
    };
    let index = Arc::new(Mutex::new(file("idx")?));
    for (from, to, kind, mark) in [
        (near.try_clone()?, far.try_clone()?, "c2t", '>'),
        (far, near, "t2c", '<'),
    ] {
        let (place, index, out) = (Arc::clone(place), Arc::clone(&index), file(kind)?);
        thread::spawn(move || {
            // Its end is that of a program, which the test sees.
            let _ = pump(&place, &from, &to, out, &index, mark);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}

fn pump(
    place: &Place,
    mut from: &UnixStream,
    mut to: &UnixStream,
    mut out: File,
    index: &Mutex<File>,
    mark: char,
) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut offset = 0_usize;
    loop {
        let count = from.read(&mut buffer)?;
        let piece = buffer.get(..count).unwrap_or_default();
        if piece.is_empty() {
            return Ok(());
        }
        // Written down before it can be answered.
        out.write_all(piece)?;
        let time = place.began.elapsed().as_nanos();
        let mut index = index.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(index, "{time} {mark} {offset} {count}")?;
        drop(index);
        offset += count;
        to.write_all(piece)?;
    }
}
