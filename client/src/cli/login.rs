//! As whom the client logs in, and where the password comes from.

use qvd_broker::Credentials;
use secrecy::SecretString;
use tokio::sync::oneshot;

use super::ask;
use super::progress::Progress;
use super::settings::Settings;
use super::store::Store;
use crate::core::{Code, Failure};

/// Where the password came from.
#[derive(Debug, Clone)]
enum Source {
    /// The command line, the environment or a file; nothing is kept of it.
    Given,
    /// The secret store.
    Kept(Store),
    /// The user, or what the user gave to be kept.
    ToKeep(Store, SecretString),
}

/// What is shown to the broker.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) credentials: Credentials,
    source: Source,
}

impl Login {
    /// The token or password that is given, that was kept, or that the user
    /// types now.
    pub(super) async fn of(settings: &Settings, progress: &mut Progress) -> Result<Self, Failure> {
        if let Some(token) = settings.token.clone() {
            return Ok(Self {
                credentials: Credentials::Bearer { token },
                source: Source::Given,
            });
        }
        let store = Store::of(settings);
        let kept = match &store {
            Some(store) if settings.password.is_none() => store.look_up().await,
            _ => None,
        };
        let (password, source) = match (settings.password.clone(), kept, store) {
            (None, Some(password), Some(store)) => (password, Source::Kept(store)),
            (given, _, store) => {
                let password = match given {
                    Some(password) => password,
                    None => {
                        progress.clear();
                        ask::password(&settings.login).await?
                    }
                };
                let source = match store {
                    Some(store) => Source::ToKeep(store, password.clone()),
                    None => Source::Given,
                };
                (password, source)
            }
        };
        let login = settings.login.clone();
        Ok(Self {
            credentials: Credentials::Basic { login, password },
            source,
        })
    }

    /// Keeps the password, now that the broker has taken it.
    pub(super) async fn keep(&self, progress: &Progress) {
        if let Some(warning) = self.kept().await {
            progress.warn(&warning);
        }
    }

    /// Keeps the password once the broker has taken it; what went wrong with
    /// that, for a warning.
    pub(super) async fn keep_when(&self, taken: oneshot::Receiver<()>) -> Option<String> {
        taken.await.ok()?;
        self.kept().await
    }

    async fn kept(&self) -> Option<String> {
        let Source::ToKeep(store, password) = &self.source else {
            return None;
        };
        let error = store.keep(password).await.err()?;
        tracing::warn!("password not kept: {error}");
        Some(format!("the password is not kept: {error}"))
    }

    /// Whether a kept password is what failed. It is forgotten, and the next
    /// login asks.
    pub(super) async fn is_over(&self, failure: &Failure) -> bool {
        match &self.source {
            Source::Kept(store) if failure.code() == Code::LoginRefused => {
                store.forget().await;
                true
            }
            _ => false,
        }
    }
}
