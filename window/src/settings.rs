//! The settings page, and the window's own language and colours.

use std::borrow::Cow;
use std::rc::Rc;

use qvd_client::cli::Settings;
use qvd_config::value::{Geometry, NxEngine, Theme};
use slint::ComponentHandle as _;

use crate::app::{App, with};
use crate::folders::Changes;
use crate::ui;

/// The languages after the system's own, in the order in which the page has
/// them: as `client.locale` names them, and as the translations do.
const LANGUAGES: [(&str, &str); 2] = [("en_US.UTF-8", "en"), ("es_ES.UTF-8", "es")];

/// The colours, in the order in which the page has them.
const COLOURS: [Theme; 3] = [Theme::System, Theme::Light, Theme::Dark];

impl App {
    pub(crate) fn wire_settings(self: &Rc<Self>) {
        let settings = self.window.global::<ui::Settings<'_>>();
        let app = Rc::downgrade(self);
        settings.on_save(move || with(&app, App::save));
        let app = Rc::downgrade(self);
        settings.on_add_folder(move || with(&app, App::add_folder));
        let app = Rc::downgrade(self);
        settings.on_remove_folder(move |at| with(&app, |app| app.remove_folder(at)));
    }

    /// Shows what the configuration says.
    pub(crate) fn fill_settings(&self, settings: &Settings) {
        let page = self.window.global::<ui::Settings<'_>>();
        let keys = &settings.keys;
        page.set_shown(keys.window.show_settings && !self.is_kiosk);
        page.set_fullscreen(keys.session.fullscreen);
        let geometry = keys.session.geometry.map(|size| size.to_string());
        page.set_geometry(geometry.unwrap_or_default().into());
        page.set_audio(keys.channel.audio);
        page.set_printing(keys.channel.printing);
        page.set_sharing(keys.share.file_sharing && keys.share.slave);
        page.set_can_kill_vm(keys.window.kill_vm_display);
        page.set_encrypted(keys.login.use_ssl);
        page.set_tray(keys.window.tray);
        page.set_language(language(settings).map_or(0, |(at, _)| at + 1));
        let colours = COLOURS.iter().position(|one| *one == keys.window.theme);
        page.set_colours(crate::login::index(colours.unwrap_or_default()));
        self.fill_folders(settings);
        let draws_itself = settings.engine == NxEngine::Native;
        let engine = if draws_itself { "" } else { "nxproxy" };
        let about = self.window.global::<ui::About<'_>>();
        about.set_engine(engine.into());
    }

    /// Speaks the user's language, in the user's colours.
    pub(crate) fn show_language(&self, settings: &Settings) {
        if let Some((_, language)) = language(settings)
            && let Err(error) = slint::select_bundled_translation(language)
        {
            tracing::warn!("language {language}: {error}");
        }
        let colours = COLOURS
            .iter()
            .position(|one| *one == settings.keys.window.theme);
        let colours = crate::login::index(colours.unwrap_or_default());
        self.window.set_colours(colours);
    }

    /// The keys of the page, as they are entered; `None` when something in
    /// them cannot be.
    pub(crate) fn keys(&self) -> Option<Vec<(Cow<'static, str>, String)>> {
        let page = self.window.global::<ui::Settings<'_>>();
        let geometry = page.get_geometry().trim().to_owned();
        if !geometry.is_empty() && geometry.parse::<Geometry>().is_err() {
            page.set_fault("geometry".into());
            return None;
        }
        let flag = |on: bool| if on { "1" } else { "0" }.to_owned();
        let chosen = |at: i32| usize::try_from(at).unwrap_or_default();
        let language = chosen(page.get_language()).checked_sub(1);
        let language = language.and_then(|at| LANGUAGES.get(at));
        let colours = COLOURS.get(chosen(page.get_colours()));
        let keys = [
            ("client.fullscreen", flag(page.get_fullscreen())),
            ("client.geometry", geometry),
            ("client.audio.enable", flag(page.get_audio())),
            ("client.printing.enable", flag(page.get_printing())),
            ("client.file_sharing.enable", flag(page.get_sharing())),
            ("client.use_ssl", flag(page.get_encrypted())),
            ("client.tray", flag(page.get_tray())),
            (
                "client.locale",
                language.map_or_else(String::new, |(locale, _)| (*locale).to_owned()),
            ),
            (
                "client.theme",
                colours.unwrap_or(&Theme::System).to_string(),
            ),
        ];
        Some(keys.map(|(key, value)| (key.into(), value)).into())
    }

    /// Writes the page into the user's file.
    fn save(&self) {
        let page = self.window.global::<ui::Settings<'_>>();
        page.set_saved(false);
        page.set_fault(slint::SharedString::default());
        let Some(mut keys) = self.keys() else {
            return;
        };
        let folders = match self.file() {
            Some(file) => self.changed_folders(&file),
            // Which is told in a moment.
            None => Some(Changes::default()),
        };
        let Some(Changes { set, gone }) = folders else {
            return;
        };
        keys.extend(set.into_iter().map(|(key, value)| (key.into(), value)));
        match self.keep(&keys, &gone) {
            Ok(()) => {
                page.set_saved(true);
                self.take_over();
            }
            Err(error) => page.set_fault(error.to_string().into()),
        }
    }

    /// What was written counts from now on.
    fn take_over(&self) {
        match self.gather(None) {
            Ok(settings) => {
                self.show_language(&settings);
                self.fill_settings(&settings);
                *self.settings.borrow_mut() = Some(settings);
            }
            Err(failure) => self.show_failure(&failure),
        }
    }
}

/// The language that the configuration wants, with its place on the page.
fn language(settings: &Settings) -> Option<(i32, &'static str)> {
    let locale = settings.keys.window.locale.as_ref()?.to_string();
    let found = (0..).zip(LANGUAGES).find(|(_, (_, language))| {
        let rest = locale.strip_prefix(language);
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
    });
    found.map(|(at, (_, language))| (at, language))
}
