//! The lines a program writes, as events.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::{Error, Result};

/// Lines kept of one program. What comes after is counted, not kept.
const MAX_LINES: usize = 100_000;

/// Bytes kept of one line.
const MAX_LINE: usize = 64 * 1024;

/// Lines shown in a failure's message.
const SHOWN_LINES: usize = 60;

/// Where a line was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// One line of a program's output.
#[derive(Clone, Debug)]
pub struct Line {
    /// Where it was written.
    pub stream: Stream,
    /// The line without its end; bytes which are not UTF-8 are replaced.
    pub text: String,
    /// Time since the program was started.
    pub at: Duration,
}

/// Everything one program wrote so far, shared by those who watch it.
#[derive(Clone, Debug)]
pub struct Log {
    name: Arc<str>,
    lines: Arc<Mutex<Vec<Line>>>,
    progress: Arc<watch::Sender<Progress>>,
    started: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    lines: usize,
    ended_streams: u8,
}

impl Log {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            lines: Arc::default(),
            progress: Arc::new(watch::Sender::default()),
            started: Instant::now(),
        }
    }

    /// The program's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<Line> {
        self.locked().clone()
    }

    /// How many lines there are so far: the place to wait from for what comes
    /// after an action.
    pub fn position(&self) -> usize {
        self.locked().len()
    }

    /// The whole output as text, with the seconds since the start and the
    /// stream before each line.
    pub fn text(&self) -> String {
        render(&self.locked())
    }

    /// Waits for a line which `accept`s, written at or after `position`.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] after `within`, [`Error::Ended`] as soon as both
    /// streams are closed without such a line; both carry the last lines.
    pub async fn wait_for(
        &self,
        position: usize,
        what: &str,
        within: Duration,
        accept: impl Fn(&Line) -> bool,
    ) -> Result<Line> {
        let mut progress = self.progress.subscribe();
        let mut next = position;
        let search = async {
            loop {
                let ended = progress.borrow_and_update().ended_streams >= 2;
                {
                    let lines = self.locked();
                    if let Some(found) = lines.iter().skip(next).find(|line| accept(line)) {
                        return Ok(found.clone());
                    }
                    next = next.max(lines.len());
                }
                if ended || progress.changed().await.is_err() {
                    return Err(Error::Ended {
                        program: self.name.to_string(),
                        what: what.to_owned(),
                        context: self.tail(),
                    });
                }
            }
        };
        match tokio::time::timeout(within, search).await {
            Ok(found) => found,
            Err(_) => Err(Error::Deadline {
                what: format!("{}: {what}", self.name),
                limit: within,
                context: self.tail(),
            }),
        }
    }

    /// The last lines for a failure's message, beginning with a line break.
    pub fn tail(&self) -> String {
        let lines = self.locked();
        let from = lines.len().saturating_sub(SHOWN_LINES);
        let shown = lines.get(from..).unwrap_or_default();
        format!("\n--- output of {} ---\n{}", self.name, render(shown))
    }

    /// Reads one stream to its end, on a thread of its own: a program is never
    /// held up by a full pipe, whatever the test is doing.
    pub(super) fn follow(&self, stream: Stream, source: impl Read + Send + 'static) {
        let log = self.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(source);
            let mut bytes = Vec::new();
            while let Ok(1..) = read_line(&mut reader, &mut bytes) {
                log.push(stream, &bytes);
                bytes.clear();
            }
            log.progress
                .send_modify(|progress| progress.ended_streams += 1);
        });
    }

    fn push(&self, stream: Stream, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes)
            .trim_end_matches(['\n', '\r'])
            .to_owned();
        let mut lines = self.locked();
        if lines.len() < MAX_LINES {
            lines.push(Line {
                stream,
                text,
                at: self.started.elapsed(),
            });
        }
        let count = lines.len();
        drop(lines);
        self.progress.send_modify(|progress| progress.lines = count);
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Appends one line, or the first [`MAX_LINE`] bytes of it.
fn read_line(reader: &mut impl BufRead, bytes: &mut Vec<u8>) -> std::io::Result<usize> {
    reader.take(MAX_LINE as u64).read_until(b'\n', bytes)
}

fn render(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        let stream = match line.stream {
            Stream::Out => ' ',
            Stream::Err => '!',
        };
        text.push_str(&format!(
            "{:9.3}{stream} {}\n",
            line.at.as_secs_f64(),
            line.text
        ));
    }
    text
}
