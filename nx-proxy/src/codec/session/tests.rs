use super::super::bits::BitWriter;
use super::super::cache::Int;
use super::*;

/// A session of which the handshake and the X channel are there.
fn session(delta: u8) -> Codec {
    let mut codec = Codec::new(None);
    let words = format!("NXPROXY-3.5.0-3.5.99 delta={delta},stream=0 cachelist=none ");
    codec.receive(words.as_bytes()).unwrap();
    codec.receive(&[0, 0, 1, 0, 5, 1]).unwrap();
    assert!(matches!(codec.poll(), Ok(Some(Output::Greeting(_)))));
    assert_eq!(codec.poll(), Ok(Some(Output::OpenX(1))));
    assert_eq!(codec.poll(), Ok(None));
    codec
}

/// A frame of an X channel's setup message and what `requests` writes.
fn frame(requests: impl FnOnce(&mut BitWriter)) -> Vec<u8> {
    let mut bits = BitWriter::default();
    bits.value(12, 8, 0);
    for byte in *b"l\0\x0b\0\0\0\0\0\0\0\0\0" {
        bits.value(u32::from(byte), 8, 0);
    }
    requests(&mut bits);
    framed(bits)
}

/// The frame of what `bits` holds.
fn framed(mut bits: BitWriter) -> Vec<u8> {
    let mut writer = Writer::new(0);
    writer.data(&bits.finish());
    let mut bytes = Vec::new();
    writer.flush(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_frame_that_becomes_large_comes_in_pieces() {
    const HITS: usize = 5000;
    const NAME: usize = 60_000;
    // One InternAtom that is stored, then two bits for each time it is
    // sent again.
    let bytes = frame(|bits| {
        let mut actions = Int::<8>::default();
        bits.miss();
        bits.value(16, 8, 0);
        actions.write(bits, 1 << 13, 15, 0);
        bits.value(u32::try_from(NAME).unwrap(), 16, 6);
        bits.bit(false);
        bits.memory(&[b'a'; NAME]);
        bits.miss();
        bits.value(16, 8, 0);
        actions.write(bits, 3 << 13, 15, 0);
        for _ in 1..HITS {
            bits.index(0);
            actions.write(bits, 0, 15, 0);
        }
    });
    let mut codec = session(1);
    codec.receive(&bytes).unwrap();
    let mut total = 0;
    let mut pieces = 0;
    while let Some(output) = codec.poll().unwrap() {
        let Output::X(1, piece) = output else {
            panic!("{output:?}");
        };
        assert!(piece.len() <= limits::PIECE + limits::REQUEST);
        total += piece.len();
        pieces += 1;
    }
    assert_eq!(total, 12 + (HITS + 1) * (8 + NAME));
    assert!(pieces > 200);
    assert!(codec.whole());
    assert_eq!(codec.sequence(1), Some(5001));
}

#[test]
fn a_large_request_is_passed_on_in_pieces_wherever_they_are_read_to() {
    let picture: Vec<u8> = (0..65534 * 4_u32).map(|k| k.to_le_bytes()[0]).collect();
    let bytes = frame(|bits| {
        for _ in 0..2 {
            bits.miss();
            bits.value(72, 8, 0);
            bits.memory(&[0, 1, 0xff, 0xff]);
            bits.memory(&picture);
        }
    });
    for step in [1000, usize::MAX] {
        let mut codec = session(0);
        let (mut got, mut rest) = (Vec::new(), bytes.as_slice());
        while !rest.is_empty() {
            let room = codec.room().unwrap();
            let count = room.len().min(rest.len()).min(step);
            room[..count].copy_from_slice(&rest[..count]);
            codec.filled(count);
            rest = &rest[count..];
            while let Some(output) = codec.poll().unwrap() {
                let Output::X(1, piece) = output else {
                    panic!("{output:?}");
                };
                assert!(piece.len() <= limits::PIECE + 4);
                got.extend_from_slice(&piece);
                codec.recycle(piece);
            }
        }
        assert!(codec.whole());
        let request = [&[72, 1, 0xff, 0xff][..], &picture].concat();
        assert!(got[12..] == request.repeat(2), "steps of {step}");
    }
}

#[test]
fn a_picture_is_passed_on_before_it_is_there_and_not_beyond_its_channels_end() {
    let bytes = frame(|bits| {
        for _ in 0..2 {
            bits.miss();
            bits.value(72, 8, 0);
            bits.memory(&[0, 1, 0xff, 0xff]);
            bits.memory(&[7; 65534 * 4]);
        }
    });
    // A setup message and half a picture; with it goes the frame's rest.
    let mut codec = session(0);
    let half = 60_000;
    codec.receive(&bytes[..half]).unwrap();
    assert_eq!(codec.poll(), Ok(None), "the setup message comes first");
    codec.receive(&bytes[half..]).unwrap();
    while codec.poll().unwrap().is_some() {}
    assert!(codec.whole());

    let picture = bytes_of_a_picture();
    codec.receive(&picture[..half]).unwrap();
    let Ok(Some(Output::X(1, piece))) = codec.poll() else {
        panic!("nothing is passed on");
    };
    assert!(piece.len() > half - 20, "{} of {half} bytes", piece.len());
    assert_eq!(codec.poll(), Ok(None));
    assert_eq!(codec.sequence(1), Some(3));
    assert!(!codec.whole());
    codec.drop_channel(1);
    codec.receive(&picture[half..]).unwrap();
    codec.receive(&[0, 31, 0]).unwrap();
    assert!(matches!(codec.poll(), Ok(Some(Output::Control(_)))));
    assert!(codec.whole());
}

/// A frame of one large PutImage, as what follows others of its kind.
fn bytes_of_a_picture() -> Vec<u8> {
    let mut bits = BitWriter::default();
    bits.index(0);
    bits.memory(&[0, 1, 0xff, 0xff]);
    bits.memory(&[9; 65534 * 4]);
    framed(bits)
}

#[test]
fn a_piece_of_a_channel_that_is_gone_is_nobodys() {
    let mut codec = session(0);
    let bytes = frame(|bits| {
        for _ in 0..20 {
            bits.miss();
            bits.value(127, 8, 0);
            bits.memory(&[127, 0, 0xff, 0xff]);
            bits.memory(&[0; 65534 * 4]);
        }
    });
    codec.receive(&bytes).unwrap();
    codec.receive(&[0, 31, 0]).unwrap();
    assert!(matches!(codec.poll(), Ok(Some(Output::X(1, _)))));
    assert!(!codec.whole());
    codec.drop_channel(1);
    assert!(matches!(codec.poll(), Ok(Some(Output::Control(_)))));
    assert!(codec.whole());
}

#[test]
fn answers_that_nobody_takes_have_a_limit() {
    let mut codec = session(0);
    codec
        .receive(&[0, 20, 1].repeat(limits::ANSWERS / 3 + 2))
        .unwrap();
    let error = codec.poll().unwrap_err().to_string();
    assert!(error.contains("answers to the agent"), "{error}");
}

#[test]
fn x_channels_have_a_limit() {
    let mut codec = session(0);
    let ids = (2..=u8::MAX).filter(|id| id & 7 != 0);
    for id in ids.clone().take(limits::X_CHANNELS - 1) {
        codec.receive(&[0, 0, id]).unwrap();
        assert_eq!(codec.poll(), Ok(Some(Output::OpenX(id))));
    }
    let more = ids.clone().nth(limits::X_CHANNELS).unwrap();
    codec.receive(&[0, 0, more]).unwrap();
    assert!(codec.poll().is_err());
}
