//! Many connections and slow ones do not keep a broker from being answered.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream as Blocking};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use qvd_rpc::{Call, Reply};
use qvd_tests::play;
use qvd_tests::rig::{Agent, Desktop};

/// Connections made beside the broker's.
const CONNECTIONS: usize = 10_000;

/// Those kept open at a time.
const HELD: usize = 700;

/// Where the flood comes from: an address that may call as the broker may.
const FLOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn connect_from(own: Ipv4Addr, to: SocketAddr) -> rustix::io::Result<Blocking> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddr::from((own, 0)))?;
    connect(&socket, &to)?;
    Ok(socket.into())
}

#[test]
fn a_ping_is_answered_whatever_else_is_connected() {
    play("agent_flood", async |scene| {
        let mut agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
        let address = agent.rpc();
        let made = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let flood = {
            let (made, stop) = (made.clone(), stop.clone());
            thread::spawn(move || {
                let mut held = std::collections::VecDeque::new();
                while made.load(Ordering::Relaxed) < CONNECTIONS && !stop.load(Ordering::Relaxed) {
                    let Ok(mut stream) = connect_from(FLOOD, address) else {
                        continue;
                    };
                    // Idle, slow in asking, and slow in reading; one that was
                    // closed for others cannot be written to.
                    let number = made.fetch_add(1, Ordering::Relaxed);
                    let _ = match number % 4 {
                        0 => Ok(()),
                        1 => stream.write_all(b"GET /vma/pi"),
                        2 => stream.write_all(&b"GET /vma/x_state HTTP/1.1\r\n\r\n".repeat(200)),
                        _ => stream.write_all(
                            b"GET /vma/x_wait?state=stopped&timeout=60000 HTTP/1.1\r\n\r\n",
                        ),
                    };
                    held.push_back(stream);
                    if held.len() > HELD {
                        held.pop_front();
                    }
                }
                held
            })
        };
        let (mut pings, mut slowest) = (0u32, std::time::Duration::ZERO);
        while made.load(Ordering::Relaxed) < CONNECTIONS {
            let start = std::time::Instant::now();
            let reply = agent.call(Call::Ping).await;
            slowest = slowest.max(start.elapsed());
            if reply.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            assert_eq!(reply?, Reply::Alive);
            pings += 1;
        }
        let held = flood.join().map_err(|_| "the flood broke")?;
        assert_eq!(agent.call(Call::Ping).await?, Reply::Alive);
        println!("{pings} pings, the slowest in {} ms", slowest.as_millis());
        drop(held);
        assert!(agent.daemon()?.is_running());
        Ok(())
    });
}
