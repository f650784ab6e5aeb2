//! A view of an X display: its windows, its pixels, and waits for both.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::Interest;
use x11rb::connection::Connection as _;
use x11rb::protocol::Event;
use x11rb::protocol::damage::{ConnectionExt as _, ReportLevel};
use x11rb::protocol::xproto::{
    AtomEnum, ChangeWindowAttributesAux, ConnectionExt as _, EventMask, Family, HostMode,
    ImageFormat, Visualtype,
};
use x11rb::rust_connection::{DefaultStream, RustConnection};

use super::cookie::{Cookie, PROTOCOL};
use super::image::{Image, Region};
use super::stream::DeadlineStream;
use super::window::Window;
use crate::error::Doing as _;
use crate::{Error, Result, ports};

/// A connection which looks at a display and changes nothing on it.
pub struct Screen {
    name: String,
    pub(super) root: u32,
    width: u16,
    height: u16,
    visual: Visualtype,
    failure_picture: Option<PathBuf>,
    pub(super) x: RustConnection<DeadlineStream>,
    /// The same connection once more, to await what arrives on it.
    events: tokio::net::UnixStream,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Screen({} {}x{})", self.name, self.width, self.height)
    }
}

impl Screen {
    /// Looks at the display `number` of this machine.
    ///
    /// # Errors
    ///
    /// When there is none or it refuses the cookie.
    pub fn open(number: u16, cookie: Option<&Cookie>) -> Result<Self> {
        Self::open_socket(
            &ports::display_socket(number),
            &format!(":{number}"),
            cookie,
        )
    }

    /// Has a picture saved there whenever a wait fails.
    pub(super) fn keep_failure_picture(&mut self, path: PathBuf) {
        self.failure_picture = Some(path);
    }

    fn open_socket(path: &Path, name: &str, cookie: Option<&Cookie>) -> Result<Self> {
        let doing = || format!("connecting to the X display {name}");
        let socket = UnixStream::connect(path).doing(doing)?;
        let events = socket.try_clone().doing(doing)?;
        let (stream, _) = DefaultStream::from_unix_stream(socket).doing(doing)?;
        let stream = DeadlineStream(stream);
        let (protocol, secret) = match cookie {
            Some(cookie) => (PROTOCOL.to_vec(), cookie.bytes()),
            None => (Vec::new(), Vec::new()),
        };
        let x = RustConnection::connect_to_stream_with_auth_info(stream, 0, protocol, secret)
            .map_err(|error| refused(name, "connecting", &error))?;
        let screen = x.setup().roots.first().ok_or_else(|| no_screen(name))?;
        let visual = screen
            .allowed_depths
            .iter()
            .flat_map(|depth| &depth.visuals)
            .find(|visual| visual.visual_id == screen.root_visual)
            .ok_or_else(|| no_screen(name))?;
        let (root, visual) = (screen.root, *visual);
        let (width, height) = (screen.width_in_pixels, screen.height_in_pixels);
        let events = tokio::net::UnixStream::from_std(events).doing(doing)?;
        let screen = Self {
            name: name.into(),
            root,
            width,
            height,
            visual,
            failure_picture: None,
            x,
            events,
        };
        screen.watch(root)?;
        screen
            .x
            .damage_query_version(1, 1)
            .map_err(screen.refused("DAMAGE"))?
            .reply()
            .map_err(screen.refused("DAMAGE"))?;
        Ok(screen)
    }

    /// Width in pixels.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u16 {
        self.height
    }

    /// Lets programs of this user connect without the cookie.
    pub(super) fn admit_local_user(&self) -> Result<()> {
        let user = rustix::process::geteuid().as_raw();
        // "localuser" is one of the server-interpreted address types; a number
        // after "#" names the user.
        let address = format!("localuser\0#{user}");
        self.x
            .change_hosts(
                HostMode::INSERT,
                Family::SERVER_INTERPRETED,
                address.as_bytes(),
            )
            .map_err(self.refused("ChangeHosts"))?
            .check()
            .map_err(self.refused("ChangeHosts"))
    }

    /// Waits until a visible window `accept`s.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] with the windows there are.
    pub async fn wait_for_window(
        &self,
        what: &str,
        within: Duration,
        accept: impl Fn(&Window) -> bool,
    ) -> Result<Window> {
        self.wait_until(&format!("the window {what}"), within, || {
            Ok(self
                .windows()?
                .into_iter()
                .find(|window| window.visible && accept(window)))
        })
        .await
    }

    /// Waits until no visible window `matches` any more.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] with the windows there are.
    pub async fn wait_for_no_window(
        &self,
        what: &str,
        within: Duration,
        matches: impl Fn(&Window) -> bool,
    ) -> Result<()> {
        self.wait_until(&format!("the end of the window {what}"), within, || {
            let there = self
                .windows()?
                .iter()
                .any(|window| window.visible && matches(window));
            Ok((!there).then_some(()))
        })
        .await
    }

    /// Waits until a window manager says that it is there, by the property
    /// `_NET_SUPPORTING_WM_CHECK` of the root window.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`].
    pub async fn wait_for_window_manager(&self, within: Duration) -> Result<()> {
        let property = self.atom("_NET_SUPPORTING_WM_CHECK")?;
        self.wait_until("a window manager", within, || {
            let value = self
                .x
                .get_property(false, self.root, property, AtomEnum::WINDOW, 0, 1)
                .map_err(self.refused("GetProperty"))?
                .reply()
                .map_err(self.refused("GetProperty"))?;
            Ok(value.value32().and_then(|mut ids| ids.next()).map(|_| ()))
        })
        .await
    }

    /// The pixels of the whole display.
    ///
    /// # Errors
    ///
    /// When the connection breaks.
    pub fn screenshot(&self) -> Result<Image> {
        self.pixels(Region {
            x: 0,
            y: 0,
            width: self.width,
            height: self.height,
        })
    }

    /// The pixels where a window is now, with whatever covers it.
    ///
    /// # Errors
    ///
    /// When it is gone or wholly outside of the display, or the connection
    /// breaks.
    pub fn screenshot_of(&self, window: &Window) -> Result<Image> {
        let now = self.window(window.id)?.ok_or_else(|| Error::X {
            display: self.name.clone(),
            what: format!("window '{}' is gone", window.name),
        })?;
        let visible = Region::within(&now, self.width, self.height).ok_or_else(|| Error::X {
            display: self.name.clone(),
            what: format!("window '{}' lies outside of the screen", window.name),
        })?;
        self.pixels(visible)
    }

    /// Waits until the pixels `accept` can look at are as it wants, looking
    /// again whenever something was drawn.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`]; [`Error::X`] when the connection breaks.
    pub async fn wait_for_pixels(
        &self,
        what: &str,
        within: Duration,
        accept: impl Fn(&Self) -> Result<bool>,
    ) -> Result<()> {
        let damage = self.x.generate_id().map_err(self.refused("an id"))?;
        self.x
            .damage_create(damage, self.root, ReportLevel::NON_EMPTY)
            .map_err(self.refused("DamageCreate"))?;
        let waited = self
            .wait_until(what, within, || {
                // What was drawn until here is in the picture taken next; what
                // is drawn after it is a new event.
                self.x
                    .damage_subtract(damage, x11rb::NONE, x11rb::NONE)
                    .map_err(self.refused("DamageSubtract"))?;
                Ok(accept(self)?.then_some(()))
            })
            .await;
        self.x
            .damage_destroy(damage)
            .map_err(self.refused("DamageDestroy"))?;
        self.x.flush().map_err(self.refused("flush"))?;
        waited
    }

    /// Waits until the window's content has really been drawn
    /// ([`Image::is_drawn`]).
    ///
    /// # Errors
    ///
    /// As [`Self::wait_for_pixels`].
    pub async fn wait_until_drawn(&self, window: &Window, within: Duration) -> Result<()> {
        let what = format!("drawing of the window '{}'", window.name);
        self.wait_for_pixels(&what, within, |screen| {
            Ok(screen.screenshot_of(window)?.is_drawn())
        })
        .await
    }

    /// Looks with `look` now and after each burst of events until it finds.
    async fn wait_until<T>(
        &self,
        what: &str,
        within: Duration,
        look: impl Fn() -> Result<Option<T>>,
    ) -> Result<T> {
        let looking = async {
            loop {
                if let Some(found) = look()? {
                    return Ok(found);
                }
                self.next_events().await?;
            }
        };
        match tokio::time::timeout(within, looking).await {
            Ok(found) => found,
            Err(_) => {
                // Which of the two it was, nobody could tell afterwards.
                let missed = matches!(look(), Ok(Some(_)));
                let missed = if missed {
                    "; it is so now, without an event"
                } else {
                    ""
                };
                Err(Error::Deadline {
                    what: format!("X display {}: {what}", self.name),
                    limit: within,
                    context: format!("{missed}{}{}", self.describe(), self.keep_picture()),
                })
            }
        }
    }

    /// Saves what is to be seen when a wait has failed, and tells where.
    fn keep_picture(&self) -> String {
        let Some(path) = &self.failure_picture else {
            return String::new();
        };
        match self.screenshot().and_then(|image| image.save(path)) {
            Ok(()) => format!("\nwhat was to be seen is in {}", path.display()),
            Err(error) => format!("\n{error}"),
        }
    }

    /// Waits for one event and takes all that are there.
    async fn next_events(&self) -> Result<()> {
        let broken = self.refused("an event");
        self.x.flush().map_err(self.refused("flush"))?;
        let mut any = false;
        loop {
            while let Some(event) = self.x.poll_for_event().map_err(&broken)? {
                any |= !matches!(event, Event::Error(_));
            }
            if any {
                return Ok(());
            }
            let doing = || format!("awaiting events of the X display {}", self.name);
            self.events.readable().await.doing(doing)?;
            // Nothing is read here: this only forgets the readiness, so that
            // the next wait is for what arrives from now on.
            let _forgotten: std::io::Result<()> = self.events.try_io(Interest::READABLE, || {
                Err(std::io::ErrorKind::WouldBlock.into())
            });
        }
    }

    fn atom(&self, name: &str) -> Result<u32> {
        let asked = self
            .x
            .intern_atom(false, name.as_bytes())
            .map_err(self.refused(name))?;
        Ok(asked.reply().map_err(self.refused(name))?.atom)
    }

    /// Asks for the events of a window and of its children.
    pub(super) fn watch(&self, window: u32) -> Result<()> {
        let mask = EventMask::SUBSTRUCTURE_NOTIFY
            | EventMask::STRUCTURE_NOTIFY
            | EventMask::PROPERTY_CHANGE;
        let wanted = ChangeWindowAttributesAux::new().event_mask(mask);
        // Not checked: the window may be gone already.
        self.x
            .change_window_attributes(window, &wanted)
            .map_err(self.refused("ChangeWindowAttributes"))?
            .ignore_error();
        Ok(())
    }

    fn pixels(&self, region: Region) -> Result<Image> {
        let (Ok(x), Ok(y)) = (i16::try_from(region.x), i16::try_from(region.y)) else {
            return Err(self.refused("GetImage")(
                "the place is outside of the screen",
            ));
        };
        let reply = self
            .x
            .get_image(
                ImageFormat::Z_PIXMAP,
                self.root,
                x,
                y,
                region.width,
                region.height,
                !0,
            )
            .map_err(self.refused("GetImage"))?
            .reply()
            .map_err(self.refused("GetImage"))?;
        let setup = self.x.setup();
        let bits = setup
            .pixmap_formats
            .iter()
            .find(|format| format.depth == reply.depth);
        let layout = super::image::Layout {
            bits_per_pixel: bits.map_or(0, |format| format.bits_per_pixel),
            little_endian: setup.image_byte_order == x11rb::protocol::xproto::ImageOrder::LSB_FIRST,
            red: self.visual.red_mask,
            green: self.visual.green_mask,
            blue: self.visual.blue_mask,
        };
        Image::decode(region.width, region.height, &reply.data, layout)
    }

    fn describe(&self) -> String {
        match self.windows() {
            Ok(windows) if windows.is_empty() => "; it has no window".into(),
            Ok(windows) => {
                let lines: Vec<_> = windows
                    .iter()
                    .map(|window| format!("\n  {window}"))
                    .collect();
                format!("; its windows are{}", lines.concat())
            }
            Err(error) => format!("; {error}"),
        }
    }

    pub(super) fn refused<E: std::fmt::Display>(&self, what: &str) -> impl Fn(E) -> Error {
        let (name, what) = (self.name.clone(), what.to_owned());
        move |error| refused(&name, &what, &error)
    }
}

fn refused(display: &str, what: &str, error: &impl std::fmt::Display) -> Error {
    Error::X {
        display: display.into(),
        what: format!("{what}: {error}"),
    }
}

fn no_screen(display: &str) -> Error {
    Error::X {
        display: display.into(),
        what: "it has no usable screen".into(),
    }
}
