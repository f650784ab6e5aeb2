use std::fmt;

/// A response status code with the reason phrase it is written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(u16);

impl Status {
    /// 101: the connection changes its protocol.
    pub const SWITCHING_PROTOCOLS: Self = Self(101);
    /// 102: progress; QVD puts its text into `X-QVD-VM-Info`.
    pub const PROCESSING: Self = Self(102);
    /// 200.
    pub const OK: Self = Self(200);
    /// 400: malformed request.
    pub const BAD_REQUEST: Self = Self(400);
    /// 401: no or wrong credentials.
    pub const UNAUTHORIZED: Self = Self(401);
    /// 403: not for this user, or blocked.
    pub const FORBIDDEN: Self = Self(403);
    /// 404: no such path, method or VM.
    pub const NOT_FOUND: Self = Self(404);
    /// 408: something did not reach its state in time.
    pub const REQUEST_TIMEOUT: Self = Self(408);
    /// 409: in use.
    pub const CONFLICT: Self = Self(409);
    /// 413.
    pub const BODY_TOO_LARGE: Self = Self(413);
    /// 422: a required parameter is missing.
    pub const UNPROCESSABLE: Self = Self(422);
    /// 426: the request needs an `Upgrade`.
    pub const UPGRADE_REQUIRED: Self = Self(426);
    /// 429: too many attempts.
    pub const TOO_MANY_REQUESTS: Self = Self(429);
    /// 431.
    pub const HEAD_TOO_LARGE: Self = Self(431);
    /// 500.
    pub const INTERNAL_SERVER_ERROR: Self = Self(500);
    /// 501.
    pub const NOT_IMPLEMENTED: Self = Self(501);
    /// 503: the VM or the service is not there.
    pub const SERVICE_UNAVAILABLE: Self = Self(503);
    /// 505: another HTTP version than 1.1.
    pub const VERSION_NOT_SUPPORTED: Self = Self(505);

    /// The status of a three-digit code; `None` outside 100–599.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        (100..600).contains(&code).then_some(Self(code))
    }

    /// The code, 100–599.
    #[must_use]
    pub fn code(self) -> u16 {
        self.0
    }

    /// Whether this is an interim response that another one follows.
    /// 101 is final: no other response follows it.
    #[must_use]
    pub fn is_interim(self) -> bool {
        self.0 < 200 && self != Self::SWITCHING_PROTOCOLS
    }

    /// 200–299.
    #[must_use]
    pub fn is_success(self) -> bool {
        (200..300).contains(&self.0)
    }

    /// The reason phrase, as the reference writes it.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self.0 {
            100 => "Continue",
            101 => "Switching Protocols",
            102 => "Processing",
            200 => "OK",
            204 => "No Content",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            409 => "Conflict",
            413 => "Content Too Large",
            422 => "Unprocessable Entity",
            426 => "Upgrade Required",
            429 => "Too Many Requests",
            431 => "Request Header Fields Too Large",
            500 => "Internal Server Error",
            501 => "Not Implemented",
            502 => "Bad Gateway",
            503 => "Service Unavailable",
            504 => "Gateway Timeout",
            505 => "HTTP Version Not Supported",
            _ => "Status",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.reason())
    }
}
