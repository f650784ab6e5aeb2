//! nxproxy's options as they stand on a command line, in `DISPLAY` and in
//! files: lists of `key=value` with a number behind them.

use std::io::Read as _;
use std::path::Path;

/// Most bytes read of a file of options; X2Go's have some hundred.
const MAX_FILE: u64 = 64 << 10;

/// Files of options may name further ones so often.
const MAX_FILES: usize = 4;

/// What marks a list of options where a display could stand.
const MARK: &str = "nx/nx";

/// One list of options.
#[derive(Default, PartialEq, Eq)]
// One of the pairs may be a cookie.
#[cfg_attr(test, derive(Debug))]
pub(super) struct Words {
    /// In the order in which they were given; a later one wins.
    pub(super) pairs: Vec<(String, String)>,
    /// The number behind the list.
    pub(super) number: Option<u16>,
    /// The host in front of the number, of `host:number`.
    pub(super) host: Option<String>,
}

impl Words {
    /// Takes a word of the command line: `nx/nx,key=value,…:number`,
    /// `key=value,…:number` or `host:number`.
    ///
    /// # Errors
    /// A sentence that says what is none of these, or which file of options
    /// cannot be read.
    pub(super) fn take(&mut self, word: &str) -> Result<(), String> {
        self.take_list(word, 0)
    }

    /// Takes `DISPLAY` where it holds options; whether it does.
    ///
    /// # Errors
    /// As of [`Words::take`].
    pub(super) fn take_display(&mut self, value: &str) -> Result<bool, String> {
        let is_list = value == MARK || value.starts_with("nx/nx,") || value.starts_with("nx/nx:");
        if is_list {
            self.take_list(value, 0)?;
        }
        Ok(is_list)
    }

    fn take_list(&mut self, word: &str, depth: usize) -> Result<(), String> {
        let marked = word.strip_prefix(MARK);
        let marked = marked.filter(|rest| rest.is_empty() || rest.starts_with([',', ':']));
        let Some(list) = marked.or_else(|| word.contains('=').then_some(word)) else {
            return self.take_host(word);
        };
        let (list, number) = split_number(list);
        self.number = number.or(self.number);
        for part in list.split(',').filter(|part| !part.is_empty()) {
            let Some((key, value)) = part.split_once('=') else {
                return Err(match part.strip_prefix(':') {
                    // What stands beside it may be a cookie.
                    Some(number) => format!("'{number}' is no number behind a list of options"),
                    None => format!("option '{part}' has no value"),
                });
            };
            if value.is_empty() {
                return Err(format!("option '{key}' has no value"));
            }
            if key == "options" {
                if depth >= MAX_FILES {
                    return Err(format!("options file '{value}' is one of too many"));
                }
                let text = read(Path::new(value))
                    .map_err(|error| format!("options file '{value}' cannot be read: {error}"))?;
                let taken = self.take_list(text.trim(), depth + 1);
                taken.map_err(|error| format!("options file '{value}': {error}"))?;
                // What stands behind the list that named the file wins.
                self.number = number.or(self.number);
                continue;
            }
            self.pairs.push((key.to_owned(), value.to_owned()));
        }
        Ok(())
    }

    fn take_host(&mut self, word: &str) -> Result<(), String> {
        let (host, number) = match word.rsplit_once(':') {
            Some((host, number)) => (host, Some(number)),
            None => (word, None),
        };
        if let Some(number) = number {
            let parsed = number.parse::<u16>();
            self.number = Some(parsed.map_err(|_| format!("'{number}' is no port of '{word}'"))?);
        }
        if word.is_empty() {
            return Err("there are no options".to_owned());
        }
        if host.is_empty() {
            return Err(format!("'{word}' names no host"));
        }
        self.host = Some(host.to_owned());
        Ok(())
    }
}

/// The number behind a list, apart from it. A value may have colons of its own:
/// `media=tcp:4713` has no number behind it, `media=tcp:4713:40` has.
fn split_number(list: &str) -> (&str, Option<u16>) {
    let Some((front, last)) = list.rsplit_once(':') else {
        return (list, None);
    };
    let Ok(number) = last.parse::<u16>() else {
        return (list, None);
    };
    let option = front.rsplit(',').next().unwrap_or_default();
    let (key, value) = option.split_once('=').unwrap_or(("", option));
    let is_value = match value.strip_prefix("tcp") {
        _ if key == "display" => !value.contains(':'),
        // tcp:port, or tcp:host:port
        Some("") => true,
        Some(place) => {
            let place = place.strip_prefix(':');
            place.is_some_and(|p| !p.contains(':') && p.parse::<u16>().is_err())
        }
        None => false,
    };
    match is_value {
        true => (list, None),
        false => (front, Some(number)),
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    let read = file.take(MAX_FILE + 1).read_to_string(&mut text)?;
    match u64::try_from(read) {
        Ok(length) if length <= MAX_FILE => Ok(text),
        _ => Err(std::io::ErrorKind::FileTooLarge.into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(words: &[&str]) -> Result<Words, String> {
        let mut all = Words::default();
        for word in words {
            all.take(word)?;
        }
        Ok(all)
    }

    fn pairs(words: &Words) -> Vec<String> {
        let pairs = words.pairs.iter();
        pairs.map(|(key, value)| format!("{key}={value}")).collect()
    }

    #[test]
    fn the_forms_of_other_programs_are_read() {
        let words = taken(&["media=4713", "cups=1", "localhost:40"]).unwrap();
        assert_eq!(pairs(&words), ["media=4713", "cups=1"]);
        assert_eq!(
            (words.host.as_deref(), words.number),
            (Some("localhost"), Some(40))
        );

        let words = taken(&["nx/nx,connect=localhost,port=4272,retry=2:272"]).unwrap();
        assert_eq!(pairs(&words), ["connect=localhost", "port=4272", "retry=2"]);
        assert_eq!((words.host, words.number), (None, Some(272)));

        let words = taken(&["nx/nx,listen=unix:/run/a.sock:7", "slave=tcp:localhost:9"]).unwrap();
        assert_eq!(
            pairs(&words),
            ["listen=unix:/run/a.sock", "slave=tcp:localhost:9"]
        );
        assert_eq!(words.number, Some(7));

        for (word, pair, number) in [
            ("media=tcp:4713", "media=tcp:4713", None),
            ("media=tcp:4713:40", "media=tcp:4713", Some(40)),
            ("media=tcp:host:4713", "media=tcp:host:4713", None),
            ("media=tcp:host:4713:40", "media=tcp:host:4713", Some(40)),
            ("media=4713:40", "media=4713", Some(40)),
            ("display=:1", "display=:1", None),
            ("display=:1:40", "display=:1", Some(40)),
            ("display=host:1", "display=host:1", None),
        ] {
            let words = taken(&[word]).unwrap();
            assert_eq!(
                (pairs(&words), words.number),
                (vec![pair.to_owned()], number),
                "{word}"
            );
        }
    }

    #[test]
    fn a_file_of_options_is_read_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("options");
        std::fs::write(&file, "nx/nx,root=/r,connect=localhost,port=30001:50\n").unwrap();
        let word = format!("nx/nx,link=lan,options={},retry=3:51", file.display());
        let words = taken(&[&word]).unwrap();
        assert_eq!(
            pairs(&words),
            [
                "link=lan",
                "root=/r",
                "connect=localhost",
                "port=30001",
                "retry=3"
            ]
        );
        assert_eq!(words.number, Some(51));

        std::fs::write(&file, format!("nx/nx,options={}:1", file.display())).unwrap();
        let error = taken(&[&word]).unwrap_err();
        assert!(error.contains("too many"), "{error}");
        std::fs::write(&file, "\n").unwrap();
        let error = taken(&[&word]).unwrap_err();
        let words = format!("options file '{}': there are no options", file.display());
        assert_eq!(error, words);
        let error = taken(&["nx/nx,options=/nowhere/at/all:1"]).unwrap_err();
        assert!(error.contains("/nowhere/at/all"), "{error}");
    }

    #[test]
    fn what_is_none_of_them_is_named() {
        for (word, part) in [
            ("localhost:x", "'x'"),
            (":40", "':40'"),
            ("nx/nx,retry=:40", "'retry'"),
            ("nx/nx,retry:40", "'retry'"),
            ("a=b,c", "'c'"),
            ("nx/nx:", "'' is no number behind"),
            ("nx/nx:x", "'x' is no number behind"),
        ] {
            let error = taken(&[word]).unwrap_err();
            assert!(error.contains(part), "{word}: {error}");
        }
    }

    #[test]
    fn a_display_is_told_from_options() {
        let mut words = Words::default();
        for display in [":0", "unix:0", "host:1.0", "nx/nxfoo:1"] {
            assert_eq!(words.take_display(display), Ok(false), "{display}");
        }
        assert_eq!(words, Words::default());
        assert_eq!(words.take_display("nx/nx,retry=1:5"), Ok(true));
        assert_eq!(words.number, Some(5));
    }

    proptest! {
        #[test]
        fn any_word_is_read_or_refused(word in "(nx/nx)?[a-z0-9,:=/]{0,40}") {
            let mut words = Words::default();
            // Files are not the subject.
            prop_assume!(!word.contains("options="));
            if words.take(&word).is_ok() {
                prop_assert!(words.pairs.iter().all(|(_, value)| !value.contains(',')));
            }
        }
    }
}
