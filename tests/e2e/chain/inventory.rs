//! The inventory changes while the broker runs.

use qvd_tests::play;
use qvd_tests::rig::{Agent, Desktop, Inventory, Server, Vm};

use super::raw::ask;
use super::{WAIT, ann};

#[test]
fn a_new_vm_appears_and_a_faulty_file_changes_nothing() {
    play("chain_inventory_replaced", async |scene| {
        let agent = Agent::configure(scene, "vm", &Desktop::Small, &[])?;
        let mut inventory = Inventory {
            users: vec![ann()],
            vms: vec![Vm::of(&agent, 1, "ann-desktop", &["ann"])],
        };
        let mut server = Server::start(scene, &inventory, true, &[]).await?;
        let (_, list) = ask(&server, &ann(), "/qvd/list_of_vm", &[]).await?;
        assert!(!list.contains("ann-laptop"), "{list}");

        let from = server.process().log().position();
        let second = Vm::of(&agent, 2, "ann-laptop", &["ann"]);
        inventory.vms.push(second.clone());
        server.replace_inventory(scene, &inventory).await?;
        let words = "inventory read again";
        server.process().expect_after(from, words, WAIT).await?;
        let (_, list) = ask(&server, &ann(), "/qvd/list_of_vm", &[]).await?;
        assert!(list.contains("ann-laptop"), "{list}");

        // The same number twice.
        let from = server.process().log().position();
        inventory.vms.push(second);
        server.replace_inventory(scene, &inventory).await?;
        let words = "the inventory stays as it was";
        let line = server.process().expect_after(from, words, WAIT).await?;
        assert!(line.text.contains("vm 2 is defined twice"), "{}", line.text);
        assert!(line.text.contains("inventory.toml"), "{}", line.text);
        let (status, list) = ask(&server, &ann(), "/qvd/list_of_vm", &[]).await?;
        assert_eq!(status, 200);
        assert!(list.contains("ann-desktop") && list.contains("ann-laptop"));
        Ok(())
    });
}
