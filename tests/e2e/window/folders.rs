//! The list of shared folders on the settings page.

use qvd_tests::{Outcome, Result, Scene, play};

use super::seat::{Seat, WAIT, configuration};

/// Waits until the user's file is as `fits` says.
async fn written(scene: &Scene, what: &str, fits: impl Fn(&str) -> bool) -> Result<()> {
    let waited = async {
        while !fits(&configuration(scene)) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(WAIT, waited).await;
    assert!(waited.is_ok(), "{what}: {}", configuration(scene));
    Ok(())
}

/// From the first field of the page to the one for a folder.
const TO_NEW: [&str; 6] = ["Tab"; 6];

#[test]
fn folders_are_added_named_and_removed() {
    play("window_folders", async |scene| list(scene).await);
}

async fn list(scene: &Scene) -> Outcome {
    std::fs::create_dir_all(scene.home().join("Documents"))?;
    std::fs::create_dir_all(scene.home().join("Music"))?;
    let before = "# mine\nclient.host.name = qvd.example.org\nclient.user.name = ann\n\
                  # the songs\nclient.share.4.path = ~/Music\nother.key = 7\n";
    let seat = Seat::take(scene, before, &[]).await?;
    seat.page("Connect").await?;
    seat.press(scene, &["ctrl+Tab"]).await?;
    seat.page("Settings").await?;
    seat.press(scene, &TO_NEW).await?;
    // What is no folder is not taken.
    seat.types(scene, "/nowhere at all").await?;
    seat.press(scene, &["Return", "ctrl+a"]).await?;
    seat.types(scene, "~/Documents").await?;
    seat.press(scene, &["Return"]).await?;
    // Past the songs' name, removal and protection to its own.
    seat.press(scene, &["Tab"; 4]).await?;
    seat.types(scene, "papers").await?;
    seat.press(scene, &["Tab", "Tab", "space"]).await?;
    let page = seat.page("Settings").await?;
    seat.looks_like(scene, &page, "folders").await?;
    seat.press(scene, &["ctrl+s"]).await?;
    written(scene, "a folder more", |now| {
        now.contains("client.share.5.path = ~/Documents\n")
    })
    .await?;
    let now = configuration(scene);
    assert!(now.starts_with(before), "{now}");
    assert!(now.contains("client.share.5.name = papers\n"), "{now}");
    assert!(now.contains("client.share.5.read_only = 1\n"), "{now}");
    assert!(!now.contains("nowhere"), "{now}");
    seat.leave(scene).await?;

    // The next window finds them; the songs go.
    let seat = Seat::take(scene, &now, &[]).await?;
    seat.page("Connect").await?;
    seat.press(scene, &["ctrl+Tab"]).await?;
    seat.page("Settings").await?;
    seat.press(scene, &TO_NEW).await?;
    seat.press(scene, &["Tab", "Tab", "space", "ctrl+s"])
        .await?;
    written(scene, "a folder less", |now| {
        !now.contains("client.share.4")
    })
    .await?;
    let now = configuration(scene);
    assert!(now.contains("# the songs\nother.key = 7\n"), "{now}");
    assert!(now.contains("client.share.5.name = papers\n"), "{now}");
    seat.leave(scene).await?;
    Ok(())
}
