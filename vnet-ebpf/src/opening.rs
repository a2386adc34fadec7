//! What a new connection starts with: filled by policy, given a port by translation, remembered as
//! a flow.

use crate::port::Range;
use vnet_common::{
    Ipv4,
    flow::{FlowKey, flag},
    tcp::State,
    translate::{Endpoint, Peer},
};

/// A connection about to be made.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Opening {
    /// Tuple of what its inside end sends.
    pub key: FlowKey,
    /// Where that is sent to: the outside end, unless that is an inside host by its outside address.
    pub daddr: Ipv4,
    /// Its port; an ICMP query has the one identifier on both ends.
    pub dport: u16,
    /// Outside address.
    pub addr: Ipv4,
    /// Interface index of the uplink.
    pub link: u32,
    /// Outside port; 0 until it has one.
    pub port: u16,
    /// Outside ports it may have.
    pub ports: Range,
    /// Outside ports it shall have rather than those, while there are any; from 0 = none.
    pub low: Range,
    /// Number of the outside address.
    pub outside: u8,
    /// The same, unless the other end is an inside host: then the number of its outside address.
    pub other: u8,
    /// State it starts in.
    pub state: State,
    /// Bits of [`flag`].
    pub flags: u8,
}

impl Opening {
    /// The inside end.
    #[inline(always)]
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            addr: self.key.saddr,
            port: self.key.sport,
            proto: self.key.proto,
            outside: self.outside,
        }
    }

    /// Tuple of what the other end sends.
    #[inline(always)]
    #[must_use]
    pub fn twin(&self) -> FlowKey {
        let (saddr, daddr) = (self.daddr, self.addr);
        FlowKey { saddr, daddr, sport: self.dport, dport: self.port, ..self.key }
    }

    /// The address its mapping's owner talks to then.
    #[inline(always)]
    #[must_use]
    pub fn peer(&self) -> Peer {
        Peer { addr: self.daddr, port: self.port, proto: self.key.proto, outside: self.outside }
    }

    /// Whether this host itself opens it: the port it asks for is its own.
    #[inline(always)]
    #[must_use]
    pub fn by_host(&self) -> bool {
        self.flags & flag::HOST != 0
    }
}
