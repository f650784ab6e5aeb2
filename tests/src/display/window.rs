//! What is known of one window.

use std::fmt;

/// An application's window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its X id.
    pub id: u32,
    /// Its title (`WM_NAME`).
    pub name: String,
    /// First part of `WM_CLASS`.
    pub instance: String,
    /// Second part of `WM_CLASS`.
    pub class: String,
    /// Left edge on the display, in pixels.
    pub x: i32,
    /// Upper edge on the display, in pixels.
    pub y: i32,
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// Whether it is mapped, and everything it lies in too.
    pub visible: bool,
}

impl Window {
    /// Whether its title or one part of its class is `text`.
    pub fn is(&self, text: &str) -> bool {
        [&self.name, &self.instance, &self.class]
            .into_iter()
            .any(|own| own == text)
    }

    pub(super) fn is_named(&self) -> bool {
        !(self.name.is_empty() && self.instance.is_empty() && self.class.is_empty())
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            name,
            instance,
            class,
            x,
            y,
            width,
            height,
            visible,
        } = self;
        let state = if *visible { "" } else { " (not visible)" };
        write!(
            f,
            "{id:#x} '{name}' {instance}.{class} {width}x{height}{x:+}{y:+}{state}"
        )
    }
}
