//! A wire between this machine and a network of its own, of which every packet
//! passes through the test: late, or never.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixDatagram as Socket;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use qvd_tests::process::{Process, Program};
use qvd_tests::{Error, Result, Scene};
use tokio::net::UnixDatagram;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::networks::ip;
use super::stage::WAIT;

/// Bytes of a packet, and more than any has.
const PACKET: usize = 2048;

/// Packets that wait on the wire each way; what is more is lost, as in any
/// router.
const QUEUE: usize = 1000;

/// A network of its own with a single wire to this machine.
pub(super) struct Wire {
    name: String,
    /// This machine's end.
    pub(super) gateway: Ipv4Addr,
    ends: Vec<Process>,
    torn: Arc<AtomicBool>,
    lost: Arc<AtomicU32>,
    /// Dropped, the wire passes nothing on.
    _stop: oneshot::Sender<()>,
}

impl Wire {
    /// Lays one that takes so long each way and loses so many of a thousand
    /// packets.
    pub(super) async fn lay(scene: &Scene, way: Duration, losses: u32) -> Result<Self> {
        let number = std::process::id();
        let octet = u8::try_from(number % 250).unwrap_or_default();
        let name = format!("qvdw{}", number % 100_000);
        ip(scene, &["netns", "add", &name]).await?;
        ip(scene, &["-n", &name, "link", "set", "lo", "up"]).await?;
        let sockets = |end: &str| {
            [
                scene.path(format!("{end}.in")),
                scene.path(format!("{end}.out")),
            ]
        };
        let (near, far) = (sockets("near"), sockets("far"));
        let torn = Arc::new(AtomicBool::new(false));
        let lost = Arc::new(AtomicU32::new(0));
        let stop = {
            let ends = [Carried::new(&near)?, Carried::new(&far)?];
            let (torn, lost) = (Arc::clone(&torn), Arc::clone(&lost));
            let (stop, stopped) = oneshot::channel();
            let work = move || pass(ends, way, losses, &torn, &lost, stopped);
            std::thread::spawn(work);
            stop
        };
        let gateway = Ipv4Addr::new(10, 214, octet, 1);
        let mut wire = Self {
            name,
            gateway,
            ends: Vec::new(),
            torn,
            lost,
            _stop: stop,
        };
        for (end, sockets, host) in [("near", &near, 1), ("far", &far, 2)] {
            let device = wire.device(end);
            let tun = format!("TUN:{},iff-up,tun-name={device}", wire.address(host));
            let [to, from] = sockets;
            let socket = format!("UNIX-SENDTO:{},bind={}", to.display(), from.display());
            let mut socat = scene.installed("socat", "socat")?.args([tun, socket]);
            if end == "far" {
                socat = wire.inside(scene, socat)?;
            }
            let process = scene.start(socat.named(format!("socat-{end}")))?;
            wire.ends.push(process);
            wire.is_up(scene, end).await?;
        }
        Ok(wire)
    }

    fn device(&self, end: &str) -> String {
        let short = end.get(..1).unwrap_or_default();
        format!("{}{short}", self.name)
    }

    fn address(&self, host: u8) -> String {
        let [a, b, c, _] = self.gateway.octets();
        format!("{}/24", Ipv4Addr::new(a, b, c, host))
    }

    /// Waits until a device has its address.
    async fn is_up(&self, scene: &Scene, end: &str) -> Result<()> {
        let until = Instant::now() + WAIT;
        let device = self.device(end);
        loop {
            let shown = ["-br", "addr", "show", "up", "dev", &device];
            let program = scene.installed("ip", "iproute2")?.args(shown);
            let program = match end {
                "far" => self.inside(scene, program)?,
                _ => program,
            };
            let mut shown = scene.start(program.named(format!("shown-{end}")))?;
            let found = shown.wait(WAIT).await?.success();
            if found && shown.log().text().contains("10.214.") {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(Error::Invalid(format!("{device} does not come up")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A program at the far end.
    pub(super) fn inside(&self, scene: &Scene, program: Program) -> Result<Program> {
        let wrapper = scene.installed("ip", "iproute2")?;
        Ok(program.under(wrapper.args(["netns", "exec", &self.name])))
    }

    /// Tears it, or mends it: on a torn one all is lost, and nobody is told.
    pub(super) fn tear(&self, torn: bool) {
        self.torn.store(torn, Ordering::Relaxed);
    }

    /// Packets that were lost on it while it was whole.
    pub(super) fn losses(&self) -> u32 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Gives the far end another address; that of `before` is gone.
    pub(super) async fn move_from(&self, scene: &Scene, before: u8, to: u8) -> Result<()> {
        let device = self.device("far");
        for (what, host) in [("del", before), ("add", to)] {
            let address = self.address(host);
            let words = ["-n", &self.name, "addr", what, &address, "dev", &device];
            ip(scene, &words).await?;
        }
        Ok(())
    }

    pub(super) async fn remove(mut self, scene: &Scene) -> Result<()> {
        for end in &self.ends {
            end.signal(rustix::process::Signal::TERM)?;
        }
        for end in &mut self.ends {
            end.wait(WAIT).await?;
        }
        ip(scene, &["netns", "del", &self.name]).await
    }
}

/// One end's packets.
struct Carried {
    socket: Socket,
    to: PathBuf,
}

impl Carried {
    fn new([own, to]: &[PathBuf; 2]) -> Result<Self> {
        let bound = |path: &Path| {
            let socket = Socket::bind(path)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = bound(own).map_err(|error: std::io::Error| {
            Error::Invalid(format!("{}: {error}", own.display()))
        })?;
        Ok(Self {
            socket,
            to: to.clone(),
        })
    }
}

/// Passes packets on until it is stopped.
fn pass(
    ends: [Carried; 2],
    way: Duration,
    losses: u32,
    torn: &AtomicBool,
    lost: &AtomicU32,
    stopped: oneshot::Receiver<()>,
) -> Result<()> {
    let failed = |error: std::io::Error| Error::Invalid(format!("wire: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let [near, far] = ends;
        let to = [near.to, far.to];
        let near = UnixDatagram::from_std(near.socket).map_err(failed)?;
        let far = UnixDatagram::from_std(far.socket).map_err(failed)?;
        let [to_near, to_far] = &to;
        let carry = |from, over, to| one_way(from, over, to, way, losses, torn, lost);
        tokio::select! {
            () = carry(&near, &far, to_far) => {}
            () = carry(&far, &near, to_near) => {}
            _ = stopped => {}
        }
        Ok(())
    })
}

async fn one_way(
    from: &UnixDatagram,
    over: &UnixDatagram,
    to: &Path,
    way: Duration,
    losses: u32,
    torn: &AtomicBool,
    lost: &AtomicU32,
) {
    let mut under_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut packet = vec![0; PACKET];
    // A random walk that is the same in every run.
    let mut chance = 0x2545_f491_4f6c_dd1d_u64;
    loop {
        let next = under_way.front().map(|(at, _)| *at);
        tokio::select! {
            read = from.recv(&mut packet) => {
                let Ok(count) = read else { return };
                chance ^= chance << 13;
                chance ^= chance >> 7;
                chance ^= chance << 17;
                if torn.load(Ordering::Relaxed) {
                    continue;
                }
                if under_way.len() >= QUEUE || chance % 1000 < u64::from(losses) {
                    lost.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                let bytes = packet.get(..count).unwrap_or_default().to_vec();
                under_way.push_back((Instant::now() + way, bytes));
            }
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                if let Some((_, bytes)) = under_way.pop_front() {
                    // An end that does not take it has lost it.
                    let _ = over.send_to(&bytes, to).await;
                }
            }
        }
    }
}
