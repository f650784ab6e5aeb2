//! A broker whose certificate nobody knows.

use qvd_tests::{Scene, play};

use super::seat::{Seat, broker, login};

const QUESTION: &str = "Is this the right server?";

/// Where certificates are kept that were accepted for good.
fn kept(scene: &Scene) -> bool {
    let file = scene.home().join(".qvd/accepted_certs.json");
    std::fs::read_to_string(file).is_ok_and(|text| text.contains("localhost"))
}

#[test]
fn an_unknown_certificate_is_refused_accepted_once_and_for_good() {
    play("window_trust", async |scene| {
        let (server, user) = broker(scene, true).await?;
        let conf: String = login(&server, &user)
            .lines()
            .filter(|line| !line.starts_with("path.ssl"))
            .map(|line| format!("{line}\n"))
            .collect();
        let conf = format!("{conf}client.ssl.error_timeout = 0.001\n");
        let password = user.password.as_str();
        let again = async |seat: &Seat| {
            seat.page("Connect").await?;
            seat.types(scene, password).await?;
            seat.press(scene, &["Return"]).await
        };

        // Nothing but a word of the user's is taken for one.
        let seat = Seat::take(scene, &conf, &[]).await?;
        again(&seat).await?;
        let page = seat.page(QUESTION).await?;
        seat.looks_like(scene, &page, "certificate").await?;
        seat.press(scene, &["Escape"]).await?;
        seat.page("Connect").await?;
        assert!(!kept(scene));

        // Once: as long as the window is there. The broker has no machine.
        again(&seat).await?;
        seat.page(QUESTION).await?;
        seat.press(scene, &["Tab", "Return"]).await?;
        seat.page("There is no such machine").await?;
        seat.press(scene, &["Escape"]).await?;
        again(&seat).await?;
        let page = seat.page("There is no such machine").await?;
        seat.looks_like(scene, &page, "failure").await?;
        assert!(!kept(scene));
        seat.leave(scene).await?;

        // For good: the next window does not ask.
        let seat = Seat::take(scene, &conf, &[]).await?;
        again(&seat).await?;
        seat.page(QUESTION).await?;
        seat.press(scene, &["Tab", "Tab", "Return"]).await?;
        seat.page("There is no such machine").await?;
        assert!(kept(scene));
        seat.leave(scene).await?;
        let seat = Seat::take(scene, &conf, &[]).await?;
        again(&seat).await?;
        seat.page("There is no such machine").await?;
        seat.leave(scene).await?;
        Ok(())
    });
}

#[test]
fn the_accepting_buttons_wait_as_long_as_the_configuration_says() {
    play("window_trust_wait", async |scene| {
        let (server, user) = broker(scene, true).await?;
        let conf: String = login(&server, &user)
            .lines()
            .filter(|line| !line.starts_with("path.ssl"))
            .map(|line| format!("{line}\n"))
            .collect();
        let conf = format!("{conf}client.ssl.error_timeout = 3600\n");
        let seat = Seat::take(scene, &conf, &[]).await?;
        seat.page("Connect").await?;
        seat.types(scene, &user.password).await?;
        seat.press(scene, &["Return"]).await?;
        let page = seat.page(QUESTION).await?;
        seat.looks_like(scene, &page, "certificate-waits").await?;
        // No key leads to a button that accepts.
        seat.press(scene, &["Tab", "Tab", "Return", "Escape"])
            .await?;
        seat.page("Connect").await?;
        assert!(!kept(scene));
        seat.leave(scene).await?;
        Ok(())
    });
}
