//! What can be wrong with a forward, one sentence each.

use std::net::Ipv4Addr;

use thiserror::Error;

use crate::exit::Exit;
use crate::spec::{Ports, Proto};

/// A reason why a forward is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ForwardFault {
    /// No protocol that can be forwarded.
    #[error("'{0}' cannot be forwarded: say tcp or udp")]
    Proto(String),
    /// The outside ports make no sense.
    #[error("outside port {0}: give one from 1 to 65535, or a range such as 8000-8999")]
    Ports(String),
    /// The target makes no sense.
    #[error(
        "target {0}: give the IPv4 address of a host inside, with its port where that is another: 10.0.0.2, 10.0.0.2:80 or 10.0.0.2:8000-8999"
    )]
    Target(String),
    /// As many ports outside as inside.
    #[error(
        "{outside} and {inside} are not equally many ports: each outside port leads to one inside port (say {address}:{}, or the address alone to keep the numbers)",
        match_size(*outside, *inside)
    )]
    Sizes {
        /// Inside address.
        address: Ipv4Addr,
        /// Outside ports.
        outside: Ports,
        /// Inside ports.
        inside: Ports,
    },
    /// No name.
    #[error(
        "forward name '{0}' is not usable: take 1 to 31 of a-z, A-Z, 0-9, '.', '_' and '-', not only digits"
    )]
    Name(String),
    /// The outside address is none.
    #[error("{address} is no outside address of instance '{instance}', which has: {present}")]
    Address {
        /// The address.
        address: Ipv4Addr,
        /// The instance.
        instance: String,
        /// What it has.
        present: String,
    },
    /// The target is not inside.
    #[error("{address} is not inside: {why}")]
    NotInside {
        /// The address.
        address: Ipv4Addr,
        /// Why, and what to do.
        why: String,
    },
    /// A socket of this host has the port.
    #[error(
        "{proto} port {port} is in use on this host itself: {who} {how} {at}; end that first, or take another port"
    )]
    Socket {
        /// The protocol.
        proto: Proto,
        /// The port.
        port: u16,
        /// The process.
        who: String,
        /// What it does.
        how: &'static str,
        /// Where.
        at: String,
    },
    /// Another forward has the port.
    #[error(
        "{proto} ports {ports} of {address} belong to forward '{name}', which leads to {target}: delete it first (vnetctl forward del {name}), or change it by adding with --name {name}"
    )]
    Taken {
        /// The protocol.
        proto: Proto,
        /// The ports in common.
        ports: Ports,
        /// The outside address.
        address: Ipv4Addr,
        /// The other forward.
        name: String,
        /// Where that leads.
        target: String,
    },
    /// A mapping has the port.
    #[error(
        "{proto} port {port} of {address} is held by {holder} for its own connections ({flows} now): wait for their end, take another port, or end them by --force"
    )]
    Held {
        /// The protocol.
        proto: Proto,
        /// The port.
        port: u16,
        /// The outside address.
        address: Ipv4Addr,
        /// Whose.
        holder: String,
        /// How many connections.
        flows: u32,
    },
    /// Ports that came into use while they were taken.
    #[error("{count} of {proto} ports {ports} came into use at this very moment: try again")]
    Racing {
        /// The protocol.
        proto: Proto,
        /// The ports.
        ports: Ports,
        /// How many.
        count: u32,
    },
    /// No room for more.
    #[error("there is room for {0} forwards, and it is used up: delete some")]
    TooMany(usize),
    /// No such forward.
    #[error("instance '{instance}' has no forward {which}; `vnetctl forward list` shows them")]
    None {
        /// The instance.
        instance: String,
        /// What was asked for.
        which: String,
    },
    /// Several are meant.
    #[error("several forwards are meant: {0}; give the name of one")]
    Ambiguous(String),
    /// Several instances.
    #[error("several instances translate here: {0}; name one by --instance")]
    WhichInstance(String),
}

/// The inside ports that would fit.
fn match_size(outside: Ports, inside: Ports) -> Ports {
    let max = u32::from(inside.min) + outside.count() - 1;
    u16::try_from(max).map_or(outside, |max| Ports { min: inside.min, max })
}

impl ForwardFault {
    /// The exit code it leads to.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Proto(_)
            | Self::Ports(_)
            | Self::Target(_)
            | Self::Sizes { .. }
            | Self::Name(_)
            | Self::Ambiguous(_)
            | Self::WhichInstance(_) => Exit::Usage,
            Self::Address { .. } | Self::NotInside { .. } => Exit::Address,
            Self::Socket { .. } | Self::Taken { .. } | Self::Held { .. } | Self::Racing { .. } => {
                Exit::Busy
            }
            Self::TooMany(_) => Exit::Memory,
            Self::None { .. } => Exit::NotAttached,
        }
    }
}
