//! Heads as networks and strangers deliver them, and what comes behind them.

use std::time::Duration;

use qvd_rpc::SessionState;
use qvd_tests::rig::{Desktop, Inventory, Server};
use qvd_tests::{Outcome, Scene, play};
use tokio::time::interval;

use super::raw::{Raw, UPGRADE, head};
use super::{Stage, ann};

/// nxproxy's first word, as it was seen on the wire.
const WORD: &[u8] = b"NXPROXY-3.5.0-3.5.99 stream=default,data=default ";

async fn broker(scene: &Scene, tls: bool) -> qvd_tests::Result<Server> {
    let inventory = Inventory {
        users: vec![ann()],
        vms: vec![],
    };
    Server::start(scene, &inventory, tls, &[]).await
}

/// One head, sent in two pieces cut at every byte: over TLS in two records.
async fn every_split(server: &Server) -> Outcome {
    let request = head(&ann(), "/qvd/list_of_vm?", &["Accept: application/json"])?;
    let mut raw = Raw::open(server).await?;
    for cut in 1..request.len() {
        let (begin, rest) = request.split_at(cut);
        raw.send(begin).await?;
        raw.send(rest).await?;
        let response = raw.answer().await?;
        assert_eq!(response.head.status.code(), 200, "cut at {cut}");
        assert_eq!(response.body, b"[]");
    }
    // And each byte alone.
    for byte in &request {
        raw.send(&[*byte]).await?;
    }
    assert_eq!(raw.answer().await?.head.status.code(), 200);
    Ok(())
}

#[test]
fn a_head_in_pieces() {
    play("chain_head_in_pieces", async |scene| {
        every_split(&broker(scene, false).await?).await
    });
}

#[test]
fn a_head_in_pieces_over_tls() {
    play("chain_head_in_pieces_tls", async |scene| {
        every_split(&broker(scene, true).await?).await
    });
}

#[test]
fn a_head_that_drips_without_end() {
    play("chain_head_drips", async |scene| {
        let server = broker(scene, true).await?;
        let mut raw = Raw::open(&server).await?;
        raw.send(b"GET /qvd/ping HTTP/1.1\r\nX: ").await?;
        let mut drops = interval(Duration::from_millis(250));
        let answered = loop {
            drops.tick().await;
            // The broker may have closed after its answer.
            if raw.send(b"x").await.is_err() {
                break raw.answer().await?;
            }
            if let Ok(answer) = tokio::time::timeout(Duration::from_millis(1), raw.answer()).await {
                break answer?;
            }
        };
        assert_eq!(answered.head.status.code(), 408);
        raw.ended().await
    });
}

#[test]
fn heads_that_are_none() {
    play("chain_heads_refused", async |scene| {
        let server = broker(scene, true).await?;
        let long = format!("GET /qvd/ping HTTP/1.1\r\nX: {}", "x".repeat(64 * 1024));
        let many = format!("GET /qvd/ping HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(200));
        for (bytes, expected) in [
            (long.as_bytes(), 431),
            (many.as_bytes(), 431),
            (b"\x16\x03\x01 nonsense\r\n\r\n".as_slice(), 400),
            (b"GET /qvd/ping HTTP/1.0\r\n\r\n", 505),
            (b"GET /qvd/ping HTTP/1.1\r\nno colon\r\n\r\n", 400),
            (b"GET /qvd/ping HTTP/1.1\r\nContent-Length: 9\r\n\r\n", 413),
            (
                b"GET /qvd/ping HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
                501,
            ),
            (
                b"GET /qvd/list_of_vm HTTP/1.1\r\nAuthorization: Basic !\r\n\r\n",
                401,
            ),
        ] {
            let mut raw = Raw::open(&server).await?;
            raw.send(bytes).await?;
            let status = raw.answer().await?.head.status.code();
            assert_eq!(status, expected, "{}", bytes.escape_ascii());
            if expected != 401 {
                raw.ended().await?;
            }
        }
        // None of that did it any harm.
        let mut raw = Raw::open(&server).await?;
        raw.send(b"GET /qvd/ping HTTP/1.1\r\n\r\n").await?;
        assert_eq!(raw.answer().await?.body, b"I am alive!\r\n");
        Ok(())
    });
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    play("chain_requests_ahead", async |scene| {
        let server = broker(scene, true).await?;
        let mut raw = Raw::open(&server).await?;
        let mut both = head(&ann(), "/qvd/list_of_vm?", &[])?;
        both.extend(b"GET /qvd/ping HTTP/1.1\r\n\r\n");
        raw.send(&both).await?;
        assert_eq!(raw.answer().await?.body, b"[]");
        assert_eq!(raw.answer().await?.body, b"I am alive!\r\n");
        Ok(())
    });
}

/// nxproxy's first word in the same segment as the request reaches nxagent,
/// and nxagent's answer comes after the 101.
async fn early_word(scene: &Scene, tls: bool) -> Outcome {
    let stage = Stage::with(scene, tls, &Desktop::Small).await?;
    let mut raw = Raw::open(&stage.server).await?;
    let target = "/qvd/connect_to_vm?id=1&qvd.client.link=lan";
    let mut bytes = head(&stage.user, target, &UPGRADE)?;
    bytes.extend(WORD);
    raw.send(&bytes).await?;
    raw.joined().await?;
    let is_word = |bytes: &[u8]| bytes.windows(5).any(|five| five == b"link=");
    let word = raw.through(is_word).await?;
    assert!(word.starts_with(b"NXPROXY-"), "{}", word.escape_ascii());
    drop(raw);
    // What nxagent does about a client that said no more is its own affair:
    // the session ends or waits, and does not stay with nobody.
    stage.agent.call(qvd_rpc::Call::XStop).await?;
    Ok(stage.becomes(SessionState::Stopped).await?)
}

#[test]
fn a_word_sent_ahead_reaches_nxagent() {
    play("chain_word_ahead", async |scene| {
        early_word(scene, false).await
    });
}

#[test]
fn a_word_sent_ahead_over_tls_reaches_nxagent() {
    play("chain_word_ahead_tls", async |scene| {
        early_word(scene, true).await
    });
}
