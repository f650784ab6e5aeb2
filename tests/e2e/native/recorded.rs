//! What stock ends say to each other, decoded by our own codec: sessions that
//! nobody has seen before.

use std::time::Duration;

use nx_proxy::codec::Replay;
use qvd_tests::display::{Display, Options};
use qvd_tests::{Scene, nx, play};
use rustix::process::Signal;

const WAIT: Duration = Duration::from_secs(120);

/// What draws: a few of every kind that x11perf knows.
const DRAWS: &str = "x11perf -repeat 1 -reps 3 -dot -rect10 -srect10 -line10 -dline10 -oddsrect10 \
                     -circle10 -fcircle10 -ellipse10 -triangle10 -trap10 -aatrap10 -complex10 -ftext -f8text \
                     -polytext -tr10itext -scroll10 -copywinwin10 -copypixwin10 -copyplane10 -putimage10 \
                     -putimagexy10 -shmput10 -aa10text -rgb10text -noop -gc -create -ucreate -map -move \
                     -popup -resize -circulate -pointer -prop";

fn decodes(name: &str, link: &'static str) {
    play(name, async |scene: &Scene| {
        // Without a window manager nxagent has the size that it likes.
        let options = Options {
            window_manager: true,
            ..Options::default()
        };
        let display = Display::start(scene, options).await?;
        let folder = scene.path("recording");
        let mut session = nx::record(scene, &display, &[link, "geometry=800x700"], &folder).await?;
        let shell = scene.installed("sh", "dash")?.args(["-c", DRAWS]);
        let mut draws = scene.start(session.agent.dress(shell))?;
        let status = draws.wait(WAIT).await?;
        assert!(status.success(), "{}", draws.log().tail());
        session.agent.process().signal(Signal::TERM)?;
        session.proxy.wait(WAIT).await?;

        let read = |name: &str| std::fs::read(folder.join(name));
        let (nx, server, x11) = (read("nx.0.t2c")?, read("x11.0.t2c")?, read("x11.0.c2t")?);
        assert!(x11.len() > 10_000, "{} bytes were drawn", x11.len());
        let mut replay = Replay::new(&server)?;
        for piece in nx.chunks(4096) {
            replay.receive(piece)?;
        }
        // nxproxy may end before it has drawn the last of what it has read.
        assert!(
            replay.x11.len() >= x11.len(),
            "{} of {} bytes",
            replay.x11.len(),
            x11.len()
        );
        // Padding differs, which is a quarter of an image.
        let differ = replay.x11.iter().zip(&x11).filter(|(a, b)| a != b).count();
        assert!(differ < x11.len() / 4, "{differ} of {}", x11.len());
        Ok(())
    });
}

#[test]
fn what_stock_ends_say_over_a_lan_is_decoded() {
    decodes("native_recorded_lan", "link=lan");
}

#[test]
fn what_stock_ends_say_over_a_modem_is_decoded() {
    decodes("native_recorded_modem", "link=modem");
}
