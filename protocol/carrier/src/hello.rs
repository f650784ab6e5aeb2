//! The hellos of a connection (PROTOCOL.md §2).

use crate::error::Violation;
use crate::token::Token;

/// What every hello begins with. No NX stream does: its first byte is `N`.
pub const MAGIC: [u8; 8] = [0x89, b'Q', b'V', b'D', 0x0d, 0x0a, 0x1a, 0x0a];

/// The lowest version spoken here.
pub const LOWEST: u8 = 1;

/// The highest version spoken here.
pub const HIGHEST: u8 = 1;

/// Bytes of the agent's greeting.
pub const GREETING: usize = 12;

/// Bytes of the client's hello.
pub const HELLO: usize = 36;

/// Bytes of the agent's verdict.
pub const VERDICT: usize = 26;

/// What the first bytes from an agent are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detected {
    /// A carrier's greeting.
    Carrier,
    /// Something else: NX, most likely.
    Other,
    /// Too few to tell.
    Undecided,
}

/// Tells a carrier's greeting from anything else, by the first bytes of the
/// connection, of which none is consumed.
#[must_use]
pub fn detect(first: &[u8]) -> Detected {
    if first.len() >= MAGIC.len() && first.starts_with(&MAGIC) {
        Detected::Carrier
    } else if MAGIC.starts_with(first) {
        Detected::Undecided
    } else {
        Detected::Other
    }
}

/// What an agent's greeting offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// A new session.
    New,
    /// The session that has begun before, to whoever has its token.
    Resume,
}

/// The greeting of an agent of this version: for a program that takes
/// connections on behalf of the machine ([`crate::Carrier::await_client`]).
#[must_use]
pub fn greeting(offer: Offer) -> [u8; GREETING] {
    let [a, b, c, d, e, f, g, h] = MAGIC;
    let offer = match offer {
        Offer::New => 0,
        Offer::Resume => 1,
    };
    [a, b, c, d, e, f, g, h, LOWEST, HIGHEST, b'A', offer]
}

/// What the greeting at the beginning of `first` offers; `None` when it is not
/// all there, or none. Nothing is consumed.
#[must_use]
pub fn offer(first: &[u8]) -> Option<Offer> {
    Some(Greeting::read(*first.first_chunk()?).ok()?.offer)
}

/// The agent's greeting: the versions it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) lowest: u8,
    pub(crate) highest: u8,
    pub(crate) offer: Offer,
}

impl Greeting {
    pub(crate) fn read(bytes: [u8; GREETING]) -> Result<Self, Violation> {
        let [magic @ .., lowest, highest, b'A', offer] = bytes else {
            return Err(Violation::Hello);
        };
        if magic != MAGIC || lowest > highest {
            return Err(Violation::Hello);
        }
        let offer = match offer {
            0 => Offer::New,
            1 => Offer::Resume,
            _ => return Err(Violation::Hello),
        };
        Ok(Self {
            lowest,
            highest,
            offer,
        })
    }

    /// The version for a peer that speaks these.
    pub(crate) fn version(self) -> Option<u8> {
        let version = self.highest.min(HIGHEST);
        (version >= self.lowest.max(LOWEST)).then_some(version)
    }
}

/// The client's hello. `resume` is the token and the position of a session
/// that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) version: u8,
    pub(crate) resume: Option<(Token, u64)>,
}

impl Hello {
    pub(crate) fn read(bytes: [u8; HELLO]) -> Result<Self, Violation> {
        let (head, rest) = bytes.split_first_chunk::<12>().ok_or(Violation::Hello)?;
        let (token, received) = rest.split_first_chunk::<16>().ok_or(Violation::Hello)?;
        let received = received.try_into().map_err(|_| Violation::Hello)?;
        let received = u64::from_be_bytes(received);
        let [magic @ .., version, again, b'C', mode] = *head else {
            return Err(Violation::Hello);
        };
        if magic != MAGIC || version != again {
            return Err(Violation::Hello);
        }
        let resume = match mode {
            0 if *token == [0; 16] && received == 0 => None,
            1 => Some((Token::new(*token), received)),
            _ => return Err(Violation::Hello),
        };
        Ok(Self { version, resume })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mode = u8::from(self.resume.is_some());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[self.version, self.version, b'C', mode]);
        match &self.resume {
            Some((token, received)) => {
                out.extend_from_slice(token.bytes());
                out.extend_from_slice(&received.to_be_bytes());
            }
            None => out.extend_from_slice(&[0; 24]),
        }
    }
}

/// Why an agent does not take a connection; its session is untouched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The token is not that of the session.
    #[error("unknown token")]
    Token,
    /// The session cannot go on from where the other end is.
    #[error("position that cannot be resumed from")]
    Position,
    /// The version is not spoken.
    #[error("version not spoken")]
    Version,
    /// A new session was asked for where there is one.
    #[error("a session is there already")]
    Occupied,
}

/// The agent's verdict on a hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A session has begun, or goes on.
    Taken {
        resumed: bool,
        token: Token,
        received: u64,
    },
    Refused(Refusal),
}

impl Verdict {
    pub(crate) fn read(bytes: [u8; VERDICT]) -> Result<Self, Violation> {
        let [b'V', status, rest @ ..] = bytes else {
            return Err(Violation::Hello);
        };
        let (token, received) = rest.split_first_chunk::<16>().ok_or(Violation::Hello)?;
        let received = received.try_into().map_err(|_| Violation::Hello)?;
        let received = u64::from_be_bytes(received);
        let refusal = match status {
            0 | 1 => {
                return Ok(Self::Taken {
                    resumed: status == 1,
                    token: Token::new(*token),
                    received,
                });
            }
            2 => Refusal::Token,
            3 => Refusal::Position,
            4 => Refusal::Version,
            5 => Refusal::Occupied,
            _ => return Err(Violation::Hello),
        };
        if rest != [0; 24] {
            return Err(Violation::Hello);
        }
        Ok(Self::Refused(refusal))
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(b'V');
        match self {
            Self::Taken {
                resumed,
                token,
                received,
            } => {
                out.push(u8::from(*resumed));
                out.extend_from_slice(token.bytes());
                out.extend_from_slice(&received.to_be_bytes());
            }
            Self::Refused(refusal) => {
                out.push(match refusal {
                    Refusal::Token => 2,
                    Refusal::Position => 3,
                    Refusal::Version => 4,
                    Refusal::Occupied => 5,
                });
                out.extend_from_slice(&[0; 24]);
            }
        }
    }
}
