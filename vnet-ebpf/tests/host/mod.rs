//! A packet on the host: bytes that change as the kernel's helpers would change them.

use vnet_common::account::Reason;
use vnet_ebpf::{
    checksum::Change,
    packet::Bytes,
    rewrite::{Field, Patch},
};

/// Bytes from the link header on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Buffer(pub(crate) Vec<u8>);

impl Bytes for Buffer {
    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        self.0.as_slice().words(offset)
    }

    fn half(&self, offset: u32) -> Option<u16> {
        self.0.as_slice().half(offset)
    }
}

impl Patch for Buffer {
    fn set_words<const N: usize>(&mut self, offset: u32, words: &[u32; N]) -> Result<(), Reason> {
        for (i, word) in words.iter().enumerate() {
            let at = offset as usize + i * 4;
            let bytes = self.0.get_mut(at..at + 4).ok_or(Reason::Rewrite)?;
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        Ok(())
    }

    fn set_half(&mut self, offset: u32, half: u16) -> Result<(), Reason> {
        let at = offset as usize;
        let bytes = self.0.get_mut(at..at + 2).ok_or(Reason::Rewrite)?;
        bytes.copy_from_slice(&half.to_ne_bytes());
        Ok(())
    }

    fn checksum(
        &mut self,
        offset: u32,
        change: Change,
        field: Field,
        _pseudo: bool,
    ) -> Result<(), Reason> {
        let old = self.half(offset).ok_or(Reason::Rewrite)?;
        if field == Field::Udp && old == 0 {
            return Ok(());
        }
        let new = change.apply(old);
        self.set_half(offset, if field == Field::Udp && new == 0 { 0xffff } else { new })
    }

    fn checksum_port(
        &mut self,
        offset: u32,
        old: u16,
        new: u16,
        field: Field,
    ) -> Result<(), Reason> {
        self.checksum(offset, Change::NONE.half(old.to_be(), new.to_be()), field, false)
    }
}

/// The Internet checksum of `bytes` as RFC 1071 writes it down, in network order.
pub(crate) fn full_sum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Bytes of an Ethernet header.
pub(crate) const ETHERNET: usize = 14;

/// An Ethernet frame with an IPv4 packet that carries `body`, all checksums right.
pub(crate) fn frame(
    proto: u8,
    saddr: [u8; 4],
    daddr: [u8; 4],
    options: &[u8],
    body: &[u8],
) -> Buffer {
    assert!(options.len().is_multiple_of(4));
    let header = 20 + options.len();
    let total = (header + body.len()) as u16;
    let mut bytes = vec![0; ETHERNET];
    bytes[12..14].copy_from_slice(&[8, 0]);
    bytes.extend([0x40 | (header / 4) as u8, 0]);
    bytes.extend(total.to_be_bytes());
    bytes.extend([0x12, 0x34, 0x40, 0, 64, proto, 0, 0]);
    bytes.extend(saddr);
    bytes.extend(daddr);
    bytes.extend(options);
    bytes.extend(body);
    let mut buffer = Buffer(bytes);
    buffer.finish();
    buffer
}

impl Buffer {
    /// Where the transport header starts.
    pub(crate) fn l4(&self) -> usize {
        ETHERNET + usize::from(self.0[ETHERNET] & 15) * 4
    }

    fn checksum_at(&self) -> Option<usize> {
        match self.0[ETHERNET + 9] {
            1 => Some(self.l4() + 2),
            6 => Some(self.l4() + 16),
            17 => Some(self.l4() + 6),
            _ => None,
        }
    }

    /// What the transport checksum covers.
    fn covered(&self) -> Vec<u8> {
        let proto = self.0[ETHERNET + 9];
        let mut bytes = Vec::new();
        if proto != 1 {
            bytes.extend(&self.0[ETHERNET + 12..ETHERNET + 20]);
            bytes.extend([0, proto]);
            bytes.extend(((self.0.len() - self.l4()) as u16).to_be_bytes());
        }
        bytes.extend(&self.0[self.l4()..]);
        bytes
    }

    /// Computes every checksum in full.
    pub(crate) fn finish(&mut self) {
        let l4 = self.l4();
        self.0[ETHERNET + 10..ETHERNET + 12].fill(0);
        let sum = full_sum(&self.0[ETHERNET..l4]);
        self.0[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
        let Some(at) = self.checksum_at() else { return };
        self.0[at..at + 2].fill(0);
        let mut sum = full_sum(&self.covered());
        if sum == 0 && self.0[ETHERNET + 9] == 17 {
            sum = 0xffff;
        }
        self.0[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}
