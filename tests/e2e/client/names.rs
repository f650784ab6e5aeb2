//! A broker's name that nobody can look up any more.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use qvd_tests::fault::Cut;
use qvd_tests::{Error, Result, play_for};
use tokio::net::UdpSocket;

use super::carrier::{BACK, agent_says, undisturbed};
use super::networks::{Network, seen_from};
use super::stage::{CONNECTED, Stage, WAIT};

/// What the broker is called there.
const NAME: &str = "broker.test";

/// Bytes of the longest question.
const QUESTION: usize = 512;

/// Bytes of a message's header (RFC 1035, section 4.1.1).
const HEADER: usize = 12;

/// A name server that knows one name.
struct NameServer {
    answers: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
}

impl NameServer {
    /// Listens there, and says that `NAME` is there, too.
    async fn start(here: Ipv4Addr) -> Result<Self> {
        let address = SocketAddr::new(here.into(), 53);
        let socket = UdpSocket::bind(address).await;
        let socket = socket.map_err(|error| Error::Invalid(format!("{address}: {error}")))?;
        let answers = Arc::new(AtomicBool::new(true));
        let asked = Arc::new(AtomicU32::new(0));
        let server = Self {
            answers: Arc::clone(&answers),
            asked: Arc::clone(&asked),
        };
        // Ends with the scene's runtime.
        tokio::spawn(async move {
            let mut question = [0; QUESTION];
            while let Ok((count, from)) = socket.recv_from(&mut question).await {
                asked.fetch_add(1, Ordering::Relaxed);
                let question = question.get(..count).unwrap_or_default();
                if answers.load(Ordering::Relaxed)
                    && let Some(answer) = answer(question, here)
                {
                    // Who is gone asks no more.
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        Ok(server)
    }

    fn answers(&self, answers: bool) {
        self.answers.store(answers, Ordering::Relaxed);
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

/// The answer to a question for an address; to one for any other kind, that
/// there is none.
fn answer(question: &[u8], address: Ipv4Addr) -> Option<Vec<u8>> {
    let (header, rest) = question.split_at_checked(HEADER)?;
    let id = header.get(..2)?;
    // The name ends with an empty part; its type and class follow.
    let end = rest.iter().position(|byte| *byte == 0)? + 5;
    let asked = rest.get(..end)?;
    let is_address = asked.get(end - 4..end - 2)? == [0, 1];
    let mut answer = id.to_vec();
    // An answer, recursion desired and available; one question.
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0]);
    answer.extend(asked);
    if is_address {
        // The name of the question; an address; for no time.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

#[test]
fn a_session_comes_back_while_no_name_server_answers() {
    play_for("carrier_names", 4 * WAIT, async |scene| {
        let own = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        scene.write("l7r-cert.pem", own.cert.pem())?;
        scene.write("l7r-key.pem", own.signing_key.serialize_pem())?;
        let stage = Stage::set(scene, true).await?;
        let network = Network::make(scene).await?;
        let names = NameServer::start(network.gateway).await?;
        let _resolver = network.resolver()?;
        let (front, mut login) = seen_from(&stage, network.gateway)?;
        NAME.clone_into(&mut login.host);
        let program = login.client(scene)?.args(["-g", "800x600"]);
        let program = stage.display.dress(network.inside(scene, program)?);
        let mut client = scene.start(program)?;
        client.expect(CONNECTED, WAIT).await?;
        stage.drawn().await?;

        names.answers(false);
        let log = stage.agent.daemon_log()?;
        let before = names.asked();
        let from = log.position();
        front.cut(Cut::Reset);
        agent_says(log, from, BACK).await?;
        undisturbed(&stage).await?;
        assert!(names.asked() > before, "nobody asked the name server");

        // Nor does it in the network the laptop is carried to.
        let from = log.position();
        network.down(scene).await?;
        client.expect_after(0, "Reconnecting", WAIT).await?;
        network.up(scene, 3).await?;
        agent_says(log, from, BACK).await?;
        undisturbed(&stage).await?;

        names.answers(true);
        let from = log.position();
        front.cut(Cut::Reset);
        agent_says(log, from, BACK).await?;
        undisturbed(&stage).await?;
        stage.leave(&mut client).await?;
        Ok(network.remove(scene).await?)
    });
}
