//! The bytes of a session on their way: agent, X server and local ends on one
//! side each, the codec between.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::{Instant, timeout};

use super::channel::{Channel, Kind};
use super::limits;
use super::local::{LocalEnd, LocalEnds};
use super::pipe::Pipe;
use super::setup;
use super::stats::{Counter, Shared};
use super::up::Up;
use super::window::Window;
use crate::NxStream;
use crate::authority::Access;
use crate::codec::{Codec, CodecError, Control, Greeting, Output, Service};

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
    /// The agent closes the session.
    Ending,
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

    /// Makes a local end a slave channel to the agent.
    pub(super) fn open_slave(&mut self, end: LocalEnd) {
        match self.codec.open_slave() {
            Some(id) => {
                let kind = Kind::Service(Service::Slave);
                self.channels.insert(id, Channel::there(kind, end));
                self.steps.push_back(Step::Opened(Service::Slave, id));
            }
            None => tracing::warn!("no slave channel is free"),
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

    /// Serves every local end once; whether there was anything to do.
    fn serve(&mut self, cx: &mut Context<'_>) -> Result<bool, Fault> {
        let mut busy = false;
        let mut gone = Vec::new();
        for (id, channel) in &mut self.channels {
            let mut turn = Turn {
                id: *id,
                codec: &mut self.codec,
                window: &mut self.window,
                up: &mut self.up,
                steps: &mut self.steps,
                to_agent: self.agent.queue.waiting(),
                buffer: &mut self.buffer,
            };
            match turn.take(channel, cx)? {
                Some(did) => busy |= did,
                None => gone.push(*id),
            }
        }
        for id in gone {
            busy = true;
            match self.forget(id) {
                Some(Kind::X) if !self.has_display() => self.steps.push_back(Step::DisplayGone),
                Some(Kind::Service(service)) => self.steps.push_back(Step::Closed(service, id)),
                _ => {}
            }
        }
        Ok(busy)
    }

    /// A channel is closed; its kind.
    fn forget(&mut self, id: u8) -> Option<Kind> {
        let channel = self.channels.remove(&id)?;
        self.counter.close(&channel);
        Some(channel.kind)
    }

    fn has_display(&self) -> bool {
        self.channels.values().any(|c| c.kind == Kind::X)
    }

    /// Decodes what was read of the agent, as long as there is room for it and
    /// nothing to be told: a fault must not overtake what went before.
    fn decode(&mut self) -> Result<bool, Fault> {
        let mut busy = false;
        while !self.hungry && self.has_room() && self.steps.is_empty() {
            match self.codec.poll()? {
                Some(output) => self.output(output)?,
                None => self.hungry = true,
            }
            busy = true;
        }
        Ok(busy)
    }

    fn has_room(&self) -> bool {
        let waits = |c: &Channel| c.kind == Kind::X && c.waiting() > limits::TO_DISPLAY;
        self.agent.queue.waiting() <= limits::TO_AGENT && !self.channels.values().any(waits)
    }

    fn output(&mut self, output: Output) -> Result<(), Fault> {
        match output {
            Output::Greeting(greeting) => {
                self.window = Window::new(&greeting.link);
                self.steps.push_back(Step::Agreed(greeting));
            }
            Output::OpenX(id) => {
                let access = self.access.clone();
                let opening = Box::pin(async move {
                    let connected = timeout(limits::CONNECT, access.connect()).await;
                    connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                });
                self.channels.insert(id, Channel::coming(Kind::X, opening));
            }
            Output::X(id, bytes) => {
                if let Some(channel) = self.channels.get_mut(&id) {
                    let bytes = match channel.admitted {
                        true => bytes,
                        false => setup::admit(&bytes, &self.access.cookie)?,
                    };
                    channel.admitted = true;
                    channel.push(bytes);
                }
            }
            Output::Data(id, bytes) => {
                if let Some(channel) = self.channels.get_mut(&id) {
                    channel.push(bytes);
                    let value = channel.waiting();
                    if value > limits::CHANNEL {
                        let what = "data for a channel that takes no more";
                        return Err(CodecError::TooLarge { what, value }.into());
                    }
                    if value > limits::CONGESTION.0 && !channel.congested {
                        channel.congested = true;
                        self.codec.congestion(id, true);
                    }
                }
            }
            Output::Control(control) => self.control(control)?,
        }
        Ok(())
    }

    fn control(&mut self, control: Control) -> Result<(), Fault> {
        match control {
            Control::Open(service, id) => {
                // The agent sends at once.
                self.codec.opened(id);
                let channel = Channel::coming(Kind::Service(service), self.ends.open(service));
                self.channels.insert(id, channel);
            }
            Control::Drop(id) => {
                if let Some(Kind::Service(service)) = self.forget(id) {
                    self.steps.push_back(Step::Closed(service, id));
                }
            }
            Control::Finish(id) => match self.channels.get_mut(&id) {
                Some(channel) => {
                    channel.finish();
                    if channel.kind == Kind::X {
                        self.steps.push_back(Step::Ending);
                    }
                }
                // It has ended here, too.
                None => self.codec.drop_channel(id),
            },
            Control::Congestion(id, begins) => {
                if let Some(channel) = self.channels.get_mut(&id) {
                    channel.held = begins;
                }
            }
            Control::DataTokens(count) => {
                if !self.window.back(count) {
                    let (what, value) = ("data token reply", u64::from(count));
                    return Err(CodecError::Bad { what, value }.into());
                }
            }
            Control::Tokens(_) => {}
            Control::Note(note) => tracing::debug!("{note}"),
            Control::Shutdown => self.steps.push_back(Step::Ending),
        }
        Ok(())
    }

    /// Reads of the agent, once all before is decoded.
    fn listen(&mut self, cx: &mut Context<'_>) -> Result<bool, Fault> {
        if !self.hungry {
            self.heard = Instant::now();
            return Ok(false);
        }
        let read = match self.codec.room() {
            Some(room) => self.agent.poll_read(cx, room).map_ok(|count| (count, true)),
            None => self
                .agent
                .poll_read(cx, &mut self.buffer)
                .map_ok(|count| (count, false)),
        };
        let step = match read {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok((count, there))) if count > 0 => {
                if there {
                    self.codec.filled(count);
                } else {
                    let bytes = self.buffer.get(..count).unwrap_or_default();
                    self.codec.receive(bytes)?;
                }
                self.counter.carried.0 += u64::try_from(count).unwrap_or(0);
                self.hungry = false;
                self.heard = Instant::now();
                return Ok(true);
            }
            Poll::Ready(Ok(_)) => Step::AgentGone(None),
            Poll::Ready(Err(error)) => Step::AgentGone(Some(error)),
        };
        self.steps.push_back(step);
        Ok(true)
    }

    /// Writes to the agent; whether there is more room now for what others
    /// have to say.
    fn speak(&mut self, cx: &mut Context<'_>) -> Result<bool, Fault> {
        let bytes = self.codec.take_output()?;
        if self.agent_deaf {
            return Ok(false);
        }
        self.counter.carried.1 += u64::try_from(bytes.len()).unwrap_or(0);
        self.agent.queue.push(bytes);
        let before = self.agent.queue.waiting();
        if let Poll::Ready(Err(error)) = self.agent.poll_write(cx) {
            // It may have said before why it goes.
            tracing::debug!(%error, "agent cannot be written to");
            self.agent_deaf = true;
        }
        for chunk in self.agent.queue.spent() {
            self.codec.recycle_output(chunk);
        }
        Ok(self.agent.queue.waiting() < before)
    }
}

/// One local end's turn.
struct Turn<'t> {
    id: u8,
    codec: &'t mut Codec,
    window: &'t mut Window,
    up: &'t mut Up,
    steps: &'t mut VecDeque<Step>,
    to_agent: usize,
    buffer: &'t mut [u8],
}

impl Turn<'_> {
    /// Whether something was done; `None` when the channel is closed.
    fn take(&mut self, channel: &mut Channel, cx: &mut Context<'_>) -> Result<Option<bool>, Fault> {
        match channel.poll_open(cx) {
            Poll::Pending => return Ok(Some(false)),
            Poll::Ready(Ok(false)) => {}
            Poll::Ready(Ok(true)) => {
                if let Kind::Service(service) = channel.kind {
                    self.steps.push_back(Step::Opened(service, self.id));
                }
            }
            Poll::Ready(Err(error)) => {
                if channel.kind == Kind::X {
                    return Err(Fault::Display(error));
                }
                tracing::warn!(%error, "channel has no local end");
                self.codec.drop_channel(self.id);
                return Ok(None);
            }
        }
        let before = channel.waiting();
        let written = channel.poll_write(cx);
        let mut busy = channel.waiting() < before;
        if channel.kind == Kind::X {
            for chunk in channel.queue().spent() {
                self.codec.recycle(chunk);
            }
        }
        match written {
            Poll::Ready(Ok(())) if channel.is_finishing() => {
                self.codec.drop_channel(self.id);
                return Ok(None);
            }
            Poll::Ready(Err(error)) => return Ok(self.gone(channel, &error)),
            _ => {}
        }
        if channel.congested && channel.waiting() < limits::CONGESTION.1 {
            channel.congested = false;
            self.codec.congestion(self.id, false);
            busy = true;
        }
        let may_read = match channel.kind {
            Kind::X => self.to_agent < limits::FROM_DISPLAY,
            Kind::Service(_) => {
                self.up.is()
                    && !channel.held
                    && self.window.is_open()
                    && self.to_agent < limits::FROM_CHANNEL
            }
        };
        if !may_read || channel.is_finishing() {
            return Ok(Some(busy));
        }
        let most = match channel.kind {
            Kind::X => self.buffer.len(),
            Kind::Service(_) => self.window.piece(),
        };
        let room = self.buffer.get_mut(..most).unwrap_or_default();
        match channel.poll_read(cx, room) {
            Poll::Pending => Ok(Some(busy)),
            Poll::Ready(Ok(count)) if count > 0 => {
                self.came(channel, count)?;
                Ok(Some(true))
            }
            Poll::Ready(Ok(_)) => {
                self.codec.finish(self.id);
                Ok(None)
            }
            Poll::Ready(Err(error)) => Ok(self.gone(channel, &error)),
        }
    }

    /// The local end has failed: the agent is told.
    fn gone(&mut self, channel: &Channel, error: &io::Error) -> Option<bool> {
        tracing::debug!(%error, "local end of a channel failed");
        if channel.is_finishing() {
            self.codec.drop_channel(self.id);
        } else {
            self.codec.finish(self.id);
        }
        None
    }

    /// Takes what the local end has sent.
    fn came(&mut self, channel: &mut Channel, count: usize) -> Result<(), Fault> {
        let bytes = self.buffer.get(..count).unwrap_or_default();
        if channel.kind != Kind::X {
            self.codec.send(self.id, bytes);
            // Behind the frame: the answer tells that it was taken.
            self.codec.ask_data(1);
            self.window.sent();
            return Ok(());
        }
        if !channel.answered {
            channel.answered = true;
            match bytes.first() {
                Some(1) => {
                    self.up.begin();
                    self.steps.push_back(Step::Started);
                }
                _ => return Err(Fault::Refused(refusal(bytes))),
            }
        }
        Ok(self.codec.receive_server(self.id, bytes)?)
    }
}

/// The X server's words in a setup answer that refuses.
fn refusal(answer: &[u8]) -> String {
    let length = answer.get(1).copied().map_or(0, usize::from);
    let words = answer.get(8..).unwrap_or_default();
    let words = words.get(..length).unwrap_or(words);
    let words: String = String::from_utf8_lossy(words)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    format!("access refused: {}", words.trim())
}
