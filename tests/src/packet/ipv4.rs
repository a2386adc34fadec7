//! The IPv4 header (RFC 791).

use std::fmt;
use std::net::Ipv4Addr;

use super::checksum::{Sum, internet_checksum, without_field};
use super::parse::{Malformed, Reader};

const CHECKSUM_AT: usize = 10;
const BASE_LENGTH: usize = 20;
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Protocol(pub u8);

impl Protocol {
    /// ICMP.
    pub const ICMP: Self = Self(1);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// GRE.
    pub const GRE: Self = Self(47);
    /// ESP.
    pub const ESP: Self = Self(50);
    /// SCTP.
    pub const SCTP: Self = Self(132);
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ICMP => f.write_str("icmp"),
            Self::TCP => f.write_str("tcp"),
            Self::UDP => f.write_str("udp"),
            Self::GRE => f.write_str("gre"),
            Self::ESP => f.write_str("esp"),
            Self::SCTP => f.write_str("sctp"),
            Self(number) => write!(f, "proto {number}"),
        }
    }
}

/// The header of a packet. Lengths are not here: they follow from what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    /// DSCP and ECN.
    pub tos: u8,
    /// Tells the fragments of one packet from those of another.
    pub id: u16,
    /// Routers must not cut it.
    pub dont_fragment: bool,
    /// A fragment with others behind it.
    pub more_fragments: bool,
    /// Where a fragment belongs, in units of eight bytes.
    pub fragment_offset: u16,
    /// Routers it may still pass.
    pub ttl: u8,
    /// What it carries.
    pub protocol: Protocol,
    /// The header's checksum.
    pub checksum: Sum,
    /// Who sent it.
    pub source: Ipv4Addr,
    /// Who it is for.
    pub destination: Ipv4Addr,
    /// Options, padded to a multiple of four bytes.
    pub options: Vec<u8>,
}

impl Ipv4 {
    /// A plain header: TTL 64, id 1, may be cut.
    pub fn new(source: Ipv4Addr, destination: Ipv4Addr, protocol: Protocol) -> Self {
        Self {
            tos: 0,
            id: 1,
            dont_fragment: false,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            protocol,
            checksum: Sum::Right,
            source,
            destination,
            options: Vec::new(),
        }
    }

    /// Whether this is a piece of a packet and not a whole one.
    pub fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }

    pub(super) fn header_length(&self) -> usize {
        BASE_LENGTH + self.options.len()
    }

    /// Writes the header of a packet that carries `body` bytes.
    pub(super) fn write(&self, body: usize, to: &mut Vec<u8>) {
        assert!(self.options.len().is_multiple_of(4), "IPv4 options come in units of four bytes");
        let total = self.header_length() + body;
        let total = u16::try_from(total).expect("an IPv4 packet is shorter than 64 KiB");
        let units = u8::try_from(self.header_length() / 4).expect("IPv4 has 40 bytes of options");
        let mut header = vec![0x40 | units, self.tos];
        header.extend(total.to_be_bytes());
        header.extend(self.id.to_be_bytes());
        header.extend(self.fragment_word().to_be_bytes());
        header.extend([self.ttl, self.protocol.0, 0, 0]);
        header.extend(self.source.octets());
        header.extend(self.destination.octets());
        header.extend(&self.options);
        let sum = self.checksum.wire(internet_checksum(&header));
        header[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&sum.to_be_bytes());
        to.extend(header);
    }

    fn fragment_word(&self) -> u16 {
        let flag = |set, bit| if set { bit } else { 0 };
        self.fragment_offset
            | flag(self.dont_fragment, DONT_FRAGMENT)
            | flag(self.more_fragments, MORE_FRAGMENTS)
    }

    /// Reads a header; the second value is the length the whole packet says it has.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, usize), Malformed> {
        let mut from = Reader(bytes);
        let first = from.u8()?;
        let header_length = usize::from(first & 0xf) * 4;
        if first >> 4 != 4 || header_length < BASE_LENGTH {
            return Err(Malformed::BadHeader);
        }
        let header = bytes.get(..header_length).ok_or(Malformed::Truncated)?;
        let tos = from.u8()?;
        let total = usize::from(from.u16()?);
        let id = from.u16()?;
        let fragment = from.u16()?;
        let (ttl, protocol) = (from.u8()?, Protocol(from.u8()?));
        let right = internet_checksum(&without_field(header, CHECKSUM_AT));
        let ip = Self {
            tos,
            id,
            dont_fragment: fragment & DONT_FRAGMENT != 0,
            more_fragments: fragment & MORE_FRAGMENTS != 0,
            fragment_offset: fragment & 0x1fff,
            ttl,
            protocol,
            checksum: Sum::read(from.u16()?, right),
            source: from.address()?,
            destination: from.address()?,
            options: header[BASE_LENGTH..].to_vec(),
        };
        Ok((ip, total))
    }
}
