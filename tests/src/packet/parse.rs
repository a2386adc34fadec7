//! Reading a packet from the wire.

use std::net::Ipv4Addr;

use super::{Body, Ether, EtherType, Icmp, Ipv4, Packet, Protocol, Tcp, Udp};

/// Why bytes are not an IPv4 packet in an Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// They end before the header or the length it announces does.
    Truncated,
    /// The frame carries something else.
    NotIpv4(EtherType),
    /// A version or header length that IPv4 does not have.
    BadHeader,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Truncated => f.write_str("truncated"),
            Self::NotIpv4(EtherType(kind)) => write!(f, "not IPv4 but EtherType {kind:#06x}"),
            Self::BadHeader => f.write_str("bad IPv4 header"),
        }
    }
}

impl Packet {
    /// Reads a frame. What follows the packet's announced length (Ethernet padding) is passed over.
    pub fn parse(frame: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(frame);
        let (ether, kind) = Ether::read(&mut reader)?;
        if kind != EtherType::IPV4 {
            return Err(Malformed::NotIpv4(kind));
        }
        Self::parse_ip(ether, reader.0)
    }

    /// Reads a packet that has no frame around it, as a raw socket or a tunnel hands it over.
    pub fn parse_ip(ether: Ether, packet: &[u8]) -> Result<Self, Malformed> {
        let (ip, length) = Ipv4::read(packet)?;
        let body = packet.get(ip.header_length()..length).ok_or(Malformed::Truncated)?;
        let body = Body::read(&ip, body);
        Ok(Self { ether, ip, body })
    }
}

impl Body {
    fn read(ip: &Ipv4, bytes: &[u8]) -> Self {
        let raw = || Self::Raw(bytes.to_vec());
        if ip.is_fragment() {
            return raw();
        }
        // A header that is cut short stays visible as the bytes it is.
        match ip.protocol {
            Protocol::TCP => Tcp::read(ip, bytes).map_or_else(raw, Self::Tcp),
            Protocol::UDP => Udp::read(ip, bytes).map_or_else(raw, Self::Udp),
            Protocol::ICMP => Icmp::read(bytes).map_or_else(raw, Self::Icmp),
            Protocol(_) => raw(),
        }
    }
}

/// Takes fields off the front of bytes, in network order.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        Ok(self.take(N)?.try_into().expect("took that many"))
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn address(&mut self) -> Result<Ipv4Addr, Malformed> {
        Ok(Ipv4Addr::from(self.array::<4>()?))
    }
}
