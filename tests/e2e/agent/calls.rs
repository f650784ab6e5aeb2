//! The RPC port.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use qvd_rpc::{Call, Reply};
use qvd_tests::rig::{Agent, Desktop};
use qvd_tests::{Result, play};

/// Sends bytes in pieces and reads what comes until the agent closes.
fn converse(agent: &Agent, pieces: &[&[u8]]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(agent.rpc())?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    for piece in pieces {
        // An agent that has refused already may have closed.
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        Err(e) if e.kind() != std::io::ErrorKind::ConnectionReset => Err(e),
        _ => Ok(answer),
    }
}

async fn agent(scene: &qvd_tests::Scene) -> Result<Agent> {
    Agent::start(scene, "vm", &Desktop::Small, &[]).await
}

#[test]
fn heads_in_pieces_and_in_a_row_are_answered_in_order() {
    play("agent_heads", async |scene| {
        let agent = agent(scene).await?;
        let alive = "HTTP/1.1 200 OK\r\nContent-Type: application/json-simplerpc\r\n\
                     Content-Length: 4\r\n\r\n1\n\r\n";
        let request = b"GET /vma/ping HTTP/1.1\r\n\r\n";
        for at in 0..=request.len() {
            let (a, b) = request.split_at(at);
            assert_eq!(converse(&agent, &[a, b])?, alive, "split at {at}");
        }
        let row = b"GET /vma/x_state HTTP/1.1\r\n\r\nGET /vma/ping HTTP/1.1\r\n\r\n";
        let answers = converse(&agent, &[row])?;
        assert!(
            answers.ends_with(alive) && answers.contains("\"stopped\"\n\r\n"),
            "{answers}"
        );
        Ok(())
    });
}

#[test]
fn what_is_no_call_is_refused_and_the_agent_lives() {
    play("agent_no_calls", async |scene| {
        let agent = agent(scene).await?;
        let mut endless = b"GET /vma/ping HTTP/1.1\r\nA: ".to_vec();
        endless.resize(1024 * 1024, b'x');
        let many = format!("GET /vma/ping HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(200));
        for (bytes, status) in [
            (&b"GET /vma/ping HTTP/1.0\r\n\r\n"[..], "HTTP/1.1 505 "),
            (b"nonsense\r\n\r\n", "HTTP/1.1 400 "),
            (
                b"GET /vma/ping HTTP/1.1\r\nbad header\r\n\r\n",
                "HTTP/1.1 400 ",
            ),
            (
                b"GET /vma/exec?command=id HTTP/1.1\r\n\r\n",
                "HTTP/1.1 404 ",
            ),
            (b"POST /vma/ping HTTP/1.1\r\n\r\n", "HTTP/1.1 404 "),
            (b"GET /vma/x_start?a=%zz HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "),
            (
                b"GET /vma/ping HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
                "HTTP/1.1 413 ",
            ),
            (
                b"GET /vma/ping HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
                "HTTP/1.1 501 ",
            ),
            (many.as_bytes(), "HTTP/1.1 431 "),
        ] {
            let answer = converse(&agent, &[bytes])?;
            assert!(answer.starts_with(status), "{status}: {answer}");
            assert_eq!(
                answer.matches("HTTP/1.1 ").count(),
                1,
                "answered once: {answer}"
            );
        }
        let answer = converse(&agent, &[&endless])?;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        assert_eq!(agent.call(Call::Ping).await?, Reply::Alive);
        Ok(())
    });
}

#[test]
fn connections_that_idle_or_just_come_and_go_do_not_keep_others_from_being_answered() {
    play("agent_many_connections", async |scene| {
        let agent = agent(scene).await?;
        let mut idle = Vec::new();
        for _ in 0..1000 {
            let mut stream = TcpStream::connect(agent.rpc())?;
            stream.write_all(b"GET /vma/pi")?;
            idle.push(stream);
        }
        assert_eq!(agent.call(Call::Ping).await?, Reply::Alive);
        drop(idle);
        for number in 0..1000 {
            drop(TcpStream::connect(agent.rpc())?);
            if number % 10 == 0 {
                assert_eq!(agent.call(Call::Ping).await?, Reply::Alive);
            }
        }
        Ok(())
    });
}

#[test]
fn a_head_that_is_dripped_is_given_up() {
    play("agent_drip", async |scene| {
        let agent = agent(scene).await?;
        let mut stream = TcpStream::connect(agent.rpc())?;
        stream.set_nonblocking(true)?;
        // A byte now and then, for as long as the agent takes them.
        let dripped = async {
            for byte in b"GET /vma/ping HTTP/1.1\r\n".iter().cycle() {
                let mut chunk = [0; 64];
                let closed = match stream.read(&mut chunk) {
                    Ok(count) => count == 0,
                    Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
                };
                if closed || stream.write_all(&[*byte]).is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), dripped).await?;
        assert_eq!(agent.call(Call::Ping).await?, Reply::Alive);
        Ok(())
    });
}
