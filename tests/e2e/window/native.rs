//! A session that the client draws itself: the window tells what it carries.

use qvd_rpc::SessionState;
use qvd_tests::play;

use super::access::{buses, tree};
use super::seat::{Seat, WAIT, log_in, login, program, stage};

/// Figures that grow as soon as there is a desktop.
const GROWING: [&str; 3] = ["Received: ", "Sent: ", "Round trips: "];

#[test]
fn a_session_that_is_drawn_here_tells_what_it_carries() {
    play("window_native", async |scene| {
        let (_daemon, _launcher, socket, bus) = buses(scene).await?;
        let (agent, server, user) = stage(scene).await?;
        let conf =
            login(&server, &user) + "client.file_sharing.enable = 0\nclient.nx.engine = native\n";
        let seat = Seat::take_on(scene, &socket, &conf, &["--vm-id", "1"]).await?;
        log_in(scene, &seat, &user.password).await?;
        agent.wait_for_state(SessionState::Connected, WAIT).await?;
        seat.no_page().await?;
        let mut again = scene.start(seat.display.dress(program(scene, &conf)?))?;
        assert_eq!(again.wait(WAIT).await?.code(), Some(0));
        let page = seat.page("Your desktop is open").await?;

        let mut last = Vec::new();
        let looking = async {
            loop {
                last = tree(scene, &bus).await?;
                let grown = |name: &&str| {
                    let values = last.iter().filter_map(|(_, own)| own.strip_prefix(name));
                    values.into_iter().any(|value| !value.starts_with("0"))
                };
                if GROWING.iter().all(grown) {
                    return Ok::<_, qvd_tests::Error>(());
                }
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        };
        let found = tokio::time::timeout(WAIT, looking).await;
        assert!(found.is_ok(), "{last:#?}");
        found??;
        seat.looks_like(scene, &page, "statistics").await?;
        seat.disconnect(scene, &agent).await?;
        Ok(())
    });
}
