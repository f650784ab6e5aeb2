//! Remembering for a short time that a password was right.
//!
//! A client sends its password with each request of a dialogue, and argon2 is
//! slow on purpose. What is kept is a keyed hash under a key of this process,
//! and it counts only for the very password hash it was checked against.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use crate::Error;
use crate::inventory::PasswordHash;

/// How long a password need not be hashed again.
const LIFE: Duration = Duration::from_secs(60);

/// Logins that are remembered at once.
const MAX_ENTRIES: usize = 4096;

pub(super) struct Verified {
    key: hmac::Key,
    entries: Mutex<HashMap<String, Entry>>,
}

struct Entry {
    tag: hmac::Tag,
    hash: PasswordHash,
    until: Instant,
}

impl Verified {
    pub(super) fn new() -> Result<Self, Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|e| Error::System {
            doing: "cannot get random bytes",
            source: std::io::Error::other(e),
        })?;
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            entries: Mutex::default(),
        })
    }

    /// Whether this password was right a short while ago.
    pub(super) fn knows(&self, login: &str, password: &SecretString, hash: &PasswordHash) -> bool {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(login).is_some_and(|entry| {
            Instant::now() < entry.until
                && entry.hash == *hash
                && hmac::verify(&self.key, &message(login, password), entry.tag.as_ref()).is_ok()
        })
    }

    pub(super) fn remember(&self, login: &str, password: &SecretString, hash: &PasswordHash) {
        let now = Instant::now();
        let tag = hmac::sign(&self.key, &message(login, password));
        let entry = Entry {
            tag,
            hash: hash.clone(),
            until: now + LIFE,
        };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_ENTRIES {
            entries.retain(|_, entry| now < entry.until);
        }
        if entries.len() < MAX_ENTRIES {
            entries.insert(login.to_owned(), entry);
        }
    }
}

fn message(login: &str, password: &SecretString) -> Vec<u8> {
    // A login has no colon, so that pairs cannot be mistaken.
    [login.as_bytes(), b":", password.expose_secret().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_the_same_password_against_the_same_hash_and_for_a_while() {
        let verified = Verified::new().unwrap();
        let (good, bad) = (SecretString::from("good"), SecretString::from("bad"));
        let (hash, other) = (PasswordHash("a".into()), PasswordHash("b".into()));
        verified.remember("ann", &good, &hash);
        assert!(verified.knows("ann", &good, &hash));
        assert!(!verified.knows("ann", &bad, &hash));
        assert!(!verified.knows("bob", &good, &hash));
        assert!(!verified.knows("ann", &good, &other));
        tokio::time::advance(LIFE).await;
        assert!(!verified.knows("ann", &good, &hash));
    }
}
