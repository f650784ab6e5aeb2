//! The window beside the session's: out of sight, in front, or above it.

use slint::ComponentHandle as _;
use slint::platform::WindowEvent;

use crate::app::App;
use crate::quiet::{self, Sight};
use crate::reach::Reach;
use crate::ui;

/// What a window manager's frame needs of the screen's height, in pixels.
const FRAME: u32 = 64;

impl App {
    /// Makes the window no larger than the screen, and a kiosk's as large.
    pub(super) fn fit(&self, width: u32, height: u32) {
        self.screen.set(Some((width, height)));
        if self.is_kiosk {
            return self.fill_screen();
        }
        let window = self.window.window();
        let now = window.size();
        // Of which the window manager needs some for a frame.
        let height = height.saturating_sub(FRAME);
        // It may not be there yet.
        let pixels = |length: u32| u16::try_from(length).map_or(f32::MAX, f32::from);
        self.window.set_room_width(pixels(width));
        self.window.set_room_height(pixels(height));
        if now.width > width || now.height > height {
            window.set_size(slint::PhysicalSize::new(
                now.width.min(width),
                now.height.min(height),
            ));
        }
    }

    /// A kiosk's window has all of the screen, also where no window manager
    /// would give it.
    pub(crate) fn fill_screen(&self) {
        let window = self.window.window();
        if self.on_wayland {
            return window.set_fullscreen(true);
        }
        // The wish for all of the screen is lost while a window is hidden: then
        // size and place have to do.
        if let Some((width, height)) = self.screen.get() {
            window.set_position(slint::PhysicalPosition::new(0, 0));
            window.set_size(slint::PhysicalSize::new(width, height));
        }
        if !self.was_hidden.get() {
            window.set_fullscreen(true);
        }
    }

    /// The session has the screen.
    pub(crate) fn hide(&self) {
        if self.is_kiosk && !self.on_wayland {
            // It would come back with a frame.
            self.window.window().set_fullscreen(false);
        }
        if let Err(error) = self.window.hide() {
            tracing::warn!("the window stays: {error}");
        }
        self.was_hidden.set(true);
        self.unquiet();
    }

    /// Shows it, where it is not in sight, and leaves the keyboard where it is.
    pub(super) fn show_quietly(&self) {
        let window = self.window.window();
        if self.is_quiet.get() {
            return;
        }
        if window.is_visible() {
            return self.show();
        }
        let sight = quiet::set(window, self.is_kiosk);
        if sight == Sight::Usual {
            return self.show();
        }
        self.is_quiet.set(true);
        self.window.global::<ui::Session<'_>>().set_quiet(true);
        self.window.invoke_start();
        self.show_as_it_is();
        let is_reached = sight != Sight::OutOfReach || self.reach();
        let session = self.window.global::<ui::Session<'_>>();
        session.set_out_of_reach(!is_reached);
    }

    /// Has clicks reach the window though the session holds the pointer; whether
    /// they do.
    fn reach(&self) -> bool {
        let Some(id) = quiet::id(self.window.window()) else {
            return false;
        };
        match Reach::over(id, self.window.as_weak()) {
            Ok(reach) => {
                *self.reach.borrow_mut() = reach;
                true
            }
            Err(error) => {
                tracing::debug!(%error, "clicks do not reach the window");
                false
            }
        }
    }

    /// It is a window like any other again.
    fn unquiet(&self) {
        if self.is_quiet.replace(false) {
            self.reach.take();
            // It may have been pressed, and is let go unseen.
            let left = WindowEvent::PointerExited;
            self.window.window().dispatch_event(left);
            self.window.global::<ui::Session<'_>>().set_quiet(false);
            self.window
                .global::<ui::Session<'_>>()
                .set_out_of_reach(false);
            quiet::unset(self.window.window());
        }
    }

    /// Shows it so where it is in sight without.
    pub(super) fn show_if_quiet(&self) {
        if self.is_quiet.get() {
            self.show();
        }
    }

    /// Shows it, in front and with the keyboard.
    pub(crate) fn show(&self) {
        if self.is_quiet.get() {
            // It asks for the keyboard when it appears.
            self.hide();
            self.window.invoke_start();
        }
        self.show_as_it_is();
    }

    fn show_as_it_is(&self) {
        if let Err(error) = self.window.show() {
            tracing::error!("the window does not come back: {error}");
        }
        if self.is_kiosk {
            // A window manager takes no such wish of a window it does not know
            // yet: the answer comes when it does.
            self.look();
        }
    }
}
