//! What holds for every file.

use proptest::prelude::*;
use qvd_config::{ClientConfig, Document, Program, Properties, ServerConfig, VmaConfig};

/// Text made of what the grammar treats specially, and some that it does not.
fn noise() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => Just("\\"), 2 => Just("\n"), 1 => Just("\r\n"), 1 => Just("\r"), 2 => Just(" "),
        1 => Just("\t"), 2 => Just("="), 1 => Just(":"), 1 => Just("#"), 1 => Just("!"),
        1 => Just("${"), 1 => Just("}"), 1 => Just("$"), 1 => Just("\\u0041"), 1 => Just("\\u"),
        1 => Just("\u{feff}"), 1 => Just("é"), 1 => Just("\0"), 3 => Just("a"), 2 => Just("b"),
        1 => Just("path.run"), 1 => Just("log.level"),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// Files that can be read, in every way of writing an entry.
fn file() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "a",
        "b",
        "path.run",
        "log.level",
        "\\#a",
        "a\\ b",
        "a\\\n b",
    ]);
    let space = || prop::sample::select(vec!["", " ", "\t", "\\\n  ", "\\\r\n"]);
    let separator = prop::sample::select(vec!["=", ":", " x", " \\\n x", "\\\n=", " = ", " =\\\n"]);
    let value = prop::sample::select(vec![
        "",
        "1",
        "a b",
        "a \\\n  b",
        "\\ a\\ ",
        "${path.log}/x",
        "\\${a}",
        "#a",
        "=",
        "\\u00e9",
        "a\\\\",
    ]);
    let end = prop::sample::select(vec!["\n", "\r\n", " \n", "\\\n\n", "\n\n# c\\\n"]);
    let entry = (space(), key, separator, space(), value, end)
        .prop_map(|(a, b, c, d, e, f)| [a, b, c, d, e, f].concat());
    let tail = prop::sample::select(vec![
        "",
        "# c",
        "# c\\",
        "a = 1",
        "a = 1\\",
        "a = 1\\\n",
        "\\",
        "\\\n",
    ]);
    let start = prop::sample::select(vec!["", "\u{feff}", "\n", "!\n"]);
    (start, prop::collection::vec(entry, 0..6), tail)
        .prop_map(|(start, entries, tail)| format!("{start}{}{tail}", entries.concat()))
}

/// Files with and without faults.
fn anything() -> impl Strategy<Value = String> {
    prop_oneof![noise(), file()]
}

/// Any text a line can hold.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![noise(), any::<String>()].prop_map(|text| text.replace('\0', ""))
}

fn one(text: &str) -> Option<Properties> {
    Properties::from_sources([("a.conf", text.as_bytes())]).ok()
}

/// The values of every key, without their places.
fn values(properties: &Properties) -> Vec<(String, String)> {
    let settings = properties.settings(Program::Vma);
    settings
        .into_iter()
        .map(|setting| (setting.key, setting.value))
        .collect()
}

proptest! {
    #[test]
    fn nothing_panics(bytes in prop_oneof![
        noise().prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..200),
    ]) {
        let mut properties = Properties::new();
        let _ = properties.add("a.conf", &bytes);
        let _ = VmaConfig::from_properties(&properties);
        let _ = ClientConfig::from_properties(&properties);
        let _ = ServerConfig::from_properties(&properties);
        for program in Program::ALL {
            let _ = properties.settings(program);
            for warning in properties.warnings(program) {
                let _ = warning.to_string();
            }
        }
    }

    #[test]
    fn a_file_without_faults_is_read(text in file()) {
        prop_assert!(one(&text).is_some());
    }

    #[test]
    fn a_document_is_written_as_it_was_read(text in anything()) {
        if let Ok(document) = Document::parse("a.conf", text.as_bytes()) {
            prop_assert_eq!(document.render(), text);
        }
    }

    #[test]
    fn documents_and_properties_accept_the_same(text in anything()) {
        prop_assert_eq!(Document::parse("a.conf", text.as_bytes()).is_ok(), one(&text).is_some());
    }

    #[test]
    fn a_key_that_was_set_reads_back_and_nothing_else_changes(
        text in anything(),
        key in prop_oneof![Just("log4perl.x".to_owned()), Just("log4perl.\u{feff} =:#!\\".to_owned())],
        first in value(),
        second in value(),
    ) {
        let Ok(mut document) = Document::parse("a.conf", text.as_bytes()) else { return Ok(()) };
        let before = one(&text).unwrap();
        for value in [&first, &second] {
            document.set(&key, value).unwrap();
            let after = one(&document.render()).expect("a written file can be read");
            let setting = after.settings(Program::Vma).into_iter().find(|s| s.key == key).unwrap();
            prop_assert_eq!(&setting.value, value);
            let others = |properties: &Properties| {
                values(properties).into_iter().filter(|(name, _)| *name != key).collect::<Vec<_>>()
            };
            prop_assert_eq!(others(&after), others(&before));
        }
        document.unset(&key);
        let after = one(&document.render()).expect("a written file can be read");
        prop_assert_eq!(values(&after), values(&before));
    }

    #[test]
    fn a_key_of_the_file_can_be_set(text in anything(), value in value()) {
        let Ok(mut document) = Document::parse("a.conf", text.as_bytes()) else { return Ok(()) };
        let before = one(&text).unwrap();
        for (key, _) in before.keys().filter(|(key, _)| !key.is_empty()) {
            document.set(key, &value).unwrap();
        }
        let after = one(&document.render()).expect("a written file can be read");
        let keys = |properties: &Properties| {
            properties.keys().map(|(key, _)| key.to_owned()).collect::<Vec<_>>()
        };
        prop_assert_eq!(keys(&after), keys(&before));
        // Expanded values show that the text was not taken for a reference.
        let config = VmaConfig::from_properties(&after);
        if keys(&after).iter().any(|key| key == "path.run") && value.starts_with('/')
            && !value.contains(char::is_control)
            && let Ok(config) = config
        {
            prop_assert_eq!(config.process.run.to_str(), Some(value.as_str()));
        }
    }

    #[test]
    fn one_file_or_many_is_the_same(
        entries in prop::collection::vec(
            (prop::sample::select(vec!["log4perl.a", "log4perl.b", "log4perl.c", "path.run"]),
             prop::sample::select(vec!["1", "${log4perl.a}", "x${log4perl.b}", "${path.log}/y", ""])),
            0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let lines: Vec<String> =
            entries.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        let whole = one(&lines.concat()).unwrap();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(lines.len() + 1)).collect();
        cuts.extend([0, lines.len()]);
        cuts.sort_unstable();
        let files: Vec<String> = cuts.windows(2).map(|cut| lines[cut[0]..cut[1]].concat()).collect();
        let split =
            Properties::from_sources(files.iter().map(|file| ("a.conf", file.as_bytes()))).unwrap();
        prop_assert_eq!(values(&split), values(&whole));
    }

    #[test]
    fn line_ends_do_not_matter(text in anything()) {
        let text = text.replace('\r', "");
        let windows = text.replace('\n', "\r\n");
        match (one(&text), one(&windows)) {
            (Some(unix), Some(windows)) => prop_assert_eq!(values(&unix), values(&windows)),
            (unix, windows) => prop_assert_eq!(unix.is_some(), windows.is_some()),
        }
    }
}
