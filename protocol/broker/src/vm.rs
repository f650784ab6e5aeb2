use std::fmt;

use qvd_http1::{Response, Status};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Error;

/// A VM or an application in the list of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmEntry {
    /// The number by which it is connected to.
    #[serde(deserialize_with = "number")]
    pub id: u64,
    /// `running`, `stopped`, `starting`, `stopping`, …: the state of the
    /// machine, not of the session.
    pub state: String,
    /// Its name.
    pub name: String,
    /// Whether an administrator has blocked it.
    #[serde(default, deserialize_with = "flag", serialize_with = "zero_or_one")]
    pub blocked: bool,
    /// Whether it shows one application instead of a desktop.
    #[serde(default, deserialize_with = "flag", serialize_with = "zero_or_one")]
    pub is_application: bool,
}

/// Writes the answer to `list_of_vm` and `list_of_applications`.
#[must_use]
pub fn write_vm_list(entries: &[VmEntry]) -> Response {
    json(serde_json::to_vec(entries))
}

/// Reads the answer to `list_of_vm` and `list_of_applications`.
///
/// # Errors
/// [`Error::Body`].
pub fn read_vm_list(response: &Response) -> Result<Vec<VmEntry>, Error> {
    read(response, "list_of_vm")
}

/// The answer to `authenticate_user`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Authenticated {
    /// Where the broker keeps the parameters of this authentication, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_params_id: Option<u64>,
}

impl Authenticated {
    /// Writes the answer.
    #[must_use]
    pub fn to_response(&self) -> Response {
        json(serde_json::to_vec(self))
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// [`Error::Body`].
    pub fn from_response(response: &Response) -> Result<Self, Error> {
        read(response, "authenticate_user")
    }
}

/// The answer to `create_auth_token`.
#[derive(Debug, Clone, Deserialize)]
pub struct Token {
    /// Where the broker keeps the parameters of this authentication.
    pub auth_params_id: u64,
    /// The token, valid for 24 hours.
    #[serde(deserialize_with = "secret")]
    pub auth_token: SecretString,
}

impl Token {
    /// Writes the answer.
    #[must_use]
    pub fn to_response(&self) -> Response {
        json(serde_json::to_vec(&serde_json::json!({
            "auth_params_id": self.auth_params_id,
            "auth_token": self.auth_token.expose_secret(),
        })))
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// [`Error::Body`].
    pub fn from_response(response: &Response) -> Result<Self, Error> {
        read(response, "create_auth_token")
    }
}

/// Our own plain types always serialise; an error would be a fault of ours.
fn json(body: serde_json::Result<Vec<u8>>) -> Response {
    match body {
        Ok(body) => Response::new(Status::OK, "application/json", body),
        Err(e) => Response::text(Status::INTERNAL_SERVER_ERROR, &e.to_string()),
    }
}

fn read<T: for<'de> Deserialize<'de>>(
    response: &Response,
    request: &'static str,
) -> Result<T, Error> {
    // The body can hold a token: only the place of the fault is told.
    serde_json::from_slice(&response.body).map_err(|e| Error::Body {
        request,
        reason: format!("bad JSON at line {} column {}", e.line(), e.column()),
    })
}

/// Perl's JSON writes a number as text once it was used as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Loose {
    Bool(bool),
    Number(u64),
    Text(String),
    Null(()),
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match Loose::deserialize(deserializer)? {
        Loose::Number(n) => Ok(n),
        Loose::Text(t) => t
            .parse()
            .map_err(|_| serde::de::Error::custom("not a number")),
        Loose::Bool(_) | Loose::Null(()) => Err(serde::de::Error::custom("not a number")),
    }
}

fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(match Loose::deserialize(deserializer)? {
        Loose::Bool(b) => b,
        Loose::Number(n) => n != 0,
        Loose::Text(t) => !matches!(t.as_str(), "" | "0"),
        Loose::Null(()) => false,
    })
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn zero_or_one<S: Serializer>(flag: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(u8::from(*flag))
}

impl fmt::Display for VmEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.name, self.id, self.state)
    }
}
