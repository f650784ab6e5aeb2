//! What is done before a session is started or resumed: hooks, and the user's
//! home and account where they are missing.
//!
//! Each stage is a task beside everything else, which reports its end to the
//! core. A stop cuts it short: its hook is killed.

use std::pin::Pin;
use std::sync::Arc;

use qvd_config::VmaConfig;
use qvd_rpc::SessionState;
use tokio::sync::oneshot;

use super::core::{Core, Input};
use crate::control::User;
use crate::hooks::{Failure, Hook, Order, Runner, Situation};
use crate::machine::Stage;
use crate::parameters::SessionSpec;
use crate::provision::{self, Account};

impl Core {
    /// Carries a stage out beside everything else.
    pub(super) fn prepare(&mut self, number: u64, stage: Stage, spec: &SessionSpec) {
        let (cut, cut_short) = oneshot::channel();
        self.cut = Some(cut);
        if stage == Stage::PreConnect {
            self.log.set_session(spec.session.as_deref());
            self.current.session.clone_from(&spec.session);
            self.current.properties.clone_from(&spec.properties);
            self.current.tell_home(&spec.user);
        }
        let situation = Situation {
            state: match stage {
                Stage::PreConnect if self.link.is_some() => SessionState::Suspended,
                Stage::PreConnect => SessionState::Stopped,
                Stage::Provision => SessionState::Provisioning,
                Stage::Connect => SessionState::Starting,
            },
            ..self.situation()
        };
        let steps = Steps {
            hooks: self.hooks.clone(),
            config: self.config.clone(),
            situation,
            cut_short: Box::pin(async {
                if cut_short.await.is_err() {
                    std::future::pending::<()>().await;
                }
            }),
        };
        let account = spec.account.clone();
        let done = self.sender.clone();
        tokio::task::spawn_local(async move {
            let outcome = match stage {
                Stage::PreConnect => steps.hook(Hook::PreConnect).await,
                Stage::Provision => steps.provision(account).await,
                Stage::Connect => steps.hook(Hook::Connect).await,
            };
            let _ = done.send(Input::Prepared(number, outcome));
        });
    }
}

/// A stage that is carried out.
struct Steps<C> {
    hooks: Runner,
    config: Arc<VmaConfig>,
    situation: Situation,
    cut_short: Pin<Box<C>>,
}

impl<C: Future<Output = ()>> Steps<C> {
    async fn hook(mut self, hook: Hook) -> Result<Option<User>, String> {
        self.run(hook).await?;
        Ok(None)
    }

    /// Runs a hook if there is one; whether there was.
    async fn run(&mut self, hook: Hook) -> Result<bool, String> {
        let Some(order) = Order::of(hook, &self.config, &self.situation) else {
            return Ok(false);
        };
        let ran = self.hooks.run(order, self.cut_short.as_mut()).await;
        ran.map(|()| true)
            .map_err(|failure: Failure| failure.to_string())
    }

    /// Finds the session's user. Without privileges nothing can be made.
    async fn provision(mut self, account: Account) -> Result<Option<User>, String> {
        let account = Arc::new(account);
        let known = {
            let account = account.clone();
            blocking(move || provision::find(&account.name)).await?
        };
        if !rustix::process::geteuid().is_root() {
            return known.map(Some).ok_or_else(|| unknown(&account.name));
        }
        self.mount_home(&account, known.clone()).await?;
        let user = match known {
            Some(user) => user,
            None => self.add_user(&account).await?,
        };
        self.set_up(&account).await?;
        let (config, of) = (self.config.clone(), account.clone());
        blocking(move || provision::complete(&config, &of, user))
            .await
            .map(Some)
    }

    async fn mount_home(
        &mut self,
        account: &Arc<Account>,
        known: Option<User>,
    ) -> Result<(), String> {
        let (config, of) = (self.config.clone(), account.clone());
        let needed = blocking(move || Ok(provision::needs_home(&config, &of, known.as_ref())));
        if !needed.await? || self.run(Hook::MountHome).await? {
            return Ok(());
        }
        let (config, of) = (self.config.clone(), account.clone());
        blocking(move || provision::mount_home(&config, &of)).await
    }

    async fn add_user(&mut self, account: &Arc<Account>) -> Result<User, String> {
        let (config, of) = (self.config.clone(), account.clone());
        if Order::of(Hook::AddUser, &self.config, &self.situation).is_none() {
            blocking(move || provision::add_user(&config, &of)).await?;
            return self.added(account).await;
        }
        blocking(move || provision::expect_user(&config, &of)).await?;
        let added = match self.run(Hook::AddUser).await {
            Ok(_) => self.added(account).await,
            Err(reason) => Err(reason),
        };
        if added.is_err() {
            let (config, of) = (self.config.clone(), account.clone());
            blocking(move || provision::give_up(&config, &of)).await?;
        }
        added
    }

    async fn added(&self, account: &Arc<Account>) -> Result<User, String> {
        let name = account.name.clone();
        let user = blocking(move || provision::find(&name)).await?;
        user.ok_or_else(|| unknown(&account.name))
    }

    /// Runs the hook for a user who was added just now, or for whom it failed
    /// before or was cut short.
    async fn set_up(&mut self, account: &Arc<Account>) -> Result<(), String> {
        let (config, of) = (self.config.clone(), account.clone());
        if blocking(move || Ok(provision::needs_set_up(&config, &of))).await? {
            self.run(Hook::AfterAddUser).await?;
        }
        Ok(())
    }
}

fn unknown(name: &str) -> String {
    format!("no such user: {name}")
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(error.to_string()))
}
