//! A configuration file that explains itself.

use crate::key::{Key, Program, Status};

/// Columns of a comment.
const WIDTH: usize = 78;

/// The lines of a configuration file in which every key stands with its
/// documentation and default, commented out: as it is it changes nothing.
pub fn sample(program: Program) -> impl Iterator<Item = String> {
    let head = [
        format!("# Configuration of {}, {}.", program.name(), program.file()),
        "# Every key stands here with its default. Remove the # to set it.".to_owned(),
    ];
    let sections = program.sections().iter().flat_map(|section| {
        let title = [String::new(), format!("### {}", section.title)];
        title.into_iter().chain(section.keys.iter().flat_map(entry))
    });
    head.into_iter().chain(sections)
}

/// One key's lines.
fn entry(key: &Key) -> Vec<String> {
    let mut lines = vec![String::new()];
    lines.extend(wrapped(key.doc()));
    lines.extend(wrapped(&format!("Takes {}.", key.expected())));
    match key.status() {
        Status::Supported => {}
        Status::Unused => lines.extend(wrapped("Accepted, without effect yet.")),
        Status::Refused(reason) => lines.extend(wrapped(&format!("Cannot be set: {reason}."))),
    }
    let name = match key.name().strip_suffix(".*") {
        Some(prefix) => format!("{prefix}.0"),
        None => key.name().to_owned(),
    };
    lines.push(format!("#{name} = {}", key.default()).trim_end().to_owned());
    lines
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("# {word}")),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;
    use crate::properties::Properties;
    use crate::{ClientConfig, ServerConfig, VmaConfig};

    /// The sample with the # of every key removed.
    fn all_set(program: Program) -> String {
        let lines = sample(program).map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.contains(" =") && !rest.starts_with(' ') => rest.to_owned(),
            _ => line,
        });
        lines.map(|line| line + "\n").collect()
    }

    #[test]
    fn a_sample_changes_nothing() {
        for program in Program::ALL {
            let text: String = sample(program).map(|line| line + "\n").collect();
            let properties = Properties::from_sources([("sample", text.as_bytes())]).unwrap();
            assert_eq!(properties.keys().count(), 0, "{program:?}");
        }
    }

    #[test]
    fn a_sample_with_every_key_set_is_the_default() {
        let read = |program| {
            let text = all_set(program);
            Properties::from_sources([("sample", text.as_bytes())]).unwrap()
        };
        let none = Properties::new();
        let vma = VmaConfig::from_properties(&read(Program::Vma)).unwrap();
        let default = VmaConfig::from_properties(&none).unwrap();
        let text = |config: &dyn std::fmt::Debug| {
            // The group's one sample line is the only thing that shows.
            format!("{config:?}").replace("{\"0\": \"\"}", "{}")
        };
        assert_eq!(text(&vma), text(&default));
        let client = ClientConfig::from_properties(&read(Program::Client)).unwrap();
        assert_eq!(
            text(&client),
            text(&ClientConfig::from_properties(&none).unwrap())
        );
        let server = ServerConfig::from_properties(&read(Program::Server)).unwrap();
        assert_eq!(
            text(&server),
            text(&ServerConfig::from_properties(&none).unwrap())
        );
    }

    #[test]
    fn a_sample_holds_every_key_once() {
        for program in Program::ALL {
            let text = all_set(program);
            let document = Document::parse("sample", text.as_bytes()).unwrap();
            for key in program.keys() {
                let name = key.name().replace(".*", ".0");
                assert!(document.contains(&name), "{name}");
                let lines = text
                    .lines()
                    .filter(|line| line.starts_with(&format!("{name} =")));
                assert_eq!(lines.count(), 1, "{name}");
            }
        }
    }

    #[test]
    fn lines_are_short() {
        for line in Program::ALL.into_iter().flat_map(sample) {
            assert!(line.len() <= WIDTH + 2, "{line}");
        }
    }
}
