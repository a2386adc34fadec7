//! A frame on the host: bytes that change as the kernel's helpers would change them.

use vnet_common::account::Reason;
use vnet_ebpf::checksum::Change;
use vnet_ebpf::packet::Bytes;
use vnet_ebpf::rewrite::{Field, Patch};

use crate::packet::internet_checksum;

/// Bytes of an Ethernet header.
pub const ETHERNET: u32 = 14;

/// Bytes from the link header on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(pub Vec<u8>);

impl Frame {
    /// Its length.
    ///
    /// # Panics
    /// When it is 4 GiB long.
    pub fn length(&self) -> u32 {
        u32::try_from(self.0.len()).expect("a frame is short")
    }

    /// The bytes from `from` to `to`, as far as they are there.
    pub(crate) fn part(&self, from: u32, to: u32) -> &[u8] {
        let end = self.0.len();
        let (from, to) = ((from as usize).min(end), (to as usize).min(end));
        &self.0[from..to.max(from)]
    }

    fn room(&mut self, offset: u32, size: usize) -> Result<&mut [u8], Reason> {
        let at = offset as usize;
        self.0.get_mut(at..at + size).ok_or(Reason::Rewrite)
    }
}

impl Bytes for Frame {
    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        self.0.as_slice().words(offset)
    }

    fn half(&self, offset: u32) -> Option<u16> {
        self.0.as_slice().half(offset)
    }
}

impl Patch for Frame {
    fn set_words<const N: usize>(&mut self, offset: u32, words: &[u32; N]) -> Result<(), Reason> {
        let room = self.room(offset, N * 4)?;
        for (to, word) in room.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        Ok(())
    }

    fn set_half(&mut self, offset: u32, half: u16) -> Result<(), Reason> {
        self.room(offset, 2)?.copy_from_slice(&half.to_ne_bytes());
        Ok(())
    }

    /// As `bpf_l4_csum_replace` does it to a packet whose sums are complete.
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

/// How far bytes are from having a right checksum among them: 0 when it is right. Whatever is
/// translated keeps its distance, so what was right stays right and what was damaged stays just as
/// damaged.
pub(crate) fn damage(bytes: &[u8]) -> u16 {
    internet_checksum(bytes) % 0xffff
}

/// The same with the pseudo-header of TCP and UDP: `addresses` are those of the IP header.
pub(crate) fn damage_of_transport(addresses: &[u8], protocol: u8, length: u16, body: &[u8]) -> u16 {
    let mut bytes = addresses.to_vec();
    bytes.extend([0, protocol]);
    bytes.extend(length.to_be_bytes());
    bytes.extend(body);
    damage(&bytes)
}

/// Asserts that two frames differ nowhere but in the given places.
pub(crate) fn assert_elsewhere_equal(before: &Frame, after: &Frame, places: &[(u32, u32)]) {
    assert_eq!(before.0.len(), after.0.len(), "no byte comes or goes");
    let may = |at: usize| {
        places.iter().any(|(start, size)| (*start as usize..(start + size) as usize).contains(&at))
    };
    let changed = |at: &usize| before.0[*at] != after.0[*at] && !may(*at);
    let stray: Vec<usize> = (0..before.0.len()).filter(changed).collect();
    assert!(stray.is_empty(), "bytes {stray:?} were nobody's to change: {before:?} {after:?}");
}

/// The one message that a difference does not lead to: the sum of zeros is 0, and that of all else
/// which is congruent to it 0xffff (RFC 1624 section 3). Only an ICMP echo reply with id 0, sequence
/// number 0 and no data but zeros is so. The kernel's own helpers, and with them its NAT, miss it too.
pub(crate) fn is_nothing_but_zeros(message: &[u8]) -> bool {
    message.iter().enumerate().all(|(at, byte)| *byte == 0 || matches!(at, 2 | 3))
}
