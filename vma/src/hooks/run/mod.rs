//! Running a hook: bounded, as a process group of its own, heard line by line.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;

use qvd_config::VmaConfig;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::failure::{Failure, Why};
use super::{Arguments, Hook, folder, leftover, trust};
use crate::log::HookLog;
use crate::output::Output;
use crate::procs;
use crate::sys::bind_to_parent;

/// The variable that marks every process of one run of a hook.
pub const MARK: &str = "QVD_HOOK_RUN";

/// Bytes of a hook's output that are logged; what it prints beyond is read and
/// counted.
const MAX_OUTPUT: u64 = 1024 * 1024;

/// Bytes that can be in a pipe, and so the most that a hook that has ended left
/// in it.
const MAX_PIPE: usize = 1024 * 1024;

/// How long a hook that is to end may take to do it by itself.
const GRACE: Duration = Duration::from_secs(2);

/// How long what a hook has left may take to leave its group, as a daemon does
/// (`setsid -f`); nothing tells of that, so it is looked for after each.
const SETTLE: [Duration; 4] = [
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
];

/// Longest line of a hook that the user is shown, in characters.
const MAX_REASON: usize = 300;

/// What is to be run, and with what.
#[derive(Clone)]
pub struct Order {
    /// Which hook.
    pub hook: Hook,
    /// An executable, or a folder of such.
    pub program: PathBuf,
    /// How long it may take, all executables of a folder together.
    pub limit: Duration,
    /// What it is told.
    pub arguments: Arguments,
    /// The session's name in logs.
    pub session: Option<String>,
    /// What is run when it fails.
    pub on_fail: Option<PathBuf>,
    /// Who is told its lines beside the log.
    pub listener: Option<mpsc::UnboundedSender<String>>,
}

impl Order {
    /// What the configuration has for this hook, if anything.
    #[must_use]
    pub fn of(hook: Hook, config: &VmaConfig, situation: &super::Situation) -> Option<Self> {
        Some(Self {
            hook,
            program: hook.program(config)?.to_owned(),
            limit: hook.limit(config),
            arguments: Arguments::of(hook, situation),
            session: situation.session.clone(),
            on_fail: hook.on_fail(config).map(Path::to_owned),
            listener: None,
        })
    }
}

/// Runs hooks, and knows which run. One an agent; cheap to clone.
#[derive(Clone)]
pub struct Runner(Rc<Inner>);

struct Inner {
    log: HookLog,
    /// Where records of running hooks are, for the next agent.
    records: leftover::Records,
    /// The leaders of the groups that run, with their marks.
    running: RefCell<BTreeMap<i32, String>>,
}

impl Drop for Inner {
    /// No hook outlives its agent.
    fn drop(&mut self) {
        for leader in self.running.get_mut().keys() {
            if let Some(pid) = Pid::from_raw(*leader) {
                let _ = kill_process_group(pid, Signal::KILL);
            }
            self.records.remove(*leader);
        }
    }
}

impl Runner {
    /// A runner that logs to `log` and keeps its records in `path.run`.
    #[must_use]
    pub fn new(log: impl Into<PathBuf>, run: &Path, display: u16) -> Self {
        Self(Rc::new(Inner {
            log: HookLog::new(log),
            records: leftover::Records::new(run, display),
            running: RefCell::default(),
        }))
    }

    /// Runs a hook and waits for its end, at most its limit and then two
    /// seconds; or until `cut_short`, which need not ever come. What is
    /// configured for its failure is run beside everything else.
    ///
    /// # Errors
    /// Why it failed.
    pub async fn run(
        &self,
        order: Order,
        cut_short: impl Future<Output = ()>,
    ) -> Result<(), Failure> {
        tokio::pin!(cut_short);
        let start = Instant::now();
        let outcome = self.run_all(&order, cut_short.as_mut()).await;
        let millis = start.elapsed().as_millis();
        match &outcome {
            Ok(()) => self.say(&order, &format!("succeeded after {millis} ms")),
            Err(failure) => {
                self.say(
                    &order,
                    &format!("failed after {millis} ms: {}", failure.why),
                );
                tracing::warn!(session = order.session, "{failure}");
                self.run_on_fail(order, failure);
            }
        }
        outcome
    }

    fn say(&self, order: &Order, text: &str) {
        self.0
            .log
            .line(order.hook.name(), order.session.as_deref(), text.as_bytes());
    }

    fn run_on_fail(&self, mut order: Order, failure: &Failure) {
        if matches!(failure.why, Why::CutShort) {
            return;
        }
        let Some(program) = order.on_fail.take() else {
            return;
        };
        order.program = program;
        let reason = failure.why.to_string();
        order.arguments = order.arguments.of_failure(order.hook, &reason);
        let runner = self.clone();
        tokio::task::spawn_local(async move {
            let hook = order.hook.name();
            let never = std::pin::pin!(std::future::pending());
            if let Err(failure) = runner.run_all(&order, never).await {
                tracing::warn!(
                    session = order.session,
                    "after the failed hook {hook}: {failure}"
                );
            }
        });
    }

    async fn run_all(
        &self,
        order: &Order,
        mut cut_short: std::pin::Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + order.limit;
        let path = order.program.clone();
        let fault = |program: &Path, why| Failure {
            hook: order.hook,
            program: program.to_owned(),
            why,
        };
        // A file system that does not answer must not hold the agent up.
        let listed = tokio::task::spawn_blocking(move || programs(&path));
        let listed = tokio::select! {
            listed = timeout_at(deadline, listed) => listed,
            () = cut_short.as_mut() => return Err(fault(&order.program, Why::CutShort)),
        };
        let parts = match listed {
            Ok(Ok(Ok(parts))) => parts,
            Ok(Ok(Err((program, why)))) => return Err(fault(&program, Why::Refused(why))),
            Ok(Err(error)) => return Err(fault(&order.program, Why::Refused(error.to_string()))),
            Err(_) => return Err(fault(&order.program, Why::Time(order.limit))),
        };
        for skipped in &parts.skipped {
            self.say(order, &format!("skipped: {skipped}"));
        }
        for program in &parts.run {
            let ran = self.run_one(order, program, deadline, cut_short.as_mut());
            ran.await.map_err(|why| fault(program, why))?;
        }
        Ok(())
    }

    async fn run_one(
        &self,
        order: &Order,
        program: &Path,
        deadline: Instant,
        cut_short: std::pin::Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), Why> {
        let mut run = self.start(order, program).map_err(Why::Start)?;
        let ended = tokio::select! {
            status = run.until_ended() => Ok(status),
            () = sleep_until(deadline) => Err(Why::Time(order.limit)),
            () = cut_short => Err(Why::CutShort),
        };
        match ended {
            Ok(status) => {
                run.last_words();
                let reason = run.reason();
                run.leave(deadline);
                judge(status.map_err(Why::Start)?, reason)
            }
            Err(why) => {
                run.kill().await;
                Err(why)
            }
        }
    }

    fn start(&self, order: &Order, program: &Path) -> io::Result<Run> {
        let mark = mark()?;
        let mut command = Command::new(program);
        command
            .args(order.arguments.words())
            .env_clear()
            .envs(order.arguments.environment())
            .env(MARK, &mark)
            .current_dir("/")
            .stdin(Stdio::null());
        let output = Output::of(&mut command)?;
        bind_to_parent(&mut command);
        let mut command = tokio::process::Command::from(command);
        let child = command.kill_on_drop(true).spawn()?;
        let leader = child.id().and_then(|id| i32::try_from(id).ok());
        let leader = leader.and_then(Pid::from_raw).ok_or(io::ErrorKind::Other)?;
        let number = leader.as_raw_nonzero().get();
        self.0.running.borrow_mut().insert(number, mark.clone());
        self.0.records.write(number, &mark);
        Ok(Run {
            runner: self.clone(),
            hook: order.hook,
            session: order.session.clone(),
            listener: order.listener.clone(),
            child,
            leader,
            mark,
            output,
            logged: 0,
            dropped: 0,
            last: None,
        })
    }
}

/// What is to be run for this path, checked.
fn programs(path: &Path) -> Result<folder::Parts, (PathBuf, String)> {
    let wrong = |path: &Path| {
        let path = path.to_owned();
        move |why: String| (path, why)
    };
    let parts = if folder::is_one(path) {
        trust::folder(path).map_err(wrong(path))?;
        folder::parts(path).map_err(|e| wrong(path)(e.to_string()))?
    } else {
        folder::Parts {
            run: vec![path.to_owned()],
            skipped: vec![],
        }
    };
    for program in &parts.run {
        trust::executable(program).map_err(wrong(program))?;
    }
    Ok(parts)
}

fn mark() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| io::Error::other(format!("no randomness: {e}")))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

fn judge(ended: ExitStatus, words: Option<String>) -> Result<(), Why> {
    match (ended.code(), ended.signal()) {
        (Some(0), _) => Ok(()),
        (Some(status), _) => Err(Why::Exit { status, words }),
        (None, signal) => Err(Why::Signal {
            signal: signal.unwrap_or_default(),
            words,
        }),
    }
}

/// One executable that runs.
struct Run {
    runner: Runner,
    hook: Hook,
    session: Option<String>,
    listener: Option<mpsc::UnboundedSender<String>>,
    child: Child,
    leader: Pid,
    mark: String,
    output: Output,
    /// Bytes that were logged.
    logged: u64,
    /// Lines that were not.
    dropped: u64,
    /// The last line that says something.
    last: Option<String>,
}

impl Run {
    /// Waits for the leader's end, and hears it. Cancel safe.
    async fn until_ended(&mut self) -> io::Result<ExitStatus> {
        loop {
            tokio::select! {
                status = self.child.wait() => return status,
                lines = self.output.next() => self.heard(lines),
            }
        }
    }

    fn last_words(&mut self) {
        let lines = self.output.rest(MAX_PIPE);
        self.heard(lines);
    }

    fn heard(&mut self, lines: Vec<String>) {
        for line in lines {
            if let Some(listener) = &self.listener
                && self.logged < MAX_OUTPUT
            {
                let _ = listener.send(line.clone());
            }
            if self.logged < MAX_OUTPUT {
                self.logged += u64::try_from(line.len()).unwrap_or(MAX_OUTPUT) + 1;
                let hook = self.hook.name();
                let log = &self.runner.0.log;
                log.line(hook, self.session.as_deref(), line.as_bytes());
            } else {
                self.dropped += 1;
            }
            if !line.trim().is_empty() {
                self.last = Some(line);
            }
        }
    }

    /// The last line, as a user can be shown it.
    fn reason(&self) -> Option<String> {
        let line = self.last.as_deref()?.trim();
        let shown = line.chars().filter(|c| !c.is_control());
        Some(shown.take(MAX_REASON).collect())
    }

    /// Kills everything that this run has started and that can be found.
    async fn kill(mut self) {
        let leader = self.leader;
        let below = blocking(move || procs::descendants(leader)).await;
        let _ = kill_process_group(leader, Signal::TERM);
        procs::signal(&below, Signal::TERM);
        let hear = async {
            while self.child.try_wait().is_ok_and(|status| status.is_none()) {
                let _ = self.until_ended().await;
            }
        };
        let _ = timeout(GRACE, hear).await;
        let _ = kill_process_group(leader, Signal::KILL);
        let mark = self.mark.clone();
        // A number can be another's by now.
        blocking(move || {
            let ours: Vec<Pid> = below
                .into_iter()
                .filter(|pid| procs::has_variable(*pid, MARK, &mark))
                .collect();
            procs::signal(&ours, Signal::KILL);
        })
        .await;
        let _ = self.child.wait().await;
        self.last_words();
        self.over();
    }

    /// Lets what the hook has left in its group go on until the hook's time is
    /// over, and no longer.
    fn leave(mut self, deadline: Instant) {
        tokio::task::spawn_local(async move {
            let (leader, mark) = (self.leader, self.mark.clone());
            let others = move || group_of(leader, &mark);
            for pause in SETTLE {
                if blocking(others.clone()).await.is_empty() {
                    return self.over();
                }
                let _ = timeout(pause, self.hear_out()).await;
            }
            if !blocking(others.clone()).await.is_empty() {
                // What is silent is looked for at the end of its time.
                let _ = timeout_at(deadline, self.hear_out()).await;
                let left = blocking(others).await;
                if !left.is_empty() {
                    let text = format!("killed what it had left: {} processes", left.len());
                    let (hook, log) = (self.hook.name(), &self.runner.0.log);
                    log.line(hook, self.session.as_deref(), text.as_bytes());
                    procs::signal(&left, Signal::KILL);
                }
            }
            self.over();
        });
    }

    /// Hears whatever is said, and does not end.
    async fn hear_out(&mut self) {
        while !self.output.is_over() {
            let lines = self.output.next().await;
            self.heard(lines);
        }
        std::future::pending::<()>().await;
    }

    fn over(&mut self) {
        if self.dropped > 0 {
            let text = format!("{} more lines were not kept", self.dropped);
            let (hook, log) = (self.hook.name(), &self.runner.0.log);
            log.line(hook, self.session.as_deref(), text.as_bytes());
        }
        let leader = self.leader.as_raw_nonzero().get();
        self.runner.0.running.borrow_mut().remove(&leader);
        self.runner.0.records.remove(leader);
    }
}

/// The processes of a run's group. The leader's number can be another's once
/// the group is empty, hence the mark.
pub(super) fn group_of(leader: Pid, mark: &str) -> Vec<Pid> {
    let mut group = procs::group(leader);
    group.retain(|pid| procs::has_variable(*pid, MARK, mark));
    group
}

async fn blocking<T: Default + Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap_or_default()
}
