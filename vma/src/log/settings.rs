//! What the configuration says of the log.

use std::path::PathBuf;

use qvd_config::value::{Appender, Destination, LogLevel};
use qvd_config::vma;
use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::LevelFilter;

use super::{IDENT, journal, syslog};

/// Where and how much is logged; the same for daemon and session process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// How much: a word of the reference's.
    level: String,
    /// Where to.
    pub outputs: Vec<Output>,
}

/// One place to log to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The least level it takes, if it takes not all.
    pub threshold: Option<String>,
    /// The place.
    pub to: Place,
}

/// A place to log to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Standard error, which may be the log file. With Log4perl's pattern of a
    /// line, if there is one.
    Stream(Option<String>),
    /// systemd's journal.
    Journal,
    /// Syslog.
    Syslog(syslog::Settings),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            level: LogLevel::Info.to_string(),
            outputs: vec![Output::all(Place::Stream(None))],
        }
    }
}

impl Output {
    fn all(to: Place) -> Self {
        Self {
            threshold: None,
            to,
        }
    }
}

impl Settings {
    /// How much is logged.
    #[must_use]
    pub fn level(&self) -> LevelFilter {
        filter(&self.level)
    }
}

/// The level of a word.
pub fn filter(word: &str) -> LevelFilter {
    match word.parse() {
        Ok(LogLevel::All) => LevelFilter::TRACE,
        Ok(LogLevel::Debug) => LevelFilter::DEBUG,
        Ok(LogLevel::Warn) => LevelFilter::WARN,
        Ok(LogLevel::Error | LogLevel::Fatal) => LevelFilter::ERROR,
        Ok(LogLevel::Off) => LevelFilter::OFF,
        _ => LevelFilter::INFO,
    }
}

/// The settings, and the file that standard error is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The settings.
    pub settings: Settings,
    /// The file.
    pub file: Option<PathBuf>,
}

impl Plan {
    /// What the configuration says.
    #[must_use]
    pub fn new(log: &vma::Log) -> Self {
        if log.journal {
            return Self::to(log.level, Place::Journal, None);
        }
        if let Some(level) = log.log4perl.level() {
            return Self::of_appenders(level, log.log4perl.appenders());
        }
        match &log.filename {
            Some(path) => Self::to(log.level, Place::Stream(None), Some(path.clone())),
            None if journal::is_stderr() => Self::to(log.level, Place::Journal, None),
            None => Self::to(log.level, Place::Stream(None), None),
        }
    }

    fn to(level: LogLevel, place: Place, file: Option<PathBuf>) -> Self {
        let outputs = vec![Output::all(place)];
        let level = level.to_string();
        Self {
            settings: Settings { level, outputs },
            file,
        }
    }

    fn of_appenders(level: LogLevel, appenders: &[Appender]) -> Self {
        let mut file = None;
        let mut outputs = Vec::new();
        for appender in appenders {
            let pattern = appender.pattern.clone();
            let to = match &appender.to {
                Destination::Syslog {
                    ident,
                    facility,
                    socket,
                } => Place::Syslog(syslog::Settings {
                    ident: ident.clone().unwrap_or_else(|| IDENT.to_owned()),
                    facility: *facility,
                    pattern,
                    to: socket.into(),
                }),
                Destination::File(path) => {
                    file = Some(path.clone());
                    Place::Stream(pattern)
                }
                _ => Place::Stream(pattern),
            };
            let threshold = appender.threshold.map(|level| level.to_string());
            outputs.push(Output { threshold, to });
        }
        let level = level.to_string();
        Self {
            settings: Settings { level, outputs },
            file,
        }
    }
}

#[cfg(test)]
mod tests {
    use qvd_config::{Properties, VmaConfig};

    use super::*;

    fn plan(text: &str) -> Plan {
        let properties = Properties::from_sources([("vma.conf", text.as_bytes())]).unwrap();
        Plan::new(&VmaConfig::from_properties(&properties).unwrap().log)
    }

    #[test]
    fn the_file_is_the_default_and_the_manuals_syslog_takes_its_place() {
        let default = plan("");
        assert_eq!(default.file, Some("/var/log/qvd/qvd.log".into()));
        assert_eq!(default.settings, Settings::default());

        let manual = plan(
            "log4perl.appender.SYSLOG = Log::Dispatch::Syslog\n\
             log4perl.appender.SYSLOG.layout = Log::Log4perl::Layout::PatternLayout\n\
             log4perl.appender.SYSLOG.layout.ConversionPattern = %d %P %F %L %c - %m%n\n\
             log4perl.rootLogger = DEBUG, SYSLOG\nlog.level = INFO\n",
        );
        assert_eq!(manual.file, None);
        assert_eq!(manual.settings.level(), LevelFilter::DEBUG);
        let [output] = manual.settings.outputs.as_slice() else {
            panic!("{manual:?}")
        };
        let Place::Syslog(syslog) = &output.to else {
            panic!("{output:?}")
        };
        assert_eq!(syslog.facility, 1);
        assert_eq!(syslog.to, syslog::To::Local("/dev/log".into()));
        assert_eq!(syslog.pattern.as_deref(), Some("%d %P %F %L %c - %m%n"));

        let journal = plan("log.journal = 1\nlog.level = WARN\n");
        assert_eq!(journal.settings.outputs, [Output::all(Place::Journal)]);
        assert_eq!(journal.settings.level(), LevelFilter::WARN);
    }

    #[test]
    fn a_session_process_is_told_the_same() {
        let settings = plan("log.journal = 1\nlog.level = OFF\n").settings;
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
    }
}
