/// Why a stream cannot be decoded. The session on it has to end.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodecError {
    /// A frame ends in the middle of a message.
    #[error("NX frame ends inside a message")]
    Short,
    /// A number is outside what its field admits.
    #[error("NX stream is damaged: {what} is {value}")]
    Bad {
        /// The field.
        what: &'static str,
        /// What came.
        value: u64,
    },
    /// More than a named limit admits.
    #[error("NX stream exceeds a limit: {what} of {value} bytes")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes.
        value: usize,
    },
    /// The handshake is not that of NX 3.5.
    #[error("{0}")]
    Handshake(String),
    /// The compressed stream is damaged.
    #[error("NX stream cannot be decompressed")]
    Inflate,
    /// An X client that begins otherwise than X11 has it.
    #[error("X channel does not begin with an X11 setup message")]
    Setup,
    /// The X server does not speak X11.
    #[error("X server sent a damaged message")]
    Server,
    /// At a request.
    #[error("{source} (request {number}, opcode {opcode})")]
    At {
        /// What was wrong.
        source: Box<CodecError>,
        /// The request's number, from 1.
        number: u64,
        /// Its opcode on the wire.
        opcode: u8,
    },
}

/// Says where an error was met.
pub trait Place {
    /// Names the request.
    fn at(self, number: u64, opcode: u8) -> Self;
}

impl<T> Place for Result<T, CodecError> {
    fn at(self, number: u64, opcode: u8) -> Self {
        self.map_err(|source| CodecError::At {
            source: Box::new(source),
            number,
            opcode,
        })
    }
}

pub(super) fn bad<T>(what: &'static str, value: impl Into<u64>) -> Result<T, CodecError> {
    Err(CodecError::Bad {
        what,
        value: value.into(),
    })
}
