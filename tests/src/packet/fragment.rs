//! Cutting a packet as a router would, and joining it as a host would (RFC 791).

use super::{Body, Ipv4, Packet};

impl Packet {
    /// The fragments of this packet, each carrying at most `size` bytes behind the IP header.
    ///
    /// Checksums are computed over the whole packet first: joined again, they are right.
    ///
    /// # Panics
    /// When `size` is no multiple of eight, as fragments must be.
    pub fn fragments(&self, size: usize) -> Vec<Self> {
        assert!(size > 0 && size.is_multiple_of(8), "a fragment is cut at a multiple of 8 bytes");
        let whole = self.body_bytes();
        let last = whole.len().div_ceil(size).saturating_sub(1);
        let pieces = whole.chunks(size).enumerate();
        let cut = pieces.map(|(n, piece)| {
            let ip = Ipv4 {
                fragment_offset: u16::try_from(n * size / 8).expect("a packet is below 64 KiB"),
                more_fragments: n < last,
                ..self.ip.clone()
            };
            Self { ether: self.ether, ip, body: Body::Raw(piece.to_vec()) }
        });
        cut.collect()
    }
}

impl Packet {
    /// The packet whose fragments these are, in whatever order they came; nothing where some are
    /// missing, or contradict each other.
    pub fn joined(fragments: &[Self]) -> Option<Self> {
        let first = fragments.iter().find(|one| one.ip.fragment_offset == 0)?;
        let mut sorted: Vec<_> = fragments.iter().collect();
        sorted.sort_by_key(|one| one.ip.fragment_offset);
        let mut body = Vec::new();
        for one in &sorted {
            if usize::from(one.ip.fragment_offset) * 8 != body.len() || !one.is_of(first) {
                return None;
            }
            body.extend_from_slice(one.data());
        }
        if sorted.last()?.ip.more_fragments {
            return None;
        }
        let ip = Ipv4 { more_fragments: false, ..first.ip.clone() };
        let whole = Self { ether: first.ether, ip, body: Body::Raw(body) };
        Self::parse(&whole.bytes()).ok()
    }

    fn is_of(&self, other: &Self) -> bool {
        let same = |packet: &Self| {
            let ip = &packet.ip;
            (ip.source, ip.destination, ip.id, ip.protocol)
        };
        same(self) == same(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_join_to_the_packet() {
        let whole = Packet::udp("10.0.0.2:4000", "198.51.100.2:53").payload(&[7; 100]).id(9);
        let cut = whole.fragments(48);
        let offsets: Vec<_> =
            cut.iter().map(|f| (f.ip.fragment_offset, f.ip.more_fragments)).collect();
        assert_eq!(offsets, [(0, true), (6, true), (12, false)]);
        let joined: Vec<u8> = cut.iter().flat_map(|f| f.data().to_vec()).collect();
        assert_eq!(joined, whole.body_bytes());
        let backward: Vec<_> = cut.iter().rev().cloned().collect();
        assert_eq!(Packet::joined(&backward), Some(whole));
        assert_eq!(Packet::joined(&cut[1..]), None);
        assert_eq!(Packet::joined(&cut[..2]), None);
    }

    #[test]
    fn a_fragment_is_read_back_as_it_was() {
        let whole = Packet::udp("10.0.0.2:4000", "198.51.100.2:53").payload(&[7; 100]);
        for fragment in whole.fragments(64) {
            assert_eq!(Packet::parse(&fragment.bytes()), Ok(fragment));
        }
    }
}
