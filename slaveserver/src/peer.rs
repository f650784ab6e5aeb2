use std::io;
use std::time::{Duration, Instant};

use qvd_http1::{Request, RequestReader, Response, ResponseHead};
use qvd_share::{Channel, Outages};
use qvd_slave::MAX_BODY;
use rustix::event::PollFlags;

use crate::Error;

/// How long a request may take to arrive, however it is dripped, and an
/// answer to be taken; outages aside.
const TIME: Duration = Duration::from_secs(30);

/// The client at the other end of the slave channel.
pub(crate) struct Peer {
    reader: RequestReader,
    outages: Outages,
}

impl Peer {
    /// The one on standard input and output.
    pub(crate) fn stdio() -> Self {
        Self {
            reader: RequestReader::new(MAX_BODY),
            outages: Outages::of_process(),
        }
    }

    /// Its one request.
    pub(crate) fn request(&mut self) -> Result<Request, Error> {
        let mut deadline = Instant::now() + TIME;
        let mut buffer = [0; 4096];
        loop {
            if let Some(request) = self.reader.poll()? {
                return Ok(request);
            }
            ready(&mut self.outages, PollFlags::IN, &mut deadline)?;
            match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(count) => self.reader.receive(buffer.get(..count).unwrap_or_default()),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
    }

    /// Answers; nothing follows.
    pub(crate) fn answer(&mut self, response: &Response) -> io::Result<()> {
        let mut bytes = Vec::new();
        response.write(&mut bytes).map_err(io::Error::other)?;
        send(&bytes, &mut self.outages)
    }

    /// Answers with a 101: from here on the channel speaks SFTP. Gives the
    /// channel, and what the client sent of it already.
    pub(crate) fn upgrade(mut self, head: &ResponseHead) -> Result<(Channel, Vec<u8>), Error> {
        let mut bytes = Vec::new();
        head.write(&mut bytes)?;
        send(&bytes, &mut self.outages)?;
        let channel = Channel::stdio()?.with_outages(self.outages);
        Ok((channel, self.reader.take_rest()))
    }
}

fn send(mut bytes: &[u8], outages: &mut Outages) -> io::Result<()> {
    let mut deadline = Instant::now() + TIME;
    while !bytes.is_empty() {
        ready(outages, PollFlags::OUT, &mut deadline)?;
        match rustix::io::write(rustix::stdio::stdout(), bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn ready(outages: &mut Outages, flags: PollFlags, deadline: &mut Instant) -> io::Result<()> {
    let stream = if flags.contains(PollFlags::IN) {
        rustix::stdio::stdin()
    } else {
        rustix::stdio::stdout()
    };
    match outages.wait(stream, flags, deadline)? {
        true => Ok(()),
        false => Err(io::ErrorKind::TimedOut.into()),
    }
}
