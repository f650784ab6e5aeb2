//! One test: what it starts, where it writes, and the check that nothing of it
//! remains.

use std::any::Any;
use std::fs;
use std::future::Future;
use std::io::Read as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use crate::error::Doing as _;
use crate::process::{self, Log, MARK_VARIABLE, Process, Program};
use crate::script::write_script;
use crate::{Error, Result};

/// How long a whole test may take.
const LIMIT: Duration = Duration::from_secs(180);

/// How long what a test started may take to end after it.
const ENDING: Duration = Duration::from_secs(10);

/// What the body of a test returns.
pub type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

/// The place of one test: a directory, a mark that everything it starts
/// inherits, and the logs of those programs.
#[derive(Debug)]
pub struct Scene {
    name: String,
    mark: String,
    directory: TempDir,
    artefacts: PathBuf,
    programs: Option<PathBuf>,
    logs: Mutex<Vec<Log>>,
}

impl Scene {
    /// Makes the place for the test `name`.
    ///
    /// # Errors
    ///
    /// When its directories cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        let mark = random_mark()?;
        let directory = tempfile::Builder::new()
            .prefix(&format!("qvd-test-{mark}"))
            .rand_bytes(0)
            .tempdir()
            .doing(|| "making a temporary directory".into())?;
        fs::create_dir(directory.path().join("home")).doing(|| "making a home".into())?;
        let artefacts = artefact_root().join(name.replace("::", "-"));
        if artefacts.exists() {
            fs::remove_dir_all(&artefacts).doing(|| format!("emptying {}", artefacts.display()))?;
        }
        fs::create_dir_all(&artefacts).doing(|| format!("creating {}", artefacts.display()))?;
        Ok(Self {
            name: name.into(),
            mark,
            directory,
            artefacts,
            programs: None,
            logs: Mutex::default(),
        })
    }

    /// Takes the programs of this workspace from another directory than
    /// [`crate::programs::built`] does.
    #[must_use]
    pub fn with_programs(mut self, directory: impl Into<PathBuf>) -> Self {
        self.programs = Some(directory.into());
        self
    }

    /// The test's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What everything the test starts carries in its environment
    /// ([`MARK_VARIABLE`]); part of the directory's name too.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// The test's directory, only this user's, gone after the test.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A path in the test's directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The home of the test's user.
    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// Where pictures and logs of this test stay after it:
    /// `target/e2e/<test>/`.
    pub fn artefact(&self, name: impl AsRef<Path>) -> PathBuf {
        self.artefacts.join(name)
    }

    /// Writes a file of the test's directory, readable to this user only.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, name: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path(name);
        write_private(&path, contents.as_ref())?;
        Ok(path)
    }

    /// Writes a shell script in the test's directory, which everybody may run
    /// who comes into that.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn script(&self, name: impl AsRef<Path>, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        write_script(&path, text).doing(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// The program `name` of the system, from Debian's `package`, with this
    /// test's environment.
    ///
    /// # Errors
    ///
    /// [`Error::NotInstalled`] says what to install.
    pub fn installed(&self, name: &str, package: &str) -> Result<Program> {
        Ok(self.dress(Program::installed(name, package)?))
    }

    /// The program `name` of this workspace, with this test's environment.
    ///
    /// # Errors
    ///
    /// [`Error::NotBuilt`] says how to build it.
    pub fn built(&self, name: &str) -> Result<Program> {
        let path = match &self.programs {
            Some(directory) => crate::programs::built_in(directory, name)?,
            None => crate::programs::built(name)?,
        };
        Ok(self.dress(Program::at(path)))
    }

    /// Gives a program the environment of this test: its mark, a home of its
    /// own and little else.
    pub fn dress(&self, program: Program) -> Program {
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        program
            .env(MARK_VARIABLE, &self.mark)
            .env("PATH", path)
            .env("HOME", self.home())
            .env("LANG", "C.UTF-8")
            .directory(self.directory())
    }

    /// Starts a program and keeps its log for the report of a failure.
    ///
    /// # Errors
    ///
    /// When it cannot be run.
    pub fn start(&self, program: Program) -> Result<Process> {
        let process = program.start()?;
        let log = process.log().clone();
        self.logs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(log);
        Ok(process)
    }

    /// Checks that nothing which this test started is alive, giving what is
    /// ending a few seconds.
    ///
    /// # Errors
    ///
    /// [`Error::LeftRunning`] with the command lines.
    pub async fn assert_nothing_left(&self) -> Result<()> {
        process::assert_nothing_left(&self.mark, ENDING).await
    }

    /// Writes what every program said beside the test's pictures.
    fn save_logs(&self) {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, log) in logs.iter().enumerate() {
            let path = self.artefact(format!("{index:02}-{}.log", log.name()));
            if let Err(error) = fs::write(&path, log.text()) {
                report(&format!("{}: {error}", path.display()));
            }
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        process::kill_marked(&self.mark);
    }
}

/// Runs a test's body in a scene and on a runtime of its own, and afterwards,
/// whatever its outcome, checks that nothing of it is left running.
///
/// # Panics
///
/// When the body fails, takes longer than three minutes, or leaves a process.
/// What the programs said is then in the message's artefact directory.
pub fn play<Body>(name: &str, body: Body)
where
    Body: AsyncFnOnce(&Scene) -> Outcome,
{
    play_for(name, LIMIT, body);
}

/// As [`play`], for a body that may take `limit`.
///
/// # Panics
///
/// As [`play`].
pub fn play_for<Body>(name: &str, limit: Duration, body: Body)
where
    Body: AsyncFnOnce(&Scene) -> Outcome,
{
    let scene = Scene::new(name).unwrap_or_else(|error| fail(&format!("{name}: {error}")));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap_or_else(|error| fail(&format!("{name}: making a runtime: {error}")));

    let played = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(within_limit(name, limit, body(&scene)))
    }));
    let left = runtime.block_on(scene.assert_nothing_left());
    scene.save_logs();
    let place = scene.artefacts.clone();
    drop(scene);

    let outcome = played.unwrap_or_else(|panic: Box<dyn Any + Send>| {
        report(&format!(
            "{name}: logs and pictures are in {}",
            place.display()
        ));
        resume_unwind(panic)
    });
    let place = place.display();
    match (outcome, left) {
        (Ok(()), Ok(())) => {}
        (Ok(()), Err(left)) => fail(&format!("{name}: {left}\nlogs are in {place}")),
        (Err(error), Ok(())) => fail(&format!("{name}: {error}\nlogs are in {place}")),
        (Err(error), Err(left)) => {
            fail(&format!(
                "{name}: {error}\nbesides, {left}\nlogs are in {place}"
            ));
        }
    }
}

async fn within_limit(name: &str, limit: Duration, body: impl Future<Output = Outcome>) -> Outcome {
    match tokio::time::timeout(limit, body).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Box::new(Error::Deadline {
            what: format!("the end of the test {name}"),
            limit,
            context: String::new(),
        })),
    }
}

/// Fails a test: the test runner knows no other way than a panic.
#[allow(clippy::panic)]
fn fail(message: &str) -> ! {
    panic!("{message}")
}

/// Tells whoever reads the test's output.
#[allow(clippy::print_stderr)]
fn report(message: &str) {
    eprintln!("{message}");
}

/// Writes a file which only its owner can read, from its first moment on.
pub(crate) fn write_private(path: &Path, contents: &[u8]) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let doing = || format!("writing {}", path.display());
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600);
    let mut file = options.open(path).doing(doing)?;
    file.write_all(contents).doing(doing)
}

/// `N` bytes from the system's random generator.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut source = fs::File::open("/dev/urandom").doing(|| "opening /dev/urandom".into())?;
    source
        .read_exact(&mut bytes)
        .doing(|| "reading /dev/urandom".into())?;
    Ok(bytes)
}

fn random_mark() -> Result<String> {
    Ok(random_bytes::<8>()?
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// `e2e` in the build directory, or where `QVD_ARTEFACTS` says.
fn artefact_root() -> PathBuf {
    if let Some(path) = std::env::var_os("QVD_ARTEFACTS") {
        return path.into();
    }
    crate::programs::target_directory()
        .unwrap_or_else(std::env::temp_dir)
        .join("e2e")
}
