//! Calls of sockets that programs sit on, and the names of what is pinned for them.

use std::fmt;

use serde::Serialize;

/// A call by which a socket asks for an address, or is told one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// `connect` by IPv4.
    Connect4,
    /// `connect` by IPv6.
    Connect6,
    /// `sendto` and its like by IPv4.
    Send4,
    /// `recvfrom` and its like by IPv4.
    Receive4,
    /// `recvfrom` and its like by IPv6.
    Receive6,
    /// `getpeername` by IPv4.
    Peer4,
    /// `getpeername` by IPv6.
    Peer6,
}

impl Call {
    /// All of them, those that tell before those that ask.
    pub const ALL: [Self; 7] = [
        Self::Peer4,
        Self::Peer6,
        Self::Receive4,
        Self::Receive6,
        Self::Connect4,
        Self::Connect6,
        Self::Send4,
    ];

    /// The word for it in pins and in what people read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect4 => "connect4",
            Self::Connect6 => "connect6",
            Self::Send4 => "send4",
            Self::Receive4 => "receive4",
            Self::Receive6 => "receive6",
            Self::Peer4 => "peer4",
            Self::Peer6 => "peer6",
        }
    }

    /// Name of the pin that keeps a program on it.
    #[must_use]
    pub fn pin(self) -> String {
        format!("call_{self}")
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
