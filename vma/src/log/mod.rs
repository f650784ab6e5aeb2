//! Where the log goes: a file, standard error, systemd's journal or syslog.
//!
//! Every line of a session, of the daemon's and of the session process's,
//! carries the session's name. A log that cannot be written to never stops
//! the agent: lines are lost, and counted.
//!
//! A log file is standard error turned to it, so that a session process, which
//! inherits that and may not open the file itself, logs there too. When the
//! file was moved away the daemon opens the next one and hands its descriptor
//! to the session process.

mod file;
mod hooks;
mod journal;
mod outputs;
mod record;
mod settings;
mod syslog;
mod text;
mod time;

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, reload};

pub use file::MISSING;
pub use hooks::HookLog;
pub use settings::{Plan, Settings};

use outputs::Outputs;
use record::Record;
use time::Moment;

/// The name of this program in logs that many share.
const IDENT: &str = "qvd-vma";

/// The variable by which the daemon tells a session process where to log.
pub const VARIABLE: &str = "QVD_LOG";

/// The log of this process.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Mutex<Shared>>,
    filter: reload::Handle<LevelFilter, Registry>,
    /// What standard error was before it was turned to a file.
    stderr: Arc<File>,
}

struct Shared {
    settings: Settings,
    outputs: Outputs,
    /// The file that standard error is.
    file: Option<PathBuf>,
    session: Option<String>,
}

impl Log {
    /// Begins to log as the configuration says.
    ///
    /// # Errors
    /// When the log file cannot be opened, or the log was begun already.
    pub fn begin(plan: &Plan) -> anyhow::Result<Self> {
        let stderr = stderr()?;
        if let Some(path) = &plan.file {
            turn_stderr(&open(path)?)?;
        }
        let log = Self::with(plan.settings.clone(), stderr)?;
        log.shared().file.clone_from(&plan.file);
        Ok(log)
    }

    /// Begins the log of a session process, as its daemon says.
    ///
    /// # Errors
    /// When the log was begun already.
    pub fn begin_session() -> anyhow::Result<Self> {
        let told = std::env::var(VARIABLE).ok();
        let settings = told.and_then(|text| serde_json::from_str(&text).ok());
        Self::with(settings.unwrap_or_default(), stderr()?)
    }

    fn with(settings: Settings, stderr: File) -> anyhow::Result<Self> {
        let (filter, handle) = reload::Layer::new(settings.level());
        let shared = Arc::new(Mutex::new(Shared {
            outputs: Outputs::open(&settings),
            settings,
            file: None,
            session: None,
        }));
        let writer = Writer(shared.clone());
        tracing_subscriber::registry()
            .with(filter)
            .with(writer)
            .try_init()?;
        Ok(Self {
            shared,
            filter: handle,
            stderr: Arc::new(stderr),
        })
    }

    /// Logs as another configuration says, from now on; whether that is
    /// another way than before.
    ///
    /// # Errors
    /// When the log file cannot be opened; the log goes on as before.
    pub fn change_if(&self, plan: &Plan) -> anyhow::Result<bool> {
        let (settings, file) = (self.settings(), self.file());
        if settings == plan.settings && file == plan.file {
            return Ok(false);
        }
        match &plan.file {
            Some(path) => turn_stderr(&open(path)?)?,
            None => turn_stderr(&self.stderr)?,
        }
        self.shared().file.clone_from(&plan.file);
        self.apply(plan.settings.clone());
        Ok(true)
    }

    /// As [`Self::change_if`], in a session process: its daemon has told it so,
    /// and may have handed it the log file.
    pub fn follow(&self, settings: Settings, file: Option<File>) {
        if let Some(file) = file
            && let Err(error) = rustix::stdio::dup2_stderr(&file)
        {
            tracing::warn!(%error, "log file");
        }
        self.apply(settings);
    }

    fn apply(&self, settings: Settings) {
        let level = settings.level();
        {
            let mut shared = self.shared();
            if shared.settings != settings {
                shared.outputs = Outputs::open(&settings);
                shared.settings = settings;
            }
        }
        // Not under the lock: this asks every line's place in the source.
        let _ = self.filter.reload(level);
    }

    /// Opens the log file anew, after it was moved away or removed.
    ///
    /// # Errors
    /// When it cannot be opened; lines go on to where the old one is.
    pub fn reopen(&self) -> anyhow::Result<()> {
        let path = self.shared().file.clone();
        if let Some(path) = path {
            turn_stderr(&open(&path)?)?;
        }
        Ok(())
    }

    /// Whether the log file is where it should be; nothing when none is there,
    /// and true when there is no file.
    #[must_use]
    pub fn is_in_place(&self) -> Option<bool> {
        let Some(path) = self.shared().file.clone() else {
            return Some(true);
        };
        file::is_at(&current()?, &path)
    }

    /// The log file, if the log goes to one.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        self.shared().file.clone()
    }

    /// What a session process is to know of the log.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.shared().settings.clone()
    }

    /// Names the session that lines belong to from now on.
    pub fn set_session(&self, session: Option<&str>) {
        self.shared().session = session.map(str::to_owned);
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log file that is standard error now.
#[must_use]
pub fn current() -> Option<File> {
    stderr().ok()
}

/// A moment as log lines have it.
#[must_use]
pub fn rfc3339(moment: SystemTime) -> String {
    Moment::at(moment.duration_since(UNIX_EPOCH).unwrap_or_default()).rfc3339()
}

fn stderr() -> io::Result<File> {
    Ok(io::stderr().as_fd().try_clone_to_owned()?.into())
}

fn open(path: &Path) -> anyhow::Result<File> {
    file::open(path).with_context(|| format!("log file {}", path.display()))
}

fn turn_stderr(file: &File) -> io::Result<()> {
    Ok(rustix::stdio::dup2_stderr(file)?)
}

/// Takes what the program says.
struct Writer(Arc<Mutex<Shared>>);

impl<S: Subscriber> Layer<S> for Writer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Nothing is said under this lock, and no write below it waits but
        // that of a file.
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let record = Record::new(event, shared.session.clone());
        shared.outputs.write(&record);
    }
}
