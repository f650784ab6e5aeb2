//! An item in the panel while a session runs (StatusNotifierItem), where there
//! is a panel that takes one. Its menu stands in for the window, which is hidden.

use std::time::{Duration, Instant};

use ksni::menu::{StandardItem, SubMenu};
use ksni::{Category, Handle, Icon, MenuItem, ToolTip, Tray, TrayMethods as _};
use nx_proxy::Native;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::running::{size, time};
use crate::worker::{Message, Messages};

/// How long the session bus may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the program is called among the panel's items, and its icon in themes.
const ID: &str = "qvd-client";

/// What a user may want of the item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// The window, with what there is to know of the session.
    Window,
    /// Leaves the session.
    Disconnect,
}

/// Labels, in the user's language.
#[derive(Debug, Clone, Default)]
pub(crate) struct Words {
    pub(crate) title: String,
    pub(crate) window: String,
    pub(crate) shares: String,
    pub(crate) no_share: String,
    pub(crate) statistics: String,
    pub(crate) open_for: String,
    pub(crate) resumes: String,
    pub(crate) received: String,
    pub(crate) sent: String,
    pub(crate) round_trips: String,
    pub(crate) disconnect: String,
}

/// What the item tells.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) words: Words,
    pub(crate) icon: Option<Icon>,
    pub(crate) server: String,
    pub(crate) since: Instant,
    /// How often the session came back.
    pub(crate) resumes: u32,
    /// One line each.
    pub(crate) shares: Vec<String>,
    /// Counts what the session carries.
    pub(crate) counter: Option<Native>,
}

/// Keeps the item as it is wanted, until nobody can want it any more.
pub(crate) async fn keep(mut wanted: watch::Receiver<Option<Shown>>, messages: Messages) {
    let mut there: Option<Handle<Item>> = None;
    // A bus that has none is asked again in the next session.
    let mut in_vain = false;
    while wanted.changed().await.is_ok() {
        let shown = wanted.borrow_and_update().clone();
        match (shown, there.take()) {
            (Some(shown), Some(handle)) => {
                let told = timeout(PATIENCE, handle.update(|item| item.shown = shown)).await;
                if told.is_err() {
                    tracing::debug!("the session bus does not answer");
                }
                there = Some(handle);
            }
            (Some(shown), None) if !in_vain => {
                let messages = messages.clone();
                // A panel may come later, and go.
                let item = Item { shown, messages }.assume_sni_available(true);
                match timeout(PATIENCE, item.spawn()).await {
                    Ok(Ok(handle)) => there = Some(handle),
                    Ok(Err(error)) => tracing::debug!("no item in the panel: {error}"),
                    Err(_) => tracing::debug!("no item in the panel: the bus does not answer"),
                }
                in_vain = there.is_none();
            }
            (Some(_), None) => {}
            (None, handle) => {
                in_vain = false;
                if let Some(handle) = handle {
                    // The end of the program takes it away as well.
                    let _ = timeout(PATIENCE, handle.shutdown()).await;
                }
            }
        }
    }
    if let Some(handle) = there {
        let _ = timeout(PATIENCE, handle.shutdown()).await;
    }
}

struct Item {
    shown: Shown,
    messages: Messages,
}

impl Item {
    fn want(&self, want: Want) {
        // The window may be gone.
        let _ = self.messages.send(Message::Wanted(want));
    }

    fn statistics(&self) -> Vec<String> {
        let words = &self.shown.words;
        let line = |name: &str, value: String| format!("{name}: {value}");
        let mut lines = vec![
            line(&words.open_for, time(self.shown.since.elapsed())),
            line(&words.resumes, self.shown.resumes.to_string()),
        ];
        if let Some(counter) = &self.shown.counter {
            let statistics = counter.statistics();
            let (received, sent) = statistics.carried;
            lines.push(line(&words.received, size(received)));
            lines.push(line(&words.sent, size(sent)));
            let round_trips = statistics.totals.replies.to_string();
            lines.push(line(&words.round_trips, round_trips));
        }
        lines
    }
}

impl Tray for Item {
    fn id(&self) -> String {
        ID.into()
    }

    fn category(&self) -> Category {
        Category::Communications
    }

    fn title(&self) -> String {
        self.shown.words.title.clone()
    }

    fn icon_name(&self) -> String {
        ID.into()
    }

    fn icon_pixmap(&self) -> Vec<Icon> {
        self.shown.icon.iter().cloned().collect()
    }

    fn tool_tip(&self) -> ToolTip {
        ToolTip {
            icon_name: self.icon_name(),
            title: self.shown.words.title.clone(),
            // It may hold markup, of which a server's name has none.
            description: self.shown.server.replace(['<', '>', '&'], ""),
            ..ToolTip::default()
        }
    }

    fn activate(&mut self, _x: i32, _y: i32) {
        self.want(Want::Window);
    }

    /// Has the figures of the moment told.
    fn menu_about_to_show(&mut self) {}

    fn menu(&self) -> Vec<MenuItem<Self>> {
        let Shown { words, shares, .. } = &self.shown;
        let shares = match shares.as_slice() {
            [] => std::slice::from_ref(&words.no_share),
            shares => shares,
        };
        vec![
            button(&words.window, Want::Window),
            lines(&words.shares, shares),
            lines(&words.statistics, &self.statistics()),
            MenuItem::Separator,
            button(&words.disconnect, Want::Disconnect),
        ]
    }
}

fn button(label: &str, want: Want) -> MenuItem<Item> {
    let button = StandardItem {
        label: plain(label),
        activate: Box::new(move |item: &mut Item| item.want(want)),
        ..StandardItem::default()
    };
    button.into()
}

/// What is told, and does nothing.
fn lines(label: &str, lines: &[String]) -> MenuItem<Item> {
    let lines = lines.iter().map(|line| {
        let line = StandardItem {
            label: plain(line),
            enabled: false,
            ..StandardItem::default()
        };
        line.into()
    });
    let menu = SubMenu {
        label: plain(label),
        submenu: lines.collect(),
        ..SubMenu::default()
    };
    menu.into()
}

/// A label as it is meant: one underscore of a menu's marks a key.
fn plain(label: &str) -> String {
    label.replace('_', "__")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_told_as_it_is() {
        let (messages, mut wants) = tokio::sync::mpsc::unbounded_channel();
        let mut item = Item {
            shown: Shown {
                words: Words {
                    no_share: "none".into(),
                    open_for: "open".into(),
                    ..Words::default()
                },
                icon: None,
                server: "<b>host".into(),
                since: Instant::now(),
                resumes: 3,
                shares: Vec::new(),
                counter: None,
            },
            messages,
        };
        assert_eq!(item.tool_tip().description, "bhost");
        assert_eq!(item.statistics().len(), 2);
        assert!(item.statistics()[0].starts_with("open: 0:00:"));
        let told = |item: &Item| match item.menu().swap_remove(1) {
            MenuItem::SubMenu(menu) => match menu.submenu.into_iter().next() {
                Some(MenuItem::Standard(line)) => (line.label, line.enabled),
                _ => panic!("no line"),
            },
            _ => panic!("no menu"),
        };
        assert_eq!(told(&item), ("none".into(), false));
        item.shown.shares = vec!["/home/a_b".into()];
        assert_eq!(told(&item), ("/home/a__b".into(), false));
        item.shown.counter = Some(Native::new());
        assert_eq!(item.statistics().len(), 5);
        item.activate(0, 0);
        assert!(matches!(
            wants.try_recv(),
            Ok(Message::Wanted(Want::Window))
        ));
    }
}
