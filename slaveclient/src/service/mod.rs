//! What the VM asks of the client: its printers, its ports.
//!
//! The engine runs a program for each request, with the connection as its
//! standard input and output; [`main`] is that program. Everything in the VM
//! can ask, there is no key: the [`Gate`] says what the user has announced.

mod gate;
mod printers;
mod tcp;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use qvd_http1::{RequestHead, RequestReader, Response, ResponseHead, Status};
use qvd_share::Outages;
use qvd_slave::{ClientRequest, MAX_BODY};
use rustix::event::PollFlags;

pub use gate::{Gate, Printers, VARIABLE};

/// How long a request may take to arrive, however it is dripped, and each
/// piece of a print job; outages aside.
const TIME: Duration = Duration::from_secs(30);

/// Most bytes of a print job: a thick book of pictures.
const MAX_JOB: u64 = 1024 * 1024 * 1024;

/// Why a request was not served to its end.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the slave channel: {0}")]
    Channel(#[source] io::Error),
    #[error("the request: {0}")]
    Request(#[from] qvd_http1::Error),
    #[error("refused: {0}")]
    Refused(#[from] qvd_slave::Error),
    #[error("{0}")]
    Announced(&'static str),
    #[error("{0}")]
    Printer(String),
    #[error("{0}")]
    Port(String),
}

impl Error {
    fn response(&self) -> Option<Response> {
        let status = match self {
            Self::Channel(_) => return None,
            Self::Request(error) => error.status(),
            Self::Refused(error) => return Some(error.response()),
            Self::Announced(_) => Status::FORBIDDEN,
            Self::Printer(_) | Self::Port(_) => Status::SERVICE_UNAVAILABLE,
        };
        Some(Response::text(status, &self.to_string()))
    }
}

/// The program of the slave channel: serves the one request on standard input
/// and output.
#[must_use]
pub fn main() -> ExitCode {
    let told = match Gate::of_process() {
        Ok(gate) => serve(&gate),
        Err(error) => {
            say(&format!("{VARIABLE}: {error}: nothing is announced"));
            serve(&Gate::default())
        }
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Into the client's log, through the engine.
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) {
    let _ = writeln!(io::stderr(), "slave server: {line}");
}

fn serve(gate: &Gate) -> Result<(), Error> {
    let mut reader = RequestReader::new(MAX_BODY);
    let mut outages = Outages::of_process();
    let served = head(&mut reader, &mut outages).and_then(|head| {
        let request = ClientRequest::from_head(&head)?;
        answer(gate, &request, &head, &mut reader, &mut outages)
    });
    match served {
        Ok(Some(response)) => send_response(&response),
        // It has been answered.
        Ok(None) => Ok(()),
        Err(error) => {
            if let Some(response) = error.response() {
                send_response(&response)?;
            }
            Err(error)
        }
    }
}

fn answer(
    gate: &Gate,
    request: &ClientRequest,
    head: &RequestHead,
    reader: &mut RequestReader,
    outages: &mut Outages,
) -> Result<Option<Response>, Error> {
    let text = |text: &str| Ok(Some(Response::new(Status::OK, "text/plain", text)));
    match request {
        ClientRequest::Ping => text("Pong!\n"),
        ClientRequest::Version => text(concat!(env!("CARGO_PKG_VERSION"), "\n")),
        ClientRequest::Printers => {
            let list = match &gate.printers {
                Printers::Only(names) if names.is_empty() => printers::List::default(),
                _ => printers::list(|name| gate.lets_printer(name))?,
            };
            let json =
                serde_json::to_string(&list).map_err(|error| Error::Printer(error.to_string()))?;
            Ok(Some(Response::new(Status::OK, "application/json", json)))
        }
        ClientRequest::PrintJob { printer } => {
            if !gate.lets_printer(printer) {
                return Err(Error::Announced("this printer is not announced"));
            }
            print(printer, head, reader, outages)?;
            text("printed\n")
        }
        ClientRequest::TcpConnect(port) | ClientRequest::TcpCheck(port)
            if !gate.lets_port(*port) =>
        {
            Err(Error::Announced("this port is not announced"))
        }
        ClientRequest::TcpCheck(port) => {
            tcp::connect(*port)?;
            text("open\n")
        }
        ClientRequest::TcpConnect(port) => {
            let stream = tcp::connect(*port)?;
            send_head(&ResponseHead::new(Status::SWITCHING_PROTOCOLS))?;
            tcp::relay(stream, &reader.take_rest())?;
            Ok(None)
        }
        _ => Err(Error::Announced("no such service is announced")),
    }
}

/// Hands a job to the spooler as it comes, and nothing to the printer before
/// it is whole.
fn print(
    printer: &str,
    head: &RequestHead,
    reader: &mut RequestReader,
    outages: &mut Outages,
) -> Result<(), Error> {
    let length = head.headers.content_length()?.unwrap_or_default();
    if length == 0 || length > MAX_JOB {
        return Err(Error::Request(qvd_http1::Error::BodyTooLarge {
            length,
            limit: usize::try_from(MAX_JOB).unwrap_or(usize::MAX),
        }));
    }
    let mut job = printers::Job::start(printer)?;
    // It takes a while, and is under way.
    send_head(&ResponseHead::new(Status::PROCESSING))?;
    let early = reader.take_rest();
    let wanted = usize::try_from(length)
        .unwrap_or(usize::MAX)
        .min(early.len());
    job.write(early.get(..wanted).unwrap_or_default())?;
    let mut left = length.saturating_sub(u64::try_from(wanted).unwrap_or(u64::MAX));
    let mut buffer = vec![0; 64 * 1024];
    while left > 0 {
        let room = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = read(
            buffer.get_mut(..room).unwrap_or_default(),
            &mut (Instant::now() + TIME),
            outages,
        )?;
        job.write(buffer.get(..count).unwrap_or_default())?;
        left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
    }
    job.end()
}

fn head(reader: &mut RequestReader, outages: &mut Outages) -> Result<RequestHead, Error> {
    let mut deadline = Instant::now() + TIME;
    let mut buffer = [0; 4096];
    loop {
        if let Some(head) = reader.poll_head()? {
            return Ok(head);
        }
        let count = read(&mut buffer, &mut deadline, outages)?;
        reader.receive(buffer.get(..count).unwrap_or_default());
    }
}

/// Reads something; the end of the channel is an error here.
fn read(buffer: &mut [u8], deadline: &mut Instant, outages: &mut Outages) -> Result<usize, Error> {
    let ended = || Error::Channel(io::ErrorKind::UnexpectedEof.into());
    let stdin = rustix::stdio::stdin();
    loop {
        let ready = outages.wait(stdin, PollFlags::IN, deadline);
        if !ready.map_err(Error::Channel)? {
            return Err(Error::Channel(io::ErrorKind::TimedOut.into()));
        }
        // Not through std's standard input, which would read on.
        match rustix::io::read(stdin, &mut *buffer) {
            Ok(0) => return Err(ended()),
            Ok(count) => return Ok(count),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(Error::Channel(error.into())),
        }
    }
}

fn send_response(response: &Response) -> Result<(), Error> {
    let mut bytes = Vec::new();
    response.write(&mut bytes)?;
    send(&bytes)
}

fn send_head(head: &ResponseHead) -> Result<(), Error> {
    let mut bytes = Vec::new();
    head.write(&mut bytes)?;
    send(&bytes)
}

fn send(mut bytes: &[u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Error::Channel(error.into())),
        }
    }
    Ok(())
}
