//! The socket, and a message a packet.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::unix::AsyncFd;

/// Longest message, in bytes.
const MAX_MESSAGE: usize = 32 * 1024;

/// One end of the socket.
pub struct Channel {
    socket: AsyncFd<OwnedFd>,
}

impl Channel {
    /// Takes a connected `SOCK_SEQPACKET` socket.
    ///
    /// # Errors
    /// When the socket cannot be made non-blocking or watched.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket: crate::sys::watch(socket)?,
        })
    }

    /// Sends a message, with a descriptor if there is one.
    ///
    /// # Errors
    /// When the peer is gone.
    pub async fn send<M: Serialize>(
        &self,
        message: &M,
        fd: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let bytes = encode(message)?;
        loop {
            let mut ready = self.socket.writable().await?;
            match ready.try_io(|socket| send_packet(socket.get_ref().as_fd(), &bytes, fd)) {
                Ok(sent) => return sent,
                Err(_would_block) => {}
            }
        }
    }

    /// The next message and the descriptor that came with it; `None` when the
    /// peer has closed. Cancel safe.
    ///
    /// # Errors
    /// When the peer's bytes are no message.
    pub async fn receive<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Option<OwnedFd>)>> {
        loop {
            let mut ready = self.socket.readable().await?;
            match ready.try_io(|socket| receive_packet(socket.get_ref().as_fd())) {
                Ok(Ok(Some((bytes, fd)))) => return Ok(Some((decode(&bytes)?, fd))),
                Ok(Ok(None)) => return Ok(None),
                Ok(Err(e)) => return Err(e),
                Err(_would_block) => {}
            }
        }
    }
}

/// Receives one message on a socket that blocks.
///
/// # Errors
/// When the peer has closed or its bytes are no message.
pub fn receive_blocking<M: DeserializeOwned>(socket: BorrowedFd<'_>) -> io::Result<M> {
    let packet = receive_packet(socket)?;
    let (bytes, _) = packet.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    decode(&bytes)
}

/// Sends one message on a socket that blocks.
///
/// # Errors
/// When the peer is gone.
pub fn send_blocking<M: Serialize>(socket: BorrowedFd<'_>, message: &M) -> io::Result<()> {
    send_packet(socket, &encode(message)?, None)
}

fn encode<M: Serialize>(message: &M) -> io::Result<Vec<u8>> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MAX_MESSAGE {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "control message too long",
        ));
    }
    Ok(bytes)
}

fn decode<M: DeserializeOwned>(bytes: &[u8]) -> io::Result<M> {
    serde_json::from_slice(bytes)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("control message: {e}")))
}

fn send_packet(socket: BorrowedFd<'_>, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = fd.map(|fd| [fd]);
    if let Some(fds) = &fds {
        ancillary.push(SendAncillaryMessage::ScmRights(fds));
    }
    sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

type Packet = (Vec<u8>, Option<OwnedFd>);

fn receive_packet(socket: BorrowedFd<'_>) -> io::Result<Option<Packet>> {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = loop {
        match recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            flags,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    bytes.truncate(received.bytes);
    let mut fd = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            fd = fds.last();
        }
    }
    Ok(Some((bytes, fd)))
}

#[cfg(test)]
mod tests;
