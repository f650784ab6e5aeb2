//! What a recorded session holds.

use std::io::Write as _;
use std::path::Path;

use crate::codec::Replay;

/// Bytes given to the codec at once, about what a socket gives.
const CHUNK: usize = 4096;

/// Writes the X11 bytes of a recording for the X server to `out`.
///
/// # Errors
/// What is wrong with the recording or the file.
pub(super) fn replay(folder: &Path, out: &Path) -> Result<bool, String> {
    let (replay, decoded) = decode(folder)?;
    // What came before a fault is shown all the same.
    std::fs::write(out, &replay.x11).map_err(|e| format!("{}: {e}", out.display()))?;
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
    let agent = read(folder, "nx.0.t2c")?;
    let server = read(folder, "x11.0.t2c")?;
    let mut replay = Replay::new(&server).map_err(|e| e.to_string())?;
    let mut decoded = Ok(());
    let mut taken = 0;
    for chunk in agent.chunks(CHUNK) {
        decoded = replay.receive(chunk).map_err(|e| e.to_string());
        if decoded.is_err() {
            break;
        }
        taken += chunk.len();
    }
    let decoded = decoded.and_then(|()| {
        if replay.whole() {
            Ok(())
        } else {
            Err("recording ends inside a frame or the handshake".to_owned())
        }
    });
    let decoded = decoded.map_err(|reason| {
        let requests = replay.trace.len();
        let percent = taken * 100 / agent.len().max(1);
        format!("{reason} ({requests} requests and {percent} % of the recording decoded)")
    });
    Ok((replay, decoded))
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>, String> {
    let path = folder.join(name);
    std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))
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
