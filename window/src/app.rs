//! The window and what it knows, on the toolkit's thread.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;

use nx_proxy::{Native, Order};
use qvd_broker::VmEntry;
use qvd_client::cli::{self, Environment, Settings, SslErrors};
use qvd_client::core::{Answer, Failure, Memory};
use qvd_client::window::Arguments;
use slint::{CloseRequestResponse, ComponentHandle as _, Timer};
use tokio::sync::{mpsc, oneshot, watch};

use crate::conf;
use crate::reach::Reach;
use crate::running::Running;
use crate::tray::Shown;
use crate::ui::{self, MainWindow, Page};
use crate::worker::{Command, Message, Worker};

/// Everything the window knows.
pub(crate) struct App {
    pub(crate) window: MainWindow,
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    /// What the panel is to show of a session.
    pub(crate) tray: watch::Sender<Option<Shown>>,
    /// What was said when it was started, here or since by another start.
    pub(crate) arguments: RefCell<Arguments>,
    /// It fills the screen, and has no way out.
    pub(crate) is_kiosk: bool,
    pub(crate) environment: Environment,
    /// The saved connection that is used; none is the default one.
    pub(crate) profile: RefCell<Option<String>>,
    /// What the configuration said last.
    pub(crate) settings: RefCell<Option<Settings>>,
    /// Width and height of the screen in pixels, once they are known.
    pub(crate) screen: Cell<Option<(u32, u32)>>,
    /// The window was hidden at least once.
    pub(crate) was_hidden: Cell<bool>,
    /// It is in sight without having asked for the keyboard.
    pub(crate) is_quiet: Cell<bool>,
    /// What has clicks reach it then.
    pub(crate) reach: RefCell<Option<Reach>>,
    /// The window is a Wayland one, which has no place of its own.
    pub(crate) on_wayland: bool,
    /// Draws sessions and counts what they carry.
    pub(crate) native: Native,
    /// Certificates that were accepted as long as the window is there.
    pub(crate) memory: Memory,
    pub(crate) session: RefCell<Session>,
    /// Ticks each second while a page counts down.
    pub(crate) clock: Timer,
    /// The program ends as soon as no session is on.
    pub(crate) quitting: Cell<bool>,
}

/// What belongs to one session, from the login to its end.
#[derive(Default)]
pub(crate) struct Session {
    /// Leaves it.
    pub(crate) orders: Option<watch::Sender<Order>>,
    pub(crate) vms: Vec<VmEntry>,
    /// Which of them are shown.
    pub(crate) shown: Vec<usize>,
    pub(crate) choose: Option<oneshot::Sender<usize>>,
    pub(crate) trust: Option<oneshot::Sender<Answer>>,
    pub(crate) may_start: Option<oneshot::Sender<bool>>,
    /// The user has cancelled it.
    pub(crate) cancelled: bool,
    /// It was in its window.
    pub(crate) was_up: bool,
    /// It is there now.
    pub(crate) is_up: bool,
    pub(crate) running: Running,
}

impl App {
    /// Makes the window and shows its first page.
    ///
    /// # Errors
    /// When the display cannot be used.
    pub(crate) fn new(
        arguments: Arguments,
        environment: Environment,
        worker: &Worker,
        messages: mpsc::UnboundedReceiver<Message>,
    ) -> Result<Rc<Self>, slint::PlatformError> {
        let app = Rc::new(Self {
            window: MainWindow::new()?,
            commands: worker.commands.clone(),
            tray: worker.tray.clone(),
            profile: RefCell::new(arguments.profile.clone()),
            is_kiosk: arguments.kiosk,
            arguments: RefCell::new(arguments),
            environment,
            screen: Cell::default(),
            was_hidden: Cell::new(false),
            is_quiet: Cell::new(false),
            reach: RefCell::default(),
            on_wayland: std::env::var_os("WAYLAND_DISPLAY").is_some_and(|name| !name.is_empty()),
            native: Native::new(),
            settings: RefCell::default(),
            memory: Memory::default(),
            session: RefCell::default(),
            clock: Timer::default(),
            quitting: Cell::new(false),
        });
        app.window.set_kiosk(app.is_kiosk);
        app.wire();
        app.tell_versions();
        app.load();
        app.look();
        let receiver = Rc::clone(&app);
        let listening = slint::spawn_local(async move {
            let mut messages = messages;
            while let Some(message) = messages.recv().await {
                receiver.message(message);
            }
        });
        listening.map_err(|error| slint::PlatformError::Other(error.to_string()))?;
        Ok(app)
    }

    /// Asks what there is to know of the display.
    pub(crate) fn look(&self) {
        if let Some(display) = self.environment.display.clone() {
            // Without the thread there is no session either.
            let _ = self.commands.send(Command::Look(display));
        }
    }

    /// Joins the pages' callbacks with what they do.
    fn wire(self: &Rc<Self>) {
        let window = &self.window;
        let app = Rc::downgrade(self);
        window.on_leave(move || with(&app, App::escape));
        let app = Rc::downgrade(self);
        window.on_quit(move || with(&app, App::quit));
        let app = Rc::downgrade(self);
        window.window().on_close_requested(move || {
            with(&app, App::close);
            CloseRequestResponse::KeepWindowShown
        });
        self.wire_login();
        self.wire_profiles();
        self.wire_session();
        self.wire_settings();
        self.wire_running();
    }

    /// Reads the configuration, and fills the pages with it.
    pub(crate) fn load(&self) {
        match self.gather(None) {
            Ok(settings) => {
                self.show_language(&settings);
                self.fill_login(&settings);
                self.fill_settings(&settings);
                *self.settings.borrow_mut() = Some(settings);
            }
            Err(failure) => self.show_failure(&failure),
        }
        self.window.invoke_start();
    }

    /// Reads the configuration as it is now, with what the user entered.
    pub(crate) fn gather(&self, entered: Option<&Entered>) -> Result<Settings, Failure> {
        let given = self.arguments.borrow().clone();
        let mut arguments = cli::Arguments {
            debug: given.debug,
            host: given.host,
            port: given.port,
            username: given.username,
            vm_id: given.vm_id,
            kiosk: given.kiosk,
            config: self.own_config(),
            incomplete: entered.is_none(),
            ..cli::Arguments::default()
        };
        if self.environment.ssl_errors.is_none() {
            arguments.ssl_errors = Some(SslErrors::Ask);
        }
        if let Some(entered) = entered {
            arguments.host = Some(entered.host.clone());
            arguments.port = entered.port;
            arguments.username = Some(entered.user.clone());
            arguments.link = Some(entered.link.clone());
        }
        let mut settings = Settings::gather(arguments, &self.environment)?;
        if let Some(tls) = &mut settings.tls {
            tls.memory = self.memory.clone();
        }
        Ok(settings)
    }

    /// The configuration file in place of the user's default one, if it is
    /// there.
    fn own_config(&self) -> Option<PathBuf> {
        let profile = self.profile.borrow();
        let Some(profile) = profile.as_deref() else {
            return self.arguments.borrow().config.clone();
        };
        let file = conf::profile(self.environment.home.as_ref()?, profile)?;
        Some(file)
    }

    /// The file that the window writes.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        let profile = self.profile.borrow();
        conf::in_use(
            &self.arguments.borrow(),
            &self.environment,
            profile.as_deref(),
        )
    }

    /// Writes keys into the user's file, and removes others.
    pub(crate) fn keep(
        &self,
        keys: &[(impl AsRef<str>, String)],
        gone: &[String],
    ) -> std::io::Result<()> {
        let Some(file) = self.file() else {
            return Err(std::io::Error::other("HOME is not set"));
        };
        let written = conf::write(&file, keys, gone);
        if let Err(error) = &written {
            tracing::warn!("{}: {error}", file.display());
        }
        written
    }

    fn tell_versions(&self) {
        let about = self.window.global::<ui::About<'_>>();
        about.set_version(env!("CARGO_PKG_VERSION").into());
        about.set_toolkit("1.18".into());
    }

    /// Shows another page.
    pub(crate) fn turn_to(&self, page: Page) {
        self.window.set_page(page);
        self.window.invoke_start();
    }

    /// Escape.
    fn escape(&self) {
        match self.window.get_page() {
            Page::Settings | Page::About => self.turn_to(Page::Login),
            Page::Failure => self.back(),
            Page::Login => {}
            Page::Certificate => self.trust(Answer::No),
            Page::Question => self.may_start(false),
            Page::Progress | Page::Vms => self.cancel(),
            Page::Running => self.leave_running(),
        }
    }

    /// What the window's frame closes it for.
    fn close(&self) {
        match self.window.get_page() {
            Page::Running => self.leave_running(),
            _ => self.quit(),
        }
    }

    /// Ends the program, and leaves what is on before.
    pub(crate) fn quit(&self) {
        // A kiosk's window has no way out.
        if !self.is_kiosk {
            self.end();
        }
    }

    /// The same, also where the user has no way out.
    pub(crate) fn end(&self) {
        self.quitting.set(true);
        if self.session.borrow().orders.is_some() {
            self.cancel();
        } else {
            // It may have ended.
            let _ = slint::quit_event_loop();
        }
    }
}

/// What the user entered to log in.
pub(crate) struct Entered {
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) user: String,
    pub(crate) link: String,
}

/// Calls what a callback is for, as long as the window is there.
pub(crate) fn with(app: &std::rc::Weak<App>, what: impl FnOnce(&App)) {
    if let Some(app) = app.upgrade() {
        what(&app);
    }
}
