//! Every text of the pages is translated, and every translation is used.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use qvd_client::core::{Code, Fault};

fn own(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text up to the quotation mark that ends it, as it is written.
fn quoted(text: &str) -> &str {
    let mut escaped = false;
    let end = text.find(|c: char| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    &text[..end.expect("a text ends")]
}

/// What the pages hand to `@tr`.
fn used() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(own("ui")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "slint") {
            continue;
        }
        let page = fs::read_to_string(&path).unwrap();
        for part in page.split("@tr(").skip(1) {
            let text = part.strip_prefix('"');
            let text = text.unwrap_or_else(|| panic!("{}: {part:.40}", path.display()));
            found.insert(quoted(text).to_owned());
        }
    }
    found
}

/// The entries of a catalogue: text and translation. An entry that a
/// translator has marked as doubtful counts as none.
fn catalogue(language: &str) -> BTreeMap<String, String> {
    let file = format!("lang/{language}/LC_MESSAGES/qvd-client-window.po");
    let text = fs::read_to_string(own(&file)).unwrap();
    let mut all = BTreeMap::new();
    for entry in text.split("\n\n") {
        assert!(!entry.contains(", fuzzy"), "{file}: {entry}");
        let (mut id, mut translation, mut in_id) = (String::new(), String::new(), true);
        for line in entry.lines().filter(|line| !line.starts_with('#')) {
            let line = match line.strip_prefix("msgstr ") {
                Some(rest) => {
                    in_id = false;
                    rest
                }
                None => line.strip_prefix("msgid ").unwrap_or(line),
            };
            let part = quoted(
                line.strip_prefix('"')
                    .unwrap_or_else(|| panic!("{file}: {line}")),
            );
            if in_id { &mut id } else { &mut translation }.push_str(part);
        }
        if !id.is_empty() {
            assert!(all.insert(id.clone(), translation).is_none(), "{id} twice");
        }
    }
    all
}

/// Every language that is built into the program.
fn languages() -> Vec<String> {
    let entries = fs::read_dir(own("lang")).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn every_text_is_translated_and_every_translation_used() {
    let used = used();
    assert!(used.len() > 100, "only {} texts were found", used.len());
    assert!(languages().contains(&"es".to_owned()));
    for language in languages() {
        let catalogue = catalogue(&language);
        let there: BTreeSet<_> = catalogue.keys().cloned().collect();
        let missing: Vec<_> = used.difference(&there).collect();
        assert!(missing.is_empty(), "{language} lacks {missing:#?}");
        let unused: Vec<_> = there.difference(&used).collect();
        assert!(unused.is_empty(), "{language}: nobody uses {unused:#?}");
        for (text, translation) in &catalogue {
            assert!(!translation.trim().is_empty(), "{language}: {text:?}");
        }
    }
}

#[test]
fn what_is_filled_in_has_its_places_in_the_translation() {
    for language in languages() {
        for (text, translation) in catalogue(&language) {
            let places = |text: &str| text.matches("{}").count();
            assert_eq!(places(&text), places(&translation), "{language}: {text:?}");
        }
    }
}

#[test]
fn no_text_of_a_page_is_written_past_the_catalogue() {
    // Names of languages, standards and examples are the same everywhere.
    let same = ["English", "Español", "SHA-256", "QVD", "qvd.example.org"];
    for entry in fs::read_dir(own("ui")).unwrap() {
        let path = entry.unwrap().path();
        let Some("slint") = path.extension().and_then(|ending| ending.to_str()) else {
            continue;
        };
        for (number, line) in (1..).zip(fs::read_to_string(&path).unwrap().lines()) {
            for name in ["text:", "placeholder-text:", "accessible-label:", "name:"] {
                let line = line.trim();
                let Some(at) = line.find(name) else { continue };
                let value = line[at + name.len()..].trim_start();
                if let Some(text) = value.strip_prefix('"') {
                    let text = quoted(text);
                    let fine = same.contains(&text) || !text.contains(char::is_alphabetic);
                    let place = format!("{}:{number}", path.display());
                    assert!(fine || text.starts_with("qvd-client "), "{place}: {text:?}");
                }
            }
        }
    }
}

#[test]
fn whatever_the_core_tells_has_words() {
    let words = fs::read_to_string(own("ui/words.slint")).unwrap();
    // Of which nothing better is to be said than the last line of each.
    let rest = ["internal", "other"];
    let codes = Code::ALL.iter().map(|code| code.as_str());
    let faults = Fault::ALL.iter().map(|fault| fault.as_str());
    for word in codes.chain(faults).filter(|word| !rest.contains(word)) {
        assert!(words.contains(&format!("== \"{word}\"")), "{word}");
    }
}
