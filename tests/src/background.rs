//! Work that goes on while a test waits for something else.

use std::future::Future;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::Result;
use crate::error::Doing as _;

/// A runtime on a thread of its own. Dropped, its work ends, with its tasks and
/// their sockets.
#[derive(Debug)]
pub(crate) struct Background {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// A runtime for [`Background::start`].
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn runtime() -> Result<Runtime> {
        let mut builder = Builder::new_current_thread();
        builder
            .enable_all()
            .build()
            .doing(|| "making a runtime".into())
    }

    /// Has the runtime do what `work` makes, on that thread, of the sign to stop.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn start<F>(
        name: &str,
        runtime: Runtime,
        work: impl FnOnce(oneshot::Receiver<()>) -> F + Send + 'static,
    ) -> Result<Self>
    where
        F: Future<Output = ()>,
    {
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || runtime.block_on(work(stopped)))
            .doing(|| "starting a thread".into())?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}
