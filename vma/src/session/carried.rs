//! The client's carrier: its connections, which come and go, and its streams,
//! of which one is nxagent's and the others are folders.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use qvd_carrier::{Code, Config, HELLO, Kind, Loss, Reason, Role, Token};
use qvd_net::carrier::{Ended, Incoming, Session, Telling, tell_road};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{sleep, sleep_until, timeout};

use crate::control::{Carrier as Settings, Hidden};

/// How long nxagent may take to accept; its socket is local.
const CONNECT: Duration = Duration::from_secs(5);

/// How long the client may take to follow when nxagent has closed.
const LINGER: Duration = Duration::from_secs(5);

/// How long a client that is let go may take to hear of it.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long nxagent may hear nothing. After 30 s of silence it shows the user
/// a dialog, after 120 s it gives its client up (seen); while it is stopped no
/// time passes for it.
const SILENCE: Duration = Duration::from_secs(20);

/// How long nxagent stays stopped when its client is back and nothing comes for
/// it. The client asks for a sign of life at once; an nxagent that looks at the
/// clock before it hears that shows its dialog (seen).
const THAW: Duration = Duration::from_secs(1);

/// Most connections of which it is not known who is on them.
const MAX_HEARING: usize = 8;

/// Most programs that serve folders at a time.
const MAX_SHARES: usize = 64;

/// What became of the carrier.
#[derive(Debug)]
pub(super) enum Said {
    /// There is a connection, the first one or another; with these tokens the
    /// client goes on after it.
    Up {
        again: bool,
        tokens: Vec<Hidden>,
        /// The number of the port to which it came.
        port: u64,
    },
    /// A connection begins; if it comes up, the client may go on with these.
    Begins(Vec<Hidden>),
    /// The connection is lost.
    Away,
    /// It has been so for so long that nxagent is not to notice.
    Silent,
    /// nxagent has been given something since, or as long was waited for that
    /// as is reasonable.
    Given,
}

/// Where one carrier tells what becomes of it.
pub(super) struct Tell {
    number: u64,
    sender: mpsc::UnboundedSender<(u64, Said)>,
}

impl Tell {
    pub(super) fn new(number: u64, sender: mpsc::UnboundedSender<(u64, Said)>) -> Self {
        Self { number, sender }
    }

    fn send(&self, said: Said) {
        // Without a listener the process ends.
        let _ = self.sender.send((self.number, said));
    }
}

/// A connection, and the number of the port to which it came.
pub(super) type Connection = (TcpStream, u64);

/// Starts the program that serves folders, on this end of a connection.
pub(super) type StartShare = Rc<dyn Fn(std::os::unix::net::UnixStream) -> io::Result<()>>;

/// What a carrier needs.
pub(super) struct Place {
    /// nxagent's socket.
    pub(super) nx: PathBuf,
    /// Where is told that it was given something.
    pub(super) given: watch::Sender<()>,
    /// The socket on which programs are told of outages.
    pub(super) road: PathBuf,
    /// `None` where no folders are shared.
    pub(super) share: Option<StartShare>,
    pub(super) settings: Settings,
}

/// Tells once nxagent has been given something, or after a while.
pub(super) async fn tell_given(mut given: watch::Receiver<()>, tell: Tell) {
    let _ = timeout(THAW, given.changed()).await;
    tell.send(Said::Given);
}

/// The session process's hold on a carrier that runs.
pub(super) struct Carried {
    session: Session,
    connections: mpsc::UnboundedSender<Connection>,
}

impl Carried {
    /// A carrier that begins on this connection, and what runs it until its
    /// client is gone for good.
    pub(super) fn begin(
        (connection, port): Connection,
        place: Place,
        tell: Tell,
    ) -> (Self, impl Future<Output = ()>) {
        let (connections, queue) = mpsc::unbounded_channel();
        let config = Config {
            keepalive: place.settings.keepalive,
            ..Config::default()
        };
        let session = Session::new(Role::Agent, config);
        let carried = Self {
            session: session.clone(),
            connections,
        };
        carried.resume(connection, port);
        (carried, run(session, place, queue, tell))
    }

    /// What streams are opened in.
    pub(super) fn session(&self) -> Session {
        self.session.clone()
    }

    /// The client is back, if it has the token.
    pub(super) fn resume(&self, connection: TcpStream, port: u64) {
        // It has just ended: the client sees its connection closed.
        let _ = self.connections.send((connection, port));
    }

    /// Tells the client, where it is there, that its session is suspended;
    /// then nothing runs any more.
    pub(super) fn farewell(&self, run: JoinHandle<()>) -> impl Future<Output = ()> + 'static {
        let session = self.session.clone();
        async move {
            let mut link = session.link();
            if link.borrow().up {
                session.end(Reason::Suspended, "the session is suspended");
                let _ = timeout(FAREWELL, link.wait_for(|link| link.over && !link.up)).await;
            }
            run.abort();
        }
    }
}

async fn run(
    session: Session,
    place: Place,
    mut connections: mpsc::UnboundedReceiver<Connection>,
    tell: Tell,
) {
    let grace = place.settings.grace;
    let (clients, mut heard) = mpsc::unbounded_channel();
    let carry = carry(&session, grace, &mut heard, &tell);
    let ended = tokio::select! {
        ended = carry => ended,
        () = hear(&session, &mut connections, clients) => "the client never came".to_owned(),
        // The streams are over for good, and the client has had its time.
        () = serve(&session, &place) => "the session has let its client go".to_owned(),
        never = tell_programs(&session, &place.road) => match never {},
    };
    let (stats, _) = session.stats();
    tracing::info!(
        ended,
        received = stats.received,
        sent = stats.sent,
        resumes = stats.resumes,
        "client's carrier is over"
    );
}

/// Tells the programs that serve folders of outages.
async fn tell_programs(session: &Session, road: &Path) -> Infallible {
    // Of the carrier before.
    let _ = std::fs::remove_file(road);
    match UnixListener::bind(road) {
        Ok(listener) => tell_road(listener, session.link()).await,
        Err(error) => tracing::warn!(%error, "an outage is no pause for folders"),
    }
    std::future::pending().await
}

/// A connection, and the hello that was heard on it.
type Client = (Connection, [u8; HELLO]);

/// Hears who is on each connection, while the one before goes on: only who has
/// the session's token takes its place. Returns when the first one is of no
/// client.
async fn hear(
    session: &Session,
    connections: &mut mpsc::UnboundedReceiver<Connection>,
    clients: mpsc::UnboundedSender<Client>,
) {
    let mut hearing = JoinSet::new();
    let mut oldest: VecDeque<AbortHandle> = VecDeque::new();
    let mut has_begun = false;
    loop {
        let (mut connection, port) = tokio::select! {
            biased;
            Some(connection) = connections.recv() => connection,
            Some(heard) = hearing.join_next() => {
                has_begun |= heard.unwrap_or(false);
                if !has_begun && hearing.is_empty() {
                    return;
                }
                continue;
            }
            else => return std::future::pending().await,
        };
        oldest.retain(|task| !task.is_finished());
        if oldest.len() >= MAX_HEARING
            && let Some(task) = oldest.pop_front()
        {
            tracing::warn!("too many connections at once: the oldest is closed");
            task.abort();
        }
        let (session, clients) = (session.clone(), clients.clone());
        let task = hearing.spawn_local(async move {
            match session.hear(&mut connection).await {
                Ok(hello) => {
                    // It is over: the client sees its connection closed.
                    let _ = clients.send(((connection, port), hello));
                    return true;
                }
                Err(Loss::Refused(refusal)) => {
                    tracing::warn!("a client was not taken: {refusal}");
                }
                Err(loss) => tracing::info!("a connection was of no client: {loss}"),
            }
            false
        });
        oldest.push_back(task);
    }
}

/// Runs one connection after the other, until the client says goodbye or stays
/// away.
async fn carry(
    session: &Session,
    grace: Duration,
    clients: &mut mpsc::UnboundedReceiver<Client>,
    tell: &Tell,
) -> String {
    let mut link = session.link();
    let mut next = None;
    loop {
        let ((connection, port), hello) = match next.take() {
            Some(client) => client,
            None => {
                let times = link.borrow().times;
                match away(session, grace, clients, tell).await {
                    Some(client) => client,
                    None if times == 0 => return "the client never came".to_owned(),
                    None => return format!("the client was away for {} s", grace.as_secs()),
                }
            }
        };
        let token = match random() {
            Ok(token) => token,
            Err(error) => return error.to_string(),
        };
        // Told before the client can know the next: it may be back sooner than
        // the daemon hears of anything.
        let mut tokens = session.tokens();
        tokens.push(token.clone());
        tell.send(Said::Begins(hidden(&tokens)));
        let mut known = Known {
            session,
            tell,
            port,
            times: link.borrow().times,
        };
        let up = async {
            // One that is refused never comes up.
            if link.wait_for(|link| link.up || link.over).await.is_ok() {
                known.tell();
            }
            std::future::pending::<()>().await;
        };
        let ended = tokio::select! {
            biased;
            client = clients.recv() => {
                next = client;
                None
            }
            ended = session.serve(connection, &hello, token) => Some(ended),
            () = up => None,
        };
        // It may have come up and be lost at the same moment: the client has
        // the next token all the same.
        known.tell();
        let Some(ended) = ended else {
            continue;
        };
        match ended {
            Ended::Over { reason, text, .. } if text.is_empty() => return reason.to_string(),
            Ended::Over { reason, text, .. } => return format!("{reason}: {text}"),
            Ended::Lost(Loss::Refused(refusal)) => {
                tracing::warn!("a client was not taken: {refusal}");
            }
            Ended::Lost(loss) => tracing::info!("the client's connection is lost: {loss}"),
            _ => {}
        }
    }
}

/// What the daemon was told of a connection.
struct Known<'a> {
    session: &'a Session,
    tell: &'a Tell,
    port: u64,
    /// How many connections there had been.
    times: u64,
}

impl Known<'_> {
    /// Tells of the connection, if it has come up and that was not told.
    fn tell(&mut self) {
        let times = self.session.link().borrow().times;
        if times == self.times {
            return;
        }
        self.times = times;
        self.tell.send(Said::Up {
            again: times > 1,
            tokens: hidden(&self.session.tokens()),
            port: self.port,
        });
    }
}

fn hidden(tokens: &[Token]) -> Vec<Hidden> {
    let tokens = tokens.iter().map(Token::to_parameter);
    tokens.map(Hidden::from).collect()
}

/// Waits for the next connection, no longer than the client may stay away.
async fn away(
    session: &Session,
    grace: Duration,
    clients: &mut mpsc::UnboundedReceiver<Client>,
    tell: &Tell,
) -> Option<Client> {
    if session.link().borrow().times > 0 {
        tell.send(Said::Away);
    }
    // It has heard nothing for as long as nothing came.
    let heard = session.heard().unwrap_or_else(Instant::now);
    let silent = async {
        sleep_until((heard + SILENCE).into()).await;
        tell.send(Said::Silent);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        client = clients.recv() => client,
        () = sleep(grace) => None,
        () = silent => None,
    }
}

fn random() -> io::Result<Token> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(Token::new(bytes))
}

/// Serves the streams of a session; returns when nxagent's is over and the
/// client has not followed.
async fn serve(session: &Session, place: &Place) {
    let mut streams = JoinSet::new();
    let (done, mut over) = mpsc::channel(1);
    let mut has_nx = false;
    loop {
        let incoming = tokio::select! {
            incoming = session.incoming() => incoming,
            Some(()) = over.recv() => break,
            Some(_) = streams.join_next() => continue,
        };
        let Some(incoming) = incoming else {
            // The end is told by the connection.
            return std::future::pending().await;
        };
        match incoming.kind {
            Kind::Nx if has_nx => incoming.refuse(Code::Forbidden, "nxagent has its stream"),
            Kind::Nx => {
                has_nx = true;
                let (socket, done) = (place.nx.clone(), done.clone());
                let given = place.given.clone();
                streams.spawn_local(async move {
                    if let Err(error) = nx(incoming, socket, given).await {
                        tracing::warn!(%error, "client cannot be served");
                    }
                    let _ = done.send(()).await;
                });
            }
            Kind::Share | Kind::Slave => match &place.share {
                None => incoming.refuse(Code::Missing, "no folders are shared here"),
                Some(_) if streams.len() > MAX_SHARES => {
                    incoming.refuse(Code::TooMany, "too many folders");
                }
                Some(start) => {
                    let start = Rc::clone(start);
                    streams.spawn_local(async move {
                        if let Err(error) = share(incoming, &start).await {
                            tracing::debug!(%error, "a share's stream");
                        }
                    });
                }
            },
            kind => incoming.refuse(Code::Missing, &format!("no {} here", kind.name())),
        }
    }
    // The client closes when it has read nxagent's last words.
    let mut link = session.link();
    let _ = timeout(LINGER, link.wait_for(|link| link.over)).await;
    session.end(Reason::Suspended, "nxagent has let its client go");
    let _ = timeout(LINGER, link.wait_for(|link| link.over && !link.up)).await;
}

/// nxagent's stream, as long as it lasts.
async fn nx(incoming: Incoming, socket: PathBuf, given: watch::Sender<()>) -> io::Result<()> {
    let connected = timeout(CONNECT, UnixStream::connect(&socket)).await;
    let agent = match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(agent) => agent,
        Err(error) => {
            incoming.refuse(Code::Failed, "nxagent does not answer");
            return Err(error);
        }
    };
    incoming.accept(b"")?.join(Telling(agent, given)).await;
    Ok(())
}

/// A stream to the program that serves folders.
async fn share(incoming: Incoming, start: &StartShare) -> io::Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    let theirs = theirs.into_std()?;
    theirs.set_nonblocking(false)?;
    if let Err(error) = start(theirs) {
        incoming.refuse(
            Code::Failed,
            "the program that serves folders does not start",
        );
        return Err(error);
    }
    incoming.accept(b"")?.join(ours).await;
    Ok(())
}
