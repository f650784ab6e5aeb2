//! Finds the application windows in the tree of all windows.

use x11rb::protocol::xproto::{AtomEnum, ConnectionExt as _, MapState};

use super::screen::Screen;
use super::window::Window;
use crate::Result;

/// Depth to which the tree of windows is searched: root, frame, client, and one
/// more for a client which puts a window between.
const MAX_DEPTH: u32 = 4;

impl Screen {
    /// The application windows, visible or not, topmost last.
    ///
    /// # Errors
    ///
    /// When the connection breaks.
    pub fn windows(&self) -> Result<Vec<Window>> {
        let mut found = Vec::new();
        self.search(self.root, MAX_DEPTH, &mut found)?;
        Ok(found)
    }

    fn search(&self, parent: u32, depth: u32, found: &mut Vec<Window>) -> Result<()> {
        // A window may go while it is looked at: that is no failure, and its
        // going is an event.
        let Ok(tree) = self
            .x
            .query_tree(parent)
            .map_err(self.refused("QueryTree"))?
            .reply()
        else {
            return Ok(());
        };
        for id in tree.children {
            self.watch(id)?;
            let Some(window) = self.window(id)? else {
                continue;
            };
            if window.is_named() {
                found.push(window);
            } else if depth > 1 {
                self.search(id, depth - 1, found)?;
            }
        }
        Ok(())
    }

    /// What is known of a window now; nothing when it is gone.
    ///
    /// Its place is asked for after its visibility, and from the root: a window
    /// manager shows a window once it is where it belongs.
    pub(super) fn window(&self, id: u32) -> Result<Option<Window>> {
        let attributes = self
            .x
            .get_window_attributes(id)
            .map_err(self.refused("GetWindowAttributes"))?;
        let geometry = self
            .x
            .get_geometry(id)
            .map_err(self.refused("GetGeometry"))?;
        let place = self
            .x
            .translate_coordinates(id, self.root, 0, 0)
            .map_err(self.refused("TranslateCoordinates"))?;
        let (Ok(attributes), Ok(geometry), Ok(place)) =
            (attributes.reply(), geometry.reply(), place.reply())
        else {
            return Ok(None);
        };
        let name = self.text(id, AtomEnum::WM_NAME.into())?;
        let class = self.text(id, AtomEnum::WM_CLASS.into())?;
        let mut classes = class.split('\0');
        Ok(Some(Window {
            id,
            name: name.trim_end_matches('\0').to_owned(),
            instance: classes.next().unwrap_or_default().to_owned(),
            class: classes.next().unwrap_or_default().to_owned(),
            x: place.dst_x.into(),
            y: place.dst_y.into(),
            width: geometry.width,
            height: geometry.height,
            visible: attributes.map_state == MapState::VIEWABLE,
        }))
    }

    fn text(&self, window: u32, property: u32) -> Result<String> {
        let asked = self
            .x
            .get_property(false, window, property, AtomEnum::ANY, 0, 1024)
            .map_err(self.refused("GetProperty"))?;
        let value = asked.reply().map(|reply| reply.value).unwrap_or_default();
        Ok(String::from_utf8_lossy(&value).into_owned())
    }
}
