//! The thread on which the client's core runs, beside the toolkit's.

use std::io;
use std::time::Duration;

use nx_proxy::{Display, Native, Order};
use qvd_broker::{Credentials, VmEntry};
use qvd_client::cli::{Settings, Store, Task, engine};
use qvd_client::core::{
    Answer, Asker, Choice, Code, Event, Failure, Outcome, Question, Wish, open_desktop,
};
use secrecy::SecretString;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::instance::{self, Call, Claim, Next, Place, Taken, Wanted};
use crate::tray::{self, Shown, Want};
use crate::view::{Asking, Seen};

/// How long a session may take to be left when the program ends.
const LEAVE: Duration = Duration::from_secs(20);

/// What the window wants.
pub(crate) enum Command {
    /// A session.
    Connect(Box<Request>),
    /// The password that was kept.
    LookUp(Store),
    /// Leaves everything and ends.
    End,
    /// What is to be known of this display.
    Look(String),
    /// Takes what other starts hand to this window, instead of at the place
    /// before.
    Serve(Place),
    /// The place of another saved connection.
    Claim(Wanted),
}

/// A session that is wanted.
pub(crate) struct Request {
    pub(crate) settings: Settings,
    pub(crate) password: SecretString,
    pub(crate) choice: Choice,
    /// Draws the session, unless the configuration wants another engine.
    pub(crate) native: Native,
    /// Leaves the session.
    pub(crate) orders: watch::Receiver<Order>,
}

/// What the window is told.
pub(crate) enum Message {
    /// Something happened.
    Event(Event),
    /// The broker has taken the login.
    LoggedIn,
    /// One of these is to be chosen.
    Choose(Vec<VmEntry>, oneshot::Sender<usize>),
    /// Is this the broker's certificate?
    Trust(Box<Question>, oneshot::Sender<Answer>),
    /// May this VM be started?
    MayStart(VmEntry, oneshot::Sender<bool>),
    /// The password was not kept; why.
    NotKept(String),
    /// A password that was kept.
    Kept(SecretString),
    /// The display: its keyboard in words, width and height in pixels.
    Display(Option<String>, u16, u16),
    /// The session ended.
    Ended(Result<Outcome, Failure>),
    /// The window was started once more.
    Called(Call, oneshot::Sender<Taken>),
    /// Whose place it is that was wanted.
    Claimed(io::Result<Claim>, Next),
    /// What was chosen in the panel.
    Wanted(Want),
    /// The machine ends the program, once no session is on.
    Quit,
}

pub(crate) type Messages = mpsc::UnboundedSender<Message>;

/// The thread, from the window's side.
pub(crate) struct Worker {
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    /// What the panel is to show of a session.
    pub(crate) tray: watch::Sender<Option<Shown>>,
    thread: std::thread::JoinHandle<()>,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread or runtime.
    pub(crate) fn start(messages: Messages) -> io::Result<Self> {
        let (commands, orders) = mpsc::unbounded_channel();
        let (tray, shown) = watch::channel(None);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new()
            .name("core".into())
            .spawn(move || {
                runtime.spawn(tray::keep(shown, messages.clone()));
                runtime.block_on(serve(orders, messages));
                // A lookup that hangs in the name service must not keep the
                // program.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            commands,
            tray,
            thread,
        })
    }

    /// Waits until everything is left.
    pub(crate) fn end(self) {
        // The window's own sender may still be there.
        let _ = self.commands.send(Command::End);
        // It panicked, which was logged, or ended.
        let _ = self.thread.join();
    }
}

async fn serve(mut commands: mpsc::UnboundedReceiver<Command>, messages: Messages) {
    let quit = messages.clone();
    tokio::spawn(async move {
        if let Err(error) = until_signalled().await {
            tracing::warn!("no signals: {error}");
            return;
        }
        // The window may be gone by itself.
        let _ = quit.send(Message::Quit);
    });
    let mut small = Small {
        messages: messages.clone(),
        place: JoinSet::new(),
    };
    while let Some(command) = commands.recv().await {
        let Some(command) = small.carry_out(command) else {
            continue;
        };
        let Command::Connect(request) = command else {
            return;
        };
        let session = connect(&request, &messages);
        tokio::pin!(session);
        let done = tokio::select! {
            done = &mut session => done,
            // The window is gone: what it started is left.
            () = gone(&mut commands, &mut small) => {
                let _ = timeout(LEAVE, session).await;
                return;
            }
        };
        let _ = messages.send(Message::Ended(done));
    }
}

/// What goes on beside a session.
struct Small {
    messages: Messages,
    /// Other starts are listened to.
    place: JoinSet<()>,
}

impl Small {
    /// Begins what a command wants; gives back what is more than that.
    fn carry_out(&mut self, command: Command) -> Option<Command> {
        let messages = self.messages.clone();
        match command {
            Command::LookUp(store) => {
                tokio::spawn(async move {
                    if let Some(password) = store.look_up().await {
                        let _ = messages.send(Message::Kept(password));
                    }
                });
            }
            Command::Look(display) => {
                tokio::spawn(async move {
                    if let Ok(display) = Display::open(&display).await {
                        let keyboard = display.keyboard().map(ToString::to_string);
                        let screen = display.screen();
                        let seen = Message::Display(keyboard, screen.width, screen.height);
                        let _ = messages.send(seen);
                    }
                });
            }
            Command::Serve(place) => {
                self.place = JoinSet::new();
                self.place.spawn(async move {
                    if let Err(error) = place.serve(messages).await {
                        tracing::warn!("other starts are not heard: {error}");
                    }
                });
            }
            Command::Claim(wanted) => {
                // Another window has its time to answer, which may be the one
                // that waits for this one.
                tokio::task::spawn_blocking(move || {
                    let Wanted {
                        folder,
                        display,
                        file,
                        next,
                    } = wanted;
                    let claim = instance::claim(&folder, &display, &file, &Call::default());
                    // The window may be gone.
                    let _ = messages.send(Message::Claimed(claim, next));
                });
            }
            other @ (Command::Connect(_) | Command::End) => return Some(other),
        }
        None
    }
}

/// Ends when the window is gone. A second session is not begun.
async fn gone(commands: &mut mpsc::UnboundedReceiver<Command>, small: &mut Small) {
    while let Some(command) = commands.recv().await {
        if matches!(small.carry_out(command), Some(Command::End)) {
            return;
        }
    }
}

async fn until_signalled() -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}

async fn connect(request: &Request, messages: &Messages) -> Result<Outcome, Failure> {
    let mut settings = request.settings.clone();
    // Another name in the logs, for each session.
    settings.rename()?;
    if let Some(tls) = &mut settings.tls {
        tls.asker = Asker::new(Asking::new(messages.clone()));
    }
    let engine = engine(&settings, &request.native);
    let credentials = match settings.token.clone() {
        Some(token) => Credentials::Bearer { token },
        None => Credentials::Basic {
            login: settings.login.clone(),
            password: request.password.clone(),
        },
    };
    let wish = Wish {
        target: settings.target(credentials),
        choice: request.choice.clone(),
        kill_vm: settings.kill_vm,
        reconnect: settings.reconnect,
        parameters: settings.parameters.clone(),
        nx_options: settings.nx_options.clone(),
        display: settings.display.clone(),
        slave: settings.slave.clone(),
        sound: settings.sound.clone(),
        printers: settings.printers.clone(),
        carrier: settings.carrier.clone(),
    };
    let (taken, logged_in) = oneshot::channel();
    let session = async {
        let mut seen = Seen::new(messages.clone(), taken);
        open_desktop(&*engine, &wish, &mut seen, request.orders.clone()).await
    };
    let keeping = async {
        if logged_in.await.is_err() {
            return;
        }
        let _ = messages.send(Message::LoggedIn);
        if let Some(store) = Store::of(&settings).filter(|_| settings.token.is_none())
            && let Err(error) = store.keep(&request.password).await
        {
            tracing::warn!("password not kept: {error}");
            let _ = messages.send(Message::NotKept(error.to_string()));
        }
    };
    let (done, ()) = tokio::join!(session, keeping);
    match &done {
        Ok(outcome) => tracing::info!("{outcome:?}"),
        Err(failure) => tracing::error!(code = failure.code().as_str(), "{}", failure.chain()),
    }
    if let Err(failure) = &done
        && failure.code() == Code::LoginRefused
        && let Some(store) = Store::of(&settings)
    {
        store.forget().await;
    }
    done
}

/// What of the settings says which VM is meant.
pub(crate) fn choice(settings: &Settings) -> Choice {
    match &settings.task {
        Task::Connect(choice) => choice.clone(),
        _ => Choice::Only,
    }
}
