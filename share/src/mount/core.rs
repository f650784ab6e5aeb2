use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fuser::{Errno, Notifier, ReplyWrite};
use qvd_sftp::{
    Answer, Client, Event, Extensions, Failure, FileSystem, MAX_DATA, NAMED_HANDLES, Partial,
    Request, Response, SAFE_DATA, Status,
};

use super::convert;
use super::files::File;
use super::folders::Folder;
use super::patience::Wait;
use super::tree::Tree;

/// Most bytes of writes that are not answered yet: enough for a long link.
const WRITE_WINDOW: usize = 8 * 1024 * 1024;

/// Bytes asked for ahead of a reader on a link without delay, and more for
/// each millisecond of its round trip, up to a limit.
const READ_WINDOW: u64 = 1024 * 1024;
const READ_WINDOW_PER_MS: u64 = 256 * 1024;
const MAX_READ_WINDOW: u64 = 16 * 1024 * 1024;

/// Bytes of one read: what the kernel asks for at once.
const READ: u32 = 128 * 1024;

/// Why a request failed: what the program that asked is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    pub(super) errno: Errno,
    pub(super) failure: Option<Failure>,
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self {
            errno,
            failure: None,
        }
    }
}

pub(super) type Outcome = Result<Answer, Fault>;
type Job = Box<dyn FnOnce(&mut Core, Outcome) + Send>;
pub(super) type Reply = Box<dyn FnOnce() + Send>;

struct Asked {
    job: Job,
    at: Instant,
    /// Whether the answer's delay is the link's, and not the amount of data's.
    small: bool,
}

/// The state of a mount: what is asked, known and open.
pub(super) struct Core {
    client: Client<Asked>,
    replies: Vec<Reply>,
    pub(super) now: Instant,
    pub(super) extensions: Extensions,
    ready: bool,
    gone: bool,
    /// There is an outage.
    is_out: bool,
    pub(super) tree: Tree,
    pub(super) files: HashMap<u64, File>,
    pub(super) folders: HashMap<u64, Folder>,
    next_handle: u64,
    next_named: u64,
    /// The shortest answer so far: the round trip.
    round_trip: Duration,
    pub(super) read_length: u32,
    pub(super) write_length: usize,
    unanswered: usize,
    /// The kernel is answered before what was asked is sent.
    answers_first: bool,
    held: VecDeque<(ReplyWrite, u32)>,
    pub(super) waits: VecDeque<Wait>,
    /// One was put there since that was asked last.
    pub(super) hurried: bool,
    /// The file system that is shared, as it was told last.
    pub(super) file_system: Option<FileSystem>,
    /// The sharing user, as whom the mounting user sees himself.
    pub(super) owner: Option<(u32, u32)>,
    pub(super) read_only: bool,
    /// Tells the kernel what it could not know.
    pub(super) notifier: Option<Notifier>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("client", &self.client)
            .field("gone", &self.gone)
            .finish_non_exhaustive()
    }
}

impl Core {
    pub(super) fn new(timeout: Duration, now: Instant) -> Self {
        Self {
            client: Client::new(timeout, now),
            replies: Vec::new(),
            now,
            extensions: Extensions::default(),
            ready: false,
            gone: false,
            is_out: false,
            tree: Tree::new(),
            files: HashMap::new(),
            folders: HashMap::new(),
            next_handle: 1,
            next_named: NAMED_HANDLES,
            round_trip: timeout,
            read_length: SAFE_DATA,
            write_length: usize::try_from(SAFE_DATA).unwrap_or(usize::MAX),
            unanswered: 0,
            answers_first: false,
            held: VecDeque::new(),
            waits: VecDeque::new(),
            hurried: false,
            file_system: None,
            owner: None,
            read_only: false,
            notifier: None,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    pub(super) fn has_output(&self) -> bool {
        self.client.has_output()
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.client.poll_transmit()
    }

    pub(super) fn sent(&mut self) {
        self.client.sent(Instant::now());
    }

    /// There is an outage, or none any more: in one, nothing is given up but
    /// what is answered with what is known.
    pub(super) fn outage(&mut self, begins: bool) {
        self.is_out = begins;
        match begins {
            true => self.client.pause(self.now),
            false => self.client.unpause(self.now),
        }
    }

    pub(super) fn is_out(&self) -> bool {
        self.is_out
    }

    pub(super) fn under_way(&self) -> usize {
        self.client.under_way()
    }

    pub(super) fn poll_timeout(&mut self) -> Option<Instant> {
        let wait = self.waits.front().map(|wait| wait.until);
        let timeout = self.client.poll_timeout();
        wait.into_iter().chain(timeout).min()
    }

    /// Whether somebody waits since this was asked last whose time may come
    /// before that of all others.
    pub(super) fn take_hurried(&mut self) -> bool {
        std::mem::take(&mut self.hurried)
    }

    /// Something to be done when the lock is given back: an answer to the
    /// kernel.
    pub(super) fn later(&mut self, reply: impl FnOnce() + Send + 'static) {
        self.replies.push(Box::new(reply));
    }

    /// What is to be done, and whether before anything is sent.
    pub(super) fn take_replies(&mut self) -> (Vec<Reply>, bool) {
        let first = std::mem::take(&mut self.answers_first);
        (std::mem::take(&mut self.replies), first)
    }

    pub(super) fn handle(&mut self) -> u64 {
        let handle = self.next_handle;
        self.next_handle += 1;
        handle
    }

    /// A handle of the peer's that is named here, where the peer has that.
    pub(super) fn name_handle(&mut self) -> Option<u64> {
        if !self.extensions.named_handles {
            return None;
        }
        self.next_named += 1;
        Some(self.next_named - 1)
    }

    /// Asks the peer; `job` goes on with the answer, or with why there is
    /// none.
    pub(super) fn ask(
        &mut self,
        request: &Request<'_>,
        job: impl FnOnce(&mut Self, Outcome) + Send + 'static,
    ) {
        if self.gone {
            job(self, Err(Errno::EIO.into()));
            return;
        }
        let small = matches!(request, Request::Lstat { .. } | Request::Open { .. });
        let asked = Asked {
            job: Box::new(job),
            at: self.now,
            small,
        };
        self.client.request(request, asked, self.now);
    }

    /// Asks for a change: the answer is but whether it was done.
    pub(super) fn ask_done(
        &mut self,
        request: &Request<'_>,
        job: impl FnOnce(&mut Self, Result<(), Fault>) + Send + 'static,
    ) {
        self.ask(request, move |core, outcome| {
            let done = outcome.and_then(|answer| done(&answer));
            job(core, done);
        });
    }

    /// Asks two things in one round trip; the answers come in any order.
    pub(super) fn ask_both(
        &mut self,
        first: &Request<'_>,
        second: &Request<'_>,
        job: impl FnOnce(&mut Self, Outcome, Outcome) + Send + 'static,
    ) {
        let both = Arc::new(Mutex::new(Both {
            first: None,
            second: None,
            job: Some(job),
        }));
        let other = Arc::clone(&both);
        self.ask(first, move |core, outcome| {
            let mut both = both.lock().unwrap_or_else(PoisonError::into_inner);
            both.first = Some(outcome);
            let done = both.take();
            drop(both);
            if let Some((job, first, second)) = done {
                job(core, first, second);
            }
        });
        self.ask(second, move |core, outcome| {
            let mut both = other.lock().unwrap_or_else(PoisonError::into_inner);
            both.second = Some(outcome);
            let done = both.take();
            drop(both);
            if let Some((job, first, second)) = done {
                job(core, first, second);
            }
        });
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<(), qvd_sftp::Error> {
        let received = self.client.receive(bytes, self.now);
        self.events();
        received
    }

    pub(super) fn take_partial(&mut self, least: usize) -> Option<Partial> {
        self.client.take_partial(least)
    }

    pub(super) fn receive_partial(&mut self, partial: Partial) -> Result<(), qvd_sftp::Error> {
        let received = self.client.receive_partial(partial, self.now);
        self.events();
        received
    }

    pub(super) fn handle_timeout(&mut self) -> Result<(), qvd_sftp::Error> {
        self.lose_patience();
        let handled = self.client.handle_timeout(self.now);
        self.events();
        handled
    }

    fn events(&mut self) {
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Ready(extensions) => self.begin(extensions),
                Event::Answer(asked, answer) => {
                    if asked.small {
                        let delay = self.now.saturating_duration_since(asked.at);
                        self.round_trip = self.round_trip.min(delay);
                    }
                    let outcome = match answer.response() {
                        Response::Status(failure) if failure.status != Status::Ok => Err(Fault {
                            errno: convert::errno(failure),
                            failure: Some(failure),
                        }),
                        _ => Ok(answer),
                    };
                    (asked.job)(self, outcome);
                }
                Event::Lapsed(asked, lapse) => {
                    tracing::warn!(?lapse, "the sharing end does not answer");
                    (asked.job)(self, Err(Errno::EIO.into()));
                }
            }
        }
    }

    /// The peer's server has begun: what is needed to know of it is asked.
    fn begin(&mut self, extensions: Extensions) {
        self.extensions = extensions;
        self.ready = true;
        if extensions.limits {
            self.ask(&Request::Limits, |core, outcome| {
                if let Some(limits) = outcome.ok().and_then(|answer| answer.response().limits()) {
                    let within = |most: u64| {
                        let most = u32::try_from(most).unwrap_or(u32::MAX);
                        if most == 0 {
                            SAFE_DATA
                        } else {
                            most.min(MAX_DATA)
                        }
                    };
                    core.read_length = within(limits.read).min(READ);
                    core.write_length = usize::try_from(within(limits.write)).unwrap_or_default();
                }
            });
        }
        self.ask(&Request::Lstat { path: b"." }, |core, outcome| {
            if let Ok(answer) = outcome
                && let Response::Attributes(attributes) = answer.response()
            {
                core.owner = attributes.owner;
                let now = core.now;
                core.tree.learn(Tree::ROOT, attributes, now);
            }
        });
        if extensions.statvfs {
            self.ask(&Request::Statvfs { path: b"." }, |core, outcome| {
                let known = outcome
                    .ok()
                    .and_then(|answer| answer.response().file_system());
                core.file_system = known;
                core.read_only =
                    known.is_some_and(|known| known.flags & qvd_sftp::FileSystem::READ_ONLY != 0);
            });
        }
    }

    /// How far ahead of a reader may be asked.
    pub(super) fn read_window(&self) -> u64 {
        let ms = u64::try_from(self.round_trip.as_millis()).unwrap_or(u64::MAX);
        READ_WINDOW
            .saturating_add(READ_WINDOW_PER_MS.saturating_mul(ms))
            .min(MAX_READ_WINDOW)
    }

    /// Answers a write as soon as there is room for its bytes.
    pub(super) fn answer_write(&mut self, reply: ReplyWrite, length: u32) {
        let bytes = usize::try_from(length).unwrap_or_default();
        if self.unanswered > WRITE_WINDOW {
            self.held.push_back((reply, length));
        } else {
            // The program gets its next bytes ready while these are sent.
            self.answers_first = true;
            self.later(move || reply.written(length));
        }
        self.unanswered = self.unanswered.saturating_add(bytes);
    }

    /// A write was answered.
    pub(super) fn written(&mut self, bytes: usize) {
        self.unanswered = self.unanswered.saturating_sub(bytes);
        while self.unanswered <= WRITE_WINDOW {
            let Some((reply, length)) = self.held.pop_front() else {
                break;
            };
            self.later(move || reply.written(length));
        }
    }

    /// Lets go of what is known no longer.
    pub(super) fn tidy(&mut self) {
        if self.is_out {
            // What is under way may need it.
            return;
        }
        let now = self.now;
        self.tree.tidy(now);
        self.files.shrink_to_fit();
        self.folders.shrink_to_fit();
    }

    /// The channel is gone: whatever waits for it fails.
    pub(super) fn fail(&mut self) {
        if std::mem::replace(&mut self.gone, true) {
            return;
        }
        for asked in self.client.abort() {
            (asked.job)(self, Err(Errno::EIO.into()));
        }
        self.waits.clear();
        for (reply, _) in std::mem::take(&mut self.held) {
            self.later(move || reply.error(Errno::EIO));
        }
        self.fail_files();
        self.fail_folders();
    }
}

/// Two outcomes, and what is done with both.
struct Both<J> {
    first: Option<Outcome>,
    second: Option<Outcome>,
    job: Option<J>,
}

impl<J> Both<J> {
    fn take(&mut self) -> Option<(J, Outcome, Outcome)> {
        let (first, second) = (self.first.take(), self.second.take());
        match (first, second) {
            (Some(first), Some(second)) => Some((self.job.take()?, first, second)),
            (first, second) => {
                self.first = first;
                self.second = second;
                None
            }
        }
    }
}

/// Whether an answer says that it is done.
pub(super) fn done(answer: &Answer) -> Result<(), Fault> {
    match answer.response() {
        Response::Status(failure) if failure.status == Status::Ok => Ok(()),
        // An answer of another kind is no answer.
        _ => Err(Errno::EIO.into()),
    }
}
