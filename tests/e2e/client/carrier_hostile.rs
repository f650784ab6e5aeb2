//! Clients of the carrier that are none: what reaches the NX port says wrong
//! things, and the session is as it was.

use std::time::Duration;

use qvd_rpc::SessionState;
use qvd_tests::fault::{Cut, Direction};
use qvd_tests::rig::{Agent, Desktop, ReferenceBroker, ReferenceClient, Server, Vm, tunnel_with};
use qvd_tests::{Error, Outcome, Result, play, play_for};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::carrier::{AWAY, BACK, agent_says, moves, undisturbed};
use super::stage::{CONNECTED, LOST, Stage, WAIT, display, drawn, inventory, said};
use crate::agent::soak::{descriptors, memory};
use crate::agent::{process_with, session};

/// What every hello begins with (PROTOCOL.md of the carrier, §2).
const MAGIC: [u8; 8] = [0x89, b'Q', b'V', b'D', 0x0d, 0x0a, 0x1a, 0x0a];

const GREETING: usize = 12;
const VERDICT: usize = 26;

type Token = [u8; 16];

fn hello(version: u8, mode: u8, token: Token, received: u64) -> Vec<u8> {
    let head = [version, version, b'C', mode];
    let position = received.to_be_bytes();
    [&MAGIC[..], &head, &token, &position].concat()
}

fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let (stream, length) = (stream.to_be_bytes(), length.to_be_bytes());
    [&[kind][..], &stream, &length, payload].concat()
}

fn open(stream: u32, kind: u8, credit: u32) -> Vec<u8> {
    frame(1, stream, &[&[kind][..], &credit.to_be_bytes()].concat())
}

fn ack(position: u64) -> Vec<u8> {
    let kept = [0; 4];
    frame(0x13, 0, &[&position.to_be_bytes()[..], &kept].concat())
}

fn text(token: Token) -> String {
    token.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A hostile client on the NX port, or with a tunnel to it; and what was read
/// before it was its turn.
struct Hostile(TcpStream, Vec<u8>);

impl Hostile {
    /// One for whom the port is opened by a broker with these parameters.
    async fn with(stage: &Stage, parameters: &[(&str, &str)]) -> Result<Self> {
        let carrier = ("qvd.client.carrier", "1");
        let all: Vec<_> = parameters.iter().copied().chain([carrier]).collect();
        stage.agent.start_session(&all).await?;
        let port = stage.agent.x_port();
        // It may be opened a moment after the answer.
        let connect = async {
            loop {
                match TcpStream::connect(("127.0.0.1", port)).await {
                    Ok(stream) => return stream,
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        let stream = timeout(WAIT, connect).await;
        let stream = stream.map_err(|_| invalid("the port stays closed"))?;
        Ok(Self(stream, Vec::new()))
    }

    /// One who comes by way of the broker at this port.
    async fn through(port: u16) -> Result<Self> {
        let (stream, early) = tunnel_with(port, "qvd.client.carrier=1").await?;
        Ok(Self(stream, early))
    }

    /// One on the way of the client that has this token.
    async fn between(stage: &Stage, token: Token) -> Result<Self> {
        Self::with(stage, &[("qvd.client.carrier.resume", &text(token))]).await
    }

    async fn read<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        let early = self.1.len().min(N);
        let (before, after) = bytes.split_at_mut(early);
        before.copy_from_slice(self.1.get(..early).unwrap_or_default());
        self.1.drain(..early);
        let read = timeout(WAIT, self.0.read_exact(after)).await;
        let read = read.map_err(|_| invalid("nothing is said"))?;
        read.map_err(|error| invalid(&error.to_string()))?;
        Ok(bytes)
    }

    async fn says(&mut self, bytes: &[u8]) -> Outcome {
        self.0.write_all(bytes).await?;
        Ok(())
    }

    /// Says a hello: the status of the verdict, and its token.
    async fn enters(&mut self, hello: &[u8]) -> Result<(u8, Token)> {
        let greeting: [u8; GREETING] = self.read().await?;
        assert!(greeting.starts_with(&MAGIC), "{greeting:?}");
        let written = self.0.write_all(hello).await;
        written.map_err(|error| invalid(&error.to_string()))?;
        let verdict: [u8; VERDICT] = self.read().await?;
        let [b'V', status, token @ ..] = verdict else {
            return Err(invalid(&format!("no verdict: {verdict:?}")));
        };
        let token = token.first_chunk().copied().unwrap_or_default();
        Ok((status, token))
    }

    /// Opens so many streams, and is gone: how many were refused.
    async fn opens(self, count: u32, kind: u8) -> Result<usize> {
        let opens = (0..count).flat_map(|number| open(number * 2 + 1, kind, 1000));
        let opens: Vec<u8> = ack(0).into_iter().chain(opens).collect();
        let (mut reader, mut writer) = self.0.into_split();
        let answered = async {
            let (mut refused, mut accepted) = (0, 0);
            let mut said = Vec::new();
            while refused + accepted < usize::try_from(count).unwrap_or_default() {
                reader.read_buf(&mut said).await?;
                while let Some((kind, length)) = whole(&said) {
                    said.drain(..length);
                    accepted += usize::from(kind == 2);
                    refused += usize::from(kind == 3);
                }
            }
            Ok::<_, std::io::Error>(refused)
        };
        let both = async { tokio::join!(writer.write_all(&opens), answered).1 };
        let refused = timeout(WAIT, both).await;
        let refused = refused.map_err(|_| invalid("streams are not answered"))?;
        refused.map_err(|error| invalid(&error.to_string()))
    }

    /// What is said until the connection is closed.
    async fn rest(mut self) -> Result<Vec<u8>> {
        let mut rest = std::mem::take(&mut self.1);
        let read = timeout(WAIT, self.0.read_to_end(&mut rest)).await;
        // A reset is an end as well.
        let _ = read.map_err(|_| invalid("the connection stays open"))?;
        Ok(rest)
    }
}

fn invalid(text: &str) -> Error {
    Error::Invalid(text.to_owned())
}

/// The token of the client that has come last: as an agent has told it.
fn token(stage: &Stage) -> Result<Token> {
    let connection = stage.nx.last_connection();
    let passed = connection.map(|one| one.passed(Direction::ToClient));
    let beginning = passed.map(|passed| passed.beginning).unwrap_or_default();
    let token = beginning.get(GREETING + 2..).and_then(<[u8]>::first_chunk);
    token.copied().ok_or_else(|| invalid("no verdict passed"))
}

/// The first frame of `said`, if it is all there: its type, and its bytes.
fn whole(said: &[u8]) -> Option<(u8, usize)> {
    let ([kind, _, _, _, _, high, low], _) = said.split_first_chunk::<7>()?;
    let length = 7 + usize::from(u16::from_be_bytes([*high, *low]));
    (said.len() >= length).then_some((*kind, length))
}

/// The `END` at the end of what an agent has said: its code and its words.
fn end(mut said: &[u8]) -> Option<(u8, String)> {
    let mut last = None;
    while let Some(([kind, _, _, _, _, high, low], rest)) = said.split_first_chunk::<7>() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (payload, rest) = rest.split_at_checked(length)?;
        if *kind == 8 {
            let (code, words) = payload.split_first()?;
            last = Some((*code, String::from_utf8_lossy(words).into_owned()));
        }
        said = rest;
    }
    last
}

/// Descriptors and KiB of the session's process and of the daemon.
fn sizes(daemon: u32, session: u32) -> Result<[(usize, u64); 2]> {
    Ok([
        (descriptors(daemon)?, memory(daemon)?),
        (descriptors(session)?, memory(session)?),
    ])
}

/// Neither has more open than before, nor has grown by more than what a
/// connection's buffers may leave.
fn are_no_larger(before: &[(usize, u64); 2], after: &[(usize, u64); 2]) {
    const ROOM: u64 = 4096;
    for (before, after) in before.iter().zip(after) {
        assert!(after.0 <= before.0 + 1, "{before:?} {after:?}");
        assert!(after.1 <= before.1 + ROOM, "{before:?} {after:?}");
    }
}

#[test]
fn who_is_not_the_client_is_refused_and_the_client_goes_on() {
    play_for(
        "carrier_hostile_hellos",
        4 * WAIT,
        async |scene| -> Outcome {
            let mut stage = Stage::set(scene, true).await?;
            let mut client = stage.connect(scene, &stage.login()).await?;
            let first = token(&stage)?;
            let daemon = stage.agent.daemon()?.pid();
            let process = process_with(&session(&stage.agent)?, "qvd-vma-session")?;
            let before = sizes(daemon, process)?;
            let other = first.map(|byte| !byte);

            // As long as the client is there, nobody takes its place.
            let mut silent = Hostile::between(&stage, first).await?;
            let _greeting: [u8; GREETING] = silent.read().await?;
            let mut hostile = Hostile::between(&stage, first).await?;
            let (status, _) = hostile.enters(&hello(1, 1, other, 0)).await?;
            assert_eq!((status, hostile.rest().await?), (2, Vec::new()));
            undisturbed(&stage).await?;
            let text = stage.agent.daemon_log()?.text();
            assert!(!text.contains(AWAY), "{text}");
            drop(silent);

            stage.front.refuse(true);
            stage.front.cut(Cut::Reset);
            said(&client, LOST, 1).await?;

            // A position is where a frame of the agent's has ended, after what the
            // client has acknowledged.
            let cases = [
                (hello(1, 1, other, 0), 2, "unknown token"),
                (hello(1, 1, [0; 16], 0), 2, "unknown token"),
                (hello(1, 1, first, 0), 3, "position"),
                (hello(1, 1, first, 3), 3, "position"),
                (hello(1, 1, first, u64::MAX), 3, "position"),
                (hello(9, 1, first, 0), 4, "version"),
                (hello(1, 0, [0; 16], 0), 5, "a session is there already"),
            ];
            for (hello, status, words) in cases {
                let from = stage.agent.daemon_log()?.position();
                let mut hostile = Hostile::between(&stage, first).await?;
                let (said, token) = hostile.enters(&hello).await?;
                assert_eq!((said, token), (status, [0; 16]), "{words}");
                agent_says(stage.agent.daemon_log()?, from, words).await?;
                assert_eq!(hostile.rest().await?, b"", "{words}");
            }
            // What is no hello is not answered at all.
            let mut wrong = hello(1, 1, first, 0);
            wrong.splice(9..12, *b"zzz");
            let mut hostile = Hostile::between(&stage, first).await?;
            let _greeting: [u8; GREETING] = hostile.read().await?;
            hostile.says(&wrong).await?;
            assert_eq!(hostile.rest().await?, b"");
            // What does not even begin as one does not take the port.
            let mut hostile = Hostile::between(&stage, first).await?;
            hostile.says(b"GET / HTTP/1.1\r\n\r\n").await?;
            let heard = hostile.rest().await?;
            assert_eq!(heard.len(), GREETING);

            // One that is never finished does not keep the client out.
            let mut slow = Hostile::between(&stage, first).await?;
            let _greeting: [u8; GREETING] = slow.read().await?;
            slow.says(hello(1, 1, first, 0).get(..20).unwrap_or_default())
                .await?;
            stage.front.refuse(false);
            agent_says(stage.agent.daemon_log()?, 0, BACK).await?;
            said_again(&client).await?;
            undisturbed(&stage).await?;
            assert_eq!(slow.rest().await?, b"");

            // A token is good for one connection.
            let second = token(&stage)?;
            assert_ne!(first, second);
            stage.front.refuse(true);
            stage.front.cut(Cut::Reset);
            said(&client, LOST, 2).await?;
            let mut hostile = Hostile::between(&stage, second).await?;
            let (status, _) = hostile.enters(&hello(1, 1, first, 0)).await?;
            assert_eq!(status, 2);
            drop(hostile);
            stage.front.refuse(false);
            said(&client, CONNECTED, 3).await?;
            undisturbed(&stage).await?;
            are_no_larger(&before, &sizes(daemon, process)?);
            Ok(stage.leave(&mut client).await?)
        },
    );
}

/// The client has said that it is connected, once more.
async fn said_again(client: &qvd_tests::process::Process) -> Result<()> {
    said(client, CONNECTED, 2).await
}

/// What a client sends that has come in, for which it is ended.
struct Case {
    what: &'static str,
    sends: Vec<u8>,
}

fn cases() -> Vec<Case> {
    let case = |what, sends: Vec<Vec<u8>>| Case {
        what,
        sends: sends.concat(),
    };
    let much = u32::to_be_bytes(16 << 20);
    vec![
        case("an unknown frame", vec![frame(0x7f, 1, b"")]),
        case("a frame that is too long", vec![frame(4, 1, &[0; 20000])]),
        case("data of no stream", vec![frame(4, 1, b"x")]),
        case("a stream of the agent's", vec![open(2, 4, 1)]),
        case("a stream that is left out", vec![open(5, 4, 1)]),
        case("a huge window", vec![open(1, 1, u32::MAX)]),
        case(
            "credit upon credit",
            vec![open(1, 1, 16 << 20), frame(5, 1, &much)],
        ),
        case(
            "data before it is accepted",
            vec![open(1, 1, 1), frame(4, 1, b"x")],
        ),
        case("what was never sent is acknowledged", vec![ack(1 << 40)]),
        case("text that is none", vec![frame(8, 0, &[0, 0xff, 0xff])]),
    ]
}

#[test]
fn a_client_that_breaks_the_rules_is_ended_and_the_next_one_has_the_session() {
    play_for(
        "carrier_hostile_frames",
        6 * WAIT,
        async |scene| -> Outcome {
            let mut stage = Stage::set(scene, true).await?;
            let mut client = stage.connect(scene, &stage.login()).await?;
            client.signal(rustix::process::Signal::INT)?;
            assert_eq!(client.wait(WAIT).await?.code(), Some(0));
            stage.becomes(SessionState::Suspended).await?;
            let daemon = stage.agent.daemon()?.pid();
            let process = process_with(&session(&stage.agent)?, "qvd-vma-session")?;
            let before = sizes(daemon, process)?;

            for case in cases() {
                let from = stage.agent.daemon_log()?.position();
                let mut hostile = Hostile::with(&stage, &[]).await?;
                let (status, _) = hostile.enters(&hello(1, 0, [0; 16], 0)).await?;
                assert_eq!(status, 0, "{}", case.what);
                hostile.says(&[ack(0), case.sends].concat()).await?;
                let said = hostile.rest().await?;
                let (code, words) = end(&said).ok_or_else(|| invalid(case.what))?;
                assert!(code == 1 && !words.is_empty(), "{}: {words}", case.what);
                // And so it stands in the agent's log.
                agent_says(stage.agent.daemon_log()?, from, &words).await?;
                stage.becomes(SessionState::Suspended).await?;
            }
            // Streams without end: what is more than there may be is refused.
            for kind in [4, 6, 250] {
                let mut hostile = Hostile::with(&stage, &[]).await?;
                let (status, _) = hostile.enters(&hello(1, 0, [0; 16], 0)).await?;
                assert_eq!(status, 0);
                let refused = hostile.opens(10_000, kind).await?;
                assert!(refused >= 10_000 - 128, "{refused} of kind {kind}");
                // Its connection is lost, so that it might come back.
                stage.agent.call(qvd_rpc::Call::XSuspend).await?;
                stage.becomes(SessionState::Suspended).await?;
            }
            let mut client = stage.connect(scene, &stage.login()).await?;
            moves(&stage).await?;
            client.signal(rustix::process::Signal::INT)?;
            assert_eq!(client.wait(WAIT).await?.code(), Some(0));
            stage.becomes(SessionState::Suspended).await?;
            are_no_larger(&before, &sizes(daemon, process)?);
            Ok(stage.strike().await?)
        },
    );
}

#[test]
fn a_client_that_is_cut_off_in_its_first_hello_keeps_nobody_waiting() {
    play("carrier_hostile_half", async |scene| {
        // The session would be kept for a client for longer than this test.
        let keys = [("internal.nxagent.timeout.listening", "600")];
        let stage = Stage::set_with(scene, true, &Desktop::Small, &keys).await?;
        let log = stage.agent.daemon_log()?;
        for part in [9, 35] {
            let from = log.position();
            let mut cut = Hostile::with(&stage, &[]).await?;
            let _greeting: [u8; GREETING] = cut.read().await?;
            let hello = hello(1, 0, [0; 16], 0);
            cut.says(hello.get(..part).unwrap_or_default()).await?;
            agent_says(log, from, "client on the NX port").await?;
            drop(cut);
            agent_says(log, from, "the client left before its session began").await?;
            stage.becomes(SessionState::Stopped).await?;
        }
        // And nobody who comes at once.
        let mut cut = Hostile::with(&stage, &[]).await?;
        let _greeting: [u8; GREETING] = cut.read().await?;
        cut.says(&MAGIC).await?;
        drop(cut);
        let mut client = stage.connect(scene, &stage.login()).await?;
        moves(&stage).await?;
        Ok(stage.leave(&mut client).await?)
    });
}

/// Has each case come by way of a broker, ours or a reference, and looks whether
/// a user has the session after all of them.
fn by_way_of(name: &str, ours: bool) {
    play_for(name, 4 * WAIT, async |scene| -> Outcome {
        // A session that is never drawn is given up before the next may come.
        let keys = [("internal.nxagent.timeout.listening", "2")];
        let agent = Agent::start(scene, "vm", &Desktop::Small, &keys).await?;
        let user = ReferenceClient::user();
        let vm = Vm::of(&agent, 1, "alices-desktop", &["alice"]);
        let inventory = inventory(&user, vec![vm]);
        let server = Server::start(scene, &inventory, false, &[]).await?;
        let reference = ReferenceBroker::start(agent.rpc(), agent.x_port())?;
        let port = match ours {
            true => server.address().port(),
            false => reference.port(),
        };
        for case in cases() {
            let from = agent.daemon_log()?.position();
            let mut hostile = Hostile::through(port).await?;
            let (status, _) = hostile.enters(&hello(1, 0, [0; 16], 0)).await?;
            assert_eq!(status, 0, "{}", case.what);
            hostile.says(&[ack(0), case.sends].concat()).await?;
            let said = hostile.rest().await?;
            // What it had yet to say may have the connection reset, and the END
            // be lost with it.
            if let Some((code, words)) = end(&said) {
                assert!(code == 1 && !words.is_empty(), "{}: {words}", case.what);
            }
            agent_says(agent.daemon_log()?, from, "protocol violated: ").await?;
        }
        let display = display(scene).await?;
        let client = ReferenceClient::connect(scene, &display, port).await?;
        drawn(&display).await?;
        client.leave().await?;
        agent.wait_for_state(SessionState::Suspended, WAIT).await?;
        agent.call(qvd_rpc::Call::XStop).await?;
        Ok(agent.wait_for_state(SessionState::Stopped, WAIT).await?)
    });
}

#[test]
fn who_breaks_the_rules_by_way_of_our_broker_is_ended() {
    by_way_of("carrier_hostile_broker", true);
}

#[test]
fn who_breaks_the_rules_by_way_of_a_reference_broker_is_ended() {
    by_way_of("carrier_hostile_reference", false);
}
