//! Who is asking?

mod password;
mod throttle;
mod tokens;
mod verified;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use qvd_broker::{Authenticated, Credentials, Refusal, Token};
use qvd_http1::Status;
use secrecy::SecretString;
use tokio::sync::Semaphore;

pub use self::password::hash;
use self::throttle::Throttle;
use self::tokens::Tokens;
use self::verified::Verified;
use crate::Error;
use crate::inventory::{PasswordHash, Snapshot, User};

/// How long a login waits for its turn to be checked.
const QUEUE: Duration = Duration::from_secs(10);

/// Checks credentials and gives out tokens.
pub struct Authenticator {
    throttle: Throttle,
    verified: Verified,
    tokens: Tokens,
    /// Hashing takes a processor and 19 MiB for tens of milliseconds: no more
    /// at once than there are processors.
    turns: Arc<Semaphore>,
    /// Checked for logins that do not exist, so that they take as long.
    nobody: PasswordHash,
}

impl Authenticator {
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new() -> Result<Self, Error> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            throttle: Throttle::default(),
            verified: Verified::new()?,
            tokens: Tokens::default(),
            turns: Arc::new(Semaphore::new(processors)),
            nobody: password::hash(&SecretString::from("nobody"))?,
        })
    }

    /// The user with these credentials.
    ///
    /// # Errors
    /// 401 for wrong ones, 429 after too many from that address, 503 when too
    /// many logins are being checked.
    pub async fn login(
        &self,
        inventory: &Snapshot,
        credentials: &Credentials,
        address: IpAddr,
    ) -> Result<Arc<User>, Refusal> {
        if let Credentials::Basic { login, password } = credentials
            && let Some(user) = inventory.users.get(login)
            && self.verified.knows(login, password, &user.password)
        {
            return Ok(user.clone());
        }
        if !self.throttle.begin(address) {
            return Err(Refusal::new(
                Status::TOO_MANY_REQUESTS,
                "too many failed logins from your address: try again in a minute",
            ));
        }
        let user = match credentials {
            Credentials::Basic { login, password } => {
                self.check(inventory.users.get(login), password).await
            }
            Credentials::Bearer { token } => Ok(self.bearer(inventory, token)),
        };
        match user {
            Ok(Some(user)) => {
                self.throttle.succeeded(address);
                Ok(user)
            }
            Ok(None) => Err(unauthorized()),
            Err(refusal) => {
                self.throttle.succeeded(address);
                Err(refusal)
            }
        }
    }

    async fn check(
        &self,
        user: Option<&Arc<User>>,
        password: &SecretString,
    ) -> Result<Option<Arc<User>>, Refusal> {
        let busy = || Refusal::new(Status::SERVICE_UNAVAILABLE, "too many logins at once");
        let turn = tokio::time::timeout(QUEUE, self.turns.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        let hash = user.map_or(&self.nobody, |user| &user.password).clone();
        let given = password.clone();
        let right = tokio::task::spawn_blocking(move || {
            // Held until the work is done, even if the client is gone by then.
            let _turn = turn;
            password::verify(&given, &hash)
        });
        let right = right.await.map_err(|_| busy())?;
        Ok(user.filter(|_| right).cloned().inspect(|user| {
            self.verified
                .remember(&user.login, password, &user.password);
        }))
    }

    fn bearer(&self, inventory: &Snapshot, token: &SecretString) -> Option<Arc<User>> {
        let (login, hash) = self.tokens.login(token)?;
        inventory
            .users
            .get(&login)
            .filter(|user| user.password == hash)
            .cloned()
    }

    /// A token for the user.
    ///
    /// # Errors
    /// 503 when there is no room for more.
    pub fn issue(&self, user: &User) -> Result<Token, Refusal> {
        self.tokens.issue(user).ok_or_else(|| {
            Refusal::new(
                Status::SERVICE_UNAVAILABLE,
                "no more tokens can be given out now",
            )
        })
    }

    /// What `authenticate_user` answers to a user whose credentials are right.
    ///
    /// There are no parameters of an authentication to store here, so the
    /// number stands for nothing yet; clients expect one.
    pub fn authenticated(&self, store: bool) -> Authenticated {
        Authenticated {
            auth_params_id: store.then(|| self.tokens.next_id()),
        }
    }
}

/// 401, the same for every reason.
pub(crate) fn unauthorized() -> Refusal {
    Refusal::new(
        Status::UNAUTHORIZED,
        "login or password is wrong, or the token has expired",
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn inventory(password: &str) -> Snapshot {
        let user = User {
            login: "ann".into(),
            password: hash(&SecretString::from(password)).unwrap(),
            properties: BTreeMap::new(),
        };
        Snapshot {
            users: BTreeMap::from([("ann".to_owned(), Arc::new(user))]),
            vms: BTreeMap::new(),
        }
    }

    fn basic(login: &str, password: &str) -> Credentials {
        Credentials::Basic {
            login: login.into(),
            password: password.into(),
        }
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn passwords_and_tokens_open_and_a_changed_password_closes() {
        let auth = Authenticator::new().unwrap();
        let before = inventory("one");
        let user = auth
            .login(&before, &basic("ann", "one"), HERE)
            .await
            .unwrap();
        let token = Credentials::Bearer {
            token: auth.issue(&user).unwrap().auth_token,
        };
        assert!(auth.login(&before, &token, HERE).await.is_ok());
        for wrong in [basic("ann", "two"), basic("bob", "one")] {
            let refusal = auth.login(&before, &wrong, HERE).await.unwrap_err();
            assert_eq!(refusal.status, Status::UNAUTHORIZED);
        }
        let after = inventory("two");
        assert!(
            auth.login(&after, &basic("ann", "one"), HERE)
                .await
                .is_err()
        );
        assert!(auth.login(&after, &token, HERE).await.is_err());
        assert!(auth.login(&after, &basic("ann", "two"), HERE).await.is_ok());
    }

    #[tokio::test]
    async fn guessing_is_stopped_and_does_not_shut_out_who_is_in() {
        let auth = Authenticator::new().unwrap();
        let inventory = inventory("one");
        auth.login(&inventory, &basic("ann", "one"), HERE)
            .await
            .unwrap();
        let guess = Credentials::Bearer {
            token: "guess".into(),
        };
        for _ in 0..throttle::MAX_FAILURES {
            let refusal = auth.login(&inventory, &guess, HERE).await.unwrap_err();
            assert_eq!(refusal.status, Status::UNAUTHORIZED);
        }
        let refusal = auth.login(&inventory, &guess, HERE).await.unwrap_err();
        assert_eq!(refusal.status, Status::TOO_MANY_REQUESTS);
        assert!(
            auth.login(&inventory, &basic("ann", "one"), HERE)
                .await
                .is_ok()
        );
    }
}
