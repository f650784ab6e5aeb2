//! Query strings: `key=value&…`, percent-encoded, `+` for a space.

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

use crate::Error;

/// All but the unreserved characters, as the reference encodes.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Reads a query string. Empty values are kept, empty pairs (`a=1&&b=2`) are
/// not. Of a key given twice the last value holds, as in the reference.
///
/// # Errors
/// [`Error::Query`] for a `%` without two hex digits, a control character
/// other than a line end or tab, or what is not UTF-8.
pub fn parse(query: &[u8]) -> Result<BTreeMap<String, String>, Error> {
    let mut pairs = BTreeMap::new();
    for pair in query.split(|b| *b == b'&').filter(|p| !p.is_empty()) {
        let mut halves = pair.splitn(2, |b| *b == b'=');
        let key = decode(halves.next().unwrap_or_default())?;
        let value = decode(halves.next().unwrap_or_default())?;
        pairs.insert(key, value);
    }
    Ok(pairs)
}

/// Writes pairs as a query string, in the order given.
pub fn write<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    for (key, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        out.extend(utf8_percent_encode(key, RESERVED));
        out.push('=');
        out.extend(utf8_percent_encode(value, RESERVED));
    }
    out
}

fn decode(part: &[u8]) -> Result<String, Error> {
    let mut rest = part;
    while let Some(at) = memchr::memchr(b'%', rest) {
        match rest.get(at + 1..at + 3) {
            Some(hex) if hex.iter().all(u8::is_ascii_hexdigit) => {}
            _ => return Err(Error::Query),
        }
        rest = rest.get(at + 3..).unwrap_or_default();
    }
    let spaced: Cow<'_, [u8]> = if part.contains(&b'+') {
        part.iter()
            .map(|b| if *b == b'+' { b' ' } else { *b })
            .collect::<Vec<_>>()
            .into()
    } else {
        part.into()
    };
    let text = percent_decode(&spaced)
        .decode_utf8()
        .map_err(|_| Error::Query)?;
    if text
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
    {
        return Err(Error::Query);
    }
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plus_percent_and_empty_values() {
        let pairs = parse(b"a=1+2&b=&c&d=pc105%2Fes&&a=3").unwrap();
        let expected = [("a", "3"), ("b", ""), ("c", ""), ("d", "pc105/es")];
        let expected: BTreeMap<_, _> = expected
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        assert_eq!(pairs, expected);
    }

    #[test]
    fn broken_sequences_are_refused() {
        for bad in [
            &b"a=%"[..],
            b"a=%2",
            b"a=%zz",
            b"%f=1",
            b"a=%ff",
            b"a=%00",
            b"a=\xff",
        ] {
            assert_eq!(parse(bad), Err(Error::Query), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(pairs in proptest::collection::btree_map(
            "[^\\p{C}]{1,12}", "[^\\p{C}]{0,20}", 0..8))
        {
            let text = write(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())));
            prop_assert_eq!(parse(text.as_bytes()).unwrap(), pairs);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&bytes);
        }
    }
}
