//! A socket of this host that waits for others.

use std::net::IpAddr;

use crate::spec::Proto;

/// A socket that listens, or receives from anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its protocol.
    pub proto: Proto,
    /// The address it is bound to; that of IPv4 where it is one.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Whose it is, in words.
    pub owner: String,
}

impl Socket {
    /// What it does, as a verb.
    #[must_use]
    pub const fn doing(&self) -> &'static str {
        match self.proto {
            Proto::Tcp => "listens on",
            Proto::Udp => "receives on",
        }
    }

    /// Address and port.
    #[must_use]
    pub fn at(&self) -> String {
        match self.address {
            IpAddr::V4(address) => format!("{address}:{}", self.port),
            IpAddr::V6(address) => format!("[{address}]:{}", self.port),
        }
    }
}
