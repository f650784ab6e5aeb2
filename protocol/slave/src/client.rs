use std::num::NonZeroU16;

use qvd_http1::RequestHead;

use crate::{Error, USBIP};

/// Most bytes of a printer's id.
const MAX_PRINTER: usize = 128;

/// What a program in the VM asks of the client's slave server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientRequest {
    /// `GET /ping`, answered with `Pong!`.
    Ping,
    /// `GET /version`.
    Version,
    /// `GET /printer`: the client's printers.
    Printers,
    /// `POST /printer/<id>/printjob`: the body is the job.
    PrintJob {
        /// The printer, by the id of the list.
        printer: String,
    },
    /// `POST /tcp/connect/<port>`: a port of the client's loopback, raw after
    /// the 101.
    TcpConnect(NonZeroU16),
    /// `GET /tcp/portcheck/<port>`: whether somebody listens there.
    TcpCheck(NonZeroU16),
    /// `POST /usbip/connect`.
    UsbConnect,
    /// `GET /usbip/shared_devices`.
    UsbDevices,
    /// `GET /usbip/portcheck`.
    UsbCheck,
}

impl ClientRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// Why it is none; [`Error::response`] answers it.
    pub fn from_head(head: &RequestHead) -> Result<Self, Error> {
        let path = std::str::from_utf8(head.path()).map_err(|_| Error::NoSuchRequest)?;
        match (head.method.as_str(), path) {
            ("GET", "/ping") => Ok(Self::Ping),
            ("GET", "/version") => Ok(Self::Version),
            ("GET", "/printer") => Ok(Self::Printers),
            ("POST", "/usbip/connect") => Ok(Self::UsbConnect),
            ("GET", "/usbip/shared_devices") => Ok(Self::UsbDevices),
            ("GET", "/usbip/portcheck") => Ok(Self::UsbCheck),
            ("POST", path) => {
                if let Some(port) = path.strip_prefix("/tcp/connect/") {
                    return Ok(Self::TcpConnect(self::port(port)?));
                }
                let printer = path
                    .strip_prefix("/printer/")
                    .and_then(|rest| rest.strip_suffix("/printjob"))
                    .ok_or(Error::NoSuchRequest)?;
                Ok(Self::PrintJob {
                    printer: self::printer(printer)?,
                })
            }
            ("GET", path) => {
                let port = path
                    .strip_prefix("/tcp/portcheck/")
                    .ok_or(Error::NoSuchRequest)?;
                Ok(Self::TcpCheck(self::port(port)?))
            }
            _ => Err(Error::NoSuchRequest),
        }
    }

    /// The request as a head. A print job's `Content-Length` is for the
    /// caller to add.
    #[must_use]
    pub fn to_head(&self) -> RequestHead {
        let (method, target) = match self {
            Self::Ping => ("GET", "/ping".to_owned()),
            Self::Version => ("GET", "/version".to_owned()),
            Self::Printers => ("GET", "/printer".to_owned()),
            Self::PrintJob { printer } => ("POST", format!("/printer/{printer}/printjob")),
            Self::TcpConnect(port) => ("POST", format!("/tcp/connect/{port}")),
            Self::TcpCheck(port) => ("GET", format!("/tcp/portcheck/{port}")),
            Self::UsbConnect => ("POST", "/usbip/connect".to_owned()),
            Self::UsbDevices => ("GET", "/usbip/shared_devices".to_owned()),
            Self::UsbCheck => ("GET", "/usbip/portcheck".to_owned()),
        };
        let head = RequestHead::new(method, target);
        match self {
            Self::UsbConnect => head
                .header("Connection", "Upgrade")
                .header("Upgrade", USBIP),
            Self::TcpConnect(_) => head
                .header("Connection", "Upgrade")
                .header("Upgrade", "qvd:tcp/1.0"),
            _ => head,
        }
    }
}

fn port(text: &str) -> Result<NonZeroU16, Error> {
    // `+80` parses as a number in Rust.
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::Port);
    }
    text.parse().map_err(|_| Error::Port)
}

/// Whether a printer can have this id: one that needs no quoting, is no option
/// of a program and no path.
#[must_use]
pub fn is_printer(text: &str) -> bool {
    let fits = (1..=MAX_PRINTER).contains(&text.len());
    let is_name = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.+".contains(&b));
    fits && is_name && !text.starts_with('-') && !text.bytes().all(|b| b == b'.')
}

fn printer(text: &str) -> Result<String, Error> {
    if is_printer(text) {
        Ok(text.to_owned())
    } else {
        Err(Error::Malformed("printer"))
    }
}
