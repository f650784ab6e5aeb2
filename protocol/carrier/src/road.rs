/// The variable by which a program that serves a stream of the carrier is told
/// of a socket. Whoever connects to it is sent a byte at once and whenever that
/// changes: whether the carrier has a connection. The socket's end is the
/// session's.
pub const ROAD_VARIABLE: &str = "QVD_CARRIER_ROAD";

/// What is beneath the streams of a session, as such a socket tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Road {
    /// Bytes flow.
    Open,
    /// The connection is lost: what is sent waits for the next one.
    Lost,
}

impl Road {
    /// As it is told.
    #[must_use]
    pub fn to_byte(self) -> u8 {
        match self {
            Self::Open => b'o',
            Self::Lost => b'l',
        }
    }

    /// `None`: nothing that is told by this version.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'o' => Some(Self::Open),
            b'l' => Some(Self::Lost),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood_and_nothing_else() {
        for road in [Road::Open, Road::Lost] {
            assert_eq!(Road::from_byte(road.to_byte()), Some(road));
        }
        let known = (0..=u8::MAX).filter_map(Road::from_byte);
        assert_eq!(known.count(), 2);
    }
}
