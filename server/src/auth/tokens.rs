//! Bearer tokens: given out to those who logged in, valid for a day.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use qvd_broker::Token;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use crate::inventory::{PasswordHash, User};

/// How long a token is valid.
pub(super) const LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Random bytes in a token.
const BYTES: usize = 32;

/// Valid tokens of one user; with one more the oldest ends.
const MAX_PER_USER: usize = 32;

/// Valid tokens of all users.
const MAX_TOKENS: usize = 100_000;

/// The tokens that are valid, by their hash: whoever reads this memory cannot
/// log in with it. They end with the process.
#[derive(Default)]
pub(super) struct Tokens {
    last_id: AtomicU64,
    issued: Mutex<HashMap<[u8; digest::SHA256_OUTPUT_LEN], Issued>>,
}

struct Issued {
    id: u64,
    login: String,
    /// A changed password ends the tokens it gave.
    hash: PasswordHash,
    until: Instant,
}

impl Tokens {
    /// A new token; `None` when the system has no random bytes, or there is
    /// no room for more tokens.
    pub(super) fn issue(&self, user: &User) -> Option<Token> {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes).ok()?;
        let token = SecretString::from(STANDARD.encode(bytes));
        let now = Instant::now();
        let id = self.next_id();
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        issued.retain(|_, token| now < token.until);
        let of_user = || issued.iter().filter(|(_, token)| token.login == user.login);
        if of_user().count() >= MAX_PER_USER
            && let Some(oldest) = of_user()
                .min_by_key(|(_, token)| token.id)
                .map(|(key, _)| *key)
        {
            issued.remove(&oldest);
        }
        if issued.len() >= MAX_TOKENS {
            return None;
        }
        let entry = Issued {
            id,
            login: user.login.clone(),
            hash: user.password.clone(),
            until: now + LIFE,
        };
        issued.insert(key(&token)?, entry);
        Some(Token {
            auth_params_id: id,
            auth_token: token,
        })
    }

    /// The number of a stored authentication.
    pub(super) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whose token this is, and the password hash it belongs to.
    pub(super) fn login(&self, token: &SecretString) -> Option<(String, PasswordHash)> {
        let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        let token = issued.get(&key(token)?)?;
        (Instant::now() < token.until).then(|| (token.login.clone(), token.hash.clone()))
    }
}

fn key(token: &SecretString) -> Option<[u8; digest::SHA256_OUTPUT_LEN]> {
    let hash = digest::digest(&digest::SHA256, token.expose_secret().as_bytes());
    hash.as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn user(login: &str) -> User {
        User {
            login: login.into(),
            password: PasswordHash("hash".into()),
            properties: BTreeMap::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_valid_for_a_day() {
        let tokens = Tokens::default();
        let token = tokens.issue(&user("ann")).unwrap().auth_token;
        assert_eq!(token.expose_secret().len(), 44);
        assert_eq!(tokens.login(&token).unwrap().0, "ann");
        assert!(tokens.login(&SecretString::from("guess")).is_none());
        tokio::time::advance(LIFE).await;
        assert!(tokens.login(&token).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_has_a_limited_number_of_them() {
        let tokens = Tokens::default();
        let other = tokens.issue(&user("bob")).unwrap().auth_token;
        let issued: Vec<_> = (0..=MAX_PER_USER)
            .map(|_| tokens.issue(&user("ann")).unwrap().auth_token)
            .collect();
        assert!(tokens.login(&issued[0]).is_none());
        assert!(
            issued[1..]
                .iter()
                .all(|token| tokens.login(token).is_some())
        );
        assert!(tokens.login(&other).is_some());
    }
}
