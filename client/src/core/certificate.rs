//! What a certificate says of itself, for a person who has to decide whether
//! it is the broker's. Nothing here is checked, and nothing is decided on it.

use std::fmt::Write as _;

/// Longest name shown, in characters.
const MAX_NAME: usize = 100;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version, `[0]`, which X.509 version 1 leaves out.
const VERSION: u8 = 0xa0;

/// Object ids of the parts of a name that people know, 2.5.4.3, .10 and .11.
const NAMES: &[(&[u8], &str)] = &[
    (&[0x55, 0x04, 0x03], "CN"),
    (&[0x55, 0x04, 0x0a], "O"),
    (&[0x55, 0x04, 0x0b], "OU"),
];

/// A certificate in one line: `CN=broker, issued by CN=our CA, valid
/// 2026-01-01 to 2027-01-01`. `None` when it cannot be read.
pub(super) fn summary(der: &[u8]) -> Option<String> {
    let (SEQUENCE, certificate, _) = element(der)? else {
        return None;
    };
    let (SEQUENCE, fields, _) = element(certificate)? else {
        return None;
    };
    let mut rest = fields;
    if let (VERSION, _, after) = element(rest)? {
        rest = after;
    }
    // Serial number and signature algorithm.
    for _ in 0..2 {
        rest = element(rest)?.2;
    }
    let (SEQUENCE, issuer, rest) = element(rest)? else {
        return None;
    };
    let (SEQUENCE, validity, rest) = element(rest)? else {
        return None;
    };
    let (SEQUENCE, subject, _) = element(rest)? else {
        return None;
    };
    let (from_kind, from, after) = element(validity)?;
    let (until_kind, until, _) = element(after)?;
    Some(format!(
        "{}, issued by {}, valid {} to {}",
        name(subject),
        name(issuer),
        date(from_kind, from)?,
        date(until_kind, until)?,
    ))
}

/// The first DER element: tag, content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        // More than four bytes of length have no place in a handshake.
        let count = usize::from(first & 0x7f);
        let (digits, rest) = rest.split_at_checked(count)?;
        if !(1..=4).contains(&count) {
            return None;
        }
        let length = digits
            .iter()
            .fold(0, |length, digit| length << 8 | usize::from(*digit));
        (length, rest)
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

/// A distinguished name: the parts people know.
fn name(mut parts: &[u8]) -> String {
    let mut text = String::new();
    while let Some((SET, part, rest)) = element(parts) {
        parts = rest;
        if let Some((key, value)) = attribute(part) {
            let comma = if text.is_empty() { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(text, "{comma}{key}={value}");
        }
    }
    if text.is_empty() {
        "no name".to_owned()
    } else {
        text
    }
}

fn attribute(part: &[u8]) -> Option<(&'static str, String)> {
    let (SEQUENCE, pair, _) = element(part)? else {
        return None;
    };
    let (OBJECT_ID, id, rest) = element(pair)? else {
        return None;
    };
    let (_, value, _) = element(rest)?;
    let (_, key) = NAMES.iter().find(|(known, _)| *known == id)?;
    let value = qvd_broker::one_line(&String::from_utf8_lossy(value));
    Some((key, value.chars().take(MAX_NAME).collect()))
}

/// `YYMMDD…` or `YYYYMMDD…` as `YYYY-MM-DD`.
fn date(kind: u8, digits: &[u8]) -> Option<String> {
    let digits = std::str::from_utf8(digits).ok()?;
    let (year, rest) = match kind {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let century = if year < "50" { "20" } else { "19" };
            (format!("{century}{year}"), rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (year.to_owned(), rest)
        }
        _ => return None,
    };
    let (month, rest) = rest.split_at_checked(2)?;
    let (day, _) = rest.split_at_checked(2)?;
    let date = format!("{year}-{month}-{day}");
    let plain = |b: u8| b.is_ascii_digit() || b == b'-';
    date.bytes().all(plain).then_some(date)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(name: &str) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["broker.test".into()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "ES");
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Desks");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2026, 1, 2);
        params.not_after = date_time_ymd(2052, 3, 4);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn names_and_dates_are_read() {
        assert_eq!(
            summary(&certificate("broker")).unwrap(),
            "O=Desks, CN=broker, issued by O=Desks, CN=broker, valid 2026-01-02 to 2052-03-04"
        );
    }

    #[test]
    fn a_name_cannot_steer_the_terminal_or_flood_it() {
        let text = summary(&certificate(&format!("a\u{1b}[2J{}", "x".repeat(500)))).unwrap();
        assert!(!text.contains('\u{1b}'));
        assert!(text.len() < 4 * MAX_NAME, "{text}");
    }

    #[test]
    fn what_is_cut_off_is_not_read() {
        let whole = certificate("broker");
        for length in 0..whole.len() {
            assert_eq!(summary(&whole[..length]), None, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(
            at in 0usize..400,
            bytes in proptest::collection::vec(any::<u8>(), 0..8),
            noise in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut damaged = certificate("broker");
            for (place, byte) in damaged.iter_mut().skip(at).zip(bytes) {
                *place = byte;
            }
            let _ = summary(&damaged);
            let _ = summary(&noise);
        }
    }
}
