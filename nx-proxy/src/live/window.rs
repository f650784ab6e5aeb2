//! How much of generic channels may be on its way to the agent.
//!
//! As much as nxproxy has on its way, and no more: nxagent 3.5.99.26 was seen to
//! die of a memory fault with 256 KiB and more on the way to a slave that does
//! not read as fast. On slow links this also keeps keystrokes from waiting
//! behind a file.

/// Bytes on the way to the agent, counted in tokens that it gives back.
#[derive(Debug)]
pub(super) struct Window {
    token: usize,
    /// Bytes sent since the last token was asked for.
    sent: usize,
    /// Tokens that were asked for and are not back.
    out: usize,
}

/// Bytes that a token stands for on the link that the agent named.
pub(crate) fn token_size(link: &str) -> usize {
    match link.to_ascii_uppercase().as_str() {
        "MODEM" => 256,
        "ISDN" => 384,
        "ADSL" | "WAN" => 1408,
        _ => 1536,
    }
}

/// Tokens that may be out at once.
const TOKENS: usize = 6;

impl Window {
    /// For the link that the agent named.
    pub(super) fn new(link: &str) -> Self {
        Self {
            token: token_size(link),
            sent: 0,
            out: 0,
        }
    }

    /// Whether more may be sent.
    pub(super) fn is_open(&self) -> bool {
        self.out < TOKENS
    }

    /// Bytes that may be sent at once while it is open.
    pub(super) fn piece(&self) -> usize {
        self.token / 2
    }

    /// Notes what was sent; the tokens to ask for, if any.
    pub(super) fn sent(&mut self, bytes: usize) -> Option<u8> {
        self.sent += bytes;
        let due = (self.sent / self.token).min(usize::from(u8::MAX));
        self.sent -= due * self.token;
        self.out += due;
        u8::try_from(due).ok().filter(|due| *due > 0)
    }

    /// Takes tokens back; false when they were never asked for.
    #[must_use]
    pub(super) fn back(&mut self, tokens: u8) -> bool {
        match self.out.checked_sub(usize::from(tokens)) {
            Some(out) => {
                self.out = out;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_closes_when_its_tokens_are_out_and_opens_when_one_is_back() {
        let mut window = Window::new("MODEM");
        assert_eq!(window.sent(255), None);
        assert_eq!(window.sent(1), Some(1));
        assert!(window.is_open());
        assert_eq!(window.sent(5 * 256 + 7), Some(5));
        assert!(!window.is_open());
        assert!(window.back(1));
        assert!(window.is_open());
        assert!(!window.back(6));
        assert!(window.back(5));
    }
}
