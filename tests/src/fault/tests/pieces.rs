//! Bytes that come late, in pieces or falsified.

use super::*;

#[tokio::test]
async fn every_byte_alone() {
    let Pair {
        relay,
        mut client,
        mut server,
    } = Pair::with(|relay| {
        relay.change(Direction::ToServer, |rules| rules.split = Split::EveryByte);
    })
    .await;
    client.write_all(&pattern(1000)).await.unwrap();
    assert_eq!(read_some(&mut server, 1000).await, pattern(1000));
    relay
        .wait_for_bytes(Direction::ToServer, 1000, WAIT)
        .await
        .unwrap();
    assert_eq!(
        relay
            .last_connection()
            .unwrap()
            .passed(Direction::ToServer)
            .writes,
        1000
    );
}

#[tokio::test]
async fn pieces_are_read_one_by_one_when_there_is_a_gap() {
    let Pair {
        relay: _relay,
        mut client,
        mut server,
    } = Pair::with(|relay| {
        relay.change(Direction::ToServer, |rules| {
            rules.split = Split::At(vec![4]);
            rules.gap = Duration::from_millis(300);
        });
    })
    .await;
    client.write_all(b"headbody").await.unwrap();
    let mut bytes = [0; 9];
    let count = within(server.read(&mut bytes)).await.unwrap();
    assert_eq!(bytes[..count], *b"head");
    let count = within(server.read(&mut bytes)).await.unwrap();
    assert_eq!(bytes[..count], *b"body");
}

#[tokio::test]
async fn random_pieces_lose_nothing() {
    let longest = NonZeroU32::new(1000).unwrap();
    let Pair {
        relay,
        mut client,
        mut server,
    } = Pair::with(|relay| {
        relay.change(Direction::ToServer, |rules| {
            rules.split = Split::Random { seed: 1, longest }
        });
    })
    .await;
    let bytes = pattern(500_000);
    let (sent, received) = tokio::join!(
        client.write_all(&bytes),
        read_some(&mut server, bytes.len())
    );
    sent.unwrap();
    assert_eq!(received, bytes);
    relay
        .wait_for_bytes(Direction::ToServer, 500_000, WAIT)
        .await
        .unwrap();
    assert!(
        relay
            .last_connection()
            .unwrap()
            .passed(Direction::ToServer)
            .writes
            >= 500
    );
}

#[tokio::test]
async fn one_byte_is_falsified_wherever_it_is_read() {
    let Pair {
        relay: _relay,
        mut client,
        mut server,
    } = Pair::with(|relay| {
        relay.change(Direction::ToServer, |rules| {
            rules.corrupt = vec![Corruption {
                offset: 5,
                xor: 0x20,
            }];
        });
    })
    .await;
    client.write_all(b"hell").await.unwrap();
    assert_eq!(read_some(&mut server, 4).await, b"hell");
    client.write_all(b"o world").await.unwrap();
    assert_eq!(read_some(&mut server, 7).await, b"o\0world");
}

#[tokio::test]
async fn latency_and_bandwidth_take_their_time_and_lose_nothing() {
    let delayed = rules(|rules| rules.latency = Duration::from_millis(80));
    let narrow = rules(|rules| rules.bandwidth = NonZeroU32::new(100_000));
    for (rules, least) in [(delayed, 80), (narrow, 150)] {
        let Pair {
            relay: _relay,
            mut client,
            mut server,
        } = Pair::with(|relay| {
            relay.change(Direction::ToServer, |own| *own = rules);
        })
        .await;
        let start = Instant::now();
        client.write_all(&pattern(20_000)).await.unwrap();
        assert_eq!(read_some(&mut server, 20_000).await, pattern(20_000));
        assert!(
            start.elapsed() >= Duration::from_millis(least),
            "{:?}",
            start.elapsed()
        );
    }
}
