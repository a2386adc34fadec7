//! The Ethernet header, with an optional 802.1Q tag.

use std::fmt;
use std::str::FromStr;

use super::parse::{Malformed, Reader};

/// A hardware address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Every station of the network.
    pub const BROADCAST: Self = Self([0xff; 6]);
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a MAC address such as 02:00:00:00:00:01");
        let bytes: Option<Vec<u8>> =
            text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
        Ok(Self(bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(wrong)?))
    }
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4.
    pub const IPV4: Self = Self(0x0800);
    /// ARP.
    pub const ARP: Self = Self(0x0806);
    /// An 802.1Q tag.
    pub const VLAN: Self = Self(0x8100);
    /// IPv6.
    pub const IPV6: Self = Self(0x86dd);
    /// For experiments within a site (IEEE 802): the harness's own probes.
    pub const EXPERIMENT: Self = Self(0x88b5);

    /// What a frame around this packet would say that it carries.
    pub fn of_ip(packet: &[u8]) -> Self {
        if packet.first().is_some_and(|first| first >> 4 == 6) { Self::IPV6 } else { Self::IPV4 }
    }
}

/// The header of a frame that carries IPv4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ether {
    /// Who it is for.
    pub destination: Mac,
    /// Who sent it.
    pub source: Mac,
    /// The 802.1Q tag control information (priority and VLAN id), where there is a tag.
    pub vlan: Option<u16>,
}

impl Ether {
    /// A frame that carries these bytes.
    pub fn frame(&self, kind: EtherType, bytes: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        self.write(kind, &mut frame);
        frame.extend(bytes);
        frame
    }

    /// Writes the header of a frame that carries `kind`.
    pub(super) fn write(&self, kind: EtherType, to: &mut Vec<u8>) {
        to.extend(self.destination.0);
        to.extend(self.source.0);
        if let Some(tag) = self.vlan {
            to.extend(EtherType::VLAN.0.to_be_bytes());
            to.extend(tag.to_be_bytes());
        }
        to.extend(kind.0.to_be_bytes());
    }

    /// Reads the header; the second value is what the frame carries.
    pub(super) fn read(from: &mut Reader<'_>) -> Result<(Self, EtherType), Malformed> {
        let (destination, source) = (Mac(from.array()?), Mac(from.array()?));
        let mut kind = EtherType(from.u16()?);
        let mut vlan = None;
        if kind == EtherType::VLAN {
            vlan = Some(from.u16()?);
            kind = EtherType(from.u16()?);
        }
        Ok((Self { destination, source, vlan }, kind))
    }
}
