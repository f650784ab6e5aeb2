//! How a run is told to end: by a signal, or by another run of the program.

use std::io::{self, PipeReader, PipeWriter};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::{SigSet, Signal};
use qvd_share::serve::Stopper;

/// Signals that end a run in order. The second one ends it at once.
pub(super) struct Signals(SigSet);

impl Signals {
    /// Has them wait. Called before any thread is started, which would get
    /// them.
    pub(super) fn hold() -> io::Result<Self> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            set.add(signal);
        }
        set.thread_block()?;
        Ok(Self(set))
    }

    /// Does `end` when one comes.
    pub(super) fn then(self, end: impl Fn() + Send + 'static) -> io::Result<()> {
        let wait = move || {
            if self.0.wait().is_ok() {
                end();
            }
            // The next one does what it does to any program.
            let _ = self.0.thread_unblock();
            loop {
                std::thread::park();
            }
        };
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(wait)
            .map(drop)
    }
}

/// The end of a share, once somebody wants it.
#[derive(Clone)]
pub(super) struct End {
    stopper: Stopper,
    /// Dropped when it is wanted.
    pipe: Arc<Mutex<Option<PipeWriter>>>,
}

impl End {
    /// One that nobody wants yet, and what becomes readable when somebody
    /// does.
    pub(super) fn new() -> io::Result<(Self, PipeReader)> {
        let (reader, writer) = io::pipe()?;
        let end = Self {
            stopper: Stopper::new(),
            pipe: Arc::new(Mutex::new(Some(writer))),
        };
        Ok((end, reader))
    }

    pub(super) fn want(&self) {
        drop(self.pipe().take());
        self.stopper.stop();
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.pipe().is_none()
    }

    pub(super) fn stopper(&self) -> &Stopper {
        &self.stopper
    }

    fn pipe(&self) -> std::sync::MutexGuard<'_, Option<PipeWriter>> {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
