//! One client's connection: requests answered in order, until it becomes a
//! tunnel or ends.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use qvd_broker::{
    ConnectParameters, Credentials, MAX_REQUEST_BODY, Refusal, Request, VmEntry, connected,
    progress, write_vm_list,
};
use qvd_http1::{Response, Status};
use qvd_net::http::{Deadlines, Error, ServerConnection};
use qvd_net::relay::{self, Ended, Meter, Side};
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::server::TlsStream;

use crate::auth::Authenticator;
use crate::connect::{self, Prepared, Progress, Timeouts};
use crate::counters::Counters;
use crate::inventory::{Inventory, Snapshot, User, Vm};
use crate::registry::{Lease, Registry};

/// Sessions under this count as short.
const SHORT: Duration = Duration::from_secs(120);

/// What all connections share.
pub struct Shared {
    /// Users and VMs.
    pub inventory: Arc<dyn Inventory>,
    /// Who is who.
    pub auth: Authenticator,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Who holds which VM.
    pub registry: Registry,
    /// What is counted.
    pub counters: Counters,
}

/// A client's connection that can become a tunnel.
pub trait ClientStream: AsyncRead + AsyncWrite + Unpin + Send + Sized + 'static {
    /// Joins the client with its session until both have ended.
    fn join(
        self,
        early: Vec<u8>,
        session: TcpStream,
        meter: &Meter,
        cancel: impl Future<Output = ()> + Send,
    ) -> impl Future<Output = Ended> + Send;
}

impl ClientStream for TcpStream {
    async fn join(
        self,
        early: Vec<u8>,
        session: TcpStream,
        meter: &Meter,
        cancel: impl Future<Output = ()> + Send,
    ) -> Ended {
        let client = Side::new(self).with_early(early);
        relay::plain(client, Side::new(session), meter, cancel).await
    }
}

impl ClientStream for TlsStream<TcpStream> {
    async fn join(
        self,
        early: Vec<u8>,
        session: TcpStream,
        meter: &Meter,
        cancel: impl Future<Output = ()> + Send,
    ) -> Ended {
        let (stream, tls) = self.into_inner();
        let client = Side::new(stream).with_early(early);
        relay::tls(tls, client, Side::new(session), meter, cancel).await
    }
}

/// A connection that has become a tunnel.
pub struct Tunnel<S> {
    client: S,
    early: Vec<u8>,
    session: TcpStream,
    lease: Lease,
    login: String,
    vm: String,
}

impl<S: ClientStream> Tunnel<S> {
    /// Carries bytes until either end has gone, or another client takes the VM.
    pub async fn run(self, shared: Arc<Shared>) {
        let Self {
            client,
            early,
            session,
            mut lease,
            login,
            vm,
        } = self;
        let counters = &shared.counters;
        Counters::count(&counters.sessions);
        Counters::count(&counters.active);
        let start = Instant::now();
        let meter = Meter::default();
        let ended = client
            .join(early, session, &meter, lease.superseded())
            .await;
        let (received, sent) = (meter.left_to_right(), meter.right_to_left());
        let seconds = start.elapsed().as_secs();
        counters.active.fetch_sub(1, Ordering::Relaxed);
        Counters::add(&counters.received, received);
        Counters::add(&counters.sent, sent);
        if start.elapsed() < SHORT {
            Counters::count(&counters.short_sessions);
        }
        tracing::info!(
            user = login,
            vm,
            seconds,
            received,
            sent,
            "session is over: {ended}"
        );
    }
}

/// Answers a client's requests. When one becomes a tunnel, that is given back,
/// so that the caller can let go of everything else first.
pub async fn converse<S: ClientStream>(
    stream: S,
    peer: SocketAddr,
    shared: &Shared,
) -> Option<Tunnel<S>> {
    let connection = ServerConnection::new(stream, MAX_REQUEST_BODY, Deadlines::default());
    let mut dialogue = Dialogue {
        connection,
        peer: peer.ip().to_canonical(),
        shared,
    };
    match dialogue.run().await {
        Ok(Some(granted)) => {
            let (client, early) = dialogue.connection.into_parts();
            let Granted {
                prepared,
                login,
                vm,
            } = granted;
            let Prepared {
                stream: session,
                lease,
                ..
            } = prepared;
            Some(Tunnel {
                client,
                early,
                session,
                lease,
                login,
                vm,
            })
        }
        Ok(None) => None,
        Err(error) => {
            tracing::debug!(%peer, %error, "client's connection");
            None
        }
    }
}

/// A session whose 101 was sent.
struct Granted {
    prepared: Prepared,
    login: String,
    vm: String,
}

struct Dialogue<'a, S> {
    connection: ServerConnection<S>,
    peer: IpAddr,
    shared: &'a Shared,
}

impl<S: ClientStream> Dialogue<'_, S> {
    async fn run(&mut self) -> Result<Option<Granted>, Error> {
        while let Some(received) = self.connection.next_request().await? {
            let close = received.head.wants_close();
            let answer = match Request::from_head(&received.head) {
                Err(refusal) => Err(refusal),
                Ok(Request::Ping) => Ok(Response::new(Status::OK, "text/plain", "I am alive!\r\n")),
                Ok(request) => match self.user(&received.head.headers).await {
                    Err(refusal) => Err(refusal),
                    Ok(user) => match request {
                        Request::Connect { id, parameters } => {
                            match self.connect(id, &parameters, &user).await? {
                                Ok(granted) => return Ok(Some(granted)),
                                Err(refusal) => Err(refusal),
                            }
                        }
                        Request::StopVm { id } => self.stop(id, &user).await?,
                        other => self.answer(&other, &user),
                    },
                },
            };
            let response = answer.unwrap_or_else(|refusal| {
                tracing::info!(peer = %self.peer, "refused: {refusal}");
                refusal.to_response()
            });
            self.connection.respond(&response).await?;
            if close {
                break;
            }
        }
        Ok(None)
    }

    async fn user(&self, headers: &qvd_http1::Headers) -> Result<Arc<User>, Refusal> {
        let unauthorized = |reason: &str| Refusal::new(Status::UNAUTHORIZED, reason);
        let snapshot = self.shared.inventory.snapshot();
        let checked = match Credentials::from_headers(headers) {
            Ok(Some(credentials)) => {
                self.shared
                    .auth
                    .login(&snapshot, &credentials, self.peer)
                    .await
            }
            Ok(None) => Err(unauthorized("login and password are needed")),
            Err(error) => Err(unauthorized(&error.to_string())),
        };
        if checked.is_err() {
            Counters::count(&self.shared.counters.logins_refused);
        }
        checked
    }

    /// Requests that are answered at once.
    fn answer(&self, request: &Request, user: &Arc<User>) -> Result<Response, Refusal> {
        let snapshot = self.shared.inventory.snapshot();
        match request {
            Request::ListVms { .. } => Ok(write_vm_list(&entries(&snapshot, user, false))),
            Request::ListApplications => Ok(write_vm_list(&entries(&snapshot, user, true))),
            Request::Authenticate { store_auth } => {
                Ok(self.shared.auth.authenticated(*store_auth).to_response())
            }
            Request::CreateToken => Ok(self.shared.auth.issue(user)?.to_response()),
            _ => Err(Refusal::new(Status::NOT_FOUND, "no such request")),
        }
    }

    async fn stop(&mut self, id: u64, user: &User) -> Result<Result<Response, Refusal>, Error> {
        let vm = match permitted(&self.shared.inventory.snapshot(), id, user) {
            Ok(vm) => vm,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Shared {
            registry, timeouts, ..
        } = self.shared;
        let stopped = self
            .follow(|tell| connect::stop(&vm, registry, *timeouts, tell))
            .await?;
        Ok(stopped.map(|()| Response::new(Status::OK, "text/plain", "Machine stopped\r\n")))
    }

    async fn connect(
        &mut self,
        id: u64,
        parameters: &ConnectParameters,
        user: &User,
    ) -> Result<Result<Granted, Refusal>, Error> {
        let Shared {
            registry,
            timeouts,
            counters,
            ..
        } = self.shared;
        let vm = match permitted(&self.shared.inventory.snapshot(), id, user) {
            Ok(vm) => vm,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let work = |tell| connect::prepare(&vm, user, parameters, registry, *timeouts, tell);
        let prepared = match self.follow(work).await? {
            Ok(prepared) => prepared,
            Err(refusal) => {
                Counters::count(&counters.connects_failed);
                return Ok(Err(refusal));
            }
        };
        self.connection
            .respond_head(&connected(prepared.slave_key.expose_secret()))
            .await?;
        tracing::info!(user = user.login, vm = vm.name, peer = %self.peer, "session is connected");
        Ok(Ok(Granted {
            prepared,
            login: user.login.clone(),
            vm: vm.name.clone(),
        }))
    }

    /// Does work on behalf of the client, passing its progress on. A client
    /// that goes away ends the work.
    async fn follow<T, F>(&mut self, work: impl FnOnce(Progress) -> F) -> Result<T, Error>
    where
        F: Future<Output = T>,
    {
        let (tell, mut told) = mpsc::unbounded_channel();
        let mut work = pin!(work(tell));
        let mut heard = false;
        loop {
            tokio::select! {
                biased;
                Some(text) = told.recv() => self.connection.respond_head(&progress(&text)).await?,
                done = work.as_mut() => {
                    // What was told last goes out before the answer.
                    while let Ok(text) = told.try_recv() {
                        self.connection.respond_head(&progress(&text)).await?;
                    }
                    return Ok(done);
                }
                stays = self.connection.peer_stays(), if !heard => {
                    if !stays {
                        return Err(Error::Truncated);
                    }
                    heard = true;
                }
            }
        }
    }
}

/// The VM, if the user may use it now.
fn permitted(snapshot: &Snapshot, id: u64, user: &User) -> Result<Arc<Vm>, Refusal> {
    let vm = snapshot
        .vms
        .get(&id)
        .ok_or_else(|| Refusal::new(Status::NOT_FOUND, format!("there is no VM {id}")))?;
    if !vm.is_of(&user.login) {
        return Err(Refusal::new(
            Status::FORBIDDEN,
            format!("VM {id} is not yours"),
        ));
    }
    if vm.blocked {
        return Err(Refusal::new(
            Status::FORBIDDEN,
            format!("VM {} is blocked", vm.name),
        ));
    }
    Ok(vm.clone())
}

fn entries(snapshot: &Snapshot, user: &User, applications: bool) -> Vec<VmEntry> {
    let vms = snapshot
        .vms_of(&user.login)
        .filter(|vm| vm.is_application == applications);
    vms.map(|vm| VmEntry {
        id: vm.id,
        // Machines are not started and stopped from here yet.
        state: "running".to_owned(),
        name: vm.name.clone(),
        blocked: vm.blocked,
        is_application: vm.is_application,
    })
    .collect()
}
