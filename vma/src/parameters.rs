//! What a start asks for, out of the untrusted parameters of `x_start`.
//!
//! Each value that goes into nxagent's option string is checked against a
//! grammar without `,`, `=`, `:` and `/` beyond what the option needs, so that
//! no value can become a second option.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;

use qvd_rpc::Parameters;

use crate::control::{Hidden, Seat};
use crate::hooks::arguments::Properties;
use crate::provision::Account;

/// nxagent refuses longer options files (seen).
const MAX_OPTIONS: usize = 1024;

/// Widest and highest geometry taken, in pixels.
const MAX_PIXELS: u32 = 16384;

/// nxagent's port for sound, less the number of the display (seen).
pub const AUDIO_PORTS: u16 = 7000;

/// nxagent's port for printing, less the number of the display (seen).
pub const PRINTING_PORTS: u16 = 2000;

/// NX options a client may set with `qvd.client.nxagent.extra_args`.
const EXTRA_OPTIONS: [&str; 9] = [
    "backingstore",
    "cache",
    "composite",
    "data",
    "delta",
    "images",
    "limit",
    "pack",
    "stream",
];

/// A start as it was asked for, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSpec {
    /// Login name of the user.
    pub user: String,
    /// Options for nxagent, `key=value`.
    options: Vec<(&'static str, String)>,
    /// The session's name in logs, from the client to the hooks, if the client
    /// gave one.
    pub session: Option<String>,
    /// The client's time zone, a name below `/usr/share/zoneinfo`.
    pub timezone: Option<String>,
    /// The client's keyboard in full and its screen's density.
    pub seat: Seat,
    /// What the client shows on the slave channel.
    pub slave_key: Option<Hidden>,
    /// Whether the client speaks the carrier.
    pub carrier: bool,
    /// The account that the session needs.
    pub account: Account,
    /// All that was asked for, as hooks are told.
    pub properties: Properties,
}

/// What a start falls back on where a parameter is missing.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// `vma.default.client.keyboard`.
    pub keyboard: String,
    /// `vma.default.client.link`.
    pub link: String,
    /// `internal.vma.nxagent.tolerancechecks`.
    pub tolerancechecks: String,
    /// `vma.audio.enable`.
    pub audio: bool,
    /// `vma.printing.enable`.
    pub printing: bool,
    /// `vma.slave.enable`, and there is a `vma.slave.command`.
    pub slave: bool,
    /// `internal.nxagent.display`.
    pub display: u16,
}

impl SessionSpec {
    /// Reads the parameters of a start.
    ///
    /// # Errors
    /// One sentence that names the parameter that is not acceptable.
    pub fn from_parameters(
        parameters: &Parameters,
        account: Account,
        defaults: &Defaults,
    ) -> Result<Self, String> {
        let client = |key: &str| parameters.value(&format!("qvd.client.{key}"));
        let mut options = Vec::new();
        let mut option =
            |key, value: Option<&str>, name: &str, form: &str, check: fn(&str) -> bool| match value
            {
                None => Ok(()),
                Some(value) if check(value) => {
                    options.push((key, value.to_owned()));
                    Ok(())
                }
                Some(_) => Err(refused(&format!("qvd.client.{name}"), form)),
            };
        option(
            "client",
            client("os").or(Some("linux")),
            "os",
            "linux, windows or darwin",
            is_os,
        )?;
        option(
            "geometry",
            client("geometry"),
            "geometry",
            "WIDTHxHEIGHT",
            is_geometry,
        )?;
        let keyboard = client("keyboard").unwrap_or(&defaults.keyboard);
        let keyboard = existing(keyboard);
        option(
            "keyboard",
            Some(&keyboard),
            "keyboard",
            "MODEL/LAYOUT",
            is_keyboard,
        )?;
        let link = client("link").unwrap_or(&defaults.link);
        let link_form = "modem, isdn, adsl, wan, lan, local or a bandwidth such as 1m";
        option("link", Some(link), "link", link_form, is_link)?;
        let fullscreen = client("fullscreen").filter(|v| *v != "0");
        option("fullscreen", fullscreen, "fullscreen", "1 or empty", |v| {
            v == "1"
        })?;
        option(
            "tolerancechecks",
            Some(&defaults.tolerancechecks),
            "",
            "",
            is_word,
        )?;
        if defaults.audio {
            options.push(("media", "1".to_owned()));
        }
        if defaults.printing && client("printing.enabled") != Some("0") {
            // Windows prints over SMB; everybody else has CUPS.
            let flavor = match (client("printing.flavor"), client("os")) {
                (Some("smb" | "windows"), _) | (None, Some("windows")) => "smb",
                _ => "cups",
            };
            let port = defaults.display.saturating_add(PRINTING_PORTS);
            options.push((flavor, port.to_string()));
        }
        if let Some(extra) = client("nxagent.extra_args") {
            options.extend(extra_options(extra)?);
        }
        let named = |key: &str, form: &str, check: fn(&str) -> bool| match client(key) {
            Some(value) if !check(value) => Err(refused(&format!("qvd.client.{key}"), form)),
            value => Ok(value.map(str::to_owned)),
        };
        let session_form = "8 to 64 letters, digits and -";
        let session = named("session-id", session_form, is_session_id)?;
        let timezone = named("timezone", "the name of a time zone", is_timezone)?;
        let slave_key = match parameters.value("qvd.slave.key") {
            Some(key) if !is_slave_key(key) => {
                return Err(refused("qvd.slave.key", "8 to 128 letters and digits"));
            }
            key => key.map(|key| Hidden::from(key.to_owned())),
        };
        if defaults.slave && slave_key.is_some() {
            options.push(("slave", "1".to_owned()));
        }
        // A secret, of a session that is no more.
        let told = parameters
            .iter()
            .filter(|(key, _)| *key != qvd_carrier::RESUME);
        let mut properties = Properties::new(told);
        properties.fill("qvd.vm.user.name", &account.name);
        properties.fill("qvd.vm.user.groups", account.groups.join(","));
        properties.fill("qvd.vm.user.home", account.home.display().to_string());
        Ok(Self {
            user: account.name.clone(),
            account,
            options,
            session,
            timezone,
            seat: seat(parameters),
            slave_key,
            carrier: qvd_carrier::announced(parameters.value(qvd_carrier::CARRIER)),
            properties,
        })
    }

    /// The line of nxagent's options file, for this display and a socket on
    /// which nxagent listens.
    ///
    /// # Errors
    /// When the line is longer than nxagent takes.
    pub fn options_line(&self, socket: &Path, display: u16) -> Result<String, String> {
        let mut line = "nx/nx".to_owned();
        for (key, value) in &self.options {
            // Writing to a String cannot fail.
            let _ = match *key {
                // The session's own port is the session process's.
                "slave" => write!(line, ",slave={}", crate::session::nx_slave_port(display)),
                _ => write!(line, ",{key}={value}"),
            };
        }
        let _ = write!(line, ",listen=unix:{}:{display}", socket.display());
        if line.len() >= MAX_OPTIONS {
            return Err(format!(
                "options for nxagent are longer than {MAX_OPTIONS} bytes"
            ));
        }
        Ok(line)
    }
}

/// Longest description of a part of the keyboard, in bytes.
const MAX_KEYBOARD: usize = 128;

/// Densities of screens that exist, in dots per inch.
const DENSITIES: std::ops::RangeInclusive<u16> = 48..=600;

/// What our client says beyond the reference's parameters. What is not
/// understood is passed over: nobody is to lose his session for his keyboard.
fn seat(parameters: &Parameters) -> Seat {
    let said = |name: &str, check: fn(&str) -> bool| {
        let name = format!("qvd.client.{name}");
        let value = parameters.value(&name).filter(|value| !value.is_empty())?;
        if !check(value) {
            tracing::warn!(parameter = name, "is passed over, it has an unknown form");
            return None;
        }
        Some(value)
    };
    let mut keyboard = Vec::new();
    if let Some(layout) = said("xkb.layout", is_xkb) {
        for (option, part) in [
            ("-rules", "xkb.rules"),
            ("-model", "xkb.model"),
            ("-variant", "xkb.variant"),
        ] {
            let value = said(part, is_xkb).map(str::to_owned);
            keyboard.extend(
                value
                    .into_iter()
                    .flat_map(|value| [option.to_owned(), value]),
            );
        }
        keyboard.extend(["-layout".to_owned(), layout.to_owned()]);
        // Those of the client before are not to stay.
        keyboard.extend(["-option".to_owned(), String::new()]);
        if let Some(options) = said("xkb.options", is_xkb) {
            keyboard.extend(["-option".to_owned(), options.to_owned()]);
        }
    }
    let dpi = said("dpi", |text| {
        text.bytes().all(|b| b.is_ascii_digit())
            && text.parse().is_ok_and(|dpi| DENSITIES.contains(&dpi))
    });
    Seat {
        keyboard,
        dpi: dpi.and_then(|dpi| dpi.parse().ok()),
    }
}

/// A part of a keyboard's description as setxkbmap takes it. It never begins
/// like an option, and `/` would lead to other files.
fn is_xkb(text: &str) -> bool {
    text.len() <= MAX_KEYBOARD
        && !text.starts_with('-')
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-+:,.()".contains(&b))
}

fn refused(parameter: &str, form: &str) -> String {
    format!("parameter {parameter} is not {form}")
}

fn extra_options(text: &str) -> Result<Vec<(&'static str, String)>, String> {
    let parameter = "qvd.client.nxagent.extra_args";
    let mut options = Vec::new();
    for pair in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (key, value) = pair
            .split_once('=')
            .filter(|(_, value)| is_word(value))
            .ok_or_else(|| refused(parameter, "a list of KEY=VALUE"))?;
        let key = EXTRA_OPTIONS
            .into_iter()
            .find(|known| *known == key)
            .ok_or_else(|| {
                format!(
                    "parameter {parameter} may set {} only",
                    EXTRA_OPTIONS.join(", ")
                )
            })?;
        options.push((key, value.to_owned()));
    }
    Ok(options)
}

/// A login name as useradd takes it, wide enough for a directory service's
/// (`ann@example.org`, `EXAMPLE\ann` is not: no backslash).
pub(crate) fn is_login(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 64
        && bytes
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"_.-@$".contains(&b))
}

fn is_os(text: &str) -> bool {
    matches!(text, "linux" | "windows" | "darwin")
}

fn is_geometry(text: &str) -> bool {
    let pixels = |part: &str| {
        part.bytes().all(|b| b.is_ascii_digit())
            && part
                .parse()
                .is_ok_and(|n: u32| (1..=MAX_PIXELS).contains(&n))
    };
    text.split_once('x')
        .is_some_and(|(width, height)| pixels(width) && pixels(height))
}

/// `model/layout` of XKB, each perhaps with a variant in brackets.
fn is_keyboard(text: &str) -> bool {
    let part = |part: &str| {
        (1..=64).contains(&part.len())
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-+.()".contains(&b))
    };
    text.split_once('/')
        .is_some_and(|(model, layout)| part(model) && part(layout))
}

/// The reference's default is a layout `en`, which XKB does not have: nxagent
/// then has a keymap without layouts. What is meant is `us`.
fn existing(keyboard: &str) -> Cow<'_, str> {
    match keyboard.strip_suffix("/en") {
        Some(model) => format!("{model}/us").into(),
        None => keyboard.into(),
    }
}

/// A link's name, or bits per second with a unit.
fn is_link(text: &str) -> bool {
    if matches!(text, "modem" | "isdn" | "adsl" | "wan" | "lan" | "local") {
        return true;
    }
    let digits = text.trim_end_matches(['k', 'm', 'g']);
    (text.len() - digits.len() <= 1)
        && (1..=6).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
}

/// A session's name in logs.
fn is_session_id(text: &str) -> bool {
    (8..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The reference's are 64 letters and digits.
fn is_slave_key(text: &str) -> bool {
    (8..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// `Europe/Madrid`, `Etc/GMT+1`. Of a zone in words of its own, `CET-1CEST`, the
/// rules could be anything; nothing in it leaves the folder of zones.
fn is_timezone(text: &str) -> bool {
    text.len() <= 64
        && text.split('/').all(|part| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_+-".contains(&b))
        })
}

fn is_word(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests;
