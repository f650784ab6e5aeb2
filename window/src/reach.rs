//! Clicks on a window while another program holds the pointer.
//!
//! Where nxagent has the whole screen it grabs pointer and keyboard. What is
//! clicked on a page above it is nxagent's alone, which is frozen in an outage:
//! nobody could give the session up. But the X server tells whoever asks what
//! the devices themselves do ("raw" events), which no grab keeps back since
//! version 2.1 of the X Input Extension.

use std::error::Error;
use std::sync::Arc;

use slint::platform::{PointerEventButton, WindowEvent};
use slint::{ComponentHandle as _, LogicalPosition, Weak};
use x11rb::connection::Connection as _;
use x11rb::cookie::Cookie;
use x11rb::protocol::Event;
use x11rb::protocol::xinput::{ConnectionExt as _, Device, EventMask, XIEventMask};
use x11rb::protocol::xproto::{
    ClientMessageEvent, ConnectionExt as _, CreateWindowAux, EventMask as CoreMask, GrabMode,
    GrabStatus, WindowClass,
};
use x11rb::rust_connection::RustConnection;

use crate::ui::MainWindow;

/// The version of the extension since which grabs keep nothing back.
const VERSION: (u16, u16) = (2, 1);

/// The first button of the pointer.
const LEFT: u32 = 1;

/// As long as this is there, clicks reach the window.
pub(crate) struct Reach {
    x: Arc<RustConnection>,
    /// A window of this connection's own, that is never seen: what is sent
    /// there wakes who waits for events.
    own: u32,
}

impl Drop for Reach {
    fn drop(&mut self) {
        let end = ClientMessageEvent::new(32, self.own, 1_u32, [0_u32; 5]);
        // Of a connection that is broken the thread knows by itself.
        if let Ok(sent) = self.x.send_event(false, self.own, CoreMask::NO_EVENT, end) {
            sent.ignore_error();
        }
        let _ = self.x.flush();
    }
}

impl Reach {
    /// Has clicks on the X window `window`, which is the program's, reach it.
    /// None where nobody keeps them from it.
    ///
    /// # Errors
    /// When the display does not tell.
    pub(crate) fn over(
        window: u32,
        shown: Weak<MainWindow>,
    ) -> Result<Option<Self>, Box<dyn Error>> {
        let (x, screen) = RustConnection::connect(None)?;
        let root = x.setup().roots.get(screen).ok_or("no such screen")?.root;
        if !is_grabbed(&x, root)? {
            return Ok(None);
        }
        let version = x.xinput_xi_query_version(VERSION.0, VERSION.1)?.reply()?;
        if (version.major_version, version.minor_version) < VERSION {
            return Err("its X Input Extension is too old".into());
        }
        let wanted = EventMask {
            deviceid: Device::ALL_MASTER.into(),
            mask: vec![XIEventMask::RAW_BUTTON_PRESS | XIEventMask::RAW_BUTTON_RELEASE],
        };
        x.xinput_xi_select_events(root, &[wanted])?.check()?;
        let own = x.generate_id()?;
        let (class, none) = (WindowClass::INPUT_ONLY, CreateWindowAux::new());
        x.create_window(0, own, root, 0, 0, 1, 1, 0, class, 0, &none)?
            .check()?;
        let x = Arc::new(x);
        let reach = Self {
            x: Arc::clone(&x),
            own,
        };
        std::thread::Builder::new()
            .name("clicks".into())
            .spawn(move || pass_on(&x, window, &shown))?;
        Ok(Some(reach))
    }
}

/// Whether another program holds the pointer.
fn is_grabbed(x: &RustConnection, root: u32) -> Result<bool, Box<dyn Error>> {
    let asynchronous = GrabMode::ASYNC;
    let nothing = CoreMask::NO_EVENT;
    let grabbed = x
        .grab_pointer(
            false,
            root,
            nothing,
            asynchronous,
            asynchronous,
            0_u32,
            0_u32,
            0_u32,
        )?
        .reply()?;
    if grabbed.status != GrabStatus::SUCCESS {
        return Ok(true);
    }
    x.ungrab_pointer(0_u32)?.check()?;
    Ok(false)
}

/// Hands clicks on the window to its pages, until there is an end of it.
fn pass_on(x: &RustConnection, window: u32, shown: &Weak<MainWindow>) {
    loop {
        let is_press = match x.wait_for_event() {
            Ok(Event::XinputRawButtonPress(event)) if event.detail == LEFT => true,
            Ok(Event::XinputRawButtonRelease(event)) if event.detail == LEFT => false,
            Ok(Event::ClientMessage(_)) | Err(_) => return,
            Ok(_) => continue,
        };
        let pointer = x.query_pointer(window).map(Cookie::reply);
        let Ok(Ok(pointer)) = pointer else {
            return;
        };
        let (left, top) = (f32::from(pointer.win_x), f32::from(pointer.win_y));
        let passed = shown.upgrade_in_event_loop(move |shown| {
            let shown = shown.window();
            let scale = shown.scale_factor();
            let position = LogicalPosition::new(left / scale, top / scale);
            let button = PointerEventButton::Left;
            if is_press {
                shown.dispatch_event(WindowEvent::PointerPressed { position, button });
            } else {
                shown.dispatch_event(WindowEvent::PointerReleased { position, button });
                shown.dispatch_event(WindowEvent::PointerExited);
            }
        });
        if passed.is_err() {
            return;
        }
    }
}
