use std::io;
use std::time::{Duration, Instant};

use qvd_http1::{Request, RequestReader, Response, ResponseHead};
use qvd_share::Channel;
use qvd_slave::MAX_BODY;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::Error;

/// How long a request may take to arrive, however it is dripped, and an
/// answer to be taken.
const TIME: Duration = Duration::from_secs(30);

/// The client at the other end of the slave channel.
pub(crate) struct Peer {
    reader: RequestReader,
}

impl Peer {
    /// The one on standard input and output.
    pub(crate) fn stdio() -> Self {
        Self {
            reader: RequestReader::new(MAX_BODY),
        }
    }

    /// Its one request.
    pub(crate) fn request(&mut self) -> Result<Request, Error> {
        let deadline = Instant::now() + TIME;
        let mut buffer = [0; 4096];
        loop {
            if let Some(request) = self.reader.poll()? {
                return Ok(request);
            }
            ready(PollFlags::IN, deadline)?;
            match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(count) => self.reader.receive(buffer.get(..count).unwrap_or_default()),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
    }

    /// Answers; nothing follows.
    pub(crate) fn answer(&self, response: &Response) -> io::Result<()> {
        let mut bytes = Vec::new();
        response.write(&mut bytes).map_err(io::Error::other)?;
        send(&bytes)
    }

    /// Answers with a 101: from here on the channel speaks SFTP. Gives the
    /// channel, and what the client sent of it already.
    pub(crate) fn upgrade(mut self, head: &ResponseHead) -> Result<(Channel, Vec<u8>), Error> {
        let mut bytes = Vec::new();
        head.write(&mut bytes)?;
        send(&bytes)?;
        Ok((Channel::stdio()?, self.reader.take_rest()))
    }
}

fn send(mut bytes: &[u8]) -> io::Result<()> {
    let deadline = Instant::now() + TIME;
    while !bytes.is_empty() {
        ready(PollFlags::OUT, deadline)?;
        match rustix::io::write(rustix::stdio::stdout(), bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn ready(flags: PollFlags, deadline: Instant) -> io::Result<()> {
    let stream = if flags.contains(PollFlags::IN) {
        rustix::stdio::stdin()
    } else {
        rustix::stdio::stdout()
    };
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let time = Timespec::try_from(left).ok();
        match poll(
            &mut [PollFd::from_borrowed_fd(stream, flags)],
            time.as_ref(),
        ) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
