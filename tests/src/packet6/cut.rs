//! IPv6 packets in pieces (RFC 8200 section 4.5).

use super::{FRAGMENT, Packet6};

/// Bytes of a fragment header.
const HEADER: usize = 8;

/// What a fragment header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The header that follows.
    pub next: u8,
    /// Where its data belongs, in bytes.
    pub offset: u16,
    /// Whether others follow.
    pub more: bool,
    /// Identification.
    pub id: u32,
}

impl Packet6 {
    /// The packet in fragments of so many bytes of data, as they are on the wire; its Hop-by-Hop
    /// header is in each.
    pub fn pieces(&self, id: u32, size: usize) -> Vec<Vec<u8>> {
        let count = self.body.len().div_ceil(size);
        let parts = self.body.chunks(size).enumerate();
        let piece = |(n, part): (usize, &[u8])| {
            let offset = u16::try_from(n * size).expect("it is short");
            self.piece(Piece { next: self.protocol, offset, more: n + 1 < count, id }, part)
        };
        parts.map(piece).collect()
    }

    /// One fragment with this header and data.
    pub fn piece(&self, piece: Piece, data: &[u8]) -> Vec<u8> {
        let mut body = vec![piece.next, 0];
        body.extend((piece.offset | u16::from(piece.more)).to_be_bytes());
        body.extend(piece.id.to_be_bytes());
        body.extend(data);
        Self { protocol: FRAGMENT, body, ..self.clone() }.bytes()
    }

    /// The fragment header of a packet that has one behind at most a Hop-by-Hop header, and the data.
    pub fn as_piece(&self) -> Option<(Piece, &[u8])> {
        let (header, data) = self.body.split_at_checked(HEADER)?;
        let field = u16::from_be_bytes([header[2], header[3]]);
        let id = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let piece = Piece { next: header[0], offset: field & !7, more: field & 1 != 0, id };
        (self.protocol == FRAGMENT).then_some((piece, data))
    }

    /// The packet that these are all fragments of, in order.
    pub fn joined(pieces: &[Self]) -> Option<Self> {
        let (first, _) = pieces.first()?.as_piece()?;
        let mut body = Vec::new();
        for (n, one) in pieces.iter().enumerate() {
            let (piece, data) = one.as_piece()?;
            let more = n + 1 < pieces.len();
            let offset = u16::try_from(body.len()).ok()?;
            let wanted = Piece { next: first.next, offset, more, id: first.id };
            let same = (one.source, one.destination) == (pieces[0].source, pieces[0].destination);
            if piece != wanted || !same {
                return None;
            }
            body.extend(data);
        }
        Some(Self { protocol: first.next, body, ..pieces[0].clone() })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn what_is_cut_can_be_joined_in_order_only() {
        let (a, b) = (Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED);
        let whole = Packet6::udp((a, 1), (b, 2), &[3; 100]);
        for packet in [whole.clone(), whole.extended()] {
            let pieces = packet.pieces(7, 40).into_iter().map(|piece| Packet6::read(&piece));
            let mut pieces: Vec<_> = pieces.map(|piece| piece.expect("it is a packet")).collect();
            assert_eq!(Packet6::joined(&pieces), Some(packet));
            pieces.swap(0, 1);
            assert_eq!(Packet6::joined(&pieces), None);
        }
    }
}
