//! Connecting to a display with the cookie that belongs to it, whatever the
//! machine is called by now.

use std::io;

use x11rb::errors::ConnectError;
use x11rb::reexports::x11rb_protocol::parse_display::parse_display;
use x11rb::reexports::x11rb_protocol::xauth::{Family, get_auth};
use x11rb::rust_connection::{DefaultStream, RustConnection};

/// The name a machine had when its X session began, as some distributions keep
/// it: under that name the cookie is filed.
const NAME_THEN: &str = "XAUTHLOCALHOSTNAME";

/// A cookie and the protocol it is for; empty for none.
type Cookie = (Vec<u8>, Vec<u8>);

/// Connects to the display `name`; gives the number of the screen, too.
///
/// The cookie of a local display is filed under the machine's name. That name
/// may have changed since (a laptop that got another one by DHCP), so that the
/// name it had then is tried first, and `localhost` last.
///
/// # Errors
/// What the display says to the last cookie.
pub(crate) fn connect(name: &str) -> Result<(RustConnection, usize), ConnectError> {
    let then = std::env::var_os(NAME_THEN).map(std::ffi::OsString::into_encoded_bytes);
    connect_as(name, then.as_deref())
}

fn connect_as(name: &str, then: Option<&[u8]>) -> Result<(RustConnection, usize), ConnectError> {
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
        let mut stream = Some(stream);
        let mut refused = None;
        for (protocol, data) in cookies(family, &host, then, display.display) {
            // The display closes a connection that it refuses.
            let stream = match stream.take() {
                Some(stream) => stream,
                None => DefaultStream::connect(&address)?.0,
            };
            let connected =
                RustConnection::connect_to_stream_with_auth_info(stream, screen, protocol, data);
            match connected {
                Ok(connection) => return Ok((connection, screen)),
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
