//! What must hold of the NX codec whatever an agent or an X server sends. The
//! fuzz targets run these, and so does a test of nx-proxy, with all that
//! fuzzing has kept.

use nx_proxy::codec::probe::{Image, Server};
use nx_proxy::codec::{Codec, Control, Output, limits};

/// Number of the X channel of the sessions here.
const X: u8 = 1;

/// A session after its handshake, as the first byte of an input says, and the
/// rest of the input.
fn session(data: &[u8]) -> (Codec, bool, &[u8]) {
    let (mode, rest) = data.split_first().map_or((0, data), |(m, rest)| (*m, rest));
    let packed = mode & 2 != 0;
    let words = format!(
        "NXPROXY-3.5.0-3.5.99 link=LAN,pack=none,cache=0,render={},delta={},stream={} cachelist=none ",
        u8::from(mode & 4 == 0),
        mode & 1,
        u8::from(packed),
    );
    let mut codec = Codec::new(None);
    assert!(codec.receive(words.as_bytes()).is_ok());
    (codec, packed, rest)
}

/// The frames of `bytes` as they go over the connection.
fn carried(bytes: &[u8], packed: bool) -> Vec<u8> {
    if !packed {
        return bytes.to_vec();
    }
    let mut deflate = flate2::Compress::new(flate2::Compression::fast(), true);
    let mut out = Vec::with_capacity(bytes.len() + 1024);
    // There is room for whatever it makes of so little.
    let _ = deflate.compress_vec(bytes, &mut out, flate2::FlushCompress::Sync);
    out
}

/// A data frame of the X channel.
fn data_frame(payload: &[u8], out: &mut Vec<u8>) {
    let length = payload.len() + 1;
    if length >= 1 << 7 {
        out.push(0x80 | (length >> 7 & 0x7f).to_le_bytes()[0]);
    }
    out.push((length & 0x7f).to_le_bytes()[0]);
    out.extend_from_slice(payload);
    out.push(0);
}

/// What came of an agent's bytes.
#[derive(Debug, Default, PartialEq)]
struct Came {
    /// For the X server.
    x11: Vec<u8>,
    others: Vec<Output>,
    error: Option<String>,
    sequence: Option<u16>,
}

fn take(codec: &mut Codec, bytes: &[u8], chunk: usize) -> Came {
    let mut came = Came::default();
    'all: for part in bytes.chunks(chunk.max(1)) {
        if let Err(error) = codec.receive(part) {
            came.error = Some(error.to_string());
            break;
        }
        loop {
            match codec.poll() {
                Ok(None) => break,
                Ok(Some(Output::X(_, part))) => {
                    assert!(
                        part.len() <= limits::PIECE + limits::REQUEST,
                        "a large piece"
                    );
                    came.x11.extend(part);
                    if came.x11.len() > 64 << 20 {
                        break 'all;
                    }
                }
                Ok(Some(Output::Control(Control::Open(service, id)))) => {
                    codec.opened(id);
                    came.others
                        .push(Output::Control(Control::Open(service, id)));
                }
                Ok(Some(Output::Control(Control::Finish(id)))) => {
                    codec.drop_channel(id);
                    came.others.push(Output::Control(Control::Finish(id)));
                }
                Ok(Some(other)) => came.others.push(other),
                Err(error) => {
                    came.error = Some(error.to_string());
                    break 'all;
                }
            }
        }
    }
    came.sequence = codec.sequence(X);
    came
}

/// Whether the same came of it. Of a frame that turns out to be damaged, what
/// is before the damage may have been passed on or not.
fn same(one: &Came, other: &Came) -> bool {
    if one.error.is_none() {
        return one == other;
    }
    let both = one.x11.len().min(other.x11.len());
    one.error == other.error
        && one.others == other.others
        && one.x11.get(..both) == other.x11.get(..both)
}

/// `frames`: anything after the handshake. However it is cut, the same comes of
/// it.
pub fn frames(data: &[u8]) {
    let (mut whole, packed, rest) = session(data);
    let bytes = carried(rest, packed);
    let first = take(&mut whole, &bytes, usize::MAX);
    for chunk in [1, 7] {
        let (mut cut, ..) = session(data);
        let other = take(&mut cut, &bytes, chunk);
        assert!(
            same(&first, &other),
            "cut in pieces of {chunk} other things come of it"
        );
    }
    // What is said to the agent is whole frames, too.
    let said = whole.take_output();
    assert!(said.is_ok(), "{said:?}");
}

/// An X channel that is open, its setup message being one of this byte order.
fn open(big: bool) -> Vec<u8> {
    let mut bytes = vec![0, 0, X, 0, 5, X];
    let order = if big { b'B' } else { b'l' };
    let mut setup = vec![12];
    setup.extend([order, 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    // Bytes are sent lowest bit first.
    let setup: Vec<u8> = setup.iter().map(|b| b.reverse_bits()).collect();
    data_frame(&setup, &mut bytes);
    bytes
}

/// `requests`: frames of the X channel, each with its length before it. What
/// comes out is whole requests, as many as are counted.
pub fn requests(data: &[u8]) {
    let (mut codec, packed, rest) = session(data);
    let (flags, rest) = rest.split_first().map_or((0, rest), |(f, rest)| (*f, rest));
    let big = flags & 1 != 0;
    let mut bytes = open(big);
    let mut input = rest;
    while let Some((length, more)) = input.split_first() {
        let (payload, after) = more.split_at(usize::from(*length).min(more.len()));
        data_frame(payload, &mut bytes);
        input = after;
    }
    let came = take(&mut codec, &carried(&bytes, packed), usize::MAX);
    let failed = came.error.is_some();
    assert!(came.x11.len() >= 12 || failed, "no setup message");
    if came.x11.len() > 64 << 20 {
        return;
    }
    whole_requests(
        came.x11.get(12..).unwrap_or_default(),
        big,
        came.sequence,
        failed,
    );
}

fn whole_requests(x11: &[u8], big: bool, sequence: Option<u16>, failed: bool) {
    let mut rest = x11;
    let mut count = 0_u16;
    while !rest.is_empty() {
        let Some([_, _, a, b]) = rest.first_chunk() else {
            panic!("{} bytes are no request", rest.len());
        };
        let pair = [*a, *b];
        let words = if big {
            u16::from_be_bytes(pair)
        } else {
            u16::from_le_bytes(pair)
        };
        assert!(words > 0, "a request of no length");
        let Some(after) = rest.get(usize::from(words) * 4..) else {
            panic!("a request that is cut off");
        };
        rest = after;
        count = count.wrapping_add(1);
    }
    // The one that failed is counted, but not written.
    let counted = sequence.unwrap_or(0);
    assert!(
        counted == count || failed,
        "{count} requests, but {counted} were counted"
    );
}

/// `images`: the geometry of a display, an alpha channel, and a packed image.
/// There is one request for it, as long as it says.
pub fn images(data: &[u8]) {
    let mut head = [0; 12];
    for (to, from) in head.iter_mut().zip(data) {
        *to = *from;
    }
    let [
        method,
        depth,
        bits,
        width,
        height,
        alpha,
        kind,
        masks,
        lie,
        format,
        big,
        _,
    ] = head;
    let packed = data.get(12..).unwrap_or_default();
    let image = Image {
        method: method % 70,
        depth: [1, 4, 8, 15, 16, 24, 32, depth][usize::from(depth % 8)],
        bits: [1, 4, 8, 16, 24, 32, 0, bits][usize::from(bits % 8)],
        width: u16::from(width) << (lie & 3),
        height: u16::from(height) << (lie >> 2 & 3),
        format,
        masks: match masks % 4 {
            0 => [0xff_0000, 0xff00, 0xff],
            1 => [0xf800, 0x7e0, 0x1f],
            2 => [0xff, 0xff00, 0xff_0000],
            _ => [u32::from(masks), u32::MAX, 0x8000_0000],
        },
        big: big & 1 != 0,
        alpha: (kind & 1 != 0).then_some((if kind & 2 != 0 { 65 } else { 66 }, alpha)),
        data: packed,
    };
    let big = image.big;
    match image.unpacked() {
        None => {}
        Some(request) => {
            assert!(request.len() <= limits::REQUEST, "a large image");
            assert_eq!(request.first(), Some(&72));
            whole_requests(&request, big, Some(1), false);
        }
    }
}

/// `events`: what an X server sends, in pieces, each after its length. What is
/// made of it is no longer than that can be.
pub fn events(data: &[u8]) {
    let (mode, rest) = data.split_first().map_or((0, data), |(m, rest)| (*m, rest));
    let (delta, big) = (mode & 1 != 0, mode & 2 != 0);
    let (asked, rest) = rest.split_at(usize::from(mode >> 3).min(rest.len()));
    let mut server = Server::new(delta, big, asked);
    let mut setup = vec![1, 0, 0, 11, 0, 0, 0, 0];
    setup.resize(8 + 4 * 8, mode);
    setup[if big { 7 } else { 6 }] = 8;
    assert!(server.receive(&setup).is_ok());
    let mut input = rest;
    while let Some((length, more)) = input.split_first() {
        let (part, after) = more.split_at(usize::from(*length).min(more.len()));
        input = after;
        match server.receive(part) {
            // Bits may stand for little, but are never many times what came.
            Ok(payload) => assert!(
                payload.len() <= 4 * (part.len() + data.len()) + 64,
                "{} of {} and {}",
                payload.len(),
                part.len(),
                data.len()
            ),
            Err(_) => return,
        }
    }
}
