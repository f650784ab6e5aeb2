//! Saved connections: each is a window's alone, also when a window goes from one
//! to another.

use std::io;
use std::rc::Rc;

use slint::{ComponentHandle as _, SharedString};

use crate::app::{App, with};
use crate::conf;
use crate::folders::Changes;
use crate::instance::{self, Claim, Next, Wanted};
use crate::ui;
use crate::worker::Command;

impl App {
    pub(crate) fn wire_profiles(self: &Rc<Self>) {
        let login = self.window.global::<ui::Login<'_>>();
        let app = Rc::downgrade(self);
        login.on_profile_chosen(move |index| with(&app, |app| app.choose_profile(index)));
        let settings = self.window.global::<ui::Settings<'_>>();
        let app = Rc::downgrade(self);
        settings.on_save_profile(move |name| with(&app, |app| app.save_profile(&name)));
    }

    fn choose_profile(&self, chosen: i32) {
        let names = match &self.environment.home {
            Some(home) => conf::profiles(home),
            None => Vec::new(),
        };
        let before = usize::try_from(chosen)
            .ok()
            .and_then(|at| at.checked_sub(1));
        let name = before.and_then(|at| names.get(at).cloned());
        self.claim(Next::Use(name));
    }

    /// Saves everything under a name, and uses it.
    fn save_profile(&self, name: &str) {
        let page = self.window.global::<ui::Settings<'_>>();
        page.set_saved(false);
        page.set_fault(SharedString::default());
        let home = self.environment.home.as_ref();
        match home.and_then(|home| conf::profile(home, name)) {
            Some(_) => self.claim(Next::SaveAs(name.to_owned())),
            None => page.set_fault("profile".into()),
        }
    }

    /// Takes the place of another connection, unless it is this window's, or
    /// there are no places.
    fn claim(&self, next: Next) {
        let profile = match &next {
            Next::Use(profile) => profile.as_deref(),
            Next::SaveAs(name) => Some(name.as_str()),
        };
        let arguments = self.arguments.borrow();
        let file = conf::in_use(&arguments, &self.environment, profile);
        drop(arguments);
        let folder = instance::folder(&self.environment);
        let (Some(file), Some(folder), Some(now)) = (file, folder, self.file()) else {
            let _ = self.go_on(next);
            return;
        };
        if instance::is_same(&file, &now) {
            let _ = self.go_on(next);
            return;
        }
        let wanted = Wanted {
            folder,
            display: instance::display(&self.environment),
            file,
            next,
        };
        // Without the thread there is no session either.
        let _ = self.commands.send(Command::Claim(wanted));
    }

    /// Whose place it is that was wanted.
    pub(crate) fn claimed(&self, claim: io::Result<Claim>, next: Next) {
        if self.session.borrow().orders.is_some() {
            // He has connected meanwhile, to what this window was for.
            return self.fill_profiles();
        }
        match claim {
            Ok(Claim::First(place)) => {
                // What could not be saved under a name is not used either.
                if self.go_on(next) {
                    // Without the thread there is no session either.
                    let _ = self.commands.send(Command::Serve(place));
                }
            }
            Ok(Claim::Other(_)) => self.stay(&next),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tracing::warn!("the window of that connection does not answer: {error}");
                self.stay(&next);
            }
            Err(error) => {
                // That keeps nobody from his session.
                tracing::warn!("no place for a window: {error}");
                let _ = self.go_on(next);
            }
        }
    }

    /// The connection has another window, which was brought up.
    fn stay(&self, next: &Next) {
        tracing::info!("the connection has another window: {next:?}");
        self.fill_profiles();
        match next {
            Next::Use(_) => {
                self.note("open-elsewhere", "");
                self.window.invoke_start();
            }
            Next::SaveAs(_) => {
                let page = self.window.global::<ui::Settings<'_>>();
                page.set_fault("profile-open".into());
            }
        }
    }

    /// Whether the window is now for what was wanted.
    fn go_on(&self, next: Next) -> bool {
        match next {
            Next::Use(profile) => {
                *self.profile.borrow_mut() = profile;
                self.note("", "");
                self.load();
                true
            }
            Next::SaveAs(name) => self.write_profile(&name),
        }
    }

    /// Writes everything into a saved connection of that name, and uses it.
    fn write_profile(&self, name: &str) -> bool {
        let page = self.window.global::<ui::Settings<'_>>();
        let home = self.environment.home.as_ref();
        let Some(file) = home.and_then(|home| conf::profile(home, name)) else {
            return false;
        };
        let Some(mut keys) = self.keys() else {
            return false;
        };
        let Some(Changes { set, gone }) = self.changed_folders(&file) else {
            return false;
        };
        keys.extend(set.into_iter().map(|(key, value)| (key.into(), value)));
        let login = self.window.global::<ui::Login<'_>>();
        keys.push(("client.user.name".into(), login.get_user().into()));
        if let Some((host, port)) = qvd_client::window::host_and_port(&login.get_server()) {
            keys.push(("client.host.name".into(), host));
            if let Some(port) = port {
                keys.push(("client.host.port".into(), port.to_string()));
            }
        }
        if let Err(error) = conf::write(&file, &keys, &gone) {
            page.set_fault(error.to_string().into());
            return false;
        }
        *self.profile.borrow_mut() = Some(name.to_owned());
        page.set_saved(true);
        self.load();
        true
    }
}
