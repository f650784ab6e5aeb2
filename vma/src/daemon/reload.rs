//! Another configuration, and another log file, without another daemon.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use qvd_config::{Setting, VmaConfig};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep, sleep};

use super::core::Input;
use super::gate::Gate;
use crate::log::{Log, MISSING, Plan};
use crate::settings::{self, Loaded};
use crate::watch::Watcher;

/// Keys whose values are taken when the agent starts: what they name is in
/// use, by the agent itself or by a session that is to go on.
const FIXED: [&str; 7] = [
    "path.run",
    "vma.pid_file",
    "vma.as_user",
    "vma.as_group",
    "vma.rpc.address",
    "vma.rpc.port",
    "internal.nxagent.display",
];

/// How long files that change are left alone: several may be replaced one after
/// the other, a certificate and its key.
const SETTLE: Duration = Duration::from_millis(200);

/// A point in the future that does not come.
const NEVER: Duration = Duration::from_secs(365 * 86400);

/// Somebody wants the configuration to be read again, and to know how it went:
/// what has changed, or what is wrong, one line each.
pub type Request = oneshot::Sender<Result<Vec<String>, Vec<String>>>;

/// Reads the configuration again when it is told to, by SIGHUP or through the
/// control socket, and when its files have changed; opens the log file again
/// when it was moved away.
pub struct Reloader {
    path: PathBuf,
    config: VmaConfig,
    settings: Vec<Setting>,
    log: Log,
    core: mpsc::UnboundedSender<Input>,
    requests: mpsc::UnboundedReceiver<Request>,
    hangup: Signal,
    files: Watcher,
    log_file: Watcher,
    settled: Pin<Box<Sleep>>,
    missing: Pin<Box<Sleep>>,
}

impl Reloader {
    /// Begins to watch the files of a configuration.
    ///
    /// # Errors
    /// When the kernel has no room for watchers.
    pub fn new(
        path: PathBuf,
        loaded: &Loaded,
        log: Log,
        core: mpsc::UnboundedSender<Input>,
        requests: mpsc::UnboundedReceiver<Request>,
    ) -> io::Result<Self> {
        Ok(Self {
            files: Watcher::new(&files(&path, &loaded.config))?,
            log_file: Watcher::new(&log.file().into_iter().collect::<Vec<_>>())?,
            hangup: signal(SignalKind::hangup())?,
            config: loaded.config.clone(),
            settings: loaded.settings.clone(),
            path,
            log,
            core,
            requests,
            settled: Box::pin(sleep(NEVER)),
            missing: Box::pin(sleep(NEVER)),
        })
    }

    /// Does so for ever.
    pub async fn run(mut self) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    tracing::info!("told to read the configuration again");
                    self.reopen_log();
                    let _ = self.reload();
                }
                Some(request) = self.requests.recv() => {
                    let _ = request.send(self.reload());
                }
                () = self.files.changed() => {
                    self.settled.as_mut().reset(Instant::now() + SETTLE);
                }
                () = self.settled.as_mut() => {
                    self.settled.as_mut().reset(Instant::now() + NEVER);
                    let _ = self.reload();
                }
                () = self.log_file.changed() => self.look_for_log(),
                () = self.missing.as_mut() => self.reopen_log(),
            }
        }
    }

    fn look_for_log(&mut self) {
        match self.log.is_in_place() {
            Some(true) => self.missing.as_mut().reset(Instant::now() + NEVER),
            Some(false) => self.reopen_log(),
            // Whoever has moved it away may be about to make the next one.
            None => self.missing.as_mut().reset(Instant::now() + MISSING),
        }
    }

    fn reopen_log(&mut self) {
        self.missing.as_mut().reset(Instant::now() + NEVER);
        if self.log.is_in_place() == Some(true) {
            return;
        }
        match self.log.reopen() {
            Ok(()) => {
                tracing::info!("the log file was opened again");
                let _ = self.core.send(Input::LogChanged);
            }
            Err(error) => tracing::warn!("{error:#}"),
        }
    }

    /// Reads the configuration and puts it in force, or says what is wrong.
    fn reload(&mut self) -> Result<Vec<String>, Vec<String>> {
        let outcome = self.try_reload();
        match &outcome {
            Ok(changes) => {
                for change in changes {
                    tracing::info!("configuration: {change}");
                }
            }
            Err(faults) => {
                for fault in faults {
                    tracing::error!("configuration: {fault}");
                }
                tracing::error!("the configuration is not taken, the one before stays in force");
            }
        }
        outcome
    }

    fn try_reload(&mut self) -> Result<Vec<String>, Vec<String>> {
        let loaded = settings::load(&self.path).map_err(|fault| fault.0)?;
        let mut config = loaded.config;
        keep_fixed(&mut config, &self.config);
        let gate = Gate::new(&config).map_err(|fault| vec![fault])?;
        let mut lines = loaded.warnings;
        lines.extend(changes(&self.settings, &loaded.settings));
        let plan = Plan::new(&config.log);
        let log = self.log.change_if(&plan);
        if let Err(error) = &log {
            lines.push(format!("the log stays where it is: {error:#}"));
        }
        self.settings = loaded.settings;
        self.config = config.clone();
        let _ = self
            .core
            .send(Input::Reload(Box::new(config), Arc::new(gate)));
        if log.is_ok_and(|changed| changed) {
            let _ = self.core.send(Input::LogChanged);
        }
        self.watch();
        Ok(lines)
    }

    /// Watches the files that the configuration names now.
    fn watch(&mut self) {
        let log_file: Vec<_> = self.log.file().into_iter().collect();
        let watchers = Watcher::new(&files(&self.path, &self.config))
            .and_then(|files| Ok((files, Watcher::new(&log_file)?)));
        match watchers {
            Ok((files, log_file)) => (self.files, self.log_file) = (files, log_file),
            Err(error) => tracing::warn!(%error, "the configuration's files cannot be watched"),
        }
    }
}

/// The files whose change is a change of the configuration.
fn files(path: &Path, config: &VmaConfig) -> Vec<PathBuf> {
    let rpc = &config.rpc;
    let named = [
        &rpc.key_file,
        &rpc.tls_cert,
        &rpc.tls_key,
        &rpc.tls_client_ca,
    ];
    std::iter::once(path.to_owned())
        .chain(named.into_iter().flatten().cloned())
        .collect()
}

fn keep_fixed(config: &mut VmaConfig, old: &VmaConfig) {
    config.process = old.process.clone();
    config.rpc.address = old.rpc.address;
    config.rpc.port = old.rpc.port;
    config.nx.display = old.nx.display;
}

/// What differs, one line a key. Values are not told: some are secret.
fn changes(old: &[Setting], new: &[Setting]) -> Vec<String> {
    let value = |of: &[Setting], key: &str| {
        let setting = of.iter().find(|setting| setting.key == key);
        setting.map(|setting| setting.value.clone())
    };
    let mut keys: Vec<&str> = old.iter().chain(new).map(|s| s.key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter()
        .filter(|key| value(old, key) != value(new, key))
        .map(|key| {
            if FIXED.contains(&key) {
                format!("{key} has changed, which the agent's next start takes up")
            } else {
                format!("{key} has changed")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use qvd_config::{Program, Properties};

    use super::*;

    fn settings(text: &str) -> Vec<Setting> {
        Properties::from_sources([("vma.conf", text.as_bytes())])
            .unwrap()
            .settings(Program::Vma)
    }

    #[test]
    fn changes_name_keys_and_no_values() {
        let old = settings("vma.rpc.port = 3030\nlog.level = INFO\nvma.rpc.key = 0123456789abcdef");
        let new = settings("vma.rpc.port = 3031\nlog.level = DEBUG\nlog4perl.x = 1");
        let lines = changes(&old, &new);
        assert_eq!(
            lines,
            [
                "log.level has changed",
                "log4perl.x has changed",
                "vma.rpc.key has changed",
                "vma.rpc.port has changed, which the agent's next start takes up",
            ]
        );
        assert!(changes(&old, &old).is_empty());
    }

    #[test]
    fn fixed_keys_exist_and_stay() {
        for key in FIXED {
            assert!(Program::Vma.key(key).is_some(), "{key}");
        }
        let config = |text: &str| {
            let properties = Properties::from_sources([("vma.conf", text.as_bytes())]).unwrap();
            VmaConfig::from_properties(&properties).unwrap()
        };
        let old = config("vma.rpc.port = 1\nvma.rpc.address = 127.0.0.1");
        let mut new = config("path.run = /x\nvma.rpc.port = 2\ninternal.nxagent.display = 7");
        keep_fixed(&mut new, &old);
        assert_eq!(new.rpc.port, 1);
        assert_eq!(new.rpc.address, old.rpc.address);
        assert_eq!(new.nx.display.number(), 100);
        assert_eq!(new.process.run, Path::new("/var/run/qvd"));
    }
}
