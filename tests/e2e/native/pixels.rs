//! The same drawings through nxproxy and through the native engine.

use nx_proxy::{Ending, Event};
use qvd_tests::display::{Display, Image, Options};
use qvd_tests::nx::{self, Agent};
use qvd_tests::process::Process;
use qvd_tests::{Result, Scene, play};
use x11rb::protocol::xproto::Rectangle;

use super::drawing::{Drawing, LAST, PHOTO, RENDERED, SIZE};
use super::session::{NativeSession, WAIT};

/// A session of some kind, with the picture in it.
struct Shown {
    display: Display,
    agent: Agent,
    drawing: Drawing,
}

impl Shown {
    async fn new(display: Display, agent: Agent) -> Result<Self> {
        agent.expect_session(0, "Session started", WAIT).await?;
        let drawing = Drawing::on(agent.number(), agent.cookie().bytes())?;
        let shown = Self {
            display,
            agent,
            drawing,
        };
        shown.complete().await?;
        Ok(shown)
    }

    /// Waits until the last part of the picture is there.
    async fn complete(&self) -> Result<()> {
        let _ = &self.drawing;
        let screen = self.display.screen();
        screen
            .wait_for_pixels("the end of the picture", WAIT, |screen| {
                let image = screen.screenshot()?;
                Ok(image.pixel(SIZE.0 - 5, SIZE.1 - 5) == Some(LAST))
            })
            .await
    }
}

async fn agent(scene: &Scene, options: &str) -> Result<Agent> {
    Agent::start(scene, &[options, "geometry=640x480+0+0"]).await
}

async fn stock(scene: &Scene, options: &str) -> Result<(Shown, Process)> {
    let display = Display::start(scene, Options::default()).await?;
    let agent = agent(scene, options).await?;
    let proxy = nx::start_proxy(scene, &display, agent.socket())?;
    Ok((Shown::new(display, agent).await?, proxy))
}

async fn native(scene: &Scene, options: &str) -> Result<(Shown, NativeSession)> {
    let display = Display::start(scene, Options::default()).await?;
    let agent = agent(scene, options).await?;
    let session = NativeSession::start(agent.socket(), &display.name());
    Ok((Shown::new(display, agent).await?, session))
}

/// Where two pictures differ by more than they may.
fn difference(one: &Image, other: &Image) -> Option<String> {
    if (one.width(), one.height()) != (other.width(), other.height()) {
        return Some("the sizes differ".into());
    }
    let mut count = 0;
    let mut first = None;
    for y in 0..one.height() {
        for x in 0..one.width() {
            let (a, b) = (one.pixel(x, y)?, other.pixel(x, y)?);
            let most = a.iter().zip(&b).map(|(a, b)| a.abs_diff(*b)).max()?;
            if most > may_differ(x, y) {
                count += 1;
                first.get_or_insert((x, y, a, b));
            }
        }
    }
    first.map(|first| format!("{count} pixels differ, the first is {first:?}"))
}

/// How far a colour may be off there. nxagent puts into one JPEG what it has
/// the time for, bands of 64 lines of a photo or parts of what it drew itself,
/// and the colours at a cut are then not mixed with those beyond: two sessions
/// of nxproxy differ there as well.
fn may_differ(x: u16, y: u16) -> u8 {
    let within = |area: &Rectangle| {
        let inside = |at: u16, from: i16, length: u16| {
            let at = at.checked_sub(u16::try_from(from).unwrap());
            at.filter(|at| *at < length)
        };
        inside(x, area.x, area.width).and(inside(y, area.y, area.height))
    };
    match (within(&PHOTO), within(&RENDERED)) {
        (Some(line), _) if matches!(line % 64, 0 | 63) => 96,
        (_, Some(_)) => 2,
        _ => 0,
    }
}

/// Draws the same in both, and waits until both show the same: the agent may
/// send an image once more, better, when there is time.
async fn same(scene: &Scene, options: &str) -> Result<()> {
    let (stock, mut proxy) = stock(scene, options).await?;
    let (native, mut session) = native(scene, options).await?;
    session.until(&Event::Started).await?;
    let screen = native.display.screen();
    let what = format!("equality with nxproxy for {options}");
    let waited = screen
        .wait_for_pixels(&what, WAIT, |screen| {
            let other = stock.display.screen().screenshot()?;
            Ok(difference(&screen.screenshot()?, &other).is_none())
        })
        .await;
    let ours = native
        .display
        .save_screenshot(scene, &format!("{options}-native.png"))?;
    let theirs = stock
        .display
        .save_screenshot(scene, &format!("{options}-nxproxy.png"))?;
    assert!(ours.is_drawn() && ours.colours() > 1000, "{options}");
    if waited.is_err() {
        panic!("{options}: {:?}", difference(&ours, &theirs));
    }
    assert_eq!(session.suspend().await.unwrap(), Ending::Suspended);
    native
        .agent
        .expect_session(0, "Session suspended", WAIT)
        .await?;
    proxy.signal(rustix::process::Signal::TERM)?;
    proxy.wait(WAIT).await?;
    Ok(())
}

#[test]
fn a_fast_link_shows_what_nxproxy_shows() {
    play("native_pixels_lan", async |scene| {
        same(scene, "link=lan").await?;
        Ok(())
    });
}

#[test]
fn links_of_all_speeds_show_what_nxproxy_shows() {
    play("native_pixels_links", async |scene| {
        for link in ["link=wan", "link=adsl", "link=isdn", "link=modem"] {
            same(scene, link).await?;
        }
        Ok(())
    });
}

#[test]
fn links_given_as_bandwidths_show_what_nxproxy_shows() {
    play("native_pixels_bandwidths", async |scene| {
        for link in ["link=10m", "link=34m", "link=1m", "link=256k", "link=56k"] {
            same(scene, link).await?;
        }
        Ok(())
    });
}
