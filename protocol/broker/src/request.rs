use std::collections::BTreeMap;

use qvd_http1::{RequestHead, Status, query};

use crate::{ConnectParameters, Credentials, Error, PROTOCOL, Refusal};

/// What a client asks of the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// Is the broker there? Needs no credentials.
    Ping,
    /// The user's VMs. `file_name` narrows them to those that open such a file.
    ListVms {
        /// Name of a file to be opened.
        file_name: Option<String>,
    },
    /// The user's applications.
    ListApplications,
    /// Are these credentials right?
    Authenticate {
        /// Whether the broker keeps the parameters of this authentication.
        store_auth: bool,
    },
    /// A token that stands for these credentials for a day.
    CreateToken,
    /// Stops a VM.
    StopVm {
        /// The VM.
        id: u64,
    },
    /// Connects to a VM; the connection becomes the tunnel.
    Connect {
        /// The VM.
        id: u64,
        /// What the client says of itself.
        parameters: ConnectParameters,
    },
}

impl Request {
    /// Whether the request needs credentials.
    #[must_use]
    pub fn needs_credentials(&self) -> bool {
        *self != Self::Ping
    }

    /// The name of the request on the wire.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::ListVms { .. } => "list_of_vm",
            Self::ListApplications => "list_of_applications",
            Self::Authenticate { .. } => "authenticate_user",
            Self::CreateToken => "create_auth_token",
            Self::StopVm { .. } => "stop_vm",
            Self::Connect { .. } => "connect_to_vm",
        }
    }

    /// Reads a request as a broker does.
    ///
    /// # Errors
    /// The refusal to answer with: 400, 403, 404, 422 or 426.
    pub fn from_head(head: &RequestHead) -> Result<Self, Refusal> {
        let name = head
            .path()
            .strip_prefix(b"/qvd/")
            .filter(|_| head.method == "GET");
        let Some(name) = name else {
            return Err(Refusal::new(Status::NOT_FOUND, "no such request"));
        };
        match name {
            b"ping" => Ok(Self::Ping),
            b"list_of_vm" => {
                let file_name = pairs(head)?.remove("file_name").filter(|f| !f.is_empty());
                Ok(Self::ListVms { file_name })
            }
            b"list_of_applications" => Ok(Self::ListApplications),
            b"authenticate_user" => {
                let store = pairs(head)?.remove("store_auth");
                Ok(Self::Authenticate {
                    store_auth: store.is_some_and(|v| v == "1"),
                })
            }
            b"create_auth_token" => Ok(Self::CreateToken),
            b"stop_vm" => Ok(Self::StopVm {
                id: vm_id(&mut pairs(head)?)?,
            }),
            b"connect_to_vm" => connect(head),
            _ => Err(Refusal::new(Status::NOT_FOUND, "no such request")),
        }
    }

    /// Writes the request as a client does.
    ///
    /// # Errors
    /// [`Error::LoginWithColon`].
    pub fn to_head(&self, credentials: Option<&Credentials>) -> Result<RequestHead, Error> {
        let mut head = RequestHead::new("GET", self.target());
        if let Some(credentials) = credentials {
            head.headers.push("Authorization", credentials.to_header()?);
        }
        Ok(match self {
            Self::Connect { .. } => head
                .header("Connection", "Upgrade")
                .header("Upgrade", PROTOCOL),
            Self::Ping | Self::StopVm { .. } => head,
            _ => head.header("Accept", "application/json"),
        })
    }

    fn target(&self) -> String {
        let path = format!("/qvd/{}", self.name());
        let query = match self {
            Self::ListVms {
                file_name: Some(name),
            } => query::write([("file_name", name.as_str())]),
            // The reference sends an empty query here.
            Self::ListVms { file_name: None } => return format!("{path}?"),
            Self::Authenticate { store_auth: true } => query::write([("store_auth", "1")]),
            Self::StopVm { id } => query::write([("id", id.to_string().as_str())]),
            Self::Connect { id, parameters } => {
                let id = id.to_string();
                query::write([("id", id.as_str())].into_iter().chain(parameters.iter()))
            }
            _ => return path,
        };
        if query.is_empty() {
            path
        } else {
            format!("{path}?{query}")
        }
    }
}

fn connect(head: &RequestHead) -> Result<Request, Refusal> {
    let mut pairs = pairs(head)?;
    let id = vm_id(&mut pairs)?;
    let parameters = ConnectParameters::from_pairs(pairs)?;
    if !head.headers.asks_upgrade_to(PROTOCOL) {
        return Err(Refusal::new(
            Status::UPGRADE_REQUIRED,
            format!("connect_to_vm needs an upgrade to {PROTOCOL}"),
        ));
    }
    Ok(Request::Connect { id, parameters })
}

fn pairs(head: &RequestHead) -> Result<BTreeMap<String, String>, Refusal> {
    query::parse(head.query()).map_err(|e| Refusal::new(Status::BAD_REQUEST, e.to_string()))
}

fn vm_id(pairs: &mut BTreeMap<String, String>) -> Result<u64, Refusal> {
    let refuse = |reason| Refusal::new(Status::UNPROCESSABLE, reason);
    let id = pairs.remove("id").filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| refuse("parameter id is missing"))?;
    let digits = id.bytes().all(|b| b.is_ascii_digit());
    id.parse()
        .ok()
        .filter(|_| digits)
        .ok_or_else(|| refuse("parameter id is not a number"))
}
