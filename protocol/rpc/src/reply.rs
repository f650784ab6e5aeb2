use qvd_http1::{Response, Status};
use serde_json::Value;

use crate::{CONTENT_TYPE, Error, SessionState};

/// The agent's answer to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// To `ping`.
    Alive,
    /// A state word: to `x_state`, and to `x_start`, `x_suspend` and `x_stop`.
    State(SessionState),
    /// To `poweroff` and `expire`.
    Nothing,
    /// To `x_wait`.
    Waited(Waited),
    /// The call failed; the message says why.
    Failure(String),
}

/// What `x_wait` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waited {
    /// The state now.
    pub state: SessionState,
    /// Why the last start or resume failed, while it is the last thing that
    /// happened.
    pub reason: Option<String>,
    /// Whether the agent will speak the carrier on the session's port, once
    /// that is open; `None` of an agent that does not say.
    pub carrier: Option<bool>,
}

impl Reply {
    /// Writes the reply as the agent does.
    #[must_use]
    pub fn to_response(&self) -> Response {
        let value = match self {
            Self::Failure(message) => {
                let body = format!("\"\",{}\r\n", Value::from(message.as_str()));
                return Response::new(Status::OK, CONTENT_TYPE, body);
            }
            Self::Alive => Value::from(1),
            Self::State(state) => Value::from(state.as_str()),
            Self::Nothing => Value::Null,
            Self::Waited(waited) => serde_json::json!({
                "state": waited.state.as_str(),
                "reason": waited.reason,
                "carrier": waited.carrier,
            }),
        };
        Response::new(Status::OK, CONTENT_TYPE, format!("{value}\n\r\n"))
    }

    /// Reads a reply as the broker does.
    ///
    /// # Errors
    /// [`Error::Status`] when the agent does not know the method or is no
    /// agent, [`Error::Reply`] when the body is not SimpleRPC.
    pub fn from_response(response: &Response) -> Result<Self, Error> {
        let status = response.head.status;
        if status != Status::OK {
            return Err(Error::Status { status });
        }
        let body = std::str::from_utf8(&response.body)
            .map_err(|_| Error::Reply("body is not UTF-8".into()))?;
        let wrapped = format!("[{}]", body.trim());
        let elements: Vec<Value> =
            serde_json::from_str(&wrapped).map_err(|e| Error::Reply(e.to_string()))?;
        Self::from_elements(&elements)
    }

    fn from_elements(elements: &[Value]) -> Result<Self, Error> {
        match elements {
            [_, message, ..] => Ok(Self::Failure(match message {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            })),
            [] | [Value::Null] => Ok(Self::Nothing),
            [Value::String(word)] if word.is_empty() => Ok(Self::Nothing),
            [Value::String(word)] => Ok(Self::State(word.parse()?)),
            [Value::Number(_)] => Ok(Self::Alive),
            [Value::Object(fields)] => {
                let state = fields.get("state").and_then(Value::as_str);
                let state = state.ok_or_else(|| Error::Reply("object without a state".into()))?;
                Ok(Self::Waited(Waited {
                    state: state.parse()?,
                    reason: fields
                        .get("reason")
                        .and_then(Value::as_str)
                        .map(str::to_owned),
                    carrier: fields.get("carrier").and_then(Value::as_bool),
                }))
            }
            [other] => Err(Error::Reply(format!("unexpected value {other}"))),
        }
    }
}
