//! An agent that asks its callers for a key and a certificate, and a broker that
//! has them.

use qvd_tests::play;
use qvd_tests::rig::{Agent, Desktop, Login, Server, User, Vm};

use super::{CONNECTED, WAIT, display, drawn};
use crate::agent::security::{authority, by, private};

#[test]
fn a_broker_with_key_and_certificate_starts_sessions_and_one_without_does_not() {
    play("chain_guarded", async |scene| {
        let (parameters, ca) = authority()?;
        let (agents, brokers) = (by(&parameters, &ca)?, by(&parameters, &ca)?);
        let secret = "a-key-of-brokers-0815";
        let files = [
            private(scene, "rpc-key", &format!("{secret}\n"))?,
            scene.write("ca.pem", ca.cert.pem())?,
            scene.write("agent.pem", agents.cert.pem())?,
            private(scene, "agent-key.pem", &agents.key.serialize_pem())?,
            scene.write("broker.pem", brokers.cert.pem())?,
            private(scene, "broker-key.pem", &brokers.key.serialize_pem())?,
        ];
        let [key, root, agent_cert, agent_key, cert, cert_key] =
            files.map(|path| path.display().to_string());
        let keys = [
            ("vma.rpc.key_file", key.as_str()),
            ("vma.rpc.tls.cert_file", agent_cert.as_str()),
            ("vma.rpc.tls.key_file", agent_key.as_str()),
            ("vma.rpc.tls.client_ca_file", root.as_str()),
        ];
        let agent = Agent::start(scene, "vm", &Desktop::Small, &keys).await?;
        let user = User::new("ann", "apples and pears");
        let tls = format!(
            "rpc_tls = {{ ca = \"{root}\", cert = \"{cert}\", key = \"{cert_key}\", name = \"localhost\" }}"
        );
        let vm = |more: String| Vm {
            more,
            ..Vm::of(&agent, 1, "ann-desktop", &["ann"])
        };
        let mut inventory = qvd_tests::rig::Inventory {
            users: vec![user.clone()],
            vms: vec![vm(tls.clone())],
        };
        let mut server = Server::start(scene, &inventory, true, &[]).await?;
        let display = display(scene).await?;
        let login = Login::at(&server, &user);
        // The certificate alone is not enough.
        let mut refused = login.start_client(scene, &display, &[])?;
        assert!(!refused.wait(WAIT).await?.success());

        inventory.vms = vec![vm(format!("{tls}\nrpc_key_file = \"{key}\""))];
        server.replace_inventory(scene, &inventory).await?;
        let client = login.start_client(scene, &display, &["-g", "800x600"])?;
        client.expect(CONNECTED, WAIT).await?;
        drawn(&display).await?;

        let program = scene.built("qvd-vma")?.args(["ctl", "stop", "--config"]);
        let mut stop = scene.start(program.arg(agent.config()))?;
        assert!(stop.wait(WAIT).await?.success(), "{}", stop.log().text());
        for log in [server.process().log(), agent.daemon_log()?] {
            assert!(!log.text().contains(secret), "{} has the key", log.name());
        }
        Ok(())
    });
}
