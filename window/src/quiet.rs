//! A window that comes into sight without taking the keyboard from another.
//!
//! The page that tells of an outage comes while the user types to the desktop
//! behind it. What he types is the desktop's: it waits for the connection, and
//! must not press a button here. And nxagent, which hears of keys and of the
//! focus that was taken from it in one go once the connection is back, gives
//! the last key to its programs twice (seen with nxagent 3.5.99.27).

use raw_window_handle::{HasWindowHandle as _, RawWindowHandle};
use x11rb::protocol::xproto::{AtomEnum, ConnectionExt as _, PropMode};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

/// Has the window manager show a window, which is hidden now, above all others
/// without the focus, or as any other again (EWMH, `_NET_WM_USER_TIME` of 0 and
/// `_NET_WM_STATE_ABOVE`). Says whether it is one of the X server's.
pub(crate) fn set(window: &slint::Window, quiet: bool) -> bool {
    let handle = window.window_handle();
    let id = match handle.window_handle().map(|handle| handle.as_raw()) {
        Ok(RawWindowHandle::Xlib(xlib)) => u32::try_from(xlib.window).ok(),
        Ok(RawWindowHandle::Xcb(xcb)) => Some(xcb.window.get()),
        _ => None,
    };
    let Some(id) = id else {
        return false;
    };
    mark(id, quiet)
        .inspect_err(|error| tracing::debug!(%error, "the window takes the focus"))
        .is_ok()
}

fn mark(window: u32, quiet: bool) -> Result<(), Box<dyn std::error::Error>> {
    let (x, _) = RustConnection::connect(None)?;
    let atom = |name: &str| -> Result<u32, Box<dyn std::error::Error>> {
        Ok(x.intern_atom(false, name.as_bytes())?.reply()?.atom)
    };
    let time = atom("_NET_WM_USER_TIME")?;
    if quiet {
        let [state, above] = [atom("_NET_WM_STATE")?, atom("_NET_WM_STATE_ABOVE")?];
        let replace = PropMode::REPLACE;
        x.change_property32(replace, window, time, AtomEnum::CARDINAL, &[0])?
            .check()?;
        x.change_property32(replace, window, state, AtomEnum::ATOM, &[above])?
            .check()?;
    } else {
        x.delete_property(window, time)?.check()?;
    }
    // All of it is there before the window is shown, on a connection of its own.
    x.sync()?;
    Ok(())
}
