//! The shared folders of the settings page: `client.share.N.…` of the file that
//! the window writes.

use std::path::Path;

use qvd_client::cli::Settings;
use qvd_config::value::{HomePath, SharedFolder};
use qvd_config::{ClientConfig, Properties};
use slint::{ComponentHandle as _, Model as _, ModelRc, SharedString, VecModel};

use crate::app::App;
use crate::ui;

/// What of the keys of folders is to be set, and which are to be removed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) set: Vec<(String, String)>,
    pub(crate) gone: Vec<String>,
}

impl App {
    /// Shows the folders of the file. Those of the machine's configuration are
    /// the administrator's.
    pub(crate) fn fill_folders(&self, settings: &Settings) {
        let page = self.window.global::<ui::Settings<'_>>();
        let now = self.file().map(|file| of_file(&file)).unwrap_or_default();
        let shown = page.get_folders();
        match rows(&shown).filter(|shown| shown.row_count() == now.len()) {
            // A row that stays keeps the keyboard.
            Some(shown) => {
                for (at, folder) in now.iter().enumerate() {
                    shown.set_row_data(at, row(folder));
                }
            }
            None => {
                let rows: VecModel<_> = now.iter().map(row).collect();
                page.set_folders(ModelRc::new(rows));
            }
        }
        page.set_new_folder(SharedString::default());
        page.set_shares_home(settings.keys.share.home);
    }

    /// Adds the folder that is typed.
    pub(crate) fn add_folder(&self) {
        let page = self.window.global::<ui::Settings<'_>>();
        page.set_saved(false);
        let typed = page.get_new_folder();
        let Some(path) = self.folder(&typed) else {
            return page.set_fault("folder".into());
        };
        let folders = page.get_folders();
        if folders.iter().any(|one| one.path == path.as_str()) {
            return page.set_fault("folder-twice".into());
        }
        let added = ui::Folder {
            path: path.into(),
            ..ui::Folder::default()
        };
        if let Some(rows) = rows(&folders) {
            rows.push(added);
            page.set_new_folder(SharedString::default());
            page.set_fault(SharedString::default());
        }
    }

    /// What is written for a folder that is there.
    fn folder(&self, typed: &str) -> Option<String> {
        let path = typed.trim().parse::<HomePath>().ok()?;
        let home = self.environment.home.as_deref()?;
        path.under(home).is_dir().then(|| path.to_string())
    }

    pub(crate) fn remove_folder(&self, at: i32) {
        let page = self.window.global::<ui::Settings<'_>>();
        page.set_saved(false);
        let folders = page.get_folders();
        if let (Some(rows), Ok(at)) = (rows(&folders), usize::try_from(at))
            && at < rows.row_count()
        {
            rows.remove(at);
        }
    }

    /// What is to be written into `file` for the folders of the page; `None`
    /// when one of them cannot be.
    pub(crate) fn changed_folders(&self, file: &Path) -> Option<Changes> {
        let page = self.window.global::<ui::Settings<'_>>();
        let wanted: Vec<_> = page.get_folders().iter().collect();
        let odd = |folder: &ui::Folder| {
            let name = folder.name.trim();
            !name.is_empty() && !SharedFolder::takes_name(name)
        };
        if wanted.iter().any(odd) {
            page.set_fault("folder-name".into());
            return None;
        }
        let all = self.settings.borrow();
        let all = all.as_ref().map(|all| all.keys.share.folders.as_slice());
        Some(changes(&wanted, &of_file(file), all.unwrap_or_default()))
    }
}

/// The folders of one file; none where it cannot be read, of which the
/// configuration as a whole tells more.
fn of_file(file: &Path) -> Vec<SharedFolder> {
    let read = std::fs::read(file).ok().and_then(|bytes| {
        let name = file.display().to_string();
        let properties = Properties::from_sources([(name.as_str(), bytes.as_slice())]).ok()?;
        ClientConfig::from_properties(&properties).ok()
    });
    read.map(|config| config.share.folders.as_slice().to_vec())
        .unwrap_or_default()
}

fn row(folder: &SharedFolder) -> ui::Folder {
    ui::Folder {
        number: i32::try_from(folder.number).unwrap_or_default(),
        path: folder.path.to_string().into(),
        name: folder.name.clone().unwrap_or_default().into(),
        read_only: folder.read_only,
    }
}

fn rows(folders: &ModelRc<ui::Folder>) -> Option<&VecModel<ui::Folder>> {
    folders.as_any().downcast_ref()
}

/// From the folders that a file has to those that are wanted. A new one gets a
/// number that nobody has, here or in the machine's configuration.
fn changes(wanted: &[ui::Folder], there: &[SharedFolder], all: &[SharedFolder]) -> Changes {
    let key = |number: u32, member: &str| format!("client.share.{number}.{member}");
    let mut changes = Changes::default();
    let stays = |number: u32| {
        let number = i32::try_from(number).unwrap_or_default();
        wanted.iter().any(|one| number != 0 && one.number == number)
    };
    for folder in there.iter().filter(|folder| !stays(folder.number)) {
        let members = ["path", "name", "read_only"];
        let keys = members.map(|member| key(folder.number, member));
        changes.gone.extend(keys);
    }
    let taken = there.iter().chain(all).map(|folder| folder.number).max();
    let mut next = taken.unwrap_or_default().saturating_add(1);
    for folder in wanted {
        let number = u32::try_from(folder.number).unwrap_or_default();
        let old = there.iter().find(|old| number != 0 && old.number == number);
        let name = folder.name.trim();
        let flag = |on: bool| if on { "1" } else { "0" }.to_owned();
        let number = match old {
            Some(_) => number,
            None => {
                changes
                    .set
                    .push((key(next, "path"), folder.path.to_string()));
                next = next.saturating_add(1);
                next.saturating_sub(1)
            }
        };
        let old_name = old.and_then(|old| old.name.as_deref()).unwrap_or_default();
        if name != old_name {
            changes.set.push((key(number, "name"), name.to_owned()));
        }
        if folder.read_only != old.is_some_and(|old| old.read_only) {
            changes
                .set
                .push((key(number, "read_only"), flag(folder.read_only)));
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(number: i32, path: &str, name: &str, read_only: bool) -> ui::Folder {
        ui::Folder {
            number,
            path: path.into(),
            name: name.into(),
            read_only,
        }
    }

    fn read(text: &str) -> Vec<SharedFolder> {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("client.conf");
        std::fs::write(&file, text).unwrap();
        of_file(&file)
    }

    fn set(changes: &Changes) -> Vec<(&str, &str)> {
        let all = changes.set.iter();
        all.map(|(key, value)| (key.as_str(), value.as_str()))
            .collect()
    }

    #[test]
    fn folders_that_stay_as_they_are_change_nothing() {
        let text = "client.share.2.path = ~/Documents\nclient.share.2.name = docs\n\
                    client.share.7.path = /srv\nclient.share.7.read_only = 1\n";
        let there = read(text);
        let wanted: Vec<_> = there.iter().map(row).collect();
        assert_eq!(wanted[0], folder(2, "~/Documents", "docs", false));
        assert_eq!(changes(&wanted, &there, &there), Changes::default());
    }

    #[test]
    fn one_is_removed_one_renamed_and_one_added() {
        let there =
            read("client.share.2.path = /a\nclient.share.3.path = /b\nclient.share.3.name = bee\n");
        // The machine's configuration has one as well.
        let all = read("client.share.9.path = /c\n");
        let wanted = [folder(3, "/b", "", true), folder(0, "/d e", " dee ", false)];
        let changes = changes(&wanted, &there, &all);
        let gone = ["path", "name", "read_only"].map(|m| format!("client.share.2.{m}"));
        assert_eq!(changes.gone, gone);
        assert_eq!(
            set(&changes),
            [
                ("client.share.3.name", ""),
                ("client.share.3.read_only", "1"),
                ("client.share.10.path", "/d e"),
                ("client.share.10.name", "dee"),
            ]
        );
    }

    #[test]
    fn another_file_gets_all_of_them() {
        let wanted = [folder(3, "/b", "", false), folder(0, "/c", "", true)];
        let changes = changes(&wanted, &[], &[]);
        assert!(changes.gone.is_empty());
        assert_eq!(
            set(&changes),
            [
                ("client.share.1.path", "/b"),
                ("client.share.2.path", "/c"),
                ("client.share.2.read_only", "1"),
            ]
        );
    }
}
