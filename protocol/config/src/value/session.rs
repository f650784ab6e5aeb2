//! Values that describe a session or its log.

use std::borrow::Cow;
use std::fmt;

use super::{Value, digits, from_str};

/// An enum of words.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident: $expected:literal { $($(#[$vmeta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// The word that is written for it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Value for $name {
            fn expected() -> Cow<'static, str> {
                $expected.into()
            }

            fn parse(text: &str) -> Option<Self> {
                [$(Self::$variant),+].into_iter().find(|word| text.eq_ignore_ascii_case(word.as_str()))
            }
        }

        from_str!($name);
    };
}

words! {
    /// How much is logged, in the words of the reference.
    LogLevel: "ALL, DEBUG, INFO, WARN, ERROR, FATAL or OFF" {
        /// Everything, down to traces.
        All = "ALL",
        /// What helps to find a fault.
        Debug = "DEBUG",
        /// What happens.
        Info = "INFO",
        /// What may become a fault.
        Warn = "WARN",
        /// Faults.
        Error = "ERROR",
        /// Faults that end the program.
        Fatal = "FATAL",
        /// Nothing.
        Off = "OFF",
    }
}

words! {
    /// A call that an agent takes.
    RpcMethod: "ping, x_state, x_wait, x_start, x_suspend, x_stop, poweroff, expire or vnc_connect" {
        /// Whether the agent is there.
        Ping = "ping",
        /// The state of the session.
        State = "x_state",
        /// The next state of the session.
        Wait = "x_wait",
        /// Starts or resumes the session.
        Start = "x_start",
        /// Suspends it.
        Suspend = "x_suspend",
        /// Stops it.
        Stop = "x_stop",
        /// Switches the virtual machine off.
        Poweroff = "poweroff",
        /// Says that the disk image has expired.
        Expire = "expire",
        /// Shows the session to an administrator.
        Vnc = "vnc_connect",
    }
}

words! {
    /// How far apart the releases of nxagent and nxproxy may be.
    ToleranceChecks: "strict, safe, risky or bypass" {
        /// The same release.
        Strict = "strict",
        /// Releases known to work together.
        Safe = "safe",
        /// Releases that may work together; what the reference asks for.
        Risky = "risky",
        /// Any.
        Bypass = "bypass",
    }
}

words! {
    /// What draws the session on the user's display.
    NxEngine: "native or nxproxy" {
        /// The client itself.
        Native = "native",
        /// The installed nxproxy.
        Nxproxy = "nxproxy",
    }
}

words! {
    /// The colours of the client's window.
    Theme: "system, light or dark" {
        /// Those of the desktop.
        System = "system",
        /// Dark on light.
        Light = "light",
        /// Light on dark.
        Dark = "dark",
    }
}

words! {
    /// The program that mounts shared folders.
    ShareEngine: "qvd or sshfs" {
        /// The agent's own.
        Qvd = "qvd",
        /// The installed sshfs.
        Sshfs = "sshfs",
    }
}

/// The number of an X display that nxagent may have. The greatest keeps every
/// port that is derived from it (display + 11000) in range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Display(u16);

impl Display {
    const MAX: u16 = 65535 - 11000;

    /// The number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The port on which the broker connects to the session: display + 4000.
    #[must_use]
    pub const fn nx_port(self) -> u16 {
        self.0 + 4000
    }
}

impl fmt::Display for Display {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Value for Display {
    fn expected() -> Cow<'static, str> {
        format!("a display number from 0 to {}", Self::MAX).into()
    }

    fn parse(text: &str) -> Option<Self> {
        digits(text)?
            .parse()
            .ok()
            .filter(|number| *number <= Self::MAX)
            .map(Self)
    }
}

/// The kind of network between client and session, from which nxagent chooses
/// compression and caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Link {
    /// A telephone line.
    Modem,
    /// ISDN.
    Isdn,
    /// DSL.
    Adsl,
    /// A wide area network.
    Wan,
    /// A local network.
    Lan,
    /// The same machine.
    Local,
    /// A bandwidth, such as `56k` or `100m`.
    Bandwidth(Bandwidth),
}

/// A bandwidth of a link in bits a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bandwidth {
    amount: u16,
    mega: bool,
}

impl Bandwidth {
    /// Bits a second.
    #[must_use]
    pub fn bits_per_second(self) -> u64 {
        u64::from(self.amount) * if self.mega { 1_000_000 } else { 1_000 }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Modem => "modem",
            Self::Isdn => "isdn",
            Self::Adsl => "adsl",
            Self::Wan => "wan",
            Self::Lan => "lan",
            Self::Local => "local",
            Self::Bandwidth(Bandwidth { amount, mega }) => {
                return write!(f, "{amount}{}", if *mega { 'm' } else { 'k' });
            }
        })
    }
}

impl Value for Link {
    fn expected() -> Cow<'static, str> {
        "modem, isdn, adsl, wan, lan, local or a bandwidth such as 56k or 100m".into()
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        Some(match text.as_str() {
            "modem" => Self::Modem,
            "isdn" => Self::Isdn,
            "adsl" => Self::Adsl,
            "wan" => Self::Wan,
            "lan" => Self::Lan,
            "local" => Self::Local,
            text => {
                let mega = text.ends_with('m');
                let amount: u16 = digits(text.strip_suffix(['k', 'm'])?)?.parse().ok()?;
                Self::Bandwidth((amount > 0).then_some(Bandwidth { amount, mega })?)
            }
        })
    }
}

/// The size of a session's screen in pixels, `WIDTHxHEIGHT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// Pixels across.
    pub width: u16,
    /// Pixels down.
    pub height: u16,
}

impl fmt::Display for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl Value for Geometry {
    fn expected() -> Cow<'static, str> {
        "a size such as 1024x768".into()
    }

    /// X has no window wider or higher than 32767.
    fn parse(text: &str) -> Option<Self> {
        let (width, height) = text.split_once(['x', 'X'])?;
        let side = |text| {
            digits(text)?
                .parse()
                .ok()
                .filter(|side| (1..=32767).contains(side))
        };
        Some(Self {
            width: side(width)?,
            height: side(height)?,
        })
    }
}

/// A keyboard, `MODEL/LAYOUT`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Keyboard {
    model: String,
    layout: String,
}

impl Keyboard {
    /// The model, such as `pc105`.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The layout, such as `es`.
    #[must_use]
    pub fn layout(&self) -> &str {
        &self.layout
    }
}

impl fmt::Display for Keyboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.model, self.layout)
    }
}

impl Value for Keyboard {
    fn expected() -> Cow<'static, str> {
        "a keyboard model and layout such as pc105/es".into()
    }

    /// The characters of xkb's names, and none that ends an NX option.
    fn parse(text: &str) -> Option<Self> {
        let part = |text: &str| {
            let valid = !text.is_empty()
                && text.len() <= 64
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'(' | b')'));
            valid.then(|| text.to_owned())
        };
        let (model, layout) = text.split_once('/')?;
        Some(Self {
            model: part(model)?,
            layout: part(layout)?,
        })
    }
}

from_str!(Display, Link, Geometry, Keyboard);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_read_back_as_written() {
        for link in [
            "modem", "isdn", "adsl", "wan", "lan", "local", "56k", "1m", "100m",
        ] {
            assert_eq!(Link::parse(link).unwrap().to_string(), link);
        }
        assert_eq!(Link::parse("LAN"), Some(Link::Lan));
        let Some(Link::Bandwidth(bandwidth)) = Link::parse("56K") else {
            panic!()
        };
        assert_eq!(bandwidth.bits_per_second(), 56_000);
        for wrong in [
            "", "dsl", "k", "0k", "56", "1.5m", "-1m", "99999m", "lan,x=1", "1mk",
        ] {
            assert_eq!(Link::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn geometries() {
        assert_eq!(
            Geometry::parse("800x600"),
            Some(Geometry {
                width: 800,
                height: 600
            })
        );
        for wrong in [
            "",
            "800",
            "800x",
            "x600",
            "0x600",
            "800x40000",
            "800x600+0",
            "+8x6",
            "8x6x4",
        ] {
            assert_eq!(Geometry::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn keyboards() {
        assert_eq!(
            Keyboard::parse("pc105/us(intl)").unwrap().to_string(),
            "pc105/us(intl)"
        );
        for wrong in [
            "",
            "pc105",
            "pc105/",
            "/es",
            "pc105/es,us",
            "pc105/es:1",
            "a/b/c",
            "a/ñ",
        ] {
            assert_eq!(Keyboard::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn displays_leave_room_for_their_ports() {
        assert_eq!(Display::parse("100").unwrap().nx_port(), 4100);
        assert_eq!(Display::parse("54535").unwrap().number(), 54535);
        for wrong in ["", ":100", "54536", "-1", "1.0"] {
            assert_eq!(Display::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn words_in_any_case() {
        assert_eq!(LogLevel::parse("warn"), Some(LogLevel::Warn));
        assert_eq!(LogLevel::parse("WARNING"), None);
        assert_eq!(
            ToleranceChecks::parse("risky"),
            Some(ToleranceChecks::Risky)
        );
        assert_eq!(NxEngine::parse("native"), Some(NxEngine::Native));
        assert_eq!(NxEngine::parse("libxcomp"), None);
    }
}
