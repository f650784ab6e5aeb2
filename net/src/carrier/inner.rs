//! The machine, and who waits for what of it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::task::Waker;

use qvd_carrier::{Carrier, Code, Config, Event, Kind, Loss, Reason, Role};

use super::Ended;

/// What lies behind the lock.
pub(super) struct Inner {
    pub(super) carrier: Carrier,
    /// The streams that somebody holds, or has left to be finished.
    locals: BTreeMap<u32, Local>,
    /// Streams that the other end has opened and nobody has looked at.
    pub(super) opened: VecDeque<(u32, Kind, Vec<u8>)>,
    pub(super) acceptor: Option<Waker>,
    driver: Option<Waker>,
    /// The number of the connection that is run; others have been replaced.
    pub(super) generation: u64,
    /// How many connections have come up.
    pub(super) times: u64,
    /// What the connection ended with.
    pub(super) lost: Option<Loss>,
    /// What the session ended with.
    pub(super) over: Option<Ended>,
}

/// The program's end of a stream.
#[derive(Default)]
pub(super) struct Local {
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    /// The other end has written its last, and it was read.
    pub(super) ended: bool,
    /// Why it can be used no longer.
    failed: Option<(io::ErrorKind, String)>,
    /// Nobody holds it: what comes is thrown away, what was written still goes.
    left: bool,
}

impl Local {
    /// Why it can be used no longer.
    pub(super) fn failure(&self) -> Option<io::Error> {
        let (kind, text) = self.failed.as_ref()?;
        Some(io::Error::new(*kind, text.clone()))
    }

    fn fail(&mut self, kind: io::ErrorKind, text: String) {
        self.failed.get_or_insert((kind, text));
        self.wake();
    }

    fn wake(&mut self) {
        wake(&mut self.reader);
        wake(&mut self.writer);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// The peer's words as they may be shown: no line ends, nothing a terminal
/// obeys.
fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(shown).collect()
}

impl Inner {
    pub(super) fn new(role: Role, config: Config) -> Self {
        Self {
            carrier: Carrier::new(role, config),
            locals: BTreeMap::new(),
            opened: VecDeque::new(),
            acceptor: None,
            driver: None,
            generation: 0,
            times: 0,
            lost: None,
            over: None,
        }
    }

    pub(super) fn enlist(&mut self, id: u32) {
        self.locals.insert(id, Local::default());
        self.wake_driver();
    }

    pub(super) fn local(&mut self, id: u32) -> Option<&mut Local> {
        self.locals.get_mut(&id)
    }

    /// Who holds a stream has let it go.
    pub(super) fn leave(&mut self, id: u32, finished: bool) {
        let over = self.locals.get(&id).is_none_or(|l| l.failed.is_some());
        let ended = self.locals.get(&id).is_some_and(|l| l.ended);
        if finished && !over && !ended {
            // Until the other end has written its last, too.
            if let Some(local) = self.locals.get_mut(&id) {
                local.left = true;
            }
            self.discard(id);
            return;
        }
        self.locals.remove(&id);
        if !over && !finished {
            // Gone already: nothing to give up.
            let _ = self.carrier.reset(id, Code::Cancelled);
            self.wake_driver();
        }
    }

    /// Throws away what has come for a stream nobody reads.
    fn discard(&mut self, id: u32) {
        loop {
            let count = self.carrier.readable(id).len();
            if count == 0 {
                break;
            }
            self.carrier.consume(id, count);
        }
        self.wake_driver();
    }

    pub(super) fn set_driver(&mut self, waker: &Waker) {
        if !self.driver.as_ref().is_some_and(|w| w.will_wake(waker)) {
            self.driver = Some(waker.clone());
        }
    }

    /// There may be something to be written to the connection.
    pub(super) fn wake_driver(&mut self) {
        wake(&mut self.driver);
    }

    /// Takes what the machine has to tell.
    pub(super) fn gather(&mut self) {
        while let Some(event) = self.carrier.event() {
            self.take(event);
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Connected { .. } => self.times = self.times.saturating_add(1),
            Event::Lost(loss) => self.lost = Some(loss),
            Event::Opened {
                stream,
                kind,
                metadata,
            } => {
                self.enlist(stream);
                self.opened.push_back((stream, kind, metadata));
                wake(&mut self.acceptor);
            }
            Event::Accepted { .. } => {}
            Event::Refused { stream, code, text } => {
                let text = plain(&text);
                let text = match text.is_empty() {
                    true => format!("refused: {code}"),
                    false => format!("refused: {code}: {text}"),
                };
                self.fail(stream, io::ErrorKind::ConnectionRefused, text);
            }
            Event::Readable(id) => {
                if self.locals.get(&id).is_some_and(|local| local.left) {
                    self.discard(id);
                } else if let Some(local) = self.locals.get_mut(&id) {
                    wake(&mut local.reader);
                }
            }
            Event::Writable(id) => {
                if let Some(local) = self.locals.get_mut(&id) {
                    wake(&mut local.writer);
                }
            }
            Event::HalfClosed(id) => {
                if let Some(local) = self.locals.get_mut(&id) {
                    local.ended = true;
                    wake(&mut local.reader);
                    if local.left {
                        self.locals.remove(&id);
                    }
                }
            }
            Event::Reset { stream, code } => {
                let text = format!("closed by the other end: {code}");
                self.fail(stream, io::ErrorKind::ConnectionReset, text);
            }
            Event::Ended {
                by_peer,
                reason,
                text,
            } => self.finish(Ended::Over {
                by_peer,
                reason,
                text: plain(&text),
            }),
            _ => {}
        }
    }

    fn fail(&mut self, id: u32, kind: io::ErrorKind, text: String) {
        let before = self.opened.len();
        self.opened.retain(|(opened, ..)| *opened != id);
        let is_new = self.opened.len() < before;
        if let Some(local) = self.locals.get_mut(&id) {
            local.fail(kind, text);
            // Nobody has it.
            if local.left || is_new {
                self.locals.remove(&id);
            }
        }
    }

    /// Streams that something is held of.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.locals.len()
    }

    /// The session is over, for this reason.
    fn finish(&mut self, why: Ended) {
        let text = match &why {
            Ended::Over { reason, text, .. } if text.is_empty() => reason.to_string(),
            Ended::Over { reason, text, .. } => format!("{reason}: {text}"),
            _ => String::new(),
        };
        for local in self.locals.values_mut() {
            local.fail(io::ErrorKind::ConnectionAborted, text.clone());
        }
        self.opened.clear();
        wake(&mut self.acceptor);
        self.over.get_or_insert(why);
    }

    /// The session is given up.
    pub(super) fn abandon(&mut self, why: &str) {
        self.carrier.lost();
        self.carrier
            .end(Reason::Expired, why, std::time::Instant::now());
        // Without a connection the END goes nowhere.
        self.carrier.lost();
        self.gather();
        self.finish(Ended::Over {
            by_peer: false,
            reason: Reason::Expired,
            text: why.to_owned(),
        });
        self.wake_driver();
    }
}
