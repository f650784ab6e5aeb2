//! What a hook says reaches the user.

use qvd_tests::display::{Display, Options};
use qvd_tests::play;
use qvd_tests::rig::{Agent, Desktop, Inventory, Login, Server, User, Vm, user_name};

use super::WAIT;
use crate::agent::hooks::hook;

#[test]
fn a_refusing_hook_tells_the_user_why() {
    play("chain_hook_refuses", async |scene| {
        let refuse = "echo checking >&2; echo 'your licence has expired, call 1234'; exit 1";
        let refuse = hook(scene, "refuse", refuse)?;
        let keys = [("vma.on_action.connect", refuse.as_str())];
        let agent = Agent::start(scene, "vm", &Desktop::Small, &keys).await?;
        let user = User::new(&user_name()?, "a password");
        let inventory = Inventory {
            users: vec![user.clone()],
            vms: vec![Vm::of(&agent, 1, "desktop", &[&user.login])],
        };
        let server = Server::start(scene, &inventory, true, &[]).await?;
        let display = Display::start(scene, Options::default()).await?;
        let mut client = Login::at(&server, &user).start_client(scene, &display, &[])?;
        client
            .expect("your licence has expired, call 1234", WAIT)
            .await?;
        assert_ne!(client.wait(WAIT).await?.code(), Some(0));
        Ok(())
    });
}
