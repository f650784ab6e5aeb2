//! Programs that a test writes and runs.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes the shell script `text`, with `#!/bin/sh` before it, to `path`, for
/// everybody to read and run (mode 0755).
///
/// Another process writes it. What this one has open for writing is inherited
/// by a child that another thread forks at that moment, and until that child
/// has become another program the script cannot be run ("Text file busy").
///
/// # Errors
///
/// The system's, and one when the file could not be written.
pub fn write_script(path: &Path, text: &str) -> io::Result<()> {
    let mut writer = Command::new("/bin/sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()?;
    let pipe = writer.stdin.take();
    let written = pipe.map_or(Ok(()), |mut pipe| write!(pipe, "#!/bin/sh\n{text}\n"));
    if !writer.wait()?.success() {
        let path = path.display();
        return Err(io::Error::other(format!("{path} could not be written")));
    }
    written
}
