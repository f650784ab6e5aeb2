//! A client that asks whatever a test likes, one thing after another.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use qvd_sftp::{Answer, Attributes, Client, Event, OpenFlags, Request, Response, Status};

use qvd_share::Channel;
use qvd_share::serve::Folder;

pub struct Raw {
    stream: UnixStream,
    client: Client<()>,
}

impl Raw {
    /// A client of a folder.
    pub fn of(folder: &Path) -> Self {
        let (near, far) = UnixStream::pair().unwrap();
        let share = Folder::new(folder).open().unwrap();
        thread::spawn(move || share.serve(Channel::socket(far), &[]));
        near.set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        Self {
            stream: near,
            client: Client::new(Duration::from_secs(30), Instant::now()),
        }
    }

    pub fn ask(&mut self, request: &Request<'_>) -> Answer {
        self.client.request(request, (), Instant::now());
        loop {
            while let Some(packet) = self.client.poll_transmit() {
                self.stream.write_all(&packet).unwrap();
            }
            match self.client.poll_event() {
                Some(Event::Answer((), answer)) => return answer,
                Some(_) => continue,
                None => {}
            }
            let mut buffer = [0; 65536];
            let count = self.stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the server closed");
            self.client
                .receive(&buffer[..count], Instant::now())
                .unwrap();
        }
    }

    /// How a request ended; a kind of answer other than a status is done.
    pub fn status(&mut self, request: &Request<'_>) -> Status {
        match self.ask(request).response() {
            Response::Status(failure) => failure.status,
            _ => Status::Ok,
        }
    }

    pub fn open(&mut self, path: &[u8], flags: OpenFlags) -> Option<Vec<u8>> {
        let request = Request::Open {
            path,
            flags,
            attributes: Attributes::NONE,
        };
        match self.ask(&request).response() {
            Response::Handle(handle) => Some(handle.to_vec()),
            _ => None,
        }
    }

    pub fn read(&mut self, path: &[u8]) -> Option<Vec<u8>> {
        let handle = self.open(path, OpenFlags::READ)?;
        let request = Request::Read {
            handle: &handle,
            offset: 0,
            length: 1000,
        };
        let data = match self.ask(&request).response() {
            Response::Data(data) => data.to_vec(),
            _ => Vec::new(),
        };
        self.status(&Request::Close { handle: &handle });
        Some(data)
    }
}
