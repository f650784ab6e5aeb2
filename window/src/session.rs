//! The pages between login and session, and what they are told.

mod sight;

use std::rc::Rc;
use std::time::Duration;

use nx_proxy::Order;
use qvd_broker::VmEntry;
use qvd_client::core::{Answer, Code, Event, Failure, Outcome, Question};
use slint::{ComponentHandle as _, ModelRc, SharedString, TimerMode, VecModel};
use tokio::sync::oneshot;

use crate::app::{App, with};
use crate::login::index;
use crate::ui::{self, Page};
use crate::worker::Message;

/// From so many machines on, the list has a filter.
const MANY: usize = 8;

const SECOND: Duration = Duration::from_secs(1);

impl App {
    pub(crate) fn wire_session(self: &Rc<Self>) {
        let session = self.window.global::<ui::Session<'_>>();
        let app = Rc::downgrade(self);
        session.on_cancel(move || with(&app, App::cancel));
        let app = Rc::downgrade(self);
        session.on_filtered(move |text| with(&app, |app| app.filter(&text)));
        let app = Rc::downgrade(self);
        session.on_choose(move |at| with(&app, |app| app.choose(at)));
        let app = Rc::downgrade(self);
        session.on_back(move || with(&app, App::back));
        let app = Rc::downgrade(self);
        session.on_answer(move |yes| with(&app, |app| app.may_start(yes)));
        let trust = self.window.global::<ui::Trust<'_>>();
        let app = Rc::downgrade(self);
        trust.on_once(move || with(&app, |app| app.trust(Answer::Once)));
        let app = Rc::downgrade(self);
        trust.on_always(move || with(&app, |app| app.trust(Answer::Always)));
        let app = Rc::downgrade(self);
        trust.on_refuse(move || with(&app, |app| app.trust(Answer::No)));
    }

    /// Shows what the core tells.
    pub(crate) fn message(self: &Rc<Self>, message: Message) {
        match message {
            Message::Event(event) => self.event(event),
            Message::LoggedIn => self.remember(),
            Message::Choose(vms, answer) => self.show_vms(vms, answer),
            Message::Trust(question, answer) => self.show_certificate(&question, answer),
            Message::MayStart(vm, answer) => {
                self.session.borrow_mut().may_start = Some(answer);
                let session = self.window.global::<ui::Session<'_>>();
                session.set_stopped(vm.name.into());
                self.turn_to(Page::Question);
            }
            Message::NotKept(why) => self.note("password-not-kept", &why),
            Message::Kept(password) => self.fill_password(&password),
            Message::Display(keyboard, width, height) => {
                let settings = self.window.global::<ui::Settings<'_>>();
                settings.set_keyboard(keyboard.unwrap_or_default().into());
                self.fit(width.into(), height.into());
            }
            Message::Ended(done) => self.ended(done),
            Message::Called(call, taken) => self.called(call, taken),
            Message::Claimed(claim, next) => self.claimed(claim, next),
            Message::Wanted(want) => self.wanted(want),
            Message::Quit => self.end(),
        }
    }

    fn event(self: &Rc<Self>, event: Event) {
        let session = self.window.global::<ui::Session<'_>>();
        let step = |word: &str, detail: String| {
            if !self.session.borrow().cancelled {
                session.set_step(word.into());
                session.set_step_detail(detail.into());
            }
        };
        match event {
            Event::Resolving { host } => step("resolving", host),
            Event::Connecting { address } => step("connecting", address.to_string()),
            Event::Authenticating => step("authenticating", String::new()),
            Event::Progress(text) => {
                step("preparing", String::new());
                session.set_message(text.into());
            }
            Event::Opening => {
                // What the countdown was for is over.
                session.set_reconnecting(false);
                self.clock.stop();
                step("opening", String::new());
                session.set_message(SharedString::default());
            }
            Event::Connected => {
                self.up();
                session.set_reconnecting(false);
                self.clock.stop();
                self.hide();
            }
            Event::Lost { cause, frozen } => {
                self.session.borrow_mut().is_up = false;
                self.clock.stop();
                step("lost", String::new());
                session.set_message(cause.into());
                self.turn_to(Page::Progress);
                match frozen {
                    true => self.show_quietly(),
                    false => self.show(),
                }
            }
            // Nothing is behind the page any more.
            Event::Gone => self.show_if_quiet(),
            Event::Reconnecting {
                attempt,
                wait,
                left,
            } => self.count_down(attempt, wait, left),
            Event::Shared { .. } | Event::Unshared { .. } | Event::NotShared { .. } => {
                self.shared(&event);
            }
            Event::Leaving => step("leaving", String::new()),
            Event::CertificateNotKept(why) => self.note("certificate-not-kept", &why),
            _ => {}
        }
    }

    /// Tells the time until the next attempt to get the session back, and until
    /// it is given up.
    fn count_down(self: &Rc<Self>, attempt: u32, wait: Duration, left: Duration) {
        let session = self.window.global::<ui::Session<'_>>();
        session.set_attempt(i32::try_from(attempt).unwrap_or(i32::MAX));
        session.set_seconds_left(countdown(wait));
        let kept = seconds(left);
        let before = match session.get_reconnecting() {
            true => session.get_seconds_whole(),
            false => 0,
        };
        session.set_seconds_whole(before.max(kept));
        session.set_seconds_kept(kept);
        session.set_reconnecting(true);
        if self.window.get_page() != Page::Progress {
            self.turn_to(Page::Progress);
        }
        let app = Rc::downgrade(self);
        self.clock.start(TimerMode::Repeated, SECOND, move || {
            with(&app, |app| {
                let session = app.window.global::<ui::Session<'_>>();
                let left = session.get_seconds_left() - 1;
                session.set_seconds_left(left.max(0));
                let kept = session.get_seconds_kept() - 1;
                session.set_seconds_kept(kept.max(0));
                if left <= 0 && kept <= 0 {
                    app.clock.stop();
                }
            });
        });
    }

    fn show_vms(&self, vms: Vec<VmEntry>, answer: oneshot::Sender<usize>) {
        self.window.set_many(vms.len() >= MANY);
        {
            let mut session = self.session.borrow_mut();
            session.vms = vms;
            session.choose = Some(answer);
        }
        let session = self.window.global::<ui::Session<'_>>();
        session.set_filter(SharedString::default());
        self.filter("");
        self.turn_to(Page::Vms);
    }

    /// Shows the machines whose names hold `text`.
    fn filter(&self, text: &str) {
        let mut session = self.session.borrow_mut();
        let shown = matching(&session.vms, text);
        let rows = shown.iter().filter_map(|at| session.vms.get(*at)).map(row);
        let rows: Vec<_> = rows.collect();
        // What can be connected to at once is offered first.
        let first = rows.iter().position(|vm| !vm.blocked).unwrap_or_default();
        session.shown = shown;
        drop(session);
        let session = self.window.global::<ui::Session<'_>>();
        session.set_vms(ModelRc::new(VecModel::from(rows)));
        session.set_selected(index(first));
    }

    fn choose(&self, at: i32) {
        let mut session = self.session.borrow_mut();
        let chosen = usize::try_from(at)
            .ok()
            .and_then(|at| session.shown.get(at).copied());
        let Some(chosen) = chosen else {
            return;
        };
        let blocked = session.vms.get(chosen).is_none_or(|vm| vm.blocked);
        if blocked {
            return;
        }
        if let Some(answer) = session.choose.take() {
            // The session may have ended meanwhile.
            let _ = answer.send(chosen);
            drop(session);
            self.turn_to(Page::Progress);
        }
    }

    fn show_certificate(self: &Rc<Self>, question: &Question, answer: oneshot::Sender<Answer>) {
        self.session.borrow_mut().trust = Some(answer);
        let details = &question.details;
        let trust = self.window.global::<ui::Trust<'_>>();
        let settings = self.settings.borrow();
        let wait = settings
            .as_ref()
            .map(|settings| settings.keys.ssl.error_timeout);
        let policy = settings.as_ref().and_then(|settings| settings.tls.as_ref());
        let locked = policy.is_some_and(|tls| {
            let mut faults = question.findings.iter();
            faults.any(|finding| tls.policy.locked.contains(&finding.fault))
        });
        trust.set_certificate(ui::Certificate {
            host: format!("{}:{}", question.host, question.port).into(),
            subject: details.subject.as_str().into(),
            issuer: details.issuer.as_str().into(),
            names: details.names.join(", ").into(),
            valid_from: details.valid_from.as_str().into(),
            valid_to: details.valid_to.as_str().into(),
            sha256: details.sha256.as_str().into(),
            can_be_kept: question.can_be_kept,
            locked,
        });
        let findings = question.findings.iter().map(|finding| ui::Finding {
            fault: finding.fault.as_str().into(),
            words: finding.words.as_str().into(),
        });
        trust.set_findings(ModelRc::new(findings.collect::<VecModel<_>>()));
        let wait = wait.map_or(0, |wait| wait.as_secs());
        trust.set_wait(i32::try_from(wait).unwrap_or(i32::MAX));
        let app = Rc::downgrade(self);
        self.clock.start(TimerMode::Repeated, SECOND, move || {
            with(&app, |app| {
                let trust = app.window.global::<ui::Trust<'_>>();
                let left = trust.get_wait() - 1;
                trust.set_wait(left.max(0));
                if left <= 0 {
                    app.clock.stop();
                }
            });
        });
        self.turn_to(Page::Certificate);
        self.show();
    }

    /// Answers the question about the certificate.
    pub(crate) fn trust(&self, answer: Answer) {
        if let Some(waiting) = self.session.borrow_mut().trust.take() {
            self.clock.stop();
            // The session may have ended meanwhile.
            let _ = waiting.send(answer);
        }
        if answer == Answer::No {
            self.session.borrow_mut().cancelled = true;
        }
        self.turn_to(Page::Progress);
    }

    /// Answers whether a stopped machine may be started.
    pub(crate) fn may_start(&self, yes: bool) {
        if let Some(waiting) = self.session.borrow_mut().may_start.take() {
            // The session may have ended meanwhile.
            let _ = waiting.send(yes);
        }
        self.turn_to(Page::Progress);
    }

    /// Leaves what is under way.
    pub(crate) fn cancel(&self) {
        let mut session = self.session.borrow_mut();
        session.cancelled = true;
        // Whoever waits for an answer gets none.
        session.choose = None;
        session.trust = None;
        session.may_start = None;
        if let Some(orders) = &session.orders {
            orders.send_modify(|order| {
                *order = match order {
                    Order::Run => Order::Suspend,
                    _ => Order::Abort,
                };
            });
        }
        drop(session);
        let session = self.window.global::<ui::Session<'_>>();
        session.set_step("cancelling".into());
        session.set_message(SharedString::default());
        session.set_reconnecting(false);
        self.turn_to(Page::Progress);
    }

    fn ended(&self, done: Result<Outcome, Failure>) {
        self.clock.stop();
        self.tray.send_replace(None);
        let (cancelled, was_up) = {
            let mut session = self.session.borrow_mut();
            session.orders = None;
            session.is_up = false;
            session.vms = Vec::new();
            (session.cancelled, session.was_up)
        };
        self.window.global::<ui::Settings<'_>>().set_kill_vm(false);
        if self.quitting.get() {
            // It may have ended.
            let _ = slint::quit_event_loop();
            return;
        }
        let login = self.window.global::<ui::Login<'_>>();
        let given = self
            .settings
            .borrow()
            .as_ref()
            .is_some_and(|s| s.password.is_some());
        if self.is_kiosk || !(login.get_remember_password() || given) {
            login.set_password(SharedString::default());
        }
        match done {
            Ok(Outcome::Suspended) => self.note("suspended", ""),
            Ok(Outcome::Left) => self.note("left", ""),
            Ok(Outcome::Closed) => self.note("closed", ""),
            Err(_) if cancelled && was_up => self.note("left", ""),
            Err(_) if cancelled => {}
            Err(failure) if failure.code() == Code::LoginRefused => {
                login.set_password(SharedString::default());
                login.set_refused(ui::Failure {
                    code: failure.code().as_str().into(),
                    words: failure.to_string().into(),
                });
            }
            Err(failure) => {
                self.show_failure(&failure);
                return self.show();
            }
        }
        self.turn_to(Page::Login);
        self.show();
    }

    /// Shows why there is no session.
    pub(crate) fn show_failure(&self, failure: &Failure) {
        let session = self.window.global::<ui::Session<'_>>();
        session.set_failure(ui::Failure {
            code: failure.code().as_str().into(),
            words: failure.to_string().into(),
        });
        session.set_copied(false);
        self.turn_to(Page::Failure);
    }

    /// From the failure to the login.
    pub(crate) fn back(&self) {
        self.turn_to(Page::Login);
    }

    pub(crate) fn note(&self, word: &str, detail: &str) {
        let session = self.window.global::<ui::Session<'_>>();
        session.set_note(word.into());
        session.set_note_detail(detail.into());
    }
}

fn row(vm: &VmEntry) -> ui::Vm {
    ui::Vm {
        id: vm.id.to_string().into(),
        name: qvd_broker::one_line(&vm.name).into(),
        state: qvd_broker::one_line(&vm.state).into(),
        blocked: vm.blocked,
        application: vm.is_application,
    }
}

/// Which names hold `text`, in capitals or not.
fn matching(vms: &[VmEntry], text: &str) -> Vec<usize> {
    let text = text.trim().to_lowercase();
    let holds = |vm: &VmEntry| vm.name.to_lowercase().contains(&text);
    let all = vms.iter().enumerate().filter(|(_, vm)| holds(vm));
    all.map(|(at, _)| at).collect()
}

/// The seconds until an attempt; none where they are not worth a countdown: it
/// is being tried.
fn countdown(wait: Duration) -> i32 {
    if wait < SECOND { 0 } else { seconds(wait) }
}

/// Whole seconds, as a countdown begins with them.
fn seconds(time: Duration) -> i32 {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
