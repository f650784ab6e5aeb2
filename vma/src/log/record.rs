//! A line of the log, before anybody has written it.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::text::printable;
use super::time::Moment;

/// What was to be logged.
#[derive(Debug)]
pub struct Record {
    /// When.
    pub moment: Moment,
    /// How bad.
    pub level: Level,
    /// Who says it: a module, or a program of the session.
    pub target: &'static str,
    /// Where in the source it is said.
    pub place: Option<(&'static str, u32)>,
    /// The sentence.
    pub message: String,
    /// What belongs to it, by name.
    pub fields: Vec<(&'static str, String)>,
    /// The session it belongs to.
    pub session: Option<String>,
}

impl Record {
    /// What an event of the program says.
    #[must_use]
    pub fn new(event: &Event<'_>, session: Option<String>) -> Self {
        let meta = event.metadata();
        let mut record = Self {
            moment: Moment::now(),
            level: *meta.level(),
            target: meta.target(),
            place: meta.file().zip(meta.line()),
            message: String::new(),
            fields: Vec::new(),
            session,
        };
        event.record(&mut record);
        record
    }

    /// The sentence with its fields, and in front of it the session.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Where a field says it, it is said.
        let said = self.fields.iter().any(|(name, _)| *name == "session");
        if let Some(session) = self.session.as_ref().filter(|_| !said) {
            let _ = write!(text, "session={session} ");
        }
        text.push_str(&printable(self.message.as_bytes()));
        for (name, value) in &self.fields {
            let _ = write!(text, " {name}={}", printable(value.as_bytes()));
        }
        text
    }

    /// The line of a file, with its end.
    #[must_use]
    pub fn line(&self) -> String {
        format!(
            "{} {:>5} {}: {}\n",
            self.moment.rfc3339(),
            self.level,
            self.target,
            self.text()
        )
    }

    /// The severity of syslog, 0 to 7.
    #[must_use]
    pub fn severity(&self) -> u8 {
        match self.level {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        }
    }

    /// The line as Log4perl's `ConversionPattern` has it. Of its placeholders
    /// those that mean something here are known; others stay as they are.
    #[must_use]
    pub fn formatted(&self, pattern: &str) -> String {
        let mut out = String::new();
        let mut rest = pattern;
        while let Some((before, after)) = rest.split_once('%') {
            out.push_str(before);
            // Widths and dates' own patterns: `%-5p`, `%d{HH:mm}`.
            let digits = after.trim_start_matches(|c: char| c.is_ascii_digit() || "-.".contains(c));
            let Some(kind) = digits.chars().next() else {
                rest = "";
                out.push('%');
                break;
            };
            rest = digits.get(kind.len_utf8()..).unwrap_or_default();
            if let Some(braced) = rest.strip_prefix('{') {
                rest = braced.split_once('}').map_or("", |(_, rest)| rest);
            }
            let (file, line) = self.place.unwrap_or(("", 0));
            match kind {
                'd' => out.push_str(&self.moment.log4perl()),
                'P' => out.push_str(&std::process::id().to_string()),
                'p' => out.push_str(self.level.as_str()),
                'F' => out.push_str(file),
                'L' => out.push_str(&line.to_string()),
                'c' | 'C' => out.push_str(&self.target.replace("::", ".")),
                'm' => out.push_str(&self.text()),
                'n' => out.push('\n'),
                '%' => out.push('%'),
                'H' => out.push_str(rustix::system::uname().nodename().to_str().unwrap_or("-")),
                other => {
                    out.push('%');
                    out.push(other);
                }
            }
        }
        out.push_str(rest);
        out
    }
}

impl Visit for Record {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.fields.push((field.name(), format!("{value:?}")));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            self.fields.push((field.name(), format!("{value:?}")));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    pub(in super::super) fn example() -> Record {
        Record {
            moment: Moment::at(Duration::from_secs(951_782_405)),
            level: Level::WARN,
            target: "qvd_vma::daemon",
            place: Some(("src/daemon/core.rs", 12)),
            message: "cannot\nbe done".into(),
            fields: vec![("user", "\"ann\"".into())],
            session: Some("ab12".into()),
        }
    }

    #[test]
    fn a_line_has_time_level_session_and_fields() {
        assert_eq!(
            example().line(),
            "2000-02-29T00:00:05.000000Z  WARN qvd_vma::daemon: \
             session=ab12 cannot\\x0abe done user=\"ann\"\n"
        );
    }

    #[test]
    fn the_manuals_pattern_is_followed() {
        let record = Record {
            session: None,
            fields: vec![],
            message: "done".into(),
            ..example()
        };
        let pid = std::process::id();
        assert_eq!(
            record.formatted("%d %P %F %L %c - %m%n"),
            format!("2000/02/29 00:00:05 {pid} src/daemon/core.rs 12 qvd_vma.daemon - done\n")
        );
        assert_eq!(
            record.formatted("%-5p %d{HH:mm} 100%% %z %m%"),
            "WARN 2000/02/29 00:00:05 100% %z done%"
        );
    }
}
