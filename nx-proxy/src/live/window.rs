//! How much of generic channels may be on its way to the agent.
//!
//! Without it, a large file on a slow link would fill the buffers of every hop,
//! and keystrokes would wait for minutes behind it.

/// Bytes on the way to the agent, counted in tokens that it gives back.
#[derive(Debug)]
pub(super) struct Window {
    token: usize,
    /// Bytes sent since the last token was asked for.
    sent: usize,
    /// Tokens that were asked for and are not back.
    out: usize,
}

/// Tokens that may be out at once; a quarter of the window each.
const TOKENS: usize = 4;

impl Window {
    /// For the link that the agent named. The larger the window, the less a
    /// long way costs, and the longer a keystroke waits on a slow one.
    pub(super) fn new(link: &str) -> Self {
        let window = match link.to_ascii_uppercase().as_str() {
            "MODEM" => 16 << 10,
            "ISDN" => 32 << 10,
            "ADSL" => 256 << 10,
            "WAN" => 1 << 20,
            _ => 4 << 20,
        };
        Self {
            token: window / TOKENS,
            sent: 0,
            out: 0,
        }
    }

    /// Whether more may be sent.
    pub(super) fn is_open(&self) -> bool {
        self.out < TOKENS
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
        assert_eq!(window.sent(4095), None);
        assert_eq!(window.sent(1), Some(1));
        assert!(window.is_open());
        assert_eq!(window.sent(3 * 4096 + 7), Some(3));
        assert!(!window.is_open());
        assert!(window.back(1));
        assert!(window.is_open());
        assert!(!window.back(4));
        assert!(window.back(3));
    }
}
