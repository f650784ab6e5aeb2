//! The toolkit's platform with a text cursor that stands still: one that blinks
//! has an idle window draw for ever.

use std::fmt;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use i_slint_core::{InternalToken, SlintContextWeak};
use slint::PlatformError;
use slint::platform::{Clipboard, EventLoopProxy, Platform, WindowAdapter};

/// What the toolkit would use by itself, but for the cursor.
struct Steady(Box<dyn Platform>);

/// Has the toolkit use it; before any of its parts is made.
///
/// # Errors
/// When the display cannot be used.
pub(crate) fn set() -> Result<(), PlatformError> {
    let own = i_slint_backend_selector::create_backend()?;
    slint::platform::set_platform(Box::new(Steady(own)))
        .map_err(|error| PlatformError::Other(error.to_string()))
}

impl Platform for Steady {
    fn cursor_flash_cycle(&self) -> Duration {
        Duration::ZERO
    }

    fn create_window_adapter(&self) -> Result<Rc<dyn WindowAdapter>, PlatformError> {
        self.0.create_window_adapter()
    }

    fn run_event_loop(&self) -> Result<(), PlatformError> {
        self.0.run_event_loop()
    }

    fn process_events(
        &self,
        limit: Option<Duration>,
        token: InternalToken,
    ) -> Result<ControlFlow<()>, PlatformError> {
        self.0.process_events(limit, token)
    }

    fn bind_context(&self, context: SlintContextWeak, token: InternalToken) {
        self.0.bind_context(context, token);
    }

    fn new_event_loop_proxy(&self) -> Option<Box<dyn EventLoopProxy>> {
        self.0.new_event_loop_proxy()
    }

    fn duration_since_start(&self) -> Duration {
        self.0.duration_since_start()
    }

    fn click_interval(&self) -> Duration {
        self.0.click_interval()
    }

    fn set_clipboard_text(&self, text: &str, clipboard: Clipboard) {
        self.0.set_clipboard_text(text, clipboard);
    }

    fn clipboard_text(&self, clipboard: Clipboard) -> Option<String> {
        self.0.clipboard_text(clipboard)
    }

    fn debug_log(&self, arguments: fmt::Arguments<'_>) {
        self.0.debug_log(arguments);
    }

    fn open_url(&self, url: &str) -> Result<(), PlatformError> {
        self.0.open_url(url)
    }
}
