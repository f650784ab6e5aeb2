//! What the client says of itself and of the session it wants.

use qvd_broker::ClientParameters;
use qvd_config::ClientConfig;
use qvd_config::value::Keyboard;

use super::usage;
use crate::cli::arguments::Arguments;
use crate::core::Failure;

pub(super) fn parameters(
    arguments: &Arguments,
    config: &ClientConfig,
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
    Ok(ClientParameters {
        keyboard,
        link: Some(session.link.to_string()),
        geometry: session.geometry.map(|g| g.to_string()),
        fullscreen: session.fullscreen,
        nxagent_extra_args: Some(bare_options(&session.nxagent_args)),
        timezone: timezone(),
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
