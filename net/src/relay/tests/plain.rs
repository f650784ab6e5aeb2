use std::future::pending;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::*;
use crate::relay::{Place, Side, Stream, plain};

/// Two outer sockets and a relay between their inner ends.
async fn joined() -> (TcpStream, TcpStream, Running) {
    let ((left, left_inner), (right, right_inner)) = (tcp_pair().await, tcp_pair().await);
    let running = start(left_inner, right_inner);
    (left, right, running)
}

fn start(
    left: impl Into<Stream> + Send + 'static,
    right: impl Into<Stream> + Send + 'static,
) -> Running {
    Running::start(|meter| async move {
        plain(Side::new(left), Side::new(right), meter, pending()).await
    })
}

#[tokio::test]
async fn one_that_goes_on_after_the_others_end_can_be_given_a_limit() {
    let ((mut left, left_inner), (mut right, right_inner)) = (tcp_pair().await, tcp_pair().await);
    let running = Running::start(|meter| async move {
        let limit = meter.half_closed();
        plain(Side::new(left_inner), Side::new(right_inner), meter, limit).await
    });
    left.write_all(b"last").await.unwrap();
    let mut bytes = [0; 4];
    within(right.read_exact(&mut bytes)).await.unwrap();
    left.shutdown().await.unwrap();
    let (ended, up, _) = running.ended().await;
    assert!(matches!(ended, Ended::Cancelled), "{ended}");
    assert_eq!(up, 4);
    assert_eq!(within(right.read(&mut bytes)).await.unwrap(), 0);
}

#[tokio::test]
async fn large_transfers_both_ways_at_once_arrive_unchanged() {
    const TOTAL: usize = 64 * 1024 * 1024;
    let (left, right, running) = joined().await;
    let (left_read, left_write) = left.into_split();
    let (right_read, right_write) = right.into_split();
    let forth = tokio::spawn(write_sequence(left_write, 1, TOTAL));
    let back = tokio::spawn(write_sequence(right_write, 2, TOTAL + 1));
    let arrive = tokio::spawn(expect_sequence(right_read, 1, TOTAL));
    expect_sequence(left_read, 2, TOTAL + 1).await;
    within(async { tokio::try_join!(forth, back, arrive) })
        .await
        .unwrap();
    let (ended, up, down) = running.ended().await;
    assert!(matches!(ended, Ended::Closed), "{ended}");
    assert_eq!((up, down), (TOTAL as u64, TOTAL as u64 + 1));
}

#[tokio::test]
async fn unix_sockets_on_either_side() {
    const TOTAL: usize = 8 * 1024 * 1024;
    let (left, left_inner) = UnixStream::pair().unwrap();
    let (right, right_inner) = tcp_pair().await;
    let running = start(left_inner, right_inner);
    let (left_read, left_write) = left.into_split();
    let (right_read, right_write) = right.into_split();
    let forth = tokio::spawn(write_sequence(left_write, 3, TOTAL));
    let back = tokio::spawn(write_sequence(right_write, 4, TOTAL));
    let arrive = tokio::spawn(expect_sequence(right_read, 3, TOTAL));
    expect_sequence(left_read, 4, TOTAL).await;
    within(async { tokio::try_join!(forth, back, arrive) })
        .await
        .unwrap();
    assert!(matches!(running.ended().await.0, Ended::Closed));
}

#[tokio::test]
async fn either_side_may_end_first_and_still_be_answered() {
    for left_first in [true, false] {
        let (left, right, running) = joined().await;
        let (mut first, mut second) = if left_first {
            (left, right)
        } else {
            (right, left)
        };
        first.write_all(b"last words").await.unwrap();
        first.shutdown().await.unwrap();
        let mut heard = String::new();
        within(second.read_to_string(&mut heard)).await.unwrap();
        assert_eq!(heard, "last words");
        second.write_all(b"still here").await.unwrap();
        drop(second);
        let mut answer = String::new();
        within(first.read_to_string(&mut answer)).await.unwrap();
        assert_eq!(answer, "still here");
        assert!(matches!(running.ended().await.0, Ended::Closed));
    }
}

#[tokio::test]
async fn early_bytes_go_first() {
    let ((mut left, left_inner), (mut right, right_inner)) = (tcp_pair().await, tcp_pair().await);
    left.write_all(b" from the left").await.unwrap();
    right.write_all(b" from the right").await.unwrap();
    let running = Running::start(|meter| async move {
        let left = Side::new(left_inner).with_early(*b"early");
        let right = Side::new(right_inner).with_early(*b"soon");
        plain(left, right, meter, pending()).await
    });
    left.shutdown().await.unwrap();
    right.shutdown().await.unwrap();
    let (mut at_left, mut at_right) = (String::new(), String::new());
    within(left.read_to_string(&mut at_left)).await.unwrap();
    within(right.read_to_string(&mut at_right)).await.unwrap();
    assert_eq!(at_left, "soon from the right");
    assert_eq!(at_right, "early from the left");
    let (_, up, down) = running.ended().await;
    assert_eq!((up, down), (19, 19));
}

#[tokio::test]
async fn a_reader_that_does_not_read_stops_the_writer() {
    let (mut left, right, running) = joined().await;
    let taken = within(write_until_stuck(&mut left, 5)).await;
    assert!(taken < HELD, "{taken} bytes are held somewhere");
    left.shutdown().await.unwrap();
    within(expect_sequence(right, 5, taken)).await;
    drop(left);
    assert!(matches!(running.ended().await.0, Ended::Closed));
}

#[tokio::test]
async fn cancelling_closes_both_sides() {
    let ((mut left, left_inner), (mut right, right_inner)) = (tcp_pair().await, tcp_pair().await);
    let (cancel, cancelled) = oneshot::channel::<()>();
    let running = Running::start(|meter| async move {
        let cancelled = async { drop(cancelled.await) };
        plain(
            Side::new(left_inner),
            Side::new(right_inner),
            meter,
            cancelled,
        )
        .await
    });
    left.write_all(b"x").await.unwrap();
    assert_eq!(within(right.read_u8()).await.unwrap(), b'x');
    cancel.send(()).unwrap();
    assert!(matches!(running.ended().await.0, Ended::Cancelled));
    assert_eq!(within(left.read(&mut [0])).await.unwrap(), 0);
    assert_eq!(within(right.read(&mut [0])).await.unwrap(), 0);
}

#[tokio::test]
async fn a_reset_by_one_side_ends_both_and_names_it() {
    let (left, mut right, running) = joined().await;
    rustix::net::sockopt::set_socket_linger(&right, Some(std::time::Duration::ZERO)).unwrap();
    right.write_all(b"x").await.unwrap();
    let mut left = left;
    assert_eq!(within(left.read_u8()).await.unwrap(), b'x');
    drop(right);
    let (ended, ..) = running.ended().await;
    match ended {
        Ended::Failed { side, source } => {
            assert_eq!(side, Place::Right);
            assert_eq!(source.kind(), std::io::ErrorKind::ConnectionReset);
        }
        other => panic!("ended otherwise: {other}"),
    }
    assert_eq!(within(left.read(&mut [0])).await.unwrap(), 0);
}

#[tokio::test]
async fn an_idle_relay_is_small() {
    let ((_left, left_inner), (_right, right_inner)) = (tcp_pair().await, tcp_pair().await);
    let meter = Meter::default();
    let (_cancel, cancelled) = oneshot::channel::<()>();
    let cancelled = async { drop(cancelled.await) };
    let relay = plain(
        Side::new(left_inner),
        Side::new(right_inner),
        &meter,
        cancelled,
    );
    assert!(size_of_val(&relay) <= 1024, "{} bytes", size_of_val(&relay));
}

#[tokio::test]
async fn the_copy_serves_where_splicing_is_refused() {
    const TOTAL: usize = 8 * 1024 * 1024;
    let ((left, left_inner), (right, right_inner)) = (tcp_pair().await, tcp_pair().await);
    let running = Running::start(|meter| async move {
        let mut relay =
            crate::relay::plain::Relay::new(Side::new(left_inner), Side::new(right_inner));
        relay.always_copy();
        crate::relay::drive(|cx| relay.poll(cx, meter), pending()).await
    });
    let (left_read, left_write) = left.into_split();
    let (right_read, right_write) = right.into_split();
    let forth = tokio::spawn(write_sequence(left_write, 6, TOTAL));
    let back = tokio::spawn(write_sequence(right_write, 7, TOTAL));
    let arrive = tokio::spawn(expect_sequence(right_read, 6, TOTAL));
    expect_sequence(left_read, 7, TOTAL).await;
    within(async { tokio::try_join!(forth, back, arrive) })
        .await
        .unwrap();
    assert!(matches!(running.ended().await.0, Ended::Closed));
}
