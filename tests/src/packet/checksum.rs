//! The Internet checksum (RFC 1071), the slow way: every byte, every time.

use std::net::Ipv4Addr;

/// The checksum field of a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sum {
    /// What the rest of the packet asks for; computed when the packet is written.
    #[default]
    Right,
    /// UDP only: none at all (a zero on the wire).
    Absent,
    /// This value, which is not the right one.
    Wrong(u16),
}

impl Sum {
    /// The value on the wire, if `right` is the right one.
    pub(super) fn wire(self, right: u16) -> u16 {
        match self {
            Self::Right => right,
            Self::Absent => 0,
            Self::Wrong(value) => value,
        }
    }

    /// The meaning of a value on the wire, if `right` is the right one.
    pub(super) fn read(wire: u16, right: u16) -> Self {
        if wire == right { Self::Right } else { Self::Wrong(wire) }
    }
}

/// The checksum of `bytes`, whose own checksum field must be zero.
pub fn internet_checksum(bytes: &[u8]) -> u16 {
    !fold(sum(bytes))
}

/// The checksum of a TCP segment or UDP datagram with its pseudo-header (RFC 9293, RFC 768).
///
/// `bytes` is header and payload with a zero checksum field.
pub(super) fn with_pseudo_header(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    bytes: &[u8],
) -> u16 {
    let length = u32::try_from(bytes.len()).expect("a packet is shorter than 4 GiB");
    let addresses = sum(&source.octets()) + sum(&destination.octets());
    !fold(addresses + u32::from(protocol) + length + sum(bytes))
}

/// `bytes` with a zero in the two-byte checksum field at `field`.
pub(super) fn without_field(bytes: &[u8], field: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[field..field + 2].fill(0);
    bytes
}

fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2).map(|word| match *word {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(high) << 8,
        _ => unreachable!("chunks of two have one or two bytes"),
    });
    words.sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("folded to sixteen bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(internet_checksum(&bytes), !0xddf2);
    }

    #[test]
    fn a_known_ipv4_header() {
        let header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0x00, 0x00, 0xc0, 0xa8,
            0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert_eq!(internet_checksum(&header), 0xb861);
    }

    #[test]
    fn an_odd_last_byte_is_the_high_one() {
        assert_eq!(internet_checksum(&[0x12]), !0x1200);
    }
}
