//! The channels of a session as the engine's caller describes them.

use std::path::PathBuf;

use super::{Channels, Listener};
use crate::codec::Service;
use crate::engine::plain_environment;
use crate::private::{PrivateDir, privately};
use crate::{Error, Session};

/// A session's channels, and where they listen.
#[derive(Debug)]
pub(crate) struct OwnChannels {
    pub(crate) channels: Channels,
    /// The socket for the client's requests, if there is one.
    pub(crate) socket: Option<PathBuf>,
    /// Goes after the socket in it.
    pub(crate) dir: Option<PrivateDir>,
}

impl OwnChannels {
    /// Those that `session` asks for.
    ///
    /// # Errors
    /// There is no place for the socket.
    pub(crate) fn new(session: &Session) -> Result<Self, Error> {
        let mut channels = Channels::new();
        for (service, local) in [
            (Service::Media, &session.media),
            (Service::Cups, &session.cups),
        ] {
            if let Some(local) = local {
                channels = channels.with(service, local.clone().into());
            }
        }
        let Some(slave) = &session.slave else {
            return Ok(Self {
                channels,
                socket: None,
                dir: None,
            });
        };
        if let Some(command) = &slave.command {
            let display = ("DISPLAY".to_owned(), session.display.name().into());
            let environment = plain_environment()
                .chain([display])
                .chain(slave.environment.iter().cloned());
            channels = channels.with_slave_command_in(command.clone(), environment.collect());
        }
        let (listener, socket, dir) = privately(|dir| {
            let socket = dir.path().join("sl");
            Ok((Listener::unix(&socket)?, socket, dir))
        })?;
        Ok(Self {
            channels: channels.with_listener(listener),
            socket: Some(socket),
            dir: Some(dir),
        })
    }
}
