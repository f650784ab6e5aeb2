use std::collections::VecDeque;

use qvd_http1::{Response, ResponseEvent, ResponseHead, ResponseReader};
use secrecy::SecretString;

use crate::{
    Authenticated, CARRIER_HEADER, Credentials, Error, MAX_REPLY, PROGRESS_HEADER, Refusal,
    Request, SLAVE_KEY_HEADER, Token, VmEntry, one_line, read_vm_list, write_environment,
};

/// What the broker said.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The broker lives.
    Alive,
    /// The list that was asked for.
    Vms(Vec<VmEntry>),
    /// The credentials are right.
    Authenticated(Authenticated),
    /// The token that was asked for.
    Token(Token),
    /// A line of progress for the user, while the VM is being prepared.
    Progress(String),
    /// The VM was stopped; the broker's words.
    Stopped(String),
    /// The connection is the tunnel from here on; what came along with this
    /// is given by [`Dialogue::take_rest`].
    Connected {
        /// The key of the session's slave channel, if the broker gave one.
        slave_key: Option<SecretString>,
        /// Whether the agent will speak the carrier; `None` of a broker that
        /// does not know.
        carrier: Option<bool>,
    },
    /// The broker refused the request. The dialogue can go on.
    Refused(Refusal),
}

/// A client's side of one connection to the broker.
///
/// Ask with [`ask`](Self::ask), send what [`poll_transmit`](Self::poll_transmit)
/// gives, feed what arrives with [`receive`](Self::receive) and
/// [`receive_end`](Self::receive_end), and call [`poll_event`](Self::poll_event)
/// until it gives `None`. After any error the connection is of no more use.
pub struct Dialogue {
    credentials: Option<Credentials>,
    environment: Vec<(String, SecretString)>,
    user_agent: String,
    reader: ResponseReader,
    asked: VecDeque<Request>,
    transmit: Vec<u8>,
    closing: bool,
}

impl Dialogue {
    /// A dialogue with these credentials; `user_agent` names the program and
    /// its version.
    #[must_use]
    pub fn new(credentials: Option<Credentials>, user_agent: &str) -> Self {
        Self {
            credentials,
            environment: Vec::new(),
            user_agent: user_agent.to_owned(),
            reader: ResponseReader::new(MAX_REPLY),
            asked: VecDeque::new(),
            transmit: Vec::new(),
            closing: false,
        }
    }

    /// Shares variables of the user's environment with the list request.
    #[must_use]
    pub fn with_environment(mut self, variables: Vec<(String, SecretString)>) -> Self {
        self.environment = variables;
        self
    }

    /// Asks the broker. Requests are answered in order.
    ///
    /// # Errors
    /// [`Error::LoginWithColon`], and [`Error::Http`] when a part cannot be
    /// written in a head; nothing is sent then.
    pub fn ask(&mut self, request: Request) -> Result<(), Error> {
        let credentials = self
            .credentials
            .as_ref()
            .filter(|_| request.needs_credentials());
        let mut head = request.to_head(credentials)?;
        if matches!(request, Request::ListVms { .. }) {
            let variables = self
                .environment
                .iter()
                .map(|(name, value)| (name.as_str(), value));
            write_environment(&mut head.headers, variables);
        }
        head.headers.push("User-Agent", self.user_agent.as_str());
        let mut bytes = Vec::new();
        head.write(&mut bytes)?;
        self.transmit.append(&mut bytes);
        self.asked.push_back(request);
        Ok(())
    }

    /// Bytes to send, all that there are; `None` when there is nothing to send
    /// until the next [`ask`](Self::ask).
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        (!self.transmit.is_empty()).then(|| std::mem::take(&mut self.transmit))
    }

    /// Takes bytes of the connection.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.reader.receive(bytes);
    }

    /// The broker has closed the connection.
    pub fn receive_end(&mut self) {
        self.reader.receive_end();
    }

    /// Whether an answer is awaited.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Whether the broker said that it closes after its last answer.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// The next event; `None` when more bytes are needed, or no answer is
    /// awaited.
    ///
    /// # Errors
    /// When the broker does not keep to the protocol, or the connection ended
    /// before the answer ([`Error::Http`] with `Truncated`).
    pub fn poll_event(&mut self) -> Result<Option<Event>, Error> {
        let Some(request) = self.asked.front() else {
            return Ok(None);
        };
        let name = request.name();
        let event = loop {
            match self.reader.poll()? {
                None => return Ok(None),
                Some(ResponseEvent::Interim(head)) => {
                    if let Some(text) = head.headers.value(PROGRESS_HEADER) {
                        let text = String::from_utf8_lossy(text);
                        return Ok(Some(Event::Progress(one_line(&text))));
                    }
                }
                Some(ResponseEvent::Upgraded(head)) => match request {
                    Request::Connect { .. } => break connected(&head),
                    _ => {
                        return Err(Error::Unexpected {
                            request: name,
                            status: head.status,
                        });
                    }
                },
                Some(ResponseEvent::Response(response)) => {
                    self.closing |= response.head.headers.has_token("Connection", "close");
                    break answered(request, &response)?;
                }
            }
        };
        self.asked.pop_front();
        Ok(Some(event))
    }

    /// What arrived after the last answer: the tunnel's first bytes.
    #[must_use]
    pub fn take_rest(&mut self) -> Vec<u8> {
        self.reader.take_rest()
    }
}

fn connected(head: &ResponseHead) -> Event {
    let slave_key = head
        .headers
        .text(SLAVE_KEY_HEADER)
        .filter(|k| !k.is_empty());
    let carrier = match head.headers.text(CARRIER_HEADER) {
        Some("1") => Some(true),
        Some("0") => Some(false),
        _ => None,
    };
    Event::Connected {
        slave_key: slave_key.map(SecretString::from),
        carrier,
    }
}

fn answered(request: &Request, response: &Response) -> Result<Event, Error> {
    let status = response.head.status;
    if !status.is_success() {
        return Ok(Event::Refused(Refusal::from_response(response)));
    }
    Ok(match request {
        Request::Ping => Event::Alive,
        Request::ListVms { .. } | Request::ListApplications => Event::Vms(read_vm_list(response)?),
        Request::Authenticate { .. } => {
            Event::Authenticated(Authenticated::from_response(response)?)
        }
        Request::CreateToken => Event::Token(Token::from_response(response)?),
        Request::StopVm { .. } => {
            Event::Stopped(one_line(&String::from_utf8_lossy(&response.body)))
        }
        Request::Connect { .. } => {
            return Err(Error::Unexpected {
                request: request.name(),
                status,
            });
        }
    })
}
