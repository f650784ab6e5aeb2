//! Connecting to a display with the cookie that belongs to it, whatever the
//! machine is called by now.

use std::io;
use std::path::PathBuf;

use tokio::net::{TcpStream, UnixStream};
use x11rb::errors::ConnectError;
use x11rb::reexports::x11rb_protocol::parse_display::{ConnectAddress, parse_display};
use x11rb::reexports::x11rb_protocol::xauth::{Family, get_auth};
use x11rb::rust_connection::{DefaultStream, RustConnection};

use crate::quiet::Quiet;

/// The name a machine had when its X session began, as some distributions keep
/// it: under that name the cookie is filed.
const NAME_THEN: &str = "XAUTHLOCALHOSTNAME";

/// A cookie and the protocol it is for; empty for none.
pub(crate) type Cookie = (Vec<u8>, Vec<u8>);

/// Where a display was reached, and what it took.
#[derive(Clone)]
pub(crate) struct Access {
    place: Place,
    pub(crate) cookie: Cookie,
}

#[derive(Clone)]
enum Place {
    Socket(PathBuf),
    Host(String, u16),
}

impl Access {
    /// A further connection to the display, on which nothing was said yet.
    ///
    /// # Errors
    /// It is not there any more.
    pub(crate) async fn connect(&self) -> io::Result<Box<dyn crate::Transport>> {
        match &self.place {
            Place::Socket(path) => {
                // In the order in which every X client tries.
                let stream = match abstract_socket(path).await {
                    Ok(stream) => stream,
                    Err(_) => UnixStream::connect(path).await?,
                };
                Ok(Box::new(Quiet::new(stream)?))
            }
            Place::Host(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
        }
    }
}

async fn abstract_socket(path: &std::path::Path) -> io::Result<UnixStream> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::ffi::OsStrExt as _;
    let name = path.as_os_str().as_bytes();
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    let address = tokio::net::unix::SocketAddr::from(address);
    UnixStream::connect_addr(&address).await
}

/// Connects to the display `name`; gives the number of the screen and the way
/// in, too.
///
/// The cookie of a local display is filed under the machine's name. That name
/// may have changed since (a laptop that got another one by DHCP), so that the
/// name it had then is tried first, and `localhost` last.
///
/// # Errors
/// What the display says to the last cookie.
pub(crate) fn connect(name: &str) -> Result<(RustConnection, usize, Access), ConnectError> {
    let then = std::env::var_os(NAME_THEN).map(std::ffi::OsString::into_encoded_bytes);
    connect_as(name, then.as_deref())
}

fn connect_as(
    name: &str,
    then: Option<&[u8]>,
) -> Result<(RustConnection, usize, Access), ConnectError> {
    let display = parse_display(Some(name))?;
    let screen = usize::from(display.screen);
    let mut fault = io::Error::from(io::ErrorKind::NotFound);
    for address in display.connect_instruction() {
        let (stream, (family, host)) = match DefaultStream::connect(&address) {
            Ok(connected) => connected,
            Err(error) => {
                fault = error;
                continue;
            }
        };
        let place = match &address {
            ConnectAddress::Socket(path) => Place::Socket(PathBuf::from(path)),
            ConnectAddress::Hostname(host, port) => Place::Host((*host).to_owned(), *port),
            _ => continue,
        };
        let mut stream = Some(stream);
        let mut refused = None;
        for (protocol, data) in cookies(family, &host, then, display.display) {
            // The display closes a connection that it refuses.
            let stream = match stream.take() {
                Some(stream) => stream,
                None => DefaultStream::connect(&address)?.0,
            };
            let cookie = (protocol.clone(), data.clone());
            let connected =
                RustConnection::connect_to_stream_with_auth_info(stream, screen, protocol, data);
            match connected {
                Ok(connection) => return Ok((connection, screen, Access { place, cookie })),
                Err(
                    error @ (ConnectError::SetupFailed(_) | ConnectError::SetupAuthenticate(_)),
                ) => {
                    refused = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = refused {
            return Err(error);
        }
    }
    Err(fault.into())
}

/// The cookies to try, in this order; at least one, which may be none at all.
fn cookies(family: Family, host: &[u8], then: Option<&[u8]>, display: u16) -> Vec<Cookie> {
    let names = match family {
        Family::LOCAL => vec![then, Some(host), Some(b"localhost".as_slice())],
        _ => vec![Some(host)],
    };
    let mut cookies: Vec<Cookie> = Vec::new();
    for name in names.into_iter().flatten() {
        // A file that cannot be read leaves what the display admits anyway.
        if let Ok(Some(cookie)) = get_auth(family, name, display)
            && !cookies.contains(&cookie)
        {
            cookies.push(cookie);
        }
    }
    if cookies.is_empty() {
        cookies.push(Cookie::default());
    }
    cookies
}
