//! The login page.

use std::rc::Rc;

use nx_proxy::Order;
use qvd_client::cli::{Settings, Store};
use qvd_client::core::{Code, Failure};
use qvd_client::window::{host_and_port, place};
use secrecy::{ExposeSecret, SecretString};
use slint::{ComponentHandle as _, ModelRc, SharedString, VecModel};
use tokio::sync::watch;

use crate::app::{App, Entered, Session, with};
use crate::conf;
use crate::ui::{self, Page};
use crate::worker::{Command, Request, choice};

/// The kinds of network, in the order in which the page has them.
const LINKS: [&str; 6] = ["local", "lan", "wan", "adsl", "isdn", "modem"];

/// The broker's port where none is given.
const PORT: u16 = 8443;

impl App {
    pub(crate) fn wire_login(self: &Rc<Self>) {
        let login = self.window.global::<ui::Login<'_>>();
        let app = Rc::downgrade(self);
        login.on_connect(move || with(&app, App::connect));
    }

    /// Shows what the configuration says.
    pub(crate) fn fill_login(&self, settings: &Settings) {
        let login = self.window.global::<ui::Login<'_>>();
        let keys = &settings.keys;
        login.set_user(settings.login.as_str().into());
        login.set_server(match settings.host.as_str() {
            "" => SharedString::default(),
            host => place(host, settings.port, PORT).into(),
        });
        login.set_server_locked(keys.login.force_host.is_some());
        let link = keys.session.link.to_string();
        let known = LINKS.iter().position(|known| *known == link);
        login.set_own_link(match known {
            Some(_) => SharedString::default(),
            None => link.into(),
        });
        login.set_link(index(known.unwrap_or(LINKS.len())));
        login.set_link_locked(keys.session.force_link.is_some());
        login.set_remember_user(keys.window.remember_username);
        login.set_remember_password(keys.window.remember_password);
        login.set_can_remember_password(keys.window.show_remember_password);
        let password = settings.password.as_ref().map(ExposeSecret::expose_secret);
        login.set_password(password.unwrap_or_default().into());
        if password.is_none()
            && !settings.login.is_empty()
            && let Some(store) = Store::of(settings)
        {
            // Without the thread there is no session either.
            let _ = self.commands.send(Command::LookUp(store));
        }
        self.fill_profiles();
    }

    pub(crate) fn fill_profiles(&self) {
        let login = self.window.global::<ui::Login<'_>>();
        let Some(home) = &self.environment.home else {
            return;
        };
        let names = conf::profiles(home);
        let current = self.profile.borrow();
        let at = names.iter().position(|name| Some(name) == current.as_ref());
        let own = login.get_default_profile();
        let all = std::iter::once(own).chain(names.iter().map(SharedString::from));
        login.set_profiles(ModelRc::new(all.collect::<VecModel<_>>()));
        login.set_profile(at.map_or(0, |at| index(at + 1)));
    }

    /// A password was kept, and nobody has typed another one meanwhile.
    pub(crate) fn fill_password(&self, password: &SecretString) {
        let login = self.window.global::<ui::Login<'_>>();
        if login.get_password().is_empty() {
            login.set_password(password.expose_secret().into());
        }
    }

    /// What is entered; `None` where the server is none.
    fn entered(&self) -> Option<Entered> {
        let login = self.window.global::<ui::Login<'_>>();
        let (host, port) = host_and_port(&login.get_server())?;
        let link = usize::try_from(login.get_link()).unwrap_or_default();
        let link = match LINKS.get(link) {
            Some(link) => (*link).to_owned(),
            None => login.get_own_link().into(),
        };
        Some(Entered {
            host,
            port: Some(port.unwrap_or(PORT)),
            user: login.get_user().trim().to_owned(),
            link,
        })
    }

    /// Begins a session.
    fn connect(&self) {
        if self.session.borrow().orders.is_some() {
            return;
        }
        let login = self.window.global::<ui::Login<'_>>();
        login.set_refused(ui::Failure::default());
        let Some(entered) = self.entered() else {
            let message = format!("{} is no server's name", login.get_server());
            self.show_failure(&Failure::new(Code::UnknownHost, message));
            return;
        };
        let mut settings = match self.gather(Some(&entered)) {
            Ok(settings) => settings,
            Err(failure) => return self.show_failure(&failure),
        };
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
        settings.kill_vm = self.window.global::<ui::Settings<'_>>().get_kill_vm();
        settings.remember = login.get_remember_password();
        let password = SecretString::from(login.get_password().to_string());
        let (orders, receiver) = watch::channel(Order::Run);
        let request = Request {
            native: self.native.clone(),
            choice: choice(&settings),
            settings,
            password,
            orders: receiver,
        };
        *self.session.borrow_mut() = Session {
            orders: Some(orders),
            ..Session::default()
        };
        let seen = self.window.global::<ui::Session<'_>>();
        seen.set_step("starting".into());
        seen.set_step_detail(SharedString::default());
        seen.set_message(SharedString::default());
        seen.set_note(SharedString::default());
        seen.set_reconnecting(false);
        self.turn_to(Page::Progress);
        if self
            .commands
            .send(Command::Connect(Box::new(request)))
            .is_err()
        {
            let failure = Failure::new(Code::Internal, "the client's core has ended");
            self.session.borrow_mut().orders = None;
            self.show_failure(&failure);
        }
    }

    /// Keeps what the user wants kept, now that the broker has taken it.
    pub(crate) fn remember(&self) {
        let login = self.window.global::<ui::Login<'_>>();
        let Some(entered) = self.entered() else {
            return;
        };
        let flag = |on: bool| if on { "1" } else { "0" }.to_owned();
        let keeps = login.get_remember_user();
        let mut keys = Vec::new();
        {
            let settings = self.settings.borrow();
            let Some(settings) = settings.as_ref() else {
                return;
            };
            let (own, window) = (&settings.keys, &settings.keys.window);
            let mut changed = |key, old: String, new: String| {
                if old != new {
                    keys.push((key, new));
                }
            };
            changed(
                "client.remember_username",
                flag(window.remember_username),
                flag(keeps),
            );
            changed(
                "client.remember_password",
                flag(window.remember_password),
                flag(login.get_remember_password()),
            );
            if !login.get_server_locked() {
                let old = own.login.host.as_ref().map(ToString::to_string);
                changed("client.host.name", old.unwrap_or_default(), entered.host);
                let port = entered.port.unwrap_or(PORT);
                changed(
                    "client.host.port",
                    own.login.port.to_string(),
                    port.to_string(),
                );
            }
            if !login.get_link_locked() {
                changed("client.link", own.session.link.to_string(), entered.link);
            }
            let user = if keeps { entered.user } else { String::new() };
            let old = own.login.user.clone().unwrap_or_default();
            changed("client.user.name", old, user);
        }
        if keys.is_empty() || self.is_kiosk {
            return;
        }
        // The session is what counts: a file that cannot be written is logged.
        if self.keep(&keys, &[]).is_ok()
            && let Ok(settings) = self.gather(None)
        {
            *self.settings.borrow_mut() = Some(settings);
        }
    }
}

/// An index as the toolkit has it.
pub(crate) fn index(at: usize) -> i32 {
    i32::try_from(at).unwrap_or(i32::MAX)
}
