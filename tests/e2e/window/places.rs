//! Windows of several saved connections, and one that goes from one to another.

use qvd_tests::display::Window;
use qvd_tests::process::Process;
use qvd_tests::{Outcome, Result, Scene, play};
use rustix::process::Signal;

use super::seat::{Seat, WAIT, broker, log_in, login, program};

const LOGIN: &str = "QVD: Connect";

/// Goes to the list of connections, which is before user and password, and
/// takes the next one.
const NEXT_CONNECTION: [&str; 3] = ["shift+Tab", "shift+Tab", "Down"];

/// Waits for so many login pages.
async fn pages(
    seat: &Seat,
    number: usize,
) -> std::result::Result<Vec<Window>, Box<dyn std::error::Error>> {
    let screen = seat.display.screen();
    let waited = async {
        loop {
            let mut all = screen.windows()?;
            all.retain(|window| window.name == LOGIN && window.width > 100 && window.visible);
            if all.len() == number {
                return Ok(all);
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(WAIT, waited).await?
}

async fn start(scene: &Scene, seat: &Seat, conf: &str, arguments: &[&str]) -> Result<Process> {
    let program = program(scene, conf)?.args(arguments);
    scene.start(seat.display.dress(program))
}

async fn end(mut client: Process) -> Result<()> {
    client.signal(Signal::TERM)?;
    assert_eq!(client.wait(WAIT).await?.code(), Some(0));
    Ok(())
}

/// Waits until a window was told so often that a connection is another's.
async fn refused(scene: &Scene, times: usize) -> Outcome {
    let log = scene.home().join(".qvd/qvd-client.log");
    let told = async {
        let count = |text: String| text.matches("has another window").count();
        while !std::fs::read_to_string(&log).is_ok_and(|text| count(text) == times) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    Ok(tokio::time::timeout(WAIT, told).await?)
}

#[test]
fn a_window_goes_to_a_connection_only_where_no_other_is() {
    play("window_places", async |scene| {
        let (server, user) = broker(scene, true).await?;
        let conf = login(&server, &user);
        // Where nobody answers.
        let port = format!("client.host.port = {}\n", server.address().port());
        let nowhere = conf.replace(&port, "client.host.port = 1\n");
        let saved = scene.home().join(".qvd/connections");
        std::fs::create_dir_all(&saved)?;
        std::fs::write(saved.join("laboratory.conf"), &nowhere)?;

        let seat = Seat::take(scene, &conf, &[]).await?;
        seat.page("Connect").await?;
        let own = pages(&seat, 1).await?;
        let laboratory = start(scene, &seat, &conf, &["--profile", "laboratory"]).await?;
        let both = pages(&seat, 2).await?;
        assert!(own.iter().all(|window| both.contains(window)));

        // The first window wants what the second is for, and does not get it.
        let id = own[0].id.to_string();
        let to_own = async || {
            seat.xdotool(scene, &["windowactivate", "--sync", &id])
                .await
        };
        to_own().await?;
        seat.press(scene, &NEXT_CONNECTION).await?;
        refused(scene, 1).await?;
        // Nor does it write into what the second has open.
        to_own().await?;
        seat.press(scene, &["ctrl+Tab"]).await?;
        seat.page("Settings").await?;
        seat.press(scene, &["Tab"; 10]).await?;
        seat.types(scene, "laboratory").await?;
        seat.press(scene, &["Return"]).await?;
        refused(scene, 2).await?;
        let file = std::fs::read_to_string(saved.join("laboratory.conf"))?;
        assert_eq!(file, nowhere);
        to_own().await?;
        seat.press(scene, &["ctrl+Tab", "ctrl+Tab"]).await?;
        end(laboratory).await?;
        let page = pages(&seat, 1).await?;
        seat.looks_like(scene, &page[0], "elsewhere").await?;
        log_in(scene, &seat, &user.password).await?;
        seat.page("There is no such machine").await?;
        seat.press(scene, &["Escape"]).await?;
        seat.page("Connect").await?;

        // Now it is free: the window is there for it, and no more for the first.
        seat.press(scene, &NEXT_CONNECTION).await?;
        log_in(scene, &seat, &user.password).await?;
        seat.page("The server does not answer").await?;
        seat.press(scene, &["Escape"]).await?;
        seat.page("Connect").await?;
        let mut again = start(scene, &seat, &conf, &["--profile", "laboratory"]).await?;
        assert_eq!(again.wait(WAIT).await?.code(), Some(0));
        again.expect("open already", WAIT).await?;
        let default = start(scene, &seat, &conf, &[]).await?;
        pages(&seat, 2).await?;
        end(default).await?;
        Ok(end(seat.client).await?)
    });
}
