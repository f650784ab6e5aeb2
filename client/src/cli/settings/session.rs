//! What the client says of itself and of the session it wants.

use qvd_broker::{ClientParameters, ConnectParameters, SESSION_ID};
use qvd_config::ClientConfig;
use qvd_config::value::Keyboard;

use super::usage;
use crate::cli::arguments::Arguments;
use crate::core::{Code, Failure};

pub(super) fn parameters(
    arguments: &Arguments,
    config: &ClientConfig,
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
    Ok(ClientParameters {
        keyboard,
        link: Some(session.link.to_string()),
        geometry: session.geometry.map(|g| g.to_string()),
        fullscreen: session.fullscreen,
        nxagent_extra_args: Some(bare_options(&session.nxagent_args)),
        timezone: timezone(),
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

/// The machine's time zone, in the form `Europe/Madrid`.
fn timezone() -> Option<String> {
    let link = std::fs::read_link("/etc/localtime").ok()?;
    let (_, zone) = link.to_str()?.split_once("zoneinfo/")?;
    Some(zone.to_owned())
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
}
