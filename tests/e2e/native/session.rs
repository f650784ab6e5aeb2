//! A session on the native engine, in a thread of its own: what the tests do
//! meanwhile may block.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use nx_proxy::{Display, Ending, Engine as _, Error, Event, Native, NxStream, Order, Session};
use qvd_tests::Result;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};

/// For anything that is to happen.
pub(super) const WAIT: Duration = Duration::from_secs(40);

/// What came of a session.
type Ended = std::result::Result<Ending, Error>;

/// A session under way. Dropping it leaves it at once.
pub(super) struct NativeSession {
    events: mpsc::UnboundedReceiver<Event>,
    order: watch::Sender<Order>,
    thread: Option<JoinHandle<Ended>>,
}

impl NativeSession {
    /// Connects the agent at `socket` with the display `name`.
    pub(super) fn start(socket: &Path, name: &str) -> Self {
        let (told, events) = mpsc::unbounded_channel();
        let (order, orders) = watch::channel(Order::Run);
        let (socket, name): (PathBuf, String) = (socket.into(), name.into());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let display = Display::open(&name).await?;
                let stream = UnixStream::connect(&socket).await.unwrap();
                let stream = NxStream::new(stream, Vec::new());
                let session = Session::new(display);
                let mut tell = |event| drop(told.send(event));
                Native::new().run(stream, &session, &mut tell, orders).await
            })
        });
        Self {
            events,
            order,
            thread: Some(thread),
        }
    }

    /// Waits until the session tells `wanted`.
    pub(super) async fn until(&mut self, wanted: &Event) -> Result<()> {
        let seen = async {
            while let Some(event) = self.events.recv().await {
                if event == *wanted {
                    return true;
                }
            }
            false
        };
        match tokio::time::timeout(WAIT, seen).await {
            Ok(true) => Ok(()),
            Ok(false) => panic!("session ended before {wanted:?}: {:?}", self.join()),
            Err(_) => panic!("waited in vain for {wanted:?}"),
        }
    }

    /// Orders the session to be suspended, and waits for its end.
    pub(super) async fn suspend(self) -> Ended {
        self.order.send(Order::Suspend).unwrap();
        self.end().await
    }

    /// Waits for its end.
    pub(super) async fn end(mut self) -> Ended {
        // The thread lets go of it when the session has ended.
        let over = async { while self.events.recv().await.is_some() {} };
        tokio::time::timeout(WAIT, over).await.unwrap();
        self.join().unwrap()
    }

    fn join(&mut self) -> Option<Ended> {
        let thread = self.thread.take()?;
        Some(thread.join().unwrap())
    }
}

impl Drop for NativeSession {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.order.send(Order::Abort);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
