//! The printers of the user's machine, by the programs of CUPS.

use std::io::{self, Read, Write as _};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::Serialize;

use super::Error;

/// How long a program of CUPS may take.
const TIME: Duration = Duration::from_secs(60);

/// Most bytes of a program's output.
const MAX_OUTPUT: u64 = 1024 * 1024;

/// Most printers of a list.
const MAX_PRINTERS: usize = 256;

/// Bits of CUPS's attribute `printer-type`.
const COLOR: u32 = 0x0008;
/// It prints on both sides.
const DUPLEX: u32 = 0x0010;

/// A printer as the VM is told of it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Printer {
    /// The queue's name, by which jobs are sent to it.
    qvd_id: String,
    /// What users call it.
    name: String,
    color: bool,
    duplex: bool,
}

/// The list of `GET /printer`.
#[derive(Debug, Default, Serialize)]
pub(super) struct List {
    #[serde(rename = "Printers")]
    printers: Vec<Printer>,
}

/// Those of the machine's printers that `lets` lets through.
pub(super) fn list(lets: impl Fn(&str) -> bool) -> Result<List, Error> {
    // Without a printer lpstat fails, and says so.
    let names = output(Command::new("lpstat").arg("-e"))?;
    let names = String::from_utf8_lossy(&names.stdout).into_owned();
    let printers = names
        .lines()
        .map(str::trim)
        .filter(|name| qvd_slave::is_printer(name) && lets(name))
        .take(MAX_PRINTERS)
        .map(|name| {
            let options = output(Command::new("lpoptions").args(["-p", name]))?;
            Ok(printer(name, &String::from_utf8_lossy(&options.stdout)))
        });
    Ok(List {
        printers: printers.collect::<Result<_, Error>>()?,
    })
}

/// A printer of whose options `lpoptions` told.
fn printer(queue: &str, options: &str) -> Printer {
    let kind = option(options, "printer-type").and_then(|kind| kind.parse().ok());
    let kind: u32 = kind.unwrap_or_default();
    Printer {
        qvd_id: queue.to_owned(),
        name: option(options, "printer-info")
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| queue.to_owned()),
        color: kind & COLOR != 0,
        duplex: kind & DUPLEX != 0,
    }
}

/// An option among `name=value name='a value' name="a value"`; a backslash
/// takes the next character as it is.
fn option(options: &str, name: &str) -> Option<String> {
    let mut rest = options;
    loop {
        rest = rest.trim_start();
        let (key, after) = rest.split_at(rest.find(['=', ' '])?);
        let Some(after) = after.strip_prefix('=') else {
            rest = after;
            continue;
        };
        let mut value = String::new();
        let mut quote = None;
        let mut chars = after.char_indices();
        let end = loop {
            let Some((at, c)) = chars.next() else {
                break after.len();
            };
            match c {
                '\\' => value.extend(chars.next().map(|(_, c)| c)),
                '\'' | '"' if quote == Some(c) => quote = None,
                '\'' | '"' if quote.is_none() => quote = Some(c),
                c if c.is_whitespace() && quote.is_none() => break at,
                c => value.push(c),
            }
        };
        if key == name {
            return Some(value);
        }
        rest = after.get(end..)?;
    }
}

/// A job that is being handed to the spooler.
pub(super) struct Job(Child);

impl Job {
    /// One for the printer with this queue.
    pub(super) fn start(queue: &str) -> Result<Self, Error> {
        let mut command = Command::new("lp");
        command.args(["-s", "-t", "QVD", "-d", queue]);
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        child.map(Self).map_err(|error| unstarted("lp", &error))
    }

    /// A piece of it.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some(pipe) = &mut self.0.stdin else {
            return Ok(());
        };
        match pipe.write_all(bytes) {
            // It refuses the job; its end says why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.0.stdin = None;
                Ok(())
            }
            done => done.map_err(Error::Channel),
        }
    }

    /// The job is whole.
    pub(super) fn end(mut self) -> Result<(), Error> {
        self.0.stdin = None;
        let output = wait(&mut self.0)?;
        if output.status.success() {
            return Ok(());
        }
        let why = String::from_utf8_lossy(&output.stderr);
        Err(Error::Printer(why.trim().to_owned()))
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // Half a job is none: lp sends nothing before its input has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn output(command: &mut Command) -> Result<Output, Error> {
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env("LC_ALL", "C.UTF-8")
        .spawn();
    wait(&mut child.map_err(|error| unstarted(&name, &error))?)
}

/// The child's end and what it wrote; it is killed when it takes too long.
fn wait(child: &mut Child) -> Result<Output, Error> {
    fn reading(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(pipe) = pipe {
                // What there is will do for a message.
                let _ = pipe.take(MAX_OUTPUT).read_to_end(&mut bytes);
            }
            bytes
        })
    }
    let (out, err) = (reading(child.stdout.take()), reading(child.stderr.take()));
    if !ends_within(child, TIME).map_err(Error::Channel)? {
        let _ = child.kill();
        let _ = child.wait();
        return Err(Error::Printer("the print service does not answer".into()));
    }
    let status = child.wait().map_err(Error::Channel)?;
    Ok(Output {
        status,
        stdout: out.join().unwrap_or_default(),
        stderr: err.join().unwrap_or_default(),
    })
}

fn ends_within(child: &Child, time: Duration) -> io::Result<bool> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidData)?;
    let ended = pidfd_open(pid, PidfdFlags::empty())?;
    let deadline = Instant::now() + time;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(ready) => return Ok(ready > 0),
        }
    }
}

fn unstarted(program: &str, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::Printer(format!(
            "{program} is not there: install the package cups-client"
        )),
        _ => Error::Printer(format!("{program}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of `lpoptions -p` of CUPS 2.4.
    const LINE: &str = "copies=1 device-uri=ipp://host/x finishings=3 job-cancel-after=10800 \
        number-up=1 printer-info='Bob\\'s \"big\" one' printer-is-accepting-jobs=true \
        printer-location printer-make-and-model='HP Color' printer-type=36892 media=iso_a4";

    #[test]
    fn what_cups_tells_of_a_printer_is_understood() {
        let all = printer("office", LINE);
        assert_eq!(all.name, "Bob's \"big\" one");
        assert!(all.color && all.duplex);
        assert_eq!(option(LINE, "media").as_deref(), Some("iso_a4"));
        assert_eq!(option(LINE, "nothing"), None);
        let bare = printer("office", "printer-type=4 printer-info=");
        assert_eq!(
            (bare.name.as_str(), bare.color, bare.duplex),
            ("office", false, false)
        );
        for broken in ["", "=", "a='", "printer-info='open", "x=\\"] {
            printer("office", broken);
        }
    }

    #[test]
    fn a_list_is_what_the_reference_reads() {
        let list = List {
            printers: vec![printer("office", "printer-type=8 printer-info=Office")],
        };
        assert_eq!(
            serde_json::to_string(&list).unwrap(),
            r#"{"Printers":[{"qvd_id":"office","name":"Office","color":true,"duplex":false}]}"#
        );
    }
}
