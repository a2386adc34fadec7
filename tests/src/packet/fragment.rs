//! Cutting a packet as a router would (RFC 791).

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
    }

    #[test]
    fn a_fragment_is_read_back_as_it_was() {
        let whole = Packet::udp("10.0.0.2:4000", "198.51.100.2:53").payload(&[7; 100]);
        for fragment in whole.fragments(64) {
            assert_eq!(Packet::parse(&fragment.bytes()), Ok(fragment));
        }
    }
}
