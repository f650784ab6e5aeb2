use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use qvd_http1::{ResponseEvent, ResponseHead, ResponseReader, Status};
use qvd_share::Channel;
use qvd_share::serve::{Folder, Share, Stopper};
use qvd_slave::{Key, MAX_BODY, TICKET, VmRequest};

use crate::{Error, Line};

/// How long the VM may take to answer: it mounts in that time, over a channel
/// that may be slow. In an outage no time passes.
const ANSWER: Duration = Duration::from_secs(60);

/// A folder to be shared.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The folder.
    pub path: PathBuf,
    /// Its name in the VM, where it is not the last of the path.
    pub name: Option<String>,
    /// Nothing in it can be changed from the VM.
    pub read_only: bool,
}

/// A folder that the VM has taken.
#[derive(Debug)]
pub struct Sharing {
    ticket: Vec<u8>,
    share: Share,
    channel: Channel,
    early: Vec<u8>,
}

impl Sharing {
    /// The name under which the VM mounts it, and which names it in [`open`].
    #[must_use]
    pub fn ticket(&self) -> &[u8] {
        &self.ticket
    }

    /// Serves it until either end ends it. Blocks.
    ///
    /// # Errors
    /// When the channel fails.
    pub fn serve(self, stopper: &Stopper) -> Result<(), Error> {
        Ok(self.share.serve_until(self.channel, &self.early, stopper)?)
    }
}

/// A folder of the VM's: the stream is its SFTP server.
#[derive(Debug)]
pub struct Fetched {
    /// The server.
    pub channel: Channel,
    /// What it sent already.
    pub early: Vec<u8>,
}

/// Offers a folder to the VM at the other end of `stream`. Blocks until it has
/// taken it.
///
/// # Errors
/// When the folder cannot be opened, before anything is asked; when the VM
/// refuses.
pub fn share(stream: impl Into<Line>, key: &Key, offer: &Offer) -> Result<Sharing, Error> {
    let path = std::fs::canonicalize(&offer.path).map_err(|source| {
        Error::Folder(qvd_share::serve::Error::Open {
            path: offer.path.clone(),
            source,
        })
    })?;
    let announced = match &offer.name {
        Some(name) => format!("/{}", name.trim_matches('/')).into_bytes(),
        None => path.as_os_str().as_bytes().to_vec(),
    };
    let folder = Folder::new(path).read_only(offer.read_only);
    let share = folder.announced_as(announced.clone()).open()?;
    let request = VmRequest::Share {
        path: announced,
        charset: None,
    };
    let (head, channel, early) = upgraded(stream.into(), key, &request)?;
    let ticket = head.headers.value(TICKET).unwrap_or_default().to_vec();
    Ok(Sharing {
        ticket,
        share,
        channel,
        early,
    })
}

/// Asks for a folder of the VM's; a relative path is of the user's home there.
///
/// # Errors
/// When the VM refuses.
pub fn fetch(stream: impl Into<Line>, key: &Key, path: &Path) -> Result<Fetched, Error> {
    let request = VmRequest::Fetch {
        path: path.as_os_str().as_bytes().to_vec(),
    };
    let (_, channel, early) = upgraded(stream.into(), key, &request)?;
    Ok(Fetched { channel, early })
}

/// Opens a file in the session: `path` is relative to the shared folder that
/// has `ticket`.
///
/// # Errors
/// When the VM refuses, or has no such file.
pub fn open(stream: impl Into<Line>, key: &Key, ticket: &[u8], path: &Path) -> Result<(), Error> {
    let request = VmRequest::Open {
        path: path.as_os_str().as_bytes().to_vec(),
        ticket: ticket.to_vec(),
    };
    match ask(stream.into(), key, &request)? {
        (ResponseEvent::Response(response), ..) if response.head.status.is_success() => Ok(()),
        (event, ..) => Err(refused(event)),
    }
}

fn upgraded(
    stream: Line,
    key: &Key,
    request: &VmRequest,
) -> Result<(ResponseHead, Channel, Vec<u8>), Error> {
    match ask(stream, key, request)? {
        (ResponseEvent::Upgraded(head), stream, early) => Ok((head, stream.into_channel(), early)),
        (event, ..) => Err(refused(event)),
    }
}

fn ask(
    mut stream: Line,
    key: &Key,
    request: &VmRequest,
) -> Result<(ResponseEvent, Line, Vec<u8>), Error> {
    let mut deadline = Instant::now() + ANSWER;
    let mut bytes = Vec::new();
    request.to_head(key).write(&mut bytes)?;
    stream
        .set_write_timeout(Some(ANSWER))
        .map_err(Error::Channel)?;
    stream.write_all(&bytes).map_err(Error::Channel)?;
    let mut reader = ResponseReader::new(MAX_BODY);
    let mut buffer = [0; 4096];
    let event = loop {
        match reader.poll()? {
            Some(ResponseEvent::Interim(_)) => continue,
            Some(event) => break event,
            None => {}
        }
        let ready = stream.wait_readable(&mut deadline);
        if !ready.map_err(Error::Channel)? {
            return Err(Error::Silent);
        }
        match stream.read(&mut buffer) {
            Ok(0) => reader.receive_end(),
            Ok(count) => reader.receive(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::Channel(error)),
        }
    };
    stream.set_write_timeout(None).map_err(Error::Channel)?;
    let early = reader.take_rest();
    Ok((event, stream, early))
}

fn refused(event: ResponseEvent) -> Error {
    let ResponseEvent::Response(response) = event else {
        return Error::Silent;
    };
    let text = String::from_utf8_lossy(&response.body).trim().to_owned();
    match response.head.status {
        Status::UNAUTHORIZED => Error::Key(text),
        // The key's own words tell a refused key from a refused folder.
        Status::FORBIDDEN if text.contains("key") => Error::Key(text),
        Status::CONFLICT => Error::Conflict,
        Status::NOT_FOUND => Error::NotFound(text),
        status => Error::Refused { status, text },
    }
}
