use qvd_http1::RequestHead;

use crate::{Error, Key, MAX_PATH, SFTP, TICKET, USBIP};

/// What a client asks of the VM's slave server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum VmRequest {
    /// `PUT /shares/<path>`: the client offers a folder and is its SFTP
    /// server from the 101 on; the VM mounts it.
    Share {
        /// The folder's path at the client; names the mount.
        path: Vec<u8>,
        /// The encoding of file names at the client, where it is not UTF-8.
        charset: Option<String>,
    },
    /// `GET /shares/<path>`: the VM is the SFTP server of its own folder.
    Fetch {
        /// The folder's path in the VM.
        path: Vec<u8>,
    },
    /// `POST /open/<path>`: opens a file of a shared folder in the session.
    Open {
        /// The file, relative to the folder the ticket names.
        path: Vec<u8>,
        /// The name the folder is mounted under, as the 101 told it.
        ticket: Vec<u8>,
    },
    /// `POST /usbip`: a USB device of the client.
    Usb,
}

impl VmRequest {
    /// Reads a request, without a look at its key.
    ///
    /// # Errors
    /// Why it is none; [`Error::response`] answers it.
    pub fn from_head(head: &RequestHead) -> Result<Self, Error> {
        let target = head.target.as_slice();
        match head.method.as_str() {
            "PUT" => {
                let path = folder(target)?;
                upgrade(head, SFTP)?;
                let charset = charset(head)?;
                Ok(Self::Share { path, charset })
            }
            "GET" => {
                let path = folder(target)?;
                upgrade(head, SFTP)?;
                Ok(Self::Fetch { path })
            }
            "POST" if target == b"/usbip" => {
                upgrade(head, USBIP)?;
                Ok(Self::Usb)
            }
            "POST" => {
                let path = target.strip_prefix(b"/open/").ok_or(Error::NoSuchRequest)?;
                let ticket = head
                    .headers
                    .value(TICKET)
                    .ok_or(Error::Malformed("share ticket"))?;
                Ok(Self::Open {
                    path: relative(path)?,
                    ticket: ticket.to_vec(),
                })
            }
            _ => Err(Error::NoSuchRequest),
        }
    }

    /// The request as a head, with the session's key.
    #[must_use]
    pub fn to_head(&self, key: &Key) -> RequestHead {
        let (method, target) = match self {
            Self::Share { path, .. } => ("PUT", [b"/shares/", path.as_slice()].concat()),
            Self::Fetch { path } => ("GET", [b"/shares/", path.as_slice()].concat()),
            Self::Open { path, .. } => ("POST", [b"/open/", path.as_slice()].concat()),
            Self::Usb => ("POST", b"/usbip".to_vec()),
        };
        let head = RequestHead::new(method, target).header("Authorization", key.authorization());
        let upgrade = match self {
            Self::Share {
                charset: Some(charset),
                ..
            } => format!("{SFTP};charset={charset}"),
            Self::Share { .. } | Self::Fetch { .. } => SFTP.to_owned(),
            Self::Usb => USBIP.to_owned(),
            Self::Open { ticket, .. } => return head.header(TICKET, ticket.as_slice()),
        };
        head.header("Connection", "Upgrade")
            .header("Upgrade", upgrade)
    }
}

fn upgrade(head: &RequestHead, protocol: &'static str) -> Result<(), Error> {
    if head.headers.asks_upgrade_to(protocol) {
        Ok(())
    } else {
        Err(Error::NoUpgrade(protocol))
    }
}

/// The path after `/shares/`, raw.
fn folder(target: &[u8]) -> Result<Vec<u8>, Error> {
    let path = target
        .strip_prefix(b"/shares/")
        .or_else(|| (target == b"/shares").then_some(&[]))
        .ok_or(Error::NoSuchRequest)?;
    bounded(path)
}

fn bounded(path: &[u8]) -> Result<Vec<u8>, Error> {
    if path.len() > MAX_PATH {
        return Err(Error::Path("too long"));
    }
    if path.contains(&0) {
        return Err(Error::Path("NUL in it"));
    }
    Ok(path.to_vec())
}

/// A path which stays beneath the folder it is relative to, as far as its
/// text says.
fn relative(path: &[u8]) -> Result<Vec<u8>, Error> {
    let path = bounded(path)?;
    if path.starts_with(b"/") {
        return Err(Error::Path("not relative"));
    }
    if path.split(|b| *b == b'/').any(|part| part == b"..") {
        return Err(Error::Path("`..` in it"));
    }
    Ok(path)
}

fn charset(head: &RequestHead) -> Result<Option<String>, Error> {
    let value = head.headers.text("Upgrade").unwrap_or_default();
    let parameters = value.split(';').skip(1);
    let charset = parameters
        .filter_map(|parameter| parameter.trim().strip_prefix("charset="))
        .last();
    let Some(charset) = charset else {
        return Ok(None);
    };
    let fits = (1..=40).contains(&charset.len());
    let is_name = charset
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
    if fits && is_name {
        Ok(Some(charset.to_owned()))
    } else {
        Err(Error::Malformed("charset"))
    }
}
