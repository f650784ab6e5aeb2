//! The inventory changes while the broker runs.

use qvd_tests::rig::{Agent, Desktop, Inventory, Server, Vm};
use qvd_tests::{Result, play};

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

#[test]
fn a_sample_configuration_holds_every_key_and_is_good() {
    play("chain_sample", async |scene| {
        let run = async |arguments: &[&str]| {
            let program = scene.built("qvd-server")?.arg("check-config");
            let mut program = scene.start(program.args(arguments))?;
            let status = program.wait(WAIT).await?;
            // It fails with the end of the output, which is what is waited for.
            let _ended = program.log().wait_for(0, "the end", WAIT, |_| false).await;
            let lines = program.log().lines().into_iter().map(|line| line.text);
            Result::Ok((status.code(), lines.collect::<Vec<_>>().join("\n")))
        };
        let (status, sample) = run(&["--sample"]).await?;
        assert_eq!(status, Some(0), "{sample}");
        assert!(sample.contains("\n#l7r.port = 8443\n"), "{sample}");
        scene.write("inventory.toml", "")?;
        let inventory = scene.path("inventory.toml").display().to_string();
        let own = format!("{sample}\nl7r.inventory = {inventory}\nl7r.use_ssl = 0\n");
        let file = scene.write("l7r.conf", own)?.display().to_string();
        let (status, said) = run(&[&file]).await?;
        assert_eq!((status, said), (Some(0), format!("{file}: good")));
        Ok(())
    });
}
