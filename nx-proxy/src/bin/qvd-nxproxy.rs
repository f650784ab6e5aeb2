//! Decodes recorded NX sessions.

#![forbid(unsafe_code)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nx_proxy::codec::Replay;

const USAGE: &str = "usage: qvd-nxproxy --replay FOLDER --out FILE
       qvd-nxproxy --dump FOLDER

FOLDER holds a recorded session: nx.0.t2c (agent to proxy) and x11.0.t2c
(X server to proxy), unpacked. --replay writes the X11 bytes for the X server
to FILE; --dump prints them request by request. The exit status is 0 only if
the whole stream was decoded, and 64 for wrong arguments.";

/// Bytes given to the codec at once, about what a socket gives.
const CHUNK: usize = 64 * 1024;

/// What is to be done.
enum Work {
    Replay(PathBuf, PathBuf),
    Dump(PathBuf),
}

fn main() -> ExitCode {
    let mut err = std::io::stderr();
    let Some(work) = arguments() else {
        // Nobody may be listening.
        let _ = writeln!(err, "{USAGE}");
        return ExitCode::from(64);
    };
    match run(&work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            let _ = writeln!(err, "qvd-nxproxy: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Option<Work> {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    match words.as_slice() {
        [dump, folder] if dump == "--dump" => Some(Work::Dump(folder.into())),
        [replay, folder, out, file] if replay == "--replay" && out == "--out" => {
            Some(Work::Replay(folder.into(), file.into()))
        }
        _ => None,
    }
}

fn run(work: &Work) -> Result<(), String> {
    let folder = match work {
        Work::Replay(folder, _) | Work::Dump(folder) => folder,
    };
    let agent = read(folder, "nx.0.t2c")?;
    let server = read(folder, "x11.0.t2c")?;
    let mut replay = Replay::new(&server).map_err(|e| e.to_string())?;
    let mut decoded = Ok(());
    for chunk in agent.chunks(CHUNK) {
        decoded = replay.receive(chunk).map_err(|e| e.to_string());
        if decoded.is_err() {
            break;
        }
    }
    let decoded = decoded.and_then(|()| {
        if replay.whole() {
            Ok(())
        } else {
            Err("recording ends inside a frame or the handshake".to_owned())
        }
    });
    // What came before a fault is shown all the same.
    match work {
        Work::Replay(_, file) => {
            std::fs::write(file, &replay.x11).map_err(|e| format!("{}: {e}", file.display()))?;
        }
        Work::Dump(_) => dump(&replay).map_err(|e| format!("standard output: {e}"))?,
    }
    decoded
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>, String> {
    let path = folder.join(name);
    std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))
}

fn dump(replay: &Replay) -> std::io::Result<()> {
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
