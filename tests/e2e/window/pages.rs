//! Each page as it looks, in both languages and colours, and what is kept.

use qvd_tests::{Outcome, Scene, play};

use super::seat::{Seat, WAIT, broker, configuration, login};

/// A login page, filled in.
const CONF: &str = "client.host.name = qvd.example.org\nclient.user.name = ann\n\
                    client.show.remember_password = 1\nclient.kill_vm.display = 1\n";

async fn rest(scene: &Scene, extra: &str, suffix: &str, titles: [&str; 3]) -> Outcome {
    let seat = Seat::take(scene, &format!("{CONF}{extra}"), &[]).await?;
    for (name, title) in ["login", "settings", "about"].into_iter().zip(titles) {
        let page = seat.page(title).await?;
        let picture = format!("{name}{suffix}");
        seat.looks_like(scene, &page, &picture).await?;
        // The next tab.
        seat.press(scene, &["ctrl+Tab"]).await?;
    }
    seat.page(titles[0]).await?;
    seat.leave(scene).await?;
    Ok(())
}

#[test]
fn the_window_at_rest() {
    play("window_rest", async |scene| {
        rest(scene, "", "", ["Connect", "Settings", "About"]).await
    });
}

#[test]
fn the_window_in_the_dark() {
    play("window_dark", async |scene| {
        let extra = "client.theme = dark\n";
        rest(scene, extra, "-dark", ["Connect", "Settings", "About"]).await
    });
}

#[test]
fn the_window_in_spanish() {
    play("window_spanish", async |scene| {
        let extra = "client.locale = es_ES.UTF-8\n";
        rest(scene, extra, "-es", ["Conectar", "Ajustes", "Acerca de"]).await
    });
}

#[test]
fn settings_are_saved_and_comments_stay() {
    play("window_settings", async |scene| {
        let (server, user) = broker(scene, true).await?;
        let conf = format!("{}other.key = 7\n", login(&server, &user));
        let seat = Seat::take(scene, &conf, &[]).await?;
        seat.page("Connect").await?;
        seat.press(scene, &["ctrl+Tab"]).await?;
        seat.page("Settings").await?;
        // The first field is full screen; without the size of a window, and
        // with no folder to add, the panel's is the eighth.
        seat.press(scene, &["space"]).await?;
        seat.press(scene, &["Tab"; 8]).await?;
        seat.press(scene, &["space", "ctrl+s"]).await?;
        let written = async {
            while !configuration(scene).contains("client.fullscreen = 1") {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(WAIT, written).await?;
        let now = configuration(scene);
        assert!(now.starts_with("# mine\n"), "{now}");
        assert!(now.contains("other.key = 7\n"), "{now}");
        assert!(now.contains("client.tray = 0\n"), "{now}");
        seat.leave(scene).await?;
        Ok(())
    });
}

/// How often the system has had the threads of a process run.
fn turns(pid: u32) -> std::io::Result<u64> {
    let mut turns = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = std::fs::read_to_string(task?.path().join("status"))?;
        let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
        turns += lines
            .filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok())
            .sum::<u64>();
    }
    Ok(turns)
}

#[test]
fn a_window_at_rest_does_nothing() {
    play("window_idle", async |scene| {
        let seat = Seat::take(scene, CONF, &[]).await?;
        seat.page("Connect").await?;
        // The keyboard is in a field.
        seat.types(scene, "apples").await?;
        let pid = seat.client.pid();
        let still = async {
            let mut before = turns(pid)?;
            loop {
                // Longer than any cursor blinks and any clock of a page ticks.
                tokio::time::sleep(std::time::Duration::from_secs(3)).await;
                let now = turns(pid)?;
                if now == before {
                    return Ok::<_, std::io::Error>(());
                }
                before = now;
            }
        };
        tokio::time::timeout(WAIT, still).await??;
        seat.leave(scene).await?;
        Ok(())
    });
}

#[test]
fn a_display_that_cannot_be_opened_is_told() {
    play("window_no_display", async |scene| {
        let program = super::seat::program(scene, "")?.env("DISPLAY", ":9999");
        let mut client = scene.start(program)?;
        let status = client.wait(WAIT).await?;
        assert_eq!(status.code(), Some(21), "{}", client.log().text());
        client
            .expect("the display :9999 cannot be used", WAIT)
            .await?;
        Ok(())
    });
}
