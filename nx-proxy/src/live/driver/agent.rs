//! The agent's end: what it says is read and decoded, what is for it is written.

use std::io;
use std::task::{Context, Poll};

use tokio::time::{Instant, timeout};

use super::super::channel::{Channel, Kind};
use super::super::window::Window;
use super::super::{limits, setup};
use super::{Driver, Fault, Step};
use crate::codec::{CodecError, Control, Output};

impl Driver {
    /// Reads of the agent, once all before is decoded.
    pub(super) fn listen(&mut self, cx: &mut Context<'_>) -> Result<bool, Fault> {
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

    /// Decodes what was read of the agent, as long as there is room for it and
    /// nothing to be told: a fault must not overtake what went before.
    pub(super) fn decode(&mut self) -> Result<bool, Fault> {
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
                let kind = self.forget(id).map(|channel| channel.kind);
                if let Some(Kind::Service(service)) = kind {
                    self.steps.push_back(Step::Closed(service, id));
                }
            }
            Control::Finish(id) => match self.channels.get_mut(&id) {
                // One X client of several may end: only the agent's last word
                // is the session's end.
                Some(channel) => channel.finish(),
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
            Control::Shutdown => {
                self.farewell = true;
                self.steps.push_back(Step::Ending);
            }
        }
        Ok(())
    }

    /// Writes to the agent; whether there is more room now for what others
    /// have to say.
    pub(super) fn speak(&mut self, cx: &mut Context<'_>) -> Result<bool, Fault> {
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
