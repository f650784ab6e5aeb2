//! Sessions on the carrier over networks as they are: far away, slow, and
//! another one than before.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use qvd_tests::fault::{Cut, Direction, Endpoint, FaultProxy, Rules};
use qvd_tests::process::Program;
use qvd_tests::rig::Login;
use qvd_tests::{Error, Result, Scene, play, play_for};

use super::carrier::{BACK, agent_says, moves, undisturbed};
use super::stage::{CONNECTED, Stage, WAIT, end_of};

/// A way to the broker from where this machine has that address, and a login
/// that takes it.
pub(super) fn seen_from(stage: &Stage, gateway: Ipv4Addr) -> Result<(FaultProxy, Login)> {
    let here = Endpoint::Tcp(SocketAddr::new(gateway.into(), 0));
    let broker = Endpoint::local(stage.server.address().port());
    let front = FaultProxy::start(&here, &broker)?;
    let mut login = stage.login();
    login.host = gateway.to_string();
    login.port = front.port().unwrap_or_default();
    Ok((front, login))
}

/// Networks that were made by this process.
static MADE: AtomicU32 = AtomicU32::new(0);

/// Wraps a program so that it runs in a network of its own.
pub(super) struct Network {
    name: String,
    /// This machine's end of its only link.
    pub(super) gateway: Ipv4Addr,
}

/// Files that a network has instead of those in `/etc`, while this is held.
pub(super) struct Resolver(PathBuf);

impl Drop for Resolver {
    fn drop(&mut self) {
        // The folder may be there for nothing else.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Network {
    /// Makes one, linked to this machine.
    pub(super) async fn make(scene: &Scene) -> Result<Self> {
        // Tests of one process run side by side.
        let (process, own) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let octet = u8::try_from(process.wrapping_add(own) % 250).unwrap_or_default();
        let network = Self {
            name: format!("qvd{}n{own}", process % 100_000),
            gateway: Ipv4Addr::new(10, 213, octet, 1),
        };
        let name = &network.name;
        let (outer, inner) = (format!("{name}o"), format!("{name}i"));
        ip(scene, &["netns", "add", name]).await?;
        let pair = [
            "link", "add", &outer, "type", "veth", "peer", "name", &inner,
        ];
        ip(scene, &pair).await?;
        ip(scene, &["link", "set", &inner, "netns", name]).await?;
        let outside = format!("{}/24", network.gateway);
        ip(scene, &["addr", "add", &outside, "dev", &outer]).await?;
        ip(scene, &["link", "set", &outer, "up"]).await?;
        network.up(scene, 2).await?;
        Ok(network)
    }

    fn address(&self, host: u8) -> String {
        let [a, b, c, _] = self.gateway.octets();
        format!("{}/24", Ipv4Addr::new(a, b, c, host))
    }

    fn device(&self) -> String {
        format!("{}i", self.name)
    }

    /// Plugs it in, with the address of this host in it.
    pub(super) async fn up(&self, scene: &Scene, host: u8) -> Result<()> {
        let (address, device) = (self.address(host), self.device());
        ip(
            scene,
            &["-n", &self.name, "addr", "add", &address, "dev", &device],
        )
        .await?;
        ip(scene, &["-n", &self.name, "link", "set", &device, "up"]).await
    }

    /// Pulls the plug; its address is gone.
    pub(super) async fn down(&self, scene: &Scene) -> Result<()> {
        let device = self.device();
        ip(scene, &["-n", &self.name, "link", "set", &device, "down"]).await?;
        ip(scene, &["-n", &self.name, "addr", "flush", "dev", &device]).await
    }

    pub(super) fn inside(&self, scene: &Scene, program: Program) -> Result<Program> {
        let wrapper = scene.installed("ip", "iproute2")?;
        Ok(program.under(wrapper.args(["netns", "exec", &self.name])))
    }

    /// Has its programs ask a name server at the gateway, and nobody else.
    pub(super) fn resolver(&self) -> Result<Resolver> {
        // Where `ip netns exec` finds what it lays over the files in `/etc`.
        let resolver = Resolver(Path::new("/etc/netns").join(&self.name));
        let write = |name, text: String| {
            let path = resolver.0.join(name);
            std::fs::write(&path, text)
                .map_err(|error| Error::Invalid(format!("{}: {error}", path.display())))
        };
        std::fs::create_dir_all(&resolver.0)
            .map_err(|error| Error::Invalid(format!("{}: {error}", resolver.0.display())))?;
        write("resolv.conf", format!("nameserver {}\n", self.gateway))?;
        write("nsswitch.conf", "hosts: files dns\n".to_owned())?;
        Ok(resolver)
    }

    pub(super) async fn remove(&self, scene: &Scene) -> Result<()> {
        ip(scene, &["netns", "del", &self.name]).await
    }
}

pub(super) async fn ip(scene: &Scene, arguments: &[&str]) -> Result<()> {
    let program = scene.installed("ip", "iproute2")?.args(arguments);
    let mut ip = scene.start(program.named(format!("ip-{}", arguments.join("-"))))?;
    let status = ip.wait(WAIT).await?;
    assert!(status.success(), "{}", ip.log().text());
    Ok(())
}

#[test]
fn a_laptop_that_is_carried_to_another_network_keeps_its_session() {
    play_for("carrier_moved", 3 * WAIT, async |scene| {
        let stage = Stage::set(scene, false).await?;
        let network = Network::make(scene).await?;
        let (_front, login) = seen_from(&stage, network.gateway)?;
        let program = login.client(scene)?.args(["-g", "800x600", "--stats"]);
        let program = stage.display.dress(network.inside(scene, program)?);
        let mut client = scene.start(program)?;
        client.expect(CONNECTED, WAIT).await?;
        stage.drawn().await?;
        let log = stage.agent.daemon_log()?;
        for (round, host) in [3, 4].into_iter().enumerate() {
            let from = log.position();
            network.down(scene).await?;
            // It says how long it will be tried, too: three minutes.
            client.expect_after(0, "Reconnecting", WAIT).await?;
            client.expect_after(0, "for 17", WAIT).await?;
            network.up(scene, host).await?;
            agent_says(log, from, BACK).await?;
            undisturbed(&stage).await?;
            assert!(round < 2);
        }
        stage.leave(&mut client).await?;
        let (_, text) = end_of(&mut client).await?;
        assert!(text.contains("resumed 2 times"), "{text}");
        assert!(text.contains("stream nx: "), "{text}");
        network.remove(scene).await?;
        Ok(())
    });
}

#[test]
fn a_session_over_a_long_way_survives_cuts_and_stalls() {
    play_for("carrier_far", 3 * WAIT, async |scene| {
        let stage = Stage::set(scene, true).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        let both = [Direction::ToClient, Direction::ToServer];
        for way in both {
            stage.front.change(way, |rules: &mut Rules| {
                rules.latency = Duration::from_millis(150);
                rules.bandwidth = NonZeroU32::new(1_000_000);
            });
        }
        let log = stage.agent.daemon_log()?;
        for round in 0..4 {
            let from = log.position();
            if round % 2 == 0 {
                // Shorter than what counts as lost.
                both.iter().for_each(|way| stage.front.stall(*way));
                tokio::time::sleep(Duration::from_secs(2)).await;
                both.iter().for_each(|way| stage.front.resume(*way));
                moves(&stage).await?;
                assert!(!log.text().contains(BACK) || round > 0);
            } else {
                stage.front.cut(Cut::Reset);
                agent_says(log, from, BACK).await?;
            }
        }
        undisturbed(&stage).await?;
        Ok(stage.leave(&mut client).await?)
    });
}

#[test]
fn a_silence_of_half_a_minute_is_a_pause() {
    play("carrier_silence", async |scene| {
        let stage = Stage::set(scene, true).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        let both = [Direction::ToClient, Direction::ToServer];
        // New connections are swallowed as well.
        both.iter().for_each(|way| stage.front.stall(*way));
        tokio::time::sleep(Duration::from_secs(30)).await;
        both.iter().for_each(|way| stage.front.resume(*way));
        agent_says(stage.agent.daemon_log()?, 0, BACK).await?;
        undisturbed(&stage).await?;
        Ok(stage.leave(&mut client).await?)
    });
}
