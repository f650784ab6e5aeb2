//! What a recorded session holds.

use std::fmt::Display;
use std::io::Write as _;
use std::path::Path;

use crate::codec::Replay;

/// What the agent sent, of a recording.
const AGENT: &str = "nx.0.t2c";

/// What the X server sent.
const SERVER: &str = "x11.0.t2c";

/// Most bytes given to the codec at once, about what a socket gives.
const CHUNK: usize = 4096;

/// Writes the X11 bytes of a recording for the X server to `out`.
///
/// # Errors
/// What is wrong with the recording or the file.
pub(super) fn replay(folder: &Path, out: &Path) -> Result<bool, String> {
    let (replay, decoded) = decode(folder)?;
    // What came before a fault is shown all the same.
    std::fs::write(out, &replay.x11).map_err(|e| named(out, e))?;
    decoded.map(|()| true)
}

/// Prints the requests of a recording.
///
/// # Errors
/// What is wrong with the recording or the standard output.
pub(super) fn dump(folder: &Path) -> Result<bool, String> {
    let (replay, decoded) = decode(folder)?;
    match print(&replay) {
        // Who reads it has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(true),
        printed => printed.map_err(|e| format!("standard output: {e}"))?,
    }
    decoded.map(|()| true)
}

/// The recording as far as it goes, and why it does not go on.
fn decode(folder: &Path) -> Result<(Replay, Result<(), String>), String> {
    let (agents, servers) = (folder.join(AGENT), folder.join(SERVER));
    let agent = read(&agents)?;
    let mut replay = Replay::new(&read(&servers)?).map_err(|e| named(&servers, e))?;
    let mut fault = None;
    let mut taken = 0;
    // So that the percentage below is one.
    let chunk = agent.len().div_ceil(100).clamp(1, CHUNK);
    for chunk in agent.chunks(chunk) {
        if let Err(error) = replay.receive(chunk) {
            fault = Some(error.to_string());
            break;
        }
        taken += chunk.len();
    }
    if fault.is_none() && !replay.whole() {
        fault = Some("it ends inside a frame or the handshake".to_owned());
    }
    let agents_fault = fault.map(|fault| {
        let requests = replay.trace.len();
        let percent = taken * 100 / agent.len().max(1);
        let reason = named(&agents, fault);
        format!("{reason} ({requests} requests and {percent} % of it decoded)")
    });
    let servers_fault = match replay.unanswered() {
        _ if replay.is_cut() => Some("it is empty or ends inside a message".to_owned()),
        0 => None,
        missing => Some(format!("the answers to {missing} requests are missing")),
    };
    // What is missing of the X server's has the agent's misread.
    let servers_fault = servers_fault.map(|fault| named(&servers, fault));
    let faults: Vec<String> = servers_fault.into_iter().chain(agents_fault).collect();
    let decoded = match faults.is_empty() {
        true => Ok(()),
        false => Err(faults.join("; ")),
    };
    Ok((replay, decoded))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| named(path, e))
}

fn named(path: &Path, fault: impl Display) -> String {
    format!("{}: {fault}", path.display())
}

fn print(replay: &Replay) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let ends = replay.trace.iter().skip(1).map(|next| next.offset);
    let ends = ends.chain([replay.x11.len()]);
    for (k, (request, end)) in replay.trace.iter().zip(ends).enumerate() {
        let bytes = replay.x11.get(request.offset..end).unwrap_or_default();
        write!(out, "{} opcode {}", k + 1, request.opcode)?;
        if let Some(minor) = request.render {
            write!(out, " render {minor}")?;
        }
        let how = if request.hit { " stored" } else { "" };
        write!(out, "{how} {} bytes:", bytes.len())?;
        for byte in bytes.iter().take(48) {
            write!(out, " {byte:02x}")?;
        }
        writeln!(out)?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(file: &str) -> Vec<u8> {
        let root = env!("CARGO_MANIFEST_DIR");
        let packed = std::fs::read(format!("{root}/recordings/adsl-channels/{file}.xz")).unwrap();
        let mut bytes = Vec::new();
        lzma_rs::xz_decompress(&mut packed.as_slice(), &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_file_that_is_not_whole_is_named() {
        let (agent, server) = (unpacked(AGENT), unpacked(SERVER));
        let dir = tempfile::tempdir().unwrap();
        let decoded = |agent: &[u8], server: &[u8]| {
            std::fs::write(dir.path().join(AGENT), agent).unwrap();
            std::fs::write(dir.path().join(SERVER), server).unwrap();
            decode(dir.path()).and_then(|(_, decoded)| decoded)
        };
        assert_eq!(decoded(&agent, &server), Ok(()));
        // The X server's welcome alone, to the message.
        let welcome = 8 + 4 * usize::from(u16::from_le_bytes([server[6], server[7]]));
        for (server, part) in [
            (&server[..0], "it is empty or ends inside a message"),
            (&server[..100], "it is empty or ends inside a message"),
            (&server[..welcome], "the answers to "),
            (&[0xa5; 5000], "X server sent a damaged message"),
        ] {
            let error = decoded(&agent, server).unwrap_err();
            let file = dir.path().join(SERVER);
            assert!(error.starts_with(&named(&file, part)), "{error}");
        }
        let error = decoded(&agent[..agent.len() / 2], &server).unwrap_err();
        assert!(
            error.contains("nx.0.t2c: it ends inside a frame"),
            "{error}"
        );
        assert!(error.contains("and 100 % of it decoded"), "{error}");
        let mut damaged = agent.clone();
        let middle = agent.len() / 2;
        damaged[middle..].fill(0xa5);
        let error = decoded(&damaged, &server).unwrap_err();
        assert!(
            error.contains("nx.0.t2c: ") && error.contains("50 %"),
            "{error}"
        );
    }
}
