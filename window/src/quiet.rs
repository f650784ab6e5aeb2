//! A window that comes into sight without taking the keyboard from another.
//!
//! The page that tells of an outage comes while the user types to the desktop
//! behind it. What he types is the desktop's: it waits for the connection, and
//! must not press a button here. And nxagent, which hears of keys and of the
//! focus that was taken from it in one go once the connection is back, gives
//! the last key to its programs twice (seen with nxagent 3.5.99.26).

use std::error::Error;

use raw_window_handle::{HasWindowHandle as _, RawWindowHandle};
use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{
    AtomEnum, ChangeWindowAttributesAux, ConfigureWindowAux, ConnectionExt as _, GetGeometryReply,
    MapState, PropMode, StackMode,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

/// How nxagent's windows are called (`WM_CLASS`).
const CLASS: &[u8] = b"NXAgent\0";

/// Values of a property that are read, at most.
const MOST: u32 = 64;

/// How a window comes into sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// As any other, with the focus.
    Usual,
    /// Above the session's, without it.
    Above,
    /// The same where the session has the whole screen, and pointer and keyboard
    /// with it (seen): clicks come by [`crate::reach`] or not at all.
    OutOfReach,
}

/// Has a window, which is hidden now, come into sight above the session's without
/// the focus, where that can be. Says how it will.
///
/// The window manager sees to it (EWMH, `_NET_WM_USER_TIME` of 0 and
/// `_NET_WM_STATE_ABOVE`), but where the session has the whole screen: nxagent
/// keeps that from the window manager (`override_redirect`, seen), so that none
/// of its windows would be seen, and this one has to go the same way. A window
/// that has the whole screen by the window manager loses it to one that takes
/// the focus only.
pub(crate) fn set(window: &slint::Window, is_kiosk: bool) -> Sight {
    change(window, |properties| properties.set(is_kiosk))
}

/// Has it shown as any other again.
pub(crate) fn unset(window: &slint::Window) {
    change(window, |properties| {
        properties.unset().map(|()| Sight::Usual)
    });
}

fn change(
    window: &slint::Window,
    act: impl FnOnce(&Properties) -> Result<Sight, Box<dyn Error>>,
) -> Sight {
    let Some(id) = id(window) else {
        return Sight::Usual;
    };
    let done = Properties::of(id).and_then(|properties| act(&properties));
    done.inspect_err(|error| tracing::debug!(%error, "the window takes the focus"))
        .unwrap_or(Sight::Usual)
}

/// The number of a window on its X display.
pub(crate) fn id(window: &slint::Window) -> Option<u32> {
    let handle = window.window_handle();
    match handle.window_handle().map(|handle| handle.as_raw()) {
        Ok(RawWindowHandle::Xlib(xlib)) => u32::try_from(xlib.window).ok(),
        Ok(RawWindowHandle::Xcb(xcb)) => Some(xcb.window.get()),
        _ => None,
    }
}

/// What a window manager is told of a window.
struct Properties {
    /// A connection of its own: all is there before the window is shown.
    x: RustConnection,
    root: u32,
    window: u32,
    time: u32,
    state: u32,
}

impl Properties {
    fn of(window: u32) -> Result<Self, Box<dyn Error>> {
        let (x, screen) = RustConnection::connect(None)?;
        let root = x.setup().roots.get(screen).ok_or("no such screen")?.root;
        let mut properties = Self {
            x,
            root,
            window,
            time: 0,
            state: 0,
        };
        properties.time = properties.atom("_NET_WM_USER_TIME")?;
        properties.state = properties.atom("_NET_WM_STATE")?;
        Ok(properties)
    }

    fn atom(&self, name: &str) -> Result<u32, Box<dyn Error>> {
        let asked = self.x.intern_atom(false, name.as_bytes())?;
        Ok(asked.reply()?.atom)
    }

    /// What a property of a window holds.
    fn values(&self, window: u32, of: u32, kind: AtomEnum) -> Result<Vec<u32>, Box<dyn Error>> {
        let asked = self.x.get_property(false, window, of, kind, 0, MOST)?;
        let values = asked.reply()?;
        Ok(values.value32().into_iter().flatten().collect())
    }

    /// Where the session's window is that the window manager does not know.
    fn session(&self) -> Result<Option<GetGeometryReply>, Box<dyn Error>> {
        let windows = self.x.query_tree(self.root)?.reply()?;
        for window in windows.children.into_iter().rev() {
            // One may have gone meanwhile.
            let Ok(has) = self.x.get_window_attributes(window)?.reply() else {
                continue;
            };
            if !has.override_redirect || has.map_state != MapState::VIEWABLE {
                continue;
            }
            let class = AtomEnum::WM_CLASS;
            let class = self
                .x
                .get_property(false, window, class, AtomEnum::STRING, 0, MOST)?;
            let is_session = class
                .reply()
                .is_ok_and(|class| class.value.starts_with(CLASS));
            if is_session {
                return Ok(self.x.get_geometry(window)?.reply().ok());
            }
        }
        Ok(None)
    }

    /// Puts the window in the middle of that one, above all.
    fn put_above(&self, session: &GetGeometryReply) -> Result<(), Box<dyn Error>> {
        let own = self.x.get_geometry(self.window)?.reply()?;
        let middle = |at: i16, whole: u16, part: u16| {
            i32::from(at) + i32::from(whole.saturating_sub(part) / 2)
        };
        let place = ConfigureWindowAux::new()
            .x(middle(session.x, session.width, own.width))
            .y(middle(session.y, session.height, own.height))
            .stack_mode(StackMode::ABOVE);
        self.known(false)?;
        self.x.configure_window(self.window, &place)?.check()?;
        Ok(())
    }

    /// Whether the window manager knows of the window.
    fn known(&self, known: bool) -> Result<(), Box<dyn Error>> {
        let change = ChangeWindowAttributesAux::new().override_redirect(u32::from(!known));
        let changed = self.x.change_window_attributes(self.window, &change)?;
        Ok(changed.check()?)
    }

    fn set(&self, is_kiosk: bool) -> Result<Sight, Box<dyn Error>> {
        if let Some(session) = self.session()? {
            self.put_above(&session)?;
            return Ok(Sight::OutOfReach);
        }
        if is_kiosk {
            // Its pages have the whole screen.
            return Ok(Sight::Usual);
        }
        let active = self.atom("_NET_ACTIVE_WINDOW")?;
        let full = self.atom("_NET_WM_STATE_FULLSCREEN")?;
        let active = self.values(self.root, active, AtomEnum::WINDOW)?;
        if let Some(active) = active.first().filter(|active| **active != 0)
            && self
                .values(*active, self.state, AtomEnum::ATOM)?
                .contains(&full)
        {
            return Ok(Sight::Usual);
        }
        let above = self.atom("_NET_WM_STATE_ABOVE")?;
        self.put(self.state, AtomEnum::ATOM, above)?;
        // Last: with it the window never asks for the focus.
        self.put(self.time, AtomEnum::CARDINAL, 0)?;
        Ok(Sight::Above)
    }

    fn unset(&self) -> Result<(), Box<dyn Error>> {
        self.known(true)?;
        for property in [self.time, self.state] {
            self.x.delete_property(self.window, property)?.check()?;
        }
        Ok(())
    }

    fn put(&self, property: u32, kind: AtomEnum, value: u32) -> Result<(), Box<dyn Error>> {
        let replace = PropMode::REPLACE;
        let put = self
            .x
            .change_property32(replace, self.window, property, kind, &[value])?;
        Ok(put.check()?)
    }
}
