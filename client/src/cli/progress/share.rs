//! What the user is told of shared folders.

use super::Progress;
use crate::core::Event;

impl Progress {
    pub(super) fn share(&mut self, event: &Event) {
        match event {
            Event::Shared {
                path,
                name,
                read_only,
            } => {
                let mode = if *read_only { ", read only" } else { "" };
                self.done(&format!("{} is shared as {name}{mode}", path.display()));
            }
            Event::Unshared { path } => {
                self.done(&format!("{} is no longer shared", path.display()));
            }
            Event::NotShared { path, why } => {
                self.warn(&format!("{} is not shared: {why}", path.display()));
            }
            Event::Opened { file } => {
                self.done(&format!("{} was opened in the session", file.display()));
            }
            Event::NotOpened { file, why } => {
                self.warn(&format!("{} was not opened: {why}", file.display()));
            }
            _ => {}
        }
    }
}
