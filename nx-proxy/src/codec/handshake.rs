//! The words before the frames.

use super::{CodecError, limits};

const OURS: &str = "NXPROXY-3.5.0-3.5.99 ";

/// What the agent said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Greeting {
    /// Its version.
    pub version: String,
    /// Whether requests are coded as changes.
    pub delta: bool,
    /// zlib level of both directions; 0 is plain.
    pub stream: u32,
    /// Name of the link, as the agent spells it.
    pub link: String,
    /// Method of images.
    pub pack: String,
    /// Size of the stores, as the agent spells it.
    pub cache: String,
    /// zlib level of single messages, which nothing uses.
    pub data: u32,
    /// Whether the agent wants short ways rather than full ones.
    pub strict: bool,
    /// Whether RENDER may be used.
    pub render: bool,
}

/// The opening of a session.
#[derive(Debug, Default)]
pub struct Handshake {
    buffer: Vec<u8>,
    words: Vec<String>,
}

impl Handshake {
    /// What this end sends first.
    #[must_use]
    pub fn hello(cookie: Option<&str>) -> Vec<u8> {
        let cookie = cookie.map_or_else(String::new, |c| format!("cookie={c},"));
        format!("{OURS}{cookie}stream=default,data=default ").into_bytes()
    }

    /// What it sends once it has heard the agent.
    #[must_use]
    pub fn ready() -> &'static [u8] {
        b"cachefile=none "
    }

    /// Takes bytes of the agent; at the end of the handshake, what it said and
    /// the bytes beyond.
    ///
    /// # Errors
    /// The other end is no NX agent, or one of another kind.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<(Greeting, Vec<u8>)>, CodecError> {
        self.buffer.extend_from_slice(bytes);
        while let Some(end) = self.buffer.iter().position(|b| *b == b' ') {
            let word: Vec<u8> = self.buffer.drain(..=end).take(end).collect();
            self.word(&word)?;
            if let [first, options, _] = self.words.as_slice() {
                let greeting = greeting(first, options)?;
                return Ok(Some((greeting, std::mem::take(&mut self.buffer))));
            }
        }
        let rest = std::mem::take(&mut self.buffer);
        self.check(&rest)?;
        self.buffer = rest;
        Ok(None)
    }

    fn check(&self, word: &[u8]) -> Result<(), CodecError> {
        let most = if self.words.len() == 2 {
            limits::CACHE_LIST
        } else {
            limits::WORD
        };
        let mismatch = self.words.is_empty()
            && word
                .iter()
                .zip(b"NXPROXY-")
                .any(|(came, ours)| came != ours);
        if mismatch || !word.iter().all(u8::is_ascii_graphic) {
            return Err(CodecError::Handshake(
                "the other end is no NX agent".to_owned(),
            ));
        }
        if word.len() > most {
            return Err(CodecError::TooLarge {
                what: "word of the handshake",
                value: word.len(),
            });
        }
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<(), CodecError> {
        self.check(word)?;
        let word = String::from_utf8_lossy(word).into_owned();
        if self.words.is_empty() {
            // One that is too old may never say the rest.
            version(&word)?;
        }
        self.words.push(word);
        Ok(())
    }
}

/// The agent's version, of its first word.
fn version(word: &str) -> Result<&str, CodecError> {
    let own = word
        .strip_prefix("NXPROXY-")
        .and_then(|v| v.rsplit('-').next())
        .unwrap_or_default();
    let mut parts = own.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    let (major, minor) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if (major, minor) < (3, 5) {
        let reason = format!("agent speaks NX {own}, which is too old");
        return Err(CodecError::Handshake(reason));
    }
    Ok(own)
}

fn greeting(first: &str, options: &str) -> Result<Greeting, CodecError> {
    let refused = |why: String| CodecError::Handshake(why);
    let own = version(first)?;
    let option = |name: &str| {
        options
            .split(',')
            .filter_map(|o| o.split_once('='))
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value)
    };
    let needed =
        |name: &str| option(name).ok_or_else(|| refused(format!("agent's options lack {name}")));
    let delta = needed("delta")? != "0";
    let stream = needed("stream")?
        .parse()
        .ok()
        .filter(|level| *level <= 9)
        .ok_or_else(|| refused("agent's option stream is no level from 0 to 9".to_owned()))?;
    Ok(Greeting {
        version: own.to_owned(),
        delta,
        stream,
        link: option("link").unwrap_or("").to_owned(),
        pack: option("pack").unwrap_or("").to_owned(),
        cache: option("cache").unwrap_or("").to_owned(),
        data: option("data").and_then(|d| d.parse().ok()).unwrap_or(0),
        strict: option("strict") == Some("1"),
        render: option("render") != Some("0"),
    })
}
