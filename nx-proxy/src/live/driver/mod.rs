//! The bytes of a session on their way: agent, X server and local ends on one
//! side each, the codec between.

mod agent;
mod ends;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::channel::{Channel, Kind};
use super::limits;
use super::local::{LocalEnd, LocalEnds};
use super::pipe::Pipe;
use super::stats::{Counter, Shared};
use super::up::Up;
use super::window::Window;
use crate::NxStream;
use crate::authority::Access;
use crate::codec::{Codec, CodecError, Greeting, Service};

/// Something that the one who waits for the session wants to know.
#[derive(Debug)]
pub(super) enum Step {
    /// Both ends understand each other.
    Agreed(Greeting),
    /// The X server has accepted the session.
    Started,
    /// The session is up: channels may be used.
    Up,
    /// A channel beside X is open, or closed.
    Opened(Service, u8),
    Closed(Service, u8),
    /// One has no local end; why.
    NotOpened(Service, String),
    /// The agent closes the session.
    Ending,
    /// After that, all that came for local ends is written.
    Settled,
    /// The agent has closed the connection; why, if it failed.
    AgentGone(Option<io::Error>),
    /// The X server has closed its connection.
    DisplayGone,
}

/// Why a session cannot go on.
#[derive(Debug)]
pub(super) enum Fault {
    /// The agent's bytes.
    Codec(CodecError),
    /// No connection to the X server.
    Display(io::Error),
    /// The X server refuses the session, in its words.
    Refused(String),
}

impl From<CodecError> for Fault {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

/// Carries the bytes of one session.
pub(super) struct Driver {
    codec: Codec,
    agent: Pipe<NxStream>,
    /// Nothing can be written to the agent any more; what it wrote before is
    /// still read.
    agent_deaf: bool,
    /// All that was read of the agent is decoded.
    hungry: bool,
    /// When the agent was last heard, or was not listened to.
    pub(super) heard: Instant,
    channels: BTreeMap<u8, Channel>,
    window: Window,
    up: Up,
    access: Access,
    ends: Arc<dyn LocalEnds>,
    steps: VecDeque<Step>,
    buffer: Vec<u8>,
    /// The X server has closed a channel and was not heard since: it may be
    /// gone, or have closed this client alone.
    closed_by_display: bool,
    /// The agent has said its last word, and what came before is not yet
    /// written to all local ends.
    farewell: bool,
    counter: Counter,
    shared: Shared,
}

impl Driver {
    pub(super) fn new(
        codec: Codec,
        stream: NxStream,
        access: Access,
        ends: Arc<dyn LocalEnds>,
        shared: Shared,
    ) -> Self {
        shared.clear();
        Self {
            codec,
            agent: Pipe::new(stream),
            agent_deaf: false,
            hungry: true,
            heard: Instant::now(),
            channels: BTreeMap::new(),
            window: Window::new(""),
            up: Up::default(),
            access,
            ends,
            steps: VecDeque::new(),
            buffer: vec![0; limits::READ],
            closed_by_display: false,
            farewell: false,
            counter: Counter::default(),
            shared,
        }
    }

    /// Carries what there is. Ready with each step, and to be called again
    /// after it.
    ///
    /// # Errors
    /// The session cannot go on.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Step, Fault>> {
        for _ in 0..limits::TURNS {
            // What came goes on in the same turn, to the display first.
            let mut busy = self.listen(cx)?;
            busy |= self.decode()?;
            busy |= self.serve(cx)?;
            while self.window.poll_nudge(cx).is_ready() {
                self.codec.ask();
                busy = true;
            }
            busy |= self.speak(cx)?;
            if self.up.poll(cx, &self.codec) {
                self.steps.push_back(Step::Up);
            }
            let is_busy = |c: &Channel| c.waiting() > 0 || c.is_finishing();
            if self.farewell && !self.channels.values().any(is_busy) {
                self.farewell = false;
                self.steps.push_back(Step::Settled);
            }
            if let Some(step) = self.steps.pop_front() {
                return Poll::Ready(Ok(step));
            }
            if !busy {
                self.count();
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Has others know what was carried.
    pub(super) fn count(&self) {
        let channels = self.channels.values();
        self.shared
            .update(&self.counter, self.codec.totals(), channels);
    }

    /// Asks the agent for a sign of life.
    pub(super) fn ask(&mut self) {
        self.codec.ask();
    }

    /// Makes a local end a channel to the agent.
    pub(super) fn open(&mut self, service: Service, end: LocalEnd) {
        match self.codec.open(service) {
            Some(id) => {
                let kind = Kind::Service(service);
                self.channels.insert(id, Channel::there(kind, end));
                self.steps.push_back(Step::Opened(service, id));
            }
            None => {
                let reason = "no channel is free";
                tracing::warn!("{reason}");
                let step = Step::NotOpened(service, reason.to_owned());
                self.steps.push_back(step);
            }
        }
    }

    /// Takes the session off the display and tells the agent, which then
    /// suspends it.
    pub(super) fn leave(&mut self) {
        let (codec, counter) = (&mut self.codec, &mut self.counter);
        self.channels.retain(|id, channel| {
            let stays = channel.kind != Kind::X;
            if !stays {
                counter.close(channel);
                codec.finish(*id);
            }
            stays
        });
        self.codec.shutdown();
    }

    /// Writes what still waits for the agent, and closes the connection.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Ok(bytes) = self.codec.take_output() {
            self.agent.queue.push(bytes);
        }
        self.agent.poll_shutdown(cx)
    }

    /// A channel is closed; it, if it was open.
    fn forget(&mut self, id: u8) -> Option<Channel> {
        let channel = self.channels.remove(&id)?;
        self.counter.close(&channel);
        channel.is_there().then_some(channel)
    }
}
