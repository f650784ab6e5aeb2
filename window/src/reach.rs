//! Clicks on a window while another program holds the pointer.
//!
//! Where nxagent has the whole screen it grabs pointer and keyboard. What is
//! clicked on a page above it is nxagent's alone, which is frozen in an outage:
//! nobody could give the session up. But the X server tells whoever asks what
//! the devices themselves do ("raw" events), which no grab keeps back since
//! version 2.1 of the X Input Extension. Of touches it tells otherwise: they
//! are not looked at here.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slint::platform::{PointerEventButton, WindowEvent};
use slint::{ComponentHandle as _, LogicalPosition, Weak};
use x11rb::connection::Connection as _;
use x11rb::cookie::Cookie;
use x11rb::protocol::Event;
use x11rb::protocol::xinput::{ConnectionExt as _, EventMask, RawButtonPressEvent, XIEventMask};
use x11rb::protocol::xproto::{
    ClientMessageEvent, ConnectionExt as _, CreateWindowAux, EventMask as CoreMask, GrabMode,
    GrabStatus, Mapping, WindowClass,
};
use x11rb::rust_connection::RustConnection;

use crate::ui::{MainWindow, Session};

/// The version of the extension since which grabs keep nothing back.
const VERSION: (u16, u16) = (2, 1);

/// The button that clicks, as programs are told it.
const FIRST: u8 = 1;

/// Who clicks at the desktop as the page comes does not mean the page.
const UNMEANT: Duration = Duration::from_millis(500);

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
    /// Has clicks on the X window `window`, which is the program's and no window
    /// manager's, reach it. None where nobody keeps them from it.
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
        // The one whose place is asked for when there are several.
        let pointer = x.xinput_xi_get_client_pointer(0_u32)?.reply()?.deviceid;
        let wanted = EventMask {
            deviceid: pointer,
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
        let clicks = Clicks {
            x,
            root,
            window,
            began: Instant::now(),
            shown,
        };
        std::thread::Builder::new()
            .name("clicks".into())
            .spawn(move || clicks.run())?;
        Ok(Some(reach))
    }
}

/// Whether another program holds the pointer, or seems to, as while a button is
/// held down.
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

/// What hands clicks to a window's pages.
struct Clicks {
    x: Arc<RustConnection>,
    root: u32,
    window: u32,
    began: Instant,
    shown: Weak<MainWindow>,
}

impl Clicks {
    /// Until there is an end of it.
    fn run(self) {
        let Err(error) = self.pass_on() else { return };
        tracing::debug!(%error, "clicks reach the window no more");
        let _ = self.shown.upgrade_in_event_loop(|shown| {
            let session = shown.global::<Session<'_>>();
            session.set_out_of_reach(session.get_quiet());
        });
    }

    fn pass_on(&self) -> Result<(), Box<dyn Error>> {
        let mut buttons = self.buttons()?;
        loop {
            match self.x.wait_for_event()? {
                Event::XinputRawButtonPress(event) if is_first(&event, &buttons) => {
                    let is_meant = self.began.elapsed() >= UNMEANT && self.is_on_top()?;
                    if is_meant {
                        self.pass(true)?;
                    }
                }
                // Also where it was pressed here and let go elsewhere.
                Event::XinputRawButtonRelease(event) if is_first(&event, &buttons) => {
                    self.pass(false)?;
                }
                Event::MappingNotify(event) if event.request == Mapping::POINTER => {
                    buttons = self.buttons()?;
                }
                Event::ClientMessage(_) => return Ok(()),
                _ => {}
            }
        }
    }

    /// What the buttons, which raw events number as they are, count as.
    fn buttons(&self) -> Result<Vec<u8>, Box<dyn Error>> {
        Ok(self.x.get_pointer_mapping()?.reply()?.map)
    }

    /// Whether the pointer is over the window, and over no other above it.
    fn is_on_top(&self) -> Result<bool, Box<dyn Error>> {
        Ok(self.x.query_pointer(self.root)?.reply()?.child == self.window)
    }

    fn pass(&self, is_press: bool) -> Result<(), Box<dyn Error>> {
        let pointer = self.x.query_pointer(self.window).map(Cookie::reply)??;
        let (left, top) = (f32::from(pointer.win_x), f32::from(pointer.win_y));
        let passed = self.shown.upgrade_in_event_loop(move |shown| {
            if !shown.global::<Session<'_>>().get_quiet() {
                // It has all clicks by now.
                return;
            }
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
        Ok(passed?)
    }
}

fn is_first(event: &RawButtonPressEvent, buttons: &[u8]) -> bool {
    let at = usize::try_from(event.detail).ok();
    let at = at.and_then(|number| number.checked_sub(1));
    at.and_then(|at| buttons.get(at)) == Some(&FIRST)
}
