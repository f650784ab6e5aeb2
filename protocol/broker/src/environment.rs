use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use qvd_http1::Headers;
use secrecy::{ExposeSecret, SecretString};

use crate::Error;

/// Longest name of a shared variable, in bytes.
const MAX_NAME: usize = 256;

/// Writes variables of the user's environment that are shared with the broker
/// (`client.auth_env_share`): `Auth-<hex of the name>: base64(value)`.
pub fn write_environment<'a>(
    headers: &mut Headers,
    variables: impl IntoIterator<Item = (&'a str, &'a SecretString)>,
) {
    for (name, value) in variables {
        let hex: String = name.bytes().map(|b| format!("{b:02x}")).collect();
        headers.push(
            format!("Auth-{hex}"),
            STANDARD.encode(value.expose_secret()),
        );
    }
}

/// Reads the shared variables of a request.
///
/// # Errors
/// [`Error::Authorization`] when a name is not hex or a value not base64, or
/// one of them not UTF-8.
pub fn read_environment(headers: &Headers) -> Result<Vec<(String, SecretString)>, Error> {
    let mut variables = Vec::new();
    for (name, value) in headers.iter() {
        let Some(hex) = strip_prefix_any_case(name, "Auth-") else {
            continue;
        };
        let name = decode_hex(hex).and_then(|bytes| String::from_utf8(bytes).ok());
        let value: Vec<u8> = value
            .iter()
            .copied()
            .filter(|b| !b.is_ascii_whitespace())
            .collect();
        let value = STANDARD
            .decode(value)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        match (name, value) {
            (Some(name), Some(value)) => variables.push((name, value.into())),
            _ => return Err(Error::Authorization),
        }
    }
    Ok(variables)
}

fn strip_prefix_any_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn decode_hex(hex: &str) -> Option<Vec<u8>> {
    if hex.is_empty() || hex.len() > 2 * MAX_NAME || !hex.len().is_multiple_of(2) {
        return None;
    }
    let digits = hex
        .chars()
        .map(|c| c.to_digit(16))
        .collect::<Option<Vec<u32>>>()?;
    digits
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(high * 16 + low).ok(),
            _ => None,
        })
        .collect()
}
