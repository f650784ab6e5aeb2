//! The local ends, the X server among them: each has its turn.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll};

use super::super::channel::{Channel, Kind};
use super::super::limits;
use super::super::up::Up;
use super::super::window::Window;
use super::{Driver, Fault, Step};
use crate::codec::Codec;

impl Driver {
    /// Serves every local end once; whether there was anything to do.
    pub(super) fn serve(&mut self, cx: &mut Context<'_>) -> Result<bool, Fault> {
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
            let heard = channel.bytes.1;
            let taken = turn.take(channel, cx)?;
            if channel.kind == Kind::X && channel.bytes.1 > heard {
                self.closed_by_display = false;
            }
            match taken {
                Some(did) => busy |= did,
                None => gone.push(*id),
            }
        }
        for id in gone {
            busy = true;
            let Some(channel) = self.forget(id) else {
                continue;
            };
            match channel.kind {
                Kind::Service(service) => self.steps.push_back(Step::Closed(service, id)),
                Kind::X => {
                    // One that the agent has closed tells nothing of the display.
                    self.closed_by_display |= !channel.is_finishing();
                    if self.closed_by_display && !self.has_display() {
                        self.steps.push_back(Step::DisplayGone);
                    }
                }
            }
        }
        Ok(busy)
    }

    fn has_display(&self) -> bool {
        self.channels.values().any(|c| c.kind == Kind::X)
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
                let Kind::Service(service) = channel.kind else {
                    return Err(Fault::Display(error));
                };
                tracing::warn!(%error, "channel has no local end");
                let step = Step::NotOpened(service, error.to_string());
                self.steps.push_back(step);
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
