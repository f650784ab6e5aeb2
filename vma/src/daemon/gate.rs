//! Who may make which calls: what the configuration says of the RPC port.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use qvd_config::VmaConfig;
use qvd_config::value::{CallKey, RpcMethod};
use qvd_http1::{Headers, RequestHead, Response, Status};
use rustls::ServerConfig;

use super::tls;
use crate::access::Access;
use crate::settings;

/// The rules in force. A reload replaces them for connections from then on.
pub struct Gate {
    /// From where.
    pub access: Access,
    /// Over TLS, if so.
    pub tls: Option<Arc<ServerConfig>>,
    key: Option<CallKey>,
    methods: Vec<RpcMethod>,
}

impl Gate {
    /// The rules of a configuration, with the files it names.
    ///
    /// # Errors
    /// One sentence that names the key and the file.
    pub fn new(config: &VmaConfig) -> Result<Self, String> {
        let rpc = &config.rpc;
        let privileged = rustix::process::geteuid().is_root();
        let tls = match (&rpc.tls_cert, &rpc.tls_key) {
            (Some(cert), Some(key)) => {
                Some(tls::server_config(cert, key, rpc.tls_client_ca.as_deref())?)
            }
            _ => None,
        };
        Ok(Self {
            access: Access::new(rpc.allow.clone(), privileged),
            key: settings::call_key(config)?,
            methods: rpc.methods.clone(),
            tls,
        })
    }

    /// Whether a call is taken.
    ///
    /// # Errors
    /// The response with which it is refused.
    pub fn admit(&self, head: &RequestHead) -> Result<(), Response> {
        if !self.is_shown(&head.headers) {
            let refused = Response::text(Status::UNAUTHORIZED, "the agent's key is not shown");
            return Err(refused.header("WWW-Authenticate", "Bearer realm=\"qvd-vma\""));
        }
        let named = |method: &RpcMethod| {
            head.path().strip_prefix(b"/vma/") == Some(method.as_str().as_bytes())
        };
        if self.methods.is_empty() || self.methods.iter().any(named) {
            return Ok(());
        }
        let known = head.path().starts_with(b"/vma/");
        Err(if known {
            Response::text(Status::FORBIDDEN, "this agent does not take this call")
        } else {
            Response::text(Status::NOT_FOUND, "no such method")
        })
    }

    /// Whether the headers show the key, told in a time that does not depend
    /// on how much of it is right.
    fn is_shown(&self, headers: &Headers) -> bool {
        let Some(key) = &self.key else { return true };
        let shown = headers.value("Authorization").unwrap_or_default();
        let (scheme, rest) = shown.split_at_checked(7).unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"bearer ")
            && verify_slices_are_equal(rest.trim_ascii(), key.expose().as_bytes()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use qvd_config::Properties;

    use super::*;

    fn gate(text: &str) -> Gate {
        let properties = Properties::from_sources([("vma.conf", text.as_bytes())]).unwrap();
        Gate::new(&VmaConfig::from_properties(&properties).unwrap()).unwrap()
    }

    fn status(gate: &Gate, method: &str, shown: Option<&str>) -> u16 {
        let mut head = RequestHead::new("GET", format!("/vma/{method}?a=b"));
        if let Some(shown) = shown {
            head = head.header("authorization", shown);
        }
        match gate.admit(&head) {
            Ok(()) => 200,
            Err(response) => response.head.status.code(),
        }
    }

    #[test]
    fn without_rules_every_call_is_taken() {
        let open = gate("");
        assert_eq!(status(&open, "ping", None), 200);
        assert_eq!(status(&open, "poweroff", Some("Bearer x")), 200);
    }

    #[test]
    fn the_key_must_be_shown_whole() {
        let locked = gate("vma.rpc.key = 0123456789abcdef\n");
        for (shown, expected) in [
            (None, 401),
            (Some("Bearer 0123456789abcdef"), 200),
            (Some("bearer 0123456789abcdef "), 200),
            (Some("Bearer 0123456789abcdeF"), 401),
            (Some("Bearer 0123456789abcde"), 401),
            (Some("Bearer "), 401),
            (Some("Basic 0123456789abcdef"), 401),
            (Some("0123456789abcdef"), 401),
            (Some(""), 401),
        ] {
            assert_eq!(status(&locked, "ping", shown), expected, "{shown:?}");
        }
    }

    #[test]
    fn calls_that_are_not_listed_are_refused() {
        let few = gate("vma.rpc.methods = ping, x_state\n");
        for (method, expected) in [
            ("ping", 200),
            ("x_state", 200),
            ("x_stat", 403),
            ("poweroff", 403),
            ("vnc_connect", 403),
            ("", 403),
        ] {
            assert_eq!(status(&few, method, None), expected, "{method}");
        }
    }
}
