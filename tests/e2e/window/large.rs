//! The pages at twice their size, in the longer language, on a small screen.

use qvd_rpc::{Call, SessionState};
use qvd_tests::display::{Display, Options, Window};
use qvd_tests::{Outcome, Scene, play};

use super::access::{BUTTON, CHECK_BOX, COMBO_BOX, TAB, buses, places};
use super::seat::{Seat, WAIT, login, program, stage};

/// Waits until each of these can be seen whole, and none covers another.
async fn fits(scene: &Scene, bus: &str, page: &Window, names: &[&str]) -> Outcome {
    let (width, height) = (i64::from(page.width), i64::from(page.height));
    assert!(width <= 800 && height <= 600, "{page}");
    let mut last = Vec::new();
    let looking = async {
        loop {
            last = places(scene, bus, &[BUTTON, TAB]).await?;
            // A tab and a button can have the same one.
            let is_meant = |(own, _): &&(String, [i64; 4])| names.contains(&own.as_str());
            let own: Vec<_> = last.iter().filter(is_meant).collect();
            let all = names
                .iter()
                .all(|name| own.iter().any(|(own, _)| own == name));
            let inside = own.iter().all(|(_, [x, y, w, h])| {
                *x >= 0 && *y >= 0 && *w > 0 && *h > 0 && x + w <= width && y + h <= height
            });
            let apart = own.iter().enumerate().all(|(at, (_, [x, y, w, h]))| {
                own.iter().skip(at + 1).all(|(_, [x2, y2, w2, h2])| {
                    x + w <= *x2 || x2 + w2 <= *x || y + h <= *y2 || y2 + h2 <= *y
                })
            });
            if all && inside && apart {
                return Ok::<_, qvd_tests::Error>(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    let done = tokio::time::timeout(WAIT, looking).await;
    assert!(done.is_ok(), "{names:?} in {width}x{height}: {last:#?}");
    Ok(done??)
}

/// A folder whose path needs several lines.
const LONG: &str =
    "~/Donaudampfschifffahrtselektrizitaetenhauptbetriebswerkbauunterbeamten/Papiere";

/// What a shared folder has stands above the next group, whose names are
/// between them.
async fn folder_has_room(scene: &Scene, bus: &str) -> Outcome {
    let folder = format!("{LONG} de solo lectura");
    let looking = async {
        loop {
            let all = places(scene, bus, &[CHECK_BOX, COMBO_BOX]).await?;
            let place = |wanted: &str| {
                let found = all.iter().find(|(name, _)| name == wanted);
                found.map(|(_, place)| *place)
            };
            if let (Some(folder), Some(next)) = (place(&folder), place("Idioma")) {
                return Ok::<_, qvd_tests::Error>((folder, next));
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    let ([_, top, _, height], [_, next, ..]) = tokio::time::timeout(WAIT, looking).await??;
    assert!(next - top - height >= 120, "{top} {height} {next}");
    Ok(())
}

#[test]
fn every_page_has_its_buttons_on_a_small_screen_with_large_letters() {
    play("window_large", async |scene| {
        let (_daemon, _launcher, socket, bus) = buses(scene).await?;
        let (agent, server, user) = stage(scene).await?;
        let conf: String = login(&server, &user)
            .lines()
            .filter(|line| !line.starts_with("path.ssl"))
            .map(|line| format!("{line}\n"))
            .collect();
        let conf = format!(
            "{conf}client.ssl.error_timeout = 0.001\nclient.locale = es_ES.UTF-8\n\
             client.file_sharing.enable = 0\nclient.show.remember_password = 1\n\
             client.share.1.path = {LONG}\n"
        );
        let options = Options {
            width: 800,
            height: 600,
            window_manager: true,
            ..Options::default()
        };
        let display = Display::start(scene, options).await?;
        let client = program(scene, &conf)?
            .env("DBUS_SESSION_BUS_ADDRESS", &socket)
            .env("SLINT_SCALE_FACTOR", "2");
        let client = scene.start(display.dress(client))?;
        let seat = Seat { display, client };
        let screen = seat.display.screen();
        let shown = async |title: &str, names: &[&str], picture: &str| -> Outcome {
            let title = format!("QVD: {title}");
            let is_page =
                |window: &Window| window.name == title && window.width > 100 && window.height < 600;
            let page = screen.wait_for_window(&title, WAIT, is_page).await?;
            fits(scene, &bus, &page, names).await?;
            screen.wait_until_drawn(&page, WAIT).await?;
            let seen = screen.screenshot_of(&page)?;
            Ok(seen.save(&scene.artefact(format!("{picture}.png")))?)
        };
        let tabs = ["Conectar", "Ajustes", "Acerca de"];
        shown(tabs[0], &tabs, "login").await?;
        seat.press(scene, &["ctrl+Tab"]).await?;
        shown(tabs[1], &["Ajustes", "Guardar"], "settings").await?;
        // To the language, which is below the folders.
        seat.press(scene, &["Tab"; 10]).await?;
        folder_has_room(scene, &bus).await?;
        seat.press(scene, &["ctrl+Tab"]).await?;
        shown(tabs[2], &tabs, "about").await?;
        seat.press(scene, &["ctrl+Tab"]).await?;
        shown(tabs[0], &["Conectar", "Ajustes"], "login").await?;

        seat.types(scene, &user.password).await?;
        seat.press(scene, &["Return"]).await?;
        let names = ["No conectar", "Una vez", "Siempre"];
        shown("¿Es este el servidor correcto?", &names, "certificate").await?;
        seat.press(scene, &["Tab", "Return"]).await?;
        let names = ["Cancelar", "Conectar"];
        shown("Elija una máquina", &names, "machines").await?;
        seat.press(scene, &["Return"]).await?;
        agent.wait_for_state(SessionState::Connected, WAIT).await?;
        seat.no_page().await?;
        let again = program(scene, &conf)?.env("SLINT_SCALE_FACTOR", "2");
        let mut again = scene.start(seat.display.dress(again))?;
        assert_eq!(again.wait(WAIT).await?.code(), Some(0));
        let names = ["Desconectar", "Volver al escritorio"];
        shown("Su escritorio está abierto", &names, "running").await?;
        agent.call(Call::XStop).await?;
        shown(tabs[0], &["Conectar", "Ajustes"], "ended").await?;

        // Nobody answers any more.
        drop(server);
        seat.types(scene, &user.password).await?;
        seat.press(scene, &["Return"]).await?;
        let names = ["Copiar detalles", "Volver"];
        shown("El servidor no responde", &names, "failure").await?;
        seat.press(scene, &["Return"]).await?;
        shown(tabs[0], &tabs, "login").await?;
        seat.leave(scene).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        Ok(())
    });
}
