//! The installed `nxproxy` as an engine.

mod child;
mod output;
mod rendezvous;
mod run;
pub(crate) mod sys;

use std::path::{Path, PathBuf};

use crate::{Engine, Error, Events, NxStream, Orders, Running, Session};

/// Draws sessions with the installed `nxproxy` (Debian's package nxproxy,
/// 3.5.99 or later).
///
/// nxproxy connects to a private Unix socket that admits nobody else, so there
/// is no port for other users of the machine to connect to, and any number of
/// sessions runs side by side.
///
/// The futures of this engine need tokio's I/O and time drivers. The thread
/// that polls one first has to live as long as the session: nxproxy dies with
/// it.
#[derive(Debug, Clone)]
pub struct NxProxy {
    program: PathBuf,
    cache: Option<PathBuf>,
    arguments: Vec<String>,
}

impl NxProxy {
    /// `program` is a path, or a name that is looked up in `PATH`.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            cache: None,
            arguments: Vec::new(),
        }
    }

    /// A directory in which nxproxy keeps messages from one session to the next
    /// (seen with link `adsl`, and only after sessions the agent closed). It is
    /// made when needed.
    #[must_use]
    pub fn with_cache(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cache = Some(dir.into());
        self
    }

    /// Arguments for nxproxy after the engine's own.
    #[must_use]
    pub fn with_arguments(mut self, arguments: Vec<String>) -> Self {
        self.arguments = arguments;
        self
    }

    fn find(&self) -> Result<PathBuf, Error> {
        let found = if self.program.components().count() > 1 {
            Some(self.program.clone()).filter(|program| is_program(program))
        } else {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path)
                .map(|dir| dir.join(&self.program))
                .find(|program| is_program(program))
        };
        found.ok_or_else(|| Error::NotInstalled {
            program: self.program.clone(),
        })
    }
}

fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

impl Engine for NxProxy {
    fn name(&self) -> &'static str {
        "nxproxy"
    }

    fn check(&self) -> Result<(), Error> {
        self.find().map(drop)
    }

    fn run<'a>(
        &'a self,
        stream: NxStream,
        session: &'a Session,
        events: Events<'a>,
        orders: Orders,
    ) -> Running<'a> {
        Box::pin(async move {
            let program = self.find()?;
            let cache = self.cache.as_deref();
            run::run(
                &program,
                cache,
                &self.arguments,
                stream,
                session,
                events,
                orders,
            )
            .await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        for program in [
            "/nonexistent/nxproxy",
            "no-such-nxproxy",
            "/etc/passwd",
            "/",
        ] {
            let error = NxProxy::new(program).check().unwrap_err();
            assert!(matches!(error, Error::NotInstalled { .. }));
            assert!(error.to_string().contains(program));
            assert!(error.to_string().contains("install the package nxproxy"));
        }
        NxProxy::new("sh").check().unwrap();
    }
}
