//! How much of generic channels may be on its way to the agent.
//!
//! One frame at a time, with a request behind it that the agent answers when it
//! has taken the frame. nxagent 3.5.99.26 loses its place in the stream
//! (`Failure decoding data in context [A]`, or a memory fault) when it holds
//! further frames while the program it hands one to takes no more: with nxproxy,
//! which has several on the way, as well. What the agent has to say of a channel
//! that is congested comes before its answer, so that nothing overtakes it.
//!
//! The agent may also keep the answer to itself until something else comes, or
//! for the five seconds after which it speaks by itself. It is nudged then.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// Beyond the link's own time, before the agent is nudged. An agent that keeps
/// its answers is as fast as it is nudged: 32 KiB each time on a fast link.
const PATIENCE: Duration = Duration::from_millis(1);

/// Longest time before it is nudged again.
const LONGEST: Duration = Duration::from_secs(1);

/// Bytes that a token stands for on the link that the agent named.
pub(crate) fn token_size(link: &str) -> usize {
    match link.to_ascii_uppercase().as_str() {
        "MODEM" => 256,
        "ISDN" => 384,
        "ADSL" | "WAN" => 1408,
        _ => 1536,
    }
}

/// Bytes of one frame for the link that the agent named. What the user types
/// waits behind it: on slow links it is no more than nxproxy has on the way.
fn piece(link: &str) -> usize {
    match link.to_ascii_uppercase().as_str() {
        "MODEM" | "ISDN" | "ADSL" => 6 * token_size(link),
        _ => 32 << 10,
    }
}

/// The frame that is on its way to the agent.
#[derive(Debug)]
struct Flight {
    since: Instant,
    nudge: Pin<Box<Sleep>>,
    pause: Duration,
}

/// What is on its way to the agent.
#[derive(Debug)]
pub(super) struct Window {
    piece: usize,
    flight: Option<Flight>,
    /// The shortest time that an answer has taken.
    trip: Option<Duration>,
}

impl Window {
    /// For the link that the agent named.
    pub(super) fn new(link: &str) -> Self {
        Self {
            piece: piece(link),
            flight: None,
            trip: None,
        }
    }

    /// Whether a frame may be sent.
    pub(super) fn is_open(&self) -> bool {
        self.flight.is_none()
    }

    /// Bytes that it may hold.
    pub(super) fn piece(&self) -> usize {
        self.piece
    }

    /// Notes that a frame was sent.
    pub(super) fn sent(&mut self) {
        // Until something is known of the link, it is not pressed.
        let pause = self.trip.map_or(LONGEST, |trip| 2 * trip + PATIENCE);
        self.flight = Some(Flight {
            since: Instant::now(),
            nudge: Box::pin(sleep(pause)),
            pause,
        });
    }

    /// Takes the agent's answer; false when it was never asked for.
    #[must_use]
    pub(super) fn back(&mut self, tokens: u8) -> bool {
        match self.flight.take() {
            Some(flight) if tokens == 1 => {
                let trip = flight.since.elapsed();
                self.trip = Some(self.trip.map_or(trip, |known| known.min(trip)));
                true
            }
            _ => false,
        }
    }

    /// Whether the agent is to be nudged now.
    pub(super) fn poll_nudge(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(flight) = &mut self.flight else {
            return Poll::Pending;
        };
        if flight.nudge.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        flight.pause = (2 * flight.pause).min(LONGEST);
        flight.nudge = Box::pin(sleep(flight.pause));
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_frame_is_on_its_way_at_a_time() {
        let mut window = Window::new("MODEM");
        assert!(window.is_open());
        assert_eq!(window.piece(), 1536);
        window.sent();
        assert!(!window.is_open());
        assert!(window.back(1));
        assert!(window.is_open());
        assert!(!window.back(1), "it was not asked for");
        window.sent();
        assert!(!window.back(2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_keeps_its_answer_is_nudged_ever_more_slowly() {
        let mut window = Window::new("LAN");
        window.sent();
        tokio::time::advance(Duration::from_millis(10)).await;
        assert!(window.back(1));
        window.sent();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let begin = Instant::now();
            poll_fn(|cx| window.poll_nudge(cx)).await;
            pauses.push(begin.elapsed().as_millis());
        }
        assert_eq!(pauses, [21, 42, 84, 168, 336, 672, 1000, 1000]);
    }
}
