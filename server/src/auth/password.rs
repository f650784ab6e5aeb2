//! Hashing and checking passwords.

use argon2::password_hash::phc;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use secrecy::{ExposeSecret, SecretString};

use crate::Error;
use crate::inventory::PasswordHash;

/// Bytes of salt in a hash made here.
const SALT: usize = 16;

/// Longest password that is hashed or checked, in bytes.
const MAX_PASSWORD: usize = 1024;

/// Hashes a password with argon2id and a fresh salt, for the inventory.
///
/// # Errors
/// [`Error::Hash`] for an empty or overlong password.
pub fn hash(password: &SecretString) -> Result<PasswordHash, Error> {
    let password = password.expose_secret();
    if password.is_empty() {
        return Err(Error::Hash("it is empty".into()));
    }
    if password.len() > MAX_PASSWORD {
        return Err(Error::Hash(format!(
            "it is longer than {MAX_PASSWORD} bytes"
        )));
    }
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt).map_err(|e| Error::Hash(e.to_string()))?;
    let hash: phc::PasswordHash = Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|e| Error::Hash(e.to_string()))?;
    Ok(PasswordHash(hash.to_string()))
}

/// Whether the password is the one that was hashed. Takes tens of
/// milliseconds and of MiB, as it should: not on an asynchronous thread.
pub(super) fn verify(password: &SecretString, hash: &PasswordHash) -> bool {
    let password = password.expose_secret().as_bytes();
    if password.len() > MAX_PASSWORD {
        return false;
    }
    phc::PasswordHash::new(&hash.0)
        .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_fits_its_password_alone_and_differs_each_time() {
        let password = SecretString::from("s3cret:x");
        let first = hash(&password).unwrap();
        assert!(first.0.starts_with("$argon2id$v=19$"));
        assert!(verify(&password, &first));
        assert!(!verify(&SecretString::from("s3cret:y"), &first));
        assert!(first != hash(&password).unwrap());
    }

    #[test]
    fn empty_and_overlong_passwords_are_refused() {
        assert!(hash(&SecretString::from("")).is_err());
        assert!(hash(&SecretString::from("x".repeat(2000))).is_err());
    }
}
