//! What the client says of itself and of the session it wants.

use std::path::Path;

use qvd_broker::{ClientParameters, ConnectParameters, SESSION_ID};
use qvd_config::ClientConfig;
use qvd_config::value::Keyboard;

use super::usage;
use crate::cli::arguments::Arguments;
use crate::cli::environment::Environment;
use crate::core::{Code, Failure};

/// The dots per inch that the user wants; an agent that does not know them
/// passes them on to hooks, as it does all parameters.
const DPI: &str = "qvd.client.dpi";

pub(super) fn parameters(
    arguments: &Arguments,
    config: &ClientConfig,
    environment: &Environment,
    session_id: &str,
) -> Result<ClientParameters, Failure> {
    let session = &config.session;
    let keyboard = match &arguments.keyboard {
        Some(text) => {
            let keyboard = text.parse::<Keyboard>();
            Some(
                keyboard
                    .map_err(|_| usage(format!("--keyboard {text} is not MODEL/LAYOUT")))?
                    .to_string(),
            )
        }
        None => None,
    };
    let mut more = ConnectParameters::new();
    // Of a name that clients may send, as the tests see.
    let _ = more.set(SESSION_ID, session_id);
    if let Some(dpi) = arguments.dpi {
        let _ = more.set(DPI, dpi.to_string());
    }
    Ok(ClientParameters {
        keyboard,
        link: Some(session.link.to_string()),
        geometry: session.geometry.map(|g| g.to_string()),
        fullscreen: session.fullscreen,
        nxagent_extra_args: Some(bare_options(&session.nxagent_args)),
        timezone: timezone(environment, Path::new("/etc")),
        more,
        ..ClientParameters::default()
    })
}

/// `nx/nx,cache=16384:0`, as the manual writes it, without what surrounds the
/// options.
fn bare_options(text: &str) -> String {
    let text = text.trim();
    let text = text.strip_prefix("nx/nx").unwrap_or(text);
    let text = match text.rsplit_once(':') {
        Some((options, display)) if display.bytes().all(|b| b.is_ascii_digit()) => options,
        _ => text,
    };
    text.trim_matches(',').to_owned()
}

/// A name for this run in the logs of client, broker and agent, that no other
/// has.
pub(super) fn new_id() -> Result<String, Failure> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|e| Failure::new(Code::Internal, "the system has no random numbers").because(e))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The user's time zone, in the form `Europe/Madrid`: of `TZ`, else the
/// machine's. What is no such name is passed over, as a rule of POSIX would be:
/// an agent may refuse it.
fn timezone(environment: &Environment, etc: &Path) -> Option<String> {
    let variable = environment.timezone.as_deref().map(|text| {
        let text = text.strip_prefix(':').unwrap_or(text);
        text.split_once("zoneinfo/").map_or(text, |(_, zone)| zone)
    });
    let file = || std::fs::read_to_string(etc.join("timezone")).ok();
    let link = || {
        let link = std::fs::read_link(etc.join("localtime")).ok()?;
        let (_, zone) = link.to_str()?.split_once("zoneinfo/")?;
        Some(zone.to_owned())
    };
    // The link counts for the C library, and the file for nobody but people.
    let all = [variable.map(str::to_owned), link(), file()];
    all.into_iter()
        .flatten()
        .map(|zone| zone.trim().to_owned())
        .find(|zone| is_zone(zone))
}

fn is_zone(zone: &str) -> bool {
    let good = |part: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_+-".contains(&b);
        part.starts_with(|c: char| c.is_ascii_uppercase()) && part.bytes().all(plain)
    };
    // "CET-1CEST" is a rule, "CET" and "Etc/GMT-1" are names.
    let is_rule = !zone.contains('/') && zone.contains(|c: char| c.is_ascii_digit());
    zone.len() <= 64 && !is_rule && zone.split('/').all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_options_lose_what_surrounds_them() {
        assert_eq!(
            bare_options("nx/nx,cache=16384,pack=0:0"),
            "cache=16384,pack=0"
        );
        assert_eq!(bare_options("cache=16384"), "cache=16384");
        assert_eq!(bare_options(""), "");
    }

    #[test]
    fn the_time_zone_is_the_users_then_the_machines() {
        let etc = tempfile::tempdir().unwrap();
        let zone = |variable: Option<&str>| {
            let environment = Environment {
                timezone: variable.map(str::to_owned),
                ..Environment::default()
            };
            timezone(&environment, etc.path())
        };
        assert_eq!(zone(None), None);
        assert_eq!(zone(Some("Asia/Tokyo")).as_deref(), Some("Asia/Tokyo"));
        std::fs::write(etc.path().join("timezone"), "Europe/Paris\n").unwrap();
        assert_eq!(zone(None).as_deref(), Some("Europe/Paris"));
        let target = "/usr/share/zoneinfo/Europe/Madrid";
        std::os::unix::fs::symlink(target, etc.path().join("localtime")).unwrap();
        assert_eq!(zone(None).as_deref(), Some("Europe/Madrid"));
        for (variable, expected) in [
            (":America/Argentina/Ushuaia", "America/Argentina/Ushuaia"),
            ("/usr/share/zoneinfo/UTC", "UTC"),
            ("Etc/GMT-1", "Etc/GMT-1"),
            ("CET-1CEST", "Europe/Madrid"),
            ("../../etc/passwd", "Europe/Madrid"),
            ("", "Europe/Madrid"),
        ] {
            assert_eq!(zone(Some(variable)).as_deref(), Some(expected));
        }
    }
}
