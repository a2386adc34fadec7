//! Asking a packet the questions tests ask.

use std::net::SocketAddrV4;

use super::{Body, Icmp, IcmpBody, Packet, Quote};

impl Packet {
    /// The sender, with the port where there is one and 0 where there is none.
    pub fn source(&self) -> SocketAddrV4 {
        let port = match &self.body {
            Body::Tcp(tcp) => tcp.source,
            Body::Udp(udp) => udp.source,
            Body::Icmp(_) | Body::Raw(_) => 0,
        };
        SocketAddrV4::new(self.ip.source, port)
    }

    /// The receiver, with the port where there is one and 0 where there is none.
    pub fn destination(&self) -> SocketAddrV4 {
        let port = match &self.body {
            Body::Tcp(tcp) => tcp.destination,
            Body::Udp(udp) => udp.destination,
            Body::Icmp(_) | Body::Raw(_) => 0,
        };
        SocketAddrV4::new(self.ip.destination, port)
    }

    /// The data behind the headers.
    pub fn data(&self) -> &[u8] {
        match &self.body {
            Body::Tcp(tcp) => &tcp.payload,
            Body::Udp(udp) => &udp.payload,
            Body::Icmp(Icmp { body: IcmpBody::Echo { payload, .. }, .. }) => payload,
            Body::Icmp(Icmp { body: IcmpBody::Other { quote, .. }, .. }) => quote,
            Body::Raw(bytes) => bytes,
        }
    }

    /// What it quotes, if it is an ICMP error.
    pub fn quote(&self) -> Option<Quote> {
        match &self.body {
            Body::Icmp(icmp) => icmp.quote(),
            Body::Tcp(_) | Body::Udp(_) | Body::Raw(_) => None,
        }
    }
}
