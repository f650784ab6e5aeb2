//! What the window shows of a session while it runs.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use qvd_client::core::Event;
use qvd_config::value::NxEngine;
use slint::{ComponentHandle as _, ModelRc, SharedString, TimerMode, VecModel};
use tokio::sync::oneshot;

use crate::app::{App, with};
use crate::instance::{Call, Taken};
use crate::tray::{Shown, Want, Words};
use crate::ui::{self, Page};

const SECOND: Duration = Duration::from_secs(1);

/// Most shares that are shown: media come and go.
const MAX_SHARES: usize = 64;

/// What is known of a session that was up.
#[derive(Default)]
pub(crate) struct Running {
    /// When it first came up.
    pub(crate) since: Option<Instant>,
    /// How often it came up.
    pub(crate) ups: u32,
    pub(crate) shares: Vec<ui::Share>,
}

impl App {
    pub(crate) fn wire_running(self: &Rc<Self>) {
        let running = self.window.global::<ui::Running<'_>>();
        let app = Rc::downgrade(self);
        running.on_hide(move || with(&app, App::leave_running));
        let app = Rc::downgrade(self);
        running.on_disconnect(move || with(&app, App::disconnect));
    }

    /// The session is in its window, for the first time or again.
    pub(crate) fn up(&self) {
        let mut session = self.session.borrow_mut();
        session.was_up = true;
        session.is_up = true;
        session.running.ups = session.running.ups.saturating_add(1);
        session.running.since.get_or_insert_with(Instant::now);
        drop(session);
        self.tell_panel();
    }

    /// Has the panel show the session, if it is to.
    fn tell_panel(&self) {
        let settings = self.settings.borrow();
        let wanted = settings.as_ref().is_some_and(|s| s.keys.window.tray);
        let session = self.session.borrow();
        let Some(since) = session.running.since else {
            return;
        };
        // A kiosk has no panel, or none for its user.
        if !wanted || self.is_kiosk {
            return;
        }
        let tray = self.window.global::<ui::Tray<'_>>();
        let line = |share: &ui::Share| {
            let path = share.path.clone();
            let line = if share.fault.is_empty() {
                tray.invoke_share(path, share.name.clone())
            } else {
                tray.invoke_no_share(path)
            };
            line.to_string()
        };
        self.tray.send_replace(Some(Shown {
            words: words(&tray),
            icon: icon(&tray.get_icon()),
            server: self.window.global::<ui::Login<'_>>().get_server().into(),
            since,
            resumes: session.running.ups.saturating_sub(1),
            shares: session.running.shares.iter().map(line).collect(),
            counter: self.is_counted().then(|| self.native.clone()),
        }));
    }

    /// Whether the session's engine counts what it carries.
    fn is_counted(&self) -> bool {
        let settings = self.settings.borrow();
        let engine = settings.as_ref().map(|settings| settings.engine);
        engine == Some(NxEngine::Native)
    }

    /// Does what was chosen in the panel.
    pub(crate) fn wanted(self: &Rc<Self>, want: Want) {
        let (is_on, is_up) = {
            let session = self.session.borrow();
            (session.orders.is_some(), session.is_up)
        };
        match want {
            // Its item was still there for a moment.
            _ if !is_on => {}
            Want::Disconnect => self.disconnect(),
            Want::Window => {
                if is_up {
                    self.show_running("");
                }
                self.bring_up();
            }
        }
    }

    /// A window that was hidden is in front, and one that is below another
    /// comes there when it appears anew.
    fn bring_up(&self) {
        self.hide();
        self.show();
    }

    /// A folder is in the session, or is not.
    pub(crate) fn shared(&self, event: &Event) {
        let told = |path: &Path| path.display().to_string();
        let (path, now) = match event {
            Event::Shared {
                path,
                name,
                read_only,
            } => {
                let share = ui::Share {
                    path: told(path).into(),
                    name: name.into(),
                    read_only: *read_only,
                    fault: SharedString::default(),
                };
                (told(path), Some(share))
            }
            Event::NotShared { path, why } => {
                let share = ui::Share {
                    path: told(path).into(),
                    fault: why.into(),
                    ..ui::Share::default()
                };
                (told(path), Some(share))
            }
            Event::Unshared { path } => (told(path), None),
            _ => return,
        };
        let mut session = self.session.borrow_mut();
        let shares = &mut session.running.shares;
        let at = shares.iter().position(|share| share.path == path.as_str());
        match (at, now) {
            (Some(at), Some(now)) => shares
                .get_mut(at)
                .into_iter()
                .for_each(|old| *old = now.clone()),
            (Some(at), None) => drop(shares.remove(at)),
            (None, Some(now)) if shares.len() < MAX_SHARES => shares.push(now),
            (None, _) => {}
        }
        drop(session);
        self.tell_panel();
        if self.window.get_page() == Page::Running {
            self.tell_running();
        }
    }

    /// The window was started once more: it comes up, with what it is to
    /// connect to.
    pub(crate) fn called(self: &Rc<Self>, call: Call, taken: oneshot::Sender<Taken>) {
        let (is_on, is_up) = {
            let session = self.session.borrow();
            (session.orders.is_some(), session.is_up)
        };
        let busy = is_on && call.names_something();
        if is_up {
            self.show_running(if busy { "busy" } else { "" });
        } else if !is_on && call.names_something() && !self.is_kiosk {
            self.take(call);
        }
        self.bring_up();
        // Whoever has asked may be gone.
        let _ = taken.send(if busy { Taken::Busy } else { Taken::Up });
    }

    /// What another start says counts more than what this one said.
    fn take(&self, call: Call) {
        {
            let mut arguments = self.arguments.borrow_mut();
            if call.host.is_some() {
                // Another broker's port and machine are others as well.
                arguments.host = call.host;
                arguments.port = call.port;
                arguments.vm_id = call.vm;
            } else {
                arguments.port = call.port.or(arguments.port);
                arguments.vm_id = call.vm.or(arguments.vm_id.take());
            }
            arguments.username = call.user.or(arguments.username.take());
        }
        let session = self.window.global::<ui::Session<'_>>();
        session.set_note(SharedString::default());
        self.load();
        if self.window.get_page() != Page::Failure {
            self.turn_to(Page::Login);
        }
    }

    /// Shows what there is to know of the session; `note` is told above it.
    fn show_running(self: &Rc<Self>, note: &str) {
        let page = self.window.global::<ui::Running<'_>>();
        page.set_note(note.into());
        self.tell_running();
        self.turn_to(Page::Running);
        let app = Rc::downgrade(self);
        self.clock.start(TimerMode::Repeated, SECOND, move || {
            with(&app, App::tell_running);
        });
    }

    fn tell_running(&self) {
        let page = self.window.global::<ui::Running<'_>>();
        let login = self.window.global::<ui::Login<'_>>();
        page.set_server(login.get_server());
        let session = self.session.borrow();
        let running = &session.running;
        let lasts = running.since.map(|since| since.elapsed());
        page.set_since(time(lasts.unwrap_or_default()).into());
        page.set_resumes(running.ups.saturating_sub(1).to_string().into());
        let shares = running.shares.iter().cloned();
        page.set_shares(ModelRc::new(shares.collect::<VecModel<_>>()));
        page.set_counted(self.is_counted());
        let statistics = self.native.statistics();
        let (received, sent) = statistics.carried;
        page.set_received(size(received).into());
        page.set_sent(size(sent).into());
        page.set_round_trips(statistics.totals.replies.to_string().into());
    }

    /// Back to the desktop.
    pub(crate) fn leave_running(&self) {
        self.clock.stop();
        self.hide();
    }

    /// Leaves the session, which can be resumed.
    fn disconnect(&self) {
        self.clock.stop();
        self.cancel();
        let session = self.window.global::<ui::Session<'_>>();
        session.set_step("leaving".into());
    }
}

/// What the panel's item calls things.
fn words(tray: &ui::Tray<'_>) -> Words {
    Words {
        title: tray.get_title().into(),
        window: tray.get_window().into(),
        shares: tray.get_shares().into(),
        no_share: tray.get_none().into(),
        statistics: tray.get_statistics().into(),
        open_for: tray.get_open_for().into(),
        resumes: tray.get_resumes().into(),
        received: tray.get_received().into(),
        sent: tray.get_sent().into(),
        round_trips: tray.get_round_trips().into(),
        disconnect: tray.get_disconnect().into(),
    }
}

/// The icon as panels take it: the opacity before the colours.
fn icon(image: &slint::Image) -> Option<ksni::Icon> {
    let pixels = image.to_rgba8()?;
    let turned = pixels.as_bytes().chunks_exact(4).flat_map(|pixel| {
        let (colours, opacity) = pixel.split_at(3);
        [opacity, colours].concat()
    });
    Some(ksni::Icon {
        width: i32::try_from(pixels.width()).ok()?,
        height: i32::try_from(pixels.height()).ok()?,
        data: turned.collect(),
    })
}

/// A time as clocks show it.
pub(crate) fn time(lasts: Duration) -> String {
    let seconds = lasts.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours}:{minutes:02}:{:02}", seconds % 60)
}

/// A number of bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut tenths, mut unit) = (bytes.saturating_mul(10), 0_usize);
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    match unit {
        0 => format!("{bytes} {name}"),
        _ => format!("{}.{} {name}", tenths / 10, tenths % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_for_people() {
        for (bytes, words) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (12_345, "12.3 kB"),
            (5_000_000_000, "5.0 GB"),
            (1_000_000_000_000_000, "1000.0 TB"),
        ] {
            assert_eq!(size(bytes), words);
        }
        assert_eq!(time(Duration::from_secs(59)), "0:00:59");
        assert_eq!(time(Duration::from_secs(100_000)), "27:46:40");
    }
}
