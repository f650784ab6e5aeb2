//! The places a line is written to.

use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;

use tracing_subscriber::filter::LevelFilter;

use super::record::Record;
use super::settings::{self, Output, Place, Settings};
use super::syslog::Syslog;
use super::{journal, time::Moment};

/// The places, open.
#[derive(Debug, Default)]
pub struct Outputs(Vec<One>);

#[derive(Debug)]
struct One {
    threshold: LevelFilter,
    way: Way,
    lost: u64,
}

#[derive(Debug)]
enum Way {
    Stream(Option<String>),
    Journal(UnixDatagram),
    Syslog(Syslog),
}

impl Outputs {
    /// Opens what the settings name. Where one cannot be opened the log goes
    /// to standard error instead, which says so.
    pub fn open(settings: &Settings) -> Self {
        let one = |output: &Output| {
            let way = open(&output.to).unwrap_or_else(|error| {
                let now = Moment::now().rfc3339();
                let _ = writeln!(io::stderr(), "{now} ERROR log: {error}");
                Way::Stream(None)
            });
            let threshold = output.threshold.as_deref();
            One {
                threshold: threshold.map_or(LevelFilter::TRACE, settings::filter),
                way,
                lost: 0,
            }
        };
        Self(settings.outputs.iter().map(one).collect())
    }

    /// Writes a line everywhere. Where it cannot be written it is lost.
    pub fn write(&mut self, record: &Record) {
        for one in &mut self.0 {
            if one.threshold >= record.level {
                one.write(record);
            }
        }
    }
}

fn open(place: &Place) -> io::Result<Way> {
    Ok(match place {
        Place::Stream(pattern) => Way::Stream(pattern.clone()),
        Place::Journal => {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            Way::Journal(socket)
        }
        Place::Syslog(settings) => Way::Syslog(Syslog::open(settings.clone())?),
    })
}

impl One {
    fn write(&mut self, record: &Record) {
        let written = match &self.way {
            Way::Stream(pattern) => {
                let line = match pattern {
                    Some(pattern) => record.formatted(pattern),
                    None => record.line(),
                };
                self.stream(&line)
            }
            Way::Journal(socket) => journal::send(socket, record),
            Way::Syslog(syslog) => syslog.send(record),
        };
        self.lost = match written {
            Ok(()) => 0,
            Err(_) => self.lost.saturating_add(1),
        };
    }

    /// In one piece, so that lines of two processes do not mix.
    fn stream(&self, line: &str) -> io::Result<()> {
        let mut out = io::stderr().lock();
        if self.lost > 0 {
            let now = Moment::now().rfc3339();
            writeln!(out, "{now}  WARN log: {} lines were lost", self.lost)?;
        }
        out.write_all(line.as_bytes())
    }
}
