//! The client of the session: its connection, or its carrier.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

use qvd_net::socket::tune;
use rustix::net::{RecvFlags, recv};
use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use super::asks::Asks;
use super::carried::{Carried, Place, Said, StartShare, Tell, tell_given};
use super::run::Session;
use super::{bridge, children, paths};
use crate::control::{self, Event, Hidden, NxState};

/// What is known of the client's carrier.
pub(super) struct Client {
    carried: Option<Carried>,
    /// What carriers tell, each with its number, and where they tell it.
    pub(super) said: mpsc::UnboundedReceiver<(u64, Said)>,
    tell: mpsc::UnboundedSender<(u64, Said)>,
    /// The number of the last one.
    carrier: u64,
    tokens: Vec<Hidden>,
    /// The number of the port to which its connection came.
    port: u64,
    /// The same of the last one, of which it may not be known who is on it.
    last: u64,
    /// The carrier, for what the session asks of the client.
    way: watch::Sender<Option<qvd_net::carrier::Session>>,
    /// The port on which the session asks, while it has a client.
    asks: Option<Asks>,
    /// Whether the carrier has a connection, since it first had one; and since
    /// when that is so.
    there: Option<(bool, Instant)>,
    /// nxagent is stopped, since its client is away.
    frozen: bool,
    /// Tells when nxagent was given something.
    given: watch::Sender<()>,
    /// The same, since it was stopped.
    given_since: watch::Receiver<()>,
}

impl Default for Client {
    fn default() -> Self {
        let (tell, said) = mpsc::unbounded_channel();
        let (given, given_since) = watch::channel(());
        Self {
            carried: None,
            said,
            tell,
            carrier: 0,
            tokens: Vec::new(),
            port: 0,
            last: 0,
            way: watch::Sender::new(None),
            asks: None,
            there: None,
            frozen: false,
            given,
            given_since,
        }
    }
}

impl Client {
    /// Its connection is not, or not any more.
    fn leaves(&mut self) {
        if let Some((there @ true, since)) = &mut self.there {
            (*there, *since) = (false, Instant::now());
        }
    }
}

impl Session {
    /// A connection of the client, on which the carrier was offered or not.
    pub(super) fn serve_client(&mut self, client: OwnedFd, greeted: bool, port: u64) {
        if let Err(error) = self.try_serve(client, greeted, port) {
            tracing::warn!(%error, "client cannot be served");
        }
    }

    fn try_serve(&mut self, client: OwnedFd, greeted: bool, port: u64) -> io::Result<()> {
        let carrier = greeted && speaks_carrier(&client)?;
        let client = std::net::TcpStream::from(client);
        client.set_nonblocking(true)?;
        let client = TcpStream::from_std(client)?;
        tune(&client)?;
        match &self.client.carried {
            // Whether it is the same client, its token says.
            Some(carried) if carrier => {
                self.client.last = port;
                carried.resume(client, port);
                return Ok(());
            }
            _ => {
                let asks = self.client.asks.take();
                self.forget_client();
                // Its port would not be free again at once.
                self.client.asks = asks;
            }
        }
        self.open_asks();
        if !carrier {
            let socket = paths::nx_socket(&self.launch.dir);
            self.bridge = Some(tokio::task::spawn_local(async move {
                match bridge::serve(client, socket).await {
                    Ok(served) => tracing::info!(
                        ended = %served.ended, received = served.received, sent = served.sent,
                        "client's connection is over"
                    ),
                    Err(error) => tracing::warn!(%error, "client cannot be served"),
                }
            }));
            return Ok(());
        }
        let place = Place {
            nx: paths::nx_socket(&self.launch.dir),
            given: self.client.given.clone(),
            road: paths::road(&self.launch.dir),
            share: self.share_starter(),
            settings: self.launch.carrier,
        };
        self.client.carrier += 1;
        (self.client.port, self.client.last) = (port, port);
        let tell = Tell::new(self.client.carrier, self.client.tell.clone());
        let (carried, run) = Carried::begin((client, port), place, tell);
        self.client.way.send_replace(Some(carried.session()));
        self.client.carried = Some(carried);
        self.bridge = Some(tokio::task::spawn_local(run));
        Ok(())
    }

    /// Opens the port on which the session's programs ask things of the client,
    /// for as long as there is one.
    fn open_asks(&mut self) {
        if self.launch.slave.is_none() || self.client.asks.is_some() {
            return;
        }
        let way = self.client.way.subscribe();
        self.client.asks = Asks::open(self.launch.display, way)
            .inspect_err(|error| tracing::warn!(%error, "nothing can be asked of the client"))
            .ok();
    }

    fn share_starter(&self) -> Option<StartShare> {
        let slave = self.launch.slave.clone()?;
        let dir = self.launch.dir.clone();
        let environment = Rc::clone(&self.environment);
        Some(Rc::new(move |socket| {
            children::start_slave(&slave, &dir, &environment, socket)
        }))
    }

    /// Hears all that the carrier has told.
    pub(super) fn hear_carrier(&mut self) {
        while let Ok((carrier, said)) = self.client.said.try_recv() {
            self.carrier_said(carrier, said);
        }
    }

    /// Whether there is a carrier.
    pub(super) fn is_carried(&self) -> bool {
        self.client.carried.is_some()
    }

    /// The carrier has something to tell.
    pub(super) fn carrier_said(&mut self, carrier: u64, said: Said) {
        if self.client.carried.is_none() || carrier != self.client.carrier {
            // Of one that is over.
            return;
        }
        match said {
            Said::Up {
                again,
                tokens,
                port,
            } => {
                self.client.port = port;
                self.client.there = Some((true, Instant::now()));
                if again {
                    // Perhaps before it was known to be gone.
                    tracing::info!("the client is back");
                }
                self.client.tokens = tokens;
                self.report_carrier(true);
                if self.client.frozen {
                    let given = self.client.given_since.clone();
                    let tell = Tell::new(carrier, self.client.tell.clone());
                    tokio::task::spawn_local(tell_given(given, tell));
                }
            }
            Said::Begins(tokens) => {
                self.client.tokens = tokens;
                self.client.leaves();
                self.report_carrier(false);
            }
            // It waits for an answer that will not come.
            Said::Away if self.agent.is_leaving() => self.client_over(),
            Said::Away => {
                self.client.leaves();
                self.report_carrier(false);
            }
            Said::Silent if self.agent.state() == NxState::Connected => {
                tracing::info!("the client stays away: nxagent is stopped until it is back");
                self.client.frozen = true;
                self.client.given_since.mark_unchanged();
                self.kill_nxagent(Signal::STOP);
            }
            Said::Silent => {}
            Said::Given if matches!(self.client.there, Some((true, _))) => self.thaw(),
            // It has left again: time goes on when it is back.
            Said::Given => {}
        }
    }

    fn report_carrier(&self, up: bool) {
        self.report(Event::Carrier {
            up,
            tokens: self.client.tokens.clone(),
            port: self.client.port,
            client: self.client.there.map(|(there, since)| control::Client {
                there,
                seconds: since.elapsed().as_secs(),
            }),
        });
    }

    /// Has nxagent run on, where it was stopped.
    pub(super) fn thaw(&mut self) {
        if std::mem::take(&mut self.client.frozen) {
            self.kill_nxagent(Signal::CONT);
        }
    }

    /// Has nxagent let its client go: asks it, or takes the client away that
    /// would not answer.
    pub(super) fn suspend(&mut self) {
        if matches!(self.client.there, Some((false, _))) {
            if self.agent.state() == NxState::Connected {
                return self.client_over();
            }
            // It has never spoken NX: nxagent awaits it still, and is to be
            // told like without one.
            self.forget_client();
        }
        let actions = self.agent.suspend();
        self.act(actions);
    }

    /// A client's connection is over.
    pub(super) fn client_over(&mut self) {
        self.forget_client();
        let actions = self.agent.client_gone();
        self.act(actions);
    }

    pub(super) fn drop_client(&mut self) {
        if self.bridge.is_some() {
            tracing::info!("the client does not let go, its connection is closed");
            self.forget_client();
        }
    }

    /// Closes the client's connection, whatever it is. On a carrier the client
    /// is told that this is the end, and no loss.
    pub(super) fn forget_client(&mut self) {
        let carried = self.client.carried.take();
        if let Some(bridge) = self.bridge.take() {
            match &carried {
                Some(carried) => {
                    tokio::task::spawn_local(carried.farewell(bridge));
                }
                None => bridge.abort(),
            }
        }
        self.client.asks = None;
        self.thaw();
        self.client.there = None;
        self.client.way.send_replace(None);
        if carried.is_some() {
            self.client.tokens.clear();
            // With all its connections.
            self.client.port = self.client.last;
            self.report_carrier(false);
        }
    }

    /// What a daemon is told that has just come.
    pub(super) fn tell_carrier(&self) {
        if self.client.carried.is_some() {
            self.report_carrier(false);
        }
    }
}

/// Whether the client's first bytes, which are there, are a carrier's.
fn speaks_carrier(client: &OwnedFd) -> io::Result<bool> {
    let mut first = [0; qvd_carrier::MAGIC.len()];
    let (length, _) = recv(client.as_fd(), &mut first[..], RecvFlags::PEEK)?;
    let first = first.get(..length).unwrap_or_default();
    Ok(qvd_carrier::detect(first) == qvd_carrier::Detected::Carrier)
}
