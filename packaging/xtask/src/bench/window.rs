//! The window, beside a small dialog of another toolkit.

use std::time::{Duration, Instant};

use anyhow::Result;
use qvd_tests::display::{Display, Options, Window};
use qvd_tests::process::{Process, Program};
use rustix::process::Signal;

use super::figure::{Aim, Figure};
use super::{Bench, usage};

/// For anything that is to happen.
const WAIT: Duration = Duration::from_secs(60);

/// How long a page is left alone before it is looked at.
const SETTLE: Duration = Duration::from_secs(3);

/// How long it is looked at.
const IDLE: Duration = Duration::from_secs(20);

const GROUP: &str = "window";

/// What is known of a program's window.
#[derive(Default)]
struct Seen {
    /// From its start to its first picture, in milliseconds.
    start: Vec<f64>,
    /// MiB.
    rss: Vec<f64>,
    pss: Vec<f64>,
    /// Milliseconds of processor time in a minute.
    idle: Vec<f64>,
}

/// Measures the login page.
pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let options = Options {
        window_manager: true,
        ..Options::default()
    };
    let display = Display::start(&bench.scene, options).await?;
    let config = bench
        .scene
        .write("window.conf", "client.host.name = localhost\n")?;
    let (mut ours, mut other) = (Seen::default(), Seen::default());
    for _ in 0..bench.runs {
        let program = bench.scene.built("qvd-client")?;
        let program = program.env("QVDCLIENTCONFIG", &config);
        ours.look(bench, &display, program, "QVD: ").await?;
        let program = bench.scene.installed("zenity", "zenity")?;
        let program = program.args(["--forms", "--title", "Zenity", "--add-entry", "User"]);
        let program = program.args(["--add-password", "Password"]);
        other.look(bench, &display, program, "Zenity").await?;
    }
    Ok(vec![
        Figure::new(GROUP, "start to first picture", "ms", ours.start)
            .aim(Aim::AtMost(250.0))
            .beside("zenity", other.start),
        Figure::new(GROUP, "memory, resident", "MiB RSS", ours.rss)
            .aim(Aim::AtMost(45.0))
            .beside("zenity", other.rss),
        Figure::new(GROUP, "memory, its share", "MiB PSS", ours.pss).beside("zenity", other.pss),
        Figure::new(GROUP, "idle", "CPU ms/min", ours.idle)
            .aim(Aim::AtMost(0.0))
            .beside("zenity", other.idle),
    ])
}

impl Seen {
    async fn look(
        &mut self,
        bench: &Bench,
        display: &Display,
        program: Program,
        title: &str,
    ) -> Result<()> {
        let begin = Instant::now();
        let mut process: Process = bench.scene.start(display.dress(program))?;
        let is_page = |window: &Window| window.name.starts_with(title) && window.width > 100;
        let screen = display.screen();
        let window = screen.wait_for_window(title, WAIT, is_page).await?;
        screen.wait_until_drawn(&window, WAIT).await?;
        self.start.push(begin.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(SETTLE).await;
        let before = usage::processor_time(process.pid())?;
        tokio::time::sleep(IDLE).await;
        let spent = usage::processor_time(process.pid())?.saturating_sub(before);
        self.idle
            .push(spent.as_secs_f64() * 1e3 * 60.0 / IDLE.as_secs_f64());
        let memory = usage::memory(process.pid())?;
        self.rss.push(memory.rss / 1024.0);
        self.pss.push(memory.pss / 1024.0);
        process.signal(Signal::TERM)?;
        process.wait(WAIT).await?;
        Ok(screen.wait_for_no_window(title, WAIT, is_page).await?)
    }
}
