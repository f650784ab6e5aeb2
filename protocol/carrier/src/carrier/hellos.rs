//! A connection's beginning, from either side (PROTOCOL.md §2).

use std::time::Instant;

use crate::carrier::{Carrier, Ending, Link};
use crate::error::{Error, Violation};
use crate::event::{Event, Loss, Role};
use crate::hello::{
    Detected, GREETING, Greeting, HELLO, HIGHEST, Hello, LOWEST, Offer, Refusal, VERDICT, Verdict,
    detect, greeting,
};
use crate::limits::HELLO_TIME;
use crate::liveness::Liveness;
use crate::pace::Pace;
use crate::reason::Reason;
use crate::token::Token;

/// What comes next.
#[derive(Debug, Clone)]
pub(super) enum Awaited {
    /// From the agent.
    Greeting,
    /// From the client, which is given this token if it is taken.
    Hello(Token),
    /// From the agent.
    Verdict,
}

impl Carrier {
    /// The agent has a new connection, in place of any before: greets it.
    /// `next` are fresh random bits, what the resume after this one presents.
    ///
    /// # Errors
    ///
    /// [`Error::Role`] at the client, [`Error::Ended`].
    pub fn greet(&mut self, next: Token, now: Instant) -> Result<(), Error> {
        self.await_client(next, now)?;
        let offer = match self.token {
            None => Offer::New,
            Some(_) => Offer::Resume,
        };
        self.hello.extend_from_slice(&greeting(offer));
        Ok(())
    }

    /// As [`Carrier::greet`], on a connection that was greeted already by the
    /// program that took it, with [`greeting`].
    ///
    /// # Errors
    ///
    /// As [`Carrier::greet`].
    pub fn await_client(&mut self, next: Token, now: Instant) -> Result<(), Error> {
        self.begin(Role::Agent, Awaited::Hello(next), now)
    }

    /// Looks at a client's hello on a connection that is not this machine's
    /// yet: so one who has no business here takes nobody's place.
    ///
    /// # Errors
    ///
    /// What is wrong, when it would not be taken, and what the client is to be
    /// told, if it is one.
    pub fn look_at(&self, hello: &[u8; HELLO]) -> Result<(), (Loss, Option<[u8; VERDICT]>)> {
        let hello = Hello::read(*hello).map_err(|violation| (Loss::Stranger(violation), None))?;
        self.check(&hello).map_err(|refusal| {
            let mut verdict = Vec::with_capacity(VERDICT);
            Verdict::Refused(refusal).write(&mut verdict);
            (Loss::Refused(refusal), verdict.first_chunk().copied())
        })
    }

    /// The client has a new connection, in place of any before.
    ///
    /// # Errors
    ///
    /// [`Error::Role`] at the agent, [`Error::Ended`].
    pub fn connect(&mut self, now: Instant) -> Result<(), Error> {
        self.begin(Role::Client, Awaited::Greeting, now)
    }

    /// Whether a resume with this token would be taken: for an agent that is
    /// told it before the connection comes.
    #[must_use]
    pub fn knows(&self, token: &Token) -> bool {
        // Both are compared, so that the time says nothing.
        let current = self.token.as_ref().is_some_and(|known| known == token);
        let before = self.presented.as_ref().is_some_and(|known| known == token);
        self.role == Role::Agent && self.ending == Ending::No && (current | before)
    }

    /// The tokens that a resume would be taken with, for an agent whose
    /// connections are awaited by another process. It is told again after each
    /// [`Event::Connected`].
    pub fn tokens(&self) -> impl Iterator<Item = &Token> {
        let live = self.role == Role::Agent && self.ending == Ending::No;
        let tokens = [self.token.as_ref(), self.presented.as_ref()];
        tokens.into_iter().flatten().filter(move |_| live)
    }

    /// The client's token: what it resumes with, once a session has begun.
    #[must_use]
    pub fn token(&self) -> Option<&Token> {
        self.token.as_ref().filter(|_| self.role == Role::Client)
    }

    fn begin(&mut self, role: Role, awaited: Awaited, now: Instant) -> Result<(), Error> {
        if self.role != role {
            return Err(Error::Role);
        }
        if self.ending != Ending::No {
            return Err(Error::Ended);
        }
        self.unlink();
        self.link = Link::Hello(awaited, now + HELLO_TIME);
        Ok(())
    }

    /// Reads a hello from the beginning of `bytes`: its length, or `None` when
    /// it is not all there or the connection is given up.
    pub(super) fn take_hello(
        &mut self,
        awaited: Awaited,
        bytes: &[u8],
        now: Instant,
    ) -> Option<usize> {
        if !matches!(awaited, Awaited::Verdict) && detect(bytes) == Detected::Other {
            self.down(Loss::Stranger(Violation::Hello));
            return None;
        }
        let (outcome, length) = match awaited {
            Awaited::Greeting => (self.greeted(*bytes.first_chunk()?), GREETING),
            Awaited::Hello(next) => (self.asked(*bytes.first_chunk()?, next, now), HELLO),
            Awaited::Verdict => (self.answered(*bytes.first_chunk()?, now), VERDICT),
        };
        if let Err(violation) = outcome {
            self.down(Loss::Stranger(violation));
            return None;
        }
        Some(length)
    }

    /// The client has the agent's greeting.
    fn greeted(&mut self, bytes: [u8; GREETING]) -> Result<(), Violation> {
        let greeting = Greeting::read(bytes)?;
        let version = greeting.version().ok_or(Violation::Version)?;
        if self.token.is_some() && greeting.offer == Offer::New {
            // Known without asking: the connection stays of use to a new one.
            self.refused(Refusal::Token);
            return Ok(());
        }
        let resume = self.token.clone().map(|token| (token, self.received));
        Hello { version, resume }.write(&mut self.hello);
        if let Link::Hello(awaited, _) = &mut self.link {
            *awaited = Awaited::Verdict;
        }
        Ok(())
    }

    /// The agent has the client's hello.
    fn asked(&mut self, bytes: [u8; HELLO], next: Token, now: Instant) -> Result<(), Violation> {
        let hello = Hello::read(bytes)?;
        let resumed = hello.resume.is_some();
        if let Err(refusal) = self.judge(hello) {
            Verdict::Refused(refusal).write(&mut self.hello);
            self.link = Link::Closing;
            self.events.push_back(Event::Lost(Loss::Refused(refusal)));
            return Ok(());
        }
        self.token = Some(next.clone());
        let (token, received) = (next, self.received);
        Verdict::Taken {
            resumed,
            token,
            received,
        }
        .write(&mut self.hello);
        self.up(resumed, now);
        Ok(())
    }

    /// Whether the agent takes a hello; if so, the replay is set to where the
    /// client is.
    fn judge(&mut self, hello: Hello) -> Result<(), Refusal> {
        self.check(&hello)?;
        let Some((token, received)) = hello.resume else {
            // A verdict before may have been lost, with all that followed.
            self.replay
                .rewind(0, &mut self.blocks)
                .map_err(|_| Refusal::Position)?;
            self.presented = None;
            return Ok(());
        };
        self.replay
            .rewind(received, &mut self.blocks)
            .map_err(|_| Refusal::Position)?;
        // What it presented stays good until it shows that it has the next.
        self.presented = Some(token);
        Ok(())
    }

    /// Whether the agent would take a hello.
    fn check(&self, hello: &Hello) -> Result<(), Refusal> {
        if !(LOWEST..=HIGHEST).contains(&hello.version) {
            return Err(Refusal::Version);
        }
        let received = match &hello.resume {
            None if self.confirmed => return Err(Refusal::Occupied),
            None => 0,
            Some((token, _)) if !self.knows(token) => return Err(Refusal::Token),
            Some((_, received)) => *received,
        };
        match self.replay.can_rewind(received) {
            true => Ok(()),
            false => Err(Refusal::Position),
        }
    }

    /// The client has the agent's verdict.
    fn answered(&mut self, bytes: [u8; VERDICT], now: Instant) -> Result<(), Violation> {
        match Verdict::read(bytes)? {
            Verdict::Taken {
                resumed,
                token,
                received,
            } => {
                if resumed != self.token.is_some() {
                    return Err(Violation::Hello);
                }
                let rewound = self.replay.rewind(received, &mut self.blocks);
                self.token = Some(token);
                self.up(resumed, now);
                if let Err(violation) = rewound {
                    self.replay.skip();
                    self.expel(violation, now);
                }
            }
            Verdict::Refused(refusal) => self.refused(refusal),
        }
        Ok(())
    }

    /// The agent has not taken the client's hello, and would not the next.
    fn refused(&mut self, refusal: Refusal) {
        self.down(Loss::Refused(refusal));
        self.forget_all();
        self.control.clear();
        self.ending = Ending::Over;
        self.events.push_back(Event::Ended {
            by_peer: true,
            reason: match refusal {
                Refusal::Token | Refusal::Occupied => Reason::Expired,
                Refusal::Position | Refusal::Version => Reason::Violation,
            },
            text: refusal.to_string(),
        });
    }

    /// Frames flow from here on.
    fn up(&mut self, resumed: bool, now: Instant) {
        let mut liveness = Liveness::new(self.config.keepalive, self.round_trip, now);
        // The round trip is known early.
        self.ping = Some(liveness.ask(now));
        let begin = self.replay.acknowledged();
        let pace = Pace::new(begin, self.replay.limit(), now);
        self.link = Link::Up(liveness, Box::new(pace));
        // The client's first frame shows that it has the token.
        self.ack_now = self.role == Role::Client;
        // The peer was told in the hello.
        self.acknowledged = self.received;
        if resumed {
            self.resumes = self.resumes.saturating_add(1);
        }
        self.events.push_back(Event::Connected { resumed });
    }
}
