//! Packets as values: made in a few words, compared field by field, shown in one line.
//!
//! ```
//! use vnet_tests::packet::{Packet, explain};
//!
//! let sent = Packet::udp("10.0.0.2:4000", "198.51.100.2:53").payload(b"hello");
//! let seen = sent.clone().from("198.51.100.1:4000").ttl(63);
//! assert_eq!(Packet::parse(&seen.bytes()), Ok(seen.clone()));
//! assert_eq!(
//!     explain(&seen.bytes()),
//!     "198.51.100.1:4000 > 198.51.100.2:53 udp len 5 ttl 63 id 1"
//! );
//! ```
//!
//! Nothing here shares code with the datapath it judges: the checksums are summed up anew, in full
//! and in the plainest way. A packet whose checksum is [`Sum::Right`] is written with the one its
//! other fields ask for; one that was read has `Right` only if what it carried was right. So two
//! packets are equal exactly when they say the same, and a wrong checksum is never equal to a right
//! one.

mod access;
mod build;
mod checksum;
mod ether;
mod explain;
mod fragment;
mod icmp;
mod ipv4;
mod parse;
mod tcp;
mod udp;
mod verify;

pub use build::Endpoint;
pub use checksum::{Sum, internet_checksum};
pub use ether::{Ether, EtherType, Mac};
pub use explain::explain;
pub use icmp::{Icmp, IcmpBody, IcmpKind, Quote};
pub use ipv4::{Ipv4, Protocol};
pub use parse::Malformed;
pub use tcp::{Tcp, TcpFlags};
pub use udp::Udp;
pub use verify::{assert_valid, faults};

/// An Ethernet frame with an IPv4 packet in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The frame's header.
    pub ether: Ether,
    /// The packet's header.
    pub ip: Ipv4,
    /// What the packet carries.
    pub body: Body,
}

/// What an IPv4 packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A TCP segment.
    Tcp(Tcp),
    /// A UDP datagram.
    Udp(Udp),
    /// An ICMP message.
    Icmp(Icmp),
    /// Anything else, any fragment included: the bytes as they are.
    Raw(Vec<u8>),
}
