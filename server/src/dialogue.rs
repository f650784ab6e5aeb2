//! One client's connection: requests answered in order, until it becomes a
//! tunnel or ends.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use qvd_broker::{Credentials, MAX_REQUEST_BODY, Refusal, Request, VmEntry, progress};
use qvd_http1::{Response, Status};
use qvd_net::http::{Deadlines, Error as HttpError, ServerConnection};
use tokio::sync::mpsc;
use tracing::Instrument as _;

use crate::agent::Agent;
use crate::broker::Broker;
use crate::counters::Counters;
use crate::inventory::{User, Vm};
use crate::stream::ClientStream;
use crate::tunnel::{Parties, Tunnel};
use crate::{connect, stop};

/// For a client that has connected to send its first request.
const FIRST_REQUEST: Duration = Duration::from_secs(15);

/// What the dialogue allows its client. A user may look at the list of VMs
/// for a while before choosing one.
const DEADLINES: Deadlines = Deadlines {
    request: Duration::from_secs(15),
    first: FIRST_REQUEST,
    idle: Duration::from_secs(300),
    write: Duration::from_secs(30),
};

/// For an agent to answer, when a list says which VMs are running.
const ALIVE: Duration = Duration::from_millis(500);

/// For the end of a connection to come behind the last that it brought. It
/// passes only before somebody's session is taken, which takes longer.
const END_BEHIND: Duration = Duration::from_millis(100);

/// Texts of progress that may wait to be sent.
const PROGRESS_QUEUE: usize = 16;

/// How a dialogue ended.
pub(crate) enum Outcome {
    /// The connection is over.
    Over,
    /// The client was joined with its VM; the tunnel has to be run.
    Joined(Box<Tunnel>),
}

/// Speaks with a client.
pub(crate) async fn run(broker: Arc<Broker>, stream: ClientStream, peer: IpAddr) -> Outcome {
    let connection = ServerConnection::new(stream, MAX_REQUEST_BODY, DEADLINES);
    let mut dialogue = Dialogue {
        broker,
        connection,
        peer,
    };
    match dialogue.serve().await {
        Ok(Some(parties)) => {
            let (stream, early) = dialogue.connection.into_parts();
            Outcome::Joined(Box::new(Tunnel::new(
                stream,
                early,
                parties,
                dialogue.broker.counters.clone(),
            )))
        }
        Ok(None) => Outcome::Over,
        Err(error) => {
            tracing::debug!(%error, "dialogue ended");
            Outcome::Over
        }
    }
}

struct Dialogue {
    broker: Arc<Broker>,
    connection: ServerConnection<ClientStream>,
    peer: IpAddr,
}

/// What is done with a request.
enum Answer {
    Response(Response),
    /// The 101 has been sent.
    Joined(Parties),
    /// The client went away while its request was being worked on.
    Gone,
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self::Response(refusal.to_response())
    }
}

impl Dialogue {
    /// Answers requests. `Some` when the connection is to become a tunnel.
    async fn serve(&mut self) -> Result<Option<Parties>, HttpError> {
        let mut next = self.connection.next_request().await;
        loop {
            let request = match next {
                Ok(Some(request)) => request,
                Ok(None) => return Ok(None),
                Err(error) => {
                    if matches!(error, HttpError::TooSlow) {
                        let refusal = Refusal::new(
                            Status::REQUEST_TIMEOUT,
                            "the request did not arrive in time",
                        );
                        self.connection.respond(&refusal.to_response()).await?;
                        self.connection.close().await;
                    }
                    return Err(error);
                }
            };
            let closing = request.head.wants_close();
            match self.answer(&request.head).await? {
                Answer::Response(response) => self.connection.respond(&response).await?,
                Answer::Joined(parties) => return Ok(Some(parties)),
                Answer::Gone => return Ok(None),
            }
            if closing {
                return Ok(None);
            }
            next = self.connection.next_request().await;
        }
    }

    async fn answer(&mut self, head: &qvd_http1::RequestHead) -> Result<Answer, HttpError> {
        let request = match Request::from_head(head) {
            Ok(Request::Ping) => {
                let alive = Response::new(Status::OK, "text/plain", "I am alive!\r\n");
                return Ok(Answer::Response(alive));
            }
            // Nothing to be learnt from it: these are known to everybody.
            Err(refusal) if refusal.status == Status::NOT_FOUND => return Ok(refusal.into()),
            request => request,
        };
        // Who is not logged in does not learn what is wrong with a request.
        let user = match self.login(head).await {
            Ok(user) => user,
            Err(refusal) => return Ok(refusal.into()),
        };
        let request = match request {
            Ok(request) => request,
            Err(refusal) => return Ok(refusal.into()),
        };
        tracing::debug!(user = %user.login, request = request.name(), "request");
        match request {
            Request::ListVms { .. } => Ok(self.list(&user, false).await),
            Request::ListApplications => Ok(self.list(&user, true).await),
            Request::Authenticate { store_auth } => {
                let answer = self.broker.auth.authenticated(store_auth);
                Ok(Answer::Response(answer.to_response()))
            }
            Request::CreateToken => Ok(match self.broker.auth.issue(&user) {
                Ok(token) => Answer::Response(token.to_response()),
                Err(refusal) => refusal.into(),
            }),
            Request::StopVm { id } => match self.vm_of(&user, id) {
                Ok(vm) => self.stop(&vm).await,
                Err(refusal) => Ok(refusal.into()),
            },
            Request::Connect { id, parameters } => match self.vm_of(&user, id) {
                Ok(vm) => {
                    let answer = self.connect(user, vm, &parameters).await;
                    if !matches!(answer, Ok(Answer::Joined(_))) {
                        Counters::count(&self.broker.counters.failed_sessions);
                    }
                    answer
                }
                Err(refusal) => Ok(refusal.into()),
            },
            _ => Ok(Refusal::new(Status::NOT_FOUND, "no such request").into()),
        }
    }

    async fn login(&self, head: &qvd_http1::RequestHead) -> Result<Arc<User>, Refusal> {
        let inventory = self.broker.inventory.snapshot();
        let login = match Credentials::from_headers(&head.headers) {
            Ok(Some(credentials)) => {
                self.broker
                    .auth
                    .login(&inventory, &credentials, self.peer)
                    .await
            }
            // No credentials: a client that asks first how to log in.
            Ok(None) => return Err(Refusal::new(Status::UNAUTHORIZED, "a login is needed")),
            Err(error) => Err(Refusal::new(Status::UNAUTHORIZED, error.to_string())),
        };
        login.inspect_err(|refusal| {
            Counters::count(&self.broker.counters.refused_logins);
            tracing::info!(peer = %self.peer, %refusal, "login refused");
        })
    }

    /// A VM that this user may use now.
    fn vm_of(&self, user: &User, id: u64) -> Result<Arc<Vm>, Refusal> {
        let inventory = self.broker.inventory.snapshot();
        let vm = inventory.vms.get(&id);
        let vm =
            vm.ok_or_else(|| Refusal::new(Status::NOT_FOUND, format!("there is no VM {id}")))?;
        if !vm.is_of(&user.login) {
            return Err(Refusal::new(
                Status::FORBIDDEN,
                format!("VM {id} is not yours"),
            ));
        }
        if vm.blocked {
            return Err(Refusal::new(
                Status::FORBIDDEN,
                format!("VM {id} is blocked"),
            ));
        }
        Ok(vm.clone())
    }

    /// The user's VMs. A VM is running when its agent answers.
    async fn list(&self, user: &User, applications: bool) -> Answer {
        let inventory = self.broker.inventory.snapshot();
        let vms = inventory
            .vms_of(&user.login)
            .filter(|vm| vm.is_application == applications);
        let pings: Vec<_> = vms
            .map(|vm| {
                let vm = vm.clone();
                tokio::spawn(async move {
                    let alive = Agent::new(&vm).is_alive(ALIVE).await;
                    VmEntry {
                        id: vm.id,
                        state: if alive { "running" } else { "stopped" }.to_owned(),
                        name: vm.name.clone(),
                        blocked: vm.blocked,
                        is_application: vm.is_application,
                    }
                })
            })
            .collect();
        let mut entries = Vec::with_capacity(pings.len());
        for ping in pings {
            match ping.await {
                Ok(entry) => entries.push(entry),
                Err(error) => {
                    let refusal = Refusal::new(Status::INTERNAL_SERVER_ERROR, error.to_string());
                    return refusal.into();
                }
            }
        }
        Answer::Response(qvd_broker::write_vm_list(&entries))
    }

    async fn stop(&mut self, vm: &Vm) -> Result<Answer, HttpError> {
        let (texts, receiver) = mpsc::channel(PROGRESS_QUEUE);
        let work = stop::stop(vm, texts);
        Ok(match self.report(receiver, work).await? {
            None => Answer::Gone,
            Some(Ok(())) => Answer::Response(Response::new(
                Status::OK,
                "text/plain",
                "Machine stopped\r\n",
            )),
            Some(Err(refusal)) => refusal.into(),
        })
    }

    async fn connect(
        &mut self,
        user: Arc<User>,
        vm: Arc<Vm>,
        parameters: &qvd_broker::ConnectParameters,
    ) -> Result<Answer, HttpError> {
        let session = parameters.session_id();
        let broker = self.broker.clone();
        if self.has_left(vm.id).await {
            tracing::info!(user = %user.login, vm = vm.id, peer = %self.peer, session, "session given up by its client");
            return Ok(Answer::Gone);
        }
        let (texts, receiver) = mpsc::channel(PROGRESS_QUEUE);
        // Whatever is logged on the way has the session's name.
        let span = tracing::info_span!("session", id = session);
        tracing::info!(user = %user.login, vm = vm.id, peer = %self.peer, session, "session asked for");
        let work = connect::prepare(&broker, &user, &vm, parameters, texts).instrument(span);
        let prepared = match self.report(receiver, work).await? {
            None => {
                tracing::info!(user = %user.login, vm = vm.id, peer = %self.peer, session, "session given up by its client");
                return Ok(Answer::Gone);
            }
            Some(Err(refusal)) => {
                tracing::info!(user = %user.login, vm = vm.id, session, %refusal, "session refused");
                return Ok(refusal.into());
            }
            Some(Ok(prepared)) => prepared,
        };
        let connect::Prepared {
            claim,
            vm: socket,
            slave_key,
            carrier,
        } = prepared;
        self.connection
            .respond_head(&connect::joined(&slave_key, carrier))
            .await?;
        Ok(Answer::Joined(Parties {
            user,
            vm,
            socket,
            claim,
            peer: self.peer,
            session: session.map(str::to_owned),
        }))
    }

    /// Whether somebody has the VM, and who asks for it now is gone. A network
    /// may deliver a request long after its client has given it up, with the
    /// connection's end behind it, and meanwhile the client has come back on
    /// another one.
    async fn has_left(&mut self, vm: u64) -> bool {
        self.broker.registry.is_taken(vm)
            && tokio::time::timeout(END_BEHIND, self.connection.peer_stays()).await == Ok(false)
    }

    /// Sends the texts of progress of `work` until it is done. `None` when the
    /// client goes away: then the work is abandoned.
    async fn report<T>(
        &mut self,
        mut texts: mpsc::Receiver<String>,
        work: impl Future<Output = T>,
    ) -> Result<Option<T>, HttpError> {
        let mut work = std::pin::pin!(work);
        let mut watching = true;
        let result = loop {
            tokio::select! {
                biased;
                Some(text) = texts.recv() => {
                    self.connection.respond_head(&progress(&text)).await?;
                }
                result = &mut work => break result,
                stays = self.connection.peer_stays(), if watching => {
                    if !stays {
                        return Ok(None);
                    }
                    // It sent something ahead, which is kept for later.
                    watching = false;
                }
            }
        };
        while let Ok(text) = texts.try_recv() {
            self.connection.respond_head(&progress(&text)).await?;
        }
        Ok(Some(result))
    }
}
