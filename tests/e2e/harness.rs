//! The harness itself: what the other tests rely on.

use std::time::Duration;

use qvd_tests::display::{Display, Options};
use qvd_tests::process::{self, Program};
use qvd_tests::{Error, play};
use rustix::process::Signal;

const WAIT: Duration = Duration::from_secs(20);

#[test]
fn a_window_appears_and_is_drawn() {
    play("a_window_appears_and_is_drawn", async |scene| {
        let options = Options {
            window_manager: true,
            ..Options::default()
        };
        let display = Display::start(scene, options).await?;
        let screen = display.screen();
        assert!(
            !screen.screenshot()?.is_drawn(),
            "an empty display counts as drawn"
        );

        let clock = display.dress(scene.installed("xclock", "x11-apps")?);
        let mut clock = scene.start(clock.args(["-geometry", "200x200"]))?;
        let window = screen
            .wait_for_window("xclock", WAIT, |window| window.is("xclock"))
            .await?;
        screen.wait_until_drawn(&window, WAIT).await?;
        assert_eq!((window.width, window.height), (200, 200));
        let with_clock = display.save_screenshot(scene, "clock.png")?;

        clock.signal(Signal::TERM)?;
        clock.wait(WAIT).await?;
        screen
            .wait_for_no_window("xclock", WAIT, |window| window.is("xclock"))
            .await?;
        screen
            .wait_for_pixels("the display without the clock", WAIT, |screen| {
                Ok(with_clock.changed_fraction(&screen.screenshot()?) > 0.01)
            })
            .await?;
        Ok(())
    });
}

#[test]
fn a_display_refuses_strangers() {
    play("a_display_refuses_strangers", async |scene| {
        let options = Options {
            local_user: false,
            ..Options::default()
        };
        let display = Display::start(scene, options).await?;
        let stranger = scene
            .installed("xdpyinfo", "x11-utils")?
            .env("DISPLAY", display.name());
        let mut stranger = scene.start(stranger.env("XAUTHORITY", "/dev/null"))?;
        assert!(!stranger.wait(WAIT).await?.success());

        let friend = display.dress(scene.installed("xdpyinfo", "x11-utils")?);
        let mut friend = scene.start(friend)?;
        assert!(friend.wait(WAIT).await?.success());
        friend.expect("1024x768 pixels", WAIT).await?;
        Ok(())
    });
}

#[test]
fn two_displays_beside_each_other() {
    play("two_displays_beside_each_other", async |scene| {
        let small = Options {
            width: 640,
            height: 480,
            ..Options::default()
        };
        let first = Display::start(scene, Options::default()).await?;
        let second = Display::start(scene, small).await?;
        assert_ne!(first.number(), second.number());
        assert_eq!(
            (second.screen().width(), second.screen().height()),
            (640, 480)
        );
        Ok(())
    });
}

#[test]
fn lines_are_events_and_an_end_without_them_is_told() {
    play(
        "lines_are_events_and_an_end_without_them_is_told",
        async |scene| {
            let script = "echo one; echo two >&2; echo home is $HOME";
            let mut shell = scene.start(scene.installed("sh", "dash")?.args(["-c", script]))?;
            shell.expect("one", WAIT).await?;
            let line = shell.expect("two", WAIT).await?;
            assert_eq!(line.stream, process::Stream::Err);
            shell
                .expect(&format!("home is {}", scene.home().display()), WAIT)
                .await?;
            let error = shell.expect("three", WAIT).await.unwrap_err();
            assert!(matches!(error, Error::Ended { .. }), "{error}");
            assert!(error.to_string().contains("two"), "{error}");
            assert!(shell.wait(WAIT).await?.success());
            Ok(())
        },
    );
}

#[test]
fn a_process_that_stays_is_found_by_its_mark_or_directory() {
    play("a_process_that_stays_is_found", async |scene| {
        let script = "sleep 1000 & echo started; wait";
        let shell = scene.start(scene.installed("sh", "dash")?.args(["-c", script]))?;
        shell.expect("started", WAIT).await?;
        let bare = Program::installed("sleep", "coreutils")?
            .arg("1000")
            .directory(scene.home());
        let bare = scene.start(bare)?;
        assert_eq!(process::marked(scene.mark()).len(), 3);
        let left = process::assert_nothing_left(scene.mark(), Duration::from_millis(10)).await;
        assert!(left.unwrap_err().to_string().contains("sleep 1000"));
        // A handle's end is the end of its whole group.
        drop((shell, bare));
        scene.assert_nothing_left().await?;
        Ok(())
    });
}

#[test]
fn a_missing_program_is_named_with_its_package() {
    play(
        "a_missing_program_is_named_with_its_package",
        async |scene| {
            let error = scene
                .installed("no-such-program", "no-such-package")
                .unwrap_err();
            assert_eq!(
                error.to_string(),
                "no-such-program is not installed: run `cargo xtask install` \
             (Debian package no-such-package)"
            );
            Ok(())
        },
    );
}

#[test]
#[should_panic(expected = "processes left running")]
fn a_test_which_leaves_a_process_fails() {
    play("a_test_which_leaves_a_process_fails", async |scene| {
        // It leaves its process group, as a daemon does.
        let script = "setsid sh -c 'echo started; exec sleep 1000' & wait";
        let shell = scene.start(scene.installed("sh", "dash")?.args(["-c", script]))?;
        shell.expect("started", WAIT).await?;
        Ok(())
    });
}
