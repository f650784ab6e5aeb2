//! Frames are read as they were written, however they are cut.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;
use qvd_carrier::limits::{HEADER, MAX_CREDIT, MAX_METADATA, MAX_PAYLOAD, MAX_TEXT};
use qvd_carrier::{Detected, Frame, MAGIC, Violation, detect};

/// What a frame is made of, owned.
#[derive(Debug, Clone)]
struct Parts {
    which: u8,
    stream: u32,
    number: u32,
    code: u8,
    bytes: Vec<u8>,
    text: String,
}

impl Parts {
    fn frame(&self) -> Frame<'_> {
        let (stream, code, text) = (self.stream, self.code, self.text.as_str());
        let mut eight = [0; 8];
        eight[..4].copy_from_slice(&self.number.to_be_bytes());
        match self.which {
            0 => Frame::Open {
                stream,
                kind: code,
                credit: self.number,
                metadata: &self.bytes[1..],
            },
            1 => Frame::Accept {
                stream,
                credit: self.number,
                metadata: &self.bytes[1..],
            },
            2 => Frame::Refuse { stream, code, text },
            3 => Frame::Data {
                stream,
                bytes: &self.bytes,
            },
            4 => Frame::Credit {
                stream,
                bytes: self.number,
            },
            5 => Frame::HalfClose { stream },
            6 => Frame::Reset { stream, code },
            7 => Frame::End { code, text },
            8 => Frame::Ping(eight),
            9 => Frame::Pong(eight),
            _ => Frame::Ack {
                position: u64::from(self.number) << 17,
                kept: self.number,
            },
        }
    }
}

fn parts() -> impl Strategy<Value = Parts> {
    (
        0..11_u8,
        1..=u32::MAX,
        1..=MAX_CREDIT,
        any::<u8>(),
        proptest::collection::vec(any::<u8>(), 1..40),
        "[a-zä ]{0,20}",
    )
        .prop_map(|(which, stream, number, code, bytes, text)| Parts {
            which,
            stream,
            number,
            code,
            bytes,
            text,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_frame_is_read_as_written(parts in parts(), after in any::<Vec<u8>>()) {
        let frame = parts.frame();
        let mut bytes = Vec::new();
        frame.write(&mut bytes);
        let length = bytes.len();
        for end in 0..length {
            prop_assert_eq!(Frame::read(&bytes[..end]), Ok(None));
        }
        bytes.extend_from_slice(&after);
        prop_assert_eq!(Frame::read(&bytes), Ok(Some((frame, length))));
    }

    #[test]
    fn whatever_is_read_is_written_back(bytes in proptest::collection::vec(0..20_u8, 0..40)) {
        if let Ok(Some((frame, length))) = Frame::read(&bytes) {
            let mut again = Vec::new();
            frame.write(&mut again);
            prop_assert_eq!(&again[..], &bytes[..length]);
        }
    }
}

fn refused(bytes: &[u8]) -> Violation {
    Frame::read(bytes).unwrap_err()
}

#[test]
fn what_cannot_be_a_frame_is_refused_by_its_header() {
    assert_eq!(refused(&[0, 0, 0, 0, 1, 0, 0]), Violation::Type(0));
    assert_eq!(refused(&[9, 0, 0, 0, 1, 0, 0]), Violation::Type(9));
    // Data of no bytes, and of more than a frame holds.
    assert_eq!(refused(&[4, 0, 0, 0, 1, 0, 0]), Violation::Payload(4));
    assert_eq!(refused(&[4, 0, 0, 0, 1, 0x40, 1]), Violation::Payload(4));
    // Data of the session, a ping of a stream.
    assert_eq!(refused(&[4, 0, 0, 0, 0, 0, 1]), Violation::Stream(4));
    assert_eq!(refused(&[0x11, 0, 0, 0, 1, 0, 8]), Violation::Stream(0x11));
    // Credit of nothing, and of more than there may be.
    assert_eq!(
        refused(&[5, 0, 0, 0, 1, 0, 4, 0, 0, 0, 0]),
        Violation::Payload(5)
    );
    assert_eq!(
        refused(&[5, 0, 0, 0, 1, 0, 4, 1, 0, 0, 1]),
        Violation::Payload(5)
    );
    // Text that is none.
    assert_eq!(
        refused(&[8, 0, 0, 0, 0, 0, 2, 0, 0xff]),
        Violation::Payload(8)
    );
}

#[test]
fn the_largest_frames_fit() {
    let bytes = vec![7; MAX_PAYLOAD];
    for frame in [
        Frame::Data {
            stream: 1,
            bytes: &bytes,
        },
        Frame::Open {
            stream: 1,
            kind: 1,
            credit: MAX_CREDIT,
            metadata: &bytes[..MAX_METADATA],
        },
        Frame::End {
            code: 0,
            text: &"x".repeat(MAX_TEXT),
        },
    ] {
        let mut out = Vec::new();
        frame.write(&mut out);
        assert_eq!(Frame::read(&out), Ok(Some((frame, out.len()))));
        assert!(out.len() <= HEADER + MAX_PAYLOAD);
    }
}

#[test]
fn a_carrier_is_told_from_nx_by_its_first_byte() {
    assert_eq!(detect(b""), Detected::Undecided);
    assert_eq!(detect(b"N"), Detected::Other);
    assert_eq!(detect(b"NXPROXY-3.5.0"), Detected::Other);
    for end in 1..MAGIC.len() {
        assert_eq!(detect(&MAGIC[..end]), Detected::Undecided);
    }
    assert_eq!(detect(&MAGIC), Detected::Carrier);
    assert_eq!(detect(b"\x89QVDx"), Detected::Other);
}
