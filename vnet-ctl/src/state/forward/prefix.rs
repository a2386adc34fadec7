//! A range of ports as prefixes of a trie.

use vnet_common::forward::Place;

/// A place and how many of its bits count: the key of a trie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The place, all bits beyond `len` zero.
    pub place: Place,
    /// How many bits of it count.
    pub len: u32,
}

/// The prefixes that cover `count` ports from `first` on, and no other: at most 30.
#[must_use]
pub fn spans(first: Place, count: u32) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut from = u32::from(u16::from_be_bytes(first.port));
    let end = (from + count).min(1 << 16);
    while from < end {
        // As many as the alignment of the first one allows, and no more than are left.
        let aligned = if from == 0 { 16 } else { from.trailing_zeros().min(16) };
        let bits = aligned.min((end - from).ilog2());
        let port = u16::try_from(from).unwrap_or_default();
        spans.push(Span {
            place: Place { port: port.to_be_bytes(), ..first },
            len: Place::BITS - bits,
        });
        from += 1 << bits;
    }
    spans
}
